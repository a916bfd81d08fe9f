"""The labelled parts of a job: rows to train on, to choose by, and to score once.

Classes are numbered in sorted order, whatever order the rows have. The numbers, the split and the
fingerprint are those of the rows: the same for files and for lists.
"""

import hashlib
import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

from bert_kit.data.draws import check_seed
from bert_kit.data.split_file import split_rows
from bert_kit.errors import ConfigError, DataError

PARTS = ("train", "validation", "test")
MOST_CLASSES = 100_000
FEW_ROWS = 20  # so few rows may well have a class each

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Part:
    """Rows of one kind: `texts`, and their class numbers in `labels`."""

    texts: list[str]
    labels: list[int]

    def __len__(self):
        return len(self.texts)


@dataclass(frozen=True)
class LabelledParts:
    """What a classifier is trained, chosen and scored on.

    Attributes
    ----------
    train : Part
    validation, test : Part or None
        None where there is no such part.
    classes : tuple of str
        The name of each class number, sorted.
    fingerprint : str
        SHA-256 of all texts and labels as given, before any split: equal for equal data, whatever
        the files are called and however they are quoted.
    in_train_too : int
        Test texts that also stand in the training rows, but for case, spaces and punctuation. A
        score on those measures memory.
    description : str
        One line for people: where each part comes from, and its size.
    """

    train: Part
    validation: Part | None
    test: Part | None
    classes: tuple[str, ...]
    fingerprint: str
    in_train_too: int
    description: str


def make_parts(tables, ratios, seed, split_file, columns, order=str):
    """Cut, number and count the rows of tables.

    Parameters
    ----------
    tables : dict of Table
        By part; "train" is among them.
    ratios : dict of float
        What the rows of the table "train" are cut into: "train" and parts without a table.
    seed, split_file
        As in `split_rows`.
    columns : (str, str)
        What messages call the texts and the labels.
    order : callable
        Key by which class names are sorted.

    Raises
    ------
    DataError
        As `read_parts`.
    """
    train = tables["train"]
    _check_classes(train, columns)
    for table in tables.values():  # before the split is stored; a cut leaves each class a row
        _check_known(table, range(len(table.labels)), set(train.labels))
    names = {part: _shown(table.path) for part, table in tables.items()}
    fingerprint = _fingerprint(tables)
    rows, stored = split_rows(train.labels, ratios, seed, split_file, fingerprint, names)
    classes = sorted({train.labels[row] for row in rows["train"]}, key=order)
    number_of = {name: number for number, name in enumerate(classes)}
    parts, places = {}, []
    for part in PARTS:
        if part in ratios or part in tables:
            table = tables.get(part, train)
            parts[part] = _numbered(table, rows.get(part, range(len(table.texts))), number_of)
            places.append(f"{part} {len(parts[part]):,} of {len(table.texts):,} rows of "
                          f"{names.get(part, names['train'])}")
    if len(ratios) > 1:
        places.append(f"cut as stored in {_shown(split_file)}" if stored
                      else f"cut with seed {seed}")
    places.append(f"{len(classes)} classes")
    shared = _in_train_too(parts["train"], parts.get("test"))
    if shared:
        places.append(f"{shared:,} test texts also stand in train")
    return LabelledParts(parts["train"], parts.get("validation"), parts.get("test"),
                         tuple(classes), fingerprint, shared, "; ".join(places))


def _check_classes(table, columns):
    text_column, label_column = columns
    rows, classes = len(table.labels), set(table.labels)
    if len(classes) < 2:
        raise DataError(f"{table.path}: {label_column!r} is {min(classes)!r:.40} in all {rows:,} "
                        "rows; expected two classes or more")
    if len(classes) > MOST_CLASSES or rows > FEW_ROWS and len(classes) > rows / 2:
        swapped = len(set(table.texts)) <= rows / 2
        hint = f", and {text_column!r} like the class" if swapped else ""
        raise DataError(f"{table.path}: {label_column!r} has {len(classes):,} different values in "
                        f"{rows:,} rows; it looks like the text{hint}; expected the class of a "
                        "row as label column")


def _check_known(table, rows, known):
    """Check that every class of some rows of a table has a training row."""
    for row in rows:
        if table.labels[row] not in known:
            raise DataError(f"{table.where(row)}: the class {table.labels[row]!r:.40} has no row "
                            f"in the training part; expected one of "
                            f"{', '.join(map(repr, sorted(known)))[:200]}")


def _fingerprint(tables):
    """Return the SHA-256 of the rows; lengths keep neighbours apart, whatever they hold."""
    digest = hashlib.sha256()
    for part, table in tables.items():
        digest.update(f"{part} {len(table.texts)}:".encode())
        for text, label in zip(table.texts, table.labels):
            digest.update(f"{len(text)} {len(label)}:{text}{label}".encode())
    return digest.hexdigest()


def _numbered(table, rows, number_of):
    """Return some rows of a table as a part."""
    _check_known(table, rows, number_of.keys())  # a stored split may be anyone's
    return Part([table.texts[row] for row in rows],
                [number_of[table.labels[row]] for row in rows])


def _in_train_too(train, test):
    """Count the test texts that the training part holds too."""
    keys = [_key(text) for text in test.texts] if test else []
    tested = set(keys)
    shared = {key for key in map(_key, train.texts) if key in tested} if keys else ()
    return sum(key in shared for key in keys)


def _key(text):
    """Return a number that texts share when they differ in case, spaces and marks only."""
    return hash(_NOT_ALPHANUMERIC.sub("", text.casefold()) or text)  # "!" and "?" stay different


def _shown(path):
    """Return a name to store and print: without the folders of this machine, and always text."""
    path = Path(path)
    name = path.name if path.is_absolute() else str(path)
    return name.encode("utf-8", "backslashreplace").decode()


def limit(part, count, seed=0):
    """Return `count` rows of a part, drawn so that the class shares stay.

    Every class keeps a row, unless there are more classes than rows to keep. The order stays.

    Parameters
    ----------
    part : Part
    count : int
    seed : int

    Raises
    ------
    ConfigError
        If the count is not a whole number from 1.

    Examples
    --------
    >>> limit(Part(["a", "b", "c", "d", "e"], [0, 0, 0, 0, 1]), 3).labels
    [0, 0, 1]
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        raise ConfigError(f"the number of rows to keep is {count!r}; expected a whole number "
                          "from 1")
    if count >= len(part):
        return part
    labels, generator = np.array(part.labels), np.random.default_rng(check_seed(seed))
    mixed = generator.permutation(len(labels))
    rows = mixed[labels[mixed].argsort(kind="stable")]  # class by class, each in a random order
    _, first, sizes = np.unique(labels[rows], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(first, sizes)
    # The smaller, the sooner a row is taken: evenly from each class, and one of each before all.
    turn = np.where(rank == 0, 0, (rank + 0.5) / np.repeat(sizes, sizes))
    order = np.lexsort((generator.random(len(rows)), turn))
    kept = np.sort(rows[order[:count]]).tolist()
    return Part([part.texts[row] for row in kept], [part.labels[row] for row in kept])
