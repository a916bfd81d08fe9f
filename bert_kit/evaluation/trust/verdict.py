"""Has a model learned anything? What its scores and its answers say, in words.

A finding is one sentence, and what may help against it. A serious one says that the model is of no
use as it is: something simpler does as well, or its answers do not depend on the text.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.checks import is_number
from bert_kit.evaluation.trust.baselines import FROZEN_VECTORS
from bert_kit.evaluation.trust.resampling import wilson_interval

FEW_ROWS = 100  # below, an accuracy of .5 is known to no more than about .1
FLAT = 0.05  # nats by which the log-probability of a class moves from row to row
SHORT_OF = 0.05  # share by which a loss has to rise to count
SHOWN = 5  # names in a sentence
# What may help, in the order of what helps most; see the figures in docs/classification.md.
REMEDIES = ("weights", "optimizer", "steps", "rate", "class_weight", "epochs", "labels")


class Finding(NamedTuple):
    """What is wrong with a model or with the claim it makes.

    Attributes
    ----------
    name
        In results.json: not_above_baseline, one_answer, flat_answers, never_predicted,
        rising_loss, few_rows or one_label.
    says
        A sentence without its full stop.
    serious
        Whether the model is of no use as it is.
    remedies
        Which of `REMEDIES` may help.
    """

    name: str
    says: str
    serious: bool
    remedies: tuple[str, ...]


def not_above(scores: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]],
              keys: Sequence[str], more_is_better: Callable[[str], bool],
              count: int | None = None) -> list[Finding]:
    """Return a finding for each baseline that a model is not above, in the first score they share.

    A constant answer (its Matthews' correlation is 0) is beaten by a correlation that is above 0
    by more than chance, and by nothing else: guesses have a better macro F1 than it, and with
    balanced weights a model that knows far more may have a lower accuracy. Where the rows are few
    chance is wide, and a model within it is not yet of no use.

    Parameters
    ----------
    scores
        Of the model.
    baselines
        {what it is: its scores}.
    keys
        Scores to look at, in this order.
    more_is_better
        Says of a score whether a greater value is the better one.
    count
        Of the rows scored.

    Examples
    --------
    >>> found = not_above({"accuracy": 0.5}, {"majority class": {"accuracy": 0.5}}, ["accuracy"],
    ...                   lambda key: True)
    >>> found[0].says
    'no better than majority class: accuracy 0.5000 against 0.5000'
    """
    low, found = _least_correlation(scores, count), []
    for name, baseline in baselines.items():
        key = next((key for key in keys if is_number(scores.get(key))
                    and is_number(baseline.get(key))), None)
        if key is None:
            continue
        above = (scores[key] - baseline[key]) * (1 if more_is_better(key) else -1) > 0
        constant = baseline.get("matthews_correlation") == 0
        if low > 0 if constant and low is not None else above:
            continue
        before = (f" (its weights knew {'nearly ' * above}as much before the training)"
                  if name == FROZEN_VECTORS else "")
        found.append(Finding(
            "not_above_baseline", f"{'hardly' if above else 'no'} better than {name}: {key} "
            f"{scores[key]:.4f} against {baseline[key]:.4f}{before}",
            not (above and count is not None and count < FEW_ROWS),
            ("weights", "optimizer", "steps", "rate", "labels")))
    return found


def _least_correlation(scores: Mapping[str, Any], count: int | None) -> float | None:
    """Return the low end of a 95% interval of Matthews' correlation, or None if it is not known.

    Without an interval it is that of a correlation of 0, whose deviation is 1 / sqrt(count).
    """
    interval = scores.get("intervals", {}).get("matthews_correlation")
    if interval is not None:
        return float(interval["low"])
    value = scores.get("matthews_correlation")
    return float(value) - 2 / math.sqrt(count) if value is not None and count else None


def same_answers(answers: Iterable[Hashable], truth: Iterable[Hashable], rows: str,
                 what: Callable[[Any], str] = str) -> list[Finding]:
    """Return a finding if every row is given the same answer, and there are others.

    Where all rows have the same right answer, the finding is that nothing can be told by them.

    Parameters
    ----------
    rows
        What is answered, in the plural: "test rows".
    what
        An answer in words.
    """
    given, right = Counter(answers), set(truth)
    count = sum(given.values())
    if len(right) < 2:
        return [Finding("one_label", f"all {count:,} {rows} have the same label, so they cannot "
                        "tell a good model from a bad one", False, ("labels",))] if count else []
    if len(given) != 1:
        return []
    return [Finding("one_answer", f"each of the {count:,} {rows} is given the same answer, "
                    f"{what(next(iter(given)))}", True,
                    ("weights", "steps", "rate", "class_weight", "labels"))]


def never_predicted(predicted: Iterable[str], truth: Iterable[str]) -> list[Finding]:
    """Return a finding if some of several classes in the truth are not among the predictions."""
    counts, given = Counter(truth), set(predicted)
    missing = sorted((name for name in counts if name not in given),
                     key=lambda name: (-counts[name], name))
    if not missing or len(given) < 2:  # one class for all has a finding of its own
        return []
    names = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more"
                                          if len(missing) > SHOWN else "")
    return [Finding("never_predicted", f"{len(missing)} of {len(counts)} classes are never "
                    f"predicted: {names}", False, ("class_weight", "steps", "labels"))]


def flat_answers(log_probabilities: ArrayLike, rows: str) -> list[Finding]:
    """Log-probabilities (N, C) -> a finding if they hardly differ between rows."""
    table = np.asarray(log_probabilities, dtype=np.float64)
    if len(table) < 2:
        return []
    spread = float(table.std(axis=0).mean())
    if spread >= FLAT:
        return []
    return [Finding("flat_answers", f"what the model says hardly depends on the text: over the "
                    f"{rows} its log-probabilities move by {spread:.2g}", False,
                    ("weights", "rate", "steps"))]


def flat_numbers(answers: ArrayLike, truth: ArrayLike, rows: str) -> list[Finding]:
    """Numbers (N,), (N,) -> a finding if the answers are nearly one and the same number."""
    given, right = np.asarray(answers, dtype=float), np.asarray(truth, dtype=float)
    if len(given) < 2 or given.std() >= FLAT * right.std():
        return []
    return [Finding("one_answer", f"the {rows} are given nearly the same number, "
                    f"{given.mean():.4g} ± {given.std():.1g}; their labels spread by "
                    f"{right.std():.2g}", True, ("weights", "steps", "rate", "labels"))]


def rising_loss(log: Sequence[Mapping[str, Any]], key: str = "eval_loss") -> list[Finding]:
    """Return a finding if the validation loss has risen over the last two evaluations or more.

    Parameters
    ----------
    log
        Rows of a training's log, with `epoch`; those marked `extra` do not count.
    """
    values = [(row["epoch"], row[key]) for row in log
              if is_number(row.get(key)) and not row.get("extra")]
    if len(values) < 3:
        return []
    best = min(range(len(values)), key=lambda place: values[place][1])
    (epoch, least), (_, last) = values[best], values[-1]
    if best > len(values) - 3 or last - least <= SHORT_OF * abs(least):
        return []
    return [Finding("rising_loss", f"the validation loss rises since epoch {epoch:g}, from "
                    f"{least:.4f} to {last:.4f}: the rest was learning by heart", False,
                    ("epochs", "labels"))]


def few_rows(count: int, rows: str, accuracy: float | None = None) -> list[Finding]:
    """Return a finding if a score of so few rows says little."""
    if count >= FEW_ROWS:
        return []
    claim = ""
    if accuracy is not None:
        low, high = wilson_interval(accuracy, count)
        claim = f": of others like them it may have {low:.2f} to {high:.2f} right"
    return [Finding("few_rows", f"{count:,} {rows} are few for a claim{claim}", False,
                    ("labels",))]
