r"""Cells of the tables that the kit writes, so that spreadsheets open them and the kit reads them.

A spreadsheet runs a cell that starts with `=`, `+`, `-` or `@` as a formula, and labelled texts
come from strangers (CWE-1236). Such cells get a mark in front, an apostrophe and a backslash,
which no cell begins with by chance. So every reader of the kit knows it, in any table, and takes
it off again: what was written is what is read. All writers and readers of tables use these
functions.
"""

import json
import re
from typing import TypeVar

MARK = "'\\"
# NUL, and halves of surrogate pairs: what is left of bytes that were not in the encoding.
FORBIDDEN = re.compile("[\0\ud800-\udfff]")
# Also in the wide form of East Asian keyboards; and what spreadsheets skip before a formula.
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)

Cell = TypeVar("Cell")


def guard_formula(cell: Cell) -> Cell | str:
    r"""Put the mark in front of a text that a spreadsheet would run; return others as is.

    Numbers are safe, also those that are written out.

    Examples
    --------
    >>> print(guard_formula("=1+1"), guard_formula("-1.5"), guard_formula(-1.5))
    '\=1+1 -1.5 -1.5
    """
    if not isinstance(cell, str) or not (_runs(cell) or cell.startswith(MARK)):
        return cell
    return MARK + cell


def guard_line(cell: str) -> str:
    r"""Return a cell for a table whose lines are cut at tabs and know no quotes, as of words.

    One that would be cut, or changed by a reader that takes outer spaces off, is a JSON string
    behind the mark. Spreadsheets know quotes: a cell that begins with one gets the mark too.

    Examples
    --------
    >>> print(guard_line("@home"), guard_line("a\tb"), guard_line('"'))
    '\@home '\"a\tb" '\"
    """
    if is_word(cell) and not cell.startswith('"'):
        return guard_formula(cell)
    marked = MARK + cell
    return marked if is_word(cell) and unguard(marked) == cell else MARK + json.dumps(cell)


def is_word(cell: str) -> bool:
    """Say whether a cell is read as it is from a line that is cut at tabs and knows no quotes."""
    return bool(cell) and cell == cell.strip() and not set(cell) & set("\t\r\n\ufeff")


def unguard(cell: str) -> str:
    r"""Return a cell as it was before it was guarded; others as they are.

    Examples
    --------
    >>> unguard("'\\=1+1"), unguard("'=1+1"), unguard("'\\\"a\\tb\"")
    ('=1+1', "'=1+1", 'a\tb')
    """
    if not cell.startswith(MARK):
        return cell
    inner = cell[len(MARK):]
    if _runs(inner) or inner.startswith(MARK):
        return inner
    if not inner.startswith('"'):
        return cell
    try:
        text = json.loads(inner)
    except ValueError:
        return inner
    return text if not FORBIDDEN.search(text) else inner


def _runs(cell: str) -> bool:
    """Say whether a spreadsheet would take a text for a formula."""
    return _FORMULA.match(cell) is not None and not _NUMBER.fullmatch(cell)
