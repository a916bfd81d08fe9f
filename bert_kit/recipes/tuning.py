"""Searching the hyperparameters of a text classifier, from files to its best configuration.

`tune_classifier` searches for one head, `tune_all_classifiers` for several. The rows are split
once, every trial is scored on the validation rows, and the test rows are scored once, at the end,
by the model of the best trial.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from bert_kit.errors import ConfigError
from bert_kit.evaluation import format_leaderboard, logit_metrics, require_plots
from bert_kit.files import held, numbered_folder, read_json, remove_folder, write_json
from bert_kit.recipes import classification
from bert_kit.recipes.best_configs import load_best_config, write_best_config
from bert_kit.recipes.fine_tuning import check_settings, default_length, for_head
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.population import BertStep
from bert_kit.recipes.prediction import Predictor, choose_device
from bert_kit.recipes.run_folder import (check_place, check_same, manifest,
                                         no_split_of_a_failed_start)
from bert_kit.recipes.search_log import shown
from bert_kit.recipes.search_spaces import search_space
from bert_kit.recipes.searches import SEARCHES, Search, draw_report, workers
from bert_kit.recipes.settings import HEADS, ClassificationSettings
from bert_kit.recipes.shared_rows import tokenized_rows
from bert_kit.recipes.trials import trial_settings
from bert_kit.recipes.tuning_settings import BY_LEGS, TuningSettings
from bert_kit.training import best_precision


# What the machine and the number of jobs decide when a search begins. It keeps them when it goes
# on elsewhere or with other jobs: scores that were rounded otherwise would not compare.
CHOSEN = ("precision", "threads")


def tune_classifier(classifier_type=None, model_path=None, data_path=None, space=None, **settings):
    """Search the hyperparameters of one head and return the best.

    Parameters
    ----------
    classifier_type : str, optional
        The head: standard, custom (mlp), bilstm, attention, cnn, fourier_kan or wavelet_kan.
    model_path : path, optional
        Folder or name of a BERT to start from.
    data_path : path, optional
        File or folder with labelled texts; without it the docstring task.
    space : SearchSpace or dict, optional
        What to try, by names that are options of training; by default that of the head.
    **settings
        Fields of TuningSettings, under any of their spellings; for instance `n_trials`,
        `num_epochs`, `metric_for_best_model`, `save_dir`, `sampler`, `jobs`. What is set is not
        searched for.

    Returns
    -------
    dict
        The best parameters, as `train_classifier` takes them. `load_best_config` has them too,
        and their score.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"classifier": classifier_type, "model": model_path, "data_file": data_path}
    return run(make_settings(TuningSettings, given, settings), space)["best_params"]


def tune_all_classifiers(model_path=None, data_path=None, classifier_types=HEADS, **settings):
    """Search the hyperparameters of several heads and return {head: best configuration}.

    Parameters
    ----------
    model_path, data_path, **settings
        As in `tune_classifier`; an option of one head does not concern the others.
    classifier_types : sequence of str
        Which heads; all seven by default.

    Returns
    -------
    dict
        For each head what `load_best_config` returns. best_overall_classifier.json has the best.
    """
    given = {"model": model_path, "data_file": data_path}
    return run_all(make_settings(TuningSettings, given, settings), classifier_types)


def run_all(settings, classifier_types=HEADS):
    """Do the searches for TuningSettings; see `tune_all_classifiers`."""
    heads = list(dict.fromkeys("mlp" if head == "custom" else head for head in classifier_types))
    jobs = [for_head(settings, head) for head in heads]
    if settings.study_name is not None:
        jobs = [job.replace(study_name=f"{settings.study_name}-{job.classifier}") for job in jobs]
    for job in jobs:
        _prepare(job, None)  # what is wrong with any is found before the first begins
    configs = {}
    for number, job in enumerate(jobs, 1):
        settings.say(f"\n== {job.classifier} ({number} of {len(jobs)})")
        configs[job.classifier] = run(job)
    rows = [{"classifier": head, settings.metric: config["best_value"],
             **{f"test {name}": (config.get("test_results") or {}).get(name)
                for name in ("accuracy", "f1_macro")}} for head, config in configs.items()]
    settings.say(f"\n{format_leaderboard(rows, settings.metric, settings.metric == 'loss')}")
    return configs


def run(settings, space=None):
    """Do the whole job for TuningSettings and return the best configuration."""
    search = _prepare(settings, space)
    rows = _read_rows(search)
    settings.say(f"data      {rows.description}\nsearch    {settings.sampler} over "
                 f"{', '.join(search.names)}, in {search.folder}\n"
                 f"training  {search.base.precision}, threads {search.base.threads}, "
                 f"jobs {settings.jobs}")
    with workers(settings) as pool:
        config = SEARCHES[settings.sampler](search, pool)
    config = {**config, "study": str(search.folder), "sampler": settings.sampler,
              "folds": settings.folds, "data": rows.fingerprint}
    settings.say(f"\nbest      {settings.metric} {config['best_value']:.4f} with "
                 f"{shown(config['best_params'])}")
    if config.get("state") == "pruned":
        settings.say("          no trial was finished: this one was ended early")
    with held(search.folder, wait=True):  # one that shares the search waits, and finds it done
        before = load_best_config(config["classifier_type"], settings.output_dir)
        path = write_best_config(settings.output_dir, config)
        if settings.train_best:
            config["test_results"] = _test_results(search, config, before)
            write_best_config(settings.output_dir, config)
    if settings.report:
        settings.say(f"report    {draw_report(search)}")
    if "schedule" in config:
        settings.say(f"saved in {search.folder}: best_model; its schedule is in {path}")
    else:
        settings.say(f"saved in {search.folder}; train again with: python -m bert_kit train "
                     f"--config {path}")
    return config


def _prepare(settings, space):
    """Check everything that can be checked without the rows, and return the Search."""
    if settings.report:
        require_plots()
    space = search_space(settings, space)
    name, parent = settings.classifier, settings.output_dir
    folder = (Path(parent, settings.study_name) if settings.study_name is not None
              else numbered_folder(parent, name, settings.resume is not None))
    path, begun = folder / "manifest.json", {}
    if path.is_file():
        begun = read_json(path)
        check_same(folder, begun, settings)
    given = {field.name: getattr(settings, field.name)
             for field in dataclasses.fields(ClassificationSettings)}
    device = choose_device(settings.device)
    base = ClassificationSettings(**{
        **{name: value for name, value in given.items() if value is not None},
        "output_dir": str(folder), "resume": None, "max_length": default_length(settings),
        "num_train_epochs": settings.num_train_epochs or (3 if settings.model else 6),
        "precision": settings.precision or best_precision(device),
        "threads": settings.threads or max(1, torch.get_num_threads() // settings.jobs),
        **begun.get("chosen", {})})
    middle = space.from_row(np.full(len(space.parameters), 0.5))
    check_settings(trial_settings(base, middle))
    if settings.sampler in BY_LEGS:
        BertStep(base)  # or an error for what has no meaning there
    if settings.sampler == "hyperband" and base.num_train_epochs < 3:
        raise ConfigError(f"hyperband chooses between 3 epochs or more; num_train_epochs is "
                          f"{base.num_train_epochs}")
    check_place(folder)
    return Search(settings, space, folder, base)


def _read_rows(search):
    """Return the LabelledParts of a search; its folder then holds the split and a manifest."""
    with no_split_of_a_failed_start(search.folder):
        rows = tokenized_rows(search.base, search.settings.folds)[0].parts
    path = search.folder / "manifest.json"
    if not path.is_file():
        write_json(path, {**manifest(search.settings, rows.fingerprint), "chosen": {
            name: getattr(search.base, name) for name in CHOSEN}})
    elif read_json(path).get("data") != rows.fingerprint:
        raise ConfigError(f"{search.folder}: the data has changed since the search began; "
                          "expected the same rows")
    return rows


def _test_results(search, config, before):
    """Return the scores of the best model on the test rows; None where there are none.

    The best configuration is trained once more, as `train --config` does, unless an earlier part
    of a resumed search has done so. The model of a population is there already.
    """
    settings, folder = search.settings, search.folder / "best_model"
    same = before is not None and all(before.get(key) == config[key] for key in (
        "study", "best_params", "best_value"))
    if same and "test_results" in before and (folder / "results.json").is_file():
        return before["test_results"]
    if settings.sampler == "pbt":
        part = tokenized_rows(search.base)[0].parts.test
        logits = part and Predictor.load(folder, search.base.device).logits(part.texts)
        return part and logit_metrics(logits, part.labels)
    if folder.exists():
        remove_folder(folder)
    settings.say("\nthe best once more, and on the test rows")
    results = classification.run(ClassificationSettings(
        **config["settings"], output_dir=str(folder), verbosity=settings.verbosity))
    value = results.get("validation", {}).get(settings.metric)
    if not settings.folds and value != config["best_value"]:
        settings.say(f"trained again it has {settings.metric} {value:.4f} on the validation rows: "
                     "not the trial's; another machine or number of threads rounds otherwise")
    return results.get("test")
