"""A skeleton with the parameter names of the kit's models, for tests of the weight files.

It computes nothing; only names, shapes and the tied decoder matter to `bert_kit.weights`.
"""

import torch
from torch import nn

from bert_kit.config import BertConfig


def tiny_config(**changes):
    """Odd sizes that no two axes share, so that a mix-up shows."""
    return BertConfig(**{"vocab_size": 37, "hidden_size": 12, "num_hidden_layers": 2,
                         "num_attention_heads": 3, "intermediate_size": 20,
                         "max_position_embeddings": 11, **changes})


def group(**parts):
    """A module that only holds the given parts."""
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def block(config):
    size, inner = config.hidden_size, config.intermediate_size
    return group(attention=group(qkv=nn.Linear(size, 3 * size), output=nn.Linear(size, size)),
                 attention_norm=nn.LayerNorm(size),
                 feed_forward=group(inner=nn.Linear(size, inner), output=nn.Linear(inner, size)),
                 feed_forward_norm=nn.LayerNorm(size))


class BERTModel(nn.Module):
    def __init__(self, config, pooler=True):
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.embeddings = group(word=nn.Embedding(config.vocab_size, size),
                                position=nn.Embedding(config.max_position_embeddings, size),
                                segment=nn.Embedding(config.type_vocab_size, size),
                                norm=nn.LayerNorm(size))
        self.blocks = nn.ModuleList(block(config) for _ in range(config.num_hidden_layers))
        if pooler:
            self.pooler = group(dense=nn.Linear(size, size))


class MaskedLMHead(nn.Module):
    def __init__(self, config, words):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.decoder_weight = words
        self.bias = nn.Parameter(torch.randn(config.vocab_size))


class _Task(nn.Module):
    pooler = True

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.bert = BERTModel(config, pooler=self.pooler)
        self.add_heads(config)


class BERTForMaskedLM(_Task):
    pooler = False

    def add_heads(self, config):
        self.mlm_head = MaskedLMHead(config, self.bert.embeddings.word.weight)


class BERTForPreTraining(_Task):
    def add_heads(self, config):
        self.mlm_head = MaskedLMHead(config, self.bert.embeddings.word.weight)
        self.nsp_head = group(output=nn.Linear(config.hidden_size, 2))


class BERTForNextSentencePrediction(_Task):
    def add_heads(self, config):
        self.nsp_head = group(output=nn.Linear(config.hidden_size, 2))


class BERTForSequenceClassification(_Task):
    def add_heads(self, config):
        self.classifier = group(output=nn.Linear(config.hidden_size, config.num_labels))


class BERTForTokenClassification(BERTForSequenceClassification):
    pooler = False


class BERTForQuestionAnswering(_Task):
    pooler = False

    def add_heads(self, config):
        self.span_head = group(output=nn.Linear(config.hidden_size, 2))


class OwnHead(_Task):
    """A head as a researcher would write it: other names, a buffer, a number without shape."""

    def add_heads(self, config):
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.classifier.gamma = nn.Parameter(torch.randn(3))
        self.classifier.layers = nn.ModuleList([nn.Linear(2, 3)])
        self.classifier.register_buffer("grid", torch.arange(5))
        self.classifier.register_buffer("count", torch.tensor(7))


TASKS = {task.__name__: task for task in (
    BERTModel, BERTForMaskedLM, BERTForPreTraining, BERTForNextSentencePrediction,
    BERTForSequenceClassification, BERTForTokenClassification, BERTForQuestionAnswering)}
