"""How good predicted numbers are: errors, and whether they go up and down with the true ones."""

import numpy as np

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import floats


def pearson_correlation(first, second):
    """Return the linear correlation of numbers (N,) with numbers (N,), from -1 to 1.

    0 where one side is constant: it says nothing about the other.

    Examples
    --------
    >>> round(pearson_correlation([1, 2, 3], [2, 4, 6.1]), 4)
    0.9999
    """
    first, second = _pairs(first, second)
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    spread = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / spread, -1, 1))


def spearman_correlation(first, second):
    """Return the correlation of the ranks of numbers (N,) and numbers (N,), from -1 to 1.

    Equal numbers share the mean of their ranks. 0 where one side is constant.

    Examples
    --------
    >>> spearman_correlation([1, 2, 3, 4], [10, 100, 1000, 500])
    0.8
    """
    first, second = _pairs(first, second)
    return pearson_correlation(_ranks(first), _ranks(second))


def regression_metrics(predictions, labels):
    """Return every score of predicted numbers (N,); all values can be written as JSON.

    Returns
    -------
    dict
        `loss`, the mean squared error; `mean_absolute_error`; `pearson` and `spearman`.

    Raises
    ------
    DataError
        If there are no rows, the lengths differ, or a number is not finite.

    Examples
    --------
    >>> regression_metrics([1.0, 2.0], [1.0, 4.0])["loss"]
    2.0
    """
    predictions, labels = _pairs(predictions, labels)
    return {"loss": float(((predictions - labels) ** 2).mean()),
            "mean_absolute_error": float(abs(predictions - labels).mean()),
            "pearson": pearson_correlation(predictions, labels),
            "spearman": spearman_correlation(predictions, labels)}


def _pairs(first, second):
    """Return both as float64 arrays (N,); logits (N, 1) of a regression count as such."""
    arrays = []
    for values in (floats(first), floats(second)):
        arrays.append(values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values)
    first, second = arrays
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise DataError(f"numbers of shape {first.shape} and {second.shape}; expected as many of "
                        "both, in one dimension, and at least one")
    for values in arrays:
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).argmax())
            raise DataError(f"number of row {row} is {values[row]}; expected a finite one")
    return first, second


def _ranks(values):
    """Return the rank of each number from 1, equal ones with the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[inverse]
