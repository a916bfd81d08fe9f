"""Documents from text files of any size, read as they are needed.

- `.txt` and others: one sentence or passage a line, an empty line between documents, which is
  BERT's own pre-training input. In a file without an empty line every line is a document. Empty
  is a line of nothing but ASCII white space. In a file whose lines end with CR alone, every line
  is a document.
- `.jsonl`: one object a line, whose "text" is a document.

A file can be read in several ranges of bytes, by several processes. It is cut where a document
begins, so that the ranges hold the documents of the file in their order, whatever their number.
"""

import codecs
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bert_kit.data.read.bad_rows import WRONG_BYTES, BadRow, Refuser
from bert_kit.data.read.json_rows import JSON_SUFFIXES, json_rows
from bert_kit.data.read.memory import RowsInMemory
from bert_kit.data.read.tables import FIELD_LIMIT
from bert_kit.data.read.text_lines import (check_file, codec_name, find_data,
                                           text_lines)
from bert_kit.errors import DataError


class ByteRange(NamedTuple):
    """Some whole documents of a file.

    Attributes
    ----------
    start, end
        Bytes; the first and the one after the last.
    gaps
        Whether empty lines separate the documents; else each line is one.
    """

    path: Path
    start: int
    end: int
    gaps: bool
    encoding: str = "utf-8"


def read_documents(files: str | Path | Iterable[str | Path | RowsInMemory],
                   encoding: str = "utf-8",
                   bad_rows: list[BadRow] | None = None) -> Iterator[list[str]]:
    """Yield the documents of text files.

    Parameters
    ----------
    files
        A relative path that does not exist is looked up in $DATADIR too. Rows in memory are
        read like a .jsonl file: their column "text" has the documents.
    encoding
        Of the files; never guessed.
    bad_rows
        None refuses a file with a line that is not clean text, or no such object. A list takes
        each as a `BadRow`, and the line is left out of its document.

    Yields
    ------
        The lines of a document that are not empty, without line ends and spaces around them. Their
        text is `" ".join(lines)`.

    Raises
    ------
    DataError
        If a file cannot be read or is not clean text (see `text_lines`), a line of it is
        not such an object, or a line or a document is longer than ten million characters; names
        the file and the line.
    """
    for path in [files] if isinstance(files, str | Path) else files:
        if isinstance(path, RowsInMemory):
            refuse = Refuser(path.name, bad_rows)
            yield from (_lines_of(text) for _, (text,) in path.rows(["text"], 1, refuse))
            continue
        for part in cut_file(path, encoding=encoding):
            yield from read_range(part, bad_rows)


def cut_file(path: str | Path, size: int | None = None,
             encoding: str = "utf-8") -> list[ByteRange]:
    """Cut a file into ranges of whole documents.

    Parameters
    ----------
    size
        Bytes of a range, which ends with the document that reaches them. None cuts nothing.
    encoding
        Another one than UTF-8 cuts nothing either: only of that is known which bytes end a line.

    Returns
    -------
        No range for an empty file.
    """
    path, codec = find_data(path), codec_name(encoding)
    in_lines = path.suffix.lower() not in JSON_SUFFIXES
    try:
        check_file(path, codec)
        if codec != "utf-8-sig":
            gaps = in_lines and _has_gaps(map(_is_empty, text_lines(path, encoding, unclean={})))
            size = path.stat().st_size
            return [ByteRange(path, 0, size, gaps, encoding)] if size else []
        with open(path, "rb") as handle:
            gaps = in_lines and _has_gaps(
                line.isspace() for line in iter(partial(_next_line, handle), b""))
            cuts = _cuts(handle, size, gaps)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return [ByteRange(path, start, end, gaps) for start, end in pairwise(cuts) if start < end]


def _has_gaps(empty: Iterable[bool]) -> bool:
    """Return whether an empty line stands between two others, by which lines are empty."""
    seen = gap = False
    for is_empty in empty:
        if not is_empty:
            if gap:
                return True
            seen = True
        gap = seen and is_empty
    return False


def _is_empty(line: str) -> bool:
    return line.isascii() and line.isspace()


def _cuts(handle: BinaryIO, size: int | None, gaps: bool) -> list[int]:
    """Return where the ranges begin, and the end of the file."""
    total, mark = handle.seek(0, os.SEEK_END), codecs.BOM_UTF8
    handle.seek(0)
    cuts = [len(mark) if handle.read(len(mark)) == mark else 0]
    while size is not None and cuts[-1] + size < total:
        handle.seek(cuts[-1] + size)
        line = _next_line(handle)  # the rest of one, which may look empty
        while gaps and line and not (line := _next_line(handle)).isspace():
            pass
        cuts.append(handle.tell())
    return [*cuts, total]


def _next_line(handle: BinaryIO) -> bytes:
    """Return the next line; refuse to read one without an end into memory."""
    limit = 4 * FIELD_LIMIT  # a character has at most four bytes
    line = handle.readline(limit)
    if len(line) == limit:
        raise DataError(f"{handle.name}: no line end in the {limit:,} bytes up to byte "
                        f"{handle.tell():,}; expected lines of at most {FIELD_LIMIT:,} characters")
    return line


def read_range(part: ByteRange,
               bad_rows: list[BadRow] | None = None) -> Iterator[list[str]]:
    """Yield the documents of a `ByteRange`, each as `read_documents` does.

    The line of a `BadRow` is counted from the start of the range, which then stands in its `file`.
    """
    whole = part.start <= len(codecs.BOM_UTF8)
    where = part.path if whole else f"{part.path} from byte {part.start:,} on"
    try:
        yield from _documents(part, Refuser(where, bad_rows))
    except DataError:
        if part.start > 0:  # from the top, to the same error with the line counted from there
            for _ in _documents(part._replace(start=0), Refuser(part.path)):
                pass
        raise


def _documents(part: ByteRange, refuse: Refuser) -> Iterator[list[str]]:
    """Yield the documents of a range, as lists of lines."""
    lines = _lines(part, refuse)
    if part.path.suffix.lower() in JSON_SUFFIXES:
        for _, (text,) in json_rows(part.path, lines, ["text"], FIELD_LIMIT, refuse):
            yield _lines_of(text)
        return
    document, size = [], 0
    for number, line in enumerate(lines, 1):
        text, empty = line.strip(), _is_empty(line)
        if wrong := refuse.unclean_among([number]):
            refuse(number, WRONG_BYTES, wrong, line)
        elif text:
            document.append(text)
            size += len(text)
        if size > FIELD_LIMIT:
            raise DataError(f"{part.path} line {number}: a document of more than {FIELD_LIMIT:,} "
                            "characters; expected an empty line between documents")
        if document and (empty or not part.gaps):
            yield document
            document, size = [], 0
    if document:
        yield document


def _lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _lines(part: ByteRange, refuse: Refuser) -> Iterator[str]:
    """Yield the lines of a range, line ends kept."""
    place = part.start
    lines = text_lines(part.path, part.encoding, part.start, FIELD_LIMIT + 1,
                       refuse.unclean)
    whole = codec_name(part.encoding) != "utf-8-sig"
    for number, line in enumerate(lines, 1):
        if place >= part.end:
            return
        if len(line) > FIELD_LIMIT:
            raise DataError(f"{part.path} line {number}: more than {FIELD_LIMIT:,} characters; "
                            "expected shorter lines")
        yield line
        if whole:
            continue
        place += len(line) if line.isascii() else len(line.encode("utf-8", "surrogateescape"))
