"""The linear layer, and the faster product that some processors have for it.

torch multiplies float32 matrices on a CPU with Intel's MKL, which uses AVX-512 on Intel's own
processors only. oneDNN, which torch calls for bfloat16, uses it on any: there it is twice as fast
in float32 too. torch offers that product of oneDNN, `_linear_pointwise`, as an operator without a
gradient (its compiler uses it); the gradient is written here, two products of the same kind.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def _onednn_is_faster():
    """Say whether MKL leaves AVX-512 unused here, and torch has the other product."""
    if not hasattr(torch.cpu, "get_capabilities") or not torch.backends.mkldnn.is_available():
        return False
    processor = torch.cpu.get_capabilities()
    return (processor.get("avx512_f", False) and "Intel" not in processor.get("cpu_name", "")
            and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


ONEDNN = _onednn_is_faster()


class Linear(nn.Linear):
    """y = x W^T + b, with W of shape (out, in).

    Parameters
    ----------
    in_features, out_features : int
    fused : bool
        Whether the faster product may be taken. It has first derivatives only.
    """

    def __init__(self, in_features, out_features, fused=True):
        super().__init__(in_features, out_features)
        self.fused = fused

    def forward(self, x):
        """(…, in) -> (…, out)."""
        return linear(x, self.weight, self.bias, self.fused)


def linear(x, weight, bias, fused=True):
    """(…, in), (out, in), (out,) -> (…, out); `torch.nn.functional.linear`, but faster."""
    if fused and _takes_onednn(x, weight):
        return _Product.apply(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])
    return F.linear(x, weight, bias)


def linear_gelu(layer, gelu, x):
    """`gelu(layer(x))`, (…, in) -> (…, out); without a gradient in one pass where that is faster.

    The product's numbers then go through the function while they are still in the processor.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if not (ONEDNN and layer.fused and x.device.type == "cpu" and x.numel() > 0
            and dtype in (torch.float32, torch.bfloat16) and not torch.is_grad_enabled()):
        return gelu(layer(x))
    return torch.ops.mkldnn._linear_pointwise(
        x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype), "gelu", [],
        "tanh" if gelu.tanh else "none")


def _takes_onednn(x, weight):
    """Say whether the product of these two is faster, and the same, through oneDNN."""
    return (ONEDNN and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
            and x.numel() > 0 and x.ndim > 1 and not torch.is_autocast_enabled("cpu"))


def _product(x, weight, bias=None):
    """(N, in), (out, in), (out,) -> (N, out)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """y = x W^T + b; so dx = dy W, dW = dy^T x, and db is the sum of dy over the rows."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        by_weight = None
        if to_weight and x.shape[1] > gradient.shape[1]:
            by_weight = _product(gradient.t(), x.t())
        elif to_weight:  # the first matrix is copied to be turned round: take the narrower one
            by_weight = _product(x.t(), gradient.t()).t()
        return (_product(gradient, weight.t()) if to_x else None, by_weight,
                gradient.sum(0) if to_bias else None)
