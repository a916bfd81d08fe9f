"""Labelled texts from CSV and JSON-lines files, read once and never guessed at.

What cannot be understood is one line that names the file and the row: a row that silently became
two rows, or a byte that became another letter, would only show up as a slightly worse model.
"""

import contextlib
import csv
from array import array
from dataclasses import dataclass
from pathlib import Path

from bert_kit.data.labels import OneClass
from bert_kit.data.read.text_lines import FORBIDDEN, check_text, find_data, text_lines
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.files import parse_json

FIELD_LIMIT = 10_000_000  # characters; a longer field is a quote that is never closed
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Table:
    """The rows of a file, or of lists that were given instead.

    Attributes
    ----------
    path : Path or str
        The file, or what to call the lists.
    texts : list of str, or of (str, str)
    labels : list or None
        As their kind reads them: names, tuples of names or numbers. None where no column was
        asked for.
    lines : array of int or None
        The line on which each row of the file starts; None for lists.
    """

    path: Path | str
    texts: list[str] | list[tuple[str, str]]
    labels: list | None
    lines: array | None = None

    @property
    def classes(self):
        """The different labels, sorted."""
        return sorted(set(self.labels or ()))

    def where(self, row):
        """Return how a message names a row (counted from 0): by its line in the file."""
        if self.lines is None:
            return f"row {row} of {self.path}"
        return f"{self.path} line {self.lines[row]}"


def read_table(path, text_column="text", label_column="category", delimiter=None,
               encoding="utf-8-sig", field_limit=FIELD_LIMIT):
    """Read the texts and labels of a CSV file with a header, or of a file with one object a line.

    Parameters
    ----------
    path : path
        Ending in .jsonl, .ndjson or .json: one JSON object a line. Otherwise CSV, quoted by the
        usual rules (RFC 4180). A relative path that does not exist is looked up in $DATADIR too.
    text_column : str, or (str, str)
        Header name, or key of the objects; two of them for pairs of texts. Other columns are
        ignored.
    label_column : str, or a kind of label
        A name for one class a row, or one of `LabelList`, `LabelColumns` and `Number`. With None
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
    lines = text_lines(path, encoding)
    if path.suffix.lower() in JSON_SUFFIXES:
        rows = json_rows(path, lines, columns, field_limit, len(text_columns))
    else:
        rows = _csv_rows(path, lines, columns, _delimiter(path, delimiter), field_limit)
    with contextlib.closing(lines), contextlib.closing(rows):  # also when a row is refused
        texts, labels, starts = _texts_and_labels(path, rows, text_columns, kind)
    if not texts:
        raise DataError(f"{path}: no rows; expected at least one below the header")
    return Table(path, texts, labels if kind else None, starts)


def _texts_and_labels(path, rows, text_columns, kind):
    """Return the texts, labels and lines of rows (line, values)."""
    texts, labels, starts = [], [], array("q")
    same = {}  # one object for each different label, however many rows have it
    for line, values in rows:
        where = f"{path} line {line}"
        for column, value in zip(text_columns, values):
            if not value or value.isspace():
                raise DataError(f"{where}: {column!r} is empty; expected text")
        starts.append(line)
        texts.append(values[0] if len(text_columns) == 1 else tuple(values[:len(text_columns)]))
        if kind:
            label = kind.read(where, values[len(text_columns):])
            labels.append(same.setdefault(label, label))
    return texts, labels, starts


def column_names(path, delimiter=None, encoding="utf-8-sig"):
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


def table_from_lists(name, texts, labels, kind=OneClass()):
    """Return lists as a table, checked as a file would be.

    Parameters
    ----------
    name : str
        What messages call the lists.
    texts : sequence of str, or of (str, str)
    labels : sequence
        What the kind takes: for one class names or whole numbers.
    kind : OneClass, LabelList or Number

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
    for row, (text, label) in enumerate(zip(texts, labels)):
        where = f"row {row} of {name}"
        label = kind.take(where, label)
        labels[row] = same.setdefault(label, label)
        pair = isinstance(text, tuple | list) and len(text) == 2
        if pair != isinstance(texts[0], tuple | list) or not all(
                map(_is_clean, text if pair else [text])):
            raise DataError(f"{where}: the text is {text!r:.40}; expected text")
    return Table(name, texts, labels)


def _is_clean(text):
    return isinstance(text, str) and text and not text.isspace() and not FORBIDDEN.search(text)


def _delimiter(path, delimiter):
    if delimiter is None:
        return "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    delimiter = "\t" if delimiter == "\\t" else delimiter  # as typed in a shell
    if len(delimiter) != 1 or delimiter in "\"\r\n\0 ":
        raise ConfigError(f"delimiter is {delimiter!r}; expected one character such as ',' ';' or "
                          "a tab (\\t)")
    return delimiter


def column_texts(path, column, delimiter=None, encoding="utf-8-sig", field_limit=FIELD_LIMIT):
    """Yield the texts of one column of a file, however large it is; see `read_table`.

    Raises
    ------
    DataError, ConfigError
        As `read_table`; a bad row when it is reached.
    """
    lines = text_lines(path, encoding)
    if path.suffix.lower() in JSON_SUFFIXES:
        rows = json_rows(path, lines, [column], field_limit)
    else:
        rows = _csv_rows(path, lines, [column], _delimiter(path, delimiter), field_limit)
    with contextlib.closing(lines), contextlib.closing(rows):  # also when a row is refused
        for line, (text,) in rows:
            if not text or text.isspace():
                raise DataError(f"{path} line {line}: {column!r} is empty; expected text")
            yield text


def _csv_rows(path, lines, columns, delimiter, field_limit):
    """Yield (first line, values of the columns) for every row below the header."""
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


def _places(path, header, columns, delimiter):
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


def _other_case(column, names):
    """Return a hint at a name that differs in case or outer spaces only, or nothing."""
    alike = [name for name in names if name.strip().casefold() == column.strip().casefold()]
    return f" (is it {alike[0]!r}?)" if alike else ""


def _listed(names):
    return ", ".join(map(repr, names))[:200] or "nothing"


def json_rows(path, lines, columns, field_limit, texts=None):
    """Yield (line, values of the keys) for every object of a file with one a line.

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


def _json_object(line, where):
    """Return a line of JSON as a dict."""
    try:
        row = parse_json(line, where)
    except BertKitError as error:
        raise DataError(str(error)) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, expected one object a line")
    return row
