"""Calibration against scikit-learn, loops and closed formulas."""

import inspect
import json
import math

import numpy as np
import pytest
import sklearn.metrics as reference
import torch

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (brier_score, confidence_coverage, expected_calibration_error,
                                 fit_label_scaling, fit_temperature, format_coverage,
                                 format_reliability, reliability_bins, scaled_losses)
from bert_kit.jobs.tasks.calibration import calibrate, calibration_keys, format_calibration


def _random(rows=501, classes=4, sharpness=2.0, seed=0):
    """Probabilities that are too sure of themselves by `sharpness`, and labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, classes))
    labels = np.array([generator.choice(classes, p=row) for row in _softmax(logits)])
    return _softmax(sharpness * logits), labels, sharpness * logits


def _softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_by_hand(bins):
    probabilities, labels, _ = _random()
    expected, confidence = 0.0, probabilities.max(axis=1)
    for i in range(bins):
        rows = [row for row in range(len(labels)) if i / bins < confidence[row] <= (i + 1) / bins]
        if rows:
            right = sum(probabilities[row].argmax() == labels[row] for row in rows) / len(rows)
            sure = sum(confidence[row] for row in rows) / len(rows)
            expected += len(rows) / len(labels) * abs(right - sure)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(expected)


def test_bins_hold_their_upper_edge_and_all_rows():
    groups = reliability_bins([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]], [0, 1, 0], bins=2)
    assert groups == [
        {"lower": 0.0, "upper": 0.5, "rows": 1, "confidence": 0.5, "accuracy": 1.0},
        {"lower": 0.5, "upper": 1.0, "rows": 2, "confidence": 0.875, "accuracy": 0.5}]
    probabilities, labels, _ = _random()
    assert sum(group["rows"] for group in reliability_bins(probabilities, labels)) == len(labels)


def test_a_perfect_model_has_no_error():
    assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0
    assert brier_score(np.eye(3), [0, 1, 2]) == 0
    assert brier_score(np.eye(3), [1, 2, 0]) == 2


def test_brier_score_matches_scikit_learn():
    probabilities, labels, _ = _random(classes=2)
    assert brier_score(probabilities, labels) == pytest.approx(
        2 * reference.brier_score_loss(labels, probabilities[:, 1]))
    if "scale_by_half" in inspect.signature(reference.brier_score_loss).parameters:
        probabilities, labels, _ = _random(classes=5)
        assert brier_score(probabilities, labels) == pytest.approx(
            reference.brier_score_loss(labels, probabilities, scale_by_half=False))


def test_arrays_lists_and_tensors_of_any_precision():
    probabilities, labels, _ = _random(rows=50)
    exact = brier_score(probabilities, labels)
    assert brier_score(probabilities.tolist(), labels.tolist()) == exact
    assert brier_score(torch.tensor(probabilities), torch.tensor(labels)) == exact
    half = torch.tensor(probabilities).to(torch.bfloat16).requires_grad_()
    assert brier_score(half, labels) == pytest.approx(exact, abs=0.01)


def test_coverage_by_hand():
    probabilities, labels, _ = _random()
    rows = confidence_coverage(probabilities, labels)
    assert [row["threshold"] for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for row in rows:
        kept = [i for i in range(len(labels)) if probabilities[i].max() >= row["threshold"]]
        predicted = probabilities[kept].argmax(axis=1)
        assert row["rows"] == len(kept)
        assert row["coverage"] == pytest.approx(len(kept) / len(labels))
        assert row["accuracy"] == pytest.approx(
            reference.accuracy_score(labels[kept], predicted))
        assert row["f1_macro"] == pytest.approx(
            reference.f1_score(labels[kept], predicted, average="macro"))
    assert rows[0]["coverage"] == 1 and rows[-1]["accuracy"] > rows[0]["accuracy"]


def test_coverage_without_rows_is_none_and_a_dash():
    rows = confidence_coverage([[0.75, 0.25]], [0], thresholds=(0.5, 0.75, 0.9))
    assert [row["rows"] for row in rows] == [1, 1, 0]
    assert rows[2] == {"threshold": 0.9, "coverage": 0.0, "rows": 0, "accuracy": None,
                       "f1_macro": None}
    lines = format_coverage(rows).splitlines()
    assert lines[0].split() == ["threshold", "coverage", "rows", "accuracy", "f1_macro"]
    assert lines[1].split() == ["0.50", "100.0%", "1", "1.0000", "1.0000"]
    assert lines[3].split() == ["0.90", "0.0%", "0", "-", "-"]
    assert len({len(line) for line in lines}) == 1


def test_coverage_keeps_ties_of_any_precision():
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    probabilities = np.stack([confidence, 1 - confidence], 1)
    for values in (probabilities, probabilities.astype(np.float32),
                   torch.tensor(probabilities, dtype=torch.float32)):
        rows = confidence_coverage(values, [0] * 4, thresholds=(0.6, 0.7, 0.8, 0.9, 0.90001))
        assert [row["rows"] for row in rows] == [4, 3, 2, 1, 0]


def _loss(logits, labels, temperature):
    return -np.log(_softmax(logits / temperature)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_temperature_minimises_the_loss(sharpness):
    _, labels, logits = _random(sharpness=sharpness)
    found = fit_temperature(logits, labels)
    grid = np.geomspace(0.1, 100, 2_001)
    best = grid[np.argmin([_loss(logits, labels, temperature) for temperature in grid])]
    assert found == pytest.approx(best, rel=0.005)
    assert found == pytest.approx(sharpness, rel=0.3)  # how the rows were made
    for near in (0.999 * found, 1.001 * found):
        assert _loss(logits, labels, found) <= _loss(logits, labels, near)


def test_temperature_makes_a_model_calibrated():
    probabilities, labels, logits = _random(rows=4_000, sharpness=4.0)
    mended = _softmax(logits / fit_temperature(logits, labels))
    assert expected_calibration_error(probabilities, labels) > 0.15
    assert expected_calibration_error(mended, labels) < 0.03
    assert (mended.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_temperature_of_two_classes_in_closed_form():
    """With one logit z and share q right, the best T is z / log(q / (1 - q))."""
    for right, z in ((9, 1.0), (7, 5.0), (6, 0.01)):
        labels = [0] * right + [1] * (10 - right)
        expected = z / math.log(right / (10 - right))
        assert fit_temperature([[z, 0.0]] * 10, labels) == pytest.approx(expected, rel=1e-9)


def test_temperature_at_its_ends():
    assert fit_temperature(np.eye(3), [0, 1, 2]) == pytest.approx(0.01)
    assert fit_temperature(np.eye(3), [1, 2, 0]) == pytest.approx(100)
    assert fit_temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1
    assert fit_temperature([[3.0], [4.0]], [0, 0]) == 1
    assert fit_temperature(torch.tensor([[900.0, -900.0]] * 4, dtype=torch.bfloat16),
                           [0, 0, 0, 1]) == pytest.approx(100)
    assert fit_temperature([[800.0, 0.0], [0.0, 800.0]], [0, 1]) == pytest.approx(0.01)
    assert fit_temperature([[math.log(3), 0.0]] * 4, [0, 0, 0, 1]) == pytest.approx(1, rel=1e-9)
    frozen = np.eye(2)
    frozen.flags.writeable = False  # torch warns about sharing such an array
    assert fit_temperature(frozen, [0, 1]) == pytest.approx(0.01)


@pytest.mark.parametrize("probabilities, labels, message", [
    ([], [], r"shape \(0,\); expected \(rows, classes\)"),
    (np.empty((0, 3)), [], "no probabilities and no labels"),
    ([[0.5, 0.5]], [0, 1], "1 probabilities but 2 labels"),
    ([[0.5, 0.5], [2.0, -1.0]], [0, 0], "row 1 range from -1 to 2 and add up to 1; .*softmax"),
    ([[2.0, 3.0]], [0], "row 0 range from 2 to 3 and add up to 5"),
    ([[0.5, math.nan]], [0], "row 0 range from nan"),
    ([[0.5, 0.5]], [2], "label of row 0 is 2; expected a class from 0 to 1"),
    ([[0.5, 0.5]], [-100], "label of row 0 is -100"),
    ([[0.5, 0.5]], [0.0], "labels are float64"),
])
def test_impossible_probabilities(probabilities, labels, message):
    for score in (expected_calibration_error, brier_score, confidence_coverage):
        with pytest.raises(DataError, match=message):
            score(probabilities, labels)


def test_impossible_settings_and_logits():
    for bins in (0, -1, 2.5, True):
        with pytest.raises(ConfigError, match="bins is .*expected a whole number"):
            expected_calibration_error([[1.0]], [0], bins)
    for logits in ([[0.0, math.inf]], [[math.nan, 0.0]], [1.0]):
        with pytest.raises(DataError, match="logits of shape .*; expected finite"):
            fit_temperature(logits, [0])
    with pytest.raises(DataError, match="label of row 1 is 2"):
        fit_temperature([[1.0, 0.0]] * 2, [0, 2])
    with pytest.raises(DataError, match="2 probabilities but 1 labels"):
        fit_temperature([[1.0, 0.0]] * 2, [0])


def test_reliability_as_a_table():
    groups = reliability_bins([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]], [0, 1, 0], bins=2)
    lines = format_reliability(groups).splitlines()
    assert lines[0].split() == ["from", "to", "rows", "confidence", "accuracy", "gap"]
    assert lines[1].split() == ["0.00", "0.50", "1", "0.5000", "1.0000", "-0.5000"]
    assert lines[2].split() == ["0.50", "1.00", "2", "0.8750", "0.5000", "+0.3750"]


# --- label sets ---

def _sigmoid(logits):
    return (1 + np.tanh(np.asarray(logits) / 2)) / 2


def _random_sets(rows=2_001, sharpness=2.0, seed=0):
    """Logits of labels that are too sure by `sharpness` and too low by 1, and the labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 3)) * [1, 2, 0.5] - [0, 2, 1]
    labels = generator.random(logits.shape) < _sigmoid(logits)
    return sharpness * logits - 1, labels.astype(int)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_of_label_sets_by_hand(bins):
    logits, labels = _random_sets(301)
    probabilities = _sigmoid(logits)
    cells = list(zip(probabilities.ravel(), labels.ravel()))
    expected = 0.0
    for i in range(bins):
        inside = [(p, y) for p, y in cells if i / bins < p <= (i + 1) / bins]
        if inside:
            expected += abs(sum(p for p, _ in inside) - sum(y for _, y in inside)) / len(cells)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(expected)
    groups = reliability_bins(torch.tensor(probabilities).float(), torch.tensor(labels), bins)
    assert sum(group["rows"] for group in groups) == 903
    assert brier_score(probabilities, labels) == pytest.approx(
        np.mean([(p - y) ** 2 for p, y in cells]))
    assert brier_score(probabilities[:, :1], labels[:, :1]) == pytest.approx(
        reference.brier_score_loss(labels[:, 0], probabilities[:, 0]))


def _set_loss(logits, labels):
    return (np.logaddexp(0, logits) - labels * logits).mean()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_temperature_of_label_sets_minimises_the_loss(sharpness):
    logits, labels = _random_sets(sharpness=sharpness)
    logits = logits + 1
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(sharpness, rel=0.1)  # how the rows were made
    for near in (0.999 * found, 1.001 * found):
        assert _set_loss(logits / found, labels) <= _set_loss(logits / near, labels)
    if sharpness == 4:
        assert expected_calibration_error(_sigmoid(logits), labels) > 0.1
        assert expected_calibration_error(_sigmoid(logits / found), labels) < 0.02


def test_temperature_of_label_sets_at_its_ends():
    assert fit_temperature([[1.0, -1.0]], [[1, 0]]) == pytest.approx(0.01)
    assert fit_temperature([[1.0, -1.0]], [[0, 1]]) == pytest.approx(100)
    assert fit_temperature(np.zeros((2, 2)), [[0, 1], [1, 1]]) == 1
    assert fit_temperature(torch.tensor([[900.0], [-900.0]]).bfloat16(), [[1], [0]]) == (
        pytest.approx(0.01))


def test_label_scaling_minimises_its_formula():
    """The formula is convex: where its gradient is 0 is the minimum."""
    for rows in (17, 2_001):
        logits, labels = _random_sets(rows)
        mean, deviation = logits.mean(), logits.std()
        units, y = torch.tensor((logits - mean) / deviation), torch.tensor(labels).double()

        def held(scale, shift, at):
            """The formula of scores and labels that have one pair, in units of the logits."""
            return torch.nn.functional.binary_cross_entropy_with_logits(
                scale * units + shift, y, reduction="sum") + (
                (scale - at[0])**2 + (shift - at[1])**2).sum() / 2

        odds = math.log((labels.sum() + 1) / ((1 - labels).sum() + 1))
        common = torch.tensor([1, odds], dtype=torch.float64).requires_grad_()
        optimizer = torch.optim.LBFGS([common], tolerance_grad=1e-12, tolerance_change=0,
                                      max_iter=200, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = held(common[:1], common[1:], (1, odds))
            loss.backward()
            return loss

        optimizer.step(closure)
        scale, shift = map(torch.tensor, fit_label_scaling(torch.tensor(logits), labels))
        ours = [(scale * deviation).requires_grad_(), (shift + scale * mean).requires_grad_()]
        held(*ours, common.detach()).backward()
        assert all(pair.grad.abs().max() < 1e-5 * rows for pair in ours)


def test_label_scaling_of_many_rows_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression
    logits, labels = _random_sets(20_000)
    scale, shift = fit_label_scaling(logits, labels)
    for c in range(3):
        model = LogisticRegression(C=1e12, tol=1e-10).fit(logits[:, c:c + 1], labels[:, c])
        assert scale[c] == pytest.approx(model.coef_[0, 0], rel=0.01)
        assert shift[c] == pytest.approx(model.intercept_[0], abs=0.01)
    # How the rows were made: twice as sure, and 1 too low.
    np.testing.assert_allclose(scale, 0.5, atol=0.05)
    np.testing.assert_allclose(shift, 0.5, atol=0.1)


def test_label_scaling_of_few_rows_stays_near_that_of_all_labels():
    logits, labels = (rows[:4] for rows in _random_sets())
    labels[:, 0] = 1 - labels[:, 0]  # one is told wrong: too few rows to believe it
    scale, shift = fit_label_scaling(logits, labels)
    common, both = fit_label_scaling(logits.reshape(-1, 1), labels.reshape(-1, 1))
    mean, deviation = logits.mean(), logits.std()
    assert (abs(scale - common) * deviation < 1).all()
    assert (abs(shift - both + (scale - common) * mean) < 1).all()


def test_label_scaling_of_logits_that_are_all_too_high():
    """As a weighted loss makes them: the best temperature is infinite, yet the scale is right."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(2_000, 20))
    labels = generator.random(z.shape) < _sigmoid(z - 3)
    assert fit_temperature(z + 1, labels) == pytest.approx(100)
    scale, shift = fit_label_scaling(z + 1, labels)
    np.testing.assert_allclose(scale, 1, atol=0.35)
    np.testing.assert_allclose(scale + shift, -3, atol=0.35)
    truth = _set_loss(z - 3, labels)
    assert _set_loss(scale * (z + 1) + shift, labels) < truth < 0.9 * _set_loss(-3, labels)


def test_label_scaling_mends_what_a_temperature_cannot():
    logits, labels = _random_sets(6_000)
    dev, test = slice(0, 3_000), slice(3_000, None)
    scale, shift = fit_label_scaling(logits[dev], labels[dev])
    errors = [expected_calibration_error(_sigmoid(z), labels[test]) for z in (
        logits[test], logits[test] / fit_temperature(logits[dev], labels[dev]),
        scale * logits[test] + shift)]
    assert errors[2] < 0.02 < errors[1] < errors[0]


def test_label_scaling_of_odd_labels_stays_finite():
    z = np.array([-900.0, -1, 0, 1, 900])
    logits = np.stack([z, z, z, np.full(5, 3.0), -z], 1)
    labels = np.array([[0, 0, 1, 1, 0]] * 2 + [[0, 1, 1, 0, 0]] + [[1, 0, 1, 0, 1]] * 2)
    scale, shift = fit_label_scaling(logits, labels)
    assert np.isfinite([scale, shift]).all() and scale[0] > 0
    one, other = fit_label_scaling([[2.0]], [[1]])
    assert np.isfinite([one, other]).all()
    one, other = fit_label_scaling(np.zeros((50, 1)), [[1]] * 40 + [[0]] * 10)
    assert _sigmoid(other) == pytest.approx(0.8, abs=0.03)  # only the share can be learned


@pytest.mark.parametrize("logits, labels, message", [
    ([[0.0, math.inf]], [[0, 1]], "expected finite numbers of shape"),
    ([[0.0, 1.0]], [[0, 1], [1, 1]], "probabilities of shape .1, 2. for labels of shape .2, 2."),
    ([[0.0, 1.0]], [[0, 3]], "labels of row 0 hold 3 for label 1; expected 0 or 1")])
def test_impossible_label_sets(logits, labels, message):
    for fit in (fit_temperature, fit_label_scaling):
        with pytest.raises(DataError, match=message):
            fit(logits, labels)
    for score in (expected_calibration_error, brier_score):
        with pytest.raises(DataError, match="hold 1.5 for label 0; expected 0 to 1 .the sigmoid"):
            score([[1.5]], [[1]])


def rows_of(count, temperature, seed=0):
    """Logits that are `temperature` times too sure of labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return temperature * logits, np.array([rng.choice(3, p=row) for row in shares])


@pytest.mark.parametrize("rows, temperature, why", [
    (18, 3.0, "18 validation rows are too few to fit it on; 50 are enough"),
    (400, 3.0, None), (400, 0.3, None),
    (60, 1.0, "does not help the others, whose loss goes from")])
def test_a_temperature_is_kept_where_it_helps_rows_it_was_not_fitted_on(rows, temperature, why):
    validation, test = rows_of(rows, temperature, seed=3), rows_of(300, temperature, seed=1)
    fitted, _ = calibrate(_softmax, validation, test)
    kept = calibration_keys(fitted)["calibration"]
    line = format_calibration(fitted)
    if why is None:
        assert fitted["not_kept"] is None and kept == {"scale": 1 / fitted["temperature"],
                                                       "shift": 0.0}
        assert "from the validation rows)" in line
        assert fitted["temperature"] == pytest.approx(temperature, rel=0.3)
    else:
        assert why in fitted["not_kept"] and f"not kept: {fitted['not_kept']})" in line
        assert kept == {"scale": 1.0, "shift": 0.0}  # --calibrated changes nothing then
        json.dumps(fitted)


def test_losses_of_a_scaling_on_other_rows_by_hand():
    logits, labels = rows_of(53, 2.0)
    fold = np.empty(53, dtype=int)
    fold[np.random.default_rng(0).permutation(53)] = np.arange(53) % 5
    after = 0.0
    for number in range(5):
        own = fold == number
        scaled = logits[own] / fit_temperature(logits[~own], labels[~own])
        after -= np.log(_softmax(scaled)[np.arange(own.sum()), labels[own]]).sum()
    before = -np.log(_softmax(logits)[np.arange(53), labels]).mean()
    found = scaled_losses(lambda z, y: (1 / fit_temperature(z, y), 0.0), logits, labels)
    assert found == pytest.approx((before, after / 53))
    sets = (np.random.default_rng(1).random((53, 3)) < 0.4) * 1
    before, after = scaled_losses(lambda z, y: ([1.0, 2.0, 1.0], [0.0, 0.0, 1.0]), logits, sets)
    shares = 1 / (1 + np.exp(-(logits * [1, 2, 1] + [0, 0, 1])))
    assert after == pytest.approx(-np.log(np.where(sets, shares, 1 - shares)).mean())


@pytest.mark.parametrize("labels, at_end", [([0, 0], True), ([1, 1], True), ([0, 1], False)])
def test_a_temperature_at_the_end_of_the_search_is_said_to_be_none(labels, at_end):
    rows = [[2.0, 0.0], [1.0, 0.5]], labels
    fitted, _ = calibrate(lambda logits: np.exp(logits) / np.exp(logits).sum(1, keepdims=True),
                          rows, ([[0.2, 0.1], [0.1, 0.0]], [0, 1]))
    assert ("where the search ends" in format_calibration(fitted)) == at_end
