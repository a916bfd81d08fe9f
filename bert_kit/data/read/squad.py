"""Questions on paragraphs of text, from files in the format of SQuAD 1.1 and 2.0."""

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bert_kit.data.read.text_lines import find_data
from bert_kit.errors import DataError
from bert_kit.files import read_json

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


def read_squad(path: str | Path, labelled: bool = True) -> list[Question]:
    """Read the questions of a file.

    Parameters
    ----------
    path
        JSON: `data`, a list of articles with `paragraphs`, each with a `context` and `qas`; of each
        of these `id`, `question`, `answers` (`text` and `answer_start`) and, since version 2.0,
        `is_impossible`. A relative path that does not exist is looked up in $DATADIR too.
    labelled
        Whether each question must have answers or be impossible. Else those of others are None.

    Raises
    ------
    BertKitError
        If the file has another format, two questions have one id, or an answer is not where it is
        said to be; names the question.
    """
    path = find_data(path)
    questions: dict[str, Question] = {}
    for article in _get(read_json(path), "data", list, path):
        for paragraph in _get(article, "paragraphs", list, path):
            context = _get(paragraph, "context", str, path)
            for entry in _get(paragraph, "qas", list, path):
                number = _get(entry, "id", str, path)
                where = f"{path}: question {number!r:.60}"
                if number in questions:
                    raise DataError(f"{where} comes twice; expected each id once")
                known = labelled or entry.get("answers") or entry.get("is_impossible")
                answers = _answers(entry, context, where) if known else None
                questions[number] = Question(number, _get(entry, "question", str, where), context,
                                             answers)
    if not questions:
        raise DataError(f"{path}: no question; expected at least one")
    return list(questions.values())


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
    return value
