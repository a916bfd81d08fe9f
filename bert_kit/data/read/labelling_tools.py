"""Texts with what people said of them, as labelling tools export them.

A file is known by the keys of its first object, and all that follow must have the same form:

- Label Studio's JSON: tasks with `data` and `annotations`, in these `result`, in these by
  `from_name` the `choices` of a text or its `labels`. Before version 1 they were `completions`.
  (Its docs: "Export annotations and data", "Label Studio JSON format of annotated tasks".)
- Label Studio's JSON-MIN: the data with the choices or labels beside them, and `annotator`,
  `annotation_id`; an object for each annotation. (The same page, and the exporter's code.)
- Prodigy and spaCy: `spans` of `start`, `end`, `label`; `accept`, the chosen ones of `options`; or
  one `label`; and an `answer`. (Prodigy's docs: "Annotation interfaces".)
- doccano: lists under `label` (`labels`, `entities`, `cats`, `annotations` in older or other
  exports): names, or spans as [start, end, name] or with `start_offset` and `end_offset`. The text
  was under `data` for a while. (doccano's `data_export`, and its issues 113, 1374 and 1522.)
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bert_kit.data.read.json_rows import listed
from bert_kit.errors import DataError

ANSWERS = {"accept": "", "reject": "rejected", "ignore": "ignored"}  # of Prodigy
UNLABELLED, SKIPPED = "not labelled", "skipped"  # why a text is left out; others as in ANSWERS
SPAN_KINDS = ("labels", "hypertextlabels", "paragraphlabels")  # types of Label Studio's results
DOCCANO_KEYS = ("label", "labels", "entities", "cats", "annotations")
JSON_MIN_KEYS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time",
                 "agreement")


class Mark(NamedTuple):
    """A labelled piece of a text as a file has it, not checked; `text` where the file says it."""

    start: Any
    end: Any
    labels: Sequence[Any]
    text: Any = None


@dataclass(frozen=True)
class Answer:
    """What one person said of a text: classes and marks by name, and other values beside these."""

    classes: Mapping[str, list[Any]] = field(default_factory=dict)
    spans: Mapping[str, list[Mark]] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Task:
    """A text, in `columns`, and all answers about it.

    Attributes
    ----------
    where, line
        How messages name it, and the line on which it begins.
    why
        Why it is left out, if there is no answer.
    key
        Equal where several objects are about one text; None for none other.
    """

    where: str
    line: int
    columns: Mapping[str, Any]
    answers: list[Answer]
    why: str = UNLABELLED
    key: Hashable = None


class Asked(NamedTuple):
    """What is wanted of a file: columns of texts, that of the label, and of what kind that is.

    Kinds are "class" and "labels", which stand in a column, and "spans".
    """

    texts: Sequence[str] = ()
    label: str = ""
    kind: str = "spans"


class Tool(NamedTuple):
    """A form of export: its name, whether an object has it, and how one is read."""

    name: str
    fits: Callable[[Mapping[str, Any], Asked], bool]
    parse: Callable[[Mapping[str, Any], str, int], Task]


def is_label_studio(row: Mapping[str, Any], texts: Iterable[str] = ()) -> bool:
    """Say whether an object is a task of Label Studio: its texts are in `data`."""
    return isinstance(row.get("data"), dict) and not any(column in row for column in texts)


def task_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task of Label Studio as a row: what is in its `data`, and its own keys, as `id`."""
    return {**{key: value for key, value in row.items() if key != "data"}, **row["data"]}


def _label_studio(row: Mapping[str, Any], where: str, line: int) -> Task:
    if not isinstance(row.get("data"), dict):
        raise DataError(f"{where}: no 'data'; expected a task of Label Studio, as the first is")
    answers, truth, why = [], [], UNLABELLED
    for annotation in _list(row.get("annotations", row.get("completions", [])), where):
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
            raise DataError(f"{where}: an annotation without 'result'; expected Label Studio's "
                            "JSON with whole annotations")
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            why = SKIPPED
            continue
        answers.append(_results(annotation["result"], where))
        if annotation.get("ground_truth"):
            truth.append(answers[-1])
    return Task(where, line, row["data"], truth or answers, why)


def _results(results: Sequence[Any], where: str) -> Answer:
    """Return one annotation; what a text is not labelled with is left, such as ratings."""
    classes, spans = defaultdict(list), defaultdict(list)
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):  # a relation
            continue
        kind, name = result.get("type"), str(result.get("from_name"))
        if kind == "choices" and "start" not in value:  # else they are of a piece of the text
            classes[name] += _list(value.get("choices"), where)
        elif kind in SPAN_KINDS:
            spans[name].append(_mark(value, kind))
    return Answer(classes, spans)


def _mark(value: Mapping[str, Any], kind: str) -> Mark:
    labels = value.get(kind, [])
    return Mark(value.get("start"), value.get("end"),
                labels if isinstance(labels, list) else [labels], value.get("text"))


def _is_json_min(row: Mapping[str, Any], asked: Asked) -> bool:
    return "annotation_id" in row and "annotator" in row


def _json_min(row: Mapping[str, Any], where: str, line: int) -> Task:
    columns = {key: value for key, value in row.items() if key not in JSON_MIN_KEYS}
    classes, spans = {}, {}
    for name, value in columns.items():
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            classes[name] = value["choices"]
        elif isinstance(value, list):
            kinds = [next((kind for kind in SPAN_KINDS if isinstance(each, dict) and kind in each),
                          "") for each in value]
            if value and all(kinds):
                spans[name] = [_mark(each, kind)
                               for each, kind in zip(value, kinds, strict=True)]
    answers = [Answer(classes, spans, row)] if row.get("annotation_id") is not None else []
    return Task(where, line, columns, answers, key=row.get("id"))


def _is_prodigy(row: Mapping[str, Any], asked: Asked) -> bool:
    if asked.label != "answer" and row.get("answer") in tuple(ANSWERS):
        return True
    if asked.kind == "spans":
        return isinstance(row.get("spans"), list)
    return isinstance(row.get("accept"), list) and isinstance(row.get("options"), list)


def _prodigy(row: Mapping[str, Any], where: str, line: int) -> Task:
    why = ANSWERS.get(str(row.get("answer", "accept")))
    if why is None:
        raise DataError(f"{where}: 'answer' is {row['answer']!r:.40}; expected "
                        f"{', '.join(ANSWERS)}, as Prodigy has it")
    columns = {key: value for key, value in row.items() if key != "answer"}
    classes, spans = {}, {}
    if isinstance(row.get("accept"), list):
        classes["accept"] = row["accept"]
    if isinstance(row.get("label"), str):
        classes["label"] = [row["label"]]
    if isinstance(row.get("spans"), list):
        spans["spans"] = [_mark(each, "label") if isinstance(each, dict) else Mark(None, None, [])
                          for each in row["spans"]]
    answers = [Answer(classes, spans, columns)] if not why else []
    return Task(where, line, columns, answers, why or UNLABELLED, row.get("_input_hash"))


def _is_doccano(row: Mapping[str, Any], asked: Asked) -> bool:
    if isinstance(row.get("data"), dict):
        return False
    if asked.kind != "spans" and asked.label in row:  # a list of labels needs no tool
        return asked.kind == "class" and isinstance(row[asked.label], list)
    return any(isinstance(row.get(key), list) and all(map(_of_doccano, row[key]))
               for key in DOCCANO_KEYS)


def _of_doccano(value: Any) -> bool:
    """Say whether a value of a list is a label, or a labelled piece of the text."""
    return not isinstance(value, dict) or "label" in value


def _doccano(row: Mapping[str, Any], where: str, line: int) -> Task:
    classes, spans = {}, {}
    for key in DOCCANO_KEYS:
        values = row.get(key)
        if not isinstance(values, list):
            continue
        if all(isinstance(value, list) and len(value) == 3 for value in values):
            spans[key] = [Mark(start, end, [label]) for start, end, label in values]
        elif all(isinstance(value, dict) and "start_offset" in value for value in values):
            spans[key] = [Mark(value["start_offset"], value.get("end_offset"),
                               [value.get("label")]) for value in values]
        elif any(isinstance(value, list) for value in values):
            raise DataError(f"{where}: {key!r} is {values!r:.60}; expected names, or lists of "
                            "[start, end, name]")
        if key == "annotations" and any(isinstance(value, dict) and isinstance(
                value.get("label"), int) for value in values):
            raise DataError(f"{where}: 'annotations' has the numbers of labels, not their names; "
                            "expected doccano's export JSONL(Text label), or a newer doccano")
        if key not in spans or not values:  # an empty list may be of either
            classes[key] = [value.get("label") if isinstance(value, dict) else value
                            for value in values]
    others = {key: value for key, value in row.items() if key not in spans}
    return Task(where, line, row, [Answer(classes, spans, others)])


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where}: {value!r:.40} stands for annotations; expected a list")
    return value


TOOLS = (
    Tool("Label Studio", lambda row, asked: is_label_studio(row, asked.texts or ("text",)),
         _label_studio),
    Tool("Label Studio (JSON-MIN)", _is_json_min, _json_min),
    Tool("Prodigy", _is_prodigy, _prodigy),
    Tool("doccano", _is_doccano, _doccano))


def recognise(row: Mapping[str, Any], asked: Asked, path: Path) -> Tool | None:
    """Return the tool that an object comes from, or None for a row like any other.

    Raises
    ------
    DataError
        If it may come from two.
    """
    found = [tool for tool in TOOLS if tool.fits(row, asked)]
    if len(found) > 1:
        names = " or of ".join(tool.name for tool in found)
        raise DataError(f"{path}: the first object may be of {names} by its keys {listed(row)}; "
                        "expected those of one")
    return found[0] if found else None
