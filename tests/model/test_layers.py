import math

import pytest
import torch
from torch.nn import functional as F

from bert_kit import BertConfig, BERTForPreTraining
from bert_kit.model import GELU, Dropout, Embeddings, FeedForward, LayerNorm

FUSED = pytest.mark.parametrize("fused", [True, False])


def clone(module, other):
    """Give `other` the weights of `module`."""
    other.load_state_dict(module.state_dict())
    return other


@FUSED
def test_layer_norm_by_hand(fused):
    # [1, 0, 0, 0]: mean 1/4, biased variance 3/16, so (3/4) / sqrt(3/16) = sqrt(3). The unbiased
    # variance would give 1.5.
    norm = LayerNorm(BertConfig(hidden_size=4, num_attention_heads=1, fused=fused))
    got = norm(torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(got, torch.tensor([3.0, -1, -1, -1]) / math.sqrt(3))


def test_layer_norm_equals_torch_in_value_and_gradient(config):
    norm = LayerNorm(config.replace(fused=False))
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(3, 7, 30, requires_grad=True)
    gradient = torch.randn(3, 7, 30)
    want = F.layer_norm(x, (30,), norm.weight, norm.bias, 1e-12)
    inputs = (x, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x), want, atol=1e-6, rtol=1e-5)
    for got, expected in zip(torch.autograd.grad(norm(x), inputs, gradient),
                             torch.autograd.grad(want, inputs, gradient)):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@FUSED
def test_layer_norm_of_a_large_mean(config, fused):
    # E[x^2] - E[x]^2 in float32 would be off by whole units here.
    x = torch.randn(50, 30) + 1e3
    want = F.layer_norm(x.double(), (30,), eps=1e-12)
    got = LayerNorm(config.replace(fused=fused))(x)
    torch.testing.assert_close(got.double(), want, atol=1e-3, rtol=0)


@FUSED
def test_layer_norm_of_a_constant_row_has_a_finite_gradient(config, fused):
    x = torch.full((2, 30), 5.0, requires_grad=True)
    LayerNorm(config.replace(fused=fused))(x).square().sum().backward()
    assert x.grad.isfinite().all()


def test_layer_norm_formula_keeps_its_statistics_in_float32(config):
    x = torch.randn(4, 30)
    norm = LayerNorm(config.replace(fused=False))
    half = norm(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), norm(x.half().float()), atol=2e-3, rtol=1e-3)


def test_every_norm_has_the_configured_eps(config):
    model = BERTForPreTraining(config)
    norms = [m for m in model.modules() if isinstance(m, LayerNorm)]
    assert len(norms) == 1 + 2 * 3 + 1
    assert {norm.eps for norm in norms} == {1e-12}


@pytest.mark.parametrize("tanh", [False, True])
def test_gelu_formula_equals_torch(tanh):
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    got, want = (GELU(tanh, fused)(x) for fused in (False, True))
    torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), x),
                               torch.autograd.grad(want.sum(), x))


def test_the_two_gelus_differ():
    x = torch.linspace(-5, 5, 1001)
    assert 1e-4 < (GELU()(x) - GELU(tanh=True)(x)).abs().max() < 1e-3


@FUSED
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_and_scales(fused, p):
    drop = Dropout(p, fused)
    x = torch.ones(301, 997, requires_grad=True)
    y = drop(x)
    n = x.numel()
    kept = (y != 0).sum().item()
    assert abs(kept - n * (1 - p)) < 4 * math.sqrt(n * p * (1 - p))
    torch.testing.assert_close(y[y != 0], torch.full((kept,), 1 / (1 - p)), rtol=1e-4, atol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())  # what was dropped has no gradient


@pytest.mark.parametrize("p", [0.25, 0.7, 1.0])
def test_the_same_random_numbers_drop_the_same(monkeypatch, p):
    x, bits = torch.randn(5, 7, 11, requires_grad=True), torch.randint(-2**15, 2**15, (5, 7, 11))
    monkeypatch.setattr("bert_kit.model.fast.dropout._random_16_bits", lambda _: bits.short())
    monkeypatch.setattr(torch, "rand", lambda *_, **settings: (bits + 2**15) / 2**16)
    fast, formula = Dropout(p)(x), Dropout(p, fused=False)(x)
    direction = torch.randn_like(x)
    gradients = (torch.autograd.grad(y, x, direction)[0] for y in (fast, formula))
    for ours, theirs in ((fast, formula), gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=2e-5)  # p in steps of 2^-16


def test_dropout_elements_are_independent():
    # Four elements share one 64-bit draw; neighbours must not drop run_together.
    keep = (Dropout(0.5)(torch.ones(400_000)) != 0).double().view(-1, 4)
    correlation = torch.corrcoef(keep.T) - torch.eye(4)
    assert correlation.abs().max() < 0.015  # 4.7 standard errors
    assert (keep.mean(0) - 0.5).abs().max() < 0.008


@FUSED
def test_dropout_edges(fused):
    x = torch.randn(9, 5)
    assert torch.equal(Dropout(0.0, fused)(x), x)
    assert torch.equal(Dropout(1.0, fused)(x), torch.zeros(9, 5))
    assert torch.equal(Dropout(0.7, fused).eval()(x), x)
    assert Dropout(0.5, fused)(torch.empty(0, 5)).shape == (0, 5)
    assert Dropout(0.5, fused)(x.bfloat16()).dtype == torch.bfloat16


def test_feed_forward_by_hand(config):
    layer = FeedForward(config).eval()
    x = torch.randn(4, 3, 30)
    inner = x @ layer.inner.weight.T + layer.inner.bias
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    torch.testing.assert_close(layer(x), inner @ layer.output.weight.T + layer.output.bias)
    formula = clone(layer, FeedForward(config.replace(fused=False))).eval()
    torch.testing.assert_close(formula(x), layer(x))


@pytest.mark.parametrize("name", ["relu", "silu", "tanh", "gelu_new"])
def test_other_activations(config, name):
    layer = FeedForward(config.replace(hidden_act=name)).eval()
    wanted = {"relu": F.relu, "silu": F.silu, "tanh": torch.tanh,
              "gelu_new": lambda x: F.gelu(x, approximate="tanh")}[name]
    x = torch.randn(4, 30)
    torch.testing.assert_close(layer(x), layer.output(wanted(layer.inner(x))))


def test_embeddings_are_a_normalised_sum(config):
    part = Embeddings(config).eval()
    ids, types = torch.tensor([[5, 9, 9]]), torch.tensor([[0, 1, 1]])
    got = part(ids, types, torch.arange(3))
    row = part.word.weight[9] + part.segment.weight[1] + part.position.weight[2]
    torch.testing.assert_close(got[0, 2], F.layer_norm(row, (30,), eps=1e-12))
    assert not torch.equal(got[0, 1], got[0, 2])  # the position matters
