"""From files or lists to the labelled parts of a job: which part comes from where.

Parts that are given are used as they are; the others are cut from the training rows, class by
class.
"""

import os
from numbers import Integral

from bert_kit.data.batches.seeding import check_seed
from bert_kit.data.labels import OneClass
from bert_kit.data.read.text_lines import find_data
from bert_kit.data.parts import make_parts
from bert_kit.data.read.tables import read_table, table_from_lists
from bert_kit.errors import ConfigError, DataError

# The names of the files in a folder, without their suffixes.
_STEMS = {"train": ("train",), "validation": ("dev", "val", "valid", "validation"),
          "test": ("test",)}
_SUFFIXES = (".csv", ".tsv", ".jsonl")


def read_parts(data_file=None, train_file=None, validation_file=None, test_file=None, *,
               text_column="text", label_column="category", delimiter=None, encoding="utf-8-sig",
               train_size=0.8, val_size=0.1, test_size=0.1, seed=0, split_file=None):
    """Read labelled parts from files.

    Parameters
    ----------
    data_file : path, optional
        One file, which is split, or a folder with train.csv (or .tsv, .jsonl) and, where they
        exist, dev.* (or val.*, valid.*, validation.*) and test.*.
    train_file, validation_file, test_file : path, optional
        The parts file by file, instead of `data_file`.
    text_column, label_column, delimiter, encoding
        As in `read_table`: two text columns for pairs, and a kind of label instead of a name for
        anything but one class a row.
    train_size, val_size, test_size : float
        Shares of a single `data_file`, adding up to 1. Otherwise a part that has no file is cut
        from the training rows by its share, and `train_size` is not used. 0 means no such part.
    seed : int
        Of the split.
    split_file : path, optional
        Where the split is stored, and found again by a later call; see `split_rows`.

    Returns
    -------
    LabelledParts

    Raises
    ------
    ConfigError
        If the arguments do not go together.
    DataError
        If a file cannot be used: what `read_table` refuses, fewer than two classes, texts in
        place of classes, or a class that training does not know; names the row. A label that no
        training row has is allowed: a model can only miss it.
    """
    check_seed(seed)
    files, single = find_parts(data_file, train_file, validation_file, test_file)
    sizes = {"train": train_size, "validation": val_size, "test": test_size}
    ratios = _ratios(sizes, files, single)
    kind = OneClass(label_column) if isinstance(label_column, str) else label_column
    tables = {part: read_table(path, text_column, kind, delimiter, encoding)
              for part, path in files.items()}
    return make_parts(tables, ratios, seed, split_file, text_column, kind)


def parts_from_lists(texts, labels, validation=None, test=None, *, val_size=0.1, test_size=0.1,
                     seed=0, split_file=None, kind=None):
    """Return labelled parts from lists, under the rules of `read_parts`.

    Parameters
    ----------
    texts : sequence of str, or of (str, str)
    labels : sequence of str or of int
        The class of each text. Numbers are names too, but sorted as numbers. With another `kind`
        sequences of names, or floats.
    validation, test : (sequence of str, sequence), optional
        Texts and labels of a part; without them it is cut from the training rows by its share.
    val_size, test_size, seed, split_file
        As in `read_parts`.
    kind : LabelList or Number, optional
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
    check_seed(seed)
    labels = list(labels)
    given = {"train": (texts, labels), "validation": validation, "test": test}
    given = {part: pair for part, pair in given.items() if pair is not None}
    sizes = {"train": 1.0, "validation": val_size, "test": test_size}
    ratios = _ratios(sizes, given, single=False)
    if kind is None:
        kind = OneClass("labels", int if all(
            isinstance(label, Integral) and not isinstance(label, bool) for label in labels)
            else str)
    tables = {part: table_from_lists(f"the {part} list", *pair, kind)
              for part, pair in given.items()}
    return make_parts(tables, ratios, seed, split_file, "texts", kind)


def find_parts(data_file=None, train_file=None, validation_file=None, test_file=None,
               suffixes=_SUFFIXES):
    """Return the path of each part that has a file, and whether it is one file to be split.

    Parameters
    ----------
    data_file : path, optional
        A file, or a folder with a file for "train" and maybe for "validation" and "test".
    train_file, validation_file, test_file : path, optional
        The parts file by file, instead of `data_file`.
    suffixes : sequence of str
        How the names of the files in a folder may end.

    Raises
    ------
    ConfigError, DataError
        If the arguments do not go together, or a folder has no file to train on.
    """
    given = {"train": train_file, "validation": validation_file, "test": test_file}
    given = {part: path for part, path in given.items() if path is not None}
    if data_file is not None and given or data_file is None and "train" not in given:
        names = [f"{part}_file" for part in given] + ["data_file"] * (data_file is not None)
        raise ConfigError(f"given {' and '.join(names) or 'no file'}; expected data_file alone, "
                          "or train_file with or without validation_file and test_file")
    if data_file is None:
        return given, False
    place = find_data(data_file)
    return (_in_folder(place, suffixes), False) if place.is_dir() else ({"train": place}, True)


def _in_folder(folder, suffixes):
    """Return the path of each part that has a file in a folder."""
    try:
        names = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    files = {}
    for part, stems in _STEMS.items():
        found = [stem + suffix for stem in stems for suffix in suffixes if stem + suffix in names]
        if len(found) > 1:
            raise DataError(f"{folder}: holds {' and '.join(found)}; expected one file for {part}")
        if found:
            files[part] = folder / found[0]
    if "train" not in files:
        names = [f"train{suffix}" for suffix in suffixes]
        expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        raise DataError(f"{folder}: no {expected}; expected one of them in a folder of data")
    return files


def _ratios(sizes, given, single):
    """Return the shares that the training rows are cut into, by part."""
    for part, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size <= 1:
            raise ConfigError(f"size of the {part} part is {size!r}; expected a share from 0 to 1")
    if single and abs(sum(sizes.values()) - 1) > 1e-6:
        raise ConfigError(f"sizes {', '.join(f'{part} {size}' for part, size in sizes.items())} "
                          f"add up to {sum(sizes.values()):.6g}; expected 1")
    cut = {part: size for part, size in sizes.items() if part not in {"train", *given} and size}
    train = sizes["train"] if single else 1 - sum(cut.values())
    if train <= 0:
        raise ConfigError(f"cutting {' and '.join(f'{part} {size}' for part, size in cut.items())} "
                          "leaves nothing to train on; expected a share above 0")
    return {"train": float(train), **cut}
