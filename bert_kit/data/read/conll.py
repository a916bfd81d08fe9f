"""Sentences with a tag a word, from files of one word a line (CoNLL, TSV)."""

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_kit.cells import unguard
from bert_kit.data.read.bad_rows import WRONG_BYTES, WRONG_CELLS, BadRow, Refuser
from bert_kit.data.read.memory import RowsInMemory, as_cell
from bert_kit.data.read.text_lines import find_data, is_clean, text_lines
from bert_kit.errors import DataError

DOCUMENT = "-DOCSTART-"  # the first column of the line between two documents of CoNLL-2003
# Numbers of CoNLL-U, in the first of ten columns. One that joins two is of the words that follow,
# as they stand in the text ("2-3 don't" before "2 do" and "3 n't"); 3.1 is of none.
_NUMBER, _NO_WORD, _CONLL_U = re.compile(r"\d+([-.]\d+)?"), re.compile(r"\d+[-.]\d+"), 10


@dataclass(frozen=True)
class TaggedSentences:
    """The sentences of a file.

    Attributes
    ----------
    tags
        One for each word; None where no column was asked for.
    lines
        The line on which each sentence starts. Its words follow on the next lines, but for
        comments.
    before
        How many sentences of the file were left out before each; None where that is not known.
    """

    path: Path
    words: list[list[str]]
    tags: list[list[str]] | None
    lines: array
    before: array | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def classes(self) -> list[str]:
        """The different tags, sorted."""
        return sorted({tag for tags in self.tags or () for tag in tags})

    def numbers(self, classes: Sequence[str]) -> list[list[int]]:
        """Return the tags as numbers: their places among `classes`.

        Raises
        ------
        DataError
            For a tag that is not among them; names the sentence.
        """
        number_of = {name: number for number, name in enumerate(classes)}
        for row, tags in enumerate(self.tags or ()):
            for tag in tags:
                if tag not in number_of:
                    raise DataError(f"{self.path}: the sentence on line {self.lines[row]} has "
                                    f"the tag {tag!r:.40}; expected one of "
                                    f"{', '.join(classes):.200}")
        return [[number_of[tag] for tag in tags] for tags in self.tags or ()]


def read_conll(path: str | Path | RowsInMemory, word_column: int = 0, tag_column: int | None = -1,
               encoding: str = "utf-8-sig",
               bad_rows: list[BadRow] | None = None) -> TaggedSentences:
    """Read the words and tags of a file with one word a line.

    A blank line ends a sentence, and so does a line that begins with -DOCSTART-. The columns of a
    file are separated by tabs if its first word line has one, else by spaces; all word lines have
    as many. A line that begins with # and has another number of columns is a comment; between
    spaces so is "# id = 7", a # followed by nothing that other lines have in the same column. Of
    CoNLL-U (ten columns, the words in the second) lines of several words or of none are left out.

    Parameters
    ----------
    path
        A relative path that does not exist is looked up in $DATADIR too. Or rows in memory with
        the columns `tokens` and `tags`, lists of as many.
    word_column, tag_column
        Numbers of the columns from 0, or from -1 at the end. With `tag_column=None` only the
        words are read.
    encoding
        UTF-8 by default, with or without a byte order mark. Others are never guessed.
    bad_rows
        None refuses a file with a line that cannot be used. A list takes the first such line of a
        sentence as a `BadRow`, and the sentence is left out.

    Raises
    ------
    DataError
        If the file cannot be used; names the file and the line.
    """
    if isinstance(path, RowsInMemory):
        return _from_lists(path, tag_column is not None, bad_rows)
    return _from_lines(find_data(path), word_column, tag_column, encoding, bad_rows)


def _from_lines(path: Path, word_column: int, tag_column: int | None, encoding: str,
                bad_rows: list[BadRow] | None) -> TaggedSentences:
    """Return the sentences of a file with one word a line."""
    chosen = [word_column] if tag_column is None else [word_column, tag_column]
    refuse, usable = Refuser(path, bad_rows), True
    lines = [line.rstrip("\r\n") for line in text_lines(path, encoding, unclean=refuse.unclean)]
    separator, width = _layout(path, lines, chosen)
    table = [_cut(line, separator) for line in lines]
    is_comment = _comments(table, separator, width, chosen[0] % width != 0)
    sentences, starts, before, rows = [], array("q"), array("q"), []
    for number, (line, row) in enumerate(zip(lines, table, strict=True), 1):
        if not line.strip() or line.startswith(DOCUMENT):
            rows, usable = [], True
        elif usable and not is_comment(row):
            if wrong := _what_is_wrong(refuse, number, row, width):
                refuse(number, *wrong, line)
                usable = False  # nor is the rest of the sentence
                if rows:
                    sentences.pop()
                    starts.pop()
                    before.pop()
                continue
            if not rows:
                sentences.append(rows)
                starts.append(number)
                before.append(len(bad_rows or ()))
            rows.append([unguard(row[column]) for column in chosen])
    if not sentences:
        raise DataError(f"{path}: no sentence; expected one word a line{refuse.left_out()}")
    words, *tags = ([[row[place] for row in rows] for rows in sentences]
                    for place in range(len(chosen)))
    _check_words(path, words, word_column)
    return TaggedSentences(path, words, tags[0] if tags else None, starts, before)


def _from_lists(rows: RowsInMemory, labelled: bool,
                bad_rows: list[BadRow] | None) -> TaggedSentences:
    """Return the sentences in memory; of an empty list, as of a blank line, there is none."""
    wanted, refuse = ["tokens", "tags"][:1 + labelled], Refuser(rows.name, bad_rows)
    sentences, numbers = [], array("q")
    for row, cells in rows.rows(wanted, 0, refuse):
        where = f"row {row} of {rows.name}"
        try:
            lists = [_names(f"{where}: {name!r}", cell)
                     for name, cell in zip(wanted, cells, strict=True)]
            if len(lists[0]) != len(lists[-1]):
                raise DataError(f"{where}: {len(lists[0])} tokens and {len(lists[-1])} tags; "
                                "expected a tag for each token")
        except DataError as error:
            refuse(row, "unusable lists", error, cells)
            continue
        if lists[0] and lists[0][0] != DOCUMENT:
            sentences.append(lists)
            numbers.append(row)
    if not sentences:
        raise DataError(f"{rows.name}: no sentence; expected lists of words in 'tokens'"
                        + refuse.left_out())
    words, *tags = (list(column) for column in zip(*sentences, strict=True))
    return TaggedSentences(Path(rows.name), words, tags[0] if tags else None, numbers)


def _names(where: str, cell: object) -> list[str]:
    """Return the words or the tags of a sentence."""
    if not isinstance(cell, list):
        raise DataError(f"{where} is {cell!r:.40}; expected a list of words or tags")
    names = [as_cell(name) for name in cell]
    for place, name in enumerate(names):
        if not is_clean(name):
            raise DataError(f"{where} has {cell[place]!r:.40} at place {place}; expected text")
    return [name.strip() for name in names]


def _check_words(path: Path, words: Sequence[Sequence[str]], column: int) -> None:
    """Refuse the numbers of words in place of words, where every sentence is counted from 1."""
    if any(len(row) > 1 for row in words) and all(
            row[0].startswith("1") and all(map(_NUMBER.fullmatch, row)) for row in words):
        raise DataError(f"{path}: column {column} counts the words of each sentence; expected the "
                        "words (--word_column 1 in CoNLL-U, with the tags in --tag_column 3)")


def _layout(path: Path, lines: Sequence[str], chosen: Sequence[int]) -> tuple[str, int]:
    """Return what separates the columns, and how many there are."""
    numbered = [(number, line) for number, line in enumerate(lines, 1)
                if line.strip() and not line.startswith(DOCUMENT)]
    # Where every word begins with #, they are words if there are columns.
    for number, line in sorted(numbered, key=lambda pair: pair[1].startswith("#"))[:1]:
        if line.startswith("#") and "\t" not in line:
            break
        separator = "\t" if "\t" in line else " "
        width = len(_cut(line, separator))
        places = {column % width for column in chosen if -width <= column < width}
        if len(places) < len(chosen):
            raise DataError(f"{path} line {number}: {width} column{'s' * (width > 1)}; expected "
                            f"the columns {' and '.join(map(str, chosen))}, separated by a tab or "
                            f"by spaces{_other_separator(_cut(line, separator))}")
        return separator, width
    raise DataError(f"{path}: no sentence; expected one word a line")


def _comments(table: Sequence[list[str]], separator: str, width: int,
              numbered: bool) -> Callable[[list[str]], bool]:
    """Return a function that says whether a row is no word; # may be one, as in tweets.

    With `numbered` the words do not stand in the first column.
    """
    numbered &= separator == "\t" and width == _CONLL_U
    known = {pair for row in table if len(row) == width and row[0] != "#"
             for pair in enumerate(row)}

    def is_comment(row: list[str]) -> bool:
        if not row[0].startswith("#"):
            return numbered and _NO_WORD.fullmatch(row[0]) is not None
        alone = separator == " " and row[0] == "#" and width > 1
        return len(row) != width or alone and known.isdisjoint(enumerate(row[1:], 1))

    return is_comment


def _what_is_wrong(refuse: Refuser, line: int, row: list[str],
                   width: int) -> tuple[str, DataError] | None:
    """Return the reason and the error of a row that cannot be used, or None."""
    if wrong := refuse.unclean_among([line]):
        return WRONG_BYTES, wrong
    where = f"{refuse.path} line {line}"
    if len(row) != width:
        return WRONG_CELLS, DataError(
            f"{where}: {len(row)} column{'s' * (len(row) != 1)}; expected {width} as on the first "
            f"line with a word{_other_separator(row)}")
    if not all(row):
        return "empty column", DataError(
            f"{where}: column {row.index('')} is empty; expected a word on each line, and blank "
            "lines between sentences")
    return None


def _other_separator(row: Sequence[str]) -> str:
    """Return what a message adds about a line of one column that a table would cut."""
    found = next((mark for mark in ",;|\u3000" if len(row) == 1 and mark in row[0][1:-1]), None)
    return f" ({found!r} separates nothing here)" if found else ""


def _cut(line: str, separator: str) -> list[str]:
    """Cut a line at tabs, or at runs of spaces; other white space may be part of a word."""
    if separator == "\t":
        return [column.strip() for column in line.split("\t")]
    return [column for column in line.split(" ") if column]
