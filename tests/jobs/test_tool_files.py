"""What labelling tools take and give back: spans of a tagger, and the batches of a campaign."""

import json

import pytest
from tiny_campaigns import CLASSES, LABELS, learner

from bert_kit import ConfigError, DataError
from bert_kit.active import StoppingRules, run_campaign
from bert_kit.data import read_table, read_tagged
from bert_kit.jobs.active.tool_files import ToolFile
from bert_kit.jobs.commands.tag import WRITERS, UseTaggerOptions
from bert_kit.jobs.tasks.tags import TaggedText, TagOptions, TagTask, TextEntity

TEXTS = [f"text {row} 😄" for row in range(60)]


def tagged(text, *found):
    return TaggedText(text, [], [], [TextEntity(kind, start, end, text[start:end])
                                     for kind, start, end in found])


FOUND = [tagged("😄 Ada met Bo", ("who", 2, 5), ("who", 10, 12)), tagged("nobody"),
         tagged("in New York", ("city", 3, 11))]
WORDS = [["😄", "Ada", "met", "Bo"], ["nobody"], ["in", "New", "York"]]
TAGS = [["O", "B-who", "O", "B-who"], ["O"], ["O", "B-city", "I-city"]]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_spans_are_written_as_tools_import_them(tmp_path, suffix):
    path = tmp_path / f"found{suffix}"
    with WRITERS[suffix](path) as write:
        for number, each in enumerate(FOUND, 1):
            write(number, each)
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert rows[0] == {"text": "😄 Ada met Bo", "label": [[2, 5, "who"], [10, 12, "who"]]}
    else:
        tasks = json.loads(path.read_text("utf-8"))
        result = [each for task in tasks for each in task["predictions"][0]["result"]]
        assert len({each["id"] for each in result}) == 3
        assert result[2] == {
            "id": "3-1", "from_name": "label", "to_name": "text", "type": "labels",
            "value": {"start": 3, "end": 11, "text": "New York", "labels": ["city"]}}
        with pytest.raises(DataError, match=r"no text has a label \(3 not labelled\)"):
            read_tagged(path)  # a prediction is no label, until somebody has accepted it
        path.write_text(json.dumps([{**task, "annotations": task["predictions"]}
                                    for task in tasks]))
    again = read_tagged(path)
    assert (again.words, again.tags) == (WORDS, TAGS)


def test_no_text_makes_an_empty_list_or_file(tmp_path):
    for suffix in (".jsonl", ".json"):
        with WRITERS[suffix](tmp_path / f"a{suffix}"):
            pass
    assert json.loads((tmp_path / "a.json").read_text()) == []
    assert (tmp_path / "a.jsonl").read_text() == ""


def test_the_task_reads_a_file_or_a_folder(tmp_path):
    rows = "".join(json.dumps({"text": f"in Rome {i}", "label": [[3, 7, "city"]]}) + "\n"
                   for i in range(10))
    for name in ("a.jsonl", "train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(rows)
    task, given = TagTask(), {"val_size": 0.2, "output_dir": None, "verbosity": 0}
    parts = task.read(TagOptions(data_file=str(tmp_path / "a.jsonl"), **given))
    assert (len(parts.train), len(parts.validation), parts.test) == (8, 2, None)
    assert parts.classes == ("B-city", "O") and parts.train.words[3] == ["in", "Rome", "3"]
    assert len(task.read(TagOptions(data_file=str(tmp_path), **given)).test) == 10
    with pytest.raises(ConfigError, match="scheme is BIOES; labelled spans become tags of IOB2"):
        task.read(TagOptions(data_file=str(tmp_path / "a.jsonl"), scheme="BIOES", **given))
    (tmp_path / "a.jsonl").write_text(rows + '{"text": "Romeo", "label": [[0, 4, "city"]]}\n')
    with pytest.raises(DataError, match="line 11: .* cuts the word 'Romeo'.*--widen_spans"):
        task.read(TagOptions(data_file=str(tmp_path / "a.jsonl"), **given))
    parts = task.read(TagOptions(data_file=str(tmp_path / "a.jsonl"), widen_spans=True, **given))
    assert parts.validation.tags[-1] == ["B-city"]
    with pytest.raises(ConfigError, match="holds JSON, not a word a line; leave words out"):
        UseTaggerOptions(model="m", input_file="a.jsonl", words=True)


# ---- campaigns

def export(tool, rows):
    """Return {row: class, None to skip or "" for nobody yet} as the tool exports it."""
    if tool == "doccano":
        return "".join(json.dumps({"id": 100 + row, "text": TEXTS[row], "row": row, "Comments": [],
                                   "label": [name or "-"] if name != "" else []}) + "\n"
                       for row, name in rows.items())
    return json.dumps([
        {"id": 100 + row, "data": {"row": row, "text": TEXTS[row]}, "predictions": [],
         "annotations": [{"id": row, "completed_by": 1, "was_cancelled": name is None, "result": [
             {"from_name": "sentiment", "to_name": "text", "type": "choices",
              "value": {"choices": [name]}}] if name else []}]}
        for row, name in rows.items() if name != ""])  # Label Studio exports labelled tasks alone


@pytest.mark.parametrize("tool", ["label_studio", "doccano"])
def test_a_campaign_with_a_tool_in_the_middle(tmp_path, tool):
    """Batch written, labelled, exported to its place, read: the rounds are those of known labels.

    The project grows: each export has the texts of the rounds before too. Each time one text is
    left open at first.
    """
    file = ToolFile(tmp_path, TEXTS, CLASSES, False, tool)
    campaign, project, turns, skipped = learner(tmp_path / "c"), {}, 0, None

    def go_on():
        return run_campaign(campaign, file, 6, 5, StoppingRules(rounds=2))

    while "wait" in go_on():
        batch, turns = campaign.state.queried, turns + 1
        assert batch and file.answered(batch) == 0
        assert [row for row, _ in written(file.path)] == batch
        assert all(text == TEXTS[row] for row, text in written(file.path))
        if turns == 1:
            skipped = batch[0]
        project |= {row: CLASSES[LABELS[row]] if row != skipped else None for row in batch}
        file.path.write_text(export(tool, {**project, batch[-1]: ""}), "utf-8")
        assert "wait" in go_on() and file.answered(batch) == len(batch) - 1
        file.path.write_text(export(tool, project), "utf-8")
    assert turns == 3 and campaign.state.ignored == [skipped]
    assert campaign.state.labels == {row: LABELS[row] for row in project if row != skipped}
    expected = learner(tmp_path / "d")
    run_campaign(expected, lambda rows: [None if row == skipped else LABELS[row] for row in rows],
                 6, 5, StoppingRules(rounds=2))
    assert campaign.history == expected.history


def written(path):
    """Return (row, text) of a batch, read with nothing of the kit's."""
    text = path.read_text("utf-8")
    rows = [task["data"] for task in json.loads(text)] if path.suffix == ".json" else [
        json.loads(line) for line in text.splitlines()]
    return [(row["row"], row["text"]) for row in rows]


def labels_of(tmp_path, tool, rows, many=True):
    file = ToolFile(tmp_path, TEXTS, ["a", "b", "c"], many, tool)
    file.path.write_text(export(tool, rows) if isinstance(rows, dict) else json.dumps(rows))
    return file([0, 1])


def test_several_labels_a_text(tmp_path):
    def task(row, *names):
        return {"data": {"row": row, "text": TEXTS[row]}, "annotations": [{"result": [
            {"from_name": "x", "type": "choices", "value": {"choices": list(names)}}]
            if names else []}]}
    assert labels_of(tmp_path, "label_studio", [task(0, "c", "a"), task(1)]) == [[0, 2], []]
    assert labels_of(tmp_path, "label_studio", [task(0), task(1)]) == [[], []]
    with pytest.raises(DataError, match="'x' has the labels a, c; expected one"):
        labels_of(tmp_path, "label_studio", [task(0, "c", "a"), task(1)], many=False)
    assert labels_of(tmp_path, "doccano", {0: "a", 1: None}) == [[0], None]
    assert labels_of(tmp_path, "doccano", {0: "a", 1: ""}) is None  # nobody may have seen it
    # An export of any tool is known by its keys; Prodigy keeps what it does not know.
    prodigy = [{"text": TEXTS[row], "row": row, "answer": answer, "options": [], "accept": ["b"],
                "_input_hash": row} for row, answer in enumerate(["accept", "ignore"])]
    assert labels_of(tmp_path, "doccano", prodigy) == [[1], None]


@pytest.mark.parametrize("name", ["label", "category"])
def test_a_single_choice_of_json_min_is_a_plain_value(tmp_path, name):
    rows = [{"id": row, "annotator": 1, "annotation_id": row, "text": TEXTS[row], "row": row,
             name: choice} for row, choice in enumerate("ab")]
    file = ToolFile(tmp_path, TEXTS, ["a", "b"], False, "label_studio", "category")
    file.path.write_text(json.dumps(rows))
    assert file([0, 1]) == [0, 1]
    file.path.write_text(json.dumps(rows).replace(f'"{name}"', '"topic"'))
    with pytest.raises(DataError, match="has no classes under 'label'.*--label_column"):
        file([0, 1])  # else they would count as open, for ever


def test_a_byte_that_is_no_text_names_no_option_that_does_not_help(tmp_path):
    file = ToolFile(tmp_path, TEXTS, ["a", "b"], False, "label_studio")
    file.path.write_bytes(export("label_studio", {0: "a", 1: "b"}).encode().replace(
        b"text 1", b"t\xe9xt 1"))
    with pytest.raises(DataError, match="line 1: byte 0xe9 is not utf-8") as error:
        file([0, 1])
    assert "bad_rows" not in str(error.value)


@pytest.mark.parametrize("rows, words", [
    ({0: "d", 1: "a"}, "'d' is not a class; expected one of a, b, c, or -"),
    ({0: "1", 1: "a"}, "'1' is not a class"),
    ([{"data": {"text": TEXTS[0]}}], "'row' is None; expected the number that was imported"),
    ([{"data": {"text": "other", "row": 0}}], "row 0 is 'other'; expected 'text 0 .', as in this"),
    ([{"data": {"text": TEXTS[0], "row": 99}}], "row 99; expected one of the 60 of this campaign"),
    ([{"text": "a", "category": "x"}], "expected an export of Label Studio, doccano or Prodigy")])
def test_an_export_of_something_else_is_refused(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        labels_of(tmp_path, "label_studio", rows, many=False)


def test_a_batch_imported_twice(tmp_path):
    both = export("label_studio", {0: "a", 1: "b"})
    file = ToolFile(tmp_path, TEXTS, ["a", "b"], False, "label_studio")
    file.path.write_text(json.dumps(json.loads(both) * 2))
    assert file([0, 1]) == [0, 1]
    file.path.write_text(json.dumps(json.loads(both) + json.loads(both.replace('"b"', '"a"'))))
    with pytest.raises(DataError, match="row 1 is 'a', and 'b' at .*; expected one answer"):
        file([0, 1])


def test_a_batch_is_a_pool_too(tmp_path):
    file = ToolFile(tmp_path, TEXTS, CLASSES, False, "label_studio")
    assert file([3, 5]) is None
    assert read_table(file.path, label_column=None).texts == [TEXTS[3], TEXTS[5]]
    assert "import" in file.to_do(0) and "to_label.json into Label Studio" in file.to_do(0)
    assert "import" not in file.to_do(3) and "Skip leaves" in file.to_do(3)  # it is the export now
