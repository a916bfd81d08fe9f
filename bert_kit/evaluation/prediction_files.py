"""CSV files that a person will open in a spreadsheet: predictions, and tables of results.

A spreadsheet runs a cell that starts with `=`, `+`, `-` or `@` as a formula, and labelled texts
come from strangers. Such cells get an apostrophe in front, which spreadsheets read as "this is
text" (CWE-1236). It does change the text: switch it off for files that only programs read.
"""

import contextlib
import csv
import json
import math
import re

import numpy as np

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import class_numbers, distributions, floats
from bert_kit.files import atomic_file

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
DIGITS = 6  # of a probability behind the point
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def guard_formula(cell):
    """Put an apostrophe in front of a text that a spreadsheet would run; return others as is.

    Numbers are safe, also those that are written out.

    Examples
    --------
    >>> guard_formula("=1+1"), guard_formula("-1.5"), guard_formula(-1.5), guard_formula("a=1")
    ("'=1+1", '-1.5', -1.5, 'a=1')
    """
    if not isinstance(cell, str) or not cell.startswith(FORMULA_STARTS):
        return cell
    return cell if _NUMBER.fullmatch(cell) else "'" + cell


class PredictionWriter:
    """A CSV of predictions that arrive in chunks; the file appears when the `with` block ends well.

    Columns: `text`, `category` (with labels), `prediction`, `confidence` (the probability of the
    prediction), and `probability_<class>` for each class, rounded to 6 digits. Texts and names are
    quoted, numbers are not. `LabelSetWriter` and `NumberWriter` are for other answers.

    Parameters
    ----------
    target : path or text file
        A path is replaced in one step at the end. An open file such as `sys.stdout` is written as
        the rows come, and left open.
    class_names : sequence of str
        One name a class, in the order of the class numbers.
    with_labels : bool
        Whether the true classes are known and written.
    guard_formulas : bool
        Whether cells that a spreadsheet would run get an apostrophe in front.
    text_columns : sequence of str
        Names for the columns of the texts; two for pairs.

    Examples
    --------
    >>> import sys
    >>> with PredictionWriter(sys.stdout, ["ham", "spam"]) as writer:
    ...     writer.write(["win now"], [1], [[0.25, 0.75]])
    "text","prediction","confidence","probability_ham","probability_spam"
    "win now","spam",0.75,0.25,0.75
    """

    label_column = "category"

    def __init__(self, target, class_names, with_labels=False, guard_formulas=True,
                 text_columns=("text",)):
        self.target, self.class_names = target, tuple(class_names)
        self.with_labels, self.guard_formulas = with_labels, guard_formulas
        self.text_columns = text_columns
        self.rows = 0  # written so far

    def __enter__(self):
        header = [*self.text_columns, *[self.label_column] * self.with_labels, *self._columns()]
        self._rows = _csv_rows(self.target, header, self.guard_formulas)
        self._write_row = self._rows.__enter__()
        return self

    def __exit__(self, *error):
        return self._rows.__exit__(*error)

    def write(self, texts, predictions, probabilities, labels=None):
        """Write a chunk of rows.

        Parameters
        ----------
        texts : sequence of str, or of (str, str), (N,)
        predictions : sequence, array or tensor of int, (N,)
            Class numbers.
        probabilities : array or tensor of float, (N, C)
        labels : sequence, array or tensor of int, (N,), optional
            True class numbers; needed if and only if the writer is `with_labels`.

        Raises
        ------
        DataError
            If the lengths differ, a number is not a class, or a row of probabilities does not add
            up to 1. No row of the chunk is written then.
        """
        if (labels is not None) != self.with_labels:
            raise DataError(f"labels are {'missing' if self.with_labels else 'given'}; expected "
                            f"{'them' if self.with_labels else 'none'} as in the header")
        if not len(texts):
            return
        cells = self._cells(texts, predictions, probabilities, labels)
        for text, own in zip(texts, cells):
            self._write_row([*([text] if isinstance(text, str) else text), *own])
        self.rows += len(texts)

    def _columns(self):
        return ["prediction", "confidence", *(f"probability_{name}" for name in self.class_names)]

    def _cells(self, texts, predictions, probabilities, labels):
        """Return the cells of each row but its texts, after all checks."""
        probabilities = distributions(probabilities)
        predictions = self._classes("predictions", predictions)
        columns = [predictions] if labels is None else [self._classes("labels", labels),
                                                        predictions]
        lengths = {len(texts), len(probabilities), *map(len, columns)}
        if len(lengths) > 1 or probabilities.shape[1] != len(self.class_names):
            raise DataError(f"{len(texts)} texts, {len(predictions)} predictions and probabilities "
                            f"of shape {probabilities.shape}; expected as many rows of each, and "
                            f"{len(self.class_names)} classes")
        confidence = probabilities[np.arange(len(texts)), predictions]
        numbers = np.column_stack([confidence, probabilities]).round(DIGITS).tolist()
        return [[*(self.class_names[i] for i in classes), *values]
                for *classes, values in zip(*columns, numbers)]

    def _classes(self, name, numbers):
        numbers = class_numbers(name, numbers)
        outside = (numbers < 0) | (numbers >= len(self.class_names))
        if outside.any():
            row = int(outside.argmax())
            raise DataError(f"{name}: row {self.rows + row} is {numbers[row]}; expected a class "
                            f"from 0 to {len(self.class_names) - 1}")
        return numbers


class LabelSetWriter(PredictionWriter):
    """The same for texts with any number of labels: `predictions` and `labels` are (N, C) of bool.

    Columns: `text`, `labels` (with labels), `prediction` and `probability_<label>`. Several names
    of a cell have a | between them; names that hold one come as a JSON list. So `LabelList` reads
    them.

    Examples
    --------
    >>> import sys
    >>> with LabelSetWriter(sys.stdout, ["joy", "anger"]) as writer:
    ...     writer.write(["what!", "hm"], [[1, 1], [0, 0]], [[0.75, 0.5], [0.25, 0.125]])
    "text","prediction","probability_joy","probability_anger"
    "what!","joy|anger",0.75,0.5
    "hm","",0.25,0.125
    """

    label_column = "labels"

    def _columns(self):
        return ["prediction", *(f"probability_{name}" for name in self.class_names)]

    def _cells(self, texts, predictions, probabilities, labels):
        numbers = floats(probabilities)
        sets = [np.asarray(one) for one in ([predictions] if labels is None
                                            else [labels, predictions])]
        for array in (numbers, *sets):
            if array.shape != (len(texts), len(self.class_names)):
                raise DataError(f"{len(texts)} texts but an array of shape {array.shape}; expected "
                                f"a row a text, and {len(self.class_names)} labels")
        numbers = numbers.round(DIGITS).tolist()
        return [[*map(self._joined, own), *values] for *own, values in zip(*sets, numbers)]

    def _joined(self, holds):
        names = [name for name, one in zip(self.class_names, holds) if one]
        text = "|".join(names)
        return json.dumps(names) if text.count("|") >= max(1, len(names)) or text[:1] == "[" \
            else text


class NumberWriter(PredictionWriter):
    """The same for texts with a number: `predictions` and `labels` are (N,) of float.

    Columns: `text`, `label` (with labels) and `prediction`; no probabilities are looked at.

    Examples
    --------
    >>> import sys
    >>> with NumberWriter(sys.stdout, [], text_columns=("text_a", "text_b")) as writer:
    ...     writer.write([("one", "two")], [2.5], None)
    "text_a","text_b","prediction"
    "one","two",2.5
    """

    label_column = "label"

    def _columns(self):
        return ["prediction"]

    def _cells(self, texts, predictions, probabilities, labels):
        columns = [floats(one) for one in ([predictions] if labels is None
                                           else [labels, predictions])]
        for array in columns:
            if array.shape != (len(texts),):
                raise DataError(f"{len(texts)} texts but numbers of shape {array.shape}; expected "
                                "one a text")
        return np.stack(columns, 1).round(DIGITS).tolist()


def write_predictions(path, texts, predictions, probabilities, class_names, labels=None,
                      guard_formulas=True):
    """Write all predictions at once; parameters and columns as in `PredictionWriter`."""
    with PredictionWriter(path, class_names, labels is not None, guard_formulas) as writer:
        writer.write(texts, predictions, probabilities, labels)


def write_rows(path, rows, guard_formulas=True):
    """Write dicts as a CSV, one line each; the columns are the keys in order of appearance.

    Parameters
    ----------
    path : path or text file
        As in `PredictionWriter`.
    rows : sequence of dict
        Texts, numbers and None. A missing key, None or NaN is an empty cell.
    guard_formulas : bool
        Whether cells that a spreadsheet would run get an apostrophe in front.

    Raises
    ------
    DataError
        If there are no rows, or a value is something else.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        raise DataError("no rows to write; expected at least one with a value")
    lines = [[_cell(number, key, row.get(key)) for key in columns]
             for number, row in enumerate(rows)]
    with _csv_rows(path, columns, guard_formulas) as write_row:
        for line in lines:
            write_row(line)


def _cell(number, key, value):
    """Return a value as the cell that holds it."""
    if isinstance(value, str) or value is None:
        return value or ""
    value = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
    if not isinstance(value, int | float):
        raise DataError(f"row {number}: {key!r} is a {type(value).__name__}; "
                        "expected text, a number or None")
    return "" if math.isnan(value) else value


@contextlib.contextmanager
def _csv_rows(target, header, guard_formulas):
    """Yield a function that writes one row to a path (atomically) or to an open file."""
    with contextlib.ExitStack() as stack:
        handle = target
        if not hasattr(target, "write"):
            temporary = stack.enter_context(atomic_file(target))
            # Half a surrogate pair is no character: better \udc80 in the file than no file.
            handle = stack.enter_context(open(temporary, "w", newline="", encoding="utf-8",
                                              errors="backslashreplace"))
        # Quoted text stays one cell also where spreadsheets expect semicolons.
        writer = csv.writer(handle, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        guard = guard_formula if guard_formulas else lambda cell: cell

        def write_row(row):
            writer.writerow([guard(cell) for cell in row])

        write_row(header)
        yield write_row
