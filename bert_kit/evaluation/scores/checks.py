"""What predictions, labels and probabilities have to look like before they are scored."""

import numpy as np
import torch

from bert_kit.errors import DataError

SUM_TOLERANCE = 0.02  # half precision rounds the probabilities of a row by up to about 0.01


def check_classes(predictions, labels, num_classes=None):
    """Return both as integer arrays (N,), and the number of classes C.

    Parameters
    ----------
    predictions, labels : sequence, array or tensor of int
        Class numbers from 0.
    num_classes : int, optional
        By default the largest number found, plus 1.

    Raises
    ------
    DataError
        If there are no rows, the lengths differ, or a number is not a class.
    """
    predictions = class_numbers("predictions", predictions)
    labels = class_numbers("labels", labels)
    if len(predictions) != len(labels):
        raise DataError(f"{len(predictions)} predictions for {len(labels)} labels; "
                        "expected as many")
    if not len(labels):
        raise DataError("no predictions and no labels; expected at least one row")
    if num_classes is None:
        num_classes = int(max(predictions.max(), labels.max())) + 1
    _check_range("prediction", predictions, num_classes)
    _check_range("label", labels, num_classes)
    return predictions, labels, num_classes


def check_probabilities(probabilities, labels):
    """Return probabilities as a float64 array (N, C) and labels as an integer array (N,).

    Raises
    ------
    DataError
        If there are no rows, a row is not a distribution over classes, or a label is not a class.
    """
    probabilities = distributions(probabilities)
    labels = class_numbers("labels", labels)
    if len(labels) != len(probabilities):
        raise DataError(f"{len(probabilities)} rows of probabilities for {len(labels)} labels; "
                        "expected as many")
    if not len(labels):
        raise DataError("no probabilities and no labels; expected at least one row")
    _check_range("label", labels, probabilities.shape[1])
    return probabilities, labels


def check_label_sets(probabilities, labels):
    """Return the probabilities of labels as a float64 array (N, C) and which hold as bool (N, C).

    Raises
    ------
    DataError
        If there are no rows, the shapes differ, a probability is not one, or a label not 0 or 1.
    """
    values, labels = floats(probabilities), floats(labels)
    if values.ndim != 2 or values.shape != labels.shape or not values.size:
        raise DataError(f"probabilities of shape {values.shape} for labels of shape "
                        f"{labels.shape}; expected (rows, labels) of both, and at least one row")
    for name, wrong, array, expected in (
            ("probabilities", ~((values >= 0) & (values <= 1)), values,
             "0 to 1 (the sigmoid of the logits)"),
            ("labels", (labels != 0) & (labels != 1), labels, "0 or 1")):
        if wrong.any():
            row, label = np.argwhere(wrong)[0]
            raise DataError(f"{name} of row {row} hold {array[row, label]:.4g} for label {label}; "
                            f"expected {expected}")
    return values, labels == 1


def decisions(probabilities, labels):
    """Return what is decided with which probability (M,), and whether it is so, as bool (M,).

    Of class numbers (N,) that is the class each row is given, with its confidence; of label sets
    (N, C) it is each label of each row.

    Raises
    ------
    DataError
        As `check_probabilities` or `check_label_sets`.
    """
    if np.ndim(labels) == 2:
        probabilities, labels = check_label_sets(probabilities, labels)
        return probabilities.ravel(), labels.ravel()
    probabilities, labels = check_probabilities(probabilities, labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def floats(values):
    """Return numbers as a float64 array, from a tensor of any type too."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double()  # by way of torch: numpy has no bfloat16
    return np.asarray(values, dtype=np.float64)


def distributions(probabilities):
    """Return probabilities as a float64 array (N, C), each row of which adds up to 1."""
    values = floats(probabilities)
    if values.ndim != 2 or not values.shape[1]:
        raise DataError(f"probabilities of shape {values.shape}; expected (rows, classes)")
    wrong = ~((values >= 0).all(axis=1) & (abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"probabilities of row {row} range from {values[row].min():.4g} to "
                        f"{values[row].max():.4g} and add up to {values[row].sum():.4g}; expected "
                        "0 to 1 and a sum of 1 (the softmax of the logits)")
    return values


def class_numbers(name, values):
    """Return whole numbers as an int64 array (N,)."""
    values = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    values = np.asarray(values)
    if values.ndim != 1 or (len(values) and values.dtype.kind not in "iu"):
        raise DataError(f"{name} are {values.dtype} of shape {values.shape}; "
                        "expected whole numbers in one dimension")
    return values.astype(np.int64)


def _check_range(name, values, num_classes):
    outside = (values < 0) | (values >= num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(f"{name} of row {row} is {values[row]}; "
                        f"expected a class from 0 to {num_classes - 1}")
