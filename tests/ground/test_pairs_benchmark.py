"""Pairs of texts and predicted numbers, against the tokenizer, scipy and loops."""

import json
import math

import numpy as np
import pytest
import torch
from tiny_rows import Fixed, batch_of
from tiny_texts import make_texts, tokenizer
from torch.nn import functional as F

from bert_kit import (BERTForSequenceClassification, ClassificationDataset, DataError, Tokenizer)
from bert_kit.data import (Number, create_classification_dataloader, make_loader, pad_batch,
                           parts_from_lists, read_table)
from bert_kit.evaluation import (pearson_correlation, predict_logits, regression_metrics,
                                 spearman_correlation)
from bert_kit.training import compute_regression_loss, count_labels, set_output_bias

PAIRS = list(zip(make_texts(40, 20), make_texts(40, 9, seed=1)))


@pytest.mark.parametrize("max_length", [5, 6, 13, 24, 400])
def test_rows_are_those_of_the_tokenizer(max_length):
    dataset = ClassificationDataset(PAIRS, range(40), tokenizer(), max_length)
    want = tokenizer().encode_batch(*zip(*PAIRS), max_length=max_length)
    for i, row in enumerate(want):
        item = dataset[i]
        assert item["input_ids"].tolist() == row.ids and item["labels"] == i
        assert item["token_type_ids"].tolist() == row.type_ids
        assert dataset.lengths[i] == len(row.ids) <= max_length


def test_rows_are_those_of_the_reference(minilm):
    transformers = pytest.importorskip("transformers")
    reference = transformers.BertTokenizerFast.from_pretrained(minilm)
    pairs = [("a plane is taking off .", "an air plane is taking off"), ("word " * 40, "two words"),
             ("two", "word " * 33), ("odd " * 21, "even " * 22)]
    dataset = ClassificationDataset(pairs, [0] * 4, Tokenizer.load(minilm), 24)
    for i, (first, second) in enumerate(pairs):
        want = reference(first, second, truncation="longest_first", max_length=24)
        assert dataset[i]["input_ids"].tolist() == want["input_ids"]
        assert dataset[i]["token_type_ids"].tolist() == want["token_type_ids"]


def test_segments_reach_the_batch_and_the_model(config):
    loader = create_classification_dataloader(PAIRS[:5], [0, 1, 0, 1, 1], tokenizer(), 5,
                                              max_length=21, shuffle=False)
    batch, = loader
    types, mask = batch["token_type_ids"], batch["attention_mask"]
    assert ((types == 1) & (mask == 0)).sum() == 0 and types.amax(1).tolist() == [1] * 5
    model = BERTForSequenceClassification(config.replace(vocab_size=tokenizer().vocab_size)).eval()
    logits, labels = predict_logits(model, [batch], "cpu")
    other, _ = predict_logits(model, [{**batch, "token_type_ids": types * 0}], "cpu")
    assert labels.tolist() == [0, 1, 0, 1, 1] and not torch.allclose(logits, other)


def test_pairs_from_a_file(tmp_path):
    (tmp_path / "a.csv").write_text('text_b,label,text_a\n"b, 1",2.5,a 1\nb 2,0,a 2\n')
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in (
        {"text_a": "a 1", "text_b": "b, 1", "label": 2.5}, {"text_a": "a 2", "text_b": "b 2",
                                                            "label": 0})))
    for name in ("a.csv", "a.jsonl"):
        table = read_table(tmp_path / name, ("text_a", "text_b"), Number())
        assert table.texts == [("a 1", "b, 1"), ("a 2", "b 2")] and table.labels == [2.5, 0]
    (tmp_path / "b.csv").write_text("text_a,text_b,label\na,b,x\na, ,x\n")
    with pytest.raises(DataError, match="b.csv line 3: 'text_b' is empty"):
        read_table(tmp_path / "b.csv", ("text_a", "text_b"), "label")


def test_pairs_are_split_hashed_and_found_again():
    pairs = [(f"A {i}", f"b {i}") for i in range(50)]
    parts = parts_from_lists(pairs, ["x", "y"] * 25, test=([("a-7", "B 7"), ("b 7", "a 7")],
                                                           ["x", "y"]), val_size=0)
    assert parts.in_train_too == 1 and parts.train.texts == pairs
    joined = [f"{a}{b}" for a, b in pairs]
    apart = [(a[:1], a[1:] + b) for a, b in pairs]
    prints = {parts_from_lists(texts, ["x", "y"] * 25).fingerprint
              for texts in (pairs, joined, apart)}
    assert len(prints) == 3
    assert parts_from_lists(list(map(list, pairs)), ["x", "y"] * 25).train.texts[0] == ["A 0",
                                                                                        "b 0"]


@pytest.mark.parametrize("texts, message", [
    ([("a", "b"), "c"], "row 1 of texts is 'c'; expected two texts"),
    ([("a", "b"), ("c",)], "row 1 of texts is .*expected two texts"),
    ([("a", "b"), ("c", None)], "row 1 of texts is 'None', of type NoneType"),
    (["a", ("b", "c")], "row 1 of texts is .*expected a string"),
    ([], "no texts"), ("ab", "one string"),
])
def test_bad_pairs_are_named(texts, message):
    with pytest.raises(DataError, match=message):
        ClassificationDataset(texts, [0] * len(texts), tokenizer())
    if len(texts) == 2 and not isinstance(texts, str):
        with pytest.raises(DataError, match="row 1 of the train list: the text is"):
            parts_from_lists(texts, ["x", "y"])
    with pytest.raises(DataError, match="max_length is 4; expected a whole number from 5"):
        ClassificationDataset(PAIRS[:1], [0], tokenizer(), max_length=4)


# --- numbers as labels ---

@pytest.mark.parametrize("labels, message", [
    (np.array([0.5, math.nan]), "label of row 1 is nan; expected a finite number"),
    (np.array([0.5]), "2 texts but 1 labels"),
    (np.zeros((2, 0)), "labels are float64 of shape"), (np.zeros((2, 2, 2)), "of shape .2, 2, 2."),
    (np.array([[0, 1], [0.5, 1]]), r"label of row 1 is \[0.5 1. \]; expected 0 and 1"),
    (np.array([["a"], ["b"]]), "labels are <U1"),
    ([0.5, 1.5], "label of row 0 is 0.5; expected a class number"),
])
def test_bad_labels_are_named(labels, message):
    with pytest.raises(DataError, match=message):
        ClassificationDataset(["ka", "to"], labels, tokenizer())


@pytest.mark.parametrize("labels", [np.array([0.5, 2.0]), torch.tensor([0.5, 2.0]),
                                    np.array([[1, 0, 1], [0, 0, 0]]),
                                    torch.tensor([[True, False], [False, False]])])
def test_labels_of_floats_in_a_batch(labels):
    dataset = ClassificationDataset(["ka", "to mi"], labels, tokenizer(), sample_weights=[1, 2])
    batch = pad_batch([dataset[0], dataset[1]])
    want = torch.as_tensor(labels).float()
    assert torch.equal(batch["labels"], want) and batch["labels"].dtype == torch.float32
    assert count_labels(batch) == {"labels": 2} and batch["sample_weights"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(dataset.labels)[0] = 1
    assert pad_batch([], example=dataset[0])["labels"].shape == want[:0].shape
    integers = ClassificationDataset(["ka", "to mi"], np.array([1, 0]), tokenizer())
    assert integers.labels == [1, 0]


def test_regression_loss_is_the_mean_squared_error():
    model, labels = Fixed(torch.randn(5, 1)), torch.rand(5)
    loss = compute_regression_loss(model, batch_of(labels))
    torch.testing.assert_close(loss, F.mse_loss(model.logits[:, 0], labels))
    weights = torch.rand(5)
    torch.testing.assert_close(
        compute_regression_loss(model, batch_of(labels, sample_weights=weights), {"labels": 10}),
        (weights * (model.logits[:, 0] - labels)**2).sum() / 10)
    for wrong in (torch.zeros(5, dtype=torch.long), torch.zeros(5, 1), torch.zeros(4)):
        with pytest.raises(DataError, match="expected float32 of shape .5,. for a model of one"):
            compute_regression_loss(model, batch_of(wrong))
    with pytest.raises(DataError, match="one number a row"):
        compute_regression_loss(Fixed(torch.randn(5, 2)), batch_of(labels))


def test_regression_learns_from_the_mean(config):
    """The number stands for the first word; the bias starts at the mean of the labels."""
    texts = [f"{('sumi', 'kato', 'ne', 'lopa')[i % 4]} mire" for i in range(48)]
    labels = np.array([2.0 * (i % 4) + 10 for i in range(48)])
    loader = make_loader(ClassificationDataset(texts, labels, tokenizer(), 16), 12)
    model = BERTForSequenceClassification(config.replace(
        vocab_size=tokenizer().vocab_size, initializer_range=0.1,
        classifier={"type": "mlp", "pooling": "mean", "hidden_dims": []}), 1)
    set_output_bias(model, [labels.mean()])
    start = compute_regression_loss(model.eval(), next(iter(loader)))
    assert start.item() == pytest.approx(labels.var(), rel=0.3)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(20):
        for batch in loader:
            optimizer.zero_grad()
            compute_regression_loss(model, batch).backward()
            optimizer.step()
    numbers, truth = predict_logits(model, loader, "cpu")
    scores = regression_metrics(numbers, truth)
    assert scores["loss"] < 0.5 and scores["pearson"] > 0.95


# --- correlations ---

def by_hand(x, y):
    x, y = [v - sum(x) / len(x) for v in x], [v - sum(y) / len(y) for v in y]
    return sum(a * b for a, b in zip(x, y)) / math.sqrt(sum(a * a for a in x) * sum(
        b * b for b in y))


def ranks(x):
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


@pytest.mark.parametrize("seed", range(4))
def test_correlations_by_hand_and_by_scipy(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=57).round(1)  # with ties
    y = (x + generator.normal(size=57)).round(seed % 2)
    assert pearson_correlation(x, y) == pytest.approx(by_hand(x, y))
    assert spearman_correlation(x, y) == pytest.approx(by_hand(ranks(x), ranks(y)))
    stats = pytest.importorskip("scipy.stats")
    assert pearson_correlation(x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert spearman_correlation(torch.tensor(x), y.tolist()) == pytest.approx(
        stats.spearmanr(x, y)[0])


def test_correlations_at_their_ends():
    x = np.array([1.0, 2.0, 4.0])
    assert pearson_correlation(x, 3 * x + 1) == pytest.approx(1) == spearman_correlation(x, x**3)
    assert pearson_correlation(x, -x) == pytest.approx(-1) == spearman_correlation(x, -x)
    for constant in ([0.1] * 3, [0, 0, 0]):
        assert pearson_correlation(x, constant) == spearman_correlation(constant, x) == 0
    assert regression_metrics([1.5], [1.0]) == {"loss": 0.25, "mean_absolute_error": 0.5,
                                                "pearson": 0.0, "spearman": 0.0}
    scores = regression_metrics(torch.tensor([[1.0], [3.0]]).bfloat16(), [1, 2])
    assert scores["loss"] == 0.5 and scores["pearson"] == pytest.approx(1)


@pytest.mark.parametrize("first, second, message", [
    ([], [], "at least one"), ([1], [1, 2], r"shape \(1,\) and \(2,\)"),
    ([[1, 2]], [[1, 2]], "in one dimension"), ([1, math.nan], [1, 2], "row 1 is nan"),
    ([1, 2], [math.inf, 2], "row 0 is inf")])
def test_impossible_numbers(first, second, message):
    for score in (pearson_correlation, spearman_correlation, regression_metrics):
        with pytest.raises(DataError, match=message):
            score(first, second)
