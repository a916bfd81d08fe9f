"""How good the predictions of a classifier are, over a whole data set at once.

Scores are never averaged over batches: the mean of batch F1 scores is not an F1 score, and a short
last batch would count too much. Logits are collected first and scored once.

Macro and weighted averages run over the classes that occur in the labels or the predictions, as in
scikit-learn; a class that was never labelled and never predicted does not pull the mean down. A
ratio with nothing in its denominator counts as 0.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation.scores.checks import check_classes
from bert_kit.printing import align, one_line
from bert_kit.evaluation.outputs import batch_logits
from bert_kit.modes import evaluation_mode

AVERAGES = ("micro", "macro", "weighted", None)


def compute_precision_recall_f1(predictions, labels, num_classes=None, average="macro"):
    """Return precision, recall and F1 of class numbers (N,) against class numbers (N,).

    Parameters
    ----------
    predictions, labels : sequence, array or tensor of int
        Class numbers from 0.
    num_classes : int, optional
        Number of classes C; by default the largest number found, plus 1.
    average : {"macro", "micro", "weighted", None}
        Mean over classes; over all rows; over classes by their number of labels; or no mean.

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
    from sklearn.metrics import precision_recall_fscore_support

    if average not in AVERAGES:
        raise ConfigError(f"average is {average!r}; expected one of {AVERAGES}")
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    classes = np.arange(num_classes) if average is None else np.union1d(labels, predictions)
    scores = precision_recall_fscore_support(labels, predictions, labels=classes, average=average,
                                             zero_division=0)[:3]
    scores = scores if average is None else map(float, scores)
    return dict(zip(("precision", "recall", "f1"), scores))


def compute_confusion_matrix(predictions, labels, num_classes):
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


def matthews_correlation(confusion):
    """Return the correlation of labels and predictions from their confusion matrix (C, C).

    1 is perfect, 0 is chance, and 0 where one class holds all labels or all predictions
    (Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient").
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    total, right = confusion.sum(), np.trace(confusion)
    labelled, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    covariance = right * total - labelled @ predicted
    spread = (total**2 - labelled @ labelled) * (total**2 - predicted @ predicted)
    return float(covariance / math.sqrt(spread)) if spread > 0 else 0.0


def classification_metrics(predictions, labels, num_classes):
    """Return every score of a classification; all values can be written as JSON.

    Parameters
    ----------
    predictions, labels : sequence, array or tensor of int
        Class numbers from 0, (N,).
    num_classes : int

    Returns
    -------
    dict
        `accuracy`; `precision`, `recall`, `f1` (macro); `f1_macro`, `f1_micro`, `f1_weighted`;
        `matthews_correlation`; `per_class`, a list of C dicts with `class`, `precision`, `recall`,
        `f1`, `support`; and `confusion_matrix`, C lists of C counts, one list a true class.

    Raises
    ------
    DataError
        As in `compute_precision_recall_f1`.
    """
    confusion = compute_confusion_matrix(predictions, labels, num_classes)
    score = {average: compute_precision_recall_f1(predictions, labels, num_classes, average)
             for average in AVERAGES}
    per_class = [{"class": i, **{name: float(values[i]) for name, values in score[None].items()},
                  "support": int(confusion[i].sum())} for i in range(num_classes)]
    return {"accuracy": float(np.trace(confusion) / confusion.sum()),
            **score["macro"],
            "f1_macro": score["macro"]["f1"],
            "f1_micro": score["micro"]["f1"],
            "f1_weighted": score["weighted"]["f1"],
            "matthews_correlation": matthews_correlation(confusion),
            "per_class": per_class,
            "confusion_matrix": confusion.tolist()}


def predict_logits(model, loader, device):
    """Run the model over a loader without gradients; return logits (N, C) and labels (N,).

    Parameters
    ----------
    model : torch.nn.Module
        Called with input_ids, attention_mask and token_type_ids (B, S). It is moved to `device`
        and switched to evaluation, and every part is set back to its mode afterwards.
    loader : iterable of dict
        Batches with `labels`; attention_mask and token_type_ids may be missing.
    device : torch.device or str

    Returns
    -------
    (Tensor, Tensor)
        float32 on the CPU, and the labels as they came.

    Raises
    ------
    DataError
        If the loader is empty or a batch has no labels.
    """
    logits, labels = [], []
    with evaluation_mode(model, device):
        for batch in loader:
            if "labels" not in batch:
                raise DataError(f"a batch holds {', '.join(batch)}; expected labels too")
            logits.append(batch_logits(model, batch, device))
            labels.append(batch["labels"])
    if not logits:
        raise DataError("the loader gave no batch; expected at least one row to evaluate")
    # One transfer at the end: a transfer a batch would make a GPU wait for every one.
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()


def evaluate_classification_metrics(model, loader, device, num_classes):
    """Score a classifier on everything that a loader yields.

    Parameters
    ----------
    model, loader, device
        As in `predict_logits`.
    num_classes : int
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


def logit_metrics(logits, labels):
    """Logits (N, C), class numbers (N) -> `loss` and all of `classification_metrics`."""
    labels = torch.as_tensor(labels)
    metrics = classification_metrics(logits.argmax(1), labels, logits.shape[1])  # checks them too
    return {"loss": float(F.cross_entropy(logits.double(), labels.long())), **metrics}


def format_per_class(metrics, class_names):
    """Lay out the scores of each class as an aligned table, one line a class.

    Parameters
    ----------
    metrics : dict
        From `classification_metrics`.
    class_names : sequence of str
        One name a class, in the order of the class numbers.
    """
    rows = metrics["per_class"]
    if len(class_names) != len(rows):
        raise DataError(f"{len(class_names)} class names for {len(rows)} classes; "
                        "expected one a class")
    return align(["class", "precision", "recall", "f1", "support"],
                 [[one_line(name), *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                   str(row["support"])] for name, row in zip(class_names, rows)], left=[0])
