"""Labels that are probably wrong, against scikit-learn's own cross-validation and planted ones."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from bert_kit.data import stratified_folds
from bert_kit.errors import DataError
from bert_kit.evaluation import format_suspects, rank_labels, unseen_probabilities


def planted(rows=240, wrong=24, classes=3, width=5, seed=0):
    """Vectors around the corners of a triangle, their classes, and which of these are wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    vectors = rng.normal(size=(rows, width)) + 2.5 * np.eye(classes, width)[labels]
    is_wrong = np.zeros(rows, bool)
    is_wrong[rng.choice(rows, wrong, replace=False)] = True
    return vectors, np.where(is_wrong, (labels + rng.integers(1, classes, rows)) % classes,
                             labels), is_wrong


def test_probabilities_are_those_of_cross_validation():
    vectors, labels, _ = planted()
    folds = stratified_folds(labels, 5, seed=3)
    scale = np.sqrt(np.mean([np.dot(row, row) for row in vectors - vectors.mean(0)]))
    want = cross_val_predict(LogisticRegression(C=1, max_iter=1_000),
                             (vectors - vectors.mean(0)) / scale, labels,
                             cv=PredefinedSplit(folds), method="predict_proba")
    found = unseen_probabilities(vectors, labels, folds)
    np.testing.assert_allclose(found, want, atol=1e-9)
    np.testing.assert_allclose(unseen_probabilities(7 * vectors + 3, labels, folds), found,
                               atol=1e-5)  # the length of vectors says nothing
    np.testing.assert_array_equal(unseen_probabilities(vectors, labels.tolist(), folds), found)


def test_planted_labels_stand_first():
    vectors, labels, is_wrong = planted()
    found = unseen_probabilities(vectors, labels, stratified_folds(labels, 5))
    ranked = rank_labels(found, labels)
    assert sorted(row["row"] for row in ranked) == list(range(240))
    given = [row["probability"] for row in ranked]
    assert given == sorted(given) == [found[row["row"], labels[row["row"]]] for row in ranked]
    for row in ranked:
        assert row["prediction"] == found[row["row"]].argmax() and row["label"] == labels[
            row["row"]] and row["confidence"] == found[row["row"]].max()
    places = np.argsort([row["row"] for row in ranked])
    assert average_precision_score(is_wrong, -places) > 0.8  # chance is a tenth
    assert is_wrong[[row["row"] for row in ranked[:12]]].mean() > 0.9


def test_a_copy_with_the_same_wrong_label_does_not_vouch_for_it():
    vectors, labels, is_wrong = planted()
    twice, of = np.repeat(vectors, 2, axis=0), np.repeat(np.arange(240), 2)
    labels, is_wrong = np.repeat(labels, 2), np.repeat(is_wrong, 2)

    def doubt(folds):
        given = unseen_probabilities(twice, labels, folds)[np.arange(480), labels]
        return given[is_wrong].mean()

    together = stratified_folds(labels, 5, groups=of.tolist())
    assert (together[0::2] == together[1::2]).all()
    assert doubt(together) < doubt(np.arange(480) % 2)  # where each copy is in the other fold


def test_groups_are_dealt_class_by_class():
    labels = np.repeat([0, 1, 2], [40, 9, 2])
    groups = ["same" if row in (3, 7, 11) else row for row in range(51)]
    folds = stratified_folds(labels, 5, seed=1, groups=groups)
    assert len({folds[row] for row in (3, 7, 11)}) == 1
    assert np.unique(folds[labels == 1]).size == 5  # fewer rows than two a fold, and all folds
    assert np.unique(folds[labels == 2]).size == 2  # each row is told by the other
    alone = [row for row in range(51) if row not in (7, 11)]
    np.testing.assert_array_equal(folds[alone], stratified_folds(labels[alone], 5, seed=1))
    with pytest.raises(DataError, match="2 groups of rows for 5 folds"):
        stratified_folds([0, 1, 1], 5, groups=["a", "b", "b"])
    with pytest.raises(DataError, match="3 labels but 2 groups"):
        stratified_folds([0, 1, 1], 2, groups=["a", "b"])


def test_a_class_that_no_other_fold_has_is_not_judged():
    vectors, labels, _ = planted(rows=40, wrong=0)
    labels[0] = 3
    found = unseen_probabilities(vectors, labels, stratified_folds(labels, 4))
    assert np.isnan(found[0, 3]) and not np.isnan(found[0, :3]).any()
    last = rank_labels(found, labels)[-1]
    assert (last["row"], last["label"], last["probability"]) == (0, 3, None)
    assert last["prediction"] in (0, 1, 2) and last["confidence"] > 0
    # Two classes, of which the other fold has one.
    np.testing.assert_array_equal(unseen_probabilities([[0.0], [1.0], [2.0]], [0, 0, 1],
                                                       [0, 0, 1])[:, 1], [1, 1, np.nan])


def test_the_table_names_the_place_both_classes_and_the_text():
    ranked = rank_labels(np.array([[0.75, 0.25], [np.nan, 1.0]]), [1, 0])
    head, first, second = format_suspects(ranked, ["one\ntext", "two"], ["ham", "spam"],
                                          [17, 4]).splitlines()
    assert " ".join(head.split()) == "line given probable most likely probable text"
    assert first.split() == ["17", "spam", "0.2500", "ham", "0.7500", "one", "text"]
    assert second.split() == ["4", "ham", "spam", "1.0000", "two"]
