"""A study as files for people and other programs: JSON, written as a whole or not at all."""

import math
import shutil
from pathlib import Path

from bert_kit.errors import ConfigError
from bert_kit.files import file_name, write_json
from bert_kit.tuner.trial import COMPLETE, FAILED, PRUNED, RUNNING


def export(study):
    """Write what is known of a study into its folder.

    trial_history.json has all trials, statistics.json the counts and times, best_parameters.json
    the best trial (of several objectives the Pareto front), and checkpoint.json what the study is;
    ``Study(..., resume=True)`` goes on with it from study.sqlite.
    """
    if study.path is None:
        raise ConfigError(f"{study.name} is in memory; expected a path to write its files to")
    best = study.pareto if study.several else study.top(1)
    write_json(study.path / "trial_history.json", [history(trial) for trial in study.trials])
    write_json(study.path / "statistics.json", study.statistics())
    write_json(study.path / "best_parameters.json", [best_config(study, each) for each in best]
               if study.several else best_config(study, *best) if best else None)
    write_json(study.path / "checkpoint.json", {
        "name": study.name, "directions": study.directions, "seed": study.seed,
        "space": study.space.to_dict(), "trials": len(study.trials), "store": "study.sqlite"})


def history(trial):
    """Return all of a trial in values that JSON can hold; a number that is not finite is None."""
    duration = trial.finished - trial.started if trial.finished else None
    return _finite({
        "number": trial.number, "state": trial.state, "params": trial.params,
        "value": trial.value, "reports": trial.reports, "cuts": trial.cuts, "seed": trial.seed,
        "attempt": trial.attempt, "error": trial.error, "started": trial.started,
        "finished": trial.finished, "duration": duration, "device": trial.device,
        "notes": trial.notes})


def statistics(study):
    """Return counts by state, rates, seconds, errors and the best trial, for people."""
    trials = study.trials
    counts = {state: sum(trial.state == state for trial in trials)
              for state in (COMPLETE, PRUNED, FAILED, RUNNING)}
    over = [trial for trial in trials if trial.state != RUNNING]
    seconds = [trial.finished - trial.started for trial in over]
    errors = [trial.error.splitlines()[0] for trial in over if trial.error]
    best = None if study.several else next(iter(study.top(1)), None)
    return {"trials": len(trials), **counts,
            "success_rate": counts[COMPLETE] / len(over) if over else None,
            "pruning_rate": counts[PRUNED] / len(over) if over else None,
            "total_seconds": sum(seconds),
            "mean_seconds": sum(seconds) / len(over) if over else None,
            "elapsed_seconds": (max(trial.finished for trial in over)
                                - min(trial.started for trial in over)) if over else None,
            "errors": {error: errors.count(error) for error in errors},
            "best_trial": best and best.number, "best_value": best and best.value}


def best_config(study, trial):
    """Return the parameters of a trial and where they are from."""
    return {"study": study.name, "trial": trial.number, "state": trial.state,
            "directions": study.directions, "value": trial.value, "params": trial.params}


def export_best(studies, folder):
    """Write the best of several studies, of one objective each, beside each other.

    ``<name>_best_config.json`` for each study, all_best_configs.json, and
    best_overall_classifier.json, for which all need the same direction. A study in which nothing
    has a value is left out.
    """
    best = {name: best_config(study, trial) for name, study in studies.items()
            for trial in study.top(1)}
    for name, config in best.items():
        write_json(Path(folder) / f"{file_name(name)}_best_config.json", config)
    write_json(Path(folder) / "all_best_configs.json", best)
    for winner in sorted(best, key=lambda name: studies[name].best.losses)[:1]:
        write_json(Path(folder) / "best_overall_classifier.json", {"name": winner, **best[winner]})


class KeepTop:
    """A callback that removes the folders of all trials that are over but the k best.

    Parameters
    ----------
    k : int
    """

    def __init__(self, k):
        if isinstance(k, bool) or not isinstance(k, int) or k < 0:
            raise ConfigError(f"k is {k!r}; expected a whole number from 0")
        self.k, self.study = k, None

    def on_study_start(self, study):
        """Remember the study."""
        if study.path is None:
            raise ConfigError(f"{study.name} is in memory; expected a path, with folders to keep")
        self.study = study

    def on_trial_complete(self, trial):
        """Remove what is not needed any more."""
        folders = {*Path(trial.folder).parent.glob("*")}  # before we see which trials run by now
        running = [each for each in self.study.trials if each.state == RUNNING]
        for folder in folders - {Path(each.folder) for each in [*self.study.top(self.k), *running]}:
            shutil.rmtree(folder, ignore_errors=True)

    on_trial_pruned = on_trial_failed = on_trial_complete


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
