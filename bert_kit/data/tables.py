"""Labelled texts from CSV and JSON-lines files, read once and never guessed at.

What cannot be understood is one line that names the file and the row: a row that silently became
two rows, or a byte that became another letter, would only show up as a slightly worse model.
"""

import contextlib
import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.files import parse_json

FIELD_LIMIT = 10_000_000  # characters; a longer field is a quote that is never closed
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")

# NUL, and halves of surrogate pairs: what is left of bytes that were not in the encoding.
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """The rows of a file: `texts`, and `labels` as text (None where no column was asked for)."""

    path: Path
    texts: list[str]
    labels: list[str] | None

    @property
    def classes(self):
        """The different labels, sorted."""
        return sorted(set(self.labels or ()))


def read_table(path, text_column="text", label_column="category", delimiter=None,
               encoding="utf-8-sig", field_limit=FIELD_LIMIT):
    """Read the texts and labels of a CSV file with a header, or of a file with one object a line.

    Parameters
    ----------
    path : path
        Ending in .jsonl, .ndjson or .json: one JSON object a line. Otherwise CSV, quoted by the
        usual rules (RFC 4180). A relative path that does not exist is looked up in $DATADIR too.
    text_column, label_column : str
        Header names, or keys of the objects; other columns are ignored. With `label_column=None`
        only the texts are read.
    delimiter : str, optional
        By default a tab for .tsv and .tab, else a comma.
    encoding : str
        UTF-8 by default, with or without a byte order mark. Other encodings are never guessed.
    field_limit : int
        Longest field in characters.

    Returns
    -------
    Table
        Texts as they stand in the file, labels without surrounding spaces. "NA" or "null" in a
        CSV file is text like any other. Blank lines are skipped.

    Raises
    ------
    DataError
        If the file or a row cannot be used; names the file and the row's first line.
    ConfigError
        If the delimiter or the encoding is impossible.
    """
    path = _find(path)
    if label_column == text_column:
        raise ConfigError(f"text column and label column are both {text_column!r}; "
                          "expected two columns")
    columns = [text_column] if label_column is None else [text_column, label_column]
    texts, labels = [], []
    lines = _lines(path, encoding)
    if path.suffix.lower() in JSON_SUFFIXES:
        rows = _json_rows(path, lines, columns)
    else:
        rows = _csv_rows(path, lines, columns, _delimiter(path, delimiter), field_limit)
    with contextlib.closing(lines), contextlib.closing(rows):  # also when a row is refused
        for line, values in rows:
            for column, value in zip(columns, values):
                _check(f"{path} line {line}", column, value, field_limit)
            texts.append(values[0])
            labels.extend(value.strip() for value in values[1:])
    if not texts:
        raise DataError(f"{path}: no rows; expected at least one below the header")
    return Table(path, texts, None if label_column is None else labels)


def _find(path):
    path = Path(path)
    tried = [path]
    if os.environ.get("DATADIR") and not path.is_absolute():
        tried.append(Path(os.environ["DATADIR"]) / path)
    found = next((place for place in tried if place.exists()), None)
    if found is None:
        raise DataError(f"{' and '.join(map(str, tried))}: no such file; expected CSV or JSONL")
    if not found.is_file():
        raise DataError(f"{found}: not a regular file; expected CSV or JSONL")
    return found


def _delimiter(path, delimiter):
    if delimiter is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    delimiter = "\t" if delimiter == "\\t" else delimiter  # as typed in a shell
    if len(delimiter) != 1 or delimiter in "\"\r\n\0 ":
        raise ConfigError(f"delimiter is {delimiter!r}; expected one character such as ',' ';' or "
                          "a tab (\\t)")
    return delimiter


def _lines(path, encoding):
    """Yield the lines of a file, line ends kept; refuse the first that is not clean text."""
    number = 0
    try:
        with open(path, encoding=encoding, errors="surrogateescape", newline="") as handle:
            for number, line in enumerate(handle, 1):
                bad = _FORBIDDEN.search(line)
                if bad and bad[0] == "\0":
                    raise DataError(f"{path} line {number}: holds a NUL character; expected text "
                                    "(for UTF-16, give --encoding utf-16)")
                if bad:
                    raise DataError(f"{path} line {number}: byte 0x{ord(bad[0]) & 0xff:02x} is not "
                                    f"{encoding}; expected that, or give another --encoding")
                yield line
    except LookupError:
        raise ConfigError(f"unknown encoding {encoding!r}; expected a name such as utf-8, "
                          "latin-1 or utf-16") from None
    except UnicodeError:
        raise DataError(f"{path} after line {number}: not {encoding}; expected that, or give "
                        "another --encoding") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _csv_rows(path, lines, columns, delimiter, field_limit):
    """Yield (first line, values of the columns) for every row below the header."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header, first = None, 1
    old_limit = csv.field_size_limit(field_limit)  # the csv module has only this global setting
    try:
        for row in reader:
            if header is None and row:
                header = [name.strip() for name in row]
                places = _places(path, header, columns, delimiter)
            elif row and len(row) != len(header):
                raise DataError(f"{path} line {first}: {len(row)} fields, expected {len(header)} "
                                f"as in the header (a {delimiter!r} in a text needs quotes)")
            elif row:
                yield first, [row[place] for place in places]
            first = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} line {first}: {error}; expected CSV (is a quote never closed or "
                        "not doubled?)") from None
    finally:
        csv.field_size_limit(old_limit)
    if header is None:
        raise DataError(f"{path}: empty; expected a header with {', '.join(columns)}")


def _places(path, header, columns, delimiter):
    """Return where the columns stand in the header."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header holds {twice[0]!r} more than once; "
                        "expected different names")
    for column in columns:
        if column not in header:
            others = [mark for mark in ",;\t|" if mark != delimiter
                      and column in (part.strip(' "') for name in header
                                     for part in name.split(mark))]
            hint = f" (is the delimiter {others[0]!r}? give --delimiter)" if others else ""
            raise DataError(f"{path}: no column {column!r}{hint}; found {_listed(header)}")
    return [header.index(column) for column in columns]


def _listed(names):
    return ", ".join(map(repr, names))[:200] or "nothing"


def _json_rows(path, lines, columns):
    """Yield (line, values of the keys) for every object."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = parse_json(line, where)
        except BertKitError as error:
            raise DataError(str(error)) from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: a {type(row).__name__}, expected one object a line")
        for column in columns:
            if column not in row:
                raise DataError(f"{where}: no key {column!r}; found {_listed(row)}")
        values = [row[column] for column in columns]
        if len(values) == 2 and type(values[1]) in (int, bool):
            values[1] = str(values[1])  # a class number is a class name
        yield number, values


def _check(where, column, value, field_limit):
    if not isinstance(value, str):
        raise DataError(f"{where}: {column!r} is {str(value)[:50]}, expected text")
    if not value.strip():
        raise DataError(f"{where}: {column!r} is empty; expected text")
    if len(value) > field_limit:
        raise DataError(f"{where}: {column!r} has {len(value):,} characters; "
                        f"at most {field_limit:,} are read")
    bad = _FORBIDDEN.search(value)
    if bad:
        raise DataError(f"{where}: {column!r} holds U+{ord(bad[0]):04X}, which is not a character")
