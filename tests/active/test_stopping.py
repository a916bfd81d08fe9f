import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from bert_kit import ConfigError, DataError
from bert_kit.active import (StoppingRules, agreement, labels_needed, mean_curve,
                             paired_difference, share_needed)
from bert_kit.active.stopping import decisions, uncertainty


def history(**columns):
    """Rounds with these columns; a round has 10 labels more than the one before."""
    length = max(map(len, columns.values()))
    blank = {"delta_f": None, "changed": None, "kappa": None, "uncertainty": 0.5}
    return [{**blank, "round": i, "rows": list(range(10 * i + 10)),
             **{name: values[i] for name, values in columns.items()}} for i in range(length)]


def stops_at(rules, rounds):
    for count in range(1, len(rounds) + 1):
        if rules.reason(rounds[:count]) is not None:
            return count - 1
    return None


@pytest.mark.parametrize("rules, columns, at", [
    ({}, {"kappa": [None, 1, 1, 1, 1]}, None),
    ({"rounds": 2}, {"kappa": [None] * 5}, 2),
    ({"rounds": 0}, {"kappa": [None] * 5}, 0),
    ({"budget": 30}, {"kappa": [None] * 5}, 2),
    ({"budget": 31}, {"kappa": [None] * 5}, 3),
    ({"delta_f": 0.05}, {"delta_f": [None, 0.04, 0.06, 0.04, 0.04, 0.04]}, 5),
    ({"delta_f": 0.05}, {"delta_f": [None, 0.04, None, 0.04, 0.04]}, None),
    ({"delta_f": 0.05, "window": 1}, {"delta_f": [None, 0.05, 0.04]}, 2),
    ({"kappa": 0.99}, {"kappa": [None, 0.984, 0.99, 0.997, 0.9]}, 3),
    ({"kappa": 0.99}, {"kappa": [None, 1, 1, None, 1]}, None),
    ({"classification_change": 0.0}, {"changed": [None, 0.1, 0.0]}, 2),
    ({"classification_change": 0.1}, {"changed": [None, 0.1, 0.0]}, 1),
    ({"uncertainty": 0.2}, {"uncertainty": [0.9, 0.2, 0.19]}, 2),
    ({"uncertainty": 0.2, "rounds": 1}, {"uncertainty": [0.9, 0.2, 0.19]}, 1)])
def test_each_rule_stops_where_it_should(rules, columns, at):
    assert stops_at(StoppingRules(**rules), history(**columns)) == at
    assert StoppingRules(**rules).reason([]) is None


def test_reasons_are_one_line():
    rounds = history(delta_f=[None, 0.01, 0.01, 0.01], kappa=[None, 1, 0.99, 1],
                     changed=[None, 0.5, 0.5, 0.0125], uncertainty=[0.5, 0.5, 0.5, 0.125])
    for rules, words in [
            ({"rounds": 3}, "3 rounds, as many as asked for"), ({"budget": 4}, "40 labels"),
            ({"delta_f": 0.05}, "predicted change of F1 was below 0.05 for 3 rounds"),
            ({"kappa": 0.99}, "mean of 0.9967"),
            ({"classification_change": 0.02}, "1.25% of the predictions changed"),
            ({"uncertainty": 0.2}, "mean entropy is 0.1250")]:
        assert words in StoppingRules(**rules).reason(rounds)


@pytest.mark.parametrize("settings", [
    {"rounds": -1}, {"budget": 0}, {"budget": 1.5}, {"window": 0}, {"window": None},
    {"rounds": True}, {"delta_f": -0.1}, {"kappa": 1.1}, {"classification_change": math.nan},
    {"uncertainty": 2}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        StoppingRules(**settings)


@pytest.mark.parametrize("seed", range(5))
def test_agreement_of_single_classes_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 5, 40)
    now = np.where(rng.random(40) < 0.7, before, rng.integers(0, 4, 40))
    result = agreement(np.eye(6, dtype=int)[before], np.eye(6, dtype=int)[now], False)
    assert result["changed"] == pytest.approx((before != now).mean())
    assert result["kappa"] == pytest.approx(cohen_kappa_score(before, now))
    assert result["delta_f"] == pytest.approx(1 - f1_score(before, now, average="macro"))


@pytest.mark.parametrize("seed", range(5))
def test_agreement_of_label_sets_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    before = (rng.random((40, 6)) < 0.3).astype(int)
    now = before ^ (rng.random((40, 6)) < 0.1)
    before[:, 2] = now[:, 2] = 0  # a class that nobody predicts
    result = agreement(before, now, True)
    assert result["changed"] == pytest.approx((before != now).any(axis=1).mean())
    assert result["kappa"] == pytest.approx(cohen_kappa_score(before.ravel(), now.ravel()))
    kept = [0, 1, 3, 4, 5]
    assert result["delta_f"] == pytest.approx(
        1 - f1_score(before[:, kept], now[:, kept], average="macro"))


def test_predicting_nothing_is_no_agreement():
    nothing = np.zeros((7, 3), dtype=int)
    assert agreement(nothing, nothing, True) == {"changed": 0.0, "delta_f": None, "kappa": None}
    same = np.eye(3, dtype=int)[[1] * 7]
    assert agreement(same, same, False) == {"changed": 0.0, "delta_f": 0.0, "kappa": None}
    rules = StoppingRules(kappa=0.9, delta_f=0.1, window=1)
    assert rules.reason(history(**{name: [None, value] for name, value in
                                   agreement(nothing, nothing, True).items()})) is None


def test_predictions_and_their_uncertainty():
    table = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert decisions(table, False).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert decisions(table, True).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert uncertainty(np.full((4, 3), 1 / 3), False) == pytest.approx(1)
    assert uncertainty(np.full((4, 3), 0.5), True) == pytest.approx(1)
    assert uncertainty(np.eye(3), False) == uncertainty(np.eye(3), True) == 0


# What several seeds say together


def test_labels_needed_is_the_first_crossing():
    assert labels_needed([10, 20, 30, 40], [0.1, 0.5, 0.3, 0.9], 0.4) == pytest.approx(17.5)
    assert labels_needed([10, 20], [0.5, 0.9], 0.4) == 10
    assert labels_needed([10, 20], [0.5, 0.9], 0.9) == 20
    assert labels_needed([10, 20], [0.5, 0.9], 0.91) is None
    assert labels_needed([10, 20], [0.4, 0.4], 0.4) == 10


def test_share_needed_follows_the_mean_curve():
    curves = [[0.2, 0.4, 0.8], [0.4, 0.6, 0.8]]
    mean, spread = mean_curve(curves)
    assert mean == pytest.approx([0.3, 0.5, 0.8])
    assert spread == pytest.approx([math.sqrt(0.02), math.sqrt(0.02), 0])
    assert np.isnan(mean_curve(curves[:1])[1]).all()
    shares = share_needed([100, 200, 300], curves, 0.8, 1000, goals=(0.5, 1.0, 1.1))
    assert shares == {0.5: pytest.approx(0.15), 1.0: pytest.approx(0.3), 1.1: None}
    with pytest.raises(DataError, match=r"expected \(seeds, rounds\)"):
        mean_curve([0.5, 0.6])


def test_paired_difference_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    first, second = rng.random((5, 8)), rng.random((5, 8))
    result = paired_difference(first, second)
    test = stats.ttest_rel(first.mean(axis=1), second.mean(axis=1)).confidence_interval(0.95)
    assert (result["low"], result["high"]) == pytest.approx((test.low, test.high))
    assert result["mean"] == pytest.approx((first - second).mean())
    assert result["wins"] == (first.mean(axis=1) > second.mean(axis=1)).sum()
    alone = paired_difference([0.5], [0.25])
    assert alone == {"mean": 0.25, "low": None, "high": None, "wins": 1, "seeds": 1}
    with pytest.raises(DataError, match="the same seeds"):
        paired_difference([1, 2], [1, 2, 3])


def test_seeds_that_all_differ_alike_have_no_interval():
    """Their spread is 0, and Student's interval would say that the difference is sure."""
    ones = np.ones((3, 4))
    assert paired_difference(ones, ones) == {
        "mean": 0, "low": None, "high": None, "wins": 0, "seeds": 3}
    alike = paired_difference([0.4, 0.5, 0.3], [0.3, 0.4, 0.2])  # .1 each, but for rounding
    assert alike["low"] is None and alike["high"] is None and alike["wins"] == 3
    assert alike["mean"] == pytest.approx(0.1)
    close = paired_difference([0.4, 0.5], [0.3, 0.4 - 1e-6])
    assert close["low"] < 0.1 < close["high"]
