import math

import pytest

from bert_kit import TrainingError
from bert_kit.training import EarlyStopping

NAN = float("nan")


def stops_at(stopping, values, greater_is_better=True):
    """The evaluation, from 1, after which a run ends, and why."""
    for count in range(1, len(values) + 1):
        reason = stopping.reason(values[:count], greater_is_better)
        if reason is not None:
            return count, reason
    return None, None


@pytest.mark.parametrize("values, settings, at", [
    ([1, 2, 3, 3, 3, 3], {}, 6),
    ([1, 2, 3, 3, 3, 4, 4, 4], {}, None),
    ([5, 4, 3, 2], {}, 4),
    ([5, 4, 3, 2], {"patience": 1}, 2),
    ([1, 1.04, 1.08, 1.12, 1.16], {"min_delta": 0.05, "patience": 2}, None),  # adds up to steps
    ([1, 1.04, 1.03, 1.05], {"min_delta": 0.05, "patience": 2}, 3),
    ([5, 4, 3, 2, 1, 0], {"min_epochs": 5}, 5),
    ([5, 4, 3, 2, 1, 0], {"min_epochs": 9}, None),
    ([0, 9, 0, 0, 0], {"smoothing_window": 3}, 5),  # means 0, 4.5, 3, 3, 0
    ([NAN, NAN, NAN], {}, 3),
    ([1, NAN, None, math.inf], {}, 4),
    ([1, NAN, None, 2, NAN, NAN], {}, None),
    ([], {}, None),
])
def test_patience(values, settings, at):
    stopping = EarlyStopping(**settings)
    assert stops_at(stopping, values)[0] == at
    losses = [None if value is None else -value for value in values]
    assert stops_at(stopping, losses, greater_is_better=False)[0] == at


@pytest.mark.parametrize("values, greater, at", [
    ([0.5, 0.9, 0.8, 0.7, 0.6], True, 5),  # a mean of 0.7 is below 0.72
    ([0.5, 0.9, 0.8, 0.7, 0.7], True, None),
    ([1.0, 0.5, 0.6, 0.6, 0.61], False, 5),  # losses: 0.603 is above 0.6
    ([1.0, 0.5, 0.6, 0.6, 0.59], False, None),
    ([-2.0, -1.0, -1.2, -1.2, -1.21], True, 5),  # a negative metric that should grow
    ([-2.0, -1.0, -1.2, -1.2, -1.19], True, None),
    ([-3.0, -1.9, -2.0], True, None),
    ([0.9, 0.1, 0.1], True, None),  # the first three have nothing to be compared with
    ([0.5, 0.9, 0.1, NAN, 0.1], True, None),
    ([0.0, 0.1, 0.1, 0.1], False, None),  # a best of 0 has no share
])
def test_regression_is_relative_to_the_size_of_the_best(values, greater, at):
    stopping = EarlyStopping(patience=99, regression=0.2)
    assert stops_at(stopping, values, greater)[0] == at


def test_trend_is_the_least_squares_slope():
    stopping = EarlyStopping(patience=99, trend_window=4, trend_slope=-0.05)
    falling = [0.0, 0.9, 0.85, 0.79, 0.74]  # slope of the last four: -0.054
    assert stops_at(stopping, falling) == (
        5, "worse by 0.054 an evaluation over the last 4, more than 0.05")
    assert stops_at(stopping, [1 - value for value in falling], False)[0] == 5
    assert stops_at(stopping, falling[1:], greater_is_better=False)[0] is None
    assert stops_at(stopping, [0.0, 0.9, 0.86, 0.81, 0.76])[0] is None  # -0.047
    assert stops_at(stopping, [0.0, 0.9, NAN, 0.5, 0.1])[0] is None


def test_reasons_are_one_line_in_the_metrics_own_units():
    reason = EarlyStopping(patience=2, min_delta=0.01, smoothing_window=2).reason(
        [0.75, 0.25, 0.5, 0.5, 0.5], greater_is_better=False)
    assert reason == ("no improvement by more than 0.01 in 2 evaluations; "
                      "the best was 0.375 (mean of 2), evaluation 3")
    assert EarlyStopping(patience=2).reason([None, NAN], True) == (
        "none of 2 evaluations gave a number")
    assert EarlyStopping(patience=9, regression=0.2).reason(
        [0.1, 0.5, 0.5, 0.5], greater_is_better=False) == (
        "the last 3 evaluations have a mean of 0.5, more than 20% worse than the best, 0.1")


@pytest.mark.parametrize("trial, epochs, patience, least", [
    (0, 3, 3, 3), (7, 10, 3, 5), (8, 20, 4, 5), (13, 40, 6, 10), (50, 100, 8, 25)])
def test_adaptive_settings(trial, epochs, patience, least):
    assert EarlyStopping.adaptive(trial, epochs) == EarlyStopping(
        patience=patience, min_delta=0.001, min_epochs=least, smoothing_window=3, trend_window=5,
        regression=0.2)


@pytest.mark.parametrize("settings", [
    {"patience": 0}, {"patience": 2.5}, {"min_epochs": -1}, {"smoothing_window": True},
    {"trend_window": 1}, {"min_delta": -1}, {"min_delta": NAN}, {"trend_slope": NAN},
    {"regression": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(TrainingError, match=next(iter(settings))):
        EarlyStopping(**settings)


def test_without_patience_only_the_other_reasons_count():
    flat = [0.5] * 30
    assert EarlyStopping().reason(flat, True)
    assert EarlyStopping(patience=None).reason(flat, True) is None
    falling = [0.9, 0.8, 0.7, 0.6]
    assert "worse by" in EarlyStopping(patience=None, trend_window=3).reason(falling, True)
