"""A row that cannot be used: left out by every job alike, told, listed, and kept in place."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_jobs import here, tiny_bert, write_table
from tiny_tasks import training_of

from bert_kit.data import BadRow
from bert_kit.errors import BertKitError, ConfigError
from bert_kit.files import read_json, write_json
from bert_kit.jobs.active.options import options_for
from bert_kit.jobs.active.rows import ActiveRows
from bert_kit.jobs.commands.evaluate import EvaluateOptions
from bert_kit.jobs.commands.evaluate import run as evaluate
from bert_kit.jobs.options.groups import bad_rows_beside
from bert_kit.jobs.run.left_out import in_place, put_back
from bert_kit.jobs.tasks.masked import documents_of
from bert_kit.jobs.tasks.table import PLACES, task_named
from bert_kit.jobs.train import train
from bert_kit.jobs.tuning import search
from bert_kit.jobs.tuning.options import search_options


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def run(bert, tmp_path_factory):
    """A classifier that was trained on a table with two bad rows, and the folder around."""
    folder = tmp_path_factory.mktemp("run")
    given = {**training_of("classification", folder, bert), "max_steps": 2, "baselines": False,
             "bad_rows": "skip", "output_dir": folder / "run"}
    spoil(given["data_file"], b",warm\n", 5)
    spoil(given["data_file"], b"caf\xe9,=1+1\n", 9)
    return folder, given, train("classification", given)


def spoil(path, line, place):
    """Put a line into a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:place - 1], line, *lines[place - 1:]]))


def listed(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


BAD_LINES = {"classification": b",warm\n", "multi_label": b",warm\n", "regression": b"red,hot\n",
             "tagging": b"red\n\n", "similarity": b"red,,1\n", "masked": b"caf\xe9\n"}


@pytest.mark.parametrize("task", PLACES)
def test_a_training_is_that_of_the_other_rows(task, bert, tmp_path):
    """The rows, and with them the digest that a resumed run is checked by, are the same."""
    given = training_of(task, tmp_path, bert)
    found = task_named(task)

    def read(**more):
        options = found.options.from_names({**given, "output_dir": None, **more})
        parts = found.read(options)
        return parts, None if task != "masked" else found.make_tokenizer(options, parts.train)
    (clean, tokenizer), path = read(), given.get("data_file", given.get("train_file"))
    if task in ("tagging", "answering"):
        path /= "train.conll" if task == "tagging" else "train.json"
    if task == "answering":
        content = json.loads(path.read_text())
        content["data"][0]["paragraphs"][3]["qas"].append({"id": "x", "question": "?",
                                                           "answers": []})
        path.write_text(json.dumps(content))
    else:
        spoil(path, BAD_LINES[task], 1 if task == "tagging" else 2)
        if task == "tagging":  # its first line says how many columns there are
            path.write_bytes(b"a\tO\n\n" + path.read_bytes())
            clean.train.words.insert(0, ["a"]), clean.train.tags.insert(0, ["O"])
    with pytest.raises(BertKitError, match="--bad_rows skip"):
        read()
    some, _ = read(bad_rows="skip")
    assert len(some.bad_rows) == 1 and some.bad_rows[0].file == str(path)
    assert "1 row left out of " in some.note and "%): 1 " in some.note
    assert len(some.train) == len(clean.train)
    if task == "tagging":
        assert (some.train.words, some.train.tags) == (clean.train.words, clean.train.tags)
    else:
        assert found.fingerprint(some, tokenizer) == found.fingerprint(clean, tokenizer)


def test_a_run_lists_them_and_goes_on_with_the_same(run, capsys):
    folder, given, results = run
    rows = listed(folder / "run" / "bad_rows.csv")
    assert [(row["row"], row["reason"]) for row in rows] == [
        ("5", "empty text"), ("9", "not in the encoding")]
    assert rows[1]["content"] == "caf\\udce9,=1+1" and "byte 0xe9" in rows[1]["message"]
    assert sum(results["rows"].values()) == 120
    again = train("classification", {**given, "resume": "auto"})
    assert again["steps"] == results["steps"]
    assert "2 rows left out of 122 (1.6%)" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="bad_rows was 'skip' and is now 'error'"):
        train("classification", {**given, "resume": "auto", "bad_rows": "error"})
    path = folder / "run" / "manifest.json"
    stored = read_json(path)
    stored["settings"]["skip_bad_rows"] = stored["settings"].pop("bad_rows") == "skip"
    write_json(path, stored)  # as the version before wrote it
    assert train("classification", {**given, "resume": "auto"})["steps"] == results["steps"]
    spoil(given["data_file"], b"one more,warm\n", 11)
    with pytest.raises(BertKitError, match="made for other data"):
        train("classification", {**given, "resume": "auto"})


def test_an_evaluation_lists_them(run, tmp_path, capsys):
    rows = write_table(tmp_path / "rows.csv", 12)
    spoil(rows, b"red,hot\n", 4)
    given = {"model": str(run[0] / "run"), "data_file": str(rows), "device": "cpu",
             "plots": False, "output_dir": str(tmp_path / "out")}
    with pytest.raises(BertKitError, match="line 4: 'hot' is not a class .*bad_rows skip"):
        evaluate(EvaluateOptions(**given))
    found = evaluate(EvaluateOptions(**given, bad_rows="skip"))
    assert found["rows"] == 12
    row, = listed(tmp_path / "out" / "bad_rows.csv")
    assert (row["row"], row["reason"]) == ("4", "unknown label")
    said = capsys.readouterr().err
    assert "1 row left out of 13 (7.7%)" in said and "bad_rows.csv" in said
    assert "these are many: is the file read as it is written?" in said
    write_table(rows, 12)
    evaluate(EvaluateOptions(**given, bad_rows="skip"))
    assert not (tmp_path / "out" / "bad_rows.csv").exists()  # that was of other rows


@pytest.mark.parametrize("name, content, empty", [
    ("a.csv", b"id,text\n1,red\n2,\n3,ice\n4\n\n5,sun\n", [1, 3]),
    ("a.txt", b"caf\xe9\nred\n\nice\n", [0]),
    ("a.jsonl", b'{"text": "red"}\n{"text": " "}\n{\n{"text": "ice"}\n', [1, 2])])
def test_predictions_join_the_file_by_rows(run, name, content, empty, tmp_path):
    """Row i of the output is row i of the file; the others have the answers of a file of theirs."""
    (tmp_path / name).write_bytes(content)
    model = run[0] / "run"

    def predict(*more):
        done = here("predict", "--model", model, "--no_cuda", *more, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done
    done = predict("--data_file", name, "--output_file", "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [i for i, row in enumerate(rows) if row["prediction"] is None] == empty
    assert {value for i in empty for value in rows[i].values()} == {None}
    assert f"{len(rows)} rows, {len(empty)} without an answer: out.jsonl" in done.stdout
    assert f"{len(empty)} row{'s' * (len(empty) > 1)} left out of {len(rows)}" in done.stderr
    assert len(listed(tmp_path / "out.bad_rows.csv")) == len(empty)
    full = [row for row in rows if row["prediction"] is not None]
    (tmp_path / "b.txt").write_text("\n".join(row["text"] for row in full))
    predict("--data_file", "b.txt", "--output_file", "out.json")
    assert [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()] == full
    assert not (tmp_path / "out.bad_rows.csv").exists()
    done = here("predict", "--model", model, "--data_file", name, "--bad_rows", "error",
                folder=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "bad_rows skip" in done.stderr


def test_standard_input_keeps_its_rows(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"red\ncaf\xe9\n\nice\n")))
    done = here("predict", "--model", run[0] / "run", "--data_file", "-", folder=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["text"] for row in rows] == ["red", "", "ice"] and rows[1]["prediction"] == ""
    assert "standard input line 2: byte 0xe9" in done.stderr
    assert "1 row left out of 3" in done.stderr


def test_tagged_rows_keep_their_numbers(bert, tmp_path):
    given = {**training_of("tagging", tmp_path, bert), "max_steps": 1, "baselines": False,
             "output_dir": tmp_path / "run", "lenient": True}
    train("tagging", given)
    words, texts = tmp_path / "a.conll", tmp_path / "a.csv"
    texts.write_text("text\nred sun\n \nblue ice\n")
    words.write_text("red\tx\nsun\tx\n\nnew\n\nblue\tx\nice\tx\n")
    for name, more in (("a.csv", ()), ("a.conll", ("--words",))):
        done = here("tag", "--model", "run", "--input_file", name, "--output_file", "out.csv",
                    "--bad_rows", "skip", *more, folder=tmp_path)
        assert done.returncode == 0 and "2 texts: out.csv" in done.stdout, done.stderr
        assert "1 row left out of 3" in done.stderr
        assert {row["row"] for row in listed(tmp_path / "out.csv")} <= {"1", "3"}
        assert len(listed(tmp_path / "out.bad_rows.csv")) == 1


def test_a_list_that_is_read_is_not_written(run, tmp_path):
    """Whoever mends the rows of a list and gives it to the same command keeps it."""
    (tmp_path / "out.bad_rows.csv").write_text("text\nred\n")
    done = here("predict", "--model", run[0] / "run", "--data_file", "out.bad_rows.csv",
                "--output_file", "out.csv", folder=tmp_path)
    assert done.returncode == 1 and "out.bad_rows.csv: is the file to read" in done.stderr
    assert (tmp_path / "out.bad_rows.csv").is_file()


def test_rows_left_out_where_they_stood():
    bad = [BadRow("a", line, "", "", "") for line in (2, 5, 6)]
    assert put_back("xyz", [0, 1, 1], bad) == ["x", bad[0], "y", "z", *bad[1:]]
    assert put_back("x", [0], ()) == [*in_place("x", None)] == ["x"]
    seen = []

    def rows():
        seen.append(bad[0])
        yield "x"
        yield "y"
        seen.extend(bad[1:])
        yield "z"
        seen.append(bad[0])
    assert [*in_place(rows(), seen)] == [bad[0], "x", "y", *bad[1:], "z", bad[0]]


def test_a_corpus_of_bad_rows_says_what_they_are(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(BertKitError, match=r"a.txt: no text; .* \(1 row left out: 1 not in the"):
        next(documents_of([tmp_path / "a.txt"], bad_rows=[]))


def test_an_output_file_may_be_called_anything():
    assert bad_rows_beside("a/b.csv") == Path("a/b.bad_rows.csv")
    assert bad_rows_beside("b") == Path("b.bad_rows.csv")
    assert bad_rows_beside(".") == Path("bad_rows.csv")  # for the error of the folder itself


@pytest.mark.parametrize("tool", [False, True])
def test_rows_of_a_list_on_one_line_keep_their_places(tool, run, tmp_path):
    """So most programs write JSON; of Label Studio the texts are in `data`, and the id is not."""
    texts = ["", "red", 5, "blue", " "]
    (tmp_path / "rows.json").write_text(json.dumps([
        {"id": row, "data": {"text": text, "ref": f"r{row}"}} if tool else
        {"id": row, "text": text, "ref": f"r{row}"} for row, text in enumerate(texts, 1)]))
    done = here("predict", "--model", run[0] / "run", "--data_file", "rows.json", "--keep_columns",
                "id", "ref", "--output_file", "out.csv", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["id"], row["ref"], row["text"]) for row in listed(tmp_path / "out.csv")] == [
        ("1", "r1", ""), ("2", "r2", "red"), ("", "", ""), ("4", "r4", "blue"), ("5", "r5", "")]
    done = here("predict", "--model", run[0] / "run", "--data_file", "rows.json", folder=tmp_path)
    assert "columns left out: id, ref (" in done.stderr


def test_a_search_and_a_campaign_list_them_too(bert, tmp_path, capsys):
    given = {**training_of("classification", tmp_path, bert), "bad_rows": "skip"}
    spoil(given["data_file"], b",warm\n", 3)
    pool = tmp_path / "pool.csv"
    pool.write_text("text\nred\n\"\"\n")
    options = search_options("classification").from_names({
        **given, "output_dir": tmp_path / "search", "n_trials": 1, "verbosity": 1})
    found = search.prepare(options)
    search.read_rows(found)
    assert f"listed in {found.folder / 'bad_rows.csv'}" in capsys.readouterr().out
    assert [row["row"] for row in listed(found.folder / "bad_rows.csv")] == ["3"]
    options = options_for("classification").from_names({
        **given, "output_dir": tmp_path / "out", "pool_file": pool, "oracle": "csv"})
    rows = ActiveRows(task_named("classification"), options, torch.device("cpu"))
    assert [(row.file, row.row) for row in rows.bad_rows] == [
        (str(given["data_file"]), 3), (str(pool), 3)]
