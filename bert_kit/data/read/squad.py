"""Questions on paragraphs of text, from files in the format of SQuAD 1.1 and 2.0."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bert_kit.data.read.bad_rows import BadRow, Refuser
from bert_kit.data.read.json_rows import json_objects
from bert_kit.data.read.memory import RowsInMemory
from bert_kit.data.read.text_lines import FIELD_LIMIT, check_text, find_data, text_lines
from bert_kit.errors import BertKitError, DataError
from bert_kit.files import JSON_LIMIT, check_readable
from bert_kit.parsing import parse_json

T = TypeVar("T")


class Question(NamedTuple):
    """A question and the paragraph that may hold its answer.

    Attributes
    ----------
    answers
        Texts of the right answers, and at which character of the context each starts. Empty for a
        question that the context does not answer (SQuAD 2.0); None where it is not known.
    """

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] | None = None


def read_squad(path: str | Path | RowsInMemory, labelled: bool = True, encoding: str = "utf-8-sig",
               bad_rows: list[BadRow] | None = None) -> list[Question]:
    """Read the questions of a file.

    Parameters
    ----------
    path
        JSON: `data`, a list of articles with `paragraphs`, each with a `context` and `qas`; of each
        of these `id`, `question`, `answers` (`text` and `answer_start`) and, since version 2.0,
        `is_impossible`. Or flat, as the Hugging Face hub has it: a list of objects, or one a line
        (.jsonl), each with `context`, `question` and `answers` (a list of each `text` and each
        `answer_start`; empty where there is none), and with an `id` or without. A relative path
        that does not exist is looked up in $DATADIR too. Or rows in memory with these columns.
    labelled
        Whether each question must have answers or be impossible. Else those of others are None.
    encoding
        UTF-8 by default, with or without a byte order mark. Others are never guessed.
    bad_rows
        None refuses a file with a question that cannot be used, as one whose answer is not where
        it is said to be. A list takes each as a `BadRow`, and the question is left out.

    Raises
    ------
    BertKitError
        If the file has another format, two questions have one id, or an answer is not where it is
        said to be; names the question.
    """
    if isinstance(path, RowsInMemory):
        content = path.objects(["context", "question", *["answers"] * labelled])
        path = Path(path.name)
        refuse = Refuser(path, bad_rows)
    else:
        path = find_data(path)
        refuse = Refuser(path, bad_rows)
        content = _read(path, encoding, refuse)
    questions: dict[str, Question] = {}
    for number, (entry, paragraph) in enumerate(_entries(content, path, refuse), 1):
        reason = "unusable question"
        try:
            question = _question(entry, paragraph, path, labelled)
            if question.id in questions:
                reason = "an id that comes twice"
                raise DataError(f"{path}: question {question.id!r:.60} comes twice; expected each "
                                "id once")
        except DataError as error:
            known = entry.get("id") if isinstance(entry, dict) else None
            refuse(f"question {number if known is None else known}", reason, error, entry)
        else:
            questions[question.id] = question
    if not questions:
        raise DataError(f"{path}: no question; expected at least one{refuse.left_out()}")
    return list(questions.values())


def _read(path: Path, encoding: str, refuse: Refuser) -> Any:
    """Return what a file holds: one JSON value, or a list of the objects of its lines."""
    try:
        check_readable(path, JSON_LIMIT)
        if path.suffix.lower() not in (".jsonl", ".ndjson"):
            return parse_json("".join(text_lines(path, encoding, unclean=refuse.unclean)), path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except BertKitError as error:
        raise DataError(str(error)) from None
    lines = text_lines(path, encoding, unclean=refuse.unclean)
    return [row for _, row in json_objects(path, lines, FIELD_LIMIT, refuse)]


def _entries(content: Any, path: Path, refuse: Refuser) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each question as the file has it, and what holds its context."""
    articles = content if isinstance(content, list) else _get(content, "data", list, path)
    for number, article in enumerate(articles, 1):
        if isinstance(article, dict) and "context" in article and "paragraphs" not in article:
            yield _as_nested(article, number), article
            continue
        for place, paragraph in enumerate(_listed(article, "paragraphs", path, refuse,
                                                  f"article {number}"), 1):
            for entry in _listed(paragraph, "qas", path, refuse,
                                 f"article {number}, paragraph {place}"):
                yield entry, paragraph


def _listed(values: Any, key: str, path: Path, refuse: Refuser, row: str) -> list[Any]:
    """Return the list of a key of an article or a paragraph; of one that is none, no item."""
    try:
        return _get(values, key, list, path)
    except DataError as error:
        refuse(row, f"no {key}", error, values)
        return []


def _as_nested(row: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a row of a flat file as an entry of the nested form."""
    answers = row.get("answers")
    if isinstance(answers, dict) and all(isinstance(answers.get(key), list)
                                         for key in ("text", "answer_start")):
        answers = [{"text": text, "answer_start": start} for text, start in itertools.zip_longest(
            answers["text"], answers["answer_start"])]
    entry = {"id": str(number), **row}
    if answers is not None:
        entry["answers"] = answers
        entry.setdefault("is_impossible", answers == [])
    return entry


def _question(entry: Any, paragraph: dict[str, Any], path: Path, labelled: bool) -> Question:
    """Return an entry of a file as a Question."""
    number = entry.get("id") if isinstance(entry, dict) else None
    number = str(number) if type(number) is int else _get(entry, "id", str, path)
    where = f"{path}: question {number!r:.60}"
    context = _get(paragraph, "context", str, where)
    known = labelled or entry.get("answers") or entry.get("is_impossible")
    answers = _answers(entry, context, where) if known else None
    return Question(number, _get(entry, "question", str, where), context, answers)


def _answers(entry: dict[str, Any], context: str, where: str) -> tuple[tuple[str, int], ...]:
    """Return the answers of a question, each found in its context."""
    impossible = entry.get("is_impossible", False)
    answers = _get(entry, "answers", list, where)
    if not isinstance(impossible, bool) or impossible == bool(answers):
        raise DataError(f"{where} has {len(answers)} answers and is_impossible {impossible!r:.20}; "
                        "expected an answer, or is_impossible true and none")
    places = []
    for answer in answers:
        text = _get(answer, "text", str, where)
        start = _get(answer, "answer_start", int, where)
        there = context[max(start, 0):max(start, 0) + len(text)]
        if not text.strip() or start < 0 or there != text:
            raise DataError(f"{where}: the answer {text!r:.40} is not at character {start} of its "
                            f"context, where {there!r:.40} is; expected it there")
        places.append((text, start))
    return tuple(places)


def _get(values: Any, key: str, kind: type[T], where: object) -> T:
    """Return the value of a key of a JSON object, which must be of a kind."""
    if not isinstance(values, dict) or key not in values:
        found = f"keys {', '.join(values)}" if isinstance(values, dict) else f"{values!r}"
        raise DataError(f"{where}: found {found:.80}; expected an object with the key {key!r}, as "
                        "in SQuAD")
    value = values[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: {key!r} is {value!r:.40}; expected {kind.__name__}")
    if isinstance(value, str):
        check_text(str(where), key, value)
    return value
