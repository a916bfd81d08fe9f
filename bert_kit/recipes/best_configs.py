"""The files in which a search leaves what it found: one a head, all of them, and the best.

Each holds every setting of the best trial, under `settings`: `python -m bert_kit train --config
FILE` trains it again to the same score. (Of a population it holds the parameters of the end, and
the `schedule` that led there; with folds the score is a mean over them.)
"""

import datetime
import json
from importlib import metadata
from pathlib import Path

from bert_kit import __version__
from bert_kit.errors import ConfigError
from bert_kit.files import held, read_json, write_json

ALL, OVERALL = "all_best_configs.json", "best_overall_classifier.json"
SUFFIX = "_best_config.json"
NOT_KEPT = ("output_dir", "resume", "verbosity")  # where a run goes is not what it computes


def best_config(settings, params, value, **more):
    """Return the content of a best-config file.

    Parameters
    ----------
    settings : ClassificationSettings
        Of the best trial, with nothing left open.
    params : dict
        What was tuned, under the names of the search space.
    value : float
        The score by `settings.metric` on the validation rows.
    **more
        What else is to be kept.
    """
    kept = {name: value for name, value in settings.to_dict().items() if name not in NOT_KEPT}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return json.loads(json.dumps({  # lists for tuples, as they are read back
        "classifier_type": settings.classifier, "metric": settings.metric, "best_value": value,
        "best_params": params, **more, "bert_kit": __version__,
        "torch": metadata.version("torch"), "time": now, "settings": kept}))


def write_best_config(folder, config):
    """Write a search's best configuration and return the path; write the files about all anew.

    It is <head>_best_config.json, and best_config.json in the folder of the study. The first stays
    if another study found a better one, scored alike: by the same metric on the same rows. Only
    such are compared for the best of all heads.
    """
    path, own = (Path(folder, f"{config['classifier_type']}{SUFFIX}"),
                 Path(config["study"], "best_config.json"))
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
        write_json(Path(folder, OVERALL), _best([
            other for other in found.values() if _scored_alike(other, config)]))
    return path


def _best(configs):
    """Return the best of some that were scored alike; a trial that was ended early is none."""
    finished = [config for config in configs if config.get("state") != "pruned"] or configs
    return (min if configs[0]["metric"] == "loss" else max)(
        finished, key=lambda config: config["best_value"])


def _scored_alike(first, second):
    """Say whether two configurations were scored by the same metric on the same rows."""
    return (all(first.get(key) == second.get(key) for key in ("metric", "data", "folds"))
            and all(first["settings"].get(key) == second["settings"].get(key)
                    for key in ("seed", "val_size", "test_size", "max_train_samples")))


def load_best_config(classifier_type, output_dir="hyperparams"):
    """Return what a search found for a head, or None where none has been searched for.

    Parameters
    ----------
    classifier_type : str
    output_dir : path
        As `tune_classifier` was given it.

    Returns
    -------
    dict
        `best_params`, which `train_classifier` takes as they are, `best_value`, `metric`,
        `classifier_type`, the whole `settings` of the trial, and more.
    """
    head = "mlp" if classifier_type == "custom" else classifier_type
    path = Path(output_dir, head + SUFFIX)
    if not path.is_file():
        return None
    config = read_json(path)
    if not isinstance(config.get("best_params"), dict):
        raise ConfigError(f"{path}: holds no best_params; expected a file that tune wrote")
    return config
