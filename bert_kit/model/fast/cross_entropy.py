"""Cross-entropy over a vocabulary, whose logits are the largest tensor of pre-training."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_kit.modes import IGNORE

ROWS = 16  # read together: what is computed of them stays in a core's cache


def fast_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(M, C), (M,) -> (): the sum of -log softmax at the labels, in float32; -100 has none."""
    if logits.device.type == "cpu" and logits.ndim == 2:
        return _CrossEntropy.apply(logits, labels)
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")


class _CrossEntropy(torch.autograd.Function):
    """log sum_j exp(z_j) - z_label, summed over the rows; its gradient: softmax, at the label - 1.

    The logits are read some rows at a time, so that what is computed of them in float32 is never
    kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        log_sums = torch.cat([rows.float().logsumexp(-1) for rows in logits.split(ROWS)])
        counted = labels != IGNORE
        at_labels = logits.gather(1, (labels * counted)[:, None])[:, 0].float()
        ctx.save_for_backward(logits, labels, log_sums)
        return ((log_sums - at_labels) * counted).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, labels, log_sums = ctx.saved_tensors
        counted = (labels != IGNORE)[:, None]
        to_logits = torch.empty_like(logits)
        tensors = (to_logits, logits, labels[:, None], log_sums[:, None], counted)
        for out, rows, label, log_sum, counts in zip(*(
                tensor.split(ROWS) for tensor in tensors), strict=True):
            softmax = (rows.float() - log_sum).exp_()  # not in place: the logits are the caller's
            softmax.scatter_add_(1, label * counts, torch.full(label.shape, -1.0))
            out.copy_(softmax.mul_(counts * gradient))
        return to_logits, None
