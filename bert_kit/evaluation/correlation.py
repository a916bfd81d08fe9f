"""How well numbers follow other numbers: as a line, or in their order."""

import numpy as np

from bert_kit.errors import DataError


def pearson_correlation(first, second):
    """Return the linear correlation of numbers (N,) with numbers (N,), from -1 to 1.

    0 where one side is constant: it says nothing about the other.

    Raises
    ------
    DataError
        If there are no numbers, the lengths differ, or one is not finite.

    Examples
    --------
    >>> round(pearson_correlation([1, 2, 3], [2, 4, 6.1]), 4)
    0.9999
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if a.shape != b.shape or a.ndim != 1 or not a.size or not np.isfinite(a + b).all():
        raise DataError(f"numbers of shape {a.shape} and {b.shape}; expected as many finite ones "
                        "of both, and at least one")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def spearman_correlation(first, second):
    """Return the correlation of the ranks of numbers (N,) and numbers (N,), from -1 to 1.

    Equal numbers share the mean of their ranks.

    Examples
    --------
    >>> spearman_correlation([1, 2, 3, 4], [10, 100, 1000, 500])
    0.8
    """
    pearson_correlation(first, second)  # or an error: a rank would hide what is not finite
    return pearson_correlation(_ranks(first), _ranks(second))


def _ranks(values):
    """Return the rank of each number from 1, equal ones with the mean of theirs."""
    _, group, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[group]
