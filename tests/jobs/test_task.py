"""An eighth task of one file, which the kit does not know of: what comes with it by itself."""

import csv
import inspect
import json
from pathlib import Path

import ordinal_task
import pytest
from tiny_jobs import WORDS, table, tiny_bert

from bert_kit import Predictor
from bert_kit.cli import main
from bert_kit.jobs.run.task import Task
from bert_kit.jobs.tasks.table import PLACES, task_named

TASK = "ordinal_task:OrdinalTask"


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    """A file of texts with grades: cold is 0, green 1, warm 2."""
    folder = tmp_path_factory.mktemp("grades")
    texts, labels = table(120)
    with open(folder / "grades.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *zip(
            texts, [sorted(WORDS).index(label) for label in labels], strict=True)])
    tiny_bert(folder / "bert")
    return folder


def train(folder, output, *more):
    return main(["train", "--task", TASK, "--data_file", str(folder / "grades.csv"), "--model",
                 str(folder / "bert"), "--output_dir", str(output), "--batch_size", "8",
                 "--learning_rate", "3e-3", "--max_length", "24", "--plots", "false",
                 "--precision", "float32", *more])


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_the_task_is_short():
    lines = Path(ordinal_task.__file__).read_text("utf-8").splitlines()
    assert len(lines) <= 60


def test_a_task_of_ones_own_is_trained_resumed_evaluated_and_used(grades, tmp_path, capsys):
    unbroken, cut, length = tmp_path / "unbroken", tmp_path / "cut", ("--num_epochs", "12")
    assert train(grades, unbroken, *length) == 0
    assert train(grades, cut, *length, "--time_limit", "1e-9") == 0
    assert len(list(cut.glob("checkpoint-*"))) == 1 and weights(cut) != weights(unbroken)
    assert train(grades, cut, *length, "--resume", "auto") == 0
    assert weights(cut) == weights(unbroken)

    results = json.loads((unbroken / "results.json").read_text())
    assert results["task"] == TASK and results["test"]["accuracy"] > 0.5
    assert "gives a text a grade" in (unbroken / "README.md").read_text()
    assert main(["evaluate", "--model", str(unbroken), "--plots", "false"]) == 0
    evaluation = json.loads((unbroken / "evaluation" / "evaluation.json").read_text())
    assert evaluation["within_one"] == results["test"]["within_one"]

    capsys.readouterr()
    assert main(["predict", "--model", str(unbroken), "--text", "old snow", "--task", TASK]) == 0
    assert capsys.readouterr().out.splitlines()[0] == '"text","prediction"'
    assert Predictor.load(unbroken).predict(["the sun", "a frost"]) == [2, 0]


@pytest.mark.parametrize("name", PLACES)
def test_every_task_has_the_methods_of_a_task(name):
    """A method that a task has of its own takes what the job hands over."""
    task = type(task_named(name))
    for method, ours in inspect.getmembers(Task, inspect.isfunction):
        own = inspect.signature(getattr(task, method)).parameters
        names = [*inspect.signature(ours).parameters]
        assert [*own][:len(names)] == names, method
        assert all(more.default is not more.empty for more in [*own.values()][len(names):]), method


def test_it_stops_early_and_keeps_its_best_epoch(grades, tmp_path):
    run = tmp_path / "run"
    assert train(grades, run, "--num_epochs", "30", "--early_stopping", "1", "--metric",
                 "within_one") == 0
    results = json.loads((run / "results.json").read_text())
    assert "1 evaluation" in results["stopped"] and results["best_step"] < results["steps"]


def test_its_options_are_its_own(grades, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(grades, tmp_path / "run", "--label_smoothing", "0.1")
    assert "--task classification" in capsys.readouterr().err
    assert train(grades, tmp_path / "run", "--top", "0") == 1
    assert "top is 0; expected a whole number from 1" in capsys.readouterr().err


def test_its_hyperparameters_are_searched(grades, tmp_path):
    assert main(["tune", "--task", TASK, "--data_file", str(grades / "grades.csv"), "--model",
                 str(grades / "bert"), "--n_trials", "2", "--num_epochs", "1", "--max_length",
                 "24", "--output_dir", str(tmp_path), "--batch_size", "16"]) == 0
    best, = tmp_path.glob("*_best_config.json")
    assert json.loads(best.read_text())["metric"] == "accuracy"


def test_a_folder_alone_runs_no_code(grades, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(grades, run, "--num_epochs", "1") == 0
    config = json.loads((run / "config.json").read_text())
    for task, words in (("antigravity:fly", "whose code is not imported; name it with --task"),
                        ("os:abort", "which is no Task of that name"),
                        ("ordinal_task:OrdinalOptions", "which is no Task of that name")):
        (run / "config.json").write_text(json.dumps({**config, "task": task}))
        capsys.readouterr()
        assert main(["predict", "--model", str(run), "--text", "snow"]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["os:getcwd", ":X", ".a:X", "no_such_module:X", "json:No"])
def test_a_task_that_is_none_is_one_line(name, capsys):
    assert main(["train", "--task", name]) == 1
    assert capsys.readouterr().err.startswith(f"error: task is '{name}'")
