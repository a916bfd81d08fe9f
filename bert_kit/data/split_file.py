"""A split that stays: which rows were trained on, kept in a small JSON file.

A later job on the same rows (another head, a resumed run, an evaluation) reads the file instead of
drawing anew, so that no row of a test part was ever trained on, whatever seed that job has.
"""

import json
import os
from pathlib import Path

from bert_kit.data.splits import stratified_split
from bert_kit.errors import BertKitError, DataError
from bert_kit.files import atomic_file, read_json


def split_rows(labels, ratios, seed, path, data_hash, files):
    """Return the row numbers of each part: those stored in a file, else newly drawn and stored.

    Parameters
    ----------
    labels : sequence
        The class of each row.
    ratios : dict of float
        Share of each part by name, adding up to 1. With one part nothing is drawn.
    seed : int
        Of a new draw (`stratified_split`).
    path : path or None
        Where the split is stored. None stores nothing.
    data_hash : str
        What the rows are; a stored split of other data is refused.
    files : dict of str
        Names of the files by part, "train" among them, stored for people to read.

    Returns
    -------
    (dict of list of int, bool)
        Row numbers by part, and whether they come from the file.

    Raises
    ------
    DataError
        If there are too few rows, or the file cannot be used: damaged, or made for other data or
        other ratios.
    """
    if path is not None and os.path.lexists(path):
        return _read(Path(path), len(labels), ratios, data_hash), True
    try:
        rows = dict(zip(ratios, stratified_split(labels, ratios.values(), seed)))
    except DataError as error:
        raise DataError(f"{files['train']}: {error}") from None
    if path is not None:
        _write(path, {"data_sha256": data_hash, "files": files, "seed": seed, "ratios": ratios,
                      "rows": rows})
    return rows, False


def _write(path, record):
    """Write one key a line: a number a line, as `write_json` would, is no easier to read."""
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    with atomic_file(path) as temporary:
        temporary.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def _read(path, count, ratios, data_hash):
    try:
        record = read_json(path)
    except BertKitError as error:
        raise DataError(str(error)) from None
    advice = "expected the same, or another file (or none) for the split"
    if record.get("data_sha256") != data_hash:
        raise DataError(f"{path}: made for other data (sha256 {record.get('data_sha256')!r:.12}…, "
                        f"not '{data_hash[:11]}…); {advice}")
    found, rows = record.get("ratios"), record.get("rows")
    if found != ratios:
        raise DataError(f"{path}: made with ratios {json.dumps(found)[:80]}, asked for "
                        f"{json.dumps(ratios)}; {advice}")
    if not isinstance(rows, dict) or set(rows) != set(ratios):
        raise DataError(f"{path}: 'rows' does not name the parts; expected lists of row numbers "
                        f"for {', '.join(ratios)}")
    _check_rows(path, rows, count)
    return {part: rows[part] for part in ratios}


def _check_rows(path, rows, count):
    """See that every row of the data is in exactly one part, and no part is empty."""
    part_of = [None] * count
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
