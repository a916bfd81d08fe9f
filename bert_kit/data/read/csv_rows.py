"""The rows of CSV files and their like, with a header or without."""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from bert_kit.cells import unguard
from bert_kit.data.alike import like
from bert_kit.data.read.bad_rows import WRONG_BYTES, WRONG_CELLS, Refuser
from bert_kit.data.read.json_rows import Rows, listed
from bert_kit.errors import ConfigError, DataError

# What Excel writes and reads as a first line: which delimiter follows.
_SEPARATOR_LINE = re.compile('"?sep=([^\r\n"])"?[\r\n]*')
_QUOTES = "--quotes false reads quote signs as they stand"

Cells = tuple[int, list[str]]  # the line on which a row begins, and its cells


class CsvFile:
    """A file of cells, read once from its top.

    Parameters
    ----------
    lines
        With their ends.
    delimiter
        None is a tab for .tsv and .tab, else a comma.
    quotes
        Whether quote signs enclose cells (RFC 4180); with False they stand for themselves. None
        encloses too, but between tabs not over the end of a line where this line and the next are
        each a row as they stand: that is a lone quote sign in a text.
    columns
        What the columns of a file without a header are called.
    field_limit
        Longest cell in characters.

    Attributes
    ----------
    note
        What to tell of quote signs that may mean something else, "" for nothing.
    """

    note = ""

    def __init__(self, path: Path, lines: Iterable[str], delimiter: str | None,
                 quotes: bool | None, columns: Sequence[str], field_limit: int) -> None:
        self.path, self.quotes, self.columns = path, quotes, list(columns)
        self.field_limit, self.width = field_limit, len(columns)
        self.delimiter = _delimiter(path, delimiter)
        lines = iter(lines)
        top = [line for line in [next(lines, "")] if line]
        self.skipped = 0
        if top and (mark := _SEPARATOR_LINE.fullmatch(top[0])):
            self.delimiter = self.delimiter if delimiter else mark[1]
            top, self.skipped = [], 1
        self._lines = chain(top, lines)

    def rows(self, refuse: Refuser | None = None) -> Generator[Cells, None, None]:
        """Yield the line on which each row starts, and its cells; first the header.

        Raises
        ------
        DataError
            For cells that cannot be told apart; names the line. Of one line it goes to `refuse`.
        """
        refuse, first = refuse or Refuser(self.path), 1 + self.skipped
        unclean = refuse.unclean  # empty but for rare rows: a call a row takes time
        if self.columns:
            yield first, self.columns
        old_limit = csv.field_size_limit(self.field_limit)  # csv has only this global setting
        try:
            for lines, row in (self._between_tabs() if self.quotes is None
                               and self.delimiter == "\t" else self._enclosed()):
                if isinstance(row, csv.Error):
                    wrong = DataError(f"{self.path} line {first}: {row}; expected CSV (is a quote "
                                      f"never closed or not doubled? {_QUOTES})")
                    if lines > 1 or not self.width:
                        raise wrong
                    refuse(first, "quote sign out of place", wrong)
                elif unclean and (wrong := refuse.unclean_among(range(first, first + lines))):
                    if not self.width:  # the header
                        raise wrong
                    refuse(first, WRONG_BYTES, wrong, self.delimiter.join(row))
                elif row:
                    self.width = self.width or len(row)
                    yield first, row
                first += lines
        finally:
            csv.field_size_limit(old_limit)

    def _enclosed(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Yield rows by the rules of CSV: the number of their lines, and their cells."""
        kept: list[str] = []  # the lines of the row at hand
        reader = self._reader(line for line in self._lines if kept.append(line) is None)
        while (row := _next_row(reader)) is not None:
            if len(kept) > 1 and self.quotes is None and not self.note and all(
                    map(self._is_row, filter(str.strip, kept))):
                self.note = (f"{self.path}: quote signs make one cell of {len(kept)} lines that "
                             f"could each be a row, from {kept[0].strip()!r:.60} on ({_QUOTES}, "
                             "--quotes true says that all is well)")
            yield len(kept), row
            kept.clear()

    def _between_tabs(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Yield rows likewise, but where a line and the next are each a row, none goes on."""
        ahead: list[str] = []  # lines that were looked at, the next one last
        following = iter(lambda: ahead.pop() if ahead else next(self._lines, ""), "")
        for line in following:
            if '"' not in line and len(line) <= self.field_limit:
                yield 1, line.rstrip("\r\n").split("\t") if line.strip("\r\n") else []
                continue
            row, lines = _next_row(self._reader([line])), 1
            if isinstance(row, csv.Error):
                if self._is_row(line) and self._begins_row(following, ahead):
                    row = line.rstrip("\r\n").split("\t")
                    self.note = self.note or (
                        f"{self.path}: quote signs are read as they stand where each line is a row "
                        f"like that, as in {line.strip()!r:.60} (--quotes true takes them as the "
                        "ends of cells)")
                else:
                    kept = [line]
                    row = _next_row(self._reader(chain([line], (
                        more for more in following if kept.append(more) is None))))
                    lines = len(kept)
            yield lines, row or []

    def _begins_row(self, following: Iterator[str], ahead: list[str]) -> bool:
        """Say whether the next line with anything on it is a row, or none comes; it stays next."""
        seen = []
        for line in following:
            seen.append(line)
            if line.strip():
                break
        ahead += reversed(seen)
        return not seen or not seen[-1].strip() or self._is_row(seen[-1])

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        quoting = csv.QUOTE_NONE if self.quotes is False else csv.QUOTE_MINIMAL
        return csv.reader(lines, delimiter=self.delimiter, strict=True, quoting=quoting)

    def _is_row(self, line: str) -> bool:
        """Say whether a line is a row of several cells, if quote signs stand for themselves."""
        return (self.width > 1 and line.count(self.delimiter) == self.width - 1
                and len(line) <= self.field_limit)


def _next_row(reader: Iterator[list[str]]) -> list[str] | csv.Error | None:
    """Return the next row, what is wrong with it, or None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return error


def csv_rows(file: CsvFile, columns: Sequence[str], refuse: Refuser) -> Rows:
    """Yield some cells of every row below the header."""
    with contextlib.closing(file.rows(refuse)) as rows:
        _, header = next(rows, (1, None))
        if header is None:
            raise DataError(f"{file.path}: empty; expected a header with {', '.join(columns)}")
        yield from _below_header(file, rows, len(header),
                                 _places(file, header_names(header), columns), refuse)


def _below_header(file: CsvFile, rows: Iterable[tuple[int, list[str]]], width: int,
                  places: Sequence[int], refuse: Refuser) -> Rows:
    """Yield the cells at some places of every row."""
    for line, row in rows:
        if len(row) == width:
            yield line, [unguard(cell) if cell[:1] == "'" else cell  # a call a cell takes time
                         for cell in map(row.__getitem__, places)]
        elif len(row) > 1 or row[0].strip():  # else a blank line
            more = (f"a {file.delimiter!r} in a text needs quotes" if len(row) > width
                    else "is a cell missing?")
            if any('"' in cell for cell in row) and file.quotes is not False:
                more += f"; {_QUOTES}"
            names = "the columns" if file.columns else "in the header"
            refuse(line, WRONG_CELLS, DataError(
                f"{file.path} line {line}: {len(row)} fields, expected {width} as {names} ({more})"
            ), file.delimiter.join(row))


def header_names(header: Iterable[str]) -> list[str]:
    """Return the names in a header."""
    return [unguard(name.strip()) for name in header]


def _delimiter(path: Path, delimiter: str | None) -> str:
    if delimiter is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    delimiter = "\t" if delimiter == "\\t" else delimiter  # as typed in a shell
    if len(delimiter) != 1 or delimiter in "\"\r\n\0 ":
        raise ConfigError(f"delimiter is {delimiter!r}; expected one character such as ',' ';' or "
                          "a tab (\\t)")
    return delimiter


def _places(file: CsvFile, header: list[str], columns: Sequence[str]) -> list[int]:
    """Return where the columns stand in the header. A column without a name is never read."""
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise DataError(f"{file.path}: the header holds {listed(twice[:1])} more than once; "
                        "expected different names")
    place_of = {name: place for place, name in enumerate(header)}
    for column in columns:
        if column not in place_of:
            others = [mark for mark in ",;\t|" if mark != file.delimiter
                      and column in (part.strip(' "') for name in header
                                     for part in name.split(mark))]
            hint = (f" (is the delimiter {others[0]!r}? give --delimiter)" if others
                    else like(column, header))
            end = "" if hint or file.columns else (
                " (--text_column or --label_column names another; of a file without a header, "
                "name the --columns)")
            raise DataError(f"{file.path}: no column {column!r} in the header{hint}; found "
                            f"{listed(header)}{end}")
    return [place_of[column] for column in columns]
