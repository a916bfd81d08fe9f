"""The parts that treat every token on its own: LayerNorm, GELU, feed-forward, embeddings.

Each class shows its formula in plain tensor operations, which runs with `fused=False`. One line in
front of it calls what computes the same thing faster: torch's kernel, or a twin in `fast/`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.model.fast.dropout import fast_dropout
from bert_kit.model.fast.linear import Linear, gelu_between


def linear(config: BertConfig, in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer of the encoder.

    With `fused=False` it is torch's own: tools that know a layer by its exact type, such as
    torch's dynamic quantisation, pass over the faster one.
    """
    return (Linear if config.fused else nn.Linear)(in_features, out_features)


class Dropout(nn.Module):
    """Zero each element with probability p and scale the rest by 1 / (1 - p) (Srivastava 2014).

    So the mean stays what it is outside training, where nothing is dropped.
    """

    def __init__(self, p: float, fused: bool = True) -> None:
        super().__init__()
        self.p, self.fused = p, fused

    @property
    def rate(self) -> float:
        """The probability with which an element is dropped now: 0 outside training."""
        return self.p if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(…) -> (…), unchanged outside training."""
        if self.rate == 0:
            return x
        if self.fused:
            return fast_dropout(x, self.p)
        # In float32 whatever x is: there are only 256 numbers from 0 to 1 in bfloat16.
        keep = torch.rand(x.shape, device=x.device) >= self.p
        return x * keep / (1 - self.p or 1)  # with p = 1 nothing is left to be scaled

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LayerNorm(nn.Module):
    """Normalise each token vector, then scale and shift it (Ba et al. 2016, eq. 4).

    y = weight * (x - mean) / sqrt(variance + eps) + bias, with the biased variance over D and
    eps inside the root. BERT's eps is 1e-12, which is zero in half precision: the formula takes
    its statistics in float32, and so do torch's kernels.

    Examples
    --------
    >>> from bert_kit import BertConfig
    >>> norm = LayerNorm(BertConfig(hidden_size=4, num_attention_heads=1))
    >>> norm(torch.tensor([1.0, 0.0, 0.0, 0.0]))[0].item()  # doctest: +ELLIPSIS
    1.7320...
    """

    def __init__(self, config: BertConfig, size: int | None = None) -> None:
        super().__init__()
        size = config.hidden_size if size is None else size  # D, if nothing else is said
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = config.layer_norm_eps
        self.fused = config.fused

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        # An ONNX file would lack an eps as small as BERT's: its optimiser takes it for a zero.
        if self.fused or torch.compiler.is_exporting():
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(-1, keepdim=True)
        # The mean of squared differences, not E[x^2] - E[x]^2: that one cancels for a large mean.
        variance = (centred * centred).mean(-1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return (self.weight * normal + self.bias).to(x.dtype)


class GELU(nn.Module):
    """Gaussian error linear unit, x * P(Z <= x) for a standard normal Z (Hendrycks & Gimpel 2016).

    BERT uses the exact form with erf. The tanh form (`tanh=True`, "gelu_new") differs from it by
    up to 5e-4 and belongs to other checkpoints.

    Examples
    --------
    >>> GELU()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """

    def __init__(self, tanh: bool = False, fused: bool = True) -> None:
        super().__init__()
        self.tanh, self.fused = tanh, fused

    def forward(self, x: Tensor) -> Tensor:
        """(…) -> (…), element by element."""
        if self.fused:
            return F.gelu(x, approximate="tanh" if self.tanh else "none")
        if self.tanh:
            return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def activation(config: BertConfig, name: str | None = None) -> nn.Module:
    """Return the module for an activation by name; default `config.hidden_act`."""
    return {
        "gelu": GELU(fused=config.fused),
        "gelu_new": GELU(tanh=True, fused=config.fused),
        "relu": nn.ReLU(),
        "silu": nn.SiLU(),
        "tanh": nn.Tanh(),
    }[config.hidden_act if name is None else name]


class FeedForward(nn.Module):
    """Two linear layers with an activation between (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.inner = linear(config, config.hidden_size, config.intermediate_size)
        self.activation = activation(config)
        self.output = linear(config, config.intermediate_size, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob, config.fused)
        self.fused = config.fused and isinstance(self.activation, GELU)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        if self.fused:
            return self.dropout(gelu_between(self.inner, self.output, self.activation, x))
        widened = self.inner(x)  # (…, D) -> (…, intermediate_size)
        active = self.activation(widened)
        return self.dropout(self.output(active))  # (…, intermediate_size) -> (…, D)


class Embeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised (Devlin et al. 2019, figure 2).

    No embedding row is pinned to zero for padding: the MLM decoder shares the word embeddings and
    trains the [PAD] row like any other. Padding is kept out by the attention instead.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        # RoBERTa's table has rows in front in which no token stands; elsewhere the offset is 0.
        self.position = nn.Embedding(config.position_offset + config.max_position_embeddings,
                                     config.hidden_size)
        self.segment = (nn.Embedding(config.type_vocab_size, config.hidden_size)
                        if config.type_vocab_size else None)  # DistilBERT has none
        self.norm = LayerNorm(config)
        self.dropout = Dropout(config.hidden_dropout_prob, config.fused)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, positions: Tensor) -> Tensor:
        """(…) whole numbers, three times (any shapes that broadcast) -> (…, D)."""
        summed = self.word(input_ids)
        if self.segment is not None:
            summed = summed + self.segment(token_type_ids)
        return self.dropout(self.norm(summed + self.position(positions)))


def init_weights(module: nn.Module, config: BertConfig) -> None:
    """Give every linear and embedding weight N(0, initializer_range), every linear bias 0.

    Source: Devlin et al. 2019's code (modeling.py, there truncated at two standard deviations).
    LayerNorm is already 1 and 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=config.initializer_range)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
