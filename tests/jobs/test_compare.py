"""The job `compare`: heads trained on one split, and runs that are there."""

import csv
import shutil

import pytest

from bert_kit.cli import main
from bert_kit.errors import ConfigError
from bert_kit.files import read_json, write_json
from bert_kit.jobs import compare
from bert_kit.jobs.compare import train_all_classifiers
from tiny_jobs import tiny_bert, write_table

QUICK = {"num_epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "max_length": 24,
         "device": "cpu", "precision": "float32", "plots": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(table, BERT folder, table with numbers, table with labels), made once."""
    folder = tmp_path_factory.mktemp("files")
    rows = write_table(folder / "rows.csv")
    with open(rows, newline="") as file:
        _, *lines = csv.reader(file)
    for name, column, label in (("numbers.csv", "label", {"warm": 1.0, "cold": 0.0, "green": 0.5}),
                                ("labels.csv", "labels", {"warm": "hot", "cold": "",
                                                          "green": "hot|ice"})):
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows([["text", column], *(
                [text, label[kind]] for text, kind in lines)])
    return rows, tiny_bert(folder / "bert"), folder / "numbers.csv", folder / "labels.csv"


def flags(options):
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def board(folder):
    with open(folder / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_compare_trains_heads_on_one_split(files, tmp_path, capsys):
    arguments = ["compare", "--classifiers", "standard", "custom", "--model", str(files[1]),
                 "--data_file", str(files[0]), *flags(QUICK), "--depth", "2", "--output_dir",
                 str(tmp_path / "all")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    rows = board(tmp_path / "all")
    assert {row["classifier"] for row in rows} == {
        "standard", "mlp", "majority class", "TF-IDF + logistic regression",
        "frozen vectors + logistic regression"}
    scores = [float(row["validation"]) for row in rows[:2]]
    assert scores == sorted(scores, reverse=True) and float(rows[0]["p_against_best"]) == 1
    assert all(row["classifier"] in out for row in rows)
    splits = [read_json(tmp_path / "all" / head / "split.json") for head in ("standard", "mlp")]
    assert splits[0] == splits[1]
    again = ["compare", "--runs", *(str(tmp_path / "all" / head) for head in ("mlp", "standard")),
             "--output_dir", str(tmp_path / "again"), "--plots", "false"]
    assert main(again) == 0
    shutil.copy(tmp_path / "all" / "leaderboard.csv", tmp_path)
    assert (tmp_path / "again" / "leaderboard.csv").read_text() == (
        tmp_path / "leaderboard.csv").read_text()
    assert main(["compare", "--runs", str(tmp_path), "--output_dir", str(tmp_path / "x")]) == 1


@pytest.mark.parametrize("task, place, metric, columns", [
    ("regression", 2, "spearman", ["spearman", "pearson", "loss"]),
    ("multi_label", 3, "f1_micro", ["f1_micro", "f1_macro", "jaccard"]),
    ("regression", 2, "loss", ["spearman", "pearson", "loss"])])
def test_other_tasks_with_heads_have_their_own_columns(task, place, metric, columns, files,
                                                       tmp_path):
    rows = train_all_classifiers(files[1], files[place], ["standard", "cnn"], task=task,
                                 metric=metric, num_filters=4, output_dir=tmp_path, verbosity=0,
                                 **QUICK)
    assert [*rows[0]] == ["classifier", "validation", *columns, "seconds", "peak_memory_mb",
                          "parameters"]
    heads = [row for row in rows if row["seconds"] is not None]
    order = [row["validation"] for row in heads]
    assert len(heads) == 2 < len(rows) and order == sorted(order, reverse=metric != "loss")
    results = read_json(tmp_path / heads[0]["classifier"] / "results.json")
    assert heads[0][columns[0]] == results["test"][columns[0]]
    assert main(["compare", "--runs", *(str(tmp_path / head) for head in ("cnn", "standard")),
                 "--plots", "false", "--output_dir", str(tmp_path / "again"),
                 *(["--metric", "loss"] if metric == "loss" else [])]) == 0
    if metric != "loss":
        assert (tmp_path / "again" / "leaderboard.csv").read_text() == (
            tmp_path / "leaderboard.csv").read_text()


def test_the_picture_shows_what_has_to_be_beaten(files, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(compare, "plot_comparison", lambda rows, *_: drawn.extend(rows))
    train_all_classifiers(files[1], files[0], ["standard"], verbosity=0, output_dir=tmp_path,
                          **{**QUICK, "plots": True, "num_epochs": 1, "baselines": True})
    names = [row["classifier"] for row in drawn]
    assert names[0] == "standard" and "TF-IDF + logistic regression" in names


def test_pictures_have_the_columns_of_the_task(files, tmp_path):
    pytest.importorskip("matplotlib")
    train_all_classifiers(files[1], files[2], ["standard"], task="regression", verbosity=0,
                          output_dir=tmp_path, **{**QUICK, "plots": True, "num_epochs": 1})
    assert (tmp_path / "comparison.png").stat().st_size > 1_000


def test_what_cannot_be_compared_is_said_before_training(files, tmp_path):
    options = {**QUICK, "verbosity": 0, "model_path": files[1], "data_path": files[0],
               "output_dir": tmp_path / "out", "classifier_types": ["standard", "wavelet_kan"]}
    for more, words in (({"train_size": 0.9, "test_size": 0}, "needs test rows"),
                        ({"wavelet_type": "foo"}, "expected one of haar"),
                        ({"kernel_sizes": [3]}, "not an option of any of the heads standard"),
                        ({"task": "tagging"}, "tagging, which has no heads to compare"),
                        ({"overfit_batches": 1}, "needs test rows")):
        with pytest.raises(ConfigError, match=words) as caught:
            train_all_classifiers(**options, **more)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_runs_of_other_tasks_are_one_line(files, tmp_path, capsys):
    for name, task in (("a", "classification"), ("b", "regression"), ("c", "tagging")):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "results.json", {"task": task, "test": {}})
    for names, words in (("ab", "is a run of the task regression"), ("cc", "has no heads"),
                         ("aa", "not of a classifier with the score")):
        assert main(["compare", "--runs", *(str(tmp_path / name) for name in names),
                     "--output_dir", str(tmp_path / "x")]) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


def test_every_spelling_of_the_heads(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "--classifier, --classifiers, --classifier_types, --classifier_type {" in (
        capsys.readouterr().out)


def test_runs_of_earlier_versions_have_the_same_rows_as_those_of_today(tmp_path):
    # Then a cell that a spreadsheet would run had an apostrophe in front, and nothing else.
    for name, mark in (("before", "'"), ("now", "'\\")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_predictions.csv").write_text(
            '"text_a","text_b","labels","prediction","confidence"\n'
            f'"{mark}=1","it\'s","{mark}-a|b","{mark}-a",0.5\n')
    expected = [(("=1", "it's"), ("-a", "b"))], [("-a",)]
    assert compare._test_rows(tmp_path / "before") == expected
    assert compare._test_rows(tmp_path / "now") == expected
