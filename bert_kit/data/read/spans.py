"""Texts with labelled pieces, as labelling tools export them, as sentences of tagged words.

Tools count characters in two ways. Python's, code points, is that of Prodigy, of spaCy and of Label
Studio since 2022 (its editor's `fixCodePointsInRange`; issues 1008, 1347 and 4988). A browser's,
UTF-16 units, in which an emoji is two, is that of older Label Studio and of doccano 1.5 to 1.8
(doccano's issue 2290; before, since its pull request 108, code points). Where a text has such
characters, code points are taken if the pieces then are what the file says they are, or whole
words; else UTF-16 units if by these they are, and then for all texts of the file that allow both;
and that is told.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple

from bert_kit.data.read.bad_rows import BadRow, Refuser
from bert_kit.data.read.conll import TaggedSentences, read_conll
from bert_kit.data.read.json_rows import JSON_SUFFIXES, json_objects, listed
from bert_kit.data.read.labelling_tools import Asked, Mark, Task, Tool, recognise
from bert_kit.data.read.memory import RowsInMemory
from bert_kit.data.read.text_lines import FIELD_LIMIT, check_text, find_data, text_lines
from bert_kit.data.read.tool_labels import agreed, name_of_labels, read_tasks, tell_left_out
from bert_kit.data.rows.words import cut_at_signs
from bert_kit.errors import ConfigError, DataError


class TextSpan(NamedTuple):
    """A labelled piece of a text, `text[start:end]`."""

    start: int
    end: int
    label: str


def read_tagged(path: str | Path | RowsInMemory, word_column: int = 0, tag_column: int = -1,
                encoding: str = "utf-8-sig", widen: bool = False,
                bad_rows: list[BadRow] | None = None,
                notes: list[str] | None = None) -> TaggedSentences:
    """Read tagged words, or texts with labelled spans where the name ends as JSON's does.

    Parameters
    ----------
    word_column, tag_column, encoding, bad_rows
        As in `read_conll`.
    widen
        Take words whole that a span cuts; else its text is refused.
    notes
        A list takes what is to be told of how spans were read.

    Raises
    ------
    DataError
        If the file cannot be used; names the file and the line.
    ConfigError
        For columns of words in a file that has none.
    """
    if isinstance(path, RowsInMemory) or Path(path).suffix.lower() not in JSON_SUFFIXES:
        return read_conll(path, word_column, tag_column, encoding, bad_rows)
    if (word_column, tag_column) != (0, -1):
        raise ConfigError("word_column and tag_column are of a file with a word a line, and "
                          f"{path} holds JSON; leave them out")
    return read_spans(path, encoding, widen, bad_rows, notes)


def read_spans(path: str | Path, encoding: str = "utf-8-sig", widen: bool = False,
               bad_rows: list[BadRow] | None = None,
               notes: list[str] | None = None) -> TaggedSentences:
    """Read a file of a labelling tool as tagged words; see `read_tagged` and `labelling_tools`.

    Words are BERT's own (`cut_at_signs`), tags those of IOB2: B- on the first word of a span, I- on
    the others, O outside. Texts that nobody has labelled are left out, and counted in a note.
    """
    path = find_data(path)
    refuse = Refuser(path, bad_rows)
    with closing(text_lines(path, encoding, unclean=refuse.unclean)) as lines:
        objects = json_objects(path, lines, FIELD_LIMIT, refuse)
        first = next(objects, None)
        if first is None:
            raise DataError(f"{path}: no rows; expected texts with labelled spans")
        tool = recognise(first[1], Asked(), path)
        if tool is None:
            raise DataError(f"{path} line {first[0]}: keys {listed(first[1])}; expected labelled "
                            "spans as Label Studio, doccano or Prodigy export them, or a file with "
                            "a word a line, which ends in .conll, .txt or .tsv")
        tasks = read_tasks(path, chain([first], objects), tool, _text_of, refuse)
    return _tagged(path, tasks, tool, widen, refuse, notes)


def _tagged(path: Path, tasks: Sequence[Task], tool: Tool, widen: bool,
            refuse: Refuser, notes: list[str] | None) -> TaggedSentences:
    """Return the texts that have an answer as sentences."""
    name = name_of_labels(tasks, "spans", "", tool, path)
    words, tags, lines, utf16 = [], [], array("q"), 0
    out = Counter(task.why for task in tasks if not task.answers)
    read: list[tuple[Task, str, list[_Reading]]] = []
    for task in tasks:
        try:
            text = check_text(task.where, "text", _text_of(task)) if task.answers else ""
            read.append((task, text, [_reading(text, answer.spans.get(name, []), tool, task.where)
                                      for answer in task.answers]))
        except DataError as error:
            refuse(task.line, "unusable text or spans", error, task.columns)
    votes = {(reading.points_fit, reading.units_fit) for _, _, readings in read
             for reading in readings if reading.units}
    by_units = (False, True) in votes and (True, False) not in votes  # where both fit
    for task, text, readings in read:
        if not readings:
            continue
        moved = [reading.units_fit and (by_units or not reading.points_fit)
                 for reading in readings]
        spans = [reading.units if units else reading.points
                 for reading, units in zip(readings, moved, strict=True)]
        try:
            cut, own = tag_words(text, agreed(task, spans, _said), task.where, widen)
        except DataError as error:
            refuse(task.line, "unusable spans", error, text)
            continue
        utf16 += any(moved)
        words.append(cut)
        tags.append(own)
        lines.append(task.line)
    if not words:
        raise DataError(f"{path}: no text can be used; expected labelled spans"
                        + refuse.left_out())
    if utf16 and notes is not None:
        notes.append(f"{path.name}: offsets in {utf16:,} text{'s' * (utf16 > 1)} count UTF-16 "
                     "units, as browsers do")
    tell_left_out(path, out, notes)
    return TaggedSentences(path, words, tags, lines)


def _text_of(task: Task) -> str:
    """Return the text of a task: under "text", else the only one there is."""
    names = [name for name, value in task.columns.items() if isinstance(value, str)]
    name = "text" if "text" in names or len(names) != 1 else names[0]
    if name not in names:
        raise DataError(f"{task.where}: no text under 'text'; found text under {listed(names)}")
    return task.columns[name]


def tag_words(text: str, spans: Sequence[TextSpan], where: str,
              widen: bool = False) -> tuple[list[str], list[str]]:
    """Return the words of a text, and their tags in IOB2.

    Parameters
    ----------
    where
        How messages name the text.
    widen
        Take words whole that a span cuts.

    Raises
    ------
    DataError
        If there is no word, or a span holds none, cuts one, or shares one with another span.

    Examples
    --------
    >>> tag_words("In New York.", [TextSpan(3, 11, "city")], "line 1")
    (['In', 'New', 'York', '.'], ['O', 'B-city', 'I-city', 'O'])
    """
    places = cut_at_signs(text)
    if not places:
        raise DataError(f"{where}: the text is {text!r:.40}; expected words")
    owners: list[TextSpan | None] = [None] * len(places)
    for span in spans:
        first, last = _words_under(places, span)
        said = f"{_in_words(span)} {text[span.start:span.end]!r:.60}"
        if not 0 <= span.start < span.end <= len(text) or first == last:
            raise DataError(f"{where}: the span {said} holds no word of the text, which has "
                            f"{len(text):,} characters")
        cut = next((place for place in (places[first], places[last - 1])
                    if place[0] < span.start or place[1] > span.end), None)
        if cut is not None and not widen:
            raise DataError(f"{where}: the span {said} cuts the word {text[slice(*cut)]!r:.60} at "
                            f"{cut[0]}-{cut[1]}; expected whole words (--widen_spans takes them "
                            "whole)")
        for word in range(first, last):
            if (other := owners[word]) is not None:
                raise DataError(f"{where}: the spans {_in_words(other)} and {said} share the word "
                                f"{text[slice(*places[word])]!r:.60}; expected each word in one")
            owners[word] = span
    tags = ["O" if span is None else f"{'I' if word and owners[word - 1] is span else 'B'}-"
            f"{span.label}" for word, span in enumerate(owners)]
    return [text[start:end] for start, end in places], tags


def _words_under(places: Sequence[tuple[int, int]], span: TextSpan) -> tuple[int, int]:
    """Return the numbers of the first word that a span touches, and of the first behind it."""
    first = bisect_right(places, span.start, key=lambda place: place[1])
    return first, max(first, bisect_left(places, span.end, key=lambda place: place[0]))


def _in_words(span: TextSpan) -> str:
    return f"{span.start}-{span.end} {span.label:.40}"


def _said(spans: Sequence[TextSpan]) -> str:
    return ", ".join(map(_in_words, spans))[:80] or "nothing"


class _Reading(NamedTuple):
    """The spans of an answer in code points and in UTF-16 units, and which of these fit.

    `units` is empty where that makes no difference.
    """

    points: list[TextSpan]
    units: list[TextSpan]
    points_fit: bool = True
    units_fit: bool = False


def _reading(text: str, marks: Sequence[Mark], tool: Tool, where: str) -> _Reading:
    shown = {_span(mark, where): mark.text for mark in marks}  # equal ones once
    fits = _fit(text, shown)
    if tool.name != "Prodigy" and any(character > "\uffff" for character in text):
        units = accumulate((1 + (character > "\uffff") for character in text), initial=0)
        place_of = {unit: place for place, unit in enumerate(units)}
        moved = {span._replace(start=place_of.get(span.start, -1), end=place_of.get(span.end, -1)):
                 said for span, said in shown.items()}
        if moved.keys() != shown.keys() and (fits or _fit(text, moved)):
            return _Reading(sorted(shown), sorted(moved), fits, _fit(text, moved))
    for span, said in shown.items():
        if isinstance(said, str) and _even(said) != _even(text[span.start:span.end]):
            raise DataError(f"{where}: the span {_in_words(span)} is {said!r:.60} in the file, but "
                            f"{text[span.start:span.end]!r:.60} in the text")
    return _Reading(sorted(shown), [])


def _span(mark: Mark, where: str) -> TextSpan:
    """Return a mark as a span, its form checked."""
    for name, value in (("start", mark.start), ("end", mark.end)):
        if type(value) is not int:
            raise DataError(f"{where}: the {name} of a span is {value!r:.40}; expected a number of "
                            "characters (in HTML and dialogues Label Studio counts none)")
    names = [label.strip() for label in mark.labels if isinstance(label, str)]
    if len(mark.labels) != 1 or not names or not names[0]:
        raise DataError(f"{where}: the span {mark.start}-{mark.end} has the labels "
                        f"{list(mark.labels)!r:.60}; expected one name")
    return TextSpan(mark.start, mark.end, check_text(where, "a label", names[0]))


def _fit(text: str, shown: dict[TextSpan, Any]) -> bool:
    """Say whether spans are what the file says they are, or else whole words to the character."""
    places = cut_at_signs(text)
    for span, said in shown.items():
        first, last = _words_under(places, span)
        if not 0 <= span.start < span.end <= len(text) or first == last:
            return False
        if isinstance(said, str):
            if _even(said) != _even(text[span.start:span.end]):
                return False
        elif (places[first][0], places[last - 1][1]) != (span.start, span.end):
            return False
    return True


def _even(text: str) -> str:
    """Return a text with single spaces: tools show line ends in several ways."""
    return " ".join(text.replace("\\n", " ").split())
