"""What the rows of a dataset are to learn, checked row by row: classes, numbers, label sets."""

import numpy as np
import torch

from bert_kit.errors import DataError

LARGEST_WEIGHT = float(np.finfo(np.float32).max)


def row_labels(texts, labels):
    """Return the labels of the texts, checked.

    Parameters
    ----------
    texts : list
    labels : sequence of int, or array or Tensor
        Class numbers from 0. An *array* of floats (N,) holds numbers to be learned, an array
        (N, C) of 0 and 1 says which labels a text has.

    Returns
    -------
    list of int, or array of float32 (N,) or (N, C)

    Raises
    ------
    DataError
        If there are not as many as texts, or a row's label is none of these; names the row.
    """
    values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    if not isinstance(values, np.ndarray) or values.ndim == 1 and values.dtype.kind != "f":
        return _one_each(texts, values, "labels", _class_number)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiub" or not values[:1].size:
        raise DataError(f"labels are {values.dtype} of shape {values.shape}; expected one number a "
                        "text, or 0 and 1 of shape (texts, labels)")
    if len(values) != len(texts):
        raise DataError(f"{len(texts)} texts but {len(values)} labels; expected as many of each")
    wrong = ~np.isfinite(values) if values.ndim == 1 else ((values != 0) & (values != 1)).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"label of row {row} is {str(values[row]):.40}; expected "
                        f"{'a finite number' if values.ndim == 1 else '0 and 1'}")
    result = values.astype(np.float32)
    result.flags.writeable = False  # rows are handed out as they are
    return result


def row_weights(texts, weights):
    """Return the weights of the texts as an array of float32 (N,), or None for None.

    Raises
    ------
    DataError
        If there are not as many as texts, or one is not a finite number from 0; names the row.
    """
    if weights is None:
        return None
    return np.array(_one_each(texts, weights, "sample_weights", _weight), dtype=np.float32)


def _one_each(texts, values, name, convert):
    """Return `convert(row, value)` for the value of each text."""
    values = list(values)
    if len(values) != len(texts):
        raise DataError(f"{len(texts)} texts but {len(values)} {name}; expected as many of each")
    return [convert(row, value) for row, value in enumerate(values)]


def _class_number(row, label):
    """Return a label as a Python int."""
    try:
        number = int(label)
    except (TypeError, ValueError, OverflowError):  # a list, a name, infinity
        number = None
    if number is None or isinstance(label, bool) or number != label or number < 0:
        raise DataError(f"label of row {row} is {label!r:.40}; expected a class number from 0")
    return number


def _weight(row, value):
    """Return a weight as a Python float."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a list, a name, 10**400
        number = None
    if (number is None or isinstance(value, bool) or number != value
            or not 0 <= number <= LARGEST_WEIGHT):
        raise DataError(f"sample_weights of row {row} is {value!r:.40}; expected a finite number "
                        "from 0")
    return number
