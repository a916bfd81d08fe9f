"""The machine's own matrix rate: the matrix products of a step, and nothing else of it.

A step is watched once and the operands of each product of its forward pass noted: sizes, layout
and type. If the step trains, each product C = A B adds the two of its gradient, dA = dC B^T and
dB = A^T dC; what a model computes twice to save memory does not count. Then all of them run one
after the other on random numbers, each by the fastest way that torch has for it on this machine.
No step can take less time unless it multiplies less, so "time of the products / time of the step"
is the share of the machine that it uses. The sizes are those of the step, so the few rows count
that the kit adds to reach a size which is known already, and the padding inside its attention.
"""

from functools import partial

import torch
from pairs import seconds_of
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# oneDNN's product, which has another name than MKL's: (x, weight, …) -> x weight^T.
ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _operands(operation, args):
    """Return the two matrices (or stacks of them) of each product of an operation."""
    if operation in (aten.mm, aten.bmm):
        return [args[:2]]
    if operation in (aten.addmm, aten.baddbmm):  # the first one is added
        return [args[1:3]]
    if operation is ONEDNN:
        return [(args[0].flatten(0, -2), args[1].t())]
    if operation is aten._scaled_dot_product_flash_attention_for_cpu:
        query, key, value = args[:3]  # (B, H, S, W)
        weights = query.new_empty(1).expand(*query.shape[:-1], key.shape[-2])
        return [(query, key.transpose(-2, -1)), (weights.contiguous(), value)]
    return []


class _Watch(TorchDispatchMode):
    """Notes ((size, stride, type) of A, the same of B) of products, and if there was a gradient."""

    def __init__(self):
        super().__init__()
        self.forward, self.trains = [], False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        operands = _operands(func.overloadpacket, args)
        if torch._C._current_graph_task_id() != -1:  # torch's way to say: within backward
            self.trains = True
        elif operands:
            self.forward += [tuple((tuple(x.shape), x.stride(), x.dtype) for x in pair)
                             for pair in operands]
        else:
            with self:  # such as linear, which in inference mode arrives whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def products_of(run):
    """Call `run()` and return the list of its matrix products, forward and backward."""
    with _Watch() as watch:
        run()
    if not watch.trains:
        return watch.forward
    return watch.forward + [product for forward in reversed(watch.forward)
                            for product in _gradient(*forward)]


def _gradient(left, right):
    """Return the two products that give the gradients of the operands of one product."""
    size = (*left[0][:-1], right[0][-1])
    output = size, torch.empty(size, device="meta").stride(), left[2]
    return (output, _transposed(right)), (_transposed(left), output)


def _transposed(operand):
    (*stack, rows, columns), (*steps, down, across), dtype = operand
    return (*stack, columns, rows), (*steps, across, down), dtype


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
    """Return the fastest of torch's ways to run one product, by the best of three tries."""
    left, right = (torch.empty_strided(size, stride, dtype=dtype).normal_()
                   for size, stride, dtype in product)
    ways = [partial(torch.matmul, left, right, out=torch.matmul(left, right))]
    if ONEDNN is not None and left.ndim == 2:
        ways.append(partial(ONEDNN, left, right.t(), None, "none", [], ""))
    return min(ways, key=lambda way: min(seconds_of(way) for _ in range(3)))
