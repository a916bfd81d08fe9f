"""How good the predictions of a classifier are, over a whole data set at once.

Scores are never averaged over batches: the mean of batch F1 scores is not an F1 score, and a short
last batch would count too much. Logits are collected first and scored once.

Macro and weighted averages run over the classes that occur in the labels or the predictions, as in
scikit-learn; a class that was never labelled and never predicted does not pull the mean down. A
ratio with nothing in its denominator counts as 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.checks import one_of, same_length
from bert_kit.errors import DataError
from bert_kit.evaluation.outputs import Batches, predict_logits
from bert_kit.evaluation.scores.checks import Scores, Values, check_classes
from bert_kit.printing import align, one_line

AVERAGES = ("micro", "macro", "weighted", None)
MATRIX_CLASSES = 200  # with more, C x C counts are no longer kept, drawn or written


class ClassCounts(NamedTuple):
    """Of each class how many rows are right, were given it, and are truly it: arrays (..., C)."""

    right: np.ndarray
    given: np.ndarray
    wanted: np.ndarray


def ratio(part: ArrayLike, whole: ArrayLike, empty: float = 0) -> np.ndarray:
    """Return part / whole of numbers or arrays, and `empty` where there is no whole."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(part.shape, float(empty)), where=whole > 0)


def scores_of_counts(right: ArrayLike, given: ArrayLike, wanted: ArrayLike) -> Scores:
    """Return `precision`, `recall` and `f1`, their harmonic mean, of counts, all of one shape.

    `given` answers were predicted, `wanted` are true, `right` are both.

    Examples
    --------
    >>> {name: score.tolist() for name, score in scores_of_counts([1, 0], [2, 0], [1, 4]).items()}
    {'precision': [0.5, 0.0], 'recall': [1.0, 0.0], 'f1': [0.6666666666666666, 0.0]}
    """
    right, given, wanted = map(np.asarray, (right, given, wanted))
    return {"precision": ratio(right, given), "recall": ratio(right, wanted),
            "f1": ratio(2 * right, given + wanted)}


def counts_of_matrix(confusion: ArrayLike) -> ClassCounts:
    """Return what the scores need to know of a confusion matrix (C, C)."""
    confusion = np.asarray(confusion)
    return ClassCounts(np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1))


def count_classes(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> ClassCounts:
    """Count class numbers (N,) against class numbers (N,), checked before; nothing is C x C."""
    return ClassCounts(*(np.bincount(rows, minlength=num_classes) for rows in (
        labels[predictions == labels], predictions, labels)))


def compute_precision_recall_f1(predictions: Values, labels: Values, num_classes: int | None = None,
                                average: str | None = "macro") -> Scores:
    """Return precision, recall and F1 of class numbers (N,) against class numbers (N,).

    Parameters
    ----------
    num_classes
        Number of classes C; by default the largest number found, plus 1.
    average
        "macro", the mean over classes; "micro", over all rows; "weighted", over classes by their
        number of labels; or None, no mean.

    Returns
    -------
    dict
        `precision`, `recall` and `f1` as floats, or as arrays (C,) with `average=None`.

    Raises
    ------
    DataError
        If there are no rows, the lengths differ, or a number is not a class.

    Examples
    --------
    >>> compute_precision_recall_f1([0, 0, 1, 1], [0, 1, 1, 1])
    {'precision': 0.75, 'recall': 0.8333333333333333, 'f1': 0.7333333333333334}
    """
    one_of("average", average, AVERAGES)
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    return _averaged(count_classes(predictions, labels, num_classes), average)


def _averaged(counts: ClassCounts, average: str | None) -> Scores:
    right, given, wanted = counts
    if average == "micro":
        right, given, wanted = right.sum(), given.sum(), wanted.sum()
    scores = scores_of_counts(right, given, wanted)
    if average is None:
        return scores
    weights = {"macro": given + wanted > 0, "micro": None, "weighted": wanted}[average]
    return {name: float(np.average(each, weights=weights)) for name, each in scores.items()}


def compute_confusion_matrix(predictions: Values, labels: Values, num_classes: int) -> np.ndarray:
    """Count the rows of each (true class, predicted class): an integer array (C, C).

    Row i holds the rows whose true class is i, column j those that were predicted as j.

    Examples
    --------
    >>> compute_confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2).tolist()
    [[1, 0], [1, 2]]
    """
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def matthews_correlation(confusion: ArrayLike) -> float:
    """Return the correlation of labels and predictions from their confusion matrix (C, C).

    1 is perfect, 0 is chance, and 0 where one class holds all labels or all predictions
    (Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient").
    The matrix may hold counts, or weights or probabilities, which need not add up to 1.

    Examples
    --------
    >>> matthews_correlation([[0.25, 0.25], [0, 0.5]]) == matthews_correlation([[1, 1], [0, 2]])
    True
    """
    return float(matthews_of_counts(counts_of_matrix(confusion)))


def matthews_of_counts(counts: ClassCounts) -> np.ndarray:
    """Return `matthews_correlation` of counts (..., C): all that it needs to know, (...)."""
    each, predicted, labelled = (np.asarray(part, dtype=np.float64) for part in counts)
    total, right = labelled.sum(axis=-1), each.sum(axis=-1)
    covariance = right * total - (labelled * predicted).sum(axis=-1)
    spread = ((total**2 - (labelled**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1)))
    # What is left of a subtraction can be a rounding, so where classes are alone is looked up.
    alone = np.minimum((labelled > 0).sum(axis=-1), (predicted > 0).sum(axis=-1)) < 2
    return np.clip(ratio(covariance, np.sqrt(np.where(alone, 0, np.maximum(spread, 0)))), -1, 1)


def classification_metrics(predictions: Values, labels: Values, num_classes: int) -> Scores:
    """Return every score of class numbers (N,); all values can be written as JSON.

    Returns
    -------
    dict
        `accuracy`; `precision`, `recall`, `f1` (macro); `f1_macro`, `f1_micro`, `f1_weighted`;
        `matthews_correlation`; `per_class`, a list of C dicts with `class`, `precision`, `recall`,
        `f1`, `support`; and `confusion_matrix`, C lists of C counts, one list a true class, or
        None of more than 200 classes: it would grow with their square.

    Raises
    ------
    DataError
        As in `compute_precision_recall_f1`.
    """
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    counts = count_classes(predictions, labels, num_classes)
    score = {average: _averaged(counts, average) for average in AVERAGES}
    per_class = [{"class": i, **{name: float(values[i]) for name, values in score[None].items()},
                  "support": int(counts.wanted[i])} for i in range(num_classes)]
    confusion = (compute_confusion_matrix(predictions, labels, num_classes).tolist()
                 if num_classes <= MATRIX_CLASSES else None)
    return {"accuracy": float(counts.right.sum() / len(labels)),
            **score["macro"],
            "f1_macro": score["macro"]["f1"],
            "f1_micro": score["micro"]["f1"],
            "f1_weighted": score["weighted"]["f1"],
            "matthews_correlation": float(matthews_of_counts(counts)),
            "per_class": per_class,
            "confusion_matrix": confusion}


def evaluate_classification_metrics(model: nn.Module, loader: Batches, device: torch.device | str,
                                    num_classes: int) -> Scores:
    """Score a classifier on everything that a loader yields.

    Parameters
    ----------
    model, loader, device
        As in `predict_logits`.
    num_classes
        Number of classes C; the model must give as many logits.

    Returns
    -------
    dict
        `loss`, the mean cross-entropy of a row, and all of `classification_metrics`: `accuracy`,
        `precision`, `recall`, `f1` (macro) and more.

    Raises
    ------
    DataError
        If there is nothing to evaluate, or classes and logits do not fit `num_classes`.
    """
    logits, labels = predict_logits(model, loader, device)
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise DataError(f"the model gives logits of shape {tuple(logits.shape)}; "
                        f"expected (rows, {num_classes})")
    return logit_metrics(logits, labels)


def logit_metrics(logits: Tensor, labels: Values) -> Scores:
    """Logits (N, C), class numbers (N) -> `loss` and all of `classification_metrics`."""
    labels = torch.as_tensor(labels)
    metrics = classification_metrics(logits.argmax(1), labels, logits.shape[1])  # checks them too
    return {"loss": float(F.cross_entropy(logits.double(), labels.long())), **metrics}


def format_per_class(metrics: Scores, class_names: Sequence[str]) -> str:
    """Lay out the scores of each class as an aligned table, one line a class.

    Of more than 200 classes the 100 with most rows are shown, and how many are left out.

    Parameters
    ----------
    metrics
        From `classification_metrics` or `multilabel_metrics`.
    class_names
        One name a class, in the order of the class numbers.
    """
    rows = metrics["per_class"]
    same_length(classes=rows, names=class_names)
    shown, more = list(range(len(rows))), ""
    if len(rows) > MATRIX_CLASSES:
        shown = sorted(shown, key=lambda i: -rows[i]["support"])[:MATRIX_CLASSES // 2]
        more = f"\nand {len(rows) - len(shown):,} classes with as many rows or fewer"
    return align(["class", "precision", "recall", "f1", "support"],
                 [[one_line(class_names[i]), *(f"{rows[i][key]:.4f}" for key in (
                     "precision", "recall", "f1")), str(rows[i]["support"])] for i in shown],
                 left=[0]) + more
