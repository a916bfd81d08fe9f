"""Labelled texts from CSV and JSON-lines files, read once and never guessed at.

What cannot be understood is one line that names the file and the row: a row that silently became
two rows, or a byte that became another letter, would only show up as a slightly worse model.
"""

import contextlib
import csv
import itertools
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_kit.data.labels import AnyKind, OneClass
from bert_kit.data.read.text_lines import check_text, find_data, is_clean, text_lines
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.files import parse_json

FIELD_LIMIT = 10_000_000  # characters; a longer field is a quote that is never closed
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")

Text = str | tuple[str, str]  # of a row: one, or a pair
Rows = Generator[tuple[int, list[Any]], None, None]  # line on which each begins, and its values


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


def read_table(path: str | Path, text_column: str | Sequence[str] = "text",
               label_column: str | AnyKind | None = "category", delimiter: str | None = None,
               encoding: str = "utf-8-sig", field_limit: int = FIELD_LIMIT) -> Table:
    """Read the texts and labels of a CSV file with a header, or of a file with one object a line.

    Parameters
    ----------
    path
        Ending in .jsonl, .ndjson or .json: one JSON object a line. Otherwise CSV, quoted by the
        usual rules (RFC 4180). A relative path that does not exist is looked up in $DATADIR too.
    text_column
        Header name, or key of the objects; two of them for pairs of texts. Other columns are
        ignored.
    label_column
        A name for one class a row, or one of `LabelList`, `LabelColumns` and `Number`. With None
        only the texts are read.
    delimiter
        By default a tab for .tsv and .tab, else a comma.
    encoding
        UTF-8 by default, with or without a byte order mark. Other encodings are never guessed.
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
    columns = [*text_columns, *(kind.columns if kind else ())]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ConfigError(f"text column and label column are both {twice[0]!r}; "
                          "expected two columns")
    texts: list[Text] = []
    labels, starts, same = [], array("q"), {}
    with contextlib.closing(_rows(path, columns, len(text_columns), delimiter, encoding,
                                  field_limit)) as rows:  # also when a label is refused
        for line, values in rows:
            starts.append(line)
            pair = values[:len(text_columns)]
            texts.append(pair[0] if len(pair) == 1 else tuple(pair))
            if kind:
                label = kind.read(f"{path} line {line}", values[len(text_columns):])
                labels.append(same.setdefault(label, label))  # one object for all that are equal
    if not texts:
        raise DataError(f"{path}: no rows; expected at least one below the header")
    return Table(path, texts, labels, starts)


def stream_texts(path: str | Path, text_column: str = "text", delimiter: str | None = None,
                 encoding: str = "utf-8-sig") -> Iterator[str]:
    """Return an iterator over the texts of a file, which may be larger than memory.

    Parameters
    ----------
    path
        Ending in .txt: a text a line, blank lines left out. Otherwise a table; see `read_table`,
        also for the other parameters.

    Raises
    ------
    DataError, ConfigError
        As `read_table`; a bad row when it is reached.
    """
    path = find_data(path)
    if path.suffix.lower() == ".txt":
        texts = (line.rstrip("\r\n") for line in text_lines(path, encoding) if line.strip())
    else:
        texts = (text for _, (text,) in _rows(path, [text_column], 1, delimiter, encoding,
                                              FIELD_LIMIT))
    first = next(texts, None)
    if first is None:
        raise DataError(f"{path}: holds no text; expected at least one")
    return itertools.chain([first], texts)


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
            line = next(filter(str.strip, lines), "{}")
            return list(_json_object(line, f"{path}, first row"))
        header = next(filter(None, csv.reader(lines, delimiter=_delimiter(path, delimiter))), [])
    return [name.strip() for name in header]


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


def _delimiter(path: Path, delimiter: str | None) -> str:
    if delimiter is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    delimiter = "\t" if delimiter == "\\t" else delimiter  # as typed in a shell
    if len(delimiter) != 1 or delimiter in "\"\r\n\0 ":
        raise ConfigError(f"delimiter is {delimiter!r}; expected one character such as ',' ';' or "
                          "a tab (\\t)")
    return delimiter


def _rows(path: Path, columns: Sequence[str], texts: int, delimiter: str | None, encoding: str,
          field_limit: int) -> Rows:
    """Yield the rows of a file, however large it is; the first `texts` values are text."""
    with contextlib.closing(text_lines(path, encoding)) as lines:
        if path.suffix.lower() in JSON_SUFFIXES:
            rows = json_rows(path, lines, columns, field_limit, texts)
        else:
            rows = _csv_rows(path, lines, columns, _delimiter(path, delimiter), field_limit)
        with contextlib.closing(rows):
            for line, values in rows:
                for column, value in zip(columns[:texts], values[:texts], strict=True):
                    if not value or value.isspace():
                        raise DataError(f"{path} line {line}: {column!r} is empty; expected text")
                yield line, values


def _csv_rows(path: Path, lines: Iterable[str], columns: Sequence[str], delimiter: str,
              field_limit: int) -> Rows:
    """Yield every row below the header."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    first = 1
    old_limit = csv.field_size_limit(field_limit)  # the csv module has only this global setting
    try:
        header = next(filter(None, reader), None)
        if header is None:
            raise DataError(f"{path}: empty; expected a header with {', '.join(columns)}")
        places = _places(path, [name.strip() for name in header], columns, delimiter)
        first, width = reader.line_num + 1, len(header)
        for row in reader:
            if len(row) == width:
                yield first, [row[place] for place in places]
            elif len(row) > 1 or row and row[0].strip():  # else a blank line
                raise DataError(f"{path} line {first}: {len(row)} fields, expected {width} "
                                f"as in the header (a {delimiter!r} in a text needs quotes)")
            first = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} line {first}: {error}; expected CSV (is a quote never closed or "
                        "not doubled?)") from None
    finally:
        csv.field_size_limit(old_limit)


def _places(path: Path, header: list[str], columns: Sequence[str], delimiter: str) -> list[int]:
    """Return where the columns stand in the header. A column without a name is never read."""
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header holds {_listed(twice[:1])} more than once; "
                        "expected different names")
    for column in columns:
        if column not in header:
            others = [mark for mark in ",;\t|" if mark != delimiter
                      and column in (part.strip(' "') for name in header
                                     for part in name.split(mark))]
            hint = f" (is the delimiter {others[0]!r}? give --delimiter)" if others else ""
            raise DataError(f"{path}: no column {column!r} in the header"
                            f"{hint or _other_case(column, header)}; found {_listed(header)}")
    return [header.index(column) for column in columns]


def _other_case(column: str, names: Iterable[str]) -> str:
    """Return a hint at a name that differs in case or outer spaces only, or nothing."""
    alike = [name for name in names if name.strip().casefold() == column.strip().casefold()]
    return f" (is it {alike[0]!r}?)" if alike else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))[:200] or "nothing"


def json_rows(path: Path, lines: Iterable[str], columns: Sequence[str], field_limit: int,
              texts: int | None = None) -> Rows:
    """Yield every object of a file with one a line.

    The first `texts` of the values must be text; by default all.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        if len(line) > field_limit:
            raise DataError(f"{where}: {len(line):,} characters; at most {field_limit:,} are read")
        row = _json_object(line, where)
        for column in columns:
            if column not in row:
                raise DataError(f"{where}: no key {column!r}{_other_case(column, row)}; "
                                f"found {_listed(row)}")
        for column in columns[:texts]:
            check_text(where, column, row[column])
        yield number, [row[column] for column in columns]


def _json_object(line: str, where: str) -> dict[str, Any]:
    """Return a line of JSON as a dict."""
    try:
        row = parse_json(line, where)
    except BertKitError as error:
        raise DataError(str(error)) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, expected one object a line")
    return row
