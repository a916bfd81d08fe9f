"""Attention without a head's weights kept in memory, and over rows of like length together."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_kit.model.fast.dropout import Draw, draw_for, on_cpu
from bert_kit.model.fast.packing import Packing


def fast_attention(qkv: Tensor, heads: int, mask: Tensor | None = None,
                   packing: Packing | None = None, p: float = 0.0) -> Tensor:
    """(B, S, 3D) -> (B, S, D), or (N, 3D) -> (N, D) with a packing: `attend` for all heads.

    On a CPU torch's kernel has no dropout of its own and a slow backward in bfloat16: where one of
    them is needed the formula beats it, over blocks whose scores stay in the cache.

    Parameters
    ----------
    qkv
        Queries, keys and values of each token side by side, each of them head by head.
    heads
        Number H.
    mask
        (B, S), True at real tokens. Not used with a packing, which knows.
    packing
        Layout of packed tokens.
    p
        Probability with which a weight is dropped.
    """
    attend = _recomputing if on_cpu(qkv) and (p or qkv.requires_grad) else _by_kernel
    if packing is None:
        return _over_rows(qkv, heads, mask, p, attend)
    if not on_cpu(qkv):  # one large masked call beats many small ones there
        grid = packing.unpack(qkv)
        return packing.pack(_over_rows(grid, heads, packing.mask, p, _by_kernel))
    contexts = [_over_rows(part, heads, seen, p, attend) for part, seen in packing.split(qkv)]
    return packing.join(contexts) if contexts else qkv[:, :qkv.shape[-1] // 3]


def _over_rows(qkv: Tensor, heads: int, mask: Tensor | None, p: float,
               attend: Callable[[Tensor, Tensor | None, float], Tensor]) -> Tensor:
    """(B, S, 3D) -> (B, S, D)."""
    by_head = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # -> (3, B, H, S, W)
    context = attend(by_head, None if mask is None else mask[:, None, None, :], p)
    return context.transpose(1, 2).flatten(2)  # (B, H, S, W) -> (B, S, D)


def _by_kernel(by_head: Tensor, seen: Tensor | None, p: float) -> Tensor:
    query, key, value = by_head
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=p)


def _recomputing(by_head: Tensor, seen: Tensor | None, p: float) -> Tensor:
    by_head = by_head.contiguous()
    _, *shape, _ = by_head.shape  # (3, B, H, S, W): B, H, S, and S once more
    return _Attend.apply(by_head, seen, draw_for((*shape, shape[-1]), p) if p else None)


def _weights(query: Tensor, key: Tensor, seen: Tensor | None) -> Tensor:
    """(…, S, W), (…, S, W) -> (…, S, S), as in `attend`, without a gradient."""
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if seen is not None:
        scores = scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


class _Attend(torch.autograd.Function):
    """Attention on queries, keys and values (3, B, H, S, W), which forgets the weights.

    Kept for the backward pass they would be most of a step's memory, S numbers for each token and
    head. They are computed once more instead, from what is kept anyway: one product and a softmax
    (Rabe & Staats 2021; Dao et al. 2022, section 3.1).
    """

    @staticmethod
    def forward(ctx: Any, by_head: Tensor, seen: Tensor | None, draw: Draw | None) -> Tensor:
        ctx.save_for_backward(by_head, seen, None if draw is None else draw.bits)
        ctx.rest = None if draw is None else draw[1:]
        query, key, value = by_head
        # Autocast would do softmax in float32, between two conversions of all the scores; torch's
        # kernel sums in float32 whatever it reads.
        with torch.autocast("cpu", enabled=False):
            weights = _weights(query, key, seen)
            return (weights if draw is None else draw.apply(weights)) @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (query, key, value), seen, bits = ctx.saved_tensors
        drop = (lambda x: x) if bits is None else Draw(bits, *ctx.rest).apply
        with torch.autocast("cpu", enabled=False):
            weights, gradient = _weights(query, key, seen), gradient.contiguous()
            to_value = drop(weights).transpose(-2, -1) @ gradient
            to_weights = drop(gradient @ value.transpose(-2, -1))
            # Through softmax: p_i (g_i - sum_j p_j g_j), by torch's kernel.
            to_scores = torch.ops.aten._softmax_backward_data(
                to_weights, weights, -1, weights.dtype)
            to_scores /= math.sqrt(query.shape[-1])
            if seen is not None:  # a query that sees nothing has weights all the same
                to_scores.masked_fill_(~seen, 0)
            to_query, to_key = to_scores @ key, to_scores.transpose(-2, -1) @ query
            return torch.stack([to_query, to_key, to_value]), None, None
