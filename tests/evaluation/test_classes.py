"""Metrics against scikit-learn and counting by hand.

Run: pytest tests/evaluation/test_classes.py
"""

import json

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from torch import nn

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (classification_metrics, compute_confusion_matrix,
                                 compute_precision_recall_f1, evaluate_classification_metrics,
                                 format_per_class, matthews_correlation, predict_logits)


def _random(classes=5, rows=203, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=rows)
    wrong = generator.random(rows) < 0.4
    return np.where(wrong, generator.integers(classes, size=rows), labels), labels


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
def test_precision_recall_f1_match_scikit_learn(average):
    predictions, labels = _random()
    ours = compute_precision_recall_f1(predictions, labels, 5, average)
    expected = reference.precision_recall_fscore_support(labels, predictions, average=average)[:3]
    for name, value in zip(("precision", "recall", "f1"), expected):
        np.testing.assert_allclose(ours[name], value)
    assert set(ours) == {"precision", "recall", "f1"}


def test_lists_arrays_and_tensors_are_alike():
    predictions, labels = _random()
    scores = [compute_precision_recall_f1(convert(predictions), convert(labels))
              for convert in (list, np.asarray, torch.tensor)]
    assert scores[0] == scores[1] == scores[2]


def test_a_class_that_never_occurs_does_not_pull_the_mean_down():
    assert compute_precision_recall_f1([0, 1], [0, 1], num_classes=4)["f1"] == 1.0
    each = compute_precision_recall_f1([0, 1], [0, 1], num_classes=4, average=None)
    assert each["f1"].tolist() == [1, 1, 0, 0]


def test_classes_that_never_occur_in_all_metrics():
    predictions, labels = np.array([1, 1, 4, 1]), np.array([1, 4, 4, 1])
    metrics = classification_metrics(predictions, labels, 7)
    assert metrics["f1_macro"] == pytest.approx(
        reference.f1_score(labels, predictions, average="macro"))
    assert metrics["accuracy"] == metrics["f1_micro"] == 0.75
    assert [row["support"] for row in metrics["per_class"]] == [0, 2, 0, 0, 2, 0, 0]
    assert [row["f1"] > 0 for row in metrics["per_class"]] == [i in (1, 4) for i in range(7)]
    assert np.sum(metrics["confusion_matrix"]) == 4
    alone = classification_metrics([0, 0], [0, 0], 1)
    assert alone["accuracy"] == alone["f1_macro"] == 1 and alone["matthews_correlation"] == 0


def test_confusion_matrix_rows_are_true_classes():
    predictions, labels = _random(classes=4)
    matrix = compute_confusion_matrix(predictions, labels, 4)
    by_hand = np.zeros((4, 4), int)
    for predicted, label in zip(predictions, labels):
        by_hand[label, predicted] += 1
    assert matrix.dtype.kind == "i" and (matrix == by_hand).all()
    assert compute_confusion_matrix([1], [0], 3).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_matthews_correlation(seed):
    predictions, labels = _random(classes=2 + seed, seed=seed)
    ours = matthews_correlation(compute_confusion_matrix(predictions, labels, 2 + seed))
    assert ours == pytest.approx(reference.matthews_corrcoef(labels, predictions))


def test_matthews_correlation_of_one_class_is_zero():
    assert classification_metrics([0, 0], [0, 1], 2)["matthews_correlation"] == 0
    assert classification_metrics([1, 1], [1, 1], 2)["matthews_correlation"] == 0


def test_classification_metrics_match_scikit_learn_and_are_json():
    predictions, labels = _random()
    metrics = classification_metrics(predictions, labels, 5)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["accuracy"] == pytest.approx(reference.accuracy_score(labels, predictions))
    assert metrics["accuracy"] == pytest.approx(metrics["f1_micro"])
    for average in ("macro", "micro", "weighted"):
        expected = reference.f1_score(labels, predictions, average=average)
        assert metrics[f"f1_{average}"] == pytest.approx(expected)
    assert metrics["f1"] == metrics["f1_macro"]
    report = reference.classification_report(labels, predictions, output_dict=True)
    for row in metrics["per_class"]:
        expected = report[str(row["class"])]
        assert row["f1"] == pytest.approx(expected["f1-score"])
        assert row["precision"] == pytest.approx(expected["precision"])
        assert row["recall"] == pytest.approx(expected["recall"])
        assert row["support"] == expected["support"]


@pytest.mark.parametrize("predictions, labels, message", [
    ([], [], "at least one row"),
    ([0, 1], [0], "2 predictions but 1 labels"),
    ([0, 3], [0, 1], "prediction of row 1 is 3; expected a class from 0 to 1"),
    ([0, -1], [0, 1], "prediction of row 1 is -1"),
    ([0, 1], [-100, 1], "label of row 0 is -100"),
    ([0.2, 0.8], [0, 1], "predictions are float64"),
    ([[0], [1]], [0, 1], "one dimension"),
])
def test_impossible_classes(predictions, labels, message):
    with pytest.raises(DataError, match=message):
        classification_metrics(predictions, labels, 2)


def test_unknown_average_lists_the_known():
    with pytest.raises(ConfigError, match="expected one of .*micro"):
        compute_precision_recall_f1([0], [0], average="samples")


class _Classifier(nn.Module):
    """Logits from the first token, with dropout so that evaluation mode shows."""

    def __init__(self, classes=3):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(50, classes, generator=generator))
        self.dropout = nn.Dropout(0.9)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        """(B,S) -> (B,C)"""
        assert attention_mask is None or attention_mask.shape == input_ids.shape
        return self.dropout(self.table[input_ids[:, 0]])


def _batches(size, rows=23):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(50, (rows, 7), generator=generator)
    labels = torch.randint(3, (rows,), generator=generator)
    return [{"input_ids": ids[i:i + size], "attention_mask": torch.ones_like(ids[i:i + size]),
             "labels": labels[i:i + size]} for i in range(0, rows, size)]


def test_scores_do_not_depend_on_the_batch_size():
    model = _Classifier()
    results = [evaluate_classification_metrics(model, _batches(size), "cpu", 3)
               for size in (1, 7, 23)]
    assert results[0] == results[1] == results[2]
    whole = _batches(23)[0]
    logits = model.table[whole["input_ids"][:, 0]]
    assert results[0]["loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, whole["labels"]).item())
    assert results[0]["accuracy"] == (logits.argmax(1) == whole["labels"]).double().mean().item()
    assert {"accuracy", "precision", "recall", "f1", "loss", "f1_micro", "f1_weighted",
            "matthews_correlation", "per_class", "confusion_matrix"} <= set(results[0])


def test_modes_come_back_even_after_an_error():
    model = _Classifier().train()
    model.dropout.eval()  # frozen by the user: must not be switched on
    logits, labels = predict_logits(model, _batches(7), "cpu")
    assert logits.shape == (23, 3) and labels.shape == (23,) and not logits.requires_grad
    assert model.training and not model.dropout.training
    with pytest.raises(DataError, match="expected labels too"):
        predict_logits(model, [{"input_ids": torch.zeros(1, 2, dtype=torch.long)}], "cpu")
    assert model.training and not model.dropout.training


def test_evaluation_refuses_what_it_cannot_score():
    model = _Classifier()
    with pytest.raises(DataError, match="the loader gave no batch"):
        evaluate_classification_metrics(model, [], "cpu", 3)
    with pytest.raises(DataError, match=r"shape \(23, 3\); expected \(rows, 2\)"):
        evaluate_classification_metrics(model, _batches(7), "cpu", 2)
    batch = _batches(23)[0]
    with pytest.raises(DataError, match="label of row 0 is 9"):
        evaluate_classification_metrics(model, [{**batch, "labels": batch["labels"] * 0 + 9}],
                                        "cpu", 3)


def test_format_per_class_is_aligned():
    metrics = classification_metrics([0, 1, 1], [0, 1, 0], 2)
    lines = format_per_class(metrics, ["ham", "a longer name"]).splitlines()
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["ham", "1.0000", "0.5000", "0.6667", "2"]
    with pytest.raises(DataError, match="2 classes but 1 names"):
        format_per_class(metrics, ["ham"])
