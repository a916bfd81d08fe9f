"""What the label of a row may be, and how labels become numbers.

A label is one class, any number of labels, or a number. Its kind says which columns hold it, how
a cell is read, and how labels become the numbers of a part. It is given wherever a label column
is asked for; a plain name there means `OneClass`. Who has the numbers already gives them to a
dataset, where `row_labels` checks them.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from bert_kit.checks import same_length
from bert_kit.data.read.text_lines import check_text, is_clean
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.parsing import parse_json

if TYPE_CHECKING:
    from bert_kit.data.read.tables import Table

MOST_CLASSES = 100_000
FEW_ROWS = 20  # so few rows may well have a class each
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
LARGEST_WEIGHT = float(np.finfo(np.float32).max)

L = TypeVar("L")  # a label as its kind reads it: a name, a tuple of names, a number
Names = tuple[str, ...]
Numbers = list[int] | np.ndarray  # class numbers; or float32, (N, C) of 0 and 1 or (N,)


class LabelKind(Protocol[L]):
    """How a label is read, and how labels become numbers. Another kind is a class with these.

    Attributes
    ----------
    word
        What messages call a name in a label.
    is_trained_on
        Whether a split leaves every name a row to train on.
    columns
        Those that hold the label.

    Methods
    -------
    read(where, values)
        Return the label that the cells of a row of a file hold; `where` names the row.
    take(where, label)
        Return a label that was given in a list.
    names(label)
        Return the names in a label.
    classes(labels)
        Return the names in all labels, in the order of their numbers.
    encode(labels, classes)
        Return labels as a part has them.
    text(label)
        Return a label as one text; different labels give different texts.
    describe(labels, classes)
        Return in a few words what there is to tell apart.
    check(table, text_column)
        Raise a DataError, which names file and column, for training rows that nothing can be
        learned from, or that are hardly meant.
    """

    word: str
    is_trained_on: bool

    @property
    def columns(self) -> Names: ...
    def read(self, where: str, values: Sequence[object]) -> L: ...
    def take(self, where: str, label: object) -> L: ...
    def names(self, label: L) -> Names: ...
    def classes(self, labels: Iterable[L]) -> Names: ...
    def encode(self, labels: Sequence[L], classes: Sequence[str]) -> Numbers: ...
    def text(self, label: L) -> str: ...
    def describe(self, labels: Sequence[L], classes: Sequence[str]) -> str: ...
    def check(self, table: "Table", text_column: str | Sequence[str]) -> None: ...


AnyKind = LabelKind[Any]


class InOneColumn:
    """What kinds of label share that stand in one column."""

    column: str

    @property
    def columns(self) -> Names:
        """The columns that hold the label."""
        return (self.column,)


@dataclass(frozen=True)
class OneClass(InOneColumn):
    """One class a row, by its name; a whole number is a name too.

    Labels are encoded as class numbers, a list of int.

    Parameters
    ----------
    order
        Key by which the names are sorted.
    """

    column: str = "category"
    order: Callable[[str], Any] = str
    word, is_trained_on = "class", True

    def read(self, where: str, values: Sequence[object]) -> str:
        value, = values
        if isinstance(value, list):
            raise DataError(f"{where}: {self.column!r} is a list, expected one text (any number of "
                            "labels a row is --task multi_label)")
        text = check_text(where, self.column, str(value) if type(value) in (int, bool) else value)
        if not text or text.isspace():
            raise DataError(f"{where}: {self.column!r} is empty; expected text")
        return text.strip()

    def take(self, where: str, label: object) -> str:
        name = str(label).strip() if isinstance(label, str | Integral | np.bool_) else ""
        if not is_clean(name):
            raise DataError(f"{where}: the label is {label!r:.40}; expected a name or whole number")
        return name

    def names(self, label: str) -> Names:
        return (label,)

    def classes(self, labels: Iterable[str]) -> Names:
        return tuple(sorted(set(labels), key=self.order))

    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> list[int]:
        number_of = {name: number for number, name in enumerate(classes)}
        return [number_of[label] for label in labels]

    def text(self, label: str) -> str:
        return label

    def describe(self, labels: Sequence[str], classes: Sequence[str]) -> str:
        return f"{len(classes)} classes"

    def check(self, table: "Table", text_column: str | Sequence[str]) -> None:
        rows, classes = len(table.labels), set(table.labels)
        if len(classes) < 2:
            raise DataError(f"{table.path}: {self.column!r} is {min(classes)!r:.40} in all "
                            f"{rows:,} rows; expected two classes or more")
        if _too_many(classes, rows):
            swapped = len(set(table.texts)) <= rows / 2
            hint = f", and {text_column!r} like the class" if swapped else ""
            raise DataError(f"{table.path}: {self.column!r} has {len(classes):,} different values "
                            f"in {rows:,} rows; it looks like the text{hint}; expected the class "
                            "of a row as label column")


class LabelSets:
    """What `LabelList` and `LabelColumns` share: a label is a sorted tuple of names.

    Labels are encoded as float32 (N, C), 1 where a label holds.
    """

    word, is_trained_on = "label", False

    def take(self, where: str, label: object) -> Names:
        listed = label if isinstance(label, Iterable) and not isinstance(label, str) else [None]
        whole = [str(name) if isinstance(name, Integral) and not isinstance(name, bool) else name
                 for name in listed]  # which is a name too
        names = {name.strip() if is_clean(name) else "" for name in whole}
        if "" in names:
            raise DataError(f"{where}: the labels are {label!r:.60}; expected names, none of them "
                            "empty")
        return tuple(sorted(names))

    def names(self, label: Names) -> Names:
        return label

    def classes(self, labels: Iterable[Names]) -> Names:
        return tuple(sorted({name for label in set(labels) for name in label}))

    def encode(self, labels: Sequence[Names], classes: Sequence[str]) -> np.ndarray:
        number_of = {name: number for number, name in enumerate(classes)}
        result = np.zeros((len(labels), len(classes)), dtype=np.float32)
        for row, label in enumerate(labels):
            result[row, [number_of[name] for name in label]] = 1
        return result

    def text(self, label: Names) -> str:
        return json.dumps(label)

    def describe(self, labels: Sequence[Names], classes: Sequence[str]) -> str:
        return f"{len(classes)} labels, {sum(map(len, labels)) / len(labels):.2f} a row"

    def check(self, table: "Table", text_column: str | Sequence[str]) -> None:
        names, rows = LabelSets.classes(self, table.labels), len(table.labels)
        if not names:
            raise DataError(f"{table.path}: no row of {rows:,} has a label; expected some")
        if _too_many(names, rows):
            raise DataError(f"{table.path}: {len(names):,} different labels in {rows:,} rows, such "
                            f"as {names[0]!r:.60}; expected few labels in many rows (is there "
                            "another separator?)")


@dataclass(frozen=True)
class LabelList(InOneColumn, LabelSets):
    """Any number of labels a row, listed in one column; an empty cell means none of them.

    A cell that begins with `[` is a JSON list of names; others are names with separators between.

    Examples
    --------
    >>> kind = LabelList("labels")
    >>> kind.read("line 2", ["joy|anger"]), kind.read("line 3", ['["joy"]']), kind.read("", [""])
    (('anger', 'joy'), ('joy',), ())
    """

    column: str = "labels"
    separator: str = "|"

    def __post_init__(self) -> None:
        if not isinstance(self.separator, str) or not self.separator or self.separator == "[":
            raise ConfigError(f"separator of labels is {self.separator!r}; expected a character "
                              "such as '|'")

    def read(self, where: str, values: Sequence[object]) -> Names:
        value, = values
        if isinstance(value, str):
            value = value.strip()
            if value.startswith("["):
                try:
                    value = parse_json(value, f"{where}: {self.column!r}")
                except BertKitError as error:
                    raise DataError(f'{error}; expected a list such as ["a", "b"]') from None
            else:
                value = value.split(self.separator) if value else []
        if not isinstance(value, list):
            raise DataError(f"{where}: {self.column!r} is {value!r:.40}; expected a list of names")
        return self.take(f"{where}: {self.column!r}", value)

    def check(self, table: "Table", text_column: str | Sequence[str]) -> None:
        super().check(table, text_column)
        names = self.classes(table.labels) if max(map(len, table.labels)) < 2 else ()
        for name, mark in itertools.product(names, ",;|\t".replace(self.separator, "")):
            parts = {part.strip() for part in name.split(mark)}
            if len(parts) > 1 and parts.issubset(names):
                raise DataError(f"{table.path}: the label {name!r:.60} is made of others with "
                                f"{mark!r} between, and no row has two labels; expected "
                                f"{self.separator!r} there, or --label_separator '{mark}'")


@dataclass(frozen=True)
class LabelColumns(LabelSets):
    """Any number of labels a row, a column of 0 and 1 each; the columns' names are the labels.

    Parameters
    ----------
    columns
        See `column_names`.

    Examples
    --------
    >>> LabelColumns(("joy", "anger")).read("line 2", ["1", "0"])
    ('joy',)
    """

    columns: Names

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or not self.columns:
            raise ConfigError(f"columns of labels are {self.columns!r}; expected a list of names")

    def read(self, where: str, values: Sequence[object]) -> Names:
        flags = [FLAGS.get(str(value).strip().lower()) for value in values]
        if None in flags:
            place = flags.index(None)
            raise DataError(f"{where}: {self.columns[place]!r} is {values[place]!r:.40}; expected "
                            "0 or 1")
        return tuple(sorted(name for name, holds in zip(self.columns, flags, strict=True) if holds))

    def classes(self, labels: Iterable[Names]) -> Names:
        return tuple(sorted(self.columns))  # also those that no row has


@dataclass(frozen=True)
class Number(InOneColumn):
    """A number a row, to be learned as it is; encoded as float32 (N,).

    Its one name is that of the column: a model has one output.
    """

    column: str = "label"
    word, is_trained_on = "number", False

    def read(self, where: str, values: Sequence[object]) -> float:
        return self._number(f"{where}: {self.column!r}", values[0])

    def take(self, where: str, label: object) -> float:
        return self._number(f"{where}: the label", label)

    def _number(self, what: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{what} is {value!r:.40}; expected a number")
        return number

    def names(self, label: float) -> Names:
        return ()

    def classes(self, labels: Iterable[float]) -> Names:
        return (self.column,)

    def encode(self, labels: Sequence[float], classes: Sequence[str]) -> np.ndarray:
        return np.array(labels, dtype=np.float32)

    def text(self, label: float) -> str:
        return repr(label)

    def describe(self, labels: Sequence[float], classes: Sequence[str]) -> str:
        return f"numbers from {min(labels):g} to {max(labels):g}"

    def check(self, table: "Table", text_column: str | Sequence[str]) -> None:
        if min(table.labels) == max(table.labels):
            raise DataError(f"{table.path}: {self.column!r} is {table.labels[0]:g} in all "
                            f"{len(table.labels):,} rows; expected different numbers")


def _too_many(classes: Sized, rows: int) -> bool:
    return len(classes) > MOST_CLASSES or rows > FEW_ROWS and len(classes) > rows / 2


def row_labels(texts: Sized, labels: Iterable[int] | np.ndarray | Tensor) -> Numbers:
    """Return the labels of the texts of a dataset, checked.

    Parameters
    ----------
    labels
        Class numbers from 0. An *array* of floats (N,) holds numbers to be learned, an array
        (N, C) of 0 and 1 says which labels a text has.

    Raises
    ------
    DataError
        If there are not as many as texts, or a row's label is none of these; names the row.
    """
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    if not isinstance(values, np.ndarray) or values.ndim == 1 and values.dtype.kind != "f":
        values = list(values)
        same_length(texts=texts, labels=values)
        return [_number_of_row("label", row, label, int, math.inf, "class number")
                for row, label in enumerate(values)]
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiub" or not values[:1].size:
        raise DataError(f"labels are {values.dtype} of shape {values.shape}; expected one number a "
                        "text, or 0 and 1 of shape (texts, labels)")
    same_length(texts=texts, labels=values)
    wrong = ~np.isfinite(values) if values.ndim == 1 else ((values != 0) & (values != 1)).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"label of row {row} is {str(values[row]):.40}; expected "
                        f"{'a finite number' if values.ndim == 1 else '0 and 1'}")
    result = values.astype(np.float32)
    result.flags.writeable = False  # rows are handed out as they are
    return result


def row_weights(texts: Sized, weights: Iterable[float] | None) -> np.ndarray | None:
    """Return the weights of the texts of a dataset as float32 (N,), or None for None.

    Raises
    ------
    DataError
        If there are not as many as texts, or one is not a finite number from 0; names the row.
    """
    if weights is None:
        return None
    values = list(weights)
    same_length(texts=texts, sample_weights=values)
    return np.array([_number_of_row("sample_weights", row, weight, float, LARGEST_WEIGHT,
                                    "finite number") for row, weight in enumerate(values)],
                    dtype=np.float32)


def _number_of_row(name: str, row: int, value: Any, kind: Callable[[Any], Any], most: float,
                   expected: str) -> Any:
    """Return a row's value as a Python int or float from 0."""
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):  # a list, a name, infinity
        number = None
    if (number is None or isinstance(value, bool) or number != value
            or not 0 <= number <= most):
        raise DataError(f"{name} of row {row} is {value!r:.40}; expected a {expected} from 0")
    return number
