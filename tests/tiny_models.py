"""Tiny models for the tests of names and folders."""

import torch
from torch import nn

from bert_kit.config import BertConfig
from bert_kit.model import (BERTForMaskedLM, BERTForNextSentencePrediction, BERTForPreTraining,
                            BERTForSequenceClassification, BERTForTokenClassification, BERTModel)

TASKS = {task.__name__: task for task in (
    BERTModel, BERTForMaskedLM, BERTForPreTraining, BERTForNextSentencePrediction,
    BERTForSequenceClassification, BERTForTokenClassification)}


def tiny_config(**changes):
    """Odd sizes that no two axes share, so that a mix-up shows."""
    return BertConfig(**{"vocab_size": 37, "hidden_size": 12, "num_hidden_layers": 2,
                         "num_attention_heads": 3, "intermediate_size": 20,
                         "max_position_embeddings": 11, **changes})


class OwnHead(nn.Module):
    """A task as a researcher would write it: other names, a buffer, a number without shape."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BERTModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.classifier.gamma = nn.Parameter(torch.randn(3))
        self.classifier.layers = nn.ModuleList([nn.Linear(2, 3)])
        self.classifier.register_buffer("grid", torch.arange(5))
        self.classifier.register_buffer("count", torch.tensor(7))
