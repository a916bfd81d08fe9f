"""Scores of answers against a copy of the published rules; spans against a search by loops."""

import collections
import itertools
import json
import re
import string

import numpy as np
import pytest

from bert_kit.errors import DataError
from bert_kit.evaluation import (NBest, answer_f1, answer_metrics, best_null_threshold, best_score,
                                 best_spans, exact_match, normalize_answer)


# The definitions of evaluate-v2.0.py (Rajpurkar et al. 2018), written down as published there.
def official_normalization(s):
    def remove_articles(text):
        return re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)

    def remove_punctuation(text):
        return "".join(ch for ch in text if ch not in set(string.punctuation))

    return " ".join(remove_articles(remove_punctuation(s.lower())).split())


def official_exact(gold, prediction):
    return int(official_normalization(gold) == official_normalization(prediction))


def official_f1(gold, prediction):
    gold_tokens = official_normalization(gold).split() if gold else []
    predicted_tokens = official_normalization(prediction).split() if prediction else []
    common = collections.Counter(gold_tokens) & collections.Counter(predicted_tokens)
    same = sum(common.values())
    if len(gold_tokens) == 0 or len(predicted_tokens) == 0:
        return int(gold_tokens == predicted_tokens)
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(predicted_tokens), 1.0 * same / len(gold_tokens)
    return (2 * precision * recall) / (precision + recall)


def official_scores(prediction, golds):
    golds = [gold for gold in golds if official_normalization(gold)] or [""]
    return (max(official_exact(gold, prediction) for gold in golds),
            max(official_f1(gold, prediction) for gold in golds))


# prediction, right answers, exact match, F1; the last two worked out by hand.
CASES = [
    ("Paris", ["Paris"], 1, 1),
    ("paris", ["Paris"], 1, 1),
    ("PARIS!", ["Paris"], 1, 1),
    ("the Paris", ["Paris"], 1, 1),
    ("a Paris", ["An Paris"], 1, 1),
    ("Paris, France", ["Paris"], 0, 2 / 3),
    ("Paris", ["Paris, France"], 0, 2 / 3),
    ("London", ["Paris"], 0, 0),
    ("", ["Paris"], 0, 0),
    ("Paris", [], 0, 0),
    ("", [], 1, 1),
    ("the", [], 1, 1),
    ("...", [], 1, 1),
    ("the", ["the"], 1, 1),
    ("Paris", ["the"], 0, 0),
    ("  Paris \t\n", ["Paris"], 1, 1),
    ("New  York   City", ["New York City"], 1, 1),
    ("New York", ["New York City"], 0, 4 / 5),
    ("York New", ["New York"], 0, 1),
    ("New New York", ["New York"], 0, 4 / 5),
    ("New New York", ["New New York"], 1, 1),
    ("New", ["New New New"], 0, 1 / 2),
    ("U.S.", ["US"], 1, 1),
    ("U. S.", ["US"], 0, 0),
    ("twenty-one", ["twentyone"], 1, 1),
    ("twenty one", ["twenty-one"], 0, 0),
    ("$1,000", ["1000"], 1, 1),
    ("1.5 million", ["15 million"], 1, 1),
    ("anthem", ["them"], 0, 0),
    ("theatre", ["atre"], 0, 0),
    ("the the the", ["a"], 1, 1),
    ("1999 to 2003", ["1999", "2003"], 0, 1 / 2),
    ("1999", ["2003", "1999"], 1, 1),
    ("in 1999", ["2003", "1999"], 0, 2 / 3),
    ("Paris", ["", "Paris"], 1, 1),
    ("", ["", "Paris"], 0, 0),
    ("café", ["cafe"], 0, 0),
    ("Ünter Straße", ["ünter straße"], 1, 1),
    ("“Paris”", ["Paris"], 0, 0),
    ("a–b", ["a–b"], 1, 1),
    ("the\u00a0cat", ["cat"], 1, 1),
    ("_under_score_", ["underscore"], 1, 1),
    ("x" * 999, ["x" * 999], 1, 1),
]


@pytest.mark.parametrize("prediction, golds, exact, f1", CASES)
def test_table_of_cases(prediction, golds, exact, f1):
    assert official_scores(prediction, golds) == (exact, pytest.approx(f1))
    assert best_score(prediction, golds, exact_match) == exact
    assert best_score(prediction, golds, answer_f1) == pytest.approx(f1, abs=1e-12)
    for text in (prediction, *golds):
        assert normalize_answer(text) == official_normalization(text)


def test_the_whole_table_at_once():
    predictions = {str(i): case[0] for i, case in enumerate(CASES)}
    answers = {str(i): case[1] for i, case in enumerate(CASES)}
    metrics = answer_metrics(predictions, answers)
    scores = np.array([official_scores(*case[:2]) for case in CASES], dtype=float)
    known = np.array([len(case[1]) > 0 for case in CASES])
    for kind, rows in (("", known | True), ("has_answer_", known), ("no_answer_", ~known)):
        assert metrics[f"{kind}exact_match"] == pytest.approx(scores[rows, 0].mean())
        assert metrics[f"{kind}f1"] == pytest.approx(scores[rows, 1].mean())
        assert metrics[f"{kind}questions"] == rows.sum()
    json.dumps(metrics)
    some = {number: answers[number] for number in ("0", "5")}
    assert answer_metrics(predictions, some) == {
        "exact_match": 0.5, "f1": pytest.approx(5 / 6), "questions": 2}


def test_what_cannot_be_scored():
    with pytest.raises(DataError, match="no questions"):
        answer_metrics({}, {})
    with pytest.raises(DataError, match="question 'b' has no prediction .of 1 without"):
        answer_metrics({"a": "x"}, {"a": ["x"], "b": []})
    with pytest.raises(DataError, match="null odds of 'a' are NaN"):
        best_null_threshold({"a": float("nan")}, {"a": ""}, {"a": []})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("score", [exact_match, answer_f1])
def test_threshold_is_the_best_of_all(seed, score):
    rng = np.random.default_rng(seed)
    words, ids = ["red house", "house", "blue", "the"], [str(i) for i in range(23)]
    answers = {i: [] if rng.random() < 0.5 else [str(rng.choice(words[:3]))] for i in ids}
    predictions = {i: str(rng.choice(words)) for i in ids}
    odds = {i: float(rng.integers(-3, 4)) for i in ids}  # with ties

    def mean(threshold):
        texts = {i: "" if odds[i] > threshold else predictions[i] for i in ids}
        return np.mean([best_score(texts[i], answers[i], score) for i in ids])

    threshold, value = best_null_threshold(odds, predictions, answers, score)
    assert value == pytest.approx(mean(threshold))
    tried = {t: mean(t) for t in np.arange(-4.5, 5, 0.5)}
    assert value == pytest.approx(max(tried.values()))
    lowest = min(odds.values())
    assert all(tried[t] < value - 1e-9 for t in tried if lowest <= t < threshold)


def test_threshold_where_silence_is_best_and_where_it_is_worst():
    answers = {"a": [], "b": []}
    threshold, score = best_null_threshold({"a": 1.0, "b": 2.0}, {"a": "x", "b": "y"}, answers)
    assert threshold < 1 and score == 1.0
    answers = {"a": ["x"], "b": ["y"]}
    assert best_null_threshold({"a": 1.0, "b": 2.0}, {"a": "x", "b": "y"}, answers) == (2.0, 1.0)


CONTEXT = "one two three four five two"
WORDS = [(match.start(), match.end()) for match in re.finditer(r"\w+", CONTEXT)]


def window(first, last, seed=0, before=3):
    """Logits and characters of [CLS] and so on, the words first to last - 1, and [SEP]."""
    offsets = np.array([(-1, -1)] * before + WORDS[first:last] + [(-1, -1)])
    return np.random.default_rng(seed).normal(0, 2, (len(offsets), 2)), offsets


def spans_by_loops(windows, longest):
    best = {}
    for logits, offsets in windows:
        for i, j in itertools.combinations_with_replacement(range(len(offsets)), 2):
            if min(offsets[i][0], offsets[j][0]) >= 0 and j - i < longest:
                text = CONTEXT[offsets[i][0]:offsets[j][1]]
                best[text] = max(best.get(text, -np.inf), logits[i, 0] + logits[j, 1])
    return sorted(best.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("longest", [1, 3, 30])
@pytest.mark.parametrize("count", [1, 4, 100])
def test_spans_are_those_of_a_search_by_loops(longest, count):
    windows = [window(0, 4, seed=1), window(2, 6, seed=2)]
    want = spans_by_loops(windows, longest)[:count]
    found = best_spans(windows, CONTEXT, count, longest)
    assert [answer.text for answer in found.answers] == [text for text, _ in want]
    scores = np.array([score for _, score in want])
    assert [answer.score for answer in found.answers] == pytest.approx(scores)
    shares = np.exp(scores) / np.exp(scores).sum()
    assert [answer.probability for answer in found.answers] == pytest.approx(shares)
    assert all(CONTEXT[a.start:a.end] == a.text for a in found.answers)
    assert found.text == want[0][0]
    null = min(logits[0].sum() for logits, _ in windows)
    assert found.null_score == pytest.approx(null)
    assert found.null_odds == pytest.approx(null - want[0][1])


def test_no_answer_stands_in_its_place_among_the_answers():
    windows = [window(0, 6, seed=3)]
    plain = best_spans(windows, CONTEXT, count=5)
    middle = (plain.answers[2].score + plain.answers[3].score) / 2
    windows[0][0][0] = middle / 2
    found = best_spans(windows, CONTEXT, count=5, may_be_empty=True)
    assert [a.text for a in found.answers] == [*(a.text for a in plain.answers[:3]), "",
                                               plain.answers[3].text]
    assert sum(a.probability for a in found.answers) == pytest.approx(1)
    assert found.text == plain.text
    windows[0][0][0] = 99
    found = best_spans(windows, CONTEXT, may_be_empty=True)
    assert found.answers[0].text == "" and found.text == plain.text and found.null_odds > 0


def test_no_answer_at_the_top_of_a_short_list_hides_no_answer():
    logits, offsets = window(0, 6, seed=3)
    logits[0] = 99
    long, short = (best_spans([(logits, offsets)], CONTEXT, count, may_be_empty=True)
                   for count in (20, 1))
    assert [answer.text for answer in short.answers] == [""]
    assert short[1:] == long[1:] and short.text and np.isfinite(short.null_odds)


def test_a_context_without_a_word_has_no_answer():
    found = best_spans([window(0, 0)], "")
    assert found == NBest([], found.null_score, "", np.inf)
    assert found.text == "" and found.null_odds == np.inf
    assert [a.text for a in best_spans([window(0, 0)], "", may_be_empty=True).answers] == [""]


def test_windows_that_do_not_fit():
    with pytest.raises(DataError, match="no windows"):
        best_spans([], "")
    logits, offsets = window(0, 3)
    with pytest.raises(DataError, match=r"logits of shape \(6, 2\) and characters of shape"):
        best_spans([(logits[:-1], offsets)], CONTEXT)
