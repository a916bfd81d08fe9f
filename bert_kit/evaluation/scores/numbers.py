"""How good predicted numbers are: errors, and whether they go up and down with the true ones."""

import numpy as np

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Values, floats


def pearson_correlation(first: Values, second: Values) -> float:
    """Return the linear correlation of numbers (N,) with numbers (N,), from -1 to 1.

    0 where one side is constant: it says nothing about the other.

    Examples
    --------
    >>> round(pearson_correlation([1, 2, 3], [2, 4, 6.1]), 4)
    0.9999
    """
    pairs = _pairs(first, second)
    if any(values.min() == values.max() for values in pairs):
        return 0.0
    x, y = (_spread(values) for values in pairs)
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def _spread(values: np.ndarray) -> np.ndarray:
    """Return numbers (N,) minus their mean, scaled so that no square over- or underflows."""
    values = values / max(abs(values).max(), np.finfo(np.float64).tiny)
    values = values - values.mean()
    return values / max(abs(values).max(), np.finfo(np.float64).tiny)


def spearman_correlation(first: Values, second: Values) -> float:
    """Return the correlation of the ranks of numbers (N,) and numbers (N,), from -1 to 1.

    Equal numbers share the mean of their ranks. 0 where one side is constant.

    Examples
    --------
    >>> round(spearman_correlation([1, 2, 3, 4], [10, 100, 1000, 500]), 6)
    0.8
    """
    from scipy.stats import rankdata
    return pearson_correlation(*map(rankdata, _pairs(first, second)))


def regression_metrics(predictions: Values, labels: Values) -> dict[str, float]:
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


def _pairs(first: Values, second: Values) -> list[np.ndarray]:
    """Return both as float64 arrays (N,); logits (N, 1) of a regression count as such."""
    arrays = [values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
              for values in (floats(first), floats(second))]
    if arrays[0].ndim != 1 or arrays[0].shape != arrays[1].shape or not len(arrays[0]):
        raise DataError(f"numbers of shape {arrays[0].shape} and {arrays[1].shape}; expected as "
                        "many of both, in one dimension, and at least one")
    for values in arrays:
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).argmax())
            raise DataError(f"number of row {row} is {values[row]}; expected a finite one")
    return arrays
