"""The machine's own matrix rate: the matrix products of a step, and nothing else of it.

A step is watched once and the operands of each of its products noted, forward and backward: sizes,
layout and type. Then the same products run one after the other on random numbers, each by the
fastest way that torch has for it on this machine. No step can take less time unless it multiplies
less, so "time of the products / time of the step" is the share of the machine that it uses.
"""

from functools import partial

import torch
from pairs import seconds_of
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# oneDNN's product, which has another name than MKL's: (x, weight, …) -> x weight^T.
ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _operands(operation, args):
    """Return the two matrices (or stacks of them) of a product, None for any other operation."""
    if operation in (aten.mm, aten.bmm):
        return args[:2]
    if operation in (aten.addmm, aten.baddbmm):  # the first one is added
        return args[1:3]
    if operation is ONEDNN:
        return args[0].flatten(0, -2), args[1].t()
    return None


class _Watch(TorchDispatchMode):
    """Notes ((size, stride, type) of the left operand, the same of the right one) of products."""

    def __init__(self):
        super().__init__()
        self.products = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        operands = _operands(func.overloadpacket, args)
        if operands is not None:
            self.products.append(tuple((tuple(x.shape), x.stride(), x.dtype) for x in operands))
        else:
            with self:  # such as linear, which in inference mode arrives whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def products_of(run):
    """Call `run()` and return the list of its matrix products."""
    with _Watch() as watch:
        run()
    return watch.products


def multiplications(products):
    """Return how many pairs of numbers these products multiply: m k n for (m, k) x (k, n)."""
    total = 0
    for (left, _, _), (right, _, _) in products:
        total += torch.Size(left).numel() * right[-1]
    return total


def products_alone(products):
    """Return a function that runs these products on random numbers.

    Equal products share their operands. In a step, too, a product's operands have just been
    written by the operation before it.
    """
    ready = {product: _fastest(product) for product in set(products)}

    def run():
        for product in products:
            ready[product]()
    return run


def _fastest(product):
    """Return the fastest of torch's ways to run one product; the third of three tries counts."""
    left, right = (torch.empty_strided(size, stride, dtype=dtype).normal_()
                   for size, stride, dtype in product)
    ways = [partial(torch.matmul, left, right, out=torch.matmul(left, right))]
    if ONEDNN is not None and left.ndim == 2:
        ways.append(partial(ONEDNN, left, right.t(), None, "none", [], ""))
    return min(ways, key=lambda way: [seconds_of(way) for _ in range(3)][-1])
