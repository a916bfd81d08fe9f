"""The labelled parts of a job: rows to train on, to choose by, and to score once.

Classes and labels are numbered in sorted order, whatever order the rows have. The numbers, the
split and the fingerprint are those of the rows: the same for files and for lists.
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

from bert_kit.data.batches.seeding import check_seed
from bert_kit.data.split_file import split_rows
from bert_kit.errors import ConfigError, DataError

PARTS = ("train", "validation", "test")

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Part:
    """Rows of one part: `texts`, single ones or pairs, and what they are in `labels`.

    Labels are class numbers; or an array of float32, (N, C) of 0 and 1 for labels and (N,) for
    numbers.
    """

    texts: list[str] | list[tuple[str, str]]
    labels: list[int] | np.ndarray

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
        The name of each class or label, sorted; for numbers the one name of their column.
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


def make_parts(tables, ratios, seed, split_file, text_column, kind):
    """Cut, number and count the rows of tables.

    Parameters
    ----------
    tables : dict of Table
        By part; "train" is among them.
    ratios : dict of float
        What the rows of the table "train" are cut into: "train" and parts without a table.
    seed, split_file
        As in `split_rows`. Rows are drawn class by class, those with several labels by their
        rarest one.
    text_column : str
        What messages call the texts.
    kind : OneClass, LabelList, LabelColumns or Number
        What the labels of the tables are.

    Raises
    ------
    DataError
        As `read_parts`.
    """
    train = tables["train"]
    kind.check(train, text_column)
    # A label that no training row has is an output like others, and counts where it is missed.
    known = [train] if kind.is_trained_on else tables.values()
    classes = kind.classes([label for table in known for label in table.labels])
    for table in tables.values():  # before the split is stored; a cut leaves each class a row
        _check_known(table, range(len(table.labels)), classes, kind)
    names = {part: _shown(table.path) for part, table in tables.items()}
    fingerprint = _fingerprint(tables, kind)
    rows, stored = split_rows(_strata(train.labels, kind), ratios, seed, split_file, fingerprint,
                              names)
    trained = [train.labels[row] for row in rows["train"]]
    if kind.is_trained_on:
        classes = kind.classes(trained)
    parts, places = {}, []
    for part in PARTS:
        if part in ratios or part in tables:
            table = tables.get(part, train)
            parts[part] = _numbered(table, rows.get(part, range(len(table.texts))), classes, kind)
            places.append(f"{part} {len(parts[part]):,} of {len(table.texts):,} rows of "
                          f"{names.get(part, names['train'])}")
    if len(ratios) > 1:
        places.append(f"cut as stored in {_shown(split_file)}" if stored
                      else f"cut with seed {seed}")
    places.append(kind.describe(train.labels, classes))
    seen = {name for label in trained for name in kind.names(label)}
    if unseen := [name for name in classes if seen and name not in seen]:  # none in a number
        places.append(f"no training row has {', '.join(unseen):.200}: counted as missed")
    shared = _in_train_too(parts["train"], parts.get("test"))
    if shared:
        places.append(f"{shared:,} test texts also stand in train")
    return LabelledParts(parts["train"], parts.get("validation"), parts.get("test"),
                         classes, fingerprint, shared, "; ".join(places))


def _strata(labels, kind):
    """Return for each row the rarest of its names, "" if it has none; for a class that is it."""
    counts = Counter(name for label in labels for name in kind.names(label))
    rarest = {label: min(kind.names(label), key=lambda name: (counts[name], name), default="")
              for label in set(labels)}
    return [rarest[label] for label in labels]


def _check_known(table, rows, classes, kind):
    """Check that every name in some rows of a table is known from training."""
    known = set(classes)
    for row in rows:
        for name in kind.names(table.labels[row]):
            if name not in known:
                raise DataError(f"{table.where(row)}: the {kind.word} {name!r:.40} has no row in "
                                f"the training part; expected one of "
                                f"{', '.join(map(repr, sorted(known)))[:200]}")


def _fingerprint(tables, kind):
    """Return the SHA-256 of the rows; lengths keep neighbours apart, whatever they hold."""
    digest = hashlib.sha256()
    for part, table in tables.items():
        digest.update(f"{part} {len(table.texts)}:".encode())
        for text, label in zip(table.texts, table.labels):
            cells = [*([text] if isinstance(text, str) else text), kind.text(label)]
            digest.update(f"{' '.join(str(len(cell)) for cell in cells)}:"
                          f"{''.join(cells)}".encode())
    return digest.hexdigest()


def _numbered(table, rows, classes, kind):
    """Return some rows of a table as a part."""
    _check_known(table, rows, classes, kind)  # a stored split may be anyone's
    return Part([table.texts[row] for row in rows],
                kind.encode([table.labels[row] for row in rows], classes))


def _in_train_too(train, test):
    """Count the test texts that the training part holds too."""
    keys = [_key(text) for text in test.texts] if test else []
    tested = set(keys)
    shared = {key for key in map(_key, train.texts) if key in tested} if keys else ()
    return sum(key in shared for key in keys)


def _key(text):
    """Return a number that texts share when they differ in case, spaces and marks only."""
    if not isinstance(text, str):
        return hash(tuple(map(_key, text)))
    return hash(_NOT_ALPHANUMERIC.sub("", text.casefold()) or text)  # "!" and "?" stay different


def _shown(path):
    """Return a name to store and print: without the folders of this machine, and always text."""
    path = Path(path)
    name = path.name if path.is_absolute() else str(path)
    return name.encode("utf-8", "backslashreplace").decode()


def limit(part, count, seed=0):
    """Return `count` rows of a part, drawn so that the class shares stay.

    Every class keeps a row, unless there are more classes than rows to keep. Rows with label sets
    or numbers are drawn from all alike. The order stays.

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
    generator = np.random.default_rng(check_seed(seed))
    one_class = isinstance(part.labels, list)
    labels = np.array(part.labels) if one_class else np.zeros(len(part), int)
    mixed = generator.permutation(len(labels))
    rows = mixed[labels[mixed].argsort(kind="stable")]  # class by class, each in a random order
    _, first, sizes = np.unique(labels[rows], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(first, sizes)
    # The smaller, the sooner a row is taken: evenly from each class, and one of each before all.
    turn = np.where(rank == 0, 0, (rank + 0.5) / np.repeat(sizes, sizes))
    order = np.lexsort((generator.random(len(rows)), turn))
    kept = np.sort(rows[order[:count]]).tolist()
    return Part([part.texts[row] for row in kept],
                [part.labels[row] for row in kept] if one_class else part.labels[kept])
