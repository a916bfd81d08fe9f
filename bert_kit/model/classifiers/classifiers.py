"""Classification heads: each takes the encoder's output and the mask, and returns (B, C) logits.

`CLASSIFIERS` lists them all. A head of your own is any module with the same `forward`; see
`BERTForSequenceClassification`.
"""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bert_kit.checks import one_of, whole, wholes
from bert_kit.config import ACTIVATIONS, BertConfig
from bert_kit.errors import ConfigError
from bert_kit.model.classifiers.head_parts import MLP, TokenHead, head_dropout
from bert_kit.model.classifiers.kan import FourierKANClassifier, WaveletKANClassifier
from bert_kit.model.classifiers.pooling import POOLINGS
from bert_kit.model.classifiers.sequences import (AttentionClassifier, BiLSTMClassifier,
                                                  CNNClassifier)
from bert_kit.model.encoder import EncoderOutput
from bert_kit.model.layers import init_weights


class LinearClassifier(nn.Module):
    """Dropout and one linear layer on the pooled [CLS] vector (Devlin et al. 2019, section 4.1)."""

    uses_pooler = True

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dropout = head_dropout(config)
        self.output = nn.Linear(config.hidden_size, config.num_labels)
        init_weights(self, config)

    def forward(self, encoded: EncoderOutput, mask: Tensor | None = None) -> Tensor:
        """EncoderOutput with a pooled vector (B, D) -> (B, C)."""
        return self.output(self.dropout(encoded.pooler_output))


class DenseClassifier(TokenHead):
    """Linear, activation, dropout and linear on the vector of the first token.

    The standard head of RoBERTa and XLM-R, with tanh, and dropout in front too (Liu et al. 2019's
    code, `RobertaClassificationHead`); and of DistilBERT, with ReLU (Sanh et al. 2019's).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.relu = config.model_type == "distilbert"
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = head_dropout(config)
        self.output = nn.Linear(config.hidden_size, config.num_labels)
        init_weights(self, config)

    def forward(self, encoded: EncoderOutput, mask: Tensor | None = None) -> Tensor:
        """EncoderOutput -> (B, C)."""
        first = encoded.last_hidden_state[:, 0]  # (B, S, D) -> (B, D)
        if self.relu:
            return self.output(self.dropout(torch.relu(self.dense(first))))
        return self.output(self.dropout(torch.tanh(self.dense(self.dropout(first)))))


def standard_classifier(config: BertConfig) -> nn.Module:
    """Build the head that the model was published with."""
    return (LinearClassifier if config.model_type == "bert" else DenseClassifier)(config)


def decreasing_sizes(depth: int, start: int, end: int) -> list[int]:
    """Return `depth` even sizes from `start` down to `end`, all in the same ratio to the next.

    Examples
    --------
    >>> decreasing_sizes(3, 768, 64)
    [768, 222, 64]
    >>> decreasing_sizes(1, 768, 64)
    [768]
    """
    start = max(start, end)
    ratio = (end / start) ** (1 / max(1, depth - 1))
    return [2 * round(start * ratio**n / 2) for n in range(depth)]


class MLPClassifier(TokenHead):
    """Linear, activation and dropout, several times, then linear, on one vector a row.

    Parameters
    ----------
    hidden_dims
        Sizes of the hidden layers, up to 16 of them; default D and D/2. With none the head is
        dropout and one linear layer.
    depth
        Instead of sizes: 1 to 4 hidden layers whose even sizes fall geometrically from 2 D to
        2 C, or to 64 if that is more.
    activation
        "relu", or another that BertConfig knows.
    pooling
        "cls", "mean" or "max" over real tokens, or "pooler": the encoder's own, of its last layer.
    last_layers
        Read the last k layers of the encoder side by side.
    """

    def __init__(self, config: BertConfig, hidden_dims: Sequence[int] | None = None,
                 depth: int | None = None, activation: str = "relu", pooling: str = "cls",
                 last_layers: int = 1) -> None:
        super().__init__(config, last_layers)
        self.uses_pooler = one_of("pooling", pooling, (*POOLINGS, "pooler")) == "pooler"
        if self.uses_pooler and last_layers > 1:
            raise ConfigError(f"last_layers is {last_layers} and pooling 'pooler', which reads the "
                              "last layer only; expected 1")
        if hidden_dims is not None and depth is not None:
            raise ConfigError(f"hidden_dims is {hidden_dims!r} and depth {depth!r}; "
                              f"expected one of the two")
        if hidden_dims is not None:
            sizes = wholes("hidden_dims", hidden_dims, 1, 65_536, least=0)
        elif depth is not None:
            sizes = decreasing_sizes(whole("depth", depth, 1, 4), 2 * config.hidden_size,
                                     max(2 * config.num_labels, 64))
        else:
            sizes = (config.hidden_size, max(1, config.hidden_size // 2))
        self.pool = POOLINGS.get(pooling)
        self.mlp = MLP(config, self.width, sizes, one_of("activation", activation, ACTIVATIONS))

    def forward(self, encoded: EncoderOutput, mask: Tensor) -> Tensor:
        """EncoderOutput, (B, S) -> (B, C)."""
        if self.pool is None:
            return self.mlp(encoded.pooler_output)
        return self.mlp(self.pool(self.tokens(encoded), mask))


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "standard": standard_classifier,
    "mlp": MLPClassifier,
    "bilstm": BiLSTMClassifier,
    "attention": AttentionClassifier,
    "cnn": CNNClassifier,
    "fourier_kan": FourierKANClassifier,
    "wavelet_kan": WaveletKANClassifier,
}


def make_classifier(config: BertConfig) -> nn.Module:
    """Build the head that `config.classifier` describes.

    Parameters
    ----------
    config
        `classifier` is empty (the standard head) or {"type": a key of `CLASSIFIERS`, and any
        options of that head}.

    Raises
    ------
    ConfigError
        If there is no such head, or the head has no such option or value; the line lists what
        there is.

    Examples
    --------
    >>> from bert_kit import BertConfig
    >>> config = BertConfig(classifier={"type": "mlp", "hidden_dims": [50], "pooling": "mean"})
    >>> make_classifier(config).mlp.hidden
    ModuleList(
      (0): Linear(in_features=768, out_features=50, bias=True)
    )
    """
    options = dict(config.classifier)
    kind = one_of("classifier type", options.pop("type", "standard"), CLASSIFIERS)
    head = CLASSIFIERS[kind]
    known = list(inspect.signature(head).parameters)[1:]  # the first is the configuration
    for name in options:
        if name not in known:
            raise ConfigError(f"classifier {kind} has no option {name!r}; "
                              f"its options: {', '.join(known) or 'none'}")
    try:
        return head(config, **options)
    except ConfigError as error:
        raise ConfigError(f"classifier {kind}: {error}") from None
