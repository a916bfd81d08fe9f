"""Plain text for people: a text on one line, rows of cells as an aligned table, a run's scores."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

Scores = Mapping[str, Any]
Column = tuple[str, str, int, str]  # a score's key, its heading, the width and the format


def printable(text: object) -> str:
    """Return a text without control and direction characters; its line breaks stay.

    Printed, they could move the cursor, change colours or turn the line around.

    Examples
    --------
    >>> printable("two\\r\\nlines\\t\\x1b[31mred")
    'two \\nlines [31mred'
    """
    return "".join(char if char.isprintable() or char == "\n" else " " if char.isspace() else ""
                   for char in str(text))


def spelled_out(text: object) -> str:
    r"""Return a text in which control characters are spelled out, line breaks among them.

    Examples
    --------
    >>> print(spelled_out("\x1b[31mred\n"))
    \x1b[31mred\n
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode()
                   for char in str(text))


def show(text: object, file: TextIO | None = None) -> None:
    """Print a text for people on standard output or a stream, control characters spelled out.

    What may quote a file's content, or the name of a tensor or a folder, is said by this function.
    Its line breaks stay.
    """
    print("\n".join(map(spelled_out, str(text).split("\n"))), file=file)


def one_line(text: object, width: int = 80) -> str:
    """Return a text on one line of at most `width` characters, without control characters.

    White space of any kind becomes one space; see `printable` for what goes.

    Examples
    --------
    >>> one_line("two\\n  lines \\x1b[31mred")
    'two lines [31mred'
    >>> one_line("a long text", width=7)
    'a long…'
    """
    start = str(text)[:20 * width]  # a whole document need not be walked to its end
    line = " ".join(printable(start).split())
    return line if len(line) <= width else line[:width - 1].rstrip() + "…"


def short_name(name: object, width: int = 30) -> str:
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


def markdown(text: object) -> str:
    """Return a text as it can stand in Markdown: one line, no markup, no control characters.

    Examples
    --------
    >>> print(markdown("a_b\\n| c"))
    a\\_b \\| c
    """
    line = one_line(text, 1_000)
    return "".join("\\" + mark if mark in "\\`*_[]<>|#" else mark for mark in line)


def align(header: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = ()) -> str:
    """Lay out cells as a table, columns two spaces apart.

    Parameters
    ----------
    rows
        As many cells a row as there are headings.
    left
        Numbers of the columns that start at the left, as words do; the others end at the right.

    Examples
    --------
    >>> print(align(["name", "rows"], [["ham", "12"]], left=[0]))
    name  rows
    ham     12
    """
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [cell.ljust(width) if column in left else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: Any) -> float:
    """Return a value as a float; nan for None, an empty cell, or what is no finite number."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return result if math.isfinite(result) else math.nan


def results_rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Scores]]:
    """Yield (part, what, scores) for the scores in a results.json, best known first."""
    if results.get("test"):
        yield "test", "BERT", results["test"]
    if results.get("validation"):
        yield "validation", "BERT", results["validation"]
    for name, scores in (results.get("baselines") or {}).items():
        yield "test" if results.get("test") else "validation", name, scores


def results_table(results: Mapping[str, Any], columns: Sequence[Column]) -> str:
    """Return the scores in a results.json as a table, "-" where there is none.

    Examples
    --------
    >>> print(results_table({"test": {"f1": 0.5}}, [("f1", "F1", 10, ".4f")]).strip("\\n"))
                            F1
    BERT (test rows)    0.5000
    """
    rows = [(f"{name} ({part} rows)", scores) for part, name, scores in results_rows(results)]
    longest = max((len(name) for name, _ in rows), default=0)
    lines = [" " * longest + "".join(f"{heading:>{width}}" for _, heading, width, _ in columns)]
    lines += [f"{name:{longest}}" + "".join(
        f"{'-' if scores.get(key) is None else format(scores[key], form):>{width}}"
        for key, _, width, form in columns) for name, scores in rows]
    return "\n" + "\n".join(lines)
