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


def google_arrays(tensors):
    """Name and turn tensors as Google's code does, by the rules of its repository."""
    arrays = {}
    for name, tensor in tensors.items():
        name, array = name.replace("encoder.layer.", "encoder.layer_"), tensor.numpy()
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace("Norm.bias", "Norm.beta")
        elif name.endswith("embeddings.weight"):
            name = name.removesuffix(".weight")
        elif name == "cls.predictions.bias" or "seq_relationship" in name:
            name = name.replace(".weight", ".output_weights").replace(".bias", ".output_bias")
        elif name.endswith(".weight"):
            name, array = name.replace(".weight", ".kernel"), array.T
        arrays[name.replace(".", "/")] = array
    return arrays


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
