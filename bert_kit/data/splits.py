"""Which rows to train on and which to keep for scoring; the same answer every time.

`stratified_split` keeps the class shares and suits independent rows. Rows that come from the same
place (file, author, patient) resemble one another: `grouped_split` keeps each place on one side,
or the score would partly measure memory.

`split_rows` stores the split in a small JSON file. A later job on the same rows (another head, a
resumed run, an evaluation) reads it instead of drawing anew, so that no row of a test part was
ever trained on, whatever seed that job has.
"""

import hashlib
import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_kit.checks import same_length, share as check_share, whole
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.files import read_json, write_text

if TYPE_CHECKING:
    from torch import Tensor


def stratified_split(labels: Iterable[Any], ratios: Iterable[float] = (0.8, 0.1, 0.1),
                     seed: int = 0) -> list[list[int]]:
    """Split rows at random so that every part has the class shares of the whole.

    Parameters
    ----------
    labels
        The class of each row; names or numbers of one type.
    ratios
        Share of each part, adding up to 1; the first part is the one to train on.
    seed
        Another seed gives another split of the same sizes.

    Returns
    -------
        The row numbers of each part, ascending. Every row is in exactly one part. The first part
        gets at least one row of every class, so that a class with one row is trained on.

    Raises
    ------
    ConfigError
        If the ratios are not positive numbers that add up to 1.
    DataError
        If there are too few rows to give every part one.

    Examples
    --------
    >>> train, test = stratified_split(["a"] * 8 + ["b"] * 4, ratios=(0.75, 0.25))
    >>> sum(row < 8 for row in test), sum(row >= 8 for row in test)
    (2, 1)
    """
    ratios = [float(ratio) for ratio in ratios]
    if not ratios or not all(ratio > 0 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(f"split ratios are {ratios}; expected positive numbers that add up to 1")
    rows_of: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in ratios]
    # What each part should have had so far, less what it got. Giving every row to the part that is
    # owed most keeps the sizes right within each class and, carried over, in total.
    owed = np.zeros(len(ratios))
    for label in sorted(rows_of):
        rows = generator.permutation(rows_of[label]).tolist()
        parts[0].append(rows.pop())
        if not rows:
            continue  # the only row of its class: no other part has a claim on it
        owed += ratios
        owed[0] -= 1
        for row in rows:
            owed += ratios
            part = int(owed.argmax())
            owed[part] -= 1
            parts[part].append(row)
    if not all(parts):
        raise DataError(f"a split {ratios} of {sum(map(len, rows_of.values()))} rows leaves "
                        "a part empty; expected more rows or other ratios")
    return [sorted(part) for part in parts]


def stratified_folds(labels: "Sequence[int] | np.ndarray | Tensor", folds: int = 7,
                     seed: int = 0, groups: Sequence[Hashable] | None = None) -> np.ndarray:
    """Return the fold (N,) of each row, from 0; folds are of one size, and so are their classes.

    Sizes differ by at most one row, in total and within each class.

    Parameters
    ----------
    groups
        The group of each row (N,), as of equal texts. A group stands in one fold, as a row of the
        class of its first row would; then it is groups of which each fold has as many.

    Raises
    ------
    ConfigError
        If there are fewer than 2 folds.
    DataError
        If there are fewer rows, or groups, than folds.

    Examples
    --------
    >>> stratified_folds([0, 0, 0, 1, 1], 2, groups=["a", "b", "a", "c", "d"]).tolist()
    [0, 1, 0, 0, 1]
    """
    labels = np.asarray(labels)
    if groups is not None:
        same_length(labels=labels, groups=groups)
        number: dict[Hashable, int] = {}
        of = np.array([number.setdefault(group, len(number)) for group in groups], dtype=np.int64)
        first = np.unique(of, return_index=True)[1]
        if len(first) < whole("folds", folds, 2):
            raise DataError(f"{len(first)} groups of rows for {folds} folds; expected at least one "
                            "a fold")
        return stratified_folds(labels[first], folds, seed)[of]
    if len(labels) < whole("folds", folds, 2):
        raise DataError(f"{len(labels)} rows for {folds} folds; expected at least one row a fold")
    mixed = np.random.default_rng(seed).permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    result = np.empty(len(labels), dtype=np.int64)
    result[by_class] = np.arange(len(labels)) % folds  # dealt like cards, one class after another
    return result


def held_out(source: str, share: float, salt: str = "") -> bool:
    """Say whether a group (a source file, an author) belongs to the held-out side.

    The answer depends on the name alone, not on what else is in the data: two programs that never
    meet agree on it, and what is held out at a small share is held out at any larger one.

    Parameters
    ----------
    source
        Name of the group.
    share
        About this share of the groups is held out, from 0 (none) to 1 (all).
    salt
        Another salt gives another choice.

    Examples
    --------
    >>> [held_out(name, 0.5) for name in ("a.py", "b.py", "c.py", "d.py")]
    [True, False, True, False]
    """
    digest = hashlib.sha256(f"{salt}\0{source}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < check_share("held-out share", share) * 2**64


def grouped_split(groups: Iterable[str], share: float = 0.2,
                  salt: str = "") -> tuple[list[int], list[int]]:
    """Split rows so that all rows of a group stand on the same side.

    Parameters
    ----------
    groups
        The group of each row.
    share, salt
        As in `held_out`, which decides for each group. The share of the rows is met only roughly:
        groups are not split to meet it.

    Returns
    -------
        Row numbers to train on, and row numbers held out.

    Raises
    ------
    DataError
        If one side is empty.
    """
    groups = list(groups)
    side = {group: held_out(group, share, salt) for group in set(groups)}
    train, test = ([row for row, group in enumerate(groups) if side[group] == out]
                   for out in (False, True))
    if not train or not test:
        raise DataError(f"holding out {share} of {len(side)} groups leaves a side empty; "
                        "expected more groups, another share or another salt")
    return train, test


def first_of_each_class(labels: Iterable[Hashable], count: int) -> list[int]:
    """Return the row numbers of the first `count` rows of each class, ascending.

    Examples
    --------
    >>> first_of_each_class(["a", "a", "b", "a", "b"], 1)
    [0, 2]
    """
    seen, first = {}, []
    for row, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            first.append(row)
    return first


def split_rows(labels: Sequence[Any], ratios: Mapping[str, float], seed: int,
               path: str | Path | None, data_hash: str,
               files: Mapping[str, str]) -> tuple[dict[str, list[int]], bool]:
    """Return the row numbers of each part: those stored in a file, else newly drawn and stored.

    Parameters
    ----------
    labels
        The class of each row.
    ratios
        Share of each part by name, adding up to 1. With one part nothing is drawn.
    seed
        Of a new draw (`stratified_split`).
    path
        Where the split is stored. None stores nothing.
    data_hash
        What the rows are; a stored split of other data is refused.
    files
        Names of the files by part, "train" among them, stored for people to read.

    Returns
    -------
        Row numbers by part, and whether they come from the file.

    Raises
    ------
    DataError
        If there are too few rows, or the file cannot be used: damaged, or made for other data or
        other ratios.
    """
    if path is not None and os.path.lexists(path):
        return _read_split(Path(path), len(labels), ratios, data_hash), True
    try:
        parts = stratified_split(labels, ratios.values(), seed)
    except DataError as error:
        raise DataError(f"{files['train']}: {error}") from None
    rows = dict(zip(ratios, parts, strict=True))
    if path is not None:
        record = {"data_sha256": data_hash, "files": files, "seed": seed, "ratios": ratios,
                  "rows": rows}
        # One key a line: a number a line, as `write_json` would, is no easier to read.
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return rows, False


def _read_split(path: Path, count: int, ratios: Mapping[str, float],
                data_hash: str) -> dict[str, list[int]]:
    try:
        record = read_json(path)
    except BertKitError as error:
        raise DataError(str(error)) from None
    advice = "expected the same, or another file (or none) for the split"
    if record.get("data_sha256") != data_hash:
        raise DataError(f"{path}: made for other data (sha256 {record.get('data_sha256')!r:.12}…, "
                        f"not '{data_hash[:11]}…); {advice}")
    stored, rows = record.get("ratios"), record.get("rows")
    if stored != ratios:
        raise DataError(f"{path}: made with ratios {json.dumps(stored)[:80]}, asked for "
                        f"{json.dumps(ratios)}; {advice}")
    if not isinstance(rows, dict) or set(rows) != set(ratios):
        raise DataError(f"{path}: 'rows' does not name the parts; expected lists of row numbers "
                        f"for {', '.join(ratios)}")
    _check_rows(path, rows, count)
    return {part: rows[part] for part in ratios}


def _check_rows(path: Path, rows: Mapping[str, Any], count: int) -> None:
    """See that every row of the data is in exactly one part, and no part is empty."""
    part_of: list[str | None] = [None] * count
    for part, numbers in rows.items():
        if not isinstance(numbers, list) or not numbers:
            raise DataError(f"{path}: part {part!r} holds no row numbers; expected a list of them")
        for row in numbers:
            if type(row) is not int or not 0 <= row < count:
                raise DataError(f"{path}: part {part!r} holds the row {row!r:.20}; expected whole "
                                f"numbers from 0 to {count - 1}")
            if part_of[row] is not None:
                raise DataError(f"{path}: row {row} is in {part_of[row]!r} and again in {part!r}; "
                                "expected every row once")
            part_of[row] = part
    if None in part_of:
        raise DataError(f"{path}: row {part_of.index(None)} is in no part; expected every row once")
