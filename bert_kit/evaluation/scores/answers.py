"""Answers to questions: how good they are, by the rules of SQuAD's official script.

Texts are compared without case, punctuation, articles and extra spaces (Rajpurkar et al. 2016,
section 6.1; the script of SQuAD 2.0, which is that of 1.1 but for empty texts). The script gives
per cent, this file shares from 0 to 1, as all the kit's scores.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from bert_kit.errors import DataError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Return a text as it is compared: lower case, without ASCII punctuation and articles.

    Examples
    --------
    >>> normalize_answer("The  Eiffel-Tower, a tower.")
    'eiffeltower tower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
    """Return 1.0 if two texts are the same after normalisation, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def answer_f1(prediction: str, answer: str) -> float:
    """Return the F1 of the words that two texts share, from 0 to 1.

    Of an empty text it is 1 if the other is empty too, else 0.

    Examples
    --------
    >>> answer_f1("in the year 1905", "1905")
    0.5
    """
    ours, theirs = (normalize_answer(text).split() for text in (prediction, answer))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))


def best_score(prediction: str, answers: Sequence[str], score: Callable[[str, str], float]
               ) -> float:
    """Return the score of a prediction against the right answer that suits it best.

    Parameters
    ----------
    prediction
        "" says that there is no answer.
    answers
        Right answers; none where there is no answer. One that is empty after normalisation does
        not count.
    score
        `exact_match` or `answer_f1`.
    """
    answers = [answer for answer in answers if normalize_answer(answer)]
    return max(score(prediction, answer) for answer in answers or [""])


def answer_metrics(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]
                   ) -> dict[str, float]:
    """Score predicted answers; all values can be written as JSON.

    Parameters
    ----------
    predictions
        By question id; "" says that there is no answer.
    answers
        The right answers by question id; none where there is no answer.

    Returns
    -------
    dict
        `exact_match`, `f1` and `questions`. If some questions have no answer and others have one,
        the same of each kind: `has_answer_exact_match`, …, `no_answer_exact_match`, ….

    Raises
    ------
    DataError
        If there is no question, or a question has no prediction.

    Examples
    --------
    >>> answer_metrics({"q": "the Seine"}, {"q": ["Seine", "river Seine"]})
    {'exact_match': 1.0, 'f1': 1.0, 'questions': 1}
    """
    _check_ids(predictions, answers)
    kinds = {"": list(answers),
             "has_answer_": [number for number in answers if len(answers[number])],
             "no_answer_": [number for number in answers if not len(answers[number])]}
    if not kinds["has_answer_"] or not kinds["no_answer_"]:
        kinds = {"": list(answers)}
    metrics: dict[str, float] = {}
    for kind, numbers in kinds.items():
        for name, score in (("exact_match", exact_match), ("f1", answer_f1)):
            total = sum(best_score(predictions[number], answers[number], score)
                        for number in numbers)
            metrics[f"{kind}{name}"] = total / len(numbers)
        metrics[f"{kind}questions"] = len(numbers)
    return metrics


def best_null_threshold(null_odds: Mapping[str, float], predictions: Mapping[str, str],
                        answers: Mapping[str, Sequence[str]],
                        score: Callable[[str, str], float] = answer_f1) -> tuple[float, float]:
    """Return the threshold on the null odds that scores best, and that score.

    A question whose odds are *above* the threshold gets no answer (Devlin et al. 2019, section
    4.3). The thresholds tried are the odds themselves and one below them all; of equally good ones
    the lowest is taken. To be chosen on development data.

    Parameters
    ----------
    null_odds
        By question id: the score of "no answer" minus that of the best answer.
    predictions
        The best answer of each question, whatever its odds.
    answers
        As in `answer_metrics`.
    score
        `answer_f1` or `exact_match`.

    Examples
    --------
    >>> best_null_threshold({"p": -2.0, "q": 3.0}, {"p": "Seine", "q": "Rhine"},
    ...                     {"p": ["Seine"], "q": []})
    (-2.0, 1.0)
    """
    _check_ids(predictions, answers)
    _check_ids(null_odds, answers)
    odds = np.array([null_odds[number] for number in answers], dtype=np.float64)
    if np.isnan(odds).any():
        raise DataError(f"null odds of {list(answers)[int(np.isnan(odds).argmax())]!r} are NaN; "
                        "expected numbers")
    silent = np.array([best_score("", own, score) for own in answers.values()])
    spoken = np.array([best_score(predictions[number], own, score)
                       for number, own in answers.items()])
    thresholds, place = np.unique(odds, return_inverse=True)
    gains = np.bincount(place, spoken - silent)  # of answering the questions of each threshold
    totals = silent.sum() + np.concatenate([[0.0], gains.cumsum()])
    best = int(totals.argmax())
    return float([thresholds[0] - 1, *thresholds][best]), float(totals[best] / len(odds))


def _check_ids(values: Collection[str], answers: Collection[str]) -> None:
    if not answers:
        raise DataError("no questions to score; expected at least one")
    missing = [number for number in answers if number not in values]
    if missing:
        raise DataError(f"question {missing[0]!r:.60} has no prediction (of {len(missing)} "
                        "without); expected one for each")
