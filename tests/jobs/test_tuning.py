"""The search of a classifier's hyperparameters, from a CSV file to the best configuration."""

import csv
import functools
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bert_kit import BertConfig
from bert_kit.cli import main
from bert_kit.errors import BertKitError, ConfigError, TrainingError
from bert_kit.files import held, read_json
from bert_kit.jobs.commands.evaluate import EvaluateOptions
from bert_kit.jobs.commands.evaluate import run as evaluate
from bert_kit.jobs.options.declare import fields_of, spellings
from bert_kit.jobs.run import build
from bert_kit.jobs.run.defaults import highest_rate
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tasks.table import TRAINED, task_named
from bert_kit.jobs.tasks.texts import HEADS, Predictor
from bert_kit.jobs.tuning import search as searching
from bert_kit.jobs.tuning import trial as trials
from bert_kit.jobs.run.best_configs import best_config, load_best_config, write_best_config
from bert_kit.jobs.tuning.legs import BertStep
from bert_kit.tuner import LoggingCallback
from bert_kit.jobs.tuning.options import search_options
from bert_kit.jobs.tuning.search import tune_all_classifiers, tune_classifier
from bert_kit.jobs.tuning.spaces import OF_HEAD
from bert_kit.jobs.tuning.spaces import search_space as space_of
from bert_kit.jobs.tuning.trial import Objective, tokenized_rows, trial_options
from bert_kit.jobs.train import train_classifier
from bert_kit.tuner import SearchSpace, Trial, log
from tiny_jobs import command, table, tiny_bert, write_table

QUICK = {"num_epochs": 2, "max_length": 24, "device": "cpu", "precision": "float32",
         "threads": 1, "plots": False, "baselines": False, "verbosity": 0}
ROWS = 60
SMALL = {"lr": log(1e-3, 1e-2), "dropout_rate": (0.0, 0.3), "batch_size": [8, 16]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(table, BERT folder), made once."""
    folder = tmp_path_factory.mktemp("files")
    return write_table(folder / "rows.csv", ROWS), tiny_bert(folder / "bert")


@pytest.fixture(scope="module")
def found(files, tmp_path_factory):
    """(best parameters, output folder, texts that were tokenized) of one search."""
    folder, seen = tmp_path_factory.mktemp("search") / "out", []

    class Watched(trials.TrainingJob):
        def tokenize(self, parts):
            seen.extend(text for part in parts.present().values() for text in part.texts)
            return super().tokenize(parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "TrainingJob", Watched)
        trials.read_weights_once.cache_clear()
        params = tune_classifier("custom", files[1], files[0], space=SMALL, n_trials=4,
                                 save_dir=folder, keep_top=2, **QUICK)
    return params, folder, seen


def settings(task="classification", **changes):
    return search_options(task).from_names(changes)


def search_space(options, space=None, before=False):
    return space_of(task_named(options.task), options, space, before)


def check_settings(options):
    build.check_options(task_named(options.task), options)


def flags(options):
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def base(files, **changes):
    return ClassOptions.from_names({
        **QUICK, "model": files[1], "data_file": files[0], "output_dir": None, **changes})


def trial(params, **changes):
    return Trial(**{"number": 0, "params": params, "seed": 0, "maximize": True, **changes})


def test_a_search_leaves_every_file(found):
    params, folder, _ = found
    assert set(params) == set(SMALL)
    assert {"mlp_best_config.json", "all_best_configs.json", "best_overall_classifier.json",
            "mlp"} == {path.name for path in folder.iterdir()}
    study = folder / "mlp"
    assert {"study.sqlite", "trial_history.json", "statistics.json", "best_parameters.json",
            "checkpoint.json", "split.json", "manifest.json",
            "best_model"} <= {path.name for path in study.iterdir()}
    config = load_best_config("custom", folder)
    assert config["best_params"] == params and config["classifier_type"] == "mlp"
    assert read_json(folder / "all_best_configs.json") == {"mlp": config}
    assert read_json(folder / "best_overall_classifier.json") == config
    history = read_json(study / "trial_history.json", list)
    values = [row["value"] for row in history if row["state"] == "complete"]
    assert len(history) == 4 and config["best_value"] == max(values)
    best = history[config["trial"]]
    assert best["params"] == params and best["notes"]["f1_macro"] == config["best_value"]
    assert best["notes"]["epoch"] in (1, 2) and best["notes"]["accuracy"] > 0.3
    results = read_json(study / "best_model" / "results.json")
    assert results["test"] == config["test_results"]
    assert load_best_config("cnn", folder) is None


def test_what_is_shared_is_read_once_and_the_test_rows_are_not(found, files):
    _, folder, seen = found
    rows = read_json(folder / "mlp" / "split.json")["rows"]
    texts, _ = table(ROWS)
    assert seen == [texts[row] for part in ("train", "validation") for row in rows[part]]
    assert not set(seen) & {texts[row] for row in rows["test"]}
    used = trials.read_weights_once.cache_info()
    assert (used.misses, used.hits) == (1, 3)


def test_the_best_models_are_kept_and_predict_as_they_were_scored(found, files):
    params, folder, _ = found
    study = folder / "mlp"
    kept = sorted(int(path.name) for path in (study / "trials").iterdir())
    history = read_json(study / "trial_history.json", list)
    done = [row for row in history if row["state"] == "complete"]
    best = sorted(done, key=lambda row: -row["value"])[:2]
    assert kept == sorted(row["number"] for row in best)
    rows = tokenized_rows(base(files, output_dir=study))[0]
    for row in best:
        predictor = Predictor.load(next((study / "trials").glob(f"*{row['number']}/model")), "cpu")
        guesses = predictor.logits(rows.parts.validation.texts).argmax(1).numpy()
        accuracy = np.mean(guesses == np.array(rows.parts.validation.labels))
        assert accuracy == pytest.approx(row["notes"]["accuracy"], abs=1e-12)


def test_train_reproduces_the_score_from_the_file(found, files, tmp_path, capsys):
    _, folder, _ = found
    path = folder / "mlp_best_config.json"
    goal = load_best_config("mlp", folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # the file knows better
    try:
        assert main(["train", "--config", str(path), "--output_dir", str(tmp_path / "a"),
                     "--verbosity", "0"]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    results = read_json(tmp_path / "a" / "results.json")
    assert results["validation"]["f1_macro"] == goal["best_value"]
    assert results["test"] == goal["test_results"]
    assert main(["train", "--config", str(path), "--output_dir", str(tmp_path / "b"),
                 "--num_epochs", "1", "--verbosity", "0"]) == 0  # the command line wins
    assert read_json(tmp_path / "b" / "manifest.json")["settings"]["num_train_epochs"] == 1
    more = {name: value for name, value in QUICK.items() if name != "num_epochs"}
    results = train_classifier("mlp", files[1], files[0], output_dir=tmp_path / "c", num_epochs=1,
                               **more, **goal["best_params"])  # as seed 001 does
    assert results["learning_rate"] == goal["best_params"]["lr"]


@pytest.mark.parametrize("sampler, more", [
    ("random", {"n_trials": 2}), ("halving", {"n_trials": 3, "num_epochs": 3}),
    ("hyperband", {"num_epochs": 3}), ("grid", {"n_trials": 9, "num_epochs": 1})])
def test_every_sampler_finds_what_train_reproduces(sampler, more, files, tmp_path, capsys):
    space = {"activation": ["relu", "gelu", "tanh"]} if sampler == "grid" else SMALL
    params = tune_classifier("mlp", files[1], files[0], space, sampler=sampler, seed=3,
                             save_dir=tmp_path, train_best=False, lr=5e-3 if sampler == "grid"
                             else None, **{**QUICK, **more})
    config = load_best_config("mlp", tmp_path)
    assert config["best_params"] == params and config["sampler"] == sampler
    history = read_json(tmp_path / "mlp" / "trial_history.json", list)
    assert len({json.dumps(row["params"]) for row in history}) == len(history)
    if sampler == "grid":
        assert len(history) == 3  # it stops by itself
    results = train_classifier(output_dir=tmp_path / "again", verbosity=0, **config["settings"])
    assert results["validation"]["f1_macro"] == config["best_value"]


def test_a_population_trains_and_leaves_its_best_model(files, tmp_path, capsys):
    options = {**QUICK, "num_epochs": 3, "verbosity": 1}
    params = tune_classifier("standard", files[1], files[0], sampler="pbt", population=3,
                             save_dir=tmp_path, **options)
    assert set(params) == {"lr", "head_learning_rate", "weight_decay", "dropout_rate",
                           "warmup_ratio"}
    config = load_best_config("standard", tmp_path)
    assert config["schedule"][-1][1] == params and len(config["schedule"]) <= 3
    model = tmp_path / "standard" / "best_model"
    parts = tokenized_rows(base(files, output_dir=tmp_path / "standard"))[0].parts
    guesses = Predictor.load(model, "cpu").logits(parts.test.texts).argmax(1).numpy()
    assert np.mean(guesses == parts.test.labels) == config["test_results"]["accuracy"]
    left = read_json(model / "results.json")  # as every training leaves
    assert left["validation"]["f1_macro"] == config["best_value"] and left["steps"] > 0
    assert left["verdict"] and left["test"] == config["test_results"]
    assert "f1" in (model / "README.md").read_text().lower()
    stored = read_json(model / "manifest.json")["settings"]
    assert stored["learning_rate"] == config["best_params"]["lr"]
    scored = evaluate(EvaluateOptions(model=str(model), plots=False, device="cpu", verbosity=0))
    assert scored["accuracy"] == left["test"]["accuracy"]
    out = capsys.readouterr().out
    assert out.count("member") == 9 and out.count("diversity") == 3


def test_the_width_and_depth_of_a_model_without_weights_are_searched(files, tmp_path):
    sizes = {"from_scratch": ["bert-tiny", "bert-mini"]}
    params = tune_classifier("standard", None, files[0], sizes, sampler="grid", save_dir=tmp_path,
                             n_trials=2, **{**QUICK, "num_epochs": 1})
    trials = read_json(tmp_path / "standard" / "trial_history.json", list)
    assert {trial["params"]["from_scratch"] for trial in trials} == {*sizes["from_scratch"]}
    config = BertConfig.load(tmp_path / "standard" / "best_model")
    assert (config.num_hidden_layers, config.hidden_size) == {
        "bert-tiny": (2, 128), "bert-mini": (4, 256)}[params["from_scratch"]]


def test_a_search_goes_on_where_it_stopped(files, tmp_path):
    run = functools.partial(tune_classifier, "mlp", files[1], files[0], SMALL, save_dir=tmp_path,
                            study_name="one", train_best=False, **{**QUICK, "num_epochs": 1})
    run(n_trials=1)
    path = tmp_path / "one" / "trial_history.json"
    first = read_json(path, list)
    with pytest.raises(ConfigError, match="already holds a run; go on with --resume auto"):
        run(n_trials=2)
    with pytest.raises(ConfigError, match="max_length was 24 and is now 20"):
        tune_classifier("mlp", files[1], files[0], SMALL, save_dir=tmp_path, study_name="one",
                        resume="auto", **{**QUICK, "num_epochs": 1, "max_length": 20})
    run(n_trials=2, resume="auto")
    again = read_json(path, list)
    assert len(again) == 2 and again[:1] == first
    wide = {**SMALL, "lr": log(1e-4, 1e-1)}
    tune_classifier("mlp", files[1], files[0], wide, save_dir=tmp_path, study_name="one",
                    train_best=False, n_trials=3, resume=True, **{**QUICK, "num_epochs": 1})
    assert len(read_json(path, list)) == 3


def test_a_search_that_goes_on_trains_with_as_many_threads(files, tmp_path, monkeypatch):
    """With others, a score would round otherwise: trials of one search would not compare."""
    same = {**QUICK, "threads": None, "precision": None, "model": files[1], "data_file": files[0],
            "output_dir": tmp_path, "study_name": "one"}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    first = searching.prepare(settings(jobs=2, **same), None)
    searching.read_rows(first)
    assert first.base.threads == 2
    monkeypatch.setattr(searching, "best_precision", lambda device: "float16")  # another machine
    again = searching.prepare(settings(jobs=1, resume=True, **same), None)
    assert again.base == first.base
    with pytest.raises(ConfigError, match="threads was None and is now 1"):
        searching.prepare(settings(resume=True, **{**same, "threads": 1}), None)


def test_folders_are_numbered_where_no_name_is_given(files, tmp_path):
    run = functools.partial(tune_classifier, "mlp", files[1], files[0], SMALL, save_dir=tmp_path,
                            train_best=False, n_trials=1, **{**QUICK, "num_epochs": 1})
    run(), run(seed=1)
    assert {"mlp", "mlp-2"} <= {path.name for path in tmp_path.iterdir()}
    assert load_best_config("mlp", tmp_path)["study"].endswith("mlp-2")


def test_all_heads_and_the_best_of_them(files, tmp_path, capsys):
    configs = tune_all_classifiers(files[1], files[0], ["standard", "custom", "cnn"], n_trials=1,
                                   num_filters=8, save_dir=tmp_path, train_best=False,
                                   study_name="s", **{**QUICK, "num_epochs": 1, "verbosity": 1})
    assert list(configs) == ["standard", "mlp", "cnn"]
    assert read_json(tmp_path / "all_best_configs.json") == configs
    overall = read_json(tmp_path / "best_overall_classifier.json")
    assert overall["best_value"] == max(config["best_value"] for config in configs.values())
    assert set(configs["cnn"]["best_params"]) == {
        "batch_size", "dropout_rate", "lr", "weight_decay", "warmup_ratio", "head_learning_rate",
        "kernel_sizes"}
    assert configs["cnn"]["settings"]["num_filters"] == 8
    assert {"s-standard", "s-mlp", "s-cnn"} <= {path.name for path in tmp_path.iterdir()}
    assert capsys.readouterr().out.count("trial 0 ") == 3


def test_cross_validation_scores_every_row_once(files, tmp_path):
    tune_classifier("mlp", files[1], files[0], SMALL, folds=3, n_trials=1, save_dir=tmp_path,
                    **{**QUICK, "num_epochs": 1})
    for row in read_json(tmp_path / "mlp" / "trial_history.json", list):
        assert len(row["notes"]["folds"]) == 3
        assert row["value"] == pytest.approx(np.mean(row["notes"]["folds"]), abs=1e-15)
    folds = tokenized_rows(base(files, output_dir=tmp_path / "mlp"), 3)
    validated = [text for fold in folds for text in fold.parts.validation.texts]
    rows = read_json(tmp_path / "mlp" / "split.json")["rows"]
    texts, _ = table(ROWS)
    assert sorted(validated) == sorted(texts[row] for row in rows["train"] + rows["validation"])
    for fold in folds:
        assert not set(fold.parts.train.texts) & set(fold.parts.validation.texts)
    config = load_best_config("mlp", tmp_path)
    assert config["folds"] == 3 and config["test_results"]["accuracy"] >= 0


@pytest.mark.parametrize("begun", ["forked", pytest.param("anew", marks=pytest.mark.slow)])
def test_trials_in_other_processes_score_the_same(files, tmp_path, begun, request):
    if begun == "forked":
        request.getfixturevalue("forked")
    tune_classifier("mlp", files[1], files[0], SMALL, n_trials=2, jobs=2, save_dir=tmp_path,
                    train_best=False, **QUICK)
    for row in read_json(tmp_path / "mlp" / "trial_history.json", list):
        here = Objective(base(files, classifier="mlp"), keep=False)(trial(row["params"]))
        assert (row["state"], row["value"]) == ("complete", here)


def test_a_cut_ends_a_trial_and_a_divergence_fails_it(files, tmp_path):
    objective = Objective(base(files, classifier="mlp", num_epochs=4), keep=True)
    cut = trial({"lr": 1e-3}, cuts={2: 2.0}, folder=str(tmp_path / "cut"))
    objective(cut)
    assert cut.state == "pruned" and list(cut.reports) == [1, 2]
    assert not (tmp_path / "cut").exists()
    with pytest.raises(TrainingError, match="learning_rate"):
        objective(trial({"lr": 1e20}))
    params = tune_classifier("mlp", files[1], files[0], {"lr": [1e20, 1e-3]}, n_trials=2,
                             save_dir=tmp_path, train_best=False, **QUICK)
    assert params == {"lr": 1e-3}
    states = {row["params"]["lr"]: row["state"] for row in read_json(
        tmp_path / "mlp" / "trial_history.json", list)}
    assert states == {1e20: "failed", 1e-3: "complete"}


def test_patience_that_grows_is_kept_with_the_trial(files):
    objective = Objective(base(files, classifier="mlp", num_epochs=1), adaptive=True, keep=False)
    late = trial({"lr": 1e-3}, number=12)
    objective(late)
    assert late.notes["patience"] == 6
    grown = trials.adaptive_patience(base(files, num_epochs=20), 12)
    assert (grown.early_stopping, grown.min_epochs, grown.min_delta, grown.smoothing_window,
            grown.trend_window, grown.regression) == (6, 5, 0.001, 3, 5, 0.2)


def test_the_last_epoch_counts_where_the_best_is_not_kept(files):
    scores = []
    for best in (True, False):
        seen = trial({"lr": 5e-2, "batch_size": 8})
        value = Objective(base(files, num_epochs=3, load_best_model_at_end=best), keep=False)(seen)
        scores.append((value, list(seen.reports.values())))
    assert scores[0][1] == scores[1][1]
    assert scores[0][0] == max(scores[0][1]) and scores[1][0] == scores[1][1][-1]


def test_the_space_file_of_the_docs(files, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text("utf-8")
    path = tmp_path / "space.json"
    path.write_text(page.split("```json\n")[1].split("```")[0])
    space = search_space(settings(space=path, classifier="cnn"))
    kinds = {parameter.kind: parameter for parameter in space.parameters}
    assert kinds.keys() == {"continuous", "log_uniform", "discrete", "ordered", "categorical"}
    assert kinds["discrete"].step > 1 and any(parameter.when for parameter in space.parameters)
    rng = np.random.default_rng(0)
    for row in rng.random((20, len(space.parameters))):
        check_settings(trial_options(base(files, classifier="cnn"), space.from_row(row)))


@pytest.mark.parametrize("head", HEADS)
def test_every_value_of_a_heads_space_is_one_that_the_head_takes(head, files):
    space = search_space(settings(classifier=head))
    names = [parameter.name for parameter in space.parameters]
    assert names == ["batch_size", "dropout_rate", "lr", "weight_decay", "warmup_ratio",
                     "head_learning_rate", *OF_HEAD[head]]
    rng = np.random.default_rng(0)
    for row in [np.zeros(len(names)), np.ones(len(names)), *rng.random((8, len(names)))]:
        check_settings(trial_options(base(files, classifier=head), space.from_row(row)))
    assert space.only(*names).parameters == space.parameters


def test_the_rates_that_are_tried_leave_out_where_nothing_is_learned(files):
    def rates(**changes):
        space = search_space(settings(**changes)).to_dict()
        return [(space[name]["low"], space[name]["high"]) for name in ("lr", "head_learning_rate")
                if name in space]
    assert rates(model=str(files[1])) == [(1e-5, 3e-4), (5e-5, 5e-3)]
    assert rates() == [(1e-4, 2e-3), (5e-5, 5e-3)]
    base = BertConfig(hidden_size=768)
    assert highest_rate(task_named("classification"), settings(model="x"), base) > 3e-4


def test_the_space_of_seed_000():
    """As it was the default until 0.2, for a search that goes on."""
    space = search_space(settings(), before=True).to_dict()
    assert "head_learning_rate" not in space
    assert space["num_hidden_layers"] == {"kind": "discrete", "low": 1, "high": 4, "step": 1,
                                          "log": False}
    assert space["activation"]["values"] == ["relu", "gelu", "silu", "tanh"]
    assert space["batch_size"]["values"] == [8, 16, 32, 64]
    for name, low, high in (("lr", 1e-6, 5e-3), ("weight_decay", 1e-8, 1e-2)):
        assert space[name] == {"kind": "log_uniform", "low": low, "high": high}
    for name, low, high in (("dropout_rate", 0.1, 0.6), ("warmup_ratio", 0.0, 0.3)):
        assert space[name] == {"kind": "continuous", "low": low, "high": high}


def test_what_is_set_is_not_tuned(tmp_path):
    names = {p.name for p in search_space(settings(lr=1e-3, depth=2, batch_size=32)).parameters}
    assert names == {"dropout_rate", "weight_decay", "warmup_ratio", "activation",
                     "head_learning_rate"}
    path = tmp_path / "space.toml"
    path.write_text('batch_size = [4, 8]\nlr = {kind = "log_uniform", low = 1e-5, high = 1e-3}\n')
    assert [p.kind for p in search_space(settings(space=path)).parameters] == [
        "categorical", "log_uniform"]
    given = SearchSpace().continuous("label_smoothing", 0, 0.2)
    assert search_space(settings(), given) is given
    pairs = {"dropout": (0, 1), "label_smoothing": (0, 1), "depth": (1, 3), "warmup_steps": (0, 9)}
    assert [p.kind for p in search_space(settings(), pairs).parameters] == [
        "continuous", "continuous", "discrete", "discrete"]  # a rate is no count
    with pytest.raises(ConfigError, match="every parameter of the space is set already .*lr"):
        search_space(settings(lr=1e-3), {"lr": [1, 2]})


@pytest.mark.parametrize("task", [*TRAINED, "masked"])
def test_every_option_has_its_own_spellings_and_a_short_help(task):
    fields = fields_of(search_options(task))
    assert len(spellings(search_options(task))) == sum(
        1 + len(field.metadata["aliases"]) + len(field.metadata["once"]) for field in fields)
    assert all(0 < len(field.metadata["help"]) < 150 for field in fields)


@pytest.mark.parametrize("changes, space, words", [
    ({"n_trials": 0}, None, "n_trials is 0; expected a whole number from 1"),
    ({"folds": 1}, None, "folds is 1"), ({"timeout": 0}, None, "timeout is 0"),
    ({"sampler": "halving", "folds": 3}, None, "folds is 3, which halving does not use"),
    ({"sampler": "halving", "early_stopping": 2}, None, "no meaning for a leg"),
    ({"sampler": "hyperband", "n_trials": None, "num_epochs": 2}, None, "between 3 epochs or more"),
    ({"sampler": "halving", "timeout": 5}, None, "timeout is 5"),
    ({"sampler": "pbt", "n_trials": None, "pruner": "median"}, None,
     "pruner is median, which pbt does not use; leave it out, or choose tpe or random or g"),
    ({"sampler": "hyperband", "n_trials": None, "keep_top": 0}, None, "keep_top is 0, which hyp"),
    ({"sampler": "hyperband", "n_trials": 50}, None, "n_trials is 50, which hyperband does"),
    ({"population": 4}, None, "population is 4, which tpe does not use; .* or choose pbt"),
    ({"folds": 3, "keep_top": 2}, None, "keep_top is 2, but with folds"),
    ({"optim": "rmsprop"}, {"optim": ["adam", "rmsprop"], "eps": {
        "kind": "ordered", "values": [1e-8, 1e-6], "when": {"optim": "adam"}}},
     "nothing is left to tune where optim"),
    ({}, {"seed": [1, 2]}, "seed cannot be tuned"),
    ({}, {"from_scratch": ["bert-tiny", "bert-mini"]}, "size of a model without weights"),
    ({}, {"val_size": (0.1, 0.2)}, "val_size cannot be tuned"),
    ({"fast_dev_run": True}, None, "no meaning for a search"),
    ({"study_name": "../x"}, None, "expected the name of a folder"),
    ({"sampler": "best"}, None, "expected one of tpe, random"),
    ({"sampler": "grid"}, None, "expected discrete, ordered or categorical"),
    ({}, {"learning": [1]}, "space: unknown option 'learning'; did you mean"),
    ({"sampler": "pbt", "n_trials": None}, {"batch_size": [8, 16]}, "batch_size cannot change"),
    ({"classifier": "cnn"}, {"activation": ["gelu"]}, "not an option of the cnn head"),
    ({"val_size": 0, "train_size": 0.9}, None, "needs validation rows"),
    ({"max_length": 41}, None, "40 positions"), ({"model": "no/such"}, None, "no/such")])
def test_conflicts_are_one_line_and_leave_nothing(changes, space, words, files, tmp_path):
    with pytest.raises(BertKitError, match=words) as caught:
        tune_classifier(**{"model_path": files[1], "data_path": files[0], "n_trials": 1, **QUICK,
                           "save_dir": tmp_path / "out", "space": space,
                           **({"model_path": changes["model"]} if "model" in changes else {}),
                           **{name: value for name, value in changes.items() if name != "model"}})
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_best_of_all_is_among_equals(tmp_path):
    """A score by another metric or on other data does not compare."""
    plain = ClassOptions()

    def add(head, value, study):
        write_best_config(tmp_path, head, best_config(
            plain.replace(classifier=head), "loss", {}, value, data="a",
            study=str(tmp_path / study)))

    for head, value, data in (("mlp", 0.7, "a"), ("cnn", 0.9, "b"), ("bilstm", 0.6, "a")):
        write_best_config(tmp_path, head, best_config(
            plain.replace(classifier=head), "f1_macro", {}, value, data=data,
            study=str(tmp_path / head)))
    assert read_json(tmp_path / "best_overall_classifier.json")["classifier_type"] == "mlp"
    add("standard", 0.1, "s")
    add("attention", 0.2, "t")
    add("standard", 0.3, "u")
    assert read_json(tmp_path / "u" / "best_config.json")["best_value"] == 0.3  # kept there
    overall = read_json(tmp_path / "best_overall_classifier.json")
    assert (overall["classifier_type"], overall["best_value"]) == ("standard", 0.1)
    (tmp_path / "cnn_best_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no best_params"):
        load_best_config("cnn", tmp_path)


def test_a_finished_trial_is_better_than_one_that_was_ended_early(tmp_path):
    plain = ClassOptions()
    for head, value, state in (("mlp", 0.6, "complete"), ("cnn", 0.9, "pruned"),
                               ("mlp", 0.8, "pruned"), ("bilstm", 0.5, "complete")):
        write_best_config(tmp_path, head, best_config(
            plain.replace(classifier=head), "f1_macro", {}, value, state=state, data="a",
            study=str(tmp_path / f"{head}-{value}")))
    assert load_best_config("mlp", tmp_path)["best_value"] == 0.6
    assert read_json(tmp_path / "best_overall_classifier.json")["classifier_type"] == "mlp"


def test_a_best_trial_that_was_ended_early_is_named_so(files, tmp_path, capsys, monkeypatch):
    def step(self, leg):
        if leg.start:
            raise TrainingError("no memory")
        Path(leg.state_out).write_text("state")
        return leg.params["lr"]

    monkeypatch.setattr(BertStep, "__call__", step)
    tune_classifier("mlp", files[1], files[0], {"lr": [1e-3, 2e-3, 3e-3]}, sampler="halving",
                    n_trials=3, save_dir=tmp_path, train_best=False,
                    **{**QUICK, "num_epochs": 3, "verbosity": 1})
    assert load_best_config("mlp", tmp_path)["state"] == "pruned"
    assert "no trial was finished: this one was ended early" in capsys.readouterr().out


def test_searches_that_end_at_once_wait_for_each_other(tmp_path):
    plain = ClassOptions()
    threads = [threading.Thread(target=write_best_config, args=(tmp_path, head, best_config(
        plain.replace(classifier=head), "f1_macro", {}, 0.5, data="a", study=str(tmp_path / head))))
        for head in HEADS]
    with held(tmp_path):
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        assert not [*tmp_path.glob("*.json")]
    for thread in threads:
        thread.join()
    assert read_json(tmp_path / "all_best_configs.json").keys() == {*HEADS}


def test_the_log_shows_what_the_cut_saw(capsys):
    log = LoggingCallback("f1_macro")
    log.on_trial_pruned(trial({"lr": 0.1}, value=0.7, reports={1: 0.7, 2: 0.6}, state="pruned",
                              started=0.0, finished=2.0))
    assert capsys.readouterr().out == "trial 0   f1_macro 0.6000, pruned after 2  lr 0.1, 2 s\n"


def test_the_log_says_how_many_trials_are_equally_good(capsys):
    best, other = (SimpleNamespace(value=value, state="complete") for value in (0.5, 0.25))
    for trials_, count in (([best, other, best], 1), ([best, other], 0), ([], 0)):
        LoggingCallback("f1_macro").on_study_end(SimpleNamespace(
            trials=trials_, best=best,
            statistics=lambda: {"complete": len(trials_), "pruned": 0, "failed": 0}))
        assert capsys.readouterr().out.count("2 trials share the best score") == count


def test_commands_of_the_seeds(files, tmp_path, capsys):
    rows, bert = files
    quick = {**QUICK, "num_epochs": 1, "model": bert}
    del quick["verbosity"]
    done = command("tune", "--data_file", rows, "--output_root", tmp_path / "out", "--study_name",
                   "bert_opt", "--n_trials", 1, "--verbosity", 1, *flags(quick))
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.count("trial ") == 1 and "train --config" in done.stdout
    assert (tmp_path / "out" / "bert_opt" / "statistics.json").is_file()
    config = load_best_config("mlp", tmp_path / "out")
    with open(tmp_path / "out" / "bert_opt" / "best_model" / "test_predictions.csv") as file:
        assert len(list(csv.DictReader(file))) == ROWS // 10
    assert config["settings"]["data_file"] == str(rows)
    assert main(["tune", "--data_file", str(rows), "--output_root", str(tmp_path / "out"),
                 "--study_name", "bert_opt", "--n_trials", "1", *flags(quick)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_flag_that_the_sampler_ignores_is_a_usage_error(tmp_path, capsys):
    for flags in (["--sampler", "pbt", "--n_trials", "50"], ["--population", "8"],
                  ["--sampler", "halving", "--pruner", "none"],
                  ["--sampler", "pbt", "--all", "--folds", "3"]):
        assert main(["tune", "--output_dir", str(tmp_path), *flags]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    kept = settings(sampler="pbt", population=6).replace(classifier="cnn")
    assert (kept.population, kept.n_trials, kept.pruner, kept.keep_top) == (6, None, None, None)
    kept = settings().replace(seed=1)
    assert (kept.population, kept.n_trials, kept.pruner, kept.keep_top) == (None, 50, "median", 3)


def test_what_is_fixed_decides_what_depends_on_it():
    space = SearchSpace.from_dict({
        "lr": [1, 2], "optim": ["adamw", "sgd"], "momentum": {
            "kind": "continuous", "low": 0.5, "high": 0.9, "when": {"optim": ["sgd"]}}})
    assert "momentum" not in search_space(settings(optim="rmsprop"), space).to_dict()
    fixed = search_space(settings(optim="sgd"), space).to_dict()
    assert [*fixed] == ["lr", "momentum"] and "when" not in fixed["momentum"]
    assert settings(folds=3).replace(seed=1).keep_top == 0
    sizes = SearchSpace.from_dict({"kernel_sizes": {"kind": "categorical", "values": [[3, 4, 5]]},
                                   "lr": {"kind": "ordered", "values": [1, 2],
                                          "when": {"kernel_sizes": [[3, 4, 5]]}}})
    fixed = search_space(settings(classifier="cnn", kernel_sizes=(3, 4, 5)), sizes).to_dict()
    assert [*fixed] == ["lr"] and "when" not in fixed["lr"]


def test_a_length_that_nobody_chose_is_searched_and_else_cut(files, tmp_path):
    given = {"model": files[1], "data_file": files[0], "save_dir": tmp_path}
    search = searching.prepare(settings(**given), SearchSpace.from_dict({"max_length": [16, 32]}))
    assert [*search.space.to_dict()] == ["max_length"] and search.base.max_length == 40
    assert search.options.max_length == 128  # what the manifest keeps of the command


def test_flags_of_all_heads(files, tmp_path, capsys, monkeypatch):
    seen = SimpleNamespace()
    monkeypatch.setattr(searching, "run_all", lambda settings, heads: seen.__dict__.update(
        settings=settings, heads=heads))
    assert main(["tune", "--tune-all", "--n-trials", "15", "--tuning-epochs", "3", "--metric",
                 "matthews_correlation", "--hyperparams-dir", "h", "--resume"]) == 0
    assert tuple(seen.heads) == HEADS and seen.settings.resume == "auto"
    assert (seen.settings.n_trials, seen.settings.num_train_epochs, seen.settings.output_dir) == (
        15, 3, "h")
    assert main(["tune", "--classifiers", "cnn", "--resume", "auto"]) == 0
    assert seen.heads == ("cnn",) and seen.settings.output_dir == "hyperparams"
    assert settings().resume is None and settings(resume=False).resume is None
