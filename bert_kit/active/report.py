"""What several campaigns say together: labels needed for a score, and which method is better.

A curve is the score after each round. The curves of a method, one a seed, stand in an array
(seeds, rounds); those of two methods are paired by seed, because both begin with the same rows and
the same draws, which is most of what makes one seed unlike another.
"""

import math

import numpy as np

from bert_kit.errors import DataError


def mean_curve(curves):
    """Return the mean and the standard deviation (of a sample) of curves (seeds, rounds).

    With one seed the standard deviation is NaN.

    Examples
    --------
    >>> mean_curve([[0.5, 0.75], [0.25, 0.75]])[0]
    array([0.375, 0.75 ])
    """
    curves = _curves(curves)
    spread = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.full(curves.shape[1], math.nan)
    return curves.mean(axis=0), spread


def labels_needed(labels, scores, goal):
    """Return at how many labels a curve first reaches a score, or None if it never does.

    Between two rounds the curve is a straight line.

    Parameters
    ----------
    labels : sequence of int (rounds,)
    scores : sequence of float (rounds,)
    goal : float

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


def share_needed(labels, curves, all_data_score, all_rows, goals=(0.95, 0.98, 1.0)):
    """Return which share of the labels the mean curve needs for shares of the all-data score.

    Parameters
    ----------
    labels : sequence of int (rounds,)
    curves : array (seeds, rounds)
    all_data_score : float
        Mean score of models trained on all rows.
    all_rows : int
        How many rows these are.
    goals : sequence of float

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


def paired_difference(first, second, level=0.95):
    """Compare two methods over the same seeds: mean difference, with a confidence interval.

    The interval is Student's for paired samples, mean ± t s / sqrt(n), over the seeds.

    Parameters
    ----------
    first, second : array (seeds,) or (seeds, rounds)
        Scores; rounds are averaged, so that a curve counts as the area below it.
    level : float

    Returns
    -------
    dict
        `mean` of first - second, `low` and `high` (None with one seed), `wins`, the seeds in which
        first is better, and `seeds`.

    Examples
    --------
    >>> paired_difference([3.0, 5.0], [1.0, 1.0])["mean"]
    3.0
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim not in (1, 2) or not first.size:
        raise DataError(f"scores of shape {first.shape} and {second.shape}; expected the same "
                        "seeds and rounds of both")
    differences = (first - second).reshape(len(first), -1).mean(axis=1)
    count, mean, half = len(differences), float(differences.mean()), None
    if count > 1:
        half = (t_quantile((1 + level) / 2, count - 1)
                * float(differences.std(ddof=1)) / math.sqrt(count))
    return {"mean": mean, "low": None if half is None else mean - half,
            "high": None if half is None else mean + half,
            "wins": int((differences > 0).sum()), "seeds": count}


def t_quantile(probability, freedom):
    """Return the quantile of Student's t distribution for a whole number of degrees of freedom.

    By bisection of the angle whose tangent is t / sqrt(freedom), of which the distribution is a
    finite sum (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).

    Examples
    --------
    >>> round(t_quantile(0.975, 2), 4)
    4.3027
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        if _within(middle, freedom) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(middle)


def _within(angle, freedom):
    """Return the probability that |t| is at most sqrt(freedom) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        term, total = cosine, 0.0
        for i in range(1, freedom, 2):
            total += term
            term *= cosine**2 * (i + 1) / (i + 2)
        return 2 / math.pi * (angle + sine * total)
    term, total = 1.0, 0.0
    for i in range(1, freedom, 2):
        total += term
        term *= cosine**2 * i / (i + 1)
    return sine * total


def _curves(curves):
    curves = np.asarray(curves, dtype=float)
    if curves.ndim != 2 or not curves.size:
        raise DataError(f"curves of shape {curves.shape}; expected (seeds, rounds)")
    return curves
