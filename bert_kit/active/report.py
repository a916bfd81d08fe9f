"""What several campaigns say together: labels needed for a score, and which method is better.

A curve is the score after each round. The curves of a method, one a seed, stand in an array
(seeds, rounds); those of two methods are paired by seed, because both begin with the same rows and
the same draws, which is most of what makes one seed unlike another.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.errors import DataError


def mean_curve(curves: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation (of a sample) of curves (seeds, rounds).

    With one seed the standard deviation is NaN.

    Examples
    --------
    >>> mean_curve([[0.5, 0.75], [0.25, 0.75]])[0]
    array([0.375, 0.75 ])
    """
    table = np.asarray(curves, dtype=float)
    if table.ndim != 2 or not table.size:
        raise DataError(f"curves of shape {table.shape}; expected (seeds, rounds)")
    spread = table.std(axis=0, ddof=1) if len(table) > 1 else np.full(table.shape[1], math.nan)
    return table.mean(axis=0), spread


def labels_needed(labels: Sequence[int], scores: Sequence[float] | np.ndarray, goal: float
                  ) -> float | None:
    """Return at how many labels a curve first reaches a score, or None if it never does.

    Between two rounds the curve is a straight line. There is a number of labels a round, and a
    score.

    Examples
    --------
    >>> labels_needed([100, 200, 300], [0.2, 0.4, 0.8], goal=0.6)
    250.0
    """
    for number, score in enumerate(scores):
        if score >= goal:
            if not number:
                return float(labels[0])
            before = scores[number - 1]
            share = (goal - before) / (score - before)
            return float(labels[number - 1] + share * (labels[number] - labels[number - 1]))
    return None


def share_needed(labels: Sequence[int], curves: ArrayLike, all_data_score: float, all_rows: int,
                 goals: Sequence[float] = (0.95, 0.98, 1.0)) -> dict[float, float | None]:
    """Return which share of the labels the mean curve needs for shares of the all-data score.

    Parameters
    ----------
    labels
        How many there are in each round.
    curves
        Of shape (seeds, rounds).
    all_data_score
        Mean score of models trained on all rows.
    all_rows
        How many rows these are.

    Returns
    -------
    dict
        {goal: share, or None where the curve does not get there}.

    Examples
    --------
    >>> share_needed([100, 200], [[0.5, 0.75]], all_data_score=0.75, all_rows=1000, goals=[1.0])
    {1.0: 0.2}
    """
    mean, _ = mean_curve(curves)
    needed = {goal: labels_needed(labels, mean, goal * all_data_score) for goal in goals}
    return {goal: None if count is None else count / all_rows for goal, count in needed.items()}


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95
                      ) -> dict[str, float | None]:
    """Compare two methods over the same seeds: mean difference, with a confidence interval.

    The interval is Student's for paired samples, mean ± t s / sqrt(n), over the seeds. One seed
    has none, and neither have seeds that all differ alike (as two methods that are always right):
    without a spread nothing says how far another seed would be from these.

    Scores are of shape (seeds,) or (seeds, rounds); rounds are averaged, so that a curve counts as
    the area below it.

    Returns
    -------
    dict
        `mean` of first - second, `low` and `high` (None without a spread), `wins`, the seeds in
        which first is better, and `seeds`.

    Examples
    --------
    >>> paired_difference([3.0, 5.0], [1.0, 1.0])["mean"]
    3.0
    """
    from scipy.stats import t

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim not in (1, 2) or not first.size:
        raise DataError(f"scores of shape {first.shape} and {second.shape}; expected the same "
                        "seeds and rounds of both")
    differences = (first - second).reshape(len(first), -1).mean(axis=1)
    count, mean, low, high = len(differences), float(differences.mean()), None, None
    rounding = 1e-12 * max(abs(first).max(), abs(second).max())
    if np.ptp(differences) > rounding:
        half = float(t.ppf((1 + level) / 2, count - 1) * differences.std(ddof=1)) / math.sqrt(count)
        low, high = mean - half, mean + half
    return {"mean": mean, "low": low, "high": high, "wins": int((differences > 0).sum()),
            "seeds": count}
