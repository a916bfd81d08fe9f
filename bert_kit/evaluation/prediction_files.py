"""Tables that a person will open in a spreadsheet: predictions, and tables of results.

Cells that a spreadsheet would run as formulas are guarded, see `bert_kit.cells`; the kit's readers
take the guard off. Other programs see it: switch it off for files that only they read.

Which columns a file of predictions has depends on the task, and so there are a function for the
header and one for the cells of each kind: classes, label sets, numbers.
"""

import contextlib
import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bert_kit.cells import guard_formula, guard_line
from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import (Rows, Values, check_range, class_numbers,
                                               distributions, floats)
from bert_kit.files import atomic_file
from bert_kit.printing import spelled_out

Cell = str | float | int | None
Cells = list[list[Cell]]  # of some rows
Texts = Sequence[str | Sequence[str]]  # or pairs of them
_MORE_LINES = re.compile("[\r\n]")
DIGITS = 6  # of a probability behind the point


class PredictionWriter:
    """A table of rows that arrive in chunks; the file appears when the `with` block ends well.

    It is written as the kit's reader takes a file of that name: a path that ends in .tsv or .tab
    has tabs between cells, one in .jsonl, .ndjson or .json an object a line, and all else is CSV.
    Texts and names are quoted, numbers are not.

    Parameters
    ----------
    target
        A path is replaced in one step at the end. An open file such as `sys.stdout` is written as
        the rows come, and left open.
    columns
        The header, as from `class_columns`, `label_set_columns` or `number_columns`.
    guard_formulas
        Whether cells that a spreadsheet would run get a mark in front.

    Attributes
    ----------
    rows
        Number of rows written so far.

    Examples
    --------
    >>> import sys
    >>> with PredictionWriter(sys.stdout, class_columns(["ham", "spam"])) as writer:
    ...     writer.write(class_cells(["win now"], [1], [[0.25, 0.75]], ["ham", "spam"]))
    "text","prediction","confidence","probability_ham","probability_spam"
    "win now","spam",0.75,0.25,0.75
    """

    def __init__(self, target: str | Path | TextIO, columns: Sequence[str],
                 guard_formulas: bool = True) -> None:
        self.target, self.columns = target, tuple(columns)
        self.guard_formulas = guard_formulas
        self.rows = 0
        self._open = contextlib.ExitStack()
        self._write_row: Callable[[Sequence[Cell]], object]

    def __enter__(self) -> "PredictionWriter":
        with contextlib.ExitStack() as stack:
            handle = self.target
            if isinstance(handle, str | os.PathLike):
                temporary = stack.enter_context(atomic_file(handle))
                # Half a surrogate pair is no character: better \udc80 in the file than no file.
                handle = stack.enter_context(open(temporary, "w", newline="", encoding="utf-8",
                                                  errors="backslashreplace"))
            elif handle.isatty():
                handle = _Terminal(handle)
            suffix = (Path(self.target).suffix.lower()
                      if isinstance(self.target, str | os.PathLike) else "")
            self._write_row = _row_writer(handle, suffix, self.columns, self.guard_formulas)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error) -> bool | None:
        return self._open.__exit__(*error)

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write a chunk of rows, each with a cell a column.

        Raises
        ------
        DataError
            If a row has more cells or fewer. No row of the chunk is written then.
        """
        rows = list(rows)
        for row in rows:
            if len(row) != len(self.columns):
                raise DataError(f"a row of {len(row)} cells for the columns "
                                f"{', '.join(self.columns)}; expected a cell for each")
        for row in rows:
            self._write_row(row)
        self.rows += len(rows)


class _Terminal:
    """A terminal that shows control characters, as of a stranger's class names, and obeys none."""

    def __init__(self, handle: TextIO) -> None:
        self.handle = handle

    def write(self, text: str) -> int:
        return self.handle.write("\n".join(map(spelled_out, text.split("\n"))))


def _row_writer(handle: TextIO | _Terminal, suffix: str, columns: Sequence[str],
                guard: bool) -> Callable[[Sequence[Cell]], object]:
    """Return what writes a row of cells; the header, where there is one, is written."""
    if suffix in (".jsonl", ".ndjson", ".json"):
        return lambda row: handle.write(json.dumps(
            dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
    tabs = suffix in (".tsv", ".tab")
    # Quoted text stays one cell also where spreadsheets expect semicolons.
    writer = csv.writer(handle, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONNUMERIC,
                        lineterminator="\n")
    # A line of a quoted text that has tabs looks like a row; see the reader of tables.
    write = writer.writerow if not guard else lambda row: writer.writerow(
        guard_line(cell) if tabs and isinstance(cell, str) and _MORE_LINES.search(cell)
        else guard_formula(cell) for cell in row)
    write(columns)
    return write


def class_columns(class_names: Sequence[str], labelled: bool = False,
                  text_columns: Sequence[str] = ("text",)) -> list[str]:
    """Return the header over `class_cells`.

    It is `text`, `category` (where the true classes are known: `labelled`), `prediction`,
    `confidence` (the probability of the prediction), and `probability_<class>` for each class.
    `text_columns` are names for the columns of the texts; two for pairs.
    """
    return [*text_columns, *["category"] * labelled, "prediction", "confidence",
            *(f"probability_{name}" for name in class_names)]


def class_cells(texts: Texts, predictions: Values, probabilities: Values,
                class_names: Sequence[str], labels: Values | None = None) -> Cells:
    """Return the cells of texts (N) with class numbers (N,) and probabilities (N, C).

    `labels` are the true class numbers (N,). Probabilities are rounded to 6 digits.

    Raises
    ------
    DataError
        If the lengths differ, a number is not a class, or a row of probabilities does not add up
        to 1.
    """
    if not len(texts):
        return []
    shares = distributions(probabilities)
    columns = [class_numbers(name, numbers) for name, numbers in (
        ("labels", labels), ("predictions", predictions)) if numbers is not None]
    _check_shapes(texts, [shares], len(class_names))
    _check_shapes(texts, columns)
    for classes in columns:
        check_range("class", classes, len(class_names))
    confidence = shares[np.arange(len(texts)), columns[-1]]
    values = np.column_stack([confidence, shares]).round(DIGITS).tolist()
    names = [[class_names[number] for number in classes] for classes in columns]
    return [[*text, *named, *row] for text, named, row in zip(
        map(_texts, texts), zip(*names, strict=True), values, strict=True)]


def label_set_columns(class_names: Sequence[str], labelled: bool = False,
                      text_columns: Sequence[str] = ("text",)) -> list[str]:
    """Return the header over `label_set_cells`.

    It is `text`, `labels` (where the true ones are known: `labelled`), `prediction` and
    `probability_<label>` for each label. `text_columns` are as in `class_columns`.
    """
    return [*text_columns, *["labels"] * labelled, "prediction",
            *(f"probability_{name}" for name in class_names)]


def label_set_cells(texts: Texts, predictions: Values, probabilities: Values,
                    class_names: Sequence[str], labels: Values | None = None) -> Cells:
    """Return the cells of texts (N) with label sets (N, C) of bool and probabilities (N, C).

    Several names of a cell have a | between them; names that hold one come as a JSON list. So the
    kit's reader of label lists reads them. `labels` are the true label sets (N, C).

    Raises
    ------
    DataError
        If a shape is another.

    Examples
    --------
    >>> label_set_cells(["what!", "hm"], [[1, 1], [0, 0]], [[0.75, 0.5], [0.25, 0.125]],
    ...                 ["joy", "anger"])
    [['what!', 'joy|anger', 0.75, 0.5], ['hm', '', 0.25, 0.125]]
    """
    if not len(texts):
        return []
    sets = [np.asarray(one) for one in (labels, predictions) if one is not None]
    numbers = floats(probabilities)
    _check_shapes(texts, [numbers, *sets], len(class_names))
    return [[*_texts(text), *(_joined(class_names, holds) for holds in own), *values]
            for text, *own, values in zip(texts, *sets, numbers.round(DIGITS).tolist(),
                                          strict=True)]


def number_columns(labelled: bool = False, text_columns: Sequence[str] = ("text",)) -> list[str]:
    """Return the header over `number_cells`: `text`, `label` (if `labelled`) and `prediction`.

    `text_columns` are as in `class_columns`.
    """
    return [*text_columns, *["label"] * labelled, "prediction"]


def number_cells(texts: Texts, predictions: Values, labels: Values | None = None) -> Cells:
    """Return the cells of texts (N) with predicted numbers (N,), and the true ones (N,) if known.

    Raises
    ------
    DataError
        If there are not as many.

    Examples
    --------
    >>> number_cells([("one", "two")], [2.5])
    [['one', 'two', 2.5]]
    """
    columns = [floats(one) for one in (labels, predictions) if one is not None]
    _check_shapes(texts, columns)
    return [[*_texts(text), *row]
            for text, row in zip(texts, np.stack(columns, 1).round(DIGITS).tolist(), strict=True)]


def _check_shapes(texts: Texts, arrays: Iterable[np.ndarray], *width: int) -> None:
    for array in arrays:
        if array.shape != (len(texts), *width):
            raise DataError(f"{len(texts)} texts but an array of shape {array.shape}; expected "
                            f"{(len(texts), *width)}")


def _texts(text: str | Sequence[str]) -> Sequence[str]:
    """Return a text, or a pair of them, as the cells that hold it."""
    return [text] if isinstance(text, str) else text


def _joined(class_names: Sequence[str], holds: np.ndarray) -> str:
    """Return the names of a label set as one cell."""
    names = [name for name, one in zip(class_names, holds, strict=True) if one]
    text = "|".join(names)
    return json.dumps(names) if text.count("|") >= max(1, len(names)) or text[:1] == "[" else text


def write_predictions(path: str | Path | TextIO, texts: Texts, predictions: Values,
                      probabilities: Values, class_names: Sequence[str],
                      labels: Values | None = None, guard_formulas: bool = True) -> None:
    """Write all predictions of classes at once; parameters as of `class_cells`."""
    with PredictionWriter(path, class_columns(class_names, labels is not None),
                          guard_formulas) as writer:
        writer.write(class_cells(texts, predictions, probabilities, class_names, labels))


def write_rows(path: str | Path | TextIO, rows: Rows, guard_formulas: bool = True) -> None:
    """Write dicts as a CSV, one line each; the columns are the keys in order of appearance.

    Parameters
    ----------
    path, guard_formulas
        As of `PredictionWriter`.
    rows
        Texts, numbers and None. A missing key, None or NaN is an empty cell.

    Raises
    ------
    DataError
        If there are no rows, or a value is something else.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        raise DataError("no rows to write; expected at least one with a value")
    cells = [[_cell(number, key, row.get(key)) for key in columns]
             for number, row in enumerate(rows)]
    with PredictionWriter(path, columns, guard_formulas) as writer:
        writer.write(cells)


def _cell(number: int, key: str, value: Any) -> Cell:
    """Return a value as the cell that holds it."""
    if isinstance(value, str) or value is None:
        return value or ""
    value = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
    if not isinstance(value, int | float):
        raise DataError(f"row {number}: {key!r} is a {type(value).__name__}; "
                        "expected text, a number or None")
    return "" if math.isnan(value) else value
