"""The command `evaluate`, for models of every task."""

from pathlib import Path

import pytest
from tiny_jobs import tiny_bert
from tiny_tasks import training_of

from bert_kit.errors import BertKitError
from bert_kit.files import read_json, write_json
from bert_kit.jobs.commands.evaluate import EvaluateOptions, run
from bert_kit.jobs.tasks.table import TRAINED, task_named
from bert_kit.jobs.train import train


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def evaluated(folder, **options):
    return run(EvaluateOptions(model=folder, device="cpu", plots=False, **options))


@pytest.mark.parametrize("task", TRAINED)
def test_the_test_rows_have_the_scores_of_the_run(task, bert, tmp_path, capsys):
    given = training_of(task, tmp_path, bert)
    results = train(task, {**given, "max_steps": 6, "baselines": False,
                           "output_dir": tmp_path / "run"})
    found = evaluated(tmp_path / "run")
    out = capsys.readouterr().out
    assert found["rows"] == results["rows"]["test"]
    names = [name for name, value in results["test"].items() if isinstance(value, float)]
    assert {*names} >= {*task_named(task).metrics} & {*results["test"]} and names
    for name in names:
        assert found[name] == pytest.approx(results["test"][name], abs=1e-9), name
    assert f"{results['test'][task_named(task).metrics[0]]:.4f}" in out
    stored = read_json(tmp_path / "run" / "evaluation" / "evaluation.json")
    assert stored[names[0]] == found[names[0]]
    # The same rows as a file, named; nothing of the run's own folder is written again.
    files = {"tagging": "tags/test.conll", "answering": "squad/test.json", "similarity": "test.csv"}
    if task in files:
        again = evaluated(tmp_path / "run", data_file=tmp_path / files[task], verbosity=0,
                          output_dir=tmp_path / "again")
        assert {name: again[name] for name in names} == {name: found[name] for name in names}
        assert (tmp_path / "again" / "evaluation.json").is_file()


@pytest.mark.parametrize("nsp", [False, True])
def test_a_pre_trained_model_on_a_text(nsp, bert, tmp_path):
    given = training_of("masked", tmp_path, bert)
    results = train("masked", {**given, "max_steps": 3, "nsp": nsp, "baselines": False,
                               "output_dir": tmp_path / "run"})
    found = evaluated(tmp_path / "run", data_file=given["validation_file"])
    assert ("next_sentence_accuracy" in found) == nsp
    for name, value in results["validation"].items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    with pytest.raises(BertKitError, match="without test rows; give a --data_file"):
        evaluated(tmp_path / "run")


def test_what_cannot_be_scored_is_one_line(bert, tmp_path):
    given = training_of("tagging", tmp_path, bert)
    train("tagging", {**given, "max_steps": 1, "output_dir": tmp_path / "run"})
    for options, message in (({"calibrated": True}, "so it has no probabilities to scale"),
                             ({"other": tmp_path / "run"}, "leave other out"),
                             ({"text_column": "a"}, "text_column is a, which changes nothing")):
        with pytest.raises(BertKitError, match=message) as caught:
            evaluated(tmp_path / "run", **options)
        assert "\n" not in str(caught.value)
    (tmp_path / "run" / "manifest.json").unlink()
    with pytest.raises(BertKitError, match="does not say which rows are its test rows"):
        evaluated(tmp_path / "run")
    assert evaluated(tmp_path / "run", data_file=tmp_path / "tags" / "test.conll")["rows"] == 40


def test_a_folder_without_manifest_is_read_in_its_models_windows(bert, tmp_path):
    given = training_of("classification", tmp_path, bert)
    train("classification", {**given, "max_steps": 3, "baselines": False, "max_length": 10,
                             "stride": 3, "window_pooling": "max", "output_dir": tmp_path / "run"})
    rows = next(given[name] for name in ("test_file", "data_file") if given.get(name))
    whole = evaluated(tmp_path / "run", data_file=rows)
    (tmp_path / "run" / "manifest.json").unlink()
    assert evaluated(tmp_path / "run", data_file=rows)["loss"] == whole["loss"]


def contents(folder):
    """Every file of a folder with its bytes, but those of an evaluation."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.parent.name != "evaluation"}


@pytest.mark.parametrize("task", [*TRAINED, "masked"])
def test_an_evaluation_replaces_nothing_of_the_run(task, bert, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    given = training_of(task, tmp_path, bert)
    place = tmp_path / "run"
    train(task, {**given, "max_steps": 2, "baselines": False, "output_dir": place})
    rows = {"data_file": given["validation_file"]} if task == "masked" else {}
    options = {"model": place, "device": "cpu", **rows}
    before, link = contents(place), tmp_path / "link"
    link.symlink_to(place, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    for output_dir in (str(place), f"{place}/", "run", "./run/../run", link):
        capsys.readouterr()
        plots = output_dir == str(place)  # once is enough
        run(EvaluateOptions(**options, output_dir=output_dir, plots=plots))
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("note      ") and "own folder" in line for line in lines) == 1
        assert contents(place) == before
        assert (place / "evaluation" / "evaluation.json").is_file()
        (place / "evaluation" / "evaluation.json").unlink()
        if task != "classification":
            break  # the other spellings are the same for all
    run(EvaluateOptions(**options, plots=False))
    assert "note      " not in capsys.readouterr().out
    (place / "evaluation" / "manifest.json").touch()
    with pytest.raises(BertKitError, match="evaluation: holds another run"):
        run(EvaluateOptions(**options))


@pytest.mark.parametrize("file", ["manifest.json", "training_args.json", "model.safetensors"])
def test_the_folder_of_another_run_is_refused_before_any_work(file, bert, tmp_path, monkeypatch):
    given = training_of("classification", tmp_path, bert)
    train("classification", {**given, "max_steps": 1, "baselines": False,
                             "output_dir": tmp_path / "run"})
    other = tmp_path / "other"
    other.mkdir()
    (other / file).write_text("{}")
    (tmp_path / "link").symlink_to(other, target_is_directory=True)
    monkeypatch.setattr("bert_kit.jobs.commands.evaluate._load", None)  # nothing is loaded
    for output_dir in (other, tmp_path / "link"):
        with pytest.raises(BertKitError, match="holds another run or model") as caught:
            evaluated(tmp_path / "run", output_dir=output_dir)
        assert "\n" not in str(caught.value) and file in str(caught.value)
    assert [path.name for path in other.iterdir()] == [file]


def test_the_file_that_a_manifest_names_is_said_and_must_be_the_one_of_the_training(
        bert, tmp_path, capsys):
    given = training_of("classification", tmp_path, bert)
    train("classification", {**given, "max_steps": 1, "baselines": False,
                             "output_dir": tmp_path / "run"})
    name, path = next((name, given[name]) for name in ("data_file", "train_file")
                      if given.get(name))
    evaluated(tmp_path / "run")
    assert f"rows      of {path}" in capsys.readouterr().out
    private = tmp_path / "private.csv"  # of the same form, which the model has never seen
    private.write_text(Path(path).read_text("utf-8").replace(" ", " secret "), "utf-8")
    manifest = read_json(tmp_path / "run" / "manifest.json")
    manifest["settings"][name] = str(private)
    write_json(tmp_path / "run" / "manifest.json", manifest)
    (tmp_path / "run" / "split.json").unlink(missing_ok=True)
    for data in (manifest["data"], None):
        write_json(tmp_path / "run" / "manifest.json", {**manifest, "data": data})
        with pytest.raises(BertKitError, match="private.csv.* hold other rows .*--data_file"):
            evaluated(tmp_path / "run", output_dir=tmp_path / "out")
    assert "private.csv" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert not (tmp_path / "run" / "split.json").exists()
