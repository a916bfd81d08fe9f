"""Whether a classifier that says 90% is right nine times in ten, and what that is good for.

The confidence of a row is the probability of the class it is given: the largest one. Where a row
has any number of labels, each label of each row is a decision of its own, its probability the
confidence that it holds; `labels` is then an array (N, C) of 0 and 1.
"""

from collections.abc import Sequence

import numpy as np

from bert_kit.checks import whole
from bert_kit.evaluation.scores.checks import (Rows, Scores, Values, are_label_sets,
                                               check_label_sets, check_probabilities, decisions)
from bert_kit.evaluation.scores.classes import compute_precision_recall_f1
from bert_kit.printing import align

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
THRESHOLD_TOLERANCE = 1e-6  # float32 makes 0.9 a little less


def reliability_bins(probabilities: Values, labels: Values, bins: int = 15) -> list[Scores]:
    """Group the rows by confidence; return a dict for every bin of the range 0 to 1 that has rows.

    Parameters
    ----------
    probabilities
        Of shape (N, C).
    labels
        Class numbers (N,), or 0 and 1 for each label (N, C).
    bins
        Number of bins of equal width. A bin holds its upper edge and not its lower one.

    Returns
    -------
    list of dict
        `lower`, `upper`, `rows`, `confidence` (mean of the bin), `accuracy`. With label sets
        `rows` counts decisions, N C in all, and `accuracy` is the share of labels that hold.

    Raises
    ------
    DataError
        If a row of probabilities does not add up to 1 (of classes), or labels do not fit.
    ConfigError
        If there is no bin.
    """
    whole("bins", bins, 1)
    confidence, right = decisions(probabilities, labels)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [{"lower": float(edges[i]), "upper": float(edges[i + 1]),
             "rows": int((place == i).sum()),
             "confidence": float(confidence[place == i].mean()),
             "accuracy": float(right[place == i].mean())} for i in np.unique(place)]


def format_reliability(groups: Rows) -> str:
    """Lay out the answer of `reliability_bins` as an aligned table; the gap is what is too sure."""
    return align(["from", "to", "rows", "confidence", "accuracy", "gap"],
                 [[f"{group['lower']:.2f}", f"{group['upper']:.2f}", f"{group['rows']:,}",
                   f"{group['confidence']:.4f}", f"{group['accuracy']:.4f}",
                   f"{group['confidence'] - group['accuracy']:+.4f}"] for group in groups])


def expected_calibration_error(probabilities: Values, labels: Values, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy, from 0 (calibrated) to 1.

    The gap of each of the `reliability_bins` counts by its number of rows (Guo et al. 2017, "On
    Calibration of Modern Neural Networks", equation 3).

    Examples
    --------
    >>> expected_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 1])  # .75 sure, .5 right
    0.25
    """
    groups = reliability_bins(probabilities, labels, bins)
    gaps = sum(group["rows"] * abs(group["accuracy"] - group["confidence"]) for group in groups)
    return gaps / sum(group["rows"] for group in groups)


def brier_score(probabilities: Values, labels: Values) -> float:
    """Return the mean squared distance of the probabilities (N, C) from the truth, 0 to 2.

    The distance of a row is summed over all classes (Brier 1950), so that for two classes this is
    twice the score that looks at one of them only. With label sets it is the mean over all
    decisions, 0 to 1.

    Examples
    --------
    >>> brier_score([[1.0, 0.0], [0.5, 0.5]], [0, 1])
    0.25
    >>> brier_score([[1.0, 0.5]], [[1, 1]])
    0.125
    """
    if are_label_sets(labels):
        shares, truth = check_label_sets(probabilities, labels)
        return float(((shares - truth) ** 2).mean())
    shares, labels = check_probabilities(probabilities, labels)
    right = shares[np.arange(len(labels)), labels]
    return float(((shares**2).sum(axis=1) - right**2 + (1 - right)**2).mean())


def confidence_coverage(probabilities: Values, labels: Values,
                        thresholds: Sequence[float] = THRESHOLDS) -> list[Scores]:
    """Say how good the answers are when only those of at least some confidence are given.

    Parameters
    ----------
    probabilities, labels
        As in `reliability_bins`.
    thresholds
        Rows whose confidence is at least the threshold are kept; a millionth less still counts
        as equal, because of the rounding of float32.

    Returns
    -------
    list of dict
        For each threshold `threshold`, `coverage` (share of the rows kept), `rows` (their number),
        and the `accuracy` and `f1_macro` of those rows: None where none is left.
    """
    shares, labels = check_probabilities(probabilities, labels)
    confidence, predictions = shares.max(axis=1), shares.argmax(axis=1)
    result = []
    for threshold in map(float, thresholds):
        kept = confidence >= threshold - THRESHOLD_TOLERANCE
        rows = int(kept.sum())
        accuracy = f1 = None
        if rows:
            accuracy = float((predictions[kept] == labels[kept]).mean())
            f1 = compute_precision_recall_f1(predictions[kept], labels[kept])["f1"]
        result.append({"threshold": threshold, "coverage": rows / len(labels), "rows": rows,
                       "accuracy": accuracy, "f1_macro": f1})
    return result


def format_coverage(rows: Rows) -> str:
    """Lay out the answer of `confidence_coverage` as an aligned table."""
    def score(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    return align(["threshold", "coverage", "rows", "accuracy", "f1_macro"],
                 [[f"{row['threshold']:.2f}", f"{row['coverage']:.1%}", f"{row['rows']:,}",
                   score(row["accuracy"]), score(row["f1_macro"])] for row in rows])
