"""Folds, bootstrap and McNemar's test against scikit-learn, scipy, loops and exact fractions."""

import json
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics as reference

from bert_kit.data import stratified_folds
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (bootstrap_intervals, classification_metrics,
                                 compute_confusion_matrix, fold_scores, headline_scores, mcnemar)
from bert_kit.evaluation.trust.resampling import wilson_interval

NAMES = ("accuracy", "f1_macro", "matthews_correlation")


def _random(classes=5, rows=203, right=0.6, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=rows)
    wrong = generator.random(rows) > right
    return np.where(wrong, generator.integers(classes, size=rows), labels), labels


def _expected(predictions, labels):
    return {"accuracy": reference.accuracy_score(labels, predictions),
            "f1_macro": reference.f1_score(labels, predictions, average="macro"),
            "matthews_correlation": reference.matthews_corrcoef(labels, predictions)}


@pytest.mark.parametrize("classes", [2, 5, 40])  # 40: some classes never occur in 50 rows
def test_headline_scores_match_scikit_learn_and_the_metrics(classes):
    predictions, labels = _random(classes, rows=50)
    scores = headline_scores(compute_confusion_matrix(predictions, labels, classes))
    assert scores == pytest.approx(_expected(predictions, labels))
    metrics = classification_metrics(predictions, labels, classes)
    assert scores == pytest.approx({name: metrics[name] for name in NAMES})


def test_fold_scores_by_hand():
    predictions, labels = _random()
    result = fold_scores(predictions, labels, 5, folds=7, seed=3)
    fold = stratified_folds(labels, 7, seed=3)
    assert np.bincount(labels).min() >= 7  # every class is in every fold
    each = [_expected(predictions[fold == i], labels[fold == i]) for i in range(7)]
    for i, row in enumerate(result["folds"]):
        assert row["fold"] == i and row["rows"] == (fold == i).sum()
        assert {name: row[name] for name in NAMES} == pytest.approx(each[i])
    for name in NAMES:
        values = [score[name] for score in each]
        mean = sum(values) / 7
        assert result["mean"][name] == pytest.approx(mean)
        deviation = math.sqrt(sum((value - mean)**2 for value in values) / 6)
        assert result["std"][name] == pytest.approx(deviation)
    assert json.loads(json.dumps(result)) == result
    whole = np.average([row["accuracy"] for row in result["folds"]],
                       weights=[row["rows"] for row in result["folds"]])
    assert whole == pytest.approx((predictions == labels).mean())


def test_fold_scores_leave_out_classes_that_are_not_in_every_fold():
    labels = np.repeat([0, 1, 2, 3], [40, 30, 7, 2])
    predictions = labels.copy()
    predictions[-2:] = 4  # class 3 is never found, and 4 never true
    predictions[:8] = 1
    result = fold_scores(predictions, labels, 6, seed=2)
    fold = stratified_folds(labels, 7, seed=2)
    for i, row in enumerate(result["folds"]):
        assert row["f1_macro"] == pytest.approx(reference.f1_score(
            labels[fold == i], predictions[fold == i], labels=[0, 1, 2], average="macro"))
    perfect = fold_scores(predictions[8:-2], labels[8:-2], 6)
    assert perfect["mean"]["f1_macro"] == 1 and perfect["std"]["f1_macro"] == 0
    rare = np.repeat(np.arange(12), [2] * 11 + [1])  # no class for two folds of 11 and a third
    assert fold_scores(rare, rare, 12, folds=2)["mean"]["f1_macro"] == 1
    single = np.arange(20)  # no class is in both folds: half of them in each
    assert fold_scores(single, single, 20)["mean"]["f1_macro"] == 0.5


@pytest.mark.parametrize("rows, expected", [(1, 0), (10, 0), (19, 0), (20, 2), (29, 2), (30, 3),
                                            (69, 6), (70, 7), (500, 7)])
def test_small_data_has_fewer_folds(rows, expected):
    labels = np.arange(rows) % 2
    result = fold_scores(labels, labels, 2)
    assert len(result["folds"]) == expected
    assert sum(fold["rows"] for fold in result["folds"]) == (rows if expected else 0)
    if expected:
        assert min(fold["rows"] for fold in result["folds"]) >= 10
        assert result["mean"] == {name: 1 for name in NAMES}  # perfect, and every fold says so
    else:
        assert result == {"folds": [], "mean": {}, "std": {}}


def test_folds_that_cannot_be():
    for folds in (1, 0, -3, 2.0, True):
        with pytest.raises(ConfigError, match="folds is .*expected a whole number from 2"):
            fold_scores([0, 1, 0], [0, 1, 0], 2, folds)
    with pytest.raises(DataError, match="label of row 0 is 2"):
        fold_scores([0, 1], [2, 1], 2, folds=2)


def test_bootstrap_agrees_with_drawing_rows_of_each_class():
    predictions, labels = _random(classes=3, rows=150)
    predictions[labels == 2] = 2  # classes unlike each other: the strata matter
    ours = bootstrap_intervals(predictions, labels, 3, samples=3_000, level=0.9)
    generator, draws = np.random.default_rng(7), []
    for _ in range(3_000):
        rows = np.concatenate([generator.choice(np.flatnonzero(labels == i), (labels == i).sum())
                               for i in range(3)])
        draws.append(headline_scores(compute_confusion_matrix(predictions[rows], labels[rows], 3)))
    exact = _expected(predictions, labels)
    for name in NAMES:
        low, high = np.quantile([draw[name] for draw in draws], [0.05, 0.95])
        assert ours[name]["value"] == pytest.approx(exact[name])
        assert ours[name]["low"] == pytest.approx(low, abs=0.012)
        assert ours[name]["high"] == pytest.approx(high, abs=0.012)


def test_bootstrap_of_accuracy_in_closed_form():
    """The right rows of each class are binomial, so the variance of their sum is known."""
    labels = np.repeat([0, 1], [300, 100])
    predictions = np.repeat([0, 1, 0], [270, 30, 100])  # 270 of 300 right, and none of 100
    found = bootstrap_intervals(predictions, labels, 2, samples=4_000)["accuracy"]
    spread = 1.96 * math.sqrt(300 * 0.9 * 0.1) / 400
    assert found["value"] == 0.675
    assert found["low"] == pytest.approx(0.675 - spread, abs=0.003)
    assert found["high"] == pytest.approx(0.675 + spread, abs=0.003)


def test_a_rare_class_that_is_never_found_stays_in_every_draw():
    labels = np.repeat(np.arange(6), [40] * 5 + [2])
    predictions = np.where(labels == 5, 0, labels)
    found = bootstrap_intervals(predictions, labels, 6)["f1_macro"]
    assert found["value"] == pytest.approx(_expected(predictions, labels)["f1_macro"])
    assert found["low"] == found["value"] == found["high"]  # nothing else can be drawn
    predictions[0] = 6  # a class without rows, predicted once: in a third of the draws not at all
    found = bootstrap_intervals(predictions, labels, 7)["f1_macro"]
    assert found["high"] - found["low"] < 0.01


def test_bootstrap_is_repeatable_and_can_be_nested():
    predictions, labels = _random()
    narrow, wide = (bootstrap_intervals(predictions, labels, 5, 200, level)
                    for level in (0.5, 0.99))
    assert narrow == bootstrap_intervals(predictions, labels, 5, 200, 0.5)
    assert narrow != bootstrap_intervals(predictions, labels, 5, 200, 0.5, seed=1)
    for name in NAMES:
        ends = [wide[name]["low"], narrow[name]["low"], narrow[name]["high"], wide[name]["high"]]
        assert ends == sorted(ends) and ends[0] < ends[3]
    assert json.loads(json.dumps(wide)) == wide


def test_bootstrap_of_many_rows_and_classes():
    predictions, labels = _random(classes=77, rows=10_000, right=0.9)
    result = bootstrap_intervals(predictions, labels, 77)  # 1000 samples: well below a second
    accuracy = result["accuracy"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(
        2 * 1.96 * math.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 10_000), rel=0.1)


def test_bootstrap_settings_that_cannot_be():
    for samples in (0, 1.5, True):
        with pytest.raises(ConfigError, match="samples is"):
            bootstrap_intervals([0], [0], 1, samples=samples)
    for level in (0, 1, 95, math.nan):
        with pytest.raises(ConfigError, match="level is"):
            bootstrap_intervals([0], [0], 1, level=level)
    with pytest.raises(DataError, match="at least one row"):
        bootstrap_intervals([], [], 2)


def _models(wins, losses, both=3, neither=2):
    """Predictions of two models (0 is right) with these numbers of rows."""
    first = [0] * wins + [1] * losses + [0] * both + [1] * neither
    second = [1] * wins + [0] * losses + [0] * both + [1] * neither
    return first, second, [0] * len(first)


@pytest.mark.parametrize("wins, losses", [(0, 0), (1, 0), (0, 1), (5, 5), (4, 5), (9, 2), (0, 12),
                                          (61, 40), (300, 410), (700, 700)])
def test_mcnemar_against_exact_fractions(wins, losses):
    result = mcnemar(*_models(wins, losses))
    n, k = wins + losses, min(wins, losses)
    tail = Fraction(sum(math.comb(n, i) for i in range(k + 1)), 2**n)
    assert result["p_value"] == pytest.approx(float(min(1, 2 * tail)), rel=1e-10)
    assert {key: result[key] for key in result if key != "p_value"} == {
        "both_right": 3, "first_only": wins, "second_only": losses, "both_wrong": 2}


def test_mcnemar_against_scipy_on_random_rows():
    stats = pytest.importorskip("scipy.stats")
    for seed in range(5):
        first, labels = _random(seed=seed)
        second = np.where(np.random.default_rng(seed + 50).random(203) < 0.3, labels, first)
        result = mcnemar(first, second, labels)
        counts = Counter(zip((first == labels).tolist(), (second == labels).tolist()))
        assert result["first_only"] == counts[True, False]
        assert result["second_only"] == counts[False, True]
        n = counts[True, False] + counts[False, True]
        assert result["p_value"] == pytest.approx(
            stats.binomtest(counts[True, False], n).pvalue, rel=1e-9)
        assert mcnemar(second, first, labels)["p_value"] == result["p_value"]


def test_mcnemar_of_very_many_rows():
    stats = pytest.importorskip("scipy.stats")
    labels = np.zeros(1_000_000, dtype=int)
    first, second = labels.copy(), labels.copy()
    first[:500_700], second[500_700:] = 1, 1
    p_value = mcnemar(first, second, labels)["p_value"]
    assert p_value == pytest.approx(2 * stats.binom.cdf(499_300, 1_000_000, 0.5), rel=1e-6)
    first[:], second[:] = 0, 1
    assert mcnemar(first, second, labels)["p_value"] == 0  # 2 ** -999,999, rounded


def test_mcnemar_refuses_what_does_not_match():
    with pytest.raises(DataError, match="2 predictions but 3 labels"):
        mcnemar([0, 1, 0], [0, 1], [0, 1, 0])
    with pytest.raises(DataError, match="label of row 0 is -100"):
        mcnemar([0], [0], [-100])


def test_wilson_interval_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    z = stats.norm.ppf(0.975)
    for right, rows in ((0, 1), (1, 1), (3, 10), (50, 100), (100, 100)):
        expected = stats.binomtest(right, rows).proportion_ci(method="wilson")
        low, high = wilson_interval(right / rows, rows, z)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
