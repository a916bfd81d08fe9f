"""The linear layer with a faster product, and two of them with GELU between.

torch multiplies float32 matrices on a CPU with Intel's MKL, which uses AVX-512 on Intel's own
processors only. oneDNN, which torch calls for bfloat16, uses it on any: there it is twice as fast
in float32 too. torch offers that product of oneDNN, `_linear_pointwise`, as an operator without a
gradient (its compiler uses it); the gradient is written here, two products of the same kind.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_kit.model.fast.dropout import on_cpu


def _onednn_is_faster() -> bool:
    """Say whether MKL leaves AVX-512 unused here, and torch has the other product."""
    if not hasattr(torch.cpu, "get_capabilities") or not torch.backends.mkldnn.is_available():
        return False
    processor = torch.cpu.get_capabilities()
    return (processor.get("avx512_f", False) and "Intel" not in processor.get("cpu_name", "")
            and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


ONEDNN = _onednn_is_faster()


class Linear(nn.Linear):
    """y = x W^T + b, with W of shape (out, in), by the faster product; first derivatives only."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        return fast_linear(x, self.weight, self.bias)


def fast_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(…, in), (out, in), (out,) -> (…, out): x W^T + b, with first derivatives only."""
    if _takes_onednn(x, weight):
        return _Product.apply(x, weight, bias, None)
    return F.linear(x, weight, bias)


def gelu_between(inner: nn.Linear, outer: nn.Linear, gelu: nn.Module, x: Tensor) -> Tensor:
    """(…, in) -> (…, out): `outer(gelu(inner(x)))`, faster and in less memory on a CPU.

    Without a gradient GELU is part of the first product: its numbers go through the function while
    they are still in the processor. With one, what GELU returns is not kept for the backward pass
    but computed again; it is as large as what GELU reads, and those two are the largest tensors of
    a block.
    """
    if not on_cpu(x) or x.ndim == 1 or not all(map(is_plain, (inner, gelu, outer))):
        return outer(gelu(inner(x)))
    kind = "tanh" if gelu.tanh else "none"
    if torch.is_grad_enabled():
        widened = inner(x)
        return _Product.apply(widened, outer.weight.to(widened.dtype),
                              outer.bias.to(widened.dtype), kind)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if (ONEDNN and x.numel() > 0 and x.dtype in (torch.float32, torch.bfloat16)
            and dtype in (torch.float32, torch.bfloat16)):
        return outer(torch.ops.mkldnn._linear_pointwise(
            x.to(dtype), inner.weight.to(dtype), inner.bias.to(dtype), "gelu", [], kind))
    return outer(gelu(inner(x)))


def is_plain(module: nn.Module) -> bool:
    """Say whether it is enough to know a module's weights: nothing happens when it is called."""
    return type(module).__module__.startswith("bert_kit.model.") and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        or module._backward_pre_hooks or "forward" in vars(module))


def _takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Say whether the product of these two is faster, and the same, through oneDNN."""
    return (ONEDNN and on_cpu(x) and x.dtype == weight.dtype == torch.float32
            and x.numel() > 0 and x.ndim > 1 and not torch.is_autocast_enabled("cpu"))


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(…, in), (out, in), (out,) -> (…, out), without a gradient."""
    if _takes_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def _gradients(x: Tensor, weight: Tensor, gradient: Tensor, needed: tuple[bool, ...]
               ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradient with respect to x, weight and bias of y = x W^T + b, given that to y.

    dx = dy W, dW = dy^T x, and db is the sum of dy over the rows. `needed` says which to compute.
    """
    with torch.autocast("cpu", enabled=False):  # whatever surrounds the call of backward
        to_x = _product(gradient, weight.t()) if needed[0] else None
        x, gradient, to_weight = x.flatten(0, -2), gradient.flatten(0, -2), None
        if needed[1] and x.shape[1] > gradient.shape[1]:
            to_weight = _product(gradient.t(), x.t())
        elif needed[1]:  # the first matrix is copied to be turned round: take the narrower one
            to_weight = _product(x.t(), gradient.t()).t()
        return to_x, to_weight, gradient.sum(0) if needed[2] else None


class _Product(torch.autograd.Function):
    """y = f(x) W^T + b with f a GELU of some kind, or nothing; of it, x and W are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, kind: str | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kind = kind
        return _product(_active(x, kind), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = _gradients(
            _active(x, ctx.kind), weight, gradient, ctx.needs_input_grad)
        if ctx.kind is not None and to_x is not None:
            to_x = torch.ops.aten.gelu_backward(to_x, x, approximate=ctx.kind)
        return to_x, to_weight, to_bias, None


def _active(x: Tensor, kind: str | None) -> Tensor:
    return x if kind is None else F.gelu(x, approximate=kind)
