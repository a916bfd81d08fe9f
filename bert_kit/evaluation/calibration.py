"""Whether a classifier that says 90% is right nine times in ten, and what that is good for.

The confidence of a row is the probability of the class it is given: the largest one.
"""

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation.checks import check_probabilities, class_numbers
from bert_kit.evaluation.layout import align
from bert_kit.evaluation.metrics import compute_precision_recall_f1

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TEMPERATURES = (0.01, 100.0)  # the range that is searched
THRESHOLD_TOLERANCE = 1e-6  # float32 makes 0.9 a little less
HALVINGS = 50  # of that range: more would be below the rounding of a float


def reliability_bins(probabilities, labels, bins=15):
    """Group the rows by confidence; return a dict for every bin of the range 0 to 1 that has rows.

    Parameters
    ----------
    probabilities : array or tensor of float, (N, C)
    labels : sequence, array or tensor of int, (N,)
    bins : int
        Number of bins of equal width. A bin holds its upper edge and not its lower one.

    Returns
    -------
    list of dict
        `lower`, `upper`, `rows`, `confidence` (mean of the bin), `accuracy`.

    Raises
    ------
    DataError
        If a row of probabilities does not add up to 1, or the labels do not fit.
    ConfigError
        If there is no bin.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ConfigError(f"bins is {bins!r}; expected a whole number from 1")
    probabilities, labels = check_probabilities(probabilities, labels)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [{"lower": float(edges[i]), "upper": float(edges[i + 1]),
             "rows": int((place == i).sum()),
             "confidence": float(confidence[place == i].mean()),
             "accuracy": float(right[place == i].mean())} for i in np.unique(place)]


def expected_calibration_error(probabilities, labels, bins=15):
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


def brier_score(probabilities, labels):
    """Return the mean squared distance of the probabilities (N, C) from the truth, 0 to 2.

    The distance of a row is summed over all classes (Brier 1950), so that for two classes this is
    twice the score that looks at one of them only.

    Examples
    --------
    >>> brier_score([[1.0, 0.0], [0.5, 0.5]], [0, 1])
    0.25
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(labels)), labels] = 1
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def confidence_coverage(probabilities, labels, thresholds=THRESHOLDS):
    """Say how good the answers are when only those of at least some confidence are given.

    Parameters
    ----------
    probabilities, labels
        As in `reliability_bins`.
    thresholds : sequence of float
        Rows whose confidence is at least the threshold are kept; a millionth less still counts
        as equal, because of the rounding of float32.

    Returns
    -------
    list of dict
        For each threshold `threshold`, `coverage` (share of the rows kept), `rows` (their number),
        and the `accuracy` and `f1_macro` of those rows: None where none is left.
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    confidence, predictions = probabilities.max(axis=1), probabilities.argmax(axis=1)
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


def format_coverage(rows):
    """Lay out the answer of `confidence_coverage` as an aligned table."""
    def score(value):
        return "-" if value is None else f"{value:.4f}"

    return align(["threshold", "coverage", "rows", "accuracy", "f1_macro"],
                 [[f"{row['threshold']:.2f}", f"{row['coverage']:.1%}", f"{row['rows']:,}",
                   score(row["accuracy"]), score(row["f1_macro"])] for row in rows])


def fit_temperature(logits, labels):
    """Return the temperature T for which softmax(logits / T) fits the labels best.

    T minimises the mean negative log-likelihood (Guo et al. 2017, section 4.2). Above 1 the model
    was too sure of itself, below 1 not sure enough; which class wins never changes. Fit it on
    validation rows, not on those that are scored.

    Parameters
    ----------
    logits : array or tensor of float, (N, C)
    labels : sequence, array or tensor of int, (N,)

    Returns
    -------
    float
        From 0.01 to 100, the ends of the search. Where every row is right no T is best: the loss
        keeps falling towards T = 0, and the low end is returned. Where the logits mislead it keeps
        falling towards infinity, and the high end is returned. 1 where the temperature makes no
        difference, because the logits of each row are equal.

    Raises
    ------
    DataError
        If a logit is not finite or the labels do not fit.

    Examples
    --------
    >>> sure_of_90_percent = [2.1972245773, 0.0]  # log 9, but right in 3 rows of 4: log 3
    >>> round(fit_temperature([sure_of_90_percent] * 4, [0, 0, 0, 1]), 6)
    2.0
    """
    logits = logits if isinstance(logits, torch.Tensor) else torch.tensor(np.array(logits))
    logits = logits.detach().cpu().double()
    if logits.ndim != 2 or not logits.isfinite().all():
        raise DataError(f"logits of shape {tuple(logits.shape)}; expected finite numbers of shape "
                        "(rows, classes)")
    _, labels = check_probabilities(logits.softmax(dim=1), class_numbers("labels", labels))
    labels = torch.from_numpy(labels)[:, None]
    logits = logits - logits.max(dim=1, keepdim=True).values

    def slope(temperature):
        """Derivative of the loss with respect to 1 / T; the loss is convex in 1 / T."""
        expected = (F.softmax(logits / temperature, dim=1) * logits).sum(dim=1, keepdim=True)
        return (expected - logits.gather(1, labels)).mean().item()

    low, high = TEMPERATURES
    if not logits.any():
        return 1.0
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        # A falling loss means that 1 / T should grow: the answer is a lower temperature. So does
        # a slope of 0: it is a negative one that underflows, or the lower T's turn it positive.
        low, high = (low, middle) if slope(middle) <= 0 else (middle, high)
    return (low * high) ** 0.5
