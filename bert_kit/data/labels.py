"""What the label of a row may be: one class, any number of labels, or a number.

A kind says which columns hold the label, how a cell is read, and how labels become the numbers of
a part. It is given wherever a label column is asked for; a plain name there means `OneClass`.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from bert_kit.data.read.text_lines import FORBIDDEN, check_text
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.files import parse_json

MOST_CLASSES = 100_000
FEW_ROWS = 20  # so few rows may well have a class each
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class OneClass:
    """One class a row, by its name; a whole number is a name too.

    Parameters
    ----------
    column : str
    order : callable
        Key by which the names are sorted.
    """

    column: str = "category"
    order: Callable = str
    word, is_trained_on = "class", True  # a split leaves every class a row to train on

    @property
    def columns(self):
        """The columns that hold the label."""
        return (self.column,)

    def read(self, where, values):
        """Return the label that the cells of a row of a file hold; `where` names the row."""
        value, = values
        value = str(value) if type(value) in (int, bool) else value
        check_text(where, self.column, value)
        if not value or value.isspace():
            raise DataError(f"{where}: {self.column!r} is empty; expected text")
        return value.strip()

    def take(self, where, label):
        """Return a label that was given in a list."""
        if not isinstance(label, str | Integral | np.bool_) or not _is_name(str(label)):
            raise DataError(f"{where}: the label is {label!r:.40}; expected a name or whole number")
        return str(label).strip()

    def names(self, label):
        """Return the names in a label."""
        return (label,)

    def classes(self, labels):
        """Return the names in all labels, in the order of their numbers."""
        return tuple(sorted(set(labels), key=self.order))

    def encode(self, labels, classes):
        """Return labels as a part has them: here class numbers, a list of int."""
        number_of = {name: number for number, name in enumerate(classes)}
        return [number_of[label] for label in labels]

    def text(self, label):
        """Return a label as one text; different labels give different texts."""
        return label

    def describe(self, labels, classes):
        """Return in a few words what there is to tell apart."""
        return f"{len(classes)} classes"

    def check(self, table, text_column):
        """Refuse training rows that nothing can be learned from, or that are hardly meant.

        Raises
        ------
        DataError
            Names the file and the column.
        """
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
    """What `LabelList` and `LabelColumns` share: a label is a sorted tuple of names."""

    word, is_trained_on = "label", False

    def take(self, where, label):
        """Return a label that was given in a list: a sequence of names."""
        listed = isinstance(label, Iterable) and not isinstance(label, str)
        names = list(label) if listed else [None]
        if not all(isinstance(name, str) and _is_name(name) for name in names):
            raise DataError(f"{where}: the labels are {label!r:.60}; expected names, none of them "
                            "empty")
        return tuple(sorted({name.strip() for name in names}))

    def names(self, label):
        """Return the names in a label."""
        return label

    def classes(self, labels):
        """Return the names in all labels, sorted."""
        return tuple(sorted({name for label in set(labels) for name in label}))

    def encode(self, labels, classes):
        """Return labels as an array of float32 (N, C), 1 where a label holds."""
        number_of = {name: number for number, name in enumerate(classes)}
        result = np.zeros((len(labels), len(classes)), dtype=np.float32)
        for row, label in enumerate(labels):
            result[row, [number_of[name] for name in label]] = 1
        return result

    def text(self, label):
        """Return a label as one text; different labels give different texts."""
        return json.dumps(label)

    def describe(self, labels, classes):
        """Return in a few words what there is to tell apart."""
        return f"{len(classes)} labels, {sum(map(len, labels)) / len(labels):.2f} a row"

    def check(self, table, text_column):
        """Refuse training rows without any label, or with hardly one that comes twice."""
        names, rows = LabelSets.classes(self, table.labels), len(table.labels)
        if not names:
            raise DataError(f"{table.path}: no row of {rows:,} has a label; expected some")
        if _too_many(names, rows):
            raise DataError(f"{table.path}: {len(names):,} different labels in {rows:,} rows, such "
                            f"as {names[0]!r:.60}; expected few labels in many rows (is there "
                            "another separator?)")


@dataclass(frozen=True)
class LabelList(LabelSets):
    """Any number of labels a row, listed in one column; an empty cell means none of them.

    A cell that begins with `[` is a JSON list of names; others are names with separators between.

    Parameters
    ----------
    column : str
    separator : str

    Examples
    --------
    >>> kind = LabelList("labels")
    >>> kind.read("line 2", ["joy|anger"]), kind.read("line 3", ['["joy"]']), kind.read("", [""])
    (('anger', 'joy'), ('joy',), ())
    """

    column: str = "labels"
    separator: str = "|"

    def __post_init__(self):
        if not isinstance(self.separator, str) or not self.separator or self.separator == "[":
            raise ConfigError(f"separator of labels is {self.separator!r}; expected a character "
                              "such as '|'")

    @property
    def columns(self):
        """The columns that hold the label."""
        return (self.column,)

    def read(self, where, values):
        """Return the sorted names that the cell of a row holds, as a tuple."""
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


@dataclass(frozen=True)
class LabelColumns(LabelSets):
    """Any number of labels a row, a column of 0 and 1 each; the columns' names are the labels.

    Parameters
    ----------
    columns : tuple of str
        See `column_names`.

    Examples
    --------
    >>> LabelColumns(("joy", "anger")).read("line 2", ["1", "0"])
    ('joy',)
    """

    columns: tuple[str, ...]

    def __post_init__(self):
        if isinstance(self.columns, str) or not self.columns:
            raise ConfigError(f"columns of labels are {self.columns!r}; expected a list of names")

    def read(self, where, values):
        """Return the sorted names of the columns that hold 1 in a row."""
        flags = [FLAGS.get(str(value).strip().lower()) for value in values]
        if None in flags:
            place = flags.index(None)
            raise DataError(f"{where}: {self.columns[place]!r} is {values[place]!r:.40}; expected "
                            "0 or 1")
        return tuple(sorted(name for name, holds in zip(self.columns, flags) if holds))

    def classes(self, labels):
        """Return the names of all columns, sorted."""
        return tuple(sorted(self.columns))


@dataclass(frozen=True)
class Number:
    """A number a row, to be learned as it is.

    Parameters
    ----------
    column : str
    """

    column: str = "label"
    word, is_trained_on = "number", False

    @property
    def columns(self):
        """The columns that hold the label."""
        return (self.column,)

    def read(self, where, values):
        """Return the number in the cell of a row as a float."""
        return self._number(f"{where}: {self.column!r}", values[0])

    def take(self, where, label):
        """Return a label that was given in a list."""
        return self._number(f"{where}: the label", label)

    def _number(self, what, value):
        try:
            number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{what} is {value!r:.40}; expected a number")
        return number

    def names(self, label):
        """Return the names in a label: none."""
        return ()

    def classes(self, labels):
        """Return one name, that of the column: a model has one output."""
        return (self.column,)

    def encode(self, labels, classes):
        """Return labels as an array of float32 (N,)."""
        return np.array(labels, dtype=np.float32)

    def text(self, label):
        """Return a label as one text; different labels give different texts."""
        return repr(label)

    def describe(self, labels, classes):
        """Return in a few words what there is to tell."""
        return f"numbers from {min(labels):g} to {max(labels):g}"

    def check(self, table, text_column):
        """Refuse training rows that all have the same number."""
        if min(table.labels) == max(table.labels):
            raise DataError(f"{table.path}: {self.column!r} is {table.labels[0]:g} in all "
                            f"{len(table.labels):,} rows; expected different numbers")


def _is_name(text):
    return bool(text and not text.isspace() and not FORBIDDEN.search(text))


def _too_many(classes, rows):
    return len(classes) > MOST_CLASSES or rows > FEW_ROWS and len(classes) > rows / 2
