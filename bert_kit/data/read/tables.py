"""Labelled texts from CSV and JSON-lines files, read once and never guessed at.

What cannot be understood is one line that names the file and the row: a row that silently became
two rows, or a byte that became another letter, would only show up as a slightly worse model.
"""

import contextlib
import itertools
import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from bert_kit.data.labels import AnyKind, OneClass
from bert_kit.data.read.csv_rows import CsvFile, csv_rows, header_names
from bert_kit.data.read.json_rows import (JSON_SUFFIXES, Refuse, Rows, first_object, json_table,
                                          refuser)
from bert_kit.data.read.text_lines import check_text, find_data, is_clean, text_lines
from bert_kit.errors import ConfigError, DataError

FIELD_LIMIT = 10_000_000  # characters; a longer field is a quote that is never closed

Text = str | tuple[str, str]  # of a row: one, or a pair


class Reading(TypedDict, total=False):
    """How a table is written, as the readers take it by name.

    Keys
    ----
    delimiter
        By default a tab for .tsv and .tab, else a comma.
    encoding
        UTF-8 by default, with or without a byte order mark. Other encodings are never guessed.
    quotes
        False takes quote signs as they stand, as in the .tsv files of GLUE and Quora. By default
        they enclose cells, but not where lines of a file with tabs would become one cell that are
        rows as they stand; True encloses there too.
    columns
        The names of the columns of a CSV file that has no header.
    bad_rows
        None refuses a file with a row that cannot be used. A list takes the message about each
        such row, and the row is left out.
    notes
        A list takes what is to be told of how the file was read, as of lone quote signs.
    """

    delimiter: str | None
    encoding: str
    quotes: bool | None
    columns: Sequence[str] | None
    bad_rows: list[str] | None
    notes: list[str] | None


@dataclass(frozen=True)
class Table:
    """The rows of a file, or of lists that were given instead.

    Attributes
    ----------
    path
        The file, or what to call the lists.
    labels
        As their kind reads them: names, tuples of names or numbers. Empty where no column was
        asked for.
    lines
        The line on which each row of the file starts; None for lists.
    """

    path: Path | str
    texts: Sequence[Text]
    labels: Sequence[Any]
    lines: array | None = None

    @property
    def classes(self) -> list[Any]:
        """The different labels, sorted."""
        return sorted(set(self.labels))

    def where(self, row: int) -> str:
        """Return how a message names a row (counted from 0): by its line in the file."""
        if self.lines is None:
            return f"row {row} of {self.path}"
        return f"{self.path} line {self.lines[row]}"


@dataclass(frozen=True)
class OtherCells:
    """Columns that are read in place of a label, to be kept beside what a model says of the text.

    Examples
    --------
    >>> OtherCells(("id", "tags")).read("line 2", ["007", ["a", "b"]])
    ('007', '["a", "b"]')
    """

    columns: tuple[str, ...]

    def read(self, where: str, values: Sequence[object]) -> tuple[str | int | float | None, ...]:
        """Return the cells of a row as they stand; lists, objects and true as JSON has them."""
        return tuple(value if value is None or isinstance(value, str | int | float)
                     and not isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
                     for value in values)


def read_table(path: str | Path, text_column: str | Sequence[str] = "text",
               label_column: str | AnyKind | OtherCells | None = "category",
               delimiter: str | None = None, encoding: str = "utf-8-sig",
               field_limit: int = FIELD_LIMIT, *, quotes: bool | None = None,
               columns: Sequence[str] | None = None, bad_rows: list[str] | None = None,
               notes: list[str] | None = None) -> Table:
    """Read the texts and labels of a CSV file, or of a file of JSON objects.

    Parameters
    ----------
    path
        Ending in .jsonl, .ndjson or .json: one JSON object a line, or one list of objects.
        Otherwise CSV, quoted by the usual rules (RFC 4180). A relative path that does not exist is
        looked up in $DATADIR too. Excel's first line `sep=;` is followed.
    text_column
        Header name, or key of the objects; two of them for pairs of texts.
    label_column
        A name for one class a row, or one of `LabelList`, `LabelColumns` and `Number`; or
        `OtherCells`. With None only the texts are read.
    delimiter, encoding, quotes, columns, bad_rows, notes
        See `Reading`.
    field_limit
        Longest field in characters.

    Returns
    -------
        Texts as they stand in the file, names without surrounding spaces. "NA" or "null" in a
        CSV file is text like any other. Blank lines are skipped.

    Raises
    ------
    DataError
        If the file or a row cannot be used; names the file and the row's first line.
    ConfigError
        If the delimiter or the encoding is impossible.
    """
    path = find_data(path)
    kind = OneClass(label_column) if isinstance(label_column, str) else label_column
    text_columns = [text_column] if isinstance(text_column, str) else list(text_column)
    wanted = [*text_columns, *(kind.columns if kind else ())]
    _check_names(text_columns, wanted)
    texts: list[Text] = []
    labels, starts, same, refuse = [], array("q"), {}, refuser(bad_rows)
    with contextlib.closing(_rows(path, wanted, len(text_columns), delimiter, encoding,
                                  field_limit, quotes, columns, refuse, notes)) as rows:
        for line, values in rows:
            if kind:
                try:
                    label = kind.read(f"{path} line {line}", values[len(text_columns):])
                except DataError as error:
                    refuse(error)
                    continue
                labels.append(same.setdefault(label, label))  # one object for all that are equal
            starts.append(line)
            pair = values[:len(text_columns)]
            texts.append(pair[0] if len(pair) == 1 else tuple(pair))
    if not texts:
        raise DataError(f"{path}: no rows; expected at least one below the header"
                        + _left_out(bad_rows))
    return Table(path, texts, labels, starts)


def _check_names(text_columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse columns that are asked for twice."""
    twice = [name for name, count in Counter(wanted).items() if count > 1]
    if twice and text_columns.count(twice[0]) > 1:
        raise ConfigError(f"text_column names {twice[0]!r} twice; expected two columns, or one")
    if twice and twice[0] in text_columns:
        raise ConfigError(f"text column and label column are both {twice[0]!r}; "
                          "expected two columns")
    if twice:
        raise ConfigError(f"label_column names {twice[0]!r} twice; expected two columns")


def _left_out(bad_rows: list[str] | None) -> str:
    """Return what a message adds about rows that were left out."""
    return f" ({len(bad_rows):,} left out; the first: {bad_rows[0]})" if bad_rows else ""


def stream_texts(path: str | Path, text_column: str = "text", delimiter: str | None = None,
                 encoding: str = "utf-8-sig", *, quotes: bool | None = None,
                 columns: Sequence[str] | None = None, bad_rows: list[str] | None = None,
                 notes: list[str] | None = None) -> Iterator[str]:
    """Return an iterator over the texts of a file, which may be larger than memory.

    Parameters
    ----------
    path
        Ending in .txt: a text a line, blank lines left out; but a table where a delimiter or
        columns are given. Otherwise a table; see `read_table`, and `Reading`.

    Raises
    ------
    DataError, ConfigError
        As `read_table`; a bad row when it is reached.
    """
    path = find_data(path)
    if path.suffix.lower() == ".txt" and delimiter is None and not columns:
        if quotes is not None:
            raise ConfigError(f"quotes are of a table, and {path} is a text a line; leave them "
                              "out, or give the --delimiter of a table")
        texts = _text_a_line(path, text_column, encoding)
    else:
        texts = (text for _, (text,) in _rows(
            path, [text_column], 1, delimiter, encoding, FIELD_LIMIT, quotes, columns,
            refuser(bad_rows), notes))
    first = next(texts, None)
    if first is None:
        raise DataError(f"{path}: holds no text; expected at least one" + _left_out(bad_rows))
    return itertools.chain([first], texts)


def _text_a_line(path: Path, text_column: str, encoding: str) -> Iterator[str]:
    """Yield the lines of a file that hold a text."""
    lines = (line.rstrip("\r\n") for line in text_lines(path, encoding) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    cells = [cell.strip(' "') for cell in re.split("[,;\t]", first)]
    are_names = len(cells) > 1 and not any(" " in cell for cell in cells)  # and no sentence
    if are_names and text_column in cells:
        raise DataError(f"{path} line 1: looks like the header of a table, with the column "
                        f"{text_column!r}; a .txt is a text a line, and a table with a --delimiter")
    yield first
    yield from lines


def column_names(path: str | Path, delimiter: str | None = None,
                 encoding: str = "utf-8-sig") -> list[str]:
    """Return the columns of a file: the names in its header, or the keys of its first object.

    Raises
    ------
    DataError, ConfigError
        As `read_table`.
    """
    path = find_data(path)
    with contextlib.closing(text_lines(path, encoding)) as lines:
        if path.suffix.lower() in JSON_SUFFIXES:
            return [check_text(f"{path}, first row", "a key", name)
                    for name in first_object(path, lines)]
        with contextlib.closing(CsvFile(path, lines, delimiter, None, (),
                                        FIELD_LIMIT).rows()) as rows:
            return header_names(next(rows, (1, []))[1])


def table_from_lists(name: str, texts: Iterable[Text], labels: Iterable[Any],
                     kind: AnyKind = OneClass()) -> Table:
    """Return lists as a table, checked as a file would be.

    Parameters
    ----------
    name
        What messages call the lists.
    labels
        What the kind takes: for one class names or whole numbers.

    Raises
    ------
    DataError
        If the lists are not as long as each other, or empty, or an entry is no text or label.
    """
    if isinstance(texts, str) or isinstance(labels, str):
        raise DataError(f"{name}: one string; expected a sequence of texts and one of labels")
    texts, labels, same = list(texts), list(labels), {}
    if len(texts) != len(labels):
        raise DataError(f"{name}: {len(texts)} texts but {len(labels)} labels; "
                        "expected as many of each")
    if not texts:
        raise DataError(f"{name}: no rows; expected at least one")
    for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
        where = f"row {row} of {name}"
        label = kind.take(where, label)
        labels[row] = same.setdefault(label, label)
        pair = isinstance(text, tuple | list) and len(text) == 2
        if pair != isinstance(texts[0], tuple | list) or not all(
                map(is_clean, text if pair else [text])):
            raise DataError(f"{where}: the text is {text!r:.40}; expected text")
    return Table(name, texts, labels)


def _rows(path: Path, wanted: Sequence[str], texts: int, delimiter: str | None, encoding: str,
          field_limit: int, quotes: bool | None, columns: Sequence[str] | None,
          refuse: Refuse, notes: list[str] | None) -> Rows:
    """Yield the rows of a file, however large it is; the first `texts` values are text.

    What is to be told of it at the end goes to `notes`.
    """
    file = None
    with contextlib.closing(text_lines(path, encoding)) as lines:
        if path.suffix.lower() in JSON_SUFFIXES:
            if columns or quotes is not None:
                raise ConfigError(f"{'columns' if columns else 'quotes'} are of CSV files, and "
                                  f"{path} holds JSON; leave them out")
            rows = json_table(path, lines, wanted, field_limit, texts, refuse)
        else:
            file = CsvFile(path, lines, delimiter, quotes, columns or (), field_limit)
            rows = csv_rows(file, wanted, refuse)
        with contextlib.closing(rows):
            for line, values in rows:
                for column, value in zip(wanted, values[:texts], strict=False):
                    if not value or value.isspace():
                        refuse(DataError(f"{path} line {line}: {column!r} is empty; expected text"))
                        break
                else:
                    yield line, values
        if file is not None and file.note and notes is not None:
            notes.append(file.note)
