"""A block of the encoder whose weights were cast, and laid out for the processor, once.

A product of oneDNN first brings its weight into the order in which a core reads it, and autocast
casts every weight first, both in every call. Here both are done before. That order is oneDNN's
secret, so such a weight is good for this one product; it has no gradient.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from bert_kit.model.fast.attention import fast_attention
from bert_kit.model.fast.linear import is_plain
from bert_kit.model.fast.packing import Packing

if TYPE_CHECKING:
    from bert_kit.model.encoder import TransformerEncoderBlock

ROWS = 2_048  # tokens of a batch, about; the layout that oneDNN chooses for so many suits few too


def can_prepare(precision: str) -> bool:
    """Say whether prepared products are the fastest here, and torch has them.

    In float32 MKL is as fast in large products on Intel's processors with AVX-512, and slower in
    small ones and where GELU follows; on others it is half as fast. In bfloat16 they need a
    processor that multiplies in it.
    """
    operators = torch.ops.mkldnn
    if not (hasattr(torch.cpu, "get_capabilities") and torch.backends.mkldnn.is_available()
            and torch.backends.mkldnn.enabled and hasattr(operators, "_linear_pointwise")
            and hasattr(operators, "_reorder_linear_weight")):
        return False
    needed = {"float32": ("avx512_f",), "bfloat16": ("avx512_bf16", "amx_bf16")}
    processor = torch.cpu.get_capabilities()
    return any(processor.get(name, False) for name in needed.get(precision, ()))


class Product(NamedTuple):
    """x W^T + b and perhaps GELU of it, with a weight that only oneDNN can read.

    Attributes
    ----------
    activation, kind
        "none"; or "gelu", of the kind "none" (with erf) or "tanh".
    """

    weight: Tensor
    bias: Tensor
    activation: str
    kind: str

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, dtype: torch.dtype,
           activation: nn.Module | None = None) -> "Product":
        """Prepare a weight (out, in) for x in `dtype`; a GELU may follow."""
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype), ROWS)
        if activation is None:
            return cls(packed, bias.detach(), "none", "")
        return cls(packed, bias.detach(), "gelu", "tanh" if activation.tanh else "none")

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return torch.ops.mkldnn._linear_pointwise.default(
            x, self.weight, self.bias, self.activation, [], self.kind)


class PreparedBlock(NamedTuple):
    """What `prepared_block` needs of a block besides the block itself.

    Attributes
    ----------
    qkv, output, inner, outer
        The products of attention and feed-forward.
    dtype, gives
        Type in which it computes, and of what it returns.
    """

    qkv: Product
    output: Product
    inner: Product
    outer: Product
    dtype: torch.dtype
    gives: torch.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied or pickled it is None: only here can these weights be read."""
        return type(None), ()

    @classmethod
    def of(cls, block: "TransformerEncoderBlock", dtype: torch.dtype, gives: torch.dtype
           ) -> "PreparedBlock":
        """Prepare the weights of a block, which keeps its own."""
        attention, feed_forward = block.attention, block.feed_forward
        gelu: Any = feed_forward.activation if feed_forward.fused else None

        def product(linear: nn.Linear, activation: nn.Module | None = None) -> Product:
            return Product.of(linear.weight, linear.bias, dtype, activation)

        return cls(product(attention.qkv), product(attention.output),
                   product(feed_forward.inner, gelu), product(feed_forward.output), dtype, gives)


def is_preparable(block: "TransformerEncoderBlock") -> bool:
    """Say whether it is enough to know the weights of a block: BERT's, on a CPU, in float32."""
    feed_forward = block.feed_forward  # an activation of another kind is called as it is
    called = () if feed_forward.fused else tuple(feed_forward.activation.modules())
    return block.attention.fused and all(
        is_plain(part) for part in block.modules() if part not in called) and all(
        weight.dtype == torch.float32 and weight.device.type == "cpu"
        for weight in block.parameters())


def prepared_block(block: "TransformerEncoderBlock", prepared: PreparedBlock, x: Tensor,
                   packing: Packing) -> Tensor:
    """(N, D) -> (N, D): `block(x, packing=packing)` without dropout and gradients."""
    feed_forward, x = block.feed_forward, x.to(prepared.dtype)
    context = fast_attention(prepared.qkv(x), block.attention.heads, packing=packing)
    x = block.attention_norm(prepared.output(context).add_(x))
    widened = prepared.inner(x)
    if not feed_forward.fused:  # an activation that is not part of the product
        widened = feed_forward.activation(widened)
    return block.feed_forward_norm(prepared.outer(widened).add_(x)).to(prepared.gives)
