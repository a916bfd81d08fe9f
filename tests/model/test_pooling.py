"""Each head by hand: poolings, attention, convolution and LSTM against loops over single rows."""

import math

import pytest
import torch

from bert_kit.model import (AttentionClassifier, AttentionPooling, BiLSTMClassifier, CNNClassifier,
                            EncoderOutput, MLPClassifier)
from bert_kit.model.classifiers.classifiers import decreasing_sizes
from bert_kit.model.classifiers.pooling import (first_token, last_states, max_of_tokens,
                                                mean_of_tokens)

LENGTHS = torch.tensor([9, 1, 4, 0, 7])


@pytest.fixture
def rows():
    """(hidden (5, 9, 30) that is zero at padding, mask)."""
    generator = torch.Generator().manual_seed(2)
    mask = torch.arange(9) < LENGTHS[:, None]
    return torch.randn(5, 9, 30, generator=generator) * mask[..., None], mask


def encoded(hidden):
    return EncoderOutput(hidden, None, None, None)


def real_rows(hidden):
    return [(b, hidden[b, :n]) for b, n in enumerate(LENGTHS) if n]


def two_layers(mlp, x):
    """The last layers of a head, written out, without dropout."""
    inner, = mlp.hidden
    x = torch.relu(x @ inner.weight.T + inner.bias)
    return x @ mlp.scores.weight.T + mlp.scores.bias


@pytest.mark.parametrize("pool, by_hand", [
    (first_token, lambda row: row[0]),
    (mean_of_tokens, lambda row: row.mean(0)),
    (max_of_tokens, lambda row: row.amax(0)),
    (last_states, lambda row: torch.cat([row[-1, :15], row[0, 15:]])),
])
def test_poolings_against_single_rows(rows, pool, by_hand):
    hidden, mask = rows
    got = pool(hidden - 5 * mask[..., None], mask)  # all real values negative, padding above them
    for b, row in real_rows(hidden):
        torch.testing.assert_close(got[b], by_hand(row - 5), atol=1e-6, rtol=1e-6)
    assert (got[3] == 0).all()


@torch.no_grad()
def test_attention_pooling_against_a_loop(config, rows):
    hidden, mask = rows
    pooling = AttentionPooling(config.replace(initializer_range=0.5), 30, 11, 2)
    pooled, weights = pooling(hidden, mask)
    assert pooled.shape == (5, 60) and weights.shape == (5, 2, 9)
    for b, row in real_rows(hidden):
        for r, outer in enumerate(pooling.outer.weight):
            scores = [math.exp(outer @ torch.tanh(pooling.inner.weight @ x + pooling.inner.bias))
                      for x in row]
            want = torch.tensor(scores) / sum(scores)
            torch.testing.assert_close(weights[b, r, :len(row)], want, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(pooled[b, 30 * r:30 * r + 30], want @ row,
                                       atol=1e-5, rtol=1e-5)
    assert (weights[~mask[:, None].expand(5, 2, 9)][:8] == 0).all() and pooled.isfinite().all()
    head = AttentionClassifier(config).eval()
    torch.testing.assert_close(head(encoded(hidden), mask),
                               two_layers(head.mlp, head.attention(hidden, mask)[0]))


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_cnn_against_an_explicit_loop(config, rows, fused):
    hidden, mask = rows
    head = CNNClassifier(config.replace(fused=fused, initializer_range=0.3),
                         kernel_sizes=[2, 5, 12], num_filters=4).eval()
    logits = head(encoded(hidden), mask)
    for b, row in real_rows(hidden):
        peaks = []
        for size, filters in zip((2, 5, 12), head.filters):
            for weight, bias in zip(filters.weight.view(4, size, 30), filters.bias):
                if len(row) < size:  # one window; what is missing is zero
                    answers = [(weight[:len(row)] * row).sum() + bias]
                else:
                    answers = [(weight * row[start:start + size]).sum() + bias
                               for start in range(len(row) - size + 1)]
                peaks.append(max(0.0, max(answers).item()))
        torch.testing.assert_close(logits[b], two_layers(head.mlp, torch.tensor(peaks)),
                                   atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_bilstm_against_torch_row_by_row(config, rows, fused, num_layers, pooling):
    hidden, mask = rows
    head = BiLSTMClassifier(config.replace(fused=fused), hidden_size=7, num_layers=num_layers,
                            pooling=pooling).eval()
    theirs = torch.nn.LSTM(30, 7, num_layers, batch_first=True, bidirectional=True)
    ours = head.lstm.state_dict()
    theirs.load_state_dict({
        name: ours[f"{'back' if name.endswith('_reverse') else 'ahead'}."
                   f"{name.removesuffix('_reverse')[-1]}."
                   f"{name.removesuffix('_reverse')[:-1]}0"]
        for name in theirs.state_dict()})
    logits = head(encoded(hidden), mask)
    for b, row in real_rows(hidden):
        states, (ends, _) = theirs(row[None])
        pooled = {"last": torch.cat([ends[-2, 0], ends[-1, 0]]), "mean": states[0].mean(0),
                  "max": states[0].amax(0)}[pooling]
        torch.testing.assert_close(logits[b], two_layers(head.mlp, pooled), atol=1e-5, rtol=1e-4)


def test_mlp_by_hand(config, rows):
    hidden, mask = rows
    head = MLPClassifier(config, hidden_dims=9, activation="relu", pooling="mean").eval()
    torch.testing.assert_close(head(encoded(hidden), mask),
                               two_layers(head.mlp, mean_of_tokens(hidden, mask)))


def widths(head):
    return [layer.out_features for layer in head.mlp.hidden]


def test_sizes_of_the_mlp(config):
    assert widths(MLPClassifier(config)) == [30, 15]
    assert widths(MLPClassifier(config, hidden_dims=[8, 3])) == [8, 3]
    wide = config.replace(hidden_size=384, num_attention_heads=12)
    assert widths(MLPClassifier(wide, depth=1)) == [768]
    assert widths(MLPClassifier(wide, depth=3)) == [768, 222, 64]
    assert widths(MLPClassifier(wide.replace(num_labels=100), depth=2)) == [768, 200]
    assert widths(MLPClassifier(config, depth=3)) == [64, 64, 64]  # never below the last
    sizes = decreasing_sizes(4, 1536, 64)
    assert all(n % 2 == 0 for n in sizes) and sizes[0] == 1536 and sizes[-1] == 64
    ratios = [a / b for a, b in zip(sizes, sizes[1:])]
    assert max(ratios) - min(ratios) < 0.05
