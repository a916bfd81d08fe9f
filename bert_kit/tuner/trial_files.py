"""A study as files for people and other programs: JSON, written as a whole or not at all."""

import math
import shutil
from pathlib import Path
from typing import Any

from bert_kit.checks import whole
from bert_kit.errors import ConfigError
from bert_kit.files import write_json
from bert_kit.tuner.ask_tell import COMPLETE, FAILED, PRUNED, RUNNING, Trial
from bert_kit.tuner.store import RECORD
from bert_kit.tuner.stored_study import StoredStudy


def export(study: StoredStudy) -> None:
    """Write what is known of a study into its folder.

    trial_history.json has all trials, statistics.json the counts and times, best_parameters.json
    the best trial (of several objectives the Pareto front), and checkpoint.json what the study is;
    ``Study(..., resume=True)`` goes on with it from study.sqlite.
    """
    if study.path is None:
        raise ConfigError(f"{study.name} is in memory; expected a path to write its files to")
    best = [{"study": study.name, "trial": trial.number, "state": trial.state,
             "directions": study.directions, "value": trial.value, "params": trial.params}
            for trial in (study.pareto if study.several else study.top(1))]
    write_json(study.path / "trial_history.json", [history(trial) for trial in study.trials])
    write_json(study.path / "statistics.json", statistics(study))
    write_json(study.path / "best_parameters.json",
               best if study.several else next(iter(best), None))
    write_json(study.path / "checkpoint.json", {
        "name": study.name, "directions": study.directions, "seed": study.seed,
        "space": study.space.to_dict(), "trials": len(study.trials), "store": "study.sqlite"})


def history(trial: Trial) -> dict[str, Any]:
    """Return all of a trial in values that JSON can hold; a number that is not finite is None."""
    duration = trial.finished - (trial.started or 0.0) if trial.finished else None
    names = ("number", "attempt", "failures", *RECORD)
    return _finite({name: getattr(trial, name) for name in names} | {"duration": duration})


def statistics(study: StoredStudy) -> dict[str, Any]:
    """Return counts by state, rates, seconds, errors and the best trial, for people."""
    trials = study.trials
    counts = {state: sum(trial.state == state for trial in trials)
              for state in (COMPLETE, PRUNED, FAILED, RUNNING)}
    over = [trial for trial in trials if trial.over]
    times = [(trial.started or 0.0, trial.finished or 0.0) for trial in over]
    seconds = [end - start for start, end in times]
    errors = [trial.error.splitlines()[0] for trial in over if trial.error]
    best = None if study.several else next(iter(study.top(1)), None)
    return {"trials": len(trials), **counts,
            "success_rate": counts[COMPLETE] / len(over) if over else None,
            "pruning_rate": counts[PRUNED] / len(over) if over else None,
            "total_seconds": sum(seconds),
            "mean_seconds": sum(seconds) / len(over) if over else None,
            "elapsed_seconds": (max(end for _, end in times) - min(start for start, _ in times)
                                if over else None),
            "errors": {error: errors.count(error) for error in errors},
            "best_trial": best and best.number, "best_value": best and best.value}


class KeepTop:
    """A callback that removes the folders of all trials that are over but the k best.

    Parameters
    ----------
    k
        How many folders stay.
    """

    def __init__(self, k: int) -> None:
        self.k = whole("k", k, 0)
        self.study: StoredStudy | None = None

    def on_study_start(self, study: StoredStudy) -> None:
        """Remember the study."""
        if study.path is None:
            raise ConfigError(f"{study.name} is in memory; expected a path, with folders to keep")
        self.study = study

    def on_trial_complete(self, trial: Trial) -> None:
        """Remove what is not needed any more."""
        assert self.study and self.study.path and trial.folder  # on_study_start has seen to it
        folders = {*Path(trial.folder).parent.glob("*")}  # before we see which trials run by now
        running = [each for each in self.study.trials if each.state == RUNNING]
        needed = {each.folder for each in [*self.study.top(self.k), *running]}
        for folder in folders:
            if str(folder) not in needed:
                shutil.rmtree(folder, ignore_errors=True)

    on_trial_pruned = on_trial_failed = on_trial_complete


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
