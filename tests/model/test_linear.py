"""The linear layer against its formula in float64, whichever product this machine takes."""

import pytest
import torch

from bert_kit.model import GELU, Linear
from bert_kit.model.fast import linear as module
from bert_kit.model.fast.linear import fast_linear, gelu_between

SHAPES = [((7, 5), 3), ((2, 3, 9), 11), ((1, 4), 1), ((65, 33), 130), ((3, 2, 2, 6), 5)]


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def product(request, monkeypatch):
    """Both products, on any machine that has both."""
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(module, "ONEDNN", request.param)
    return request.param


def exact(x, weight, bias):
    return (x.double()[..., None, :] * weight.double()).sum(-1) + bias.double()


@pytest.mark.parametrize("shape, out", SHAPES)
def test_value_and_gradients_are_the_formulas(product, shape, out):
    x, layer = torch.randn(shape, requires_grad=True), Linear(shape[-1], out)
    y, want = layer(x), exact(x, layer.weight, layer.bias)
    torch.testing.assert_close(y.double(), want, atol=1e-5, rtol=1e-5)
    direction = torch.randn_like(y)
    inputs = (x, layer.weight, layer.bias)
    for ours, true in zip(torch.autograd.grad(y, inputs, direction),
                          torch.autograd.grad(want, inputs, direction.double())):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, true, atol=1e-5, rtol=1e-5)


def test_the_faster_product_is_taken_where_it_is_said_to_be(product):
    layer, x = Linear(6, 4), torch.randn(5, 6)
    assert ("_Product" in str(layer(x).grad_fn)) == product
    doubled = (part.double() for part in (x, layer.weight, layer.bias))
    assert fast_linear(*doubled).dtype == torch.float64


@pytest.mark.parametrize("frozen", ["x", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(product, frozen):
    x, layer = torch.randn(5, 6, requires_grad=True), Linear(6, 4)
    parts = {"x": x, "weight": layer.weight, "bias": layer.bias}
    parts[frozen].requires_grad_(False)
    layer(x).square().sum().backward()
    assert [name for name, part in parts.items() if part.grad is None] == [frozen]


def test_strided_and_empty_inputs(product):
    layer, grid = Linear(6, 4), torch.randn(3, 5, 6)
    torch.testing.assert_close(layer(grid[:, 0]), layer(grid)[:, 0], atol=1e-6, rtol=1e-5)
    turned = grid.transpose(0, 1)
    torch.testing.assert_close(layer(turned), layer(grid).transpose(0, 1), atol=1e-6, rtol=1e-5)
    empty = torch.zeros(0, 6, requires_grad=True)
    layer(empty).sum().backward()
    assert layer(empty).shape == (0, 4) and not layer.weight.grad.any()
    assert layer(torch.randn(6)).shape == (4,)


def test_autocast_takes_its_own_product(product):
    layer, x = Linear(6, 4), torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_gelu_between_two_layers_is_what_it_says(product, tanh, bfloat16):
    inner, outer, gelu = Linear(33, 70), Linear(70, 5), GELU(tanh)
    x = torch.randn(2, 9, 33, requires_grad=True)
    inputs = (x, *inner.parameters(), *outer.parameters())
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        want, got = outer(gelu(inner(x))), gelu_between(inner, outer, gelu, x)
        with torch.no_grad():
            at_once = gelu_between(inner, outer, gelu, x)
    tolerance = {"atol": 2e-2, "rtol": 2e-2} if bfloat16 else {"atol": 1e-5, "rtol": 1e-5}
    for values in (got, at_once):
        assert values.dtype == want.dtype
        torch.testing.assert_close(values, want, **tolerance)
    direction = torch.randn_like(want)
    for ours, theirs in zip(torch.autograd.grad(got, inputs, direction),
                            torch.autograd.grad(want, inputs, direction)):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_gelu_between_frozen_layers(product):
    inner, outer, x = Linear(6, 8), Linear(8, 6), torch.randn(4, 6)
    outer.requires_grad_(False)
    gelu_between(inner, outer, GELU(), x).sum().backward()
    assert inner.weight.grad.any() and outer.weight.grad is None
    inner.requires_grad_(False)
    assert not gelu_between(inner, outer, GELU(), x).requires_grad
    assert gelu_between(inner, outer, GELU(), x[:0]).shape == (0, 6)


def test_hooks_and_other_modules_are_called(product):
    inner, outer, x, seen = Linear(6, 8), Linear(8, 6), torch.randn(4, 6), []
    want = outer(GELU()(inner(x)))
    handle = outer.register_forward_hook(lambda module, inputs, y: seen.append(y) or 2 * y)
    torch.testing.assert_close(gelu_between(inner, outer, GELU(), x), 2 * want)
    assert len(seen) == 1
    handle.remove()
    other = torch.nn.Sequential(outer, torch.nn.ReLU())
    torch.testing.assert_close(gelu_between(inner, other, GELU(), x), want.relu())


def test_one_vector_and_double_precision(product):
    inner, outer, x = Linear(6, 8).double(), Linear(8, 6).double(), torch.randn(6).double()
    with torch.autocast("cpu", torch.bfloat16):
        y = gelu_between(inner, outer, GELU(), x.requires_grad_())
    y.sum().backward()
    assert y.dtype == torch.float64 and x.grad.shape == (6,)
    y = gelu_between(inner, outer, GELU(), x[None])
    assert torch.autograd.gradcheck(lambda x: gelu_between(inner, outer, GELU(), x), x[None])
