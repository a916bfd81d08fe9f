"""The rows of JSON files: one object a line, or one list of objects."""

from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bert_kit.cells import FORBIDDEN
from bert_kit.data.alike import like
from bert_kit.data.read.bad_rows import NOT_JSON, WRONG_BYTES, WRONG_KEYS, Refuser
from bert_kit.data.read.text_lines import check_text
from bert_kit.errors import BertKitError, DataError
from bert_kit.parsing import check_count, parse_json

LIST_LIMIT = 2**30  # bytes of a file that is one list: its text is in memory as a whole
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")

Rows = Generator[tuple[int, list[Any]], None, None]  # line on which each begins, and its values
Objects = Generator[tuple[int, dict[str, Any]], None, None]


def json_rows(path: Path, lines: Iterable[str], columns: Sequence[str], field_limit: int,
              refuse: Refuser, texts: int | None = None) -> Rows:
    """Yield every object of a file with one a line.

    The first `texts` of the values must be text; by default all.
    """
    return row_values(path, _objects_in_lines(path, lines, field_limit, refuse), columns, texts,
                      refuse)


def row_values(path: Path, objects: Iterable[tuple[int, dict[str, Any]]], columns: Sequence[str],
               texts: int | None, refuse: Refuser) -> Rows:
    """Yield of each (line, object) the values of some columns; see `json_rows`."""
    for line, row in objects:
        try:
            values = _values(row, f"{path} line {line}", columns, texts)
        except DataError as error:
            refuse(line, WRONG_KEYS, error, row)
        else:
            yield line, values


def json_objects(path: Path, lines: Iterable[str], field_limit: int, refuse: Refuser) -> Objects:
    """Yield (line, object) of a file with one a line, or of a file that is one list of objects."""
    lines, blank, first = iter(lines), "", ""
    for first in lines:
        if first.strip():
            break
        blank += "\n"
    if not first.lstrip().startswith("["):
        yield from _objects_in_lines(path, chain([first], lines), field_limit, refuse,
                                     len(blank) + 1)
        return
    if path.stat().st_size > LIST_LIMIT:
        raise DataError(f"{path}: one list of more than {LIST_LIMIT:,} bytes; expected one object "
                        "a line (.jsonl), of which any number is read")
    for line, value, written in _listed_values(path, blank + first + "".join(lines)):
        if refuse.unclean and FORBIDDEN.search(written):
            wrong = refuse.unclean_among(range(line, line + written.count("\n") + 1))
            refuse(line, WRONG_BYTES, wrong or next(iter(refuse.unclean.values())), written)
        elif isinstance(value, dict):
            yield line, value
        else:
            refuse(line, NOT_JSON, _no_object(value, f"{path} line {line}"), value)


def _objects_in_lines(path: Path, lines: Iterable[str], field_limit: int, refuse: Refuser,
                      start: int = 1) -> Objects:
    """Yield (line, object); the first line is number `start`."""
    for number, line in enumerate(lines, start):
        if not line.strip():
            continue
        where, reason = f"{path} line {number}", NOT_JSON
        try:
            if wrong := refuse.unclean_among([number]):
                reason = WRONG_BYTES
                raise wrong
            if len(line) > field_limit:
                raise DataError(f"{where}: {len(line):,} characters; at most {field_limit:,} are "
                                "read")
            row = json_object(line, where)
        except DataError as error:
            refuse(number, reason, error, line)
        else:
            yield number, row


def _no_object(value: object, where: str) -> DataError:
    return DataError(f"{where}: a {type(value).__name__} in a list, expected one object a line, or "
                     "a list of objects")


def _listed_values(path: Path, text: str) -> Generator[tuple[int, Any, str], None, None]:
    """Yield the line of each value of a JSON list, the value, and its text.

    One at a time: all at once take ten times the text.
    """
    place, line, counted = text.index("[") + 1, 1, 0
    try:
        check_count(text, path)
    except BertKitError as error:
        raise DataError(str(error)) from None
    while True:
        place = _behind_spaces(text, place)
        if text[place:place + 1] == "]":
            break
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, end = parse_json(text, f"{path} line {line}", place)
        except BertKitError as error:
            raise DataError(str(error)) from None
        yield line, value, text[place:end]
        place = _behind_spaces(text, end)
        if text[place:place + 1] not in (",", "]"):
            raise DataError(f"{path} line {line}: not valid JSON (an object of the list is not "
                            "followed by , or ])")
        place += text[place] == ","
    if text[place + 1:].strip():
        raise DataError(f"{path}: not valid JSON (more text behind the list)")


def _behind_spaces(text: str, place: int) -> int:
    while text[place:place + 1] in (" ", "\n", "\r", "\t"):
        place += 1
    return place


def _values(row: dict[str, Any], where: str, columns: Sequence[str],
            texts: int | None) -> list[Any]:
    """Return the values of a row, in the order of the columns."""
    labelled = texts is not None and len(columns) > texts
    if labelled and "answer" not in columns and row.get("answer") in ("reject", "ignore"):
        raise DataError(f"{where}: 'answer' is {row['answer']!r}, as Prodigy says of a label that "
                        "was not accepted; expected rows that were, or another name of the key")
    for column in columns:
        if column not in row:
            raise DataError(f"{where}: no key {column!r}{like(column, row)}; "
                            f"found {listed(row)}")
    for column in columns[:texts]:
        check_text(where, column, row[column])
    return [row[column] for column in columns]


def json_object(line: str, where: str) -> dict[str, Any]:
    """Return a line of JSON as a dict."""
    try:
        row = parse_json(line, where)
    except BertKitError as error:
        over_lines = "" if line.count("{") <= line.count("}") else (
            "; expected a whole object a line, or a list of objects in [ ]")
        raise DataError(f"{error}{over_lines}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {type(row).__name__}, expected one object a line")
    return row


def listed(names: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(map(repr, names))[:200] or "nothing"
