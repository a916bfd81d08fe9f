"""The files in which a search leaves what it found: one a head or task, all of them, and the best.

Each holds every option of the best trial, under `settings`: `python -m bert_kit train --config
FILE` trains it again to the same score. (Of a population it holds the parameters of the end, and
the `schedule` that led there; with folds the score is a mean over them.)
"""

import datetime
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from bert_kit import __version__
from bert_kit.errors import ConfigError
from bert_kit.files import held, read_json, write_json
from bert_kit.jobs.options.config_files import stored_settings
from bert_kit.jobs.run.build import more_is_better

Config = dict[str, Any]  # the content of such a file
ALL, OVERALL = "all_best_configs.json", "best_overall_classifier.json"
SUFFIX = "_best_config.json"
# Where a run goes, and what is said of it, is not what it computes.
LEFT_OUT = ("output_dir", "resume", "verbosity", "strict")


def best_config(options: Any, metric: str, params: dict[str, Any], value: float,
                **more: object) -> Config:
    """Return the content of a best-config file.

    Parameters
    ----------
    options
        Of the best trial, with nothing left open.
    params
        What was tuned, under the names of the search space.
    value
        The score by `metric` on the validation rows.
    **more
        What else is to be kept.
    """
    settings = {name: value for name, value in options.to_dict().items() if name not in LEFT_OUT}
    head = {"classifier_type": options.classifier} if "classifier" in settings else {}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return json.loads(json.dumps({  # lists for tuples, as they are read back
        **head, "metric": metric, "best_value": value, "best_params": params, **more,
        "bert_kit": __version__, "torch": metadata.version("torch"), "time": now,
        "settings": settings}))


def write_best_config(folder: str | Path, name: str, config: Config) -> Path:
    """Write a search's best configuration and return the path; write the files about all anew.

    It is <name>_best_config.json, `name` being that of the head or task, and best_config.json in
    the folder of the study. The first stays if another study found a better one, scored alike: by
    the same metric on the same rows. Only such are compared for the best of all heads.
    """
    path, own = Path(folder, name + SUFFIX), Path(config["study"], "best_config.json")
    write_json(own, config)
    with held(folder, wait=True):  # of two searches that end at once neither forgets the other
        before = read_json(path) if path.is_file() else config
        if before.get("study") == config["study"] or not _scored_alike(before, config) or _best(
                [config, before]) is config:
            write_json(path, config)
        else:
            path = own
        found = {other.name.removesuffix(SUFFIX): read_json(other)
                 for other in sorted(Path(folder).glob("*" + SUFFIX))}
        write_json(Path(folder, ALL), found)
        if "classifier_type" in config:
            write_json(Path(folder, OVERALL), _best([
                other for other in found.values() if _scored_alike(other, config)]))
    return path


def _best(configs: list[Config]) -> Config:
    """Return the best of some that were scored alike; a trial that was ended early is none."""
    finished = [config for config in configs if config.get("state") != "pruned"] or configs
    return (max if more_is_better(configs[0]["metric"]) else min)(
        finished, key=lambda config: config["best_value"])


def _scored_alike(first: Config, second: Config) -> bool:
    """Say whether two configurations were scored by the same metric on the same rows."""
    return (all(first.get(key) == second.get(key) for key in ("metric", "data", "folds"))
            and all(first["settings"].get(key) == second["settings"].get(key)
                    for key in ("seed", "val_size", "test_size", "max_train_samples")))


def load_best_config(classifier_type: str, output_dir: str | Path = "hyperparams"
                     ) -> Config | None:
    """Return what a search found for a head, or None where none has been searched for.

    Parameters
    ----------
    classifier_type
        The head; or the task, where it has no heads: tagging, answering, similarity or masked.
    output_dir
        As the search was given it.

    Returns
    -------
    dict
        `best_params`, which `train_classifier` takes as they are, `best_value`, `metric`,
        `classifier_type`, the whole `settings` of the trial, and more.
    """
    path = Path(output_dir, ("mlp" if classifier_type == "custom" else classifier_type) + SUFFIX)
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config.get("best_params"), dict):
        raise ConfigError(f"{path}: holds no best_params; expected a file that tune wrote")
    return config


def best_settings(name: str, task: str, folder: str | Path) -> dict[str, Any]:
    """Return every option of the best trial of a head or task, to begin another training with.

    Raises
    ------
    ConfigError
        If there is no such file in the folder, or it is of another task.
    """
    config, path = load_best_config(name, folder), Path(folder, name + SUFFIX)
    if config is None:
        raise ConfigError(f"{path}: there is no such file; expected what tune has found for "
                          f"{name}, or leave hyperparams_dir out")
    settings = config.get("settings")
    if not isinstance(settings, dict) or settings.get("task") != task:
        raise ConfigError(f"{path}: is not of the task {task}; leave hyperparams_dir out, or name "
                          "the folder of a search for it")
    return stored_settings(settings)
