"""The labels of a file that a labelling tool exported: whose they are, and what they say."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from bert_kit.data.labels import LabelList, OneClass
from bert_kit.data.read.bad_rows import WRONG_LABEL, Refuser
from bert_kit.data.read.json_rows import Objects, Rows, json_objects, listed, row_values
from bert_kit.data.read.labelling_tools import (Answer, Asked, Task, Tool, is_label_studio,
                                                recognise, task_cells)
from bert_kit.data.read.text_lines import FIELD_LIMIT, check_text, text_lines
from bert_kit.errors import DataError

FEW_ROWS = 20  # so few texts may well have a class each


def read_tasks(path: Path, objects: Iterable[tuple[int, dict[str, Any]]], tool: Tool,
               text_of: Callable[[Task], Any], refuse: Refuser) -> list[Task]:
    """Return the texts of a file, found by `text_of`; several objects about one are one Task."""
    tasks: dict[Hashable, Task] = {}
    for number, (line, row) in enumerate(objects):  # a whole export may be on one line
        name = f", task {row['id']!s:.20}" if isinstance(row.get("id"), int | str) else ""
        try:
            task = tool.parse(row, f"{path} line {line}{name}", line)
            key = number if task.key is None else (str(task.key), str(text_of(task)))
        except DataError as error:
            refuse(line, "unusable task", error, row)
            continue
        same = tasks.setdefault(key, task)
        if same is not task:
            same.answers += task.answers
    return list(tasks.values())


def name_of_labels(tasks: Iterable[Task], kind: str, wanted: str, tool: Tool, path: Path) -> str:
    """Return the name under which the labels are: the one wanted, else the only one there is.

    Parameters
    ----------
    kind
        "classes" or "spans".

    Raises
    ------
    DataError
        If there is none, or several.
    """
    answers = [answer for task in tasks for answer in task.answers]
    other = "spans" if kind == "classes" else "classes"
    every = {name for answer in answers for name in getattr(answer, kind)}
    given, taken = ({name for answer in answers for name, value in getattr(answer, each).items()
                     if value} for each in (kind, other))
    if wanted in given or any(wanted in answer.others for answer in answers):
        return wanted
    names = sorted(given or every - taken)  # an empty list may be of either kind
    if len(names) == 1:
        return names[0]
    if names:
        advice = "--label_column to name one" if kind == "classes" else "one of them alone"
        raise DataError(f"{path}: {tool.name} has {kind} under {listed(names)}; expected {advice}")
    if not answers:
        reasons = Counter(task.why for task in tasks)
        raise DataError(f"{path}: no text has a label ({_counted(reasons)}); expected texts that "
                        f"are labelled in {tool.name}")
    if kind == "spans":
        raise DataError(f"{path}: {tool.name} has no labelled spans there; expected some for "
                        "tagging (classes of whole texts are --task classification)")
    keys = sorted({key for answer in answers for key in answer.others})
    found = f"; found {listed(keys)}" if keys else ""
    raise DataError(f"{path}: {tool.name} has no classes under {wanted!r}{found}; expected "
                    "--label_column to name the key (labelled spans are --task tagging)")


def agreed(task: Task, values: Sequence[Any], text: Callable[[Any], str]) -> Any:
    """Return what all answers about a text say alike.

    Parameters
    ----------
    values
        Of each answer.
    text
        Says one in words, for a message.

    Raises
    ------
    DataError
        If two differ; names the text.
    """
    for other in values[1:]:
        if other != values[0]:
            raise DataError(f"{task.where}: one person says {text(values[0])}, another "
                            f"{text(other)}; expected answers that agree, or one alone (in Label "
                            "Studio one marked as ground truth counts alone)")
    return values[0]


def class_rows(path: Path, objects: Iterable[tuple[int, dict[str, Any]]], tool: Tool, asked: Asked,
               refuse: Refuser, notes: list[str] | None) -> Objects:
    """Yield (line, object) of a tool's file as a plain one has them, the label where asked for.

    Texts without an answer are left out, and counted in a note.
    """
    tasks = read_tasks(path, objects, tool, lambda task: [
        task.columns.get(column) for column in asked.texts], refuse)
    name = name_of_labels(tasks, "classes", asked.label, tool, path)
    if name != asked.label and notes is not None:
        notes.append(f"{path.name}: {asked.kind} from {name!r} of {tool.name}")
    out: Counter[str] = Counter()
    labels, one = [], asked.kind == "class"
    for task in tasks:
        try:
            label = _label(task, name, one)
        except DataError as error:
            refuse(task.line, WRONG_LABEL, error, task.columns)
            continue
        if label is None or one and label == []:
            out[task.why] += 1
            continue
        labels.append(label[0] if one and isinstance(label, list) else label)
        yield task.line, {**task.columns, asked.label: labels[-1]}
    if one and tool.name == "doccano":
        _check_classes(path, name, labels)
    tell_left_out(path, out, notes)


def json_table(path: Path, lines: Iterable[str], wanted: Sequence[str], field_limit: int,
                texts: int, kind: Any, refuse: Refuser, notes: list[str] | None) -> Rows:
    """Yield the rows of a file of JSON objects, also of one that a labelling tool exported.

    Parameters
    ----------
    kind
        Of the label, as in `read_table`.
    """
    objects = json_objects(path, lines, field_limit, refuse)
    first = next(objects, None)
    if first is None:
        return
    objects = chain([first], objects)
    if isinstance(kind, OneClass | LabelList):
        asked = Asked(wanted[:texts], wanted[texts],
                      "class" if isinstance(kind, OneClass) else "labels")
        if tool := recognise(first[1], asked, path):
            objects = class_rows(path, objects, tool, asked, refuse, notes)
    elif is_label_studio(first[1], wanted[:texts]):
        objects = ((line, task_cells(row) if is_label_studio(row) else row)
                   for line, row in objects)
    yield from row_values(path, objects, wanted, texts, refuse)


def json_columns(path: Path, lines: Iterable[str], refuse: Refuser) -> list[str]:
    """Return the keys that rows of a file of JSON objects have, by the first one to be used."""
    _, row = next(json_objects(path, lines, FIELD_LIMIT, refuse), (0, {}))
    names = task_cells(row) if is_label_studio(row) else row
    return [check_text(f"{path}, first row", "a key", name) for name in names]


class ToolAnswer(NamedTuple):
    """A text of a tool's file, by its other columns, and its labels.

    Attributes
    ----------
    where
        How messages name it.
    labels
        Names of classes; None where there is no answer, and `why`.
    submitted
        Whether no label is an answer too: doccano has an empty list for texts nobody has seen.
    """

    where: str
    columns: Mapping[str, Any]
    labels: list[str] | None
    why: str
    submitted: bool


def read_tool_answers(path: Path, one: bool, column: str = "") -> list[ToolAnswer]:
    """Return what there is about each text of a file that a labelling tool exported.

    Parameters
    ----------
    one
        Whether a text has one class, or any number of them.
    column
        Under which name the labels are, where there are several.

    Raises
    ------
    DataError
        If the file cannot be read, comes from no tool, or people disagree.
    """
    refuse = Refuser(path, may_skip=False)
    with closing(text_lines(path, unclean=refuse.unclean)) as lines:
        objects = json_objects(path, lines, FIELD_LIMIT, refuse)
        first = next(objects, None)
        if first is None:
            return []
        tool = recognise(first[1], Asked(("text",), "", "labels"), path)
        if tool is None:
            raise DataError(f"{path}: keys {listed(first[1])}; expected an export of Label Studio, "
                            "doccano or Prodigy")
        tasks = read_tasks(path, chain([first], objects), tool,
                           lambda task: task.columns.get("text"), refuse)
    answers = [answer for task in tasks for answer in task.answers]
    if not any(answer.classes or column in answer.others for answer in answers):
        column = "label"  # as the page on campaigns calls them; in JSON-MIN one is a plain value
    known = any(answer.classes or answer.others for answer in answers)
    name = name_of_labels(tasks, "classes", column, tool, path) if known else ""
    found = []
    for task in tasks:
        label = _label(task, name, one)
        labels = label if isinstance(label, list) or label is None else [str(label)]
        found.append(ToolAnswer(task.where, task.columns, labels, task.why,
                                tool.name != "doccano"))
    return found


def _label(task: Task, name: str, one: bool) -> Any:
    """Return the label of a text, a list or a single value as it stands; None for no answer."""
    values = [_value(answer, name) for answer in task.answers]
    if not values:
        return None
    label = agreed(task, [sorted(value, key=str) if isinstance(value, list) else value
                          for value in values], _said)
    if one and isinstance(label, list) and len(label) > 1:
        raise DataError(f"{task.where}: {name!r} has the labels {_said(label)}; expected one (any "
                        "number of labels a row is --task multi_label)")
    return label


def _value(answer: Answer, name: str) -> Any:
    """Return a list of names, or a single value as it stands; None for nothing."""
    value = answer.classes.get(name, answer.others.get(name))
    if isinstance(value, list):
        return [str(each) if isinstance(each, int) else each for each in value]
    return value if answer.others or value is not None else []


def _said(label: Any) -> str:
    """Return a label, or several, in words."""
    return (", ".join(map(str, label)) if isinstance(label, list) else str(label))[:80] or "nothing"


def _check_classes(path: Path, name: str, labels: Sequence[Any]) -> None:
    """Refuse texts in place of classes: both are a list of texts in doccano's exports."""
    different = len(set(map(str, labels)))
    if len(labels) > FEW_ROWS and different > len(labels) / 2:
        raise DataError(f"{path}: {name!r} has {different:,} different texts in {len(labels):,} "
                        "rows, as doccano's sequence to sequence has; expected classes, of text "
                        "classification")


def tell_left_out(path: Path, out: Counter[str], notes: list[str] | None) -> None:
    """Add a note about texts that were left out, if there are some."""
    if out and notes is not None:
        count = out.total()
        notes.append(f"{path.name}: {count:,} text{'s' * (count > 1)} left out ({_counted(out)})")


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in sorted(reasons.items())) or "none there"
