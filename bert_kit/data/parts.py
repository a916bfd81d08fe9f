"""The labelled parts of a job: rows to train on, to choose by, and to score once.

They are read from files or made of lists. Parts that are given are used as they are; the others
are cut from the training rows, class by class. Classes and labels are numbered in sorted order,
whatever order the rows have. The numbers, the split and the fingerprint are those of the rows: the
same for files and for lists.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.checks import share, whole
from bert_kit.data.batches.seeding import check_seed
from bert_kit.data.alike import check_names
from bert_kit.data.labels import AnyKind, Numbers, OneClass
from bert_kit.data.read.bad_rows import BadRow
from bert_kit.data.read.json_rows import JSON_SUFFIXES
from bert_kit.data.read.memory import PART_NAMES, InMemory, RowsInMemory
from bert_kit.data.read.tables import (Source, Table, Text, known_rows, read_table,
                                       table_from_lists)
from bert_kit.data.read.text_lines import find_data
from bert_kit.data.splits import split_rows
from bert_kit.errors import ConfigError, DataError

_SUFFIXES = (".csv", ".tsv", ".jsonl")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Part:
    """Rows of one part: `texts`, single ones or pairs, and what they are in `labels`.

    Labels are class numbers; or an array of float32, (N, C) of 0 and 1 for labels and (N,) for
    numbers.
    """

    texts: Sequence[Text]
    labels: Numbers

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class LabelledParts:
    """What a classifier is trained, chosen and scored on.

    Attributes
    ----------
    validation, test
        None where there is no such part.
    classes
        The name of each class or label, sorted; for numbers the one name of their column.
    fingerprint
        SHA-256 of all texts and labels as given, before any split: equal for equal data, whatever
        the files are called and however they are quoted.
    in_train_too
        Test texts that also stand in the training rows, but for case, spaces and punctuation. A
        score on those measures memory.
    description
        One line for people: where each part comes from, and its size.
    note
        What is odd about the names of the classes, "" for nothing.
    """

    train: Part
    validation: Part | None
    test: Part | None
    classes: tuple[str, ...]
    fingerprint: str
    in_train_too: int
    description: str
    note: str = ""


def read_parts(data_file: str | Path | InMemory | None = None, train_file: str | Path | None = None,
               validation_file: str | Path | None = None, test_file: str | Path | None = None, *,
               text_column: str | Sequence[str] = "text",
               label_column: str | AnyKind = "category", delimiter: str | None = None,
               encoding: str = "utf-8-sig", train_size: float = 0.8, val_size: float = 0.1,
               test_size: float = 0.1, seed: int = 0,
               split_file: str | Path | None = None, quotes: bool | None = None,
               columns: Sequence[str] | None = None, bad_rows: list[BadRow] | None = None,
               notes: list[str] | None = None) -> LabelledParts:
    """Read labelled parts from files.

    Parameters
    ----------
    data_file
        One file, which is split, or a folder with train.csv (or .tsv, .jsonl, .json) and, where
        they exist, dev.* (or val.*, valid.*, validation.*) and test.*. Or `rows_in_memory`.
    train_file, validation_file, test_file
        The parts file by file, instead of `data_file`.
    text_column, label_column, delimiter, encoding, quotes, columns, bad_rows, notes
        As in `read_table` and `Reading`: two text columns for pairs, and a kind of label instead of
        a name for anything but one class a row.
    train_size, val_size, test_size
        Shares of a single `data_file`, adding up to 1. Otherwise a part that has no file is cut
        from the training rows by its share, and `train_size` is not used. 0 means no such part.
    seed
        Of the split.
    split_file
        Where the split is stored, and found again by a later call; see `split_rows`.

    Raises
    ------
    ConfigError
        If the arguments do not go together.
    DataError
        If a file cannot be used: what `read_table` refuses, fewer than two classes, texts in
        place of classes, or a class that training does not know; names the row. A label that no
        training row has is allowed: a model can only miss it.
    """
    seed = check_seed(seed)
    files, single = find_parts(data_file, train_file, validation_file, test_file,
                               exports=JSON_SUFFIXES)
    sizes = {"train": train_size, "validation": val_size, "test": test_size}
    ratios = _ratios(sizes, files, single)
    kind = OneClass(label_column) if isinstance(label_column, str) else label_column
    tables = {part: read_table(path, text_column, kind, delimiter, encoding, quotes=quotes,
                               columns=columns, bad_rows=bad_rows, notes=notes)
              for part, path in files.items()}
    return _make_parts(tables, ratios, seed, split_file, text_column, kind, bad_rows)


def parts_from_lists(texts: Iterable[Text], labels: Iterable[Any],
                     validation: tuple[Iterable[Text], Iterable[Any]] | None = None,
                     test: tuple[Iterable[Text], Iterable[Any]] | None = None, *,
                     val_size: float = 0.1, test_size: float = 0.1, seed: int = 0,
                     split_file: str | Path | None = None,
                     kind: AnyKind | None = None) -> LabelledParts:
    """Return labelled parts from lists, under the rules of `read_parts`.

    Parameters
    ----------
    labels
        The class of each text. Numbers are names too, but sorted as numbers. With another `kind`
        sequences of names, or floats.
    validation, test
        Texts and labels of a part; without them it is cut from the training rows by its share.
    val_size, test_size, seed, split_file
        As in `read_parts`.
    kind
        What the labels are, if not classes.

    Raises
    ------
    ConfigError, DataError
        As `read_parts`.

    Examples
    --------
    >>> parts = parts_from_lists(["good", "bad", "fine"], ["+", "-", "+"], val_size=0, test_size=0)
    >>> parts.classes, parts.train.labels, parts.test
    (('+', '-'), [0, 1, 0], None)
    """
    seed, labels = check_seed(seed), list(labels)
    given = {"train": (texts, labels), "validation": validation, "test": test}
    ratios = _ratios({"train": 1.0, "validation": val_size, "test": test_size},
                     [part for part, pair in given.items() if pair is not None], single=False)
    if kind is None:
        kind = OneClass("labels", int if all(
            isinstance(label, Integral) and not isinstance(label, bool) for label in labels)
            else str)
    tables = {part: table_from_lists(f"the {part} list", *pair, kind=kind)
              for part, pair in given.items() if pair is not None}
    return _make_parts(tables, ratios, seed, split_file, "texts", kind)


def find_parts(data_file: str | Path | InMemory | None = None,
               train_file: str | Path | None = None,
               validation_file: str | Path | None = None, test_file: str | Path | None = None,
               suffixes: Sequence[str] = _SUFFIXES,
               exports: Sequence[str] = ()) -> tuple[dict[str, Source], bool]:
    """Return the path of each part that has a file, and whether it is one file to be split.

    Parameters
    ----------
    data_file
        A file, or a folder with a file for "train" and maybe for "validation" and "test". Or
        `rows_in_memory`, which stand in the place of paths.
    train_file, validation_file, test_file
        The parts file by file, instead of `data_file`.
    suffixes
        How the names of the files in a folder may end.
    exports
        How they may end too, as those of labelling tools, where none for "train" ends otherwise.

    Raises
    ------
    ConfigError, DataError
        If the arguments do not go together, or a folder has no file to train on.
    """
    files: dict[str, Source | None] = {
        "train": train_file, "validation": validation_file, "test": test_file}
    given = {part: path for part, path in files.items() if path is not None}
    if data_file is not None and given or data_file is None and "train" not in given:
        names = [f"{part}_file" for part in given] + ["data_file"] * (data_file is not None)
        raise ConfigError(f"given {' and '.join(names) or 'no file'}; expected data_file alone, "
                          "or train_file with or without validation_file and test_file")
    if data_file is None:
        return given, False
    if isinstance(data_file, RowsInMemory):
        return {"train": data_file}, True
    if isinstance(data_file, dict):
        return dict(data_file), False
    place = find_data(data_file)
    if place.is_dir():
        return _in_folder(place, suffixes, exports), False
    return {"train": place}, True


def _in_folder(folder: Path, suffixes: Sequence[str],
               exports: Sequence[str]) -> dict[str, Source]:
    """Return the path of each part that has a file in a folder."""
    try:
        present = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    if not any(f"train{suffix}" in present for suffix in suffixes):
        suffixes = tuple(dict.fromkeys([*suffixes, *exports]))
    files: dict[str, Source] = {}
    for part, stems in PART_NAMES.items():
        names = [stem + suffix for stem in stems for suffix in suffixes if stem + suffix in present]
        if len(names) > 1:
            raise DataError(f"{folder}: holds {' and '.join(names)}; expected one file for {part}")
        if names:
            files[part] = folder / names[0]
    if "train" not in files:
        names = [f"train{suffix}" for suffix in suffixes]
        expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        raise DataError(f"{folder}: no {expected}; expected one of them in a folder of data")
    return files


def _ratios(sizes: dict[str, float], given: Iterable[str], single: bool) -> dict[str, float]:
    """Return the shares that the training rows are cut into, by part."""
    sizes = {part: share(f"size of the {part} part", size) for part, size in sizes.items()}
    if single and abs(sum(sizes.values()) - 1) > 1e-6:
        raise ConfigError(f"sizes {', '.join(f'{part} {size}' for part, size in sizes.items())} "
                          f"add up to {sum(sizes.values()):.6g}; expected 1")
    cut = {part: size for part, size in sizes.items() if part not in {"train", *given} and size}
    train = sizes["train"] if single else 1 - sum(cut.values())
    if train <= 0:
        raise ConfigError(f"cutting {' and '.join(f'{part} {size}' for part, size in cut.items())} "
                          "leaves nothing to train on; expected a share above 0")
    return {"train": float(train), **cut}


def _make_parts(tables: Mapping[str, Table], ratios: Mapping[str, float], seed: int,
                split_file: str | Path | None, text_column: str | Sequence[str],
                kind: AnyKind, bad_rows: list[BadRow] | None = None) -> LabelledParts:
    """Cut, number and count the rows of tables.

    Parameters
    ----------
    tables
        By part; "train" is among them.
    ratios
        What the rows of the table "train" are cut into: "train" and parts without a table.
    seed, split_file
        As in `split_rows`. Rows are drawn class by class, those with several labels by their
        rarest one.
    text_column
        What messages call the texts.
    bad_rows
        As in `known_rows`.
    """
    train = tables["train"]
    kind.check(train, text_column)
    # A label that no training row has is an output like others, and counts where it is missed.
    known = [train] if kind.is_trained_on else tables.values()
    classes = kind.classes([label for table in known for label in table.labels])
    two_ways = check_names(classes, lambda name: _where_stands(name, tables.values(), kind))
    # Before the split is stored; a cut leaves each class a row.
    tables = {part: known_rows(table, classes, kind, bad_rows) for part, table in tables.items()}
    names = {part: _without_folders(table.path) for part, table in tables.items()}
    fingerprint = _fingerprint(tables, kind)
    rows, stored = split_rows(_strata(train.labels, kind), ratios, seed, split_file, fingerprint,
                              names)
    trained = [train.labels[row] for row in rows["train"]]
    if kind.is_trained_on:
        classes = kind.classes(trained)
    parts: dict[str, Part] = {}
    notes = []
    for part in PART_NAMES:
        if part in ratios or part in tables:
            table = tables.get(part, train)
            own = rows.get(part, range(len(table.texts)))
            # A stored split may be anyone's.
            some = known_rows(table.some(own), classes, kind, bad_rows)
            parts[part] = Part(some.texts, kind.encode(some.labels, classes))
            notes.append(f"{part} {len(parts[part]):,} of {len(table.texts):,} rows of "
                         f"{names.get(part, names['train'])}")
    if len(ratios) > 1:
        notes.append(f"cut as stored in {_without_folders(split_file)}" if stored
                     else f"cut with seed {seed}")
    notes.append(kind.describe(train.labels, classes))
    seen = {name for label in trained for name in kind.names(label)}
    if unseen := [name for name in classes if seen and name not in seen]:  # none in a number
        notes.append(f"no training row has {', '.join(unseen):.200}: counted as missed")
    shared = _in_train_too(parts["train"], parts.get("test"))
    if shared:
        notes.append(f"{shared:,} test texts also stand in train")
    return LabelledParts(parts["train"], parts.get("validation"), parts.get("test"),
                         classes, fingerprint, shared, "; ".join(notes), two_ways)


def _where_stands(name: str, tables: Iterable[Table], kind: AnyKind) -> str:
    """Return where the first row with a name is; "" for a name of a column."""
    return next((table.where(row) for table in tables for row, label in enumerate(table.labels)
                 if name in kind.names(label)), "")


def _strata(labels: Sequence[Any], kind: AnyKind) -> list[str]:
    """Return for each row the rarest of its names, "" if it has none; for a class that is it."""
    counts = Counter(name for label in labels for name in kind.names(label))
    rarest = {label: min(kind.names(label), key=lambda name: (counts[name], name), default="")
              for label in set(labels)}
    return [rarest[label] for label in labels]


def _fingerprint(tables: Mapping[str, Table], kind: AnyKind) -> str:
    """Return the SHA-256 of the rows; lengths keep neighbours apart, whatever they hold."""
    digest = hashlib.sha256()
    for part, table in tables.items():
        digest.update(f"{part} {len(table.texts)}:".encode())
        for text, label in zip(table.texts, table.labels, strict=True):
            cells = [*([text] if isinstance(text, str) else text), kind.text(label)]
            digest.update(f"{' '.join(str(len(cell)) for cell in cells)}:"
                          f"{''.join(cells)}".encode())
    return digest.hexdigest()


def _in_train_too(train: Part, test: Part | None) -> int:
    """Count the test texts that the training part holds too."""
    keys = [text_key(text) for text in test.texts] if test else []
    tested = set(keys)
    shared = {key for key in map(text_key, train.texts) if key in tested} if keys else set()
    return sum(key in shared for key in keys)


def text_key(text: Text) -> Hashable:
    """Return a number that texts share when they differ in case, spaces and marks only."""
    if not isinstance(text, str):
        return hash(tuple(map(text_key, text)))
    return hash(_NOT_ALPHANUMERIC.sub("", text.casefold()) or text)  # "!" and "?" stay different


def _without_folders(path: str | Path | None) -> str:
    """Return a name to store and print: without the folders of this machine, and always text."""
    path = Path(path or "")
    name = path.name if path.is_absolute() else str(path)
    return name.encode("utf-8", "backslashreplace").decode()


def limit(part: Part, count: int, seed: int = 0) -> Part:
    """Return `count` rows of a part, drawn so that the class shares stay.

    Every class keeps a row, unless there are more classes than rows to keep. Rows with label sets
    or numbers are drawn from all alike. The order stays.

    Raises
    ------
    ConfigError
        If the count is not a whole number from 1.

    Examples
    --------
    >>> limit(Part(["a", "b", "c", "d", "e"], [0, 0, 0, 0, 1]), 3).labels
    [0, 0, 1]
    """
    if whole("the number of rows to keep", count, 1) >= len(part):
        return part
    generator = np.random.default_rng(check_seed(seed))
    labels = part.labels
    codes = np.array(labels) if isinstance(labels, list) else np.zeros(len(part), int)
    mixed = generator.permutation(len(codes))
    rows = mixed[codes[mixed].argsort(kind="stable")]  # class by class, each in a random order
    _, first, sizes = np.unique(codes[rows], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(first, sizes)
    # The smaller, the sooner a row is taken: evenly from each class, and one of each before all.
    turn = np.where(rank == 0, 0, (rank + 0.5) / np.repeat(sizes, sizes))
    order = np.lexsort((generator.random(len(rows)), turn))
    chosen: list[int] = np.sort(rows[order[:count]]).tolist()
    return Part([part.texts[row] for row in chosen],
                [labels[row] for row in chosen] if isinstance(labels, list) else labels[chosen])
