"""Kolmogorov-Arnold networks: layers whose connections are learned functions, not numbers.

A linear layer adds up numbers w_oi x_i and needs an activation after it. A KAN layer (Liu et al.
2024, eq. 5; after the theorem that a continuous function of many variables is made of sums and
functions of one variable) adds up functions phi_oi(x_i). Here each is a straight line and a
series of waves or wavelets:

    y_o = b_o + sum over i of phi_oi(x_i),    phi_oi(x) = sum over k of c_oik f_k(x),   f_0(x) = x

The f_k and what is learned of them (frequencies, or scales and translations) belong to the layer,
the coefficients c to each connection. So the layer is one matrix product: of the f_k of all
inputs, (B, in K), with the coefficients, (out, in K). Nothing of size B x out x in is made.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.checks import number, one_of, whole
from bert_kit.config import BertConfig
from bert_kit.model.classifiers.head_parts import MLP, TokenHead, check_size, head_dropout
from bert_kit.model.classifiers.pooling import POOLINGS
from bert_kit.model.classifiers.wavelets import WAVELETS, WaveletBasis
from bert_kit.model.encoder import EncoderOutput
from bert_kit.model.layers import GELU, LayerNorm, init_weights


class FourierBasis(nn.Module):
    """x itself, cos(w_k x) and sin(w_k x) for k = 1 … G, with learned frequencies w_k, at first k.

    Source: FourierKAN (github.com/GistNoesis/FourierKAN) for the waves; the learned frequencies
    and the direct linear path make the layer a hybrid, as text classifiers use it.

    Parameters
    ----------
    count
        Number G of frequencies.
    exponent
        The coefficients of frequency k start as large as k^-exponent. With 2 ("smooth
        initialisation") a step of x by a tenth of its standard deviation leads to a y that
        correlates with the one before by 0.99, at any G. With 0 the waves lose it, 0.68 at G = 16
        and 0.18 at 64, while the line keeps the sum of both at 0.84 and 0.60.
    """

    def __init__(self, count: int, exponent: float = 2.0) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.arange(1.0, count + 1))
        self.exponent = exponent

    def forward(self, x: Tensor) -> Tensor:
        """(…) -> (…, 1 + 2 G)."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # 64 x in bfloat16 is no angle
        angles = x[..., None] * self.frequencies  # (…) -> (…, G)
        return torch.cat([x[..., None], angles.cos(), angles.sin()], -1)

    def initial_std(self) -> Tensor:
        """Return (1 + 2 G,): sizes of coefficients that give unit variance to one input's sum.

        Half of it comes from the line, for x of variance 1; half from the waves, for any x, as
        cos^2 + sin^2 = 1.
        """
        decay = torch.arange(1.0, len(self.frequencies) + 1) ** -self.exponent
        waves = decay / (2 * decay.square().sum()).sqrt()
        return torch.cat([torch.tensor([0.5]).sqrt(), waves, waves])


Basis = FourierBasis | WaveletBasis


class KANLayer(nn.Module):
    """y_o = b_o + sum over i and k of c_oik f_k(x_i), with the f_k of a basis.

    For inputs of mean 0 and variance 1 the outputs start with a variance of about 1.

    Parameters
    ----------
    inputs, outputs
        Sizes of the vectors x and y.
    basis
        The functions f_k.

    Examples
    --------
    >>> layer = KANLayer(5, 3, FourierBasis(8))
    >>> layer(torch.zeros(2, 5)).shape, layer.coefficients.shape
    (torch.Size([2, 3]), torch.Size([3, 5, 17]))
    """

    def __init__(self, inputs: int, outputs: int, basis: Basis) -> None:
        super().__init__()
        self.basis = basis
        std = basis.initial_std() / inputs**0.5
        check_size(outputs * inputs * len(std))
        self.coefficients = nn.Parameter(torch.randn(outputs, inputs, len(std)) * std)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        values = self.basis(x).flatten(-2)  # (…, in) -> (…, in K)
        return F.linear(values, self.coefficients.flatten(1), self.bias)  # (…, in K) -> (…, out)


class KANUnit(nn.Module):
    """x + K(LN(dropout(GELU(K(LN(x)))))): two KAN layers beside a residual path.

    Each K is behind a LayerNorm, because its functions are laid out for inputs of variance 1.
    """

    def __init__(self, config: BertConfig, width: int, make_basis: Callable[[], Basis]) -> None:
        super().__init__()
        self.first_norm, self.second_norm = LayerNorm(config, width), LayerNorm(config, width)
        self.first = KANLayer(width, width, make_basis())
        self.second = KANLayer(width, width, make_basis())
        self.activation = GELU(fused=config.fused)
        self.dropout = head_dropout(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        inner = self.dropout(self.activation(self.first(self.first_norm(x))))
        return x + self.second(self.second_norm(inner))


class KANClassifier(TokenHead):
    """LayerNorm, projection, a KAN unit, LayerNorm and an MLP, on one vector a row.

    pooled -> LayerNorm -> linear, GELU, half the dropout -> KAN unit, dropout -> LayerNorm ->
    linear, GELU, dropout -> linear. The two heads below choose the functions.

    Parameters
    ----------
    make_basis
        Returns a new basis.
    pooling
        "cls", "mean" or "max" over real tokens.
    width
        Size of the projection and of the KAN layers; None takes k D, or 512 if that is less.
    last_layers
        Read the last k layers of the encoder side by side.
    """

    def __init__(self, config: BertConfig, make_basis: Callable[[], Basis], pooling: str,
                 width: int | None, last_layers: int) -> None:
        super().__init__(config, last_layers)
        width = min(self.width, 512) if width is None else whole("width", width, 1, 4_096)
        self.pool = POOLINGS[one_of("pooling", pooling, POOLINGS)]
        self.input_norm = LayerNorm(config, self.width)
        self.projection = nn.Linear(self.width, width)
        init_weights(self, config)
        self.activation = GELU(fused=config.fused)
        self.input_dropout, self.dropout = head_dropout(config, 0.5), head_dropout(config)
        self.unit = KANUnit(config, width, make_basis)
        self.unit_norm = LayerNorm(config, width)
        self.mlp = MLP(config, width, [width], "gelu")

    def forward(self, encoded: EncoderOutput, mask: Tensor) -> Tensor:
        """EncoderOutput, (B, S) -> (B, C)."""
        pooled = self.pool(self.tokens(encoded), mask)  # (B, S, k D) -> (B, k D)
        x = self.projection(self.input_norm(pooled))  # (B, k D) -> (B, width)
        x = self.unit(self.input_dropout(self.activation(x)))
        return self.mlp(self.unit_norm(self.dropout(x)))  # (B, width) -> (B, C)


class FourierKANClassifier(KANClassifier):
    """The KAN head with waves: see `KANClassifier` and `FourierBasis`.

    Text classifiers called FourierKAN often compute sines of a few learned projections beside a
    linear layer. Here the line and the learned frequencies are parts of a true KAN layer, in
    which each connection has a function of its own.

    Parameters
    ----------
    num_frequencies
        Number G of frequencies of each function.
    exponent
        Initial fall of the coefficients, k^-exponent, 0 to 8.
    pooling, width, last_layers
        As in `KANClassifier`.
    """

    def __init__(self, config: BertConfig, num_frequencies: int = 8, exponent: float = 2.0,
                 pooling: str = "cls", width: int | None = None, last_layers: int = 1) -> None:
        num_frequencies = whole("num_frequencies", num_frequencies, 1, 1_024)
        exponent = number("exponent", exponent, 0, 8)
        super().__init__(config, partial(FourierBasis, num_frequencies, exponent), pooling, width,
                         last_layers)


class WaveletKANClassifier(KANClassifier):
    """The KAN head with wavelets: see `KANClassifier` and `WaveletBasis`.

    Parameters
    ----------
    num_wavelets
        Number of wavelets of each function.
    wavelet_type
        "haar", "mexican", "morlet", or "mixed" for a third of each.
    pooling, width, last_layers
        As in `KANClassifier`.
    """

    def __init__(self, config: BertConfig, num_wavelets: int = 8, wavelet_type: str = "mixed",
                 pooling: str = "cls", width: int | None = None, last_layers: int = 1) -> None:
        num_wavelets = whole("num_wavelets", num_wavelets, 1, 1_024)
        one_of("wavelet_type", wavelet_type, (*WAVELETS, "mixed"))
        super().__init__(config, partial(WaveletBasis, num_wavelets, wavelet_type), pooling,
                         width, last_layers)
