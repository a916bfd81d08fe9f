"""Folds, intervals and McNemar's test against scikit-learn, scipy, simulation and fractions."""

import json
import math
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import sklearn.metrics as reference

from bert_kit.data import stratified_folds
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (bootstrap_intervals, classification_metrics,
                                 compute_confusion_matrix, fold_scores, format_per_class,
                                 headline_scores, matthews_correlation, mcnemar)
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


def _scores_in_words(cells):
    """Scores of shares of cells (C, C), each by its definition."""
    labelled, predicted, right = cells.sum(1), cells.sum(0), np.diag(cells)
    precision, recall = right / predicted, right / labelled

    def covariance(a, b, together):
        return sum(together[i] - a[i] * b[i] for i in range(len(a)))

    return {"accuracy": right.sum(),
            "f1_macro": np.mean(2 * precision * recall / np.maximum(precision + recall, 1e-300)),
            "matthews_correlation": covariance(labelled, predicted, right) / math.sqrt(
                covariance(labelled, labelled, labelled)
                * covariance(predicted, predicted, predicted))}


def _dirichlet(counts, prior, samples, seed):
    """Scores of draws by numpy's own Dirichlet, one after the other."""
    draws = np.random.default_rng(seed).dirichlet((counts + prior).ravel(), samples)
    return [_scores_in_words(draw.reshape(counts.shape)) for draw in draws]


def _scores_by_hand(cells):
    """Scores of a matrix by scikit-learn: its cells are the weights of as many rows."""
    labels, predictions = np.indices(cells.shape).reshape(2, -1)
    weights = {"sample_weight": cells.ravel()}
    return {"accuracy": reference.accuracy_score(labels, predictions, **weights),
            "f1_macro": reference.f1_score(labels, predictions, average="macro", **weights),
            "matthews_correlation": reference.matthews_corrcoef(labels, predictions, **weights)}


def test_scores_of_matrices_of_weights():
    """Counts, counts times a number, and shares have the same scores."""
    generator = np.random.default_rng(4)
    for cells in (generator.random((4, 4)), generator.dirichlet(np.full(9, 0.1)).reshape(3, 3)):
        expected = _scores_by_hand(cells)
        assert _scores_in_words(cells / cells.sum()) == pytest.approx(expected)
        for times in (1, 0.37, 1e4):
            assert headline_scores(cells * times) == pytest.approx(expected, abs=1e-9)
    for alone in ([[0.1, 0], [0.3, 0]], [[0.1, 0.7], [0, 0]], [[0.3]]):
        assert matthews_correlation(alone) == 0  # by definition, not 1e-9 by rounding
    assert matthews_correlation(np.diag([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert matthews_correlation([[0, 0.1], [0.3, 0]]) == pytest.approx(-1)


def test_intervals_against_drawing_with_the_prior_written_out():
    predictions, labels = _random(classes=3, rows=150)
    predictions[labels == 2] = 2
    counts = compute_confusion_matrix(predictions, labels, 3)
    prior = np.full((3, 3), 1 / 12)  # six mistakes share half a row,
    prior[np.diag_indices(3)] = 1 / 6  # and three ways to be right the other half
    draws = _dirichlet(counts, prior, 10_000, seed=7)
    # Without the prior empty cells stay empty; numpy wants numbers above 0.
    plain = [draw["f1_macro"] for draw in _dirichlet(counts, 1e-9, 10_000, seed=8)]
    exact = _expected(predictions, labels)
    ours = bootstrap_intervals(predictions, labels, 3, samples=10_000, level=0.9)
    for name in NAMES:
        ends = np.quantile([draw[name] for draw in draws], [0.05, 0.95])
        if name == "f1_macro":
            ends += 2 * (exact[name] - np.mean(plain))
        assert ours[name]["value"] == pytest.approx(exact[name])
        assert (ours[name]["low"], ours[name]["high"]) == pytest.approx(ends, abs=0.006)


@pytest.mark.parametrize("right, wrong", [(3, 0), (60, 0), (0, 60), (43, 57), (270, 130)])
@pytest.mark.parametrize("classes", [2, 7])
def test_interval_of_the_accuracy_is_wilsons(right, wrong, classes):
    stats = pytest.importorskip("scipy.stats")
    labels = np.arange(right + wrong) % classes
    predictions = np.where(np.arange(len(labels)) < right, labels, (labels + 1) % classes)
    for level in (0.95, 0.8):
        found = bootstrap_intervals(predictions, labels, classes, 10, level)["accuracy"]
        want = stats.binomtest(right, len(labels)).proportion_ci(level, "wilson")
        assert found["value"] == right / len(labels)
        assert (found["low"], found["high"]) == pytest.approx((want.low, want.high), abs=1e-9)


@pytest.mark.parametrize("rows", [50, 100, 200, 500, 1000])
def test_how_often_the_interval_of_an_accuracy_holds(rows):
    """Summed over all numbers of right rows, for each true accuracy: no draw is needed.

    A number of right rows that is let in or not is worth some percent of coverage near 1.
    """
    right = np.arange(rows + 1)
    low, high = wilson_interval(right / rows, rows)
    binomial = pytest.importorskip("scipy.stats").binom
    held = np.array([binomial.pmf(right, rows, truth)[(low <= truth) & (truth <= high)].sum()
                     for truth in np.arange(0.5, 0.9901, 0.005)])
    assert 0.945 < held.mean() < 0.955
    assert ((held >= 0.93) & (held <= 0.97)).mean() >= 0.93
    assert held.min() >= (0.91 if rows <= 100 else 0.93) and held.max() < 0.98


def test_intervals_of_scores_at_their_ends_have_a_width():
    labels = np.repeat([0, 1], [43, 57])
    constant = bootstrap_intervals(np.zeros(100, dtype=int), labels, 2)
    assert constant["accuracy"]["low"] < 0.36 and constant["accuracy"]["high"] > 0.5
    assert constant["f1_macro"]["low"] < 0.27 and constant["f1_macro"]["high"] > 0.33
    assert constant["matthews_correlation"]["low"] < 0 < constant["matthews_correlation"]["high"]
    perfect = bootstrap_intervals(labels, labels, 2)
    for name in NAMES:
        assert perfect[name]["value"] == perfect[name]["high"] == 1
        assert 0.9 < perfect[name]["low"] < 0.99
    alone = bootstrap_intervals([0] * 60, [0] * 60, 3)  # no row of the others, and yet
    assert 0.93 < alone["accuracy"]["low"] < 0.99
    only = bootstrap_intervals([0] * 60, [0] * 60, 1)  # there is no other class
    assert only["accuracy"] == {"value": 1, "low": 1, "high": 1}


def _population(shares, recall):
    """Return shares of cells: mistakes go to each other class alike, or all to class 0 (None)."""
    shares, classes = np.array(shares) / sum(shares), len(shares)
    if recall is None:
        return np.outer(shares, np.arange(classes) == 0)
    recall = np.broadcast_to(recall, classes)
    cells = np.outer(shares * (1 - recall) / (classes - 1), np.ones(classes))
    cells[np.diag_indices(classes)] = shares * recall
    return cells


UNEQUAL = [40, 25, 15, 10, 6, 4]
POPULATIONS = {  # shares of the classes, how much is found of each, rows
    "constant, 2 classes": ([43, 57], None, 100),
    "constant, 6 classes": (UNEQUAL, None, 100),
    "near perfect": ([1, 1, 1], 0.98, 60),
    "near perfect, 6 classes": (UNEQUAL, 0.98, 100),
    "ordinary": ([1] * 4, 0.8, 100),
    "one class of 3%": ([40, 32, 25, 3], [0.85, 0.8, 0.8, 0.5], 300),
    "one class of 3%, more rows": ([40, 32, 25, 3], [0.85, 0.8, 0.8, 0.5], 500),
    "one class of three rows": ([40, 32, 25, 3], [0.85, 0.8, 0.8, 0.5], 100),
    "five rows a class": ([1] * 12, 0.85, 60)}
FEW = 0.86  # the least share where a class has 3 or 5 rows: they are too few for more


QUICK = ("constant, 2 classes", "near perfect", "ordinary", "one class of 3%", "five rows a class")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in POPULATIONS])
def test_intervals_hold_as_often_as_they_say(name):
    """Test rows drawn 250 times from a known population; 95% is to be near 95%."""
    shares, recall, rows = POPULATIONS[name]
    cells, generator = _population(shares, recall), np.random.default_rng(29)
    truth, held = _scores_by_hand(cells), Counter()
    for seed in range(250):
        drawn = np.repeat(np.arange(cells.size), generator.multinomial(rows, cells.ravel()))
        labels, predictions = np.divmod(drawn, len(shares))
        found = bootstrap_intervals(predictions, labels, len(shares), samples=300, seed=seed)
        held.update(key for key in NAMES if
                    found[key]["low"] - 1e-9 <= truth[key] <= found[key]["high"] + 1e-9)
    for key in NAMES[:2] if recall is None else NAMES:  # correlations of a constant are always 0
        least = FEW if key == "f1_macro" and ("three" in name or "five" in name) else 0.9
        assert least <= held[key] / 250 <= 0.99, (key, held[key] / 250)


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


def test_costs_do_not_grow_with_the_square_of_the_classes():
    """100 times the classes: neither time nor memory of a C x C table."""
    labels = np.arange(20_000) % 10_000
    predictions = np.where(np.arange(20_000) % 5, labels, (labels * 7 + 1) % 10_000)
    tracemalloc.start()
    metrics = classification_metrics(predictions, labels, 10_000)
    found = bootstrap_intervals(predictions, labels, 10_000, samples=100)
    folds = fold_scores(predictions, labels, 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 2**20  # a table of counts would be 800 MB
    assert metrics["confusion_matrix"] is None and len(json.dumps(metrics)) < 2 * 2**20
    expected = _expected(predictions, labels)
    assert {name: metrics[name] for name in NAMES} == pytest.approx(expected)
    for name in NAMES:
        assert found[name]["value"] == pytest.approx(expected[name])
        assert found[name]["low"] <= expected[name] <= found[name]["high"]
    assert len(folds["folds"]) == 7
    table = format_per_class(metrics, [f"c{i}" for i in range(10_000)]).splitlines()
    assert len(table) == 102 and table[-1] == "and 9,900 classes with as many rows or fewer"


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
