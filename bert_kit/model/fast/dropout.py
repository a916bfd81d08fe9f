"""Dropout, with random numbers that a CPU draws fast."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

STEPS = 2**16  # values of 16 bits


def on_cpu(x):
    """Say whether the paths written for a CPU may be taken: torch.compile has its own kernels."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class Draw(NamedTuple):
    """What one draw lets through.

    Attributes
    ----------
    bits : Tensor (…) of int16
        A uniform random number for each element, read as signed.
    lowest_kept : int
    scale : float
        What is kept is multiplied by it.
    """

    bits: torch.Tensor
    lowest_kept: int
    scale: float

    def apply(self, x):
        """(…) -> (…): x * (bits >= lowest_kept) * scale, without a gradient.

        The comparison writes 0 or 1 in x's own type, because a product with a boolean mask would
        convert the mask first, which costs ten times the product.
        """
        keep = torch.ge(self.bits, self.lowest_kept, out=torch.empty(x.shape, dtype=x.dtype))
        return torch.addcmul(x.new_zeros(()), x, keep, value=self.scale)


class Dropout(nn.Module):
    """Zero each element with probability p and scale the rest by 1 / (1 - p) (Srivastava 2014).

    On a CPU torch spends more time drawing one random number an element than on the products
    around it. Sixteen bits are enough to compare with p, so four elements share one 64-bit draw;
    p is rounded to a multiple of 2^-16 and the scale follows, so the mean stays exact. The draws
    depend on torch's default generator, as those of `nn.Dropout` do.
    """

    def __init__(self, p, fused=True):
        super().__init__()
        self.p, self.fused = p, fused

    def forward(self, x):
        """(…) -> (…), unchanged outside training."""
        if not on_cpu(x):
            return F.dropout(x, self.p, self.training)
        draw = self.draw(x.shape)
        if draw is None:
            return x
        if self.fused:
            return _Dropped.apply(x, draw)
        return x * (draw.bits >= draw.lowest_kept) * draw.scale

    def draw(self, shape):
        """Return the Draw for a tensor of this shape, or None if all of it is kept."""
        if not self.training or self.p == 0:
            return None
        dropped = round(self.p * STEPS)
        if dropped == STEPS:
            return Draw(torch.zeros(shape, dtype=torch.int16), 1, 0.0)
        return Draw(_random_16_bits(shape), dropped - STEPS // 2, STEPS / (STEPS - dropped))

    def extra_repr(self):
        return f"p={self.p}"


def _random_16_bits(shape):
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
    def forward(ctx, x, draw):
        ctx.save_for_backward(draw.bits)
        ctx.draw = draw._replace(bits=None)
        return draw.apply(x)

    @staticmethod
    def backward(ctx, gradient):
        draw = ctx.draw._replace(bits=ctx.saved_tensors[0])
        return draw.apply(gradient), None
