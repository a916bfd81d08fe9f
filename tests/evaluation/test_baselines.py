"""Baselines against counts and measured figures. Run: pytest tests/evaluation/test_baselines.py"""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from bert_kit.errors import DataError
from bert_kit.evaluation.trust.baselines import (majority_baseline, tfidf_baseline,
                                                 vector_label_probabilities)

SHARED = Path(__file__).resolve().parents[3] / "shared"


def test_majority_counts_the_commonest_training_label():
    assert majority_baseline(["a", "b", "b"], ["b", "a", "b", "c", "b"]) == 3 / 5
    assert majority_baseline(["b", "a"], ["a"]) == majority_baseline(["a", "b"], ["a"]) == 1.0
    for train, test in (([], ["a"]), (["a"], [])):
        with pytest.raises(DataError, match="at least one of each"):
            majority_baseline(train, test)


def test_tfidf_learns_words():
    texts = [f"{word} number {i}" for i in range(10) for word in ("good", "bad")]
    labels = ["good", "bad"] * 10
    assert tfidf_baseline(texts, labels, ["a bad day", "so good"]) == ["bad", "good"]
    assert tfidf_baseline(texts, labels, []) == []


def test_labels_of_vectors_are_one_regression_each():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, (40, 4))
    labels[:, 2], labels[:, 3] = 1, 0
    found = vector_label_probabilities(vectors[:30], labels[:30], vectors[30:])
    want = OneVsRestClassifier(LogisticRegression(C=10, max_iter=1_000)).fit(
        vectors[:30], labels[:30, :2]).predict_proba(vectors[30:])
    np.testing.assert_allclose(found, np.hstack([want, np.ones((10, 1)), np.zeros((10, 1))]),
                               atol=1e-9)
    with pytest.raises(DataError, match="30 train_vectors but 29"):
        vector_label_probabilities(vectors[:30], labels[:29], vectors[30:])


@pytest.mark.parametrize("texts, labels, message", [
    (["a b"], ["x", "y"], "1 texts but 2 labels"),
    (["some text", "more text"], ["x", "x"], "1 class in 2"),
    (["?", "!"], ["x", "y"], "hold no words"),
])
def test_tfidf_refuses(texts, labels, message):
    with pytest.raises(DataError, match=message):
        tfidf_baseline(texts, labels, ["a"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the checkout")
@pytest.mark.parametrize("name, train, accuracy", [  # as measured with scikit-learn 1.9
    ("sst2", "train_sentences.csv", 0.813), ("trec6", "train.csv", 0.882)])
def test_accuracy_on_real_text(name, train, accuracy):
    tables = []
    for file in (train, "test.csv"):
        with open(SHARED / "data" / name / file, encoding="utf-8", newline="") as handle:
            tables.append([(row["text"], row["category"]) for row in csv.DictReader(handle)])
    (train_texts, train_labels), (test_texts, test_labels) = (zip(*table) for table in tables)
    predicted = tfidf_baseline(train_texts, train_labels, test_texts)
    right = sum(a == b for a, b in zip(predicted, test_labels)) / len(test_labels)
    assert right == pytest.approx(accuracy, abs=0.003)
