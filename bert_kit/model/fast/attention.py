"""Attention without a head's weights kept in memory, and over rows of like length together."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_kit.model.fast.dropout import Draw, draw_for, on_cpu
from bert_kit.model.fast.packing import Block, Packing


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
    formula = on_cpu(qkv) and (p > 0 or qkv.requires_grad)
    if packing is None:
        if not formula:
            return _by_kernel(qkv, heads, mask, p)
        rows, length, _ = qkv.shape
        grid = Packing(rows, length, None, (Block(rows, length, mask),), None)
        return grid.unpack(_Attend.apply(qkv.flatten(0, 1), heads, grid, p))
    if not on_cpu(qkv):  # one large masked call beats many small ones there
        return packing.pack(_by_kernel(packing.unpack(qkv), heads, packing.mask, p))
    if not packing.blocks:
        return qkv[:, :qkv.shape[-1] // 3]
    if formula:
        return _Attend.apply(qkv, heads, packing, p)
    return packing.join([_by_kernel(part, heads, seen, p) for part, seen in packing.split(qkv)])


def _by_kernel(qkv: Tensor, heads: int, mask: Tensor | None, p: float) -> Tensor:
    """(B, S, 3D) -> (B, S, D)."""
    query, key, value = _by_head(qkv, 3, heads)
    seen = None if mask is None else mask[:, None, None, :]
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=p)
    return context.transpose(1, 2).flatten(2)  # (B, H, S, W) -> (B, S, D)


def _by_head(x: Tensor, parts: int, heads: int) -> Tensor:
    """(R, n, parts D) -> (parts, R, H, n, W), a view."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4)


def _weights(query: Tensor, key: Tensor, seen: Tensor | None) -> Tensor:
    """(…, S, W), (…, S, W) -> (…, S, S), as in `attend`, without a gradient."""
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if seen is not None:
        scores = scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


class _Attend(torch.autograd.Function):
    """Attention over the blocks of a packing, (N, 3D) -> (N, D), which forgets the weights.

    Kept for the backward pass they would be most of a step's memory, S numbers for each token and
    head. They are computed once more instead, from what is kept anyway: one product and a softmax
    (Rabe & Staats 2021; Dao et al. 2022, section 3.1). All blocks are one operation, so that what
    comes of each is written where it belongs, and not copied together afterwards.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, packing: Packing, p: float) -> Tensor:
        contexts, kept = [], []
        # Autocast would do softmax in float32, between two conversions of all the scores; torch's
        # kernel sums in float32 whatever it reads.
        with torch.autocast("cpu", enabled=False):
            for part, mask in packing.split(qkv):  # (R, n, 3D)
                query, key, value = by_head = _by_head(part, 3, heads).contiguous()
                seen = None if mask is None else mask[:, None, None, :]
                weights = _weights(query, key, seen)
                draw = draw_for(weights.shape, p) if p else None
                context = (weights if draw is None else draw.apply(weights)) @ value
                contexts.append(context.transpose(1, 2).flatten(2))  # -> (R, n, D)
                kept.append((by_head, draw))
        ctx.save_for_backward(*(x for by_head, draw in kept for x in (
            by_head, None if draw is None else draw.bits)))
        ctx.packing, ctx.rest = packing, kept[0][1][1:] if p else None
        return packing.join(contexts).detach()  # no view, which nobody could change in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        kept = ctx.saved_tensors
        to_qkv = []
        with torch.autocast("cpu", enabled=False):
            for (part, mask), by_head, bits in zip(
                    ctx.packing.split(gradient), kept[::2], kept[1::2], strict=True):
                seen = None if mask is None else mask[:, None, None, :]
                draw = None if bits is None else Draw(bits, *ctx.rest)
                part, = _by_head(part, 1, by_head.shape[2])
                to_qkv.append(_gradients(by_head, part.contiguous(), seen, draw))
        return ctx.packing.join(to_qkv), None, None, None


def _gradients(by_head: Tensor, gradient: Tensor, seen: Tensor | None, draw: Draw | None
               ) -> Tensor:
    """(3, R, H, n, W) and the gradient of the context (R, H, n, W) -> that of (R, n, 3D)."""
    query, key, value = by_head
    drop = (lambda x: x) if draw is None else draw.again(gradient.dtype)
    weights = _weights(query, key, seen)
    to_value = drop(weights).transpose(-2, -1) @ gradient
    to_weights = drop(gradient @ value.transpose(-2, -1))
    # Through softmax: p_i (g_i - sum_j p_j g_j), by torch's kernel.
    to_scores = torch.ops.aten._softmax_backward_data(to_weights, weights, -1, weights.dtype)
    to_scores /= math.sqrt(query.shape[-1])
    if seen is not None:  # a query that sees nothing has weights all the same
        to_scores.masked_fill_(~seen, 0)
    to_query, to_key = to_scores @ key, to_scores.transpose(-2, -1) @ query
    _, rows, heads, length, width = by_head.shape
    found = by_head.new_empty(rows, length, 3 * heads * width)
    for place, x in zip(_by_head(found, 3, heads), (to_query, to_key, to_value), strict=True):
        place.copy_(x)
    return found
