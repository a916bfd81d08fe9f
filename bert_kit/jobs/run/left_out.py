"""The rows that a job leaves out: told, listed in a file, and where they stood among the others."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bert_kit.data import BadRow
from bert_kit.evaluation import write_rows
from bert_kit.jobs.options.groups import RowOptions, reading_notes
from bert_kit.jobs.run.predictor import warn

T = TypeVar("T")


def tell_reading(reading: Mapping[str, Any], kept: int | None, options: RowOptions) -> None:
    """Warn of how files were read and which rows were left out, and list these in a file.

    Parameters
    ----------
    reading
        What the readers were given, see `RowOptions.row_reading`.
    kept
        The number of the other rows, where it is known.
    """
    bad, path = reading.get("bad_rows"), options.bad_rows_file()
    listed = "" if not bad or path is None else f"; listed in {path}"
    warn(reading_notes(reading, kept) + listed)
    if path is not None:
        write_bad_rows(bad or (), path)


def write_bad_rows(bad: Sequence[BadRow], path: Path) -> None:
    """Write a table of the rows that were left out; without any no file stays from before."""
    if bad:
        write_rows(path, [{name: value for name, value in row._asdict().items()
                           if name != "cells"} for row in bad])
    else:
        with contextlib.suppress(OSError):  # there is none, mostly
            path.unlink()


def in_place(rows: Iterable[T], bad: list[BadRow] | None) -> Iterator[T | BadRow]:
    """Yield rows as a reader gives them, and each that it left out where it stood."""
    seen = 0
    for row in rows:
        if bad is not None:
            yield from bad[seen:]
            seen = len(bad)
        yield row
    yield from (bad or [])[seen:]


def put_back(rows: Iterable[T], before: Iterable[int], bad: Sequence[BadRow]) -> list[T | BadRow]:
    """Return the rows of a file and those left out, where they stood: so many `before` each."""
    every: list[T | BadRow] = []
    seen = 0
    for row, count in zip(rows, before, strict=True):
        every += [*bad[seen:count], row]
        seen = count
    return [*every, *bad[seen:]]
