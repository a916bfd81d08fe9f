"""`evaluate --labels`: from a table with wrong labels to the corrected table that `train` reads."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from tiny_jobs import WORDS, tiny_bert
from tiny_tasks import training_of

from bert_kit.data import read_table
from bert_kit.errors import BertKitError
from bert_kit.jobs.commands.evaluate import EvaluateOptions, run
from bert_kit.jobs.train import train

WRONG = range(0, 120, 11)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def write_rows(path, header=("text", "category")):
    """Write a table of which every eleventh row has another class; return its texts and classes."""
    kinds, other = sorted(WORDS), ["the", "a", "thing", "of", "old", "new", "very", "small"]
    texts = [f"{WORDS[kinds[row % 3]][row // 3 % 4]} {other[row % 8]} {row}" for row in range(120)]
    labels = [kinds[(row + (row in WRONG)) % 3] for row in range(120)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *zip(texts, labels)])
    return texts, labels


def checked(model, **options):
    return run(EvaluateOptions(model=model, labels=True, device="cpu", **options))


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_wrong_labels_stand_first_and_the_file_is_one_to_train_on(bert, tmp_path, capsys):
    texts, labels = write_rows(tmp_path / "rows.csv")
    found = checked(bert, data_file=tmp_path / "rows.csv", output_dir=tmp_path / "out")
    out = capsys.readouterr().out
    rows = rows_of(tmp_path / "out" / "suspects.csv")
    assert list(rows[0]) == ["line", "text", "category", "most_likely", "probability",
                             "probability_of_most_likely"]
    lines = [int(row["line"]) for row in rows]
    assert sorted(lines) == list(range(2, 122))  # below the header
    given = [float(row["probability"]) for row in rows]
    assert given == sorted(given) and found["rows"] == 120
    assert all((row["text"], row["category"]) == (texts[line - 2], labels[line - 2])
               for row, line in zip(rows, lines))
    assert average_precision_score([line - 2 in WRONG for line in lines],
                                   -np.arange(120)) > 0.5  # chance is .09
    assert found["doubted"] == sum(row["most_likely"] != row["category"] for row in rows)
    assert f"{found['doubted']} of 120 rows have another class" in out
    assert rows[0]["text"][:20] in out and "suspects.csv: all rows" in out
    read = read_table(tmp_path / "out" / "suspects.csv")  # as train reads it
    assert sorted(zip(read.texts, read.labels)) == sorted(zip(texts, labels))
    checked(bert, data_file=tmp_path / "rows.csv", output_dir=tmp_path / "again", verbosity=0)
    assert ((tmp_path / "again" / "suspects.csv").read_bytes()
            == (tmp_path / "out" / "suspects.csv").read_bytes())


def test_pairs_copies_and_a_class_of_one_text(bert, tmp_path, capsys):
    rows = [(f"the {WORDS['warm'][row % 4]}", f"thing {row}", "ab"[row % 2]) for row in range(30)]
    rows += [(*rows[2][:2], "b"), ("the red", "ice", "c")]
    with open(tmp_path / "pairs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("one", "two", "kind"), *rows])
    found = checked(bert, data_file=tmp_path / "pairs.csv", text_column=("one", "two"),
                    label_column="kind", output_dir=tmp_path / "out", mistakes=0)
    told = rows_of(found["file"])
    assert sorted((row["one"], row["two"], row["kind"]) for row in told) == sorted(rows)
    assert told[-1]["kind"] == "c" and told[-1]["probability"] == "" and found["unknown"] == 1
    assert "whose class no other text has (1): c" in capsys.readouterr().out
    first, copy = (row for row in told if row["line"] in ("4", "32"))  # told by the same rows
    for name in ("most_likely", "probability_of_most_likely"):
        assert first[name] == copy[name]


def test_a_run_is_checked_by_the_weights_that_it_began_with(bert, tmp_path, capsys):
    write_rows(tmp_path / "rows.csv", ("question", "kind"))
    given = {**training_of("classification", tmp_path, bert), "data_file": tmp_path / "rows.csv",
             "text_column": "question", "label_column": "kind", "baselines": False,
             "max_steps": 2}
    write_rows(tmp_path / "rows.csv", ("question", "kind"))
    train("classification", {**given, "output_dir": tmp_path / "run"})
    found = checked(tmp_path / "run", folds=4)
    assert found["model"] == str(bert)
    assert f"rows      of {tmp_path / 'rows.csv'}" in capsys.readouterr().out
    alone = checked(bert, data_file=tmp_path / "rows.csv", text_column="question",
                    label_column="kind", folds=4, output_dir=tmp_path / "alone", verbosity=0)
    rows = rows_of(tmp_path / "run" / "evaluation" / "suspects.csv")
    assert rows == rows_of(alone["file"]) and "question" in rows[0] and "kind" in rows[0]
    text = (tmp_path / "rows.csv").read_text("utf-8")
    (tmp_path / "rows.csv").write_text(text.replace("the", "another"), "utf-8")
    (tmp_path / "run" / "evaluation" / "suspects.csv").unlink()
    for stored, message in ((True, "made for other data"), (False, "hold other rows than it was")):
        if not stored:
            (tmp_path / "run" / "split.json").unlink()
        with pytest.raises(BertKitError, match=message):
            checked(tmp_path / "run")
    assert not (tmp_path / "run" / "evaluation" / "suspects.csv").exists()


def test_what_has_no_honest_vectors_or_no_classes_is_one_line(bert, tmp_path):
    given = training_of("classification", tmp_path, bert)
    train("classification", {**given, "model": None, "from_scratch": "bert-tiny", "max_steps": 1,
                             "baselines": False, "output_dir": tmp_path / "scratch"})
    rows = given["data_file"]
    for model, options, message in (
            (tmp_path / "scratch", {}, "began with random weights"),
            (bert, {"output_dir": tmp_path / "out"}, "labels needs rows: a data_file"),
            (bert, {"data_file": rows}, "output_dir is missing; expected a folder for suspects"),
            (bert, {"data_file": rows, "task": "tagging", "output_dir": tmp_path / "out"},
             "labels are checked of one class a text .* of the task tagging"),
            (bert, {"data_file": rows, "strict": True}, "strict is True, which changes nothing"),
            (bert, {"data_file": rows, "folds": 1, "output_dir": tmp_path / "out"},
             "folds is 1; expected a whole number from 2")):
        with pytest.raises(BertKitError, match=message) as caught:
            checked(model, verbosity=0, **options)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    given = training_of("multi_label", tmp_path, bert)
    train("multi_label", {**given, "max_steps": 1, "baselines": False,
                          "output_dir": tmp_path / "sets"})
    with pytest.raises(BertKitError, match="is of the task multi_label; leave labels out"):
        checked(tmp_path / "sets")


@pytest.mark.slow
def test_wrong_labels_of_real_questions_are_found(shared, minilm, tmp_path):
    """The measurement of the page: 1,200 questions, a tenth of their classes replaced at random."""
    read = read_table(shared / "data" / "trec6" / "train.csv")
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(read.texts))[:1_200]
    kinds, is_wrong = read.classes, np.zeros(1_200, bool)
    is_wrong[rng.choice(1_200, 120, replace=False)] = True
    with open(tmp_path / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "category"))
        for row, wrong in zip(chosen.tolist(), is_wrong.tolist()):
            label = read.labels[row]
            others = [kind for kind in kinds if kind != label]
            writer.writerow((read.texts[row], rng.choice(others) if wrong else label))
    checked(minilm, data_file=tmp_path / "rows.csv", output_dir=tmp_path / "out")
    lines = [int(row["line"]) for row in rows_of(tmp_path / "out" / "suspects.csv")]
    assert average_precision_score(is_wrong[np.array(lines) - 2], -np.arange(1_200)) > 0.75


def test_rows_left_out_are_listed_and_a_folder_of_an_export_is_read(bert, tmp_path):
    texts, labels = write_rows(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", "a", encoding="utf-8") as file:
        file.write(",warm\n")
    checked(bert, data_file=tmp_path / "rows.csv", output_dir=tmp_path / "out", bad_rows="skip",
            verbosity=0)
    assert [row["row"] for row in rows_of(tmp_path / "out" / "bad_rows.csv")] == ["122"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json").write_text(json.dumps([
        {"text": text, "category": label} for text, label in zip(texts, labels)]))
    given = {**training_of("classification", tmp_path, bert), "max_steps": 1, "baselines": False}
    train("classification", {**given, "data_file": tmp_path / "data",
                             "output_dir": tmp_path / "run"})
    assert checked(tmp_path / "run", verbosity=0)["rows"] == 120
