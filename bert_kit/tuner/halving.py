"""Carrying out a plan: many configurations are trained a little, and the best go on.

Each goes on from the file that its last leg left, so no epoch is trained twice.
"""

import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_kit.errors import ConfigError
from bert_kit.files import held
from bert_kit.tuner.ask_tell import PRUNED, RUNNING, Exhausted, Trial
from bert_kit.tuner.legs import Leg, Step, run_legs
from bert_kit.tuner.pruning import Plan, Rungs
from bert_kit.tuner.running import announce, tell, watched
from bert_kit.tuner.stored_study import StoredStudy


def run_plan(study: StoredStudy, step: Step, plan: Plan, executor: Executor | None = None,
             devices: Sequence[str | None] = (), callbacks: Sequence[object] = ()) -> None:
    """Print a plan and carry it out, or the rest of it if the last call was interrupted.

    Each configuration is a trial of the study with its scores as reports; one that is not
    promoted is pruned. What the legs leave is in the folder "legs" of the study and goes when no
    leg needs it; what the best complete trial left stays. One process at a time may do this.

    Parameters
    ----------
    study
        With one objective.
    step
        ``step(leg) -> score``: trains from epoch `leg.start` up to `leg.stop`.
    plan
        `SuccessiveHalving` or `Hyperband`.
    executor, devices, callbacks
        As for `run_trials`; as many legs as devices are in flight, or all.
    """
    if study.several:
        raise ConfigError(f"{study.name} has {len(study.directions)} objectives; expected one")
    print(plan)
    mine = [trial for trial in study.trials if trial.notes.get("plan") == repr(plan)]
    turn = max((trial.notes["turn"] for trial in mine), default=0)
    last = [trial.state for trial in mine if trial.notes["turn"] == turn]
    turn += RUNNING not in last and len(last) == plan.configurations
    with tempfile.TemporaryDirectory() as temporary:
        folder = study.path / "legs" if study.path else Path(temporary)
        folder.mkdir(exist_ok=True)
        halving = _Halving(study, step, executor, devices, callbacks, folder)
        with held(folder), watched(study, callbacks, halving.unfinished):
            for number, rungs in enumerate(plan.brackets):
                notes = {"plan": repr(plan), "turn": turn, "bracket": number}
                halving.climb(rungs, halving.begin(rungs[0][0], notes))


class _Halving:
    """The trials of one call of `run_plan`, and the files between their legs."""

    def __init__(self, study: StoredStudy, step: Step, executor: Executor | None,
                 devices: Sequence[str | None], callbacks: Sequence[object], folder: Path) -> None:
        self.study, self.step, self.executor = study, step, executor
        self.devices, self.callbacks, self.folder = devices, callbacks, folder
        self.unfinished: set[int] = set()

    def begin(self, count: int, notes: dict[str, Any]) -> list[Trial]:
        """Return the trials of a bracket: those it has had, the lost first, and then new ones."""
        stored = self.study.trials
        trials = [trial for trial in stored if trial.notes == notes and trial.over]
        while len(trials) < count:
            try:
                trial = self.study.ask(attempts=math.inf)  # most of the lost only waited
            except Exhausted:
                break
            if trial.number < len(stored) and stored[trial.number].notes == notes:
                trial.reports = stored[trial.number].reports
            trial.notes = notes
            self.study.update(trial)
            self.unfinished.add(trial.number)
            announce(self.callbacks, "on_trial_start", trial)
            trials.append(trial)
        return trials

    def climb(self, rungs: Rungs, trials: list[Trial]) -> None:
        """Train on every rung those that come so far, and end the others."""
        for (_, budget), (places, _) in zip(rungs, (*rungs[1:], (0, None)), strict=True):
            self.train([trial for trial in trials
                        if trial.state == RUNNING and budget not in trial.reports], budget)
            scored = [trial for trial in trials if budget in trial.reports]
            scored.sort(key=lambda trial: (trial.reports[budget] * (
                -1 if self.study.maximize else 1), trial.number))
            trials = scored[:places]
            for trial in scored[places:]:
                if trial.state == RUNNING:
                    self.end(replace(trial, value=trial.reports[budget],
                                     state=PRUNED if places else RUNNING))
            self.clean()

    def train(self, trials: Sequence[Trial], budget: int) -> None:
        """Give trials a leg each, up to an epoch."""
        legs = [self.leg(trial, budget) for trial in trials]
        with closing(run_legs(self.step, legs, self.executor, self.devices)) as results:
            for place, score, error in results:
                if error or score is None or not math.isfinite(score):
                    self.end(replace(trials[place], value=score, error=error))
                else:
                    trials[place].reports[budget] = score
                    self.study.update(trials[place])

    def leg(self, trial: Trial, budget: int) -> Leg:
        """Return what comes next for a trial."""
        start = max(trial.reports, default=0)
        return Leg(trial.params, trial.seed, start, budget,
                   str(self.file(trial, start)) if start else None, str(self.file(trial, budget)))

    def file(self, trial: Trial, epoch: int) -> Path:
        """Where a trial leaves its state after an epoch."""
        return self.folder / f"{trial.number:05}-{epoch}"

    def end(self, trial: Trial) -> None:
        """Tell the study of a trial that goes no further."""
        tell(self.study, trial, self.callbacks)
        self.unfinished.discard(trial.number)

    def clean(self) -> None:
        """Remove every file but those from which trials go on, and the best one's."""
        needed = {self.file(trial, max(trial.reports)) for trial in self.study.trials
                  if trial.reports and (trial.state == RUNNING or trial is self.study.leader)}
        for file in self.folder.iterdir():
            if file not in needed:
                file.unlink()
