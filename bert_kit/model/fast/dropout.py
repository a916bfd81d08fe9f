"""Dropout with random numbers that a CPU draws fast."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

STEPS = 2**16  # values of 16 bits


def on_cpu(x: Tensor) -> bool:
    """Say whether the paths written for a CPU may be taken: torch.compile has its own kernels."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def fast_dropout(x: Tensor, p: float) -> Tensor:
    """(…) -> (…): zero each element with probability p and scale the rest by 1 / (1 - p).

    On a CPU torch spends more time drawing one random number an element than on the products
    around it. Sixteen bits are enough to compare with p, so four elements share one 64-bit draw;
    p is rounded to a multiple of 2^-16 and the scale follows, so the mean stays exact. The draws
    depend on torch's default generator, as those of `nn.Dropout` do.
    """
    return _Dropped.apply(x, draw_for(x.shape, p)) if on_cpu(x) else F.dropout(x, p)


class Draw(NamedTuple):
    """What one draw lets through.

    Attributes
    ----------
    bits
        A uniform random int16 for each element (…), read as signed.
    lowest_kept
        The smallest of `bits` whose element is not dropped.
    scale
        What is not dropped is multiplied by it.
    """

    bits: Tensor
    lowest_kept: int
    scale: float

    def apply(self, x: Tensor) -> Tensor:
        """(…) -> (…): x * (bits >= lowest_kept) * scale, without a gradient."""
        return self.again(x.dtype)(x)

    def again(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return `apply` for several tensors of a type, with one comparison for all of them.

        The comparison writes 0 or 1 in their own type, because a product with a boolean mask would
        convert the mask first, which costs ten times the product.
        """
        keep = torch.ge(self.bits, self.lowest_kept,
                        out=torch.empty(self.bits.shape, dtype=dtype))
        zero = torch.zeros((), dtype=dtype)
        return lambda x: torch.addcmul(zero, x, keep, value=self.scale)


def draw_for(shape: Sequence[int], p: float) -> Draw:
    """Return a new draw for a tensor of this shape, of which a share p is dropped."""
    dropped = round(p * STEPS)
    if dropped == STEPS:
        return Draw(torch.zeros(tuple(shape), dtype=torch.int16), 1, 0.0)
    return Draw(_random_16_bits(shape), dropped - STEPS // 2, STEPS / (STEPS - dropped))


def _random_16_bits(shape: Sequence[int]) -> Tensor:
    """Return uniform int16 numbers, drawn four at a time.

    numpy's SFC64 draws 64 bits in less than half of torch's time; torch's generator seeds it.
    """
    count = math.prod(shape)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(words.view(np.int16)[:count].reshape(shape))


class _Dropped(torch.autograd.Function):
    """`draw.apply(x)`, keeping two bytes an element for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, draw: Draw) -> Tensor:
        ctx.save_for_backward(draw.bits)
        ctx.rest = draw[1:]
        return draw.apply(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return Draw(*ctx.saved_tensors, *ctx.rest).apply(gradient), None
