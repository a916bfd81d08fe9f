"""KAN layers and their wavelets: closed forms, variances, and gradients that do not vanish."""

import math

import pytest
import torch

from bert_kit.model import (BERTForSequenceClassification, EncoderOutput, FourierBasis,
                            FourierKANClassifier, KANLayer, WaveletBasis, WaveletKANClassifier)
from bert_kit.model.classifiers.wavelets import WAVELETS

EVERY_WAVELET = pytest.mark.parametrize("name", WAVELETS)


def test_fourier_layer_against_the_sum_written_out():
    layer = KANLayer(4, 3, FourierBasis(5)).double()
    with torch.no_grad():
        layer.bias.normal_()
        layer.basis.frequencies.add_(torch.rand(5))
    x = torch.randn(2, 4, dtype=torch.float64)
    line, cosines, sines = layer.coefficients.split([1, 5, 5], -1)
    want = layer.bias.repeat(2, 1)
    for row in range(2):
        for o in range(3):
            for i in range(4):
                want[row, o] += line[o, i, 0] * x[row, i]
                for k, frequency in enumerate(layer.basis.frequencies):
                    want[row, o] += (cosines[o, i, k] * torch.cos(frequency * x[row, i])
                                     + sines[o, i, k] * torch.sin(frequency * x[row, i]))
    torch.testing.assert_close(layer(x), want)


def test_wavelet_layer_against_the_sum_written_out():
    layer = KANLayer(4, 3, WaveletBasis(7, "mixed")).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    kinds = ["haar"] * 2 + ["mexican"] * 2 + ["morlet"] * 3
    want = torch.zeros(2, 3, dtype=torch.float64)
    for row in range(2):
        for o in range(3):
            for i in range(4):
                want[row, o] += layer.coefficients[o, i, 0] * x[row, i]
                for k, kind in enumerate(kinds):
                    u = (x[row, i] - layer.basis.translations[k]) / layer.basis.scales[k]
                    want[row, o] += layer.coefficients[o, i, k + 1] * WAVELETS[kind](u)
    torch.testing.assert_close(layer(x), want)


@EVERY_WAVELET
def test_wavelets_have_mean_zero_and_the_known_energy(name):
    u = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    psi, step = WAVELETS[name](u), 24 / 240_000
    assert abs(psi.sum() * step) < 1e-4
    normal = torch.exp(-u * u / 2) / math.sqrt(2 * math.pi)
    energy = (psi.square() * normal).sum() * step
    want = {"haar": 0.290, "mexican": 0.2896, "morlet": 0.2887}[name]
    assert abs(energy - want) < 5e-4


def test_wavelets_at_known_points():
    at = {name: psi(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)).tolist()
          for name, psi in WAVELETS.items()}
    assert at["haar"] == pytest.approx([0.5, 1, -0.5], abs=1e-3)
    assert at["mexican"] == pytest.approx(
        [0.8673250706, 0.8673250706 * (1 - 1 / 16) * math.exp(-1 / 32), 0])
    assert at["morlet"] == pytest.approx(
        [1, math.cos(1.25) * math.exp(-1 / 32), math.cos(5) * math.exp(-0.5)])


@EVERY_WAVELET
def test_wavelet_slopes_against_finite_differences(name):
    u = torch.linspace(-3, 3, 61, dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad(WAVELETS[name](u).sum(), u)
    wide = u.detach()
    difference = (WAVELETS[name](wide + 1e-5) - WAVELETS[name](wide - 1e-5)) / 2e-5
    torch.testing.assert_close(slope, difference, atol=1e-5, rtol=1e-5)
    assert torch.autograd.gradcheck(WaveletBasis(6, name).double(), wide[::7].requires_grad_())


@pytest.mark.parametrize("name", [*WAVELETS, "mixed"])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_the_grid_of_wavelets(name, count):
    basis = WaveletBasis(count, name)
    assert sum(size for _, size in basis.families) == count
    assert basis(torch.zeros(2, 3)).shape == (2, 3, 1 + count)
    assert basis.translations.abs().max() < 2
    first = [s for s in (count // 3, count // 3, count - 2 * (count // 3)) if s][0]
    first = first if name == "mixed" else count
    torch.testing.assert_close(basis.scales[:min(4, first)],
                               2.0 ** (1 - torch.arange(min(4, first))))
    with torch.no_grad():
        basis.raw_scales.fill_(-1e4)
    assert (basis.scales > 0).all() and basis(torch.randn(9)).isfinite().all()


BASES = {"fourier": FourierBasis, "plain fourier": lambda n: FourierBasis(n, 0.0),
         **{kind: lambda n, kind=kind: WaveletBasis(n, kind) for kind in [*WAVELETS, "mixed"]}}


@pytest.mark.parametrize("make", BASES.values(), ids=BASES)
@pytest.mark.parametrize("inputs, count", [(8, 8), (8, 64), (64, 8), (64, 256), (256, 64)])
def test_outputs_start_with_variance_one(make, inputs, count):
    layer = KANLayer(inputs, 200, make(count))
    y = layer(torch.randn(1_000, inputs))
    assert 0.5 < y.var() < 2
    assert 0.5 < y.var(0).mean() < 2  # over inputs alone: the layer does not ignore them


@torch.no_grad()
def neighbour_correlation(layer):
    """Correlation of the outputs at inputs N(0, 1) and at inputs N(0, 0.1^2) away."""
    x = torch.randn(500, 64)
    near = x + 0.1 * torch.randn_like(x)
    return torch.corrcoef(torch.stack([layer(x).flatten(), layer(near).flatten()]))[0, 1].item()


@pytest.mark.parametrize("count, sum_of_both, waves", [(16, 0.84, 0.68), (64, 0.60, 0.18)])
def test_smooth_initialisation_keeps_neighbours_together(count, sum_of_both, waves):
    assert neighbour_correlation(KANLayer(64, 50, FourierBasis(count))) > 0.99
    rough = KANLayer(64, 50, FourierBasis(count, 0.0))
    assert neighbour_correlation(rough) == pytest.approx(sum_of_both, abs=0.02)
    with torch.no_grad():
        rough.coefficients[..., 0] = 0  # no line
    assert neighbour_correlation(rough) == pytest.approx(waves, abs=0.02)


@pytest.mark.parametrize("count", [8, 64])
@EVERY_WAVELET
def test_weaker_narrow_wavelets_keep_neighbours_together(name, count):
    layer = KANLayer(64, 50, WaveletBasis(count, name))
    assert neighbour_correlation(layer) > 0.965
    if name == "mexican":  # smooth even where it is narrow
        return
    std = layer.basis.initial_std()[1:]
    with torch.no_grad():  # now all equally strong, and together as strong as before
        energies = layer.basis(torch.randn(5_000))[:, 1:].square().mean(0)
        equal = ((std.square() * energies).sum() / energies.sum()).sqrt()
        layer.coefficients[..., 1:] *= equal / std
    assert neighbour_correlation(layer) < 0.93


def test_the_layer_makes_no_tensor_of_all_connections_and_rows():
    sizes = []
    layer = KANLayer(40, 50, FourierBasis(6))
    with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor):
        layer(torch.randn(30, 40)).sum().backward()
    assert max(sizes) <= max(30 * 40 * 13, 50 * 40 * 13) < 30 * 40 * 50


@pytest.mark.parametrize("name", [*WAVELETS, "mixed"])
def test_everything_in_the_wavelet_head_learns(config, ragged, name):
    model = BERTForSequenceClassification(config, 3, classifier=lambda config:
                                          WaveletKANClassifier(config, 9, name)).eval()
    model(*ragged).square().sum().backward()
    head = model.classifier
    for layer in (head.unit.first, head.unit.second):
        assert (layer.basis.raw_scales.grad != 0).all()
        assert (layer.basis.translations.grad != 0).all()
        assert (layer.coefficients.grad.flatten(0, 1) != 0).any(0).all()
    assert (head.projection.weight.grad != 0).all()


def test_the_kan_head_by_hand(config):
    head = FourierKANClassifier(config, num_frequencies=3, width=11).eval()
    hidden = torch.randn(4, 5, 30)
    norm, gelu = torch.nn.functional.layer_norm, torch.nn.functional.gelu
    x = gelu(head.projection(norm(hidden[:, 0], (30,), eps=1e-12)))
    inner = gelu(head.unit.first(norm(x, (11,), eps=1e-12)))
    x = norm(x + head.unit.second(norm(inner, (11,), eps=1e-12)), (11,), eps=1e-12)
    want = head.mlp.scores(gelu(head.mlp.hidden[0](x)))
    mask = torch.ones(4, 5, dtype=torch.bool)
    torch.testing.assert_close(head(EncoderOutput(hidden, None, None, None), mask), want,
                               atol=1e-5, rtol=1e-5)


def test_the_projection_is_at_most_512_wide(config):
    wide = config.replace(hidden_size=768, num_attention_heads=12)
    assert FourierKANClassifier(config).projection.out_features == 30
    assert FourierKANClassifier(wide).projection.out_features == 512
    assert WaveletKANClassifier(config, last_layers=2).projection.out_features == 60
    assert WaveletKANClassifier(wide, width=100).projection.out_features == 100
