"""Several models side by side: one row each, the best first."""

import math
from collections.abc import Sequence
from typing import Any

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Scores
from bert_kit.printing import align, number, one_line

SCORE_DIGITS, LARGE_DIGITS = 4, 1  # behind the point: below 10 (scores), and from 10 on


def rank(rows: Sequence[Scores], by: str = "f1_macro", ascending: bool = False) -> list[Scores]:
    """Return the rows sorted by a column, best first; rows without a number there come last.

    The column is a score, or with `ascending=True` a cost such as seconds or loss.

    Raises
    ------
    DataError
        If there are no rows or none has the column; the message lists the columns.

    Examples
    --------
    >>> rank([{"f1_macro": 0.5}, {"f1_macro": None}, {"f1_macro": 0.75}])
    [{'f1_macro': 0.75}, {'f1_macro': 0.5}, {'f1_macro': None}]
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if by not in columns:
        raise DataError(f"no row has {by!r} to sort by; found {', '.join(columns) or 'no rows'}")

    def place(row: Scores) -> tuple[bool, float]:
        value = number(row.get(by))
        return (True, 0.0) if math.isnan(value) else (False, value if ascending else -value)

    return sorted(rows, key=place)


def format_leaderboard(rows: Sequence[Scores], sort_by: str = "f1_macro",
                       ascending: bool = False) -> str:
    """Lay out a comparison of models as an aligned table, the best first.

    Text starts at the left, numbers end at the right; "-" where a value is missing.

    Parameters
    ----------
    rows
        One dict a model: `classifier`, `accuracy`, `f1_macro`, `matthews_correlation`, `seconds`,
        `peak_memory_mb`, or any other names. The columns are the keys in order of appearance.
    sort_by, ascending
        As in `rank`.

    Examples
    --------
    >>> print(format_leaderboard([{"classifier": "cnn", "f1_macro": 0.91, "seconds": 31},
    ...                           {"classifier": "bilstm", "f1_macro": 0.93}]))
    classifier  f1_macro  seconds
    bilstm        0.9300        -
    cnn           0.9100       31
    """
    rows = rank(rows, sort_by, ascending)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells, left = [], []
    for i, column in enumerate(columns):
        values = [row.get(column) for row in rows]
        if any(isinstance(value, str) for value in values):
            left.append(i)
        cells.append(_column(values))
    return align([one_line(column, 40) for column in columns], list(zip(*cells, strict=True)), left)


def _column(values: Sequence[Any]) -> list[str]:
    """Return the cells of a column, its numbers with the same digits behind the point."""
    values = [value.item() if hasattr(value, "item") else value for value in values]
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    digits = LARGE_DIGITS if max(map(abs, numbers), default=0) >= 10 else SCORE_DIGITS

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:,.{digits}f}" if math.isfinite(value) else "-"
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value:,}"
        return "-" if value is None else one_line(value, 40) or "-"

    return [cell(value) for value in values]
