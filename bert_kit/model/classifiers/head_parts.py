"""What the heads on token vectors share: which layers they read, dropout, and the last layers."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bert_kit.checks import whole
from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError
from bert_kit.model.encoder import EncoderOutput
from bert_kit.model.layers import Dropout, activation, init_weights

LARGEST = 2**28  # numbers in a part of a head: 1 GB, and nearly as many as BERT-large has


def head_dropout(config: BertConfig, share: float = 1.0) -> Dropout:
    """Return dropout at the classifier's rate, or at a share of it."""
    rate = config.classifier_dropout
    rate = config.hidden_dropout_prob if rate is None else rate
    return Dropout(share * rate, config.fused)


def check_size(count: int) -> None:
    """Refuse a part of a head before it is built: each option fits, and all together may not.

    Raises
    ------
    ConfigError
        If it would hold more than 2**28 numbers.
    """
    if count > LARGEST:
        raise ConfigError(f"the sizes ask for {count:,} numbers; expected at most {LARGEST:,}")


class TokenHead(nn.Module):
    """A head that reads token vectors and leaves the pooler out.

    Parameters
    ----------
    last_layers
        The head reads the outputs of the last k layers side by side (Devlin et al. 2019, table 7,
        "concat last four hidden"), the earliest of them first.

    Attributes
    ----------
    uses_pooler, needs_hidden_states
        What the head asks of `BERTForSequenceClassification`: no pooler, and with k above 1 the
        output of every layer.
    width
        Size of the token vectors that the head reads, k D.
    """

    uses_pooler = False

    def __init__(self, config: BertConfig, last_layers: int = 1) -> None:
        super().__init__()
        self.last_layers = whole("last_layers", last_layers, 1, max(1, config.num_hidden_layers))
        self.needs_hidden_states = self.last_layers > 1
        self.width = self.last_layers * config.hidden_size

    def tokens(self, encoded: EncoderOutput) -> Tensor:
        """EncoderOutput -> (B, S, k D)."""
        if not self.needs_hidden_states:
            return encoded.last_hidden_state
        assert encoded.hidden_states is not None  # needs_hidden_states asked for them
        return torch.cat(encoded.hidden_states[-self.last_layers:], -1)


class MLP(nn.Module):
    """Linear, activation and dropout for each hidden size, then a linear layer to C scores.

    Without a hidden size the dropout is that of the input.
    """

    def __init__(self, config: BertConfig, inputs: int, hidden_dims: Sequence[int],
                 activation_name: str) -> None:
        super().__init__()
        sizes = (inputs, *hidden_dims)
        check_size(sum(a * b for a, b in pairwise(sizes)))
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = activation(config, activation_name)
        self.dropout = head_dropout(config)
        self.scores = nn.Linear(sizes[-1], config.num_labels)
        init_weights(self, config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, C)."""
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        return self.scores(x if self.hidden else self.dropout(x))
