"""Each case that a verdict names, with the line that it gets."""

import numpy as np
import pytest

from bert_kit.evaluation import (bootstrap_intervals, few_rows, flat_answers, flat_numbers,
                                 never_predicted, not_above, rising_loss, same_answers)

MORE = {"accuracy": True, "f1_macro": True, "matthews_correlation": True, "loss": False}.get
KEYS = ("accuracy", "f1_macro", "matthews_correlation")
MAJORITY = {"majority class": {"accuracy": 0.5, "f1_macro": 0.25, "matthews_correlation": 0.0}}
TFIDF = {"TF-IDF": {"accuracy": 0.7, "f1_macro": 0.6, "matthews_correlation": 0.4}}


def with_interval(low, **scores):
    return {**scores, "intervals": {"matthews_correlation": {"low": low, "high": low + 0.2}}}


@pytest.mark.parametrize("scores, baselines, says", [
    # as the constant answer itself
    (with_interval(0.0, accuracy=0.5, f1_macro=0.25, matthews_correlation=0.0), MAJORITY,
     ["no better than majority class: accuracy 0.5000 against 0.5000"]),
    # by a row or two: no more than chance
    (with_interval(-0.05, accuracy=0.51, f1_macro=0.27, matthews_correlation=0.03), MAJORITY,
     ["hardly better than majority class: accuracy 0.5100 against 0.5000"]),
    # less accurate than the constant answer, but it does tell the classes apart
    (with_interval(0.2, accuracy=0.45, f1_macro=0.5, matthews_correlation=0.3), MAJORITY, []),
    (with_interval(0.3, accuracy=0.7, f1_macro=0.6, matthews_correlation=0.4), TFIDF,
     ["no better than TF-IDF: accuracy 0.7000 against 0.7000"]),
    # one score above and one below: the first decides
    (with_interval(0.3, accuracy=0.69, f1_macro=0.61, matthews_correlation=0.4), TFIDF,
     ["no better than TF-IDF: accuracy 0.6900 against 0.7000"]),
    (with_interval(0.3, accuracy=0.71, f1_macro=0.59, matthews_correlation=0.4), TFIDF, []),
    (with_interval(0.3, accuracy=0.6, f1_macro=0.5, matthews_correlation=0.3),
     MAJORITY | TFIDF, ["no better than TF-IDF: accuracy 0.6000 against 0.7000"]),
    ({"loss": 6.4, "accuracy": 0.04}, {"token counts alone": {"loss": 6.3}},
     ["no better than token counts alone: loss 6.4000 against 6.3000"]),
    ({"loss": 6.2}, {"token counts alone": {"loss": 6.3}}, []),
    ({"accuracy": 0.8}, {"frozen vectors + logistic regression": {"accuracy": 0.85}},
     ["no better than frozen vectors + logistic regression: accuracy 0.8000 against 0.8500 (its "
      "weights knew as much before the training)"]),
    ({"accuracy": float("nan")}, MAJORITY, []),  # nothing to compare
    ({"accuracy": 0.5}, {}, []),
])
def test_what_is_not_above_its_baselines(scores, baselines, says):
    found = not_above(scores, baselines, (*KEYS, "loss"), MORE)
    assert [finding.says for finding in found] == says
    assert all(finding.serious and finding.name == "not_above_baseline" for finding in found)


def test_guesses_beat_no_constant_answer_though_their_macro_f1_does():
    """Without an interval, as of validation rows: the correlation has to be above chance."""
    rng, alarms, rows = np.random.default_rng(3), 0, 500
    for _ in range(40):
        labels = (rng.random(rows) < 0.6).astype(int)
        scores = {name: found["value"] for name, found in bootstrap_intervals(
            rng.integers(0, 2, rows), labels, 2, samples=2).items()}
        constant = {"always 1": {"accuracy": labels.mean(), "f1_macro": 0.375,
                                 "matthews_correlation": 0.0}}
        assert scores["f1_macro"] > 0.375  # what a guess has
        alarms += bool(not_above(scores, constant, ["f1_macro"], MORE, rows))
    assert alarms >= 36  # 97.5% of the guesses in the long run
    know = {"accuracy": 0.9, "f1_macro": 0.9, "matthews_correlation": 0.8}
    assert not not_above(know, constant, ["f1_macro"], MORE, 20)


def test_within_chance_on_few_rows_is_no_reason_to_fail():
    found, = not_above(with_interval(-0.01, accuracy=0.75, f1_macro=0.75,
                                     matthews_correlation=0.5), MAJORITY, KEYS, MORE, 12)
    assert not found.serious and found.says.startswith("hardly better")
    found, = not_above(with_interval(-0.4, accuracy=0.4, f1_macro=0.4,
                                     matthews_correlation=-0.2), MAJORITY, KEYS, MORE, 12)
    assert found.serious


def test_one_answer_for_every_row():
    found, = same_answers(["ham"] * 7, ["ham", "spam"] * 3 + ["ham"], "test rows")
    assert found.says == "each of the 7 test rows is given the same answer, ham"
    assert found.name == "one_answer" and found.serious
    assert not same_answers(["ham", "spam"], ["ham", "spam"], "rows")


def test_rows_of_one_label_tell_nothing_and_are_not_the_models_fault():
    found, = same_answers(["ham"] * 3, ["ham"] * 3, "test rows")
    assert found.name == "one_label" and not found.serious
    assert not same_answers([], [], "test rows")


def test_classes_that_are_never_predicted_are_named_the_commonest_first():
    found, = never_predicted(["a", "b", "a"], ["a", "c", "d", "d"])
    assert found.says == "2 of 3 classes are never predicted: d, c"
    assert not found.serious
    many = [f"class {i:02}" for i in range(12)]
    assert never_predicted(many[:4], many)[0].says.endswith("class 08 and 3 more")
    assert not never_predicted(["a", "a"], ["a", "b"])  # one class for all: another finding
    assert not never_predicted(["a", "b", "c"], ["a", "b"])


def test_flat_answers_are_those_that_hardly_move_from_row_to_row():
    rng = np.random.default_rng(0)
    biased = np.array([0.0, 2.0, -1.0]) + 0.01 * rng.normal(size=(50, 3))
    found, = flat_answers(np.log(np.exp(biased) / np.exp(biased).sum(1, keepdims=True)), "rows")
    assert found.name == "flat_answers" and found.remedies[0] == "weights"
    assert not flat_answers(rng.normal(size=(50, 3)), "rows")
    assert not flat_answers(biased[:1], "rows")


def test_numbers_that_are_nearly_one():
    truth = np.linspace(0, 5, 40)
    found, = flat_numbers(2.5 + 0.01 * np.sin(truth), truth, "test rows")
    assert found.serious and found.says.startswith("the test rows are given nearly the same")
    assert not flat_numbers(0.5 * truth, truth, "test rows")


@pytest.mark.parametrize("losses, epoch", [
    ([0.9, 0.5, 0.6, 0.8], 2), ([0.9, 0.5, 0.6], None), ([0.9, 0.8, 0.7, 0.6], None),
    ([0.5, 0.505, 0.51, 0.515], None), ([0.4, 0.6, 0.7], 1)])
def test_since_when_the_validation_loss_rises(losses, epoch):
    log = [{"epoch": 0.5, "loss": 3.0}]
    log += [{"epoch": i, "eval_loss": loss} for i, loss in enumerate(losses, 1)]
    found = rising_loss(log)
    assert len(found) == (epoch is not None)
    if found:
        assert f"since epoch {epoch}, from {min(losses):.4f} to {losses[-1]:.4f}" in found[0].says


def test_an_evaluation_at_a_time_limit_is_no_rise():
    log = [{"epoch": epoch, "eval_loss": loss} for epoch, loss in ((1, 0.4), (2, 0.8))]
    assert rising_loss([*log, {"epoch": 2.1, "eval_loss": 0.9, "extra": 1}]) == []
    assert rising_loss([*log, {"epoch": 3.0, "eval_loss": 0.9}])


def test_few_rows_say_between_what_the_score_may_be():
    found, = few_rows(20, "test rows", 0.8)
    assert found.says == ("20 test rows are few for a claim: of others like them it may have 0.58 "
                          "to 0.92 right")  # Wilson 1927, by hand
    assert not few_rows(100, "test rows", 0.8)
    assert few_rows(99, "questions")[0].says == "99 questions are few for a claim"


def test_a_real_constant_classifier_is_caught_whatever_its_shares():
    rng = np.random.default_rng(1)
    for share in (0.2, 0.5, 0.9):
        labels = (rng.random(200) < share).astype(int)
        guess = np.full(200, int(share > 0.5))
        intervals = bootstrap_intervals(guess, labels, 2)
        scores = {name: found["value"] for name, found in intervals.items()}
        assert not_above({**scores, "intervals": intervals}, {"majority class": scores}, KEYS, MORE)
        assert same_answers(guess.tolist(), labels.tolist(), "rows")
