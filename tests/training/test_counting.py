import math

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny_rows import Rows

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForPreTraining, TrainingError,
                      compute_mlm_loader_loss)
from bert_kit.data import make_loader
from bert_kit.evaluation import unigram_loss
from bert_kit.training import counting, start_from_counts
from bert_kit.training.counting import cooccurrences, positive_pmi, ppmi_vectors

CONFIG = BertConfig(vocab_size=99, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                    intermediate_size=40, max_position_embeddings=16)


def texts_of(count, vocabulary, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.zipf(1.5, rng.integers(1, 30)) % vocabulary for _ in range(count)]


@pytest.mark.parametrize("window", [1, 2, 5, 40])
def test_pairs_are_counted_within_a_text_and_a_window(window):
    texts, expected = texts_of(40, 11), np.zeros((11, 11))
    for text in texts:
        for i, first in enumerate(text):
            for j, second in enumerate(text):
                if 0 < abs(i - j) <= window:
                    expected[first, second] += 1 / abs(i - j)
    counts = cooccurrences(texts, 11, window).toarray()
    assert np.allclose(counts, expected) and np.allclose(counts, counts.T)


def test_positive_pmi_is_the_formula():
    counts = cooccurrences(texts_of(60, 13), 15)  # two pieces do not occur
    dense = counts.toarray()
    total, smooth = dense.sum(), dense.sum(0)**0.75
    found = positive_pmi(counts).toarray()
    for w in range(15):
        for c in range(15):
            joint = dense[w, c] / total
            chance = dense[w].sum() / total * smooth[c] / smooth.sum()
            assert math.isclose(found[w, c], max(0.0, math.log(joint / chance)) if joint else 0.0,
                                abs_tol=1e-12)


@pytest.mark.parametrize("size", [4, 15, 21])  # fewer numbers than pieces, as many, more
def test_vectors_are_those_of_the_factored_matrix(size):
    counts = cooccurrences(texts_of(60, 13), 15)
    left, values, _ = np.linalg.svd(positive_pmi(counts).toarray())
    expected = left[:, :size] * np.sqrt(values[:size])
    lengths = np.linalg.norm(expected, axis=1)
    alike = expected @ expected.T / np.maximum(np.outer(lengths, lengths), 1e-12)
    vectors = ppmi_vectors(counts, size)
    assert vectors.shape == (15, size)
    assert np.allclose(vectors @ vectors.T, alike, atol=1e-6)  # but for a turn, the same
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1.0] * 13 + [0.0] * 2)


def test_pieces_with_the_same_neighbours_are_close():
    """Three of a kind stand in the same places, and never beside one another."""
    rng = np.random.default_rng(0)
    texts = [3 * np.arange(5) + rng.integers(0, 3, 5) for _ in range(2000)]
    alike = (vectors := ppmi_vectors(cooccurrences(texts, 15), 15)) @ vectors.T
    np.fill_diagonal(alike, 0)
    assert (alike.argmax(1) // 3 == np.arange(15) // 3).all()


@pytest.mark.parametrize("kind", [BERTForMaskedLM, BERTForPreTraining])
def test_a_model_starts_at_the_entropy_of_its_pieces(kind):
    torch.manual_seed(0)
    rows = Rows(300, vocabulary=80, masked=True)  # pieces 80 to 98 and 0 to 4 do not occur
    model = kind(CONFIG).eval()
    before = model.bert.embeddings.word.weight.detach().clone()
    start_from_counts(model, rows)
    words = model.bert.embeddings.word.weight
    hidden = np.concatenate([row["labels"][row["labels"] >= 0] for row in rows.rows])
    shares = (np.bincount(hidden, minlength=99) + 1) / (len(hidden) + 99)
    assert torch.equal(words[80:], before[80:]) and torch.equal(words[:5], before[:5])
    assert torch.allclose(words[5:80].norm(dim=1), torch.full((75,), 0.8))
    assert torch.allclose(model.mlm_head.bias.double().exp(), torch.from_numpy(shares))
    assert torch.equal(model.mlm_head.dense.weight, torch.eye(24))
    values = [block.attention.qkv.weight[48:] for block in model.bert.blocks]
    assert not torch.allclose(*values, atol=0.1)  # each block has a rotation of its own
    for block, value in zip(model.bert.blocks, values, strict=True):
        passed = block.attention.output.weight @ value
        assert torch.allclose(passed, torch.eye(24) / 2, atol=1e-6)
        assert block.attention.qkv.weight[:48].abs().max() < 0.1  # as it was


def test_before_any_step_a_model_guesses_better_than_token_counts():
    """Text in which neighbours tell a piece: three topics with pieces of their own."""
    rng = np.random.default_rng(0)
    rows = Rows(600, masked=True)
    for row in rows.rows:
        ids = row["input_ids"] = 5 + 30 * rng.integers(3) + rng.integers(0, 30, len(row["labels"]))
        hidden = rng.random(len(ids)) < 0.3
        row["labels"] = np.where(hidden, ids, -100)
        row["input_ids"] = np.where(hidden, 4, ids)
    torch.manual_seed(0)
    model = BERTForMaskedLM(CONFIG.replace(vocab_size=95)).eval()
    start_from_counts(model, rows)
    loader = make_loader(rows, 50, shuffle=False)
    assert compute_mlm_loader_loss(model, loader) < unigram_loss(loader, loader, 95) - 0.03


def test_hidden_tokens_are_counted_as_they_were():
    open_rows = Rows(50, vocabulary=30)
    hidden = Rows(50, vocabulary=30)
    rng = np.random.default_rng(0)
    for row, shown in zip(hidden.rows, open_rows.rows, strict=True):
        hide = rng.random(len(row["input_ids"])) < 0.5
        row["labels"] = np.where(hide, row["input_ids"], -100)
        row["input_ids"] = np.where(hide, 98, row["input_ids"])
        shown["labels"] = row["labels"]
    models = [BERTForMaskedLM(CONFIG.replace(initializer_range=1e-9)) for _ in range(2)]
    for model, rows in zip(models, (open_rows, hidden), strict=True):
        start_from_counts(model, rows)
    first, second = (model.bert.embeddings.word.weight for model in models)
    assert torch.allclose(first, second, atol=1e-6) and first[5:30].any(1).all()


def test_of_much_text_some_rows_are_counted(monkeypatch):
    rows, asked = Rows(400, vocabulary=80, masked=True), []

    class Watched:
        lengths = np.array(rows.lengths)

        def __len__(self):
            return len(rows)

        def __getitem__(self, row):
            asked.append(row)
            return rows[row]

    monkeypatch.setattr(counting, "TOKENS", int(Watched.lengths.sum() / 3.5))
    start_from_counts(BERTForMaskedLM(CONFIG), Watched())
    assert asked == list(range(0, 400, 4))
    monkeypatch.setattr(counting, "ROWS", 57)
    asked.clear()
    start_from_counts(BERTForMaskedLM(CONFIG), Watched())
    assert asked == list(range(0, 400, 8))


def test_of_many_pieces_the_common_ones_have_vectors(monkeypatch):
    """And one that never occurs has none, even where a vector has more numbers than pieces."""
    counts = cooccurrences(texts_of(200, 30), 300)
    assert np.array_equal(ppmi_vectors(counts, 40).any(1), np.arange(300) < 30)
    monkeypatch.setattr(counting, "PIECES", 12)
    common = np.argsort(-counts.sum(1))[:12]
    assert np.array_equal(np.flatnonzero(ppmi_vectors(counts, 8).any(1)), np.sort(common))
    alone = cooccurrences([np.array([3]), np.array([4, 5])], 9)
    assert np.array_equal(np.flatnonzero(ppmi_vectors(alone, 4).any(1)), [4, 5])


def test_no_rows_and_no_pairs():
    with pytest.raises(TrainingError, match="no rows"):
        start_from_counts(BERTForMaskedLM(CONFIG), Rows(0, masked=True))
    with pytest.raises(TrainingError, match="label for each token"):
        start_from_counts(BERTForMaskedLM(CONFIG), Rows(3))
    assert not ppmi_vectors(sparse.csr_array((7, 7)), 4).any()
    assert cooccurrences([np.array([3]), np.array([], int)], 5).sum() == 0
