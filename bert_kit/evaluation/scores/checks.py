"""What predictions, labels and probabilities have to look like before they are scored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from bert_kit.checks import same_length
from bert_kit.errors import DataError

Values = ArrayLike | Tensor  # numbers as a list, an array or a tensor
Scores = dict[str, Any]  # by name, as JSON holds them
Rows = Sequence[Mapping[str, Any]]  # a table: a dict a row
SUM_TOLERANCE = 0.02  # half precision rounds the probabilities of a row by up to about 0.01


def check_classes(predictions: Values, labels: Values, num_classes: int | None = None
                  ) -> tuple[np.ndarray, np.ndarray, int]:
    """Return class numbers (N,) and (N,) as integer arrays, and the number of classes C.

    C is by default the largest number found, plus 1.

    Raises
    ------
    DataError
        If there are no rows, the lengths differ, or a number is not a class.
    """
    predictions = class_numbers("predictions", predictions)
    labels = class_numbers("labels", labels)
    if not same_length(predictions=predictions, labels=labels):
        raise DataError("no predictions and no labels; expected at least one row")
    if num_classes is None:
        num_classes = int(max(predictions.max(), labels.max())) + 1
    check_range("prediction", predictions, num_classes)
    check_range("label", labels, num_classes)
    return predictions, labels, num_classes


def check_probabilities(probabilities: Values, labels: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities as a float64 array (N, C) and labels as an integer array (N,).

    Raises
    ------
    DataError
        If there are no rows, a row is not a distribution over classes, or a label is not a class.
    """
    probabilities = distributions(probabilities)
    labels = class_numbers("labels", labels)
    if not same_length(probabilities=probabilities, labels=labels):
        raise DataError("no probabilities and no labels; expected at least one row")
    check_range("label", labels, probabilities.shape[1])
    return probabilities, labels


def check_label_sets(probabilities: Values, labels: Values) -> tuple[np.ndarray, np.ndarray]:
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


def decisions(probabilities: Values, labels: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return what is decided with which probability (M,), and whether it is so, as bool (M,).

    Of class numbers (N,) that is the class each row is given, with its confidence; of label sets
    (N, C) it is each label of each row.

    Raises
    ------
    DataError
        As `check_probabilities` or `check_label_sets`.
    """
    if are_label_sets(labels):
        values, labels = check_label_sets(probabilities, labels)
        return values.ravel(), labels.ravel()
    values, labels = check_probabilities(probabilities, labels)
    return values.max(axis=1), values.argmax(axis=1) == labels


def are_label_sets(labels: Values) -> bool:
    """Say whether labels are sets, 0 or 1 for each label of each row (N, C), not classes (N,)."""
    return np.ndim(labels) == 2  # a tensor has this too


def floats(values: Values) -> np.ndarray:
    """Return numbers as a float64 array, from a tensor of any type too."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double()  # by way of torch: numpy has no bfloat16
    return np.asarray(values, dtype=np.float64)


def distributions(probabilities: Values) -> np.ndarray:
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


def class_numbers(name: str, values: Values) -> np.ndarray:
    """Return whole numbers as an int64 array (N,)."""
    array = np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise DataError(f"{name} are {array.dtype} of shape {array.shape}; "
                        "expected whole numbers in one dimension")
    return array.astype(np.int64)


def check_range(name: str, numbers: np.ndarray, num_classes: int) -> None:
    """Check that each of some numbers (N,) is that of a class; the message names the row."""
    outside = (numbers < 0) | (numbers >= num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(f"{name} of row {row} is {numbers[row]}; "
                        f"expected a class from 0 to {num_classes - 1}")
