"""From scores of tokens to answers: the best spans of a context, over all of its windows."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.errors import DataError


class Answer(NamedTuple):
    """A piece of a context, `context[start:end]`.

    Attributes
    ----------
    text
        "" says that there is no answer.
    start, end
        Characters.
    score
        Sum of the logits of its first and its last token.
    probability
        Softmax of the scores over all answers of the list.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


class NBest(NamedTuple):
    """The best answers to a question, and the score of there being none.

    Attributes
    ----------
    answers
        The best first; no text comes twice. Empty if the context has no word.
    null_score
        Sum of both logits of [CLS], the least of all windows.
    text
        The best answer, whatever the score of there being none; "" if the context is empty.
    null_odds
        Score of no answer minus that of the best one: for `best_null_threshold`.
    """

    answers: list[Answer]
    null_score: float
    text: str
    null_odds: float


def best_spans(windows: Iterable[tuple[ArrayLike, ArrayLike]], context: str, count: int = 20,
               longest: int = 30, may_be_empty: bool = False) -> NBest:
    """Return the best answers to one question (Devlin et al. 2019, sections 4.2 and 4.3).

    A span's score is the sum of its start and its end logit. All spans are looked at, in contrast
    to Google's script, which pairs the 20 best starts with the 20 best ends. Where windows overlap
    the better score counts.

    Parameters
    ----------
    windows
        Of each row of the question the start and end logits (S, 2), and the (start, end)
        characters of its tokens (S, 2), -1 where no answer can be.
    count
        Most answers to return.
    longest
        Most tokens of an answer.
    may_be_empty
        Let "no answer" stand among the answers, with its score (SQuAD 2.0).

    Raises
    ------
    DataError
        If there is no window, or logits and characters do not belong together.
    """
    null_score, found = np.inf, []
    for logits, offsets in windows:
        logits, offsets = np.asarray(logits, dtype=np.float64), np.asarray(offsets)
        if logits.shape != offsets.shape or logits.ndim != 2 or logits.shape[1] != 2:
            raise DataError(f"logits of shape {logits.shape} and characters of shape "
                            f"{offsets.shape}; expected (tokens, 2) of both")
        null_score = min(null_score, float(logits[0].sum()))
        found.append(_spans(logits, offsets, longest))
    if not found:
        raise DataError("no windows; expected at least one row of the question")
    spans = np.concatenate(found)
    scores = {"": (null_score, 0, 0)} if may_be_empty else {}
    for place in np.argsort(-spans[:, 0], kind="stable"):
        if len(scores) == count + may_be_empty:
            break
        score, start, end = spans[place].tolist()
        scores.setdefault(context[int(start):int(end)], (score, int(start), int(end)))
    text = next(filter(None, scores), "")  # before the list is cut: it may begin with no answer
    best = scores[text][0] if text else -np.inf
    return NBest(_ranked(scores, count), null_score, text, null_score - best)


def _spans(logits: np.ndarray, offsets: np.ndarray, longest: int) -> np.ndarray:
    """Return (score, first character, end) of each span of up to `longest` tokens, (spans, 3)."""
    places = np.flatnonzero(offsets[:, 0] >= 0)
    size = len(places)
    reach = np.tri(size, size, max(0, min(longest, size)) - 1, bool) & ~np.tri(size, size, -1, bool)
    first, last = (places[found] for found in np.nonzero(reach))
    return np.column_stack([logits[first, 0] + logits[last, 1], offsets[first, 0],
                            offsets[last, 1]])


def _ranked(scores: Mapping[str, tuple[float, int, int]], count: int) -> list[Answer]:
    """{text: (score, start, end)} -> the best as a list of Answer, with probabilities."""
    best = sorted(scores.items(), key=lambda item: -item[1][0])[:count]
    values = np.array([score for _, (score, _, _) in best])
    shares = np.exp(values - values.max(initial=-np.inf))
    return [Answer(text, start, end, score, float(share)) for (text, (score, start, end)), share
            in zip(best, shares / shares.sum(), strict=True)]
