"""Plain text for people: a text on one line, and rows of cells as an aligned table."""

import math
import unicodedata


def one_line(text, width=80):
    """Return a text on one line of at most `width` characters, without control characters.

    White space of any kind becomes one space. Control and direction characters go: printed, they
    could move the cursor, change colours or turn the line around.

    Examples
    --------
    >>> one_line("two\\n  lines \\x1b[31mred")
    'two lines [31mred'
    >>> one_line("a long text", width=7)
    'a long…'
    """
    start = str(text)[:20 * width]  # a whole document need not be walked to its end
    line = " ".join("".join(char for char in start if char.isspace()
                            or unicodedata.category(char)[0] != "C").split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def short_name(name, width=30):
    """Return a name on one line of at most `width` characters, cut in the middle.

    Names of classes often differ at their ends only.

    Examples
    --------
    >>> short_name("balance_not_updated_after_bank_transfer")
    'balance_not_up…r_bank_transfer'
    """
    line = one_line(name, len(str(name)) + 1)
    half = width // 2
    return line if len(line) <= width else f"{line[:width - half - 1]}…{line[-half:]}"


def align(header, rows, left=()):
    """Lay out cells (text) as a table, columns two spaces apart.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
        As many cells a row as there are headings.
    left : collection of int
        Numbers of the columns that start at the left, as words do; the others end at the right.

    Examples
    --------
    >>> print(align(["name", "rows"], [["ham", "12"]], left=[0]))
    name  rows
    ham     12
    """
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = []
    for row in [header, *rows]:
        cells = [cell.ljust(width) if column in left else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value):
    """Return a value as a float; nan for None, an empty cell, or what is no finite number."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan
