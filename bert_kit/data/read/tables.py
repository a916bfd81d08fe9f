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

from bert_kit.data.alike import like
from bert_kit.data.labels import AnyKind, OneClass
from bert_kit.data.read.csv_rows import CsvFile, csv_rows, header_names
from bert_kit.data.read.bad_rows import (EMPTY_TEXT, NO_LABEL, UNKNOWN_LABEL, WRONG_BYTES,
                                         WRONG_LABEL, BadRow, Refuser)
from bert_kit.data.read.json_rows import JSON_SUFFIXES, Rows
from bert_kit.data.read.memory import RowsInMemory
from bert_kit.data.read.text_lines import FIELD_LIMIT, find_data, is_clean, text_lines
from bert_kit.data.read.tool_labels import json_columns, json_table
from bert_kit.errors import ConfigError, DataError

UNTRAINED = "the {word} {name!r:.40} has no row in the training part"

Text = str | tuple[str, str]  # of a row: one, or a pair
Source = str | Path | RowsInMemory  # of rows


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
        None refuses a file with a row that cannot be used. A list takes each such row as a
        `BadRow`, and it is left out.
    notes
        A list takes what is to be told of how the file was read, as of lone quote signs.
    """

    delimiter: str | None
    encoding: str
    quotes: bool | None
    columns: Sequence[str] | None
    bad_rows: list[BadRow] | None
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
    lines, before
        The line on which each row of the file starts, or the number of each row in memory, and how
        many rows were left out before it; None for lists.
    """

    path: Path | str
    texts: Sequence[Text]
    labels: Sequence[Any]
    lines: array | None = None
    before: array | None = None

    @property
    def classes(self) -> list[Any]:
        """The different labels, sorted."""
        return sorted(set(self.labels))

    def where(self, row: int) -> str:
        """Return how a message names a row (counted from 0): by its line in the file."""
        return row_name(self.path, row if self.lines is None else self.lines[row])

    def some(self, rows: Iterable[int]) -> "Table":
        """Return a table of some rows."""
        rows, lines = [*rows], self.lines
        return Table(self.path, [self.texts[row] for row in rows],
                     [self.labels[row] for row in rows],
                     None if lines is None else array("q", map(lines.__getitem__, rows)))


def row_name(source: Path | str | RowsInMemory, number: int) -> str:
    """Return how a message names a row: by its line in a file, or by its number from 0."""
    return (f"{source} line {number}" if isinstance(source, Path)
            else f"row {number} of {source}")


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


def read_table(path: Source, text_column: str | Sequence[str] = "text",
               label_column: str | AnyKind | OtherCells | None = "category",
               delimiter: str | None = None, encoding: str = "utf-8-sig",
               field_limit: int = FIELD_LIMIT, *, quotes: bool | None = None,
               columns: Sequence[str] | None = None, bad_rows: list[BadRow] | None = None,
               notes: list[str] | None = None) -> Table:
    """Read the texts and labels of a CSV file, or of a file of JSON objects.

    Parameters
    ----------
    path
        Ending in .jsonl, .ndjson or .json: one JSON object a line, or one list of objects; see
        `labelling_tools` too. Otherwise CSV by the usual rules (RFC 4180), with Excel's first line
        `sep=;`. A relative path that does not exist is looked up in $DATADIR. Or rows in memory.
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
    DataError, ConfigError
        If the file, a row, the delimiter or the encoding cannot be used; names the first line.
    """
    path = path if isinstance(path, RowsInMemory) else find_data(path)
    kind = OneClass(label_column) if isinstance(label_column, str) else label_column
    text_columns = [text_column] if isinstance(text_column, str) else list(text_column)
    wanted = [*text_columns, *(kind.columns if kind else ())]
    _check_names(text_columns, wanted)
    texts, labels, same, refuse = [], [], {}, Refuser(str(path), bad_rows)
    starts, before = array("q"), array("q")
    with contextlib.closing(_rows(path, wanted, len(text_columns), delimiter, encoding,
                                  field_limit, quotes, columns, refuse, notes, kind)) as rows:
        for line, values in rows:
            if kind:
                try:
                    label = kind.read(row_name(path, line), values[len(text_columns):])
                except DataError as error:
                    refuse(line, _label_fault(values[len(text_columns):]), error, values)
                    continue
                labels.append(same.setdefault(label, label))  # one object for all that are equal
            starts.append(line)
            before.append(len(bad_rows or ()))
            pair = values[:len(text_columns)]
            texts.append(pair[0] if len(pair) == 1 else tuple(pair))
    if not texts:
        below = " below the header" * isinstance(path, Path)
        raise DataError(f"{path}: no rows; expected at least one{below}" + refuse.left_out())
    return Table(path if isinstance(path, Path) else path.name, texts, labels, starts, before)


def _label_fault(cells: Iterable[Any]) -> str:
    """Return what is wrong with cells that hold no label, in two words."""
    empty = all(cell is None or not str(cell).strip() for cell in cells)
    return NO_LABEL if empty else WRONG_LABEL


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


def stream_texts(path: str | Path, text_column: str = "text", delimiter: str | None = None,
                 encoding: str = "utf-8-sig", *, quotes: bool | None = None,
                 columns: Sequence[str] | None = None, bad_rows: list[BadRow] | None = None,
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
    refuse = Refuser(path, bad_rows)
    if path.suffix.lower() == ".txt" and delimiter is None and not columns:
        if quotes is not None:
            raise ConfigError(f"quotes are of a table, and {path} is a text a line; leave them "
                              "out, or give the --delimiter of a table")
        texts = _text_a_line(path, text_column, encoding, refuse)
    else:
        texts = (text for _, (text,) in _rows(
            path, [text_column], 1, delimiter, encoding, FIELD_LIMIT, quotes, columns, refuse,
            notes))
    first = next(texts, None)
    if first is None:
        raise DataError(f"{path}: holds no text; expected at least one{refuse.left_out()}")
    return itertools.chain([first], texts)


def _text_a_line(path: Path, text_column: str, encoding: str, refuse: Refuser) -> Iterator[str]:
    """Yield the lines of a file that hold a text."""
    lines = _full_lines(path, encoding, refuse)
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


def _full_lines(path: Path, encoding: str, refuse: Refuser) -> Iterator[str]:
    """Yield the lines of a file that are not blank, without their ends."""
    for number, line in enumerate(text_lines(path, encoding, unclean=refuse.unclean), 1):
        if wrong := refuse.unclean_among([number]):
            refuse(number, WRONG_BYTES, wrong, line)
        elif line.strip():
            yield line.rstrip("\r\n")


def column_names(path: Source, delimiter: str | None = None,
                 encoding: str = "utf-8-sig") -> list[str]:
    """Return the columns of a file: the names in its header, or the keys of its first object.

    An object that cannot be used is passed over: to tell of it is up to who reads the rows.

    Raises
    ------
    DataError, ConfigError
        As `read_table`.
    """
    if isinstance(path, RowsInMemory):
        return path.names
    path = find_data(path)
    refuse, is_json = Refuser(path, []), path.suffix.lower() in JSON_SUFFIXES
    with contextlib.closing(text_lines(path, encoding,
                                       unclean=refuse.unclean if is_json else None)) as lines:
        if is_json:
            return json_columns(path, lines, refuse)
        with contextlib.closing(CsvFile(path, lines, delimiter, None, (),
                                        FIELD_LIMIT).rows()) as rows:
            return header_names(next(rows, (1, []))[1])


def known_rows(table: Table, classes: Sequence[str], kind: AnyKind,
               bad_rows: list[BadRow] | None, unknown: str = UNTRAINED) -> Table:
    """Return the rows of a table whose labels are known.

    Parameters
    ----------
    bad_rows
        Takes the others; with None they are refused.
    unknown
        What a message says of a label that is not among the `classes`.

    Raises
    ------
    DataError
        Names the row and the label; or says that no row is left.
    """
    known, refuse, kept = set(classes), Refuser(table.path, bad_rows), []
    strange = {label for label in set(table.labels) if not known.issuperset(kind.names(label))}
    if not strange:
        return table
    for row, label in enumerate(table.labels):
        if label not in strange:
            kept.append(row)
            continue
        name = next(name for name in kind.names(label) if name not in known)
        wrong = DataError(
            f"{table.where(row)}: {unknown.format(word=kind.word, name=name)}{like(name, classes)}"
            f"; expected one of {', '.join(map(repr, sorted(known)))[:200]}")
        if table.lines is None:  # a list has no option
            raise wrong
        refuse(table.lines[row], UNKNOWN_LABEL, wrong, [table.texts[row], kind.text(label)])
    if not kept:
        raise DataError(f"{table.path}: no row with a known {kind.word}{refuse.left_out()}")
    return table.some(kept)


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


def _rows(path: Path | RowsInMemory, wanted: Sequence[str], texts: int, delimiter: str | None,
          encoding: str, field_limit: int, quotes: bool | None, columns: Sequence[str] | None,
          refuse: Refuser, notes: list[str] | None,
          kind: AnyKind | OtherCells | None = None) -> Rows:
    """Yield the rows of a file, however large it is; the first `texts` values are text.

    What is to be told of it at the end goes to `notes`.
    """
    if isinstance(path, RowsInMemory):
        yield from _with_text(path, path.rows(wanted, texts, refuse), wanted[:texts], refuse)
        return
    file = None
    with contextlib.closing(text_lines(path, encoding, unclean=refuse.unclean)) as lines:
        if path.suffix.lower() in JSON_SUFFIXES:
            if columns or quotes is not None:
                raise ConfigError(f"{'columns' if columns else 'quotes'} are of CSV files, and "
                                  f"{path} holds JSON; leave them out")
            rows = json_table(path, lines, wanted, field_limit, texts, kind, refuse, notes)
        else:
            file = CsvFile(path, lines, delimiter, quotes, columns or (), field_limit)
            rows = csv_rows(file, wanted, refuse)
        with contextlib.closing(rows):
            yield from _with_text(path, rows, wanted[:texts], refuse)
        if file is not None and file.note and notes is not None:
            notes.append(file.note)


def _with_text(path: Path | RowsInMemory, rows: Rows, columns: Sequence[str],
               refuse: Refuser) -> Rows:
    """Yield the rows whose first values, those of the text columns, are not empty."""
    for line, values in rows:
        for column, value in zip(columns, values, strict=False):
            if not value or value.isspace():
                refuse(line, EMPTY_TEXT, DataError(
                    f"{row_name(path, line)}: {column!r} is empty; expected text"), values, values)
                break
        else:
            yield line, values
