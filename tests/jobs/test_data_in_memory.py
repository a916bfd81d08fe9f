"""Training on rows in memory: what the same rows in files give, for every task."""

import csv
import json

import numpy as np
import pytest

import bert_kit
from bert_kit.data import read_conll, read_documents, read_squad
from bert_kit.errors import BertKitError, ConfigError, DataError, UsageError
from bert_kit.jobs import compare
from bert_kit.jobs.commands.evaluate import EvaluateOptions
from bert_kit.jobs.commands.evaluate import run as evaluate
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.train import FILES, train, with_rows
from tiny_jobs import table, tiny_bert, write_table
from tiny_tasks import training_of


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


def columns_of(task, path):
    """Return the rows of a file as a user has them in memory."""
    if task == "tagging":
        found = read_conll(path)
        return {"tokens": found.words, "tags": found.tags}
    if task == "answering":
        return [{"id": one.id, "question": one.question, "context": one.context,
                 "answers": {"text": [text for text, _ in one.answers],
                             "answer_start": [start for _, start in one.answers]}}
                for one in read_squad(path)]
    if task == "masked":
        return {"text": ["\n".join(document) for document in read_documents(path)]}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def in_memory(task, files):
    """Return the data of some file options: one table, or the parts."""
    if "data_file" not in files:
        return {part: columns_of(task, files[f"{part}_file"])
                for part in ("train", "validation", "test") if f"{part}_file" in files}
    if files["data_file"].is_file():
        return columns_of(task, files["data_file"])
    return {path.stem: columns_of(task, path) for path in sorted(files["data_file"].iterdir())}


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression", "tagging",
                                  "answering", "similarity", "masked"])
def test_every_task_reads_the_rows_that_it_reads_from_files(task, tmp_path, bert):
    given, kind = {**training_of(task, tmp_path, bert), "output_dir": None}, task_named(task)
    files = {name: given.pop(name) for name in FILES if name in given}
    of_files = kind.read(kind.options(**given, **files))
    options = with_rows(kind.options(**given), in_memory(task, files), {})
    found = kind.read(options)
    assert found.fingerprint == of_files.fingerprint and found.classes == of_files.classes
    assert found.present().keys() == of_files.present().keys() and len(found.present()) > 1
    for name, part in found.present().items():
        other = of_files.present()[name]
        assert len(part) == len(other) > 0
        for field in {"tagging": ("words", "tags"), "answering": (), "masked": ()}.get(
                task, ("texts", "labels")):
            a, b = getattr(part, field), getattr(other, field)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        assert task not in ("answering", "masked") or part == other


def test_a_job_leaves_the_same_bits_and_goes_on_with_the_same_rows_only(tmp_path, bert):
    given = {**training_of("classification", tmp_path, bert), "max_steps": 2, "baselines": False}
    path = write_table(given.pop("data_file"), 30)
    columns = columns_of("classification", path)
    one, two = (bert_kit.train_classifier(**source, **given, output_dir=tmp_path / name)
                for name, source in (("a", {"data_path": path}), ("b", {"data": columns})))
    differ = {"seconds", "peak_memory_mb", "output_dir"}
    assert {key: one[key] for key in one.keys() - differ} == {
        key: two[key] for key in two.keys() - differ}
    for file in ("model.safetensors", "config.json", "test_predictions.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    stored = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab"]
    assert stored[0]["data"] == stored[1]["data"] and "data" not in stored[1]["settings"]
    assert stored[1]["settings"]["data_file"] is None
    again = {**given, "output_dir": tmp_path / "b", "resume": "auto"}
    assert bert_kit.train_classifier(data=columns, **again)["test"] == two["test"]
    split = json.loads((tmp_path / "b" / "split.json").read_text())
    assert split["files"] == {"train": "data"}
    with pytest.raises(BertKitError, match="made for other data"):
        bert_kit.train_classifier(data={**columns, "text": ["x", *columns["text"][1:]]}, **again)
    (tmp_path / "b" / "split.json").unlink()
    with pytest.raises(ConfigError, match="the data has changed since it began"):
        bert_kit.train_classifier(data={**columns, "text": ["x", *columns["text"][1:]]}, **again)


def test_every_function_that_trains_takes_data(monkeypatch, tmp_path):
    monkeypatch.setattr(TrainingJob, "run", lambda job: job.options.data.names)
    columns = {"text": ["a"], "category": ["b"]}
    for function in (bert_kit.train_classifier, bert_kit.train_tagger, bert_kit.train_answerer,
                     bert_kit.train_similarity, bert_kit.pretrain):
        assert function(data=columns) == ["text", "category"]
    for task in ("multi_label", "regression"):
        assert bert_kit.train_classifier(data=columns, task=task) == ["text", "category"]


def test_steps_and_comparisons_take_data(bert, monkeypatch):
    texts, labels = table(60)
    columns = {"text": texts, "category": labels}
    trainer = bert_kit.TextClassificationTrainer(bert, output_dir=None, max_length=24)
    datasets = trainer.prepare_data(data=columns, seed=3)
    assert {name: len(rows) for name, rows in datasets.items()} == {
        "train": 48, "validation": 6, "test": 6}
    monkeypatch.setattr(compare, "run", compare._jobs)
    jobs = bert_kit.train_all_classifiers(bert, classifier_types=["standard", "cnn"], data=columns)
    assert [job.classifier for job in jobs] == ["standard", "cnn"]
    assert all(job.data.names == ["text", "category"] for job in jobs)


class Frame:
    columns = ("text",)

    def __getitem__(self, name):
        return ["a\nb"] * 99

    def __repr__(self):
        return "a frame\nof lines\n" * 99


@pytest.mark.parametrize("given, words", [
    ({"data_path": Frame()}, r"^data_file is a Frame; expected the name of a file or folder \(rows "
                             r"in memory are data=…\)$"),
    ({"data_path": {"text": ["a"]}}, "^data_file is a dict; expected the name"),
    ({"data_path": [{"text": "a"}]}, "^data_file is a list; expected the name"),
    ({"data": {"text": ["a"]}, "data_path": "a.csv"}, "data and data_file are both given"),
    ({"data": "a.csv"}, "^data is a str; expected columns by name"),
    ({"data": {"text": ["a"]}}, "data: no column 'category'; found 'text'"),
    ({"data": {"text": ["a"], "category": ["b"]}, "delimiter": ";"}, "delimiter is ;, which chang"),
    ({"data": {"text": list("abc"), "category": [1, 1, 1]}}, "data: 'category' is '1' in all 3")])
def test_what_cannot_be_trained_on_is_one_line(given, words, tmp_path):
    with pytest.raises(BertKitError, match=words) as caught:
        bert_kit.train_classifier(**given, output_dir=tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_columns_of_files_are_not_those_of_data():
    options = task_named("tagging").options(word_column=1, data={"tokens": [], "tags": []})
    with pytest.raises(UsageError, match="word_column and tag_column number the columns of a file"):
        task_named("tagging").read(options)


def test_files_that_a_search_found_give_way_to_data():
    kind = task_named("classification").options
    found = with_rows(kind(data_file="a.csv", seed=4), {"text": ["a"]}, {"seed": 4})
    assert found.data_file is None and found.files()["data_file"].names == ["text"]
    with pytest.raises(UsageError, match="data and data_file are both given"):
        with_rows(kind(data_file="a.csv"), {"text": ["a"]}, {"data_path": "a.csv"})
    with pytest.raises(DataError, match="data is a int"):
        train("regression", {}, 3)


@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_a_run_on_rows_in_memory_has_no_rows_to_evaluate(task, tmp_path, bert):
    """Without this, a classifier's run looks as one on docstrings does: it names no file."""
    given, kind = training_of(task, tmp_path, bert), task_named(task)
    data = in_memory(task, {name: given.pop(name) for name in FILES if name in given})
    train(task, {**given, "max_steps": 1, "baselines": False, "output_dir": tmp_path / "run"}, data)
    for labels in [False, True][:1 + (task == "classification")]:
        with pytest.raises(ConfigError, match="run: was trained on rows in memory.*--data_file"):
            evaluate(EvaluateOptions(model=tmp_path / "run", labels=labels), kind)
