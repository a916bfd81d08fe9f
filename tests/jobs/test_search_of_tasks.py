"""A search for every task, and training that begins with what a search found."""

import csv
import random

import numpy as np
import pytest

from bert_kit.cli import main
from bert_kit.errors import ConfigError
from bert_kit.files import read_json, write_json
from bert_kit.jobs.train import train_classifier, train_options
from bert_kit.jobs.tuning.options import search_options
from bert_kit.jobs.tuning.search import find_best
from bert_kit.jobs.tuning.trial import Objective, tokenized_rows
from bert_kit.jobs.tasks.numbers import NumberOptions
from bert_kit.tuner import Trial
from tiny_jobs import WORDS, tiny_bert, write_table

QUICK = {"max_length": 24, "device": "cpu", "precision": "float32", "threads": 1, "plots": False,
         "baselines": False, "verbosity": 0}
RATES = {"lr": [1e-6, 1e-2], "dropout_rate": (0.0, 0.3)}  # the first learns nothing


def write_tags(path, count=90):
    """Words in lines; those for heat and cold have tags."""
    rng = random.Random(0)
    kinds = {word: f"B-{kind}" for kind in ("warm", "cold") for word in WORDS[kind]}
    sentences = [[rng.choice(["the", "old", "new", *kinds]) for _ in range(rng.randint(2, 8))]
                 for _ in range(count)]
    path.write_text("\n".join("".join(f"{word}\t{kinds.get(word, 'O')}\n" for word in words)
                              for words in sentences))


def write_texts(path, header, label, count=90):
    """Texts of three colours each, with what `label(number of warm ones)` says."""
    rng = random.Random(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for i in range(count):
            warm = rng.randint(0, 3)
            words = [rng.choice(WORDS["warm" if j < warm else "cold"]) for j in range(3)]
            texts = [" ".join(words), f"the thing {i}"][:len(header) - 1]
            writer.writerow([*texts, label(warm)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with rows for every task, and a BERT."""
    folder = tmp_path_factory.mktemp("files")
    tiny_bert(folder / "bert")
    write_table(folder / "rows.csv", 60)
    write_tags(folder / "tags.conll")
    write_texts(folder / "numbers.csv", ["text", "label"], lambda warm: warm / 3)
    write_texts(folder / "labels.csv", ["text", "labels"],
                lambda warm: "|".join(["warm"] * (warm > 0) + ["cold"] * (warm < 3)))
    write_texts(folder / "pairs.csv", ["text_a", "text_b", "label"], lambda warm: warm / 3)
    (folder / "text.txt").write_text("\n".join(
        f"the old {warm} thing is {cold} {i}" for i, (warm, cold) in enumerate(
            zip(WORDS["warm"] * 10, WORDS["cold"] * 10))))
    return folder


def search(task, files, folder, space=None, **changes):
    return find_best(search_options(task).from_names({
        **QUICK, "model": files / "bert", "output_dir": folder, **changes}), space)


@pytest.mark.parametrize("sampler", ["random", "pbt"])
def test_the_report_of_a_search_names_its_metric(sampler, files, tmp_path, figures):
    given = {"n_trials": 2} if sampler == "random" else {"population": 2}
    search("tagging", files, tmp_path, {"lr": [1e-6, 1e-2]}, data_file=files / "tags.conll",
           num_train_epochs=1, sampler=sampler, report=True, train_best=False, metric="accuracy",
           **given)
    page, = tmp_path.rglob("report.html")
    axes = figures[0].axes[0]  # the history, or the scores of the members
    assert axes.get_ylabel() == "accuracy" and "<th>accuracy</th>" in page.read_text("utf-8")


def history(study):
    return read_json(study / "trial_history.json", list)


@pytest.mark.parametrize("task, study, file, options", [
    ("tagging", "tagger", "tags.conll", {}),
    ("regression", "mlp", "numbers.csv", {"classifier": "mlp"})])
def test_a_search_finds_better_than_the_worst_and_train_does_it_again(task, study, file, options,
                                                                      files, tmp_path, capsys):
    config = search(task, files, tmp_path / "s", RATES, data_file=files / file, n_trials=4,
                    num_epochs=3, batch_size=16, sampler="random", pruner="none", keep_top=1,
                    **options)
    values = [row["value"] for row in history(tmp_path / "s" / study)]
    assert len(values) == 4 and config["best_value"] == max(values) > min(values)
    assert config["best_params"]["lr"] == 1e-2
    name = "mlp" if options else task
    path = tmp_path / "s" / f"{name}_best_config.json"
    stored = read_json(path)
    assert stored == config and stored["settings"]["task"] == task
    assert (tmp_path / "s" / "best_overall_classifier.json").exists() == bool(options)
    assert main(["train", "--config", str(path), "--output_dir", str(tmp_path / "again"),
                 "--verbosity", "0"]) == 0
    again = read_json(tmp_path / "again" / "results.json")
    assert again["validation"][config["metric"]] == config["best_value"]
    assert len([*(tmp_path / "s" / study / "trials").glob("*/model/model.safetensors")]) == 1


@pytest.mark.parametrize("task, metric, options", [
    ("similarity", "spearman", {"data_file": "pairs.csv", "val_size": 0.3, "pooling": "mean",
                                "n_trials": 2, "num_epochs": 1}),
    ("multi_label", "f1_micro", {"data_file": "labels.csv", "folds": 2, "n_trials": 1,
                                 "num_epochs": 1}),
    ("regression", "loss", {"data_file": "numbers.csv", "folds": 2, "n_trials": 1,
                            "num_epochs": 1, "metric": "loss"}),
    ("masked", "loss", {"train_file": "text.txt", "val_size": 0.3, "sampler": "halving",
                        "n_trials": 3, "num_epochs": 3}),
    ("tagging", "f1", {"data_file": "tags.conll", "sampler": "pbt", "population": 2,
                       "num_epochs": 2})])
def test_other_tasks_and_other_ways(task, metric, options, files, tmp_path, capsys):
    options = {name: files / value if name.endswith("_file") else value
               for name, value in options.items()}
    config = search(task, files, tmp_path, **options)
    assert config["metric"] == metric and np.isfinite(config["best_value"])
    assert {"lr", "weight_decay", "dropout_rate", "warmup_ratio"} <= config["best_params"].keys()
    if "n_trials" in options:
        scores = [row["value"] for row in history(next(tmp_path.glob("*/study.sqlite")).parent)
                  if row["state"] == "complete"]
        assert config["best_value"] == (min if metric == "loss" else max)(scores)


def test_the_thresholds_of_the_best_epoch_are_kept(files, tmp_path):
    """What a model chooses on the validation rows belongs to its weights."""
    options = search_options("multi_label").from_names({
        **QUICK, "model": files / "bert", "data_file": files / "labels.csv", "num_epochs": 3,
        "lr": 1e-2, "output_dir": tmp_path})
    found = find_best(options.replace(n_trials=1, keep_top=1, train_best=False))
    model, = (tmp_path / "mlp" / "trials").glob("*/model")
    results = tmp_path / "evaluated"
    split = read_json(tmp_path / "mlp" / "split.json")["rows"]["validation"]
    with open(files / "labels.csv", newline="") as file:
        header, *rows = csv.reader(file)
    with open(tmp_path / "held_out.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *(rows[row] for row in split)])
    assert main(["evaluate", "--model", str(model), "--data_file", str(tmp_path / "held_out.csv"),
                 "--output_dir", str(results), "--device", "cpu", "--no_plots"]) == 0
    scores = read_json(results / "evaluation.json")
    assert scores["f1_micro"] == pytest.approx(found["best_value"], abs=1e-12)


@pytest.mark.parametrize("flags, words", [
    (["--task", "tagging", "--folds", "3"], "tagging has no labelled texts to cut into folds"),
    (["--task", "tagging", "--all"], "unrecognized arguments: --all"),
    (["--task", "masked", "--fast_dev_run"], "no meaning for a search"),
    (["--all", "--classifiers", "mlp"], "all and classifiers are both set")])
def test_what_a_task_lacks_is_a_usage_error(flags, words, files, tmp_path, capsys):
    try:
        code = main(["tune", "--output_dir", str(tmp_path), *flags])
    except SystemExit as end:
        code = end.code
    assert code == 2 and words in capsys.readouterr().err


def test_a_search_of_pairs_needs_rows_to_choose_by(files, tmp_path):
    with pytest.raises(ConfigError, match="needs validation rows"):
        search("similarity", files, tmp_path, data_file=files / "pairs.csv", pooling="mean")


def test_rows_are_read_once_whatever_is_tuned(files):
    base = NumberOptions.from_names({**QUICK, "model": files / "bert", "num_epochs": 1,
                                     "data_file": files / "numbers.csv", "output_dir": None})
    first = tokenized_rows(base)
    for changes in ({"lr": 1e-3, "batch_size": 8}, {"classifier": "cnn", "num_filters": 4},
                    {"dropout": 0.3}):
        assert tokenized_rows(base.from_names({**base.to_dict(), **{
            "learning_rate" if name == "lr" else name: value
            for name, value in changes.items()}})) is first
    assert tokenized_rows(base.replace(max_length=12)) is not first
    trial = Trial(number=0, params={"lr": 1e-3}, seed=0, maximize=True)
    assert Objective(base, keep=False)(trial) == trial.notes["spearman"]


@pytest.fixture(scope="module")
def hyperparams(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hyperparams")
    search("classification", files, folder, RATES, data_file=files / "rows.csv", n_trials=2,
           classifier="bilstm", num_epochs=1, batch_size=16, train_best=False, keep_top=0,
           momentum=0.8, optim="sgd")
    return folder


def test_command_line_over_config_over_what_a_search_found(hyperparams, files, tmp_path, capsys):
    found = read_json(hyperparams / "bilstm_best_config.json")
    write_json(tmp_path / "config.json", {"batch_size": 8, "num_epochs": 2})
    line = ["train", "--classifier", "bilstm", "--hyperparams_dir", str(hyperparams),
            "--verbosity", "0", "--output_dir"]
    assert main([*line, str(tmp_path / "a")]) == 0
    settings = read_json(tmp_path / "a" / "manifest.json")["settings"]
    assert {name: settings[name] for name in found["settings"]} == found["settings"]
    assert settings["hyperparams_dir"] is None  # the values are there themselves
    results = read_json(tmp_path / "a" / "results.json")
    assert results["validation"]["f1_macro"] == found["best_value"]
    # The momentum that was found does not count as given: with adam it would be refused.
    assert main([*line, str(tmp_path / "b"), "--config", str(tmp_path / "config.json"),
                 "--num_epochs", "1", "--optim", "adam"]) == 0
    settings = read_json(tmp_path / "b" / "manifest.json")["settings"]
    assert (settings["num_train_epochs"], settings["batch_size"], settings["optim"]) == (
        1, 8, "adam")
    assert settings["learning_rate"] == found["best_params"]["lr"]
    results = train_classifier("bilstm", hyperparams_dir=hyperparams, verbosity=0,
                               train_file=files / "rows.csv", output_dir=tmp_path / "c")
    settings = read_json(tmp_path / "c" / "manifest.json")["settings"]
    assert settings["data_file"] is None  # other files take the place of those of the search
    assert results["learning_rate"] == found["best_params"]["lr"]


def test_a_search_that_left_nothing_for_it_is_one_line(hyperparams, tmp_path):
    with pytest.raises(ConfigError, match="cnn_best_config.json: there is no such file"):
        train_classifier("cnn", hyperparams_dir=hyperparams)
    with pytest.raises(ConfigError, match="tagging_best_config.json: there is no such file"):
        train_options("tagging").from_names({"hyperparams_dir": hyperparams})
    with pytest.raises(ConfigError, match="is not of the task regression"):
        train_options("regression").from_names({"hyperparams_dir": hyperparams,
                                                "classifier": "bilstm"})


def test_a_file_of_an_older_version_is_read(hyperparams, tmp_path):
    """It holds the options of other tasks on texts too, as they are by default."""
    config = read_json(hyperparams / "bilstm_best_config.json")
    config["settings"] |= {"label_separator": "|", "asymmetric": False}
    write_json(tmp_path / "bilstm_best_config.json", config)
    made = train_options("classification").from_names(
        {"hyperparams_dir": tmp_path, "classifier": "bilstm"})
    assert made.learning_rate == config["best_params"]["lr"]
    assert main(["train", "--config", str(tmp_path / "bilstm_best_config.json"), "--output_dir",
                 str(tmp_path / "run"), "--verbosity", "0"]) == 0
