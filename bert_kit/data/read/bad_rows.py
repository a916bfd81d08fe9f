"""Rows that cannot be used: each refuses its file, or is left out and noted.

A reader makes a `Refuser` of the file and of what it was given as `bad_rows`, and hands every
fault of a single row to it. What is wrong with a file as a whole (a column that is missing, a
header, a quote that swallows rows) is raised by the reader itself: nothing is left out for it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bert_kit.errors import DataError
from bert_kit.printing import spelled_out

SHOWN = 300  # characters of a row that is left out

# The reasons, as far as several readers have them.
EMPTY_TEXT, NO_LABEL, WRONG_LABEL = "empty text", "no label", "unusable label"
UNKNOWN_LABEL, WRONG_CELLS = "unknown label", "wrong number of cells"
WRONG_BYTES, NOT_JSON, WRONG_KEYS = "not in the encoding", "not a JSON object", "unusable keys"


class BadRow(NamedTuple):
    """A row that was left out of the rows of a file.

    Attributes
    ----------
    row
        The line on which it begins, or the id of a question.
    reason
        In few words, the same for all rows with this fault.
    message
        What an error would have said.
    content
        Its beginning, on one line.
    cells
        What was read of it, if its columns are known: its texts and what was to go with them.
    """

    file: str
    row: int | str
    reason: str
    message: str
    content: str
    cells: Sequence[Any] = ()


class Refuser:
    """What is done with the rows of a file that cannot be used.

    Parameters
    ----------
    bad_rows
        With None a row's error is raised. A list takes it as a `BadRow`, and the row is left out.
    may_skip
        Whether the job that reads has the option that leaves rows out: an error names it.

    Attributes
    ----------
    unclean
        What is wrong with lines that are no clean text, by their numbers, see `text_lines`. Such a
        line is part of a row, which is then left out. None where `text_lines` is to raise it.
    """

    def __init__(self, path: Path | str, bad_rows: list[BadRow] | None = None,
                 may_skip: bool = True) -> None:
        self.path, self.bad_rows, self.may_skip = path, bad_rows, may_skip
        raises = bad_rows is None and may_skip  # with the option that it names
        self.unclean: dict[int, DataError] | None = None if raises else {}

    def __call__(self, row: int | str, reason: str, error: DataError, content: object = "",
                 cells: Sequence[Any] = ()) -> None:
        """Raise the error of a row, or note the row.

        Parameters
        ----------
        row, reason, content, cells
            As of a `BadRow`; what is no text is written as JSON.
        """
        if self.bad_rows is None:
            advice = " (--bad_rows skip leaves such rows out)" * self.may_skip
            raise DataError(f"{error}{advice}") from None
        text = content if isinstance(content, str) else json.dumps(
            content, ensure_ascii=False, default=str)  # rows in memory hold anything
        self.bad_rows.append(BadRow(str(self.path), row, reason, str(error),
                                    spelled_out(text.strip()[:SHOWN]), cells))

    def unclean_among(self, lines: Iterable[int]) -> DataError | None:
        """Return what is wrong with the first of some lines that is no clean text, if one is."""
        unclean = self.unclean
        return next((unclean[line] for line in lines if line in unclean), None) if unclean else None

    def left_out(self) -> str:
        """Return what the error of a file without rows adds about those that were left out.

        It quotes the first one of the commonest reason. Rows of other files may be in the list too.
        """
        bad = [row for row in self.bad_rows or () if row.file == str(self.path)]
        count = Counter(row.reason for row in bad)
        first = max(bad, key=lambda row: count[row.reason], default=None)
        return "" if first is None else f" ({len(bad):,} left out; the first: {first.message})"
