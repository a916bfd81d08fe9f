"""The rows of CSV files and their like, with a header or without."""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from bert_kit.cells import unguard
from bert_kit.data.read.json_rows import Refuse, Rows, listed, other_case
from bert_kit.errors import ConfigError, DataError

# What Excel writes and reads as a first line: which delimiter follows.
_SEPARATOR_LINE = re.compile('"?sep=([^\r\n"])"?[\r\n]*')


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
        encloses too, but not where several lines between tabs would become one cell and each of
        them is a row as it stands: those are lone quote signs in texts.
    columns
        What the columns of a file without a header are called.
    field_limit
        Longest cell in characters.

    Attributes
    ----------
    note
        What to tell of quote signs that were read as they stand, "" if there were none.
    """

    note = ""

    def __init__(self, path: Path, lines: Iterable[str], delimiter: str | None,
                 quotes: bool | None, columns: Sequence[str], field_limit: int) -> None:
        self.path, self.quotes, self.columns = path, quotes, list(columns)
        self.field_limit = field_limit
        self._read: list[str] = []  # the lines of the row at hand
        lines = iter(lines)
        first = next(lines, "")
        self.delimiter = _delimiter(path, delimiter)
        if mark := _SEPARATOR_LINE.fullmatch(first):
            self.delimiter = self.delimiter if delimiter else mark[1]
            first = ""
        self.skipped = int(not first)
        self._lines = self._remembered(first, lines)

    def _remembered(self, first: str, lines: Iterator[str]) -> Iterator[str]:
        if first:
            self._read.append(first)
            yield first
        for line in lines:
            self._read.append(line)
            yield line

    def rows(self) -> Generator[tuple[int, list[str]], None, None]:
        """Yield the line on which each row starts, and its cells; first the header.

        Raises
        ------
        DataError
            For cells that cannot be told apart; names the line.
        """
        first = 1 + self.skipped
        if self.columns:
            yield first, self.columns
        reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True,
                            quoting=csv.QUOTE_NONE if self.quotes is False else csv.QUOTE_MINIMAL)
        old_limit = csv.field_size_limit(self.field_limit)  # csv has only this global setting
        width = len(self.columns)
        try:
            for row in reader:
                if row:
                    width = width or len(row)
                    if len(self._read) > 1 and self._are_rows(width):
                        yield from self._as_they_stand(first)
                    else:
                        yield first, row
                self._read.clear()
                first = reader.line_num + 1 + self.skipped
        except csv.Error as error:
            raise DataError(f"{self.path} line {first}: {error}; expected CSV (is a quote never "
                            "closed or not doubled? --quotes false reads quote signs as they "
                            "stand)") from None
        finally:
            csv.field_size_limit(old_limit)

    def _are_rows(self, width: int) -> bool:
        """Say whether the lines of a row are each a row, if quote signs stand for themselves."""
        lines = [line for line in self._read if line.strip()]
        return (self.quotes is None and self.delimiter == "\t" and len(lines) > 1
                and all(line.count("\t") == width - 1 for line in lines))

    def _as_they_stand(self, first: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the lines of a row as rows."""
        self.note = self.note or (
            f"{self.path} line {first}: quote signs are read as they stand, for between them are "
            f"{len(self._read)} lines that each are a row (--quotes true takes them as the ends "
            "of one cell)")
        for line, text in enumerate(self._read, first):
            if text.strip():
                yield line, text.rstrip("\r\n").split("\t")


def csv_rows(file: CsvFile, columns: Sequence[str], refuse: Refuse) -> Rows:
    """Yield some cells of every row below the header."""
    with contextlib.closing(file.rows()) as rows:
        _, header = next(rows, (1, None))
        if header is None:
            raise DataError(f"{file.path}: empty; expected a header with {', '.join(columns)}")
        yield from _below_header(file, rows, len(header),
                                 _places(file, header_names(header), columns), refuse)


def _below_header(file: CsvFile, rows: Iterable[tuple[int, list[str]]], width: int,
                  places: Sequence[int], refuse: Refuse) -> Rows:
    """Yield the cells at some places of every row."""
    for line, row in rows:
        if len(row) == width:
            yield line, [unguard(row[place]) for place in places]
        elif len(row) > 1 or row[0].strip():  # else a blank line
            more = (f"a {file.delimiter!r} in a text needs quotes" if len(row) > width
                    else "is a cell missing?")
            if any('"' in cell for cell in row) and file.quotes is not False:
                more += "; --quotes false reads quote signs as they stand"
            names = "the columns" if file.columns else "in the header"
            refuse(DataError(f"{file.path} line {line}: {len(row)} fields, expected {width} as "
                             f"{names} ({more})"))


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
                    else other_case(column, header))
            end = "" if hint or file.columns else " (of a file without one, name the --columns)"
            raise DataError(f"{file.path}: no column {column!r} in the header{hint}; found "
                            f"{listed(header)}{end}")
    return [place_of[column] for column in columns]
