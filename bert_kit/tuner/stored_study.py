"""Ask and tell with a store: a search that can be killed at any moment, shared and gone on with."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_kit.errors import ConfigError, TuningError
from bert_kit.tuner.ask_tell import (COMPLETE, FAILED, RUNNING, STATES, UNNAMED, AskTell, Sampler,
                                     Trial)
from bert_kit.tuner.pareto import pareto_front
from bert_kit.tuner.pruning import Pruner
from bert_kit.tuner.space import Params, SearchSpace
from bert_kit.tuner.store import DAMAGE, Store
from bert_kit.tuner.tpe import TPE


class StoredStudy(AskTell):
    """Trials in a store: what `trials` says is what it says, nothing is known that would be lost.

    `Study`, which is this and the doors to all that is done with trials, says what the arguments
    are.
    """

    def __init__(self, name: str, space: SearchSpace, path: str | Path | None = None,
                 direction: str = "minimize", directions: Mapping[str, str] | None = None,
                 sampler: Sampler | None = None, pruner: Pruner | None = None, seed: int = 0,
                 resume: bool = False) -> None:
        super().__init__(space, sampler or TPE(), direction, directions, seed, name)
        if pruner and self.several:
            raise ConfigError(f"a pruner compares one number; found the objectives "
                              f"{', '.join(self.directions)}")
        self.pruner, self.path = pruner, None if path is None else Path(path)
        try:
            if self.path:
                self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TuningError(f"{path}: {error.strerror}; expected a folder to use") from None
        self.leader: Trial | None = None  # the best complete trial, if there is one objective
        self._told = 0
        self._store = Store(self.path and self.path / "study.sqlite")
        with self._store.transaction():
            self._begin(resume)
        self._read()

    def _begin(self, resume: bool) -> None:
        stored = self._store.settings()
        before = stored[-1]["directions"] if stored else {}
        if [*before.values()] == [*self.directions.values()] and not self.several:
            if UNNAMED in self.directions:  # the name that the study has
                self.directions = before
            elif UNNAMED in before:  # as all were before objectives had names in searches
                before = self.directions
        settings = {"name": self.name, "directions": self.directions, "seed": self.seed,
                    "space": self.space.to_dict()}
        if stored and not resume:
            raise TuningError(f"{self.path}: holds the study {stored[-1]['name']!r}; expected "
                              "another folder, or resume=True to go on with it")
        for key in ("name", "directions", "seed") if stored else ():
            if settings[key] != {**stored[-1], "directions": before}[key]:
                raise TuningError(f"{self.path}: the study that is there has the {key} "
                                  f"{stored[-1][key]!r}; found {settings[key]!r}")
        if stored:
            check_wider(self.space, SearchSpace.from_dict(stored[-1]["space"]))
        if not stored or settings != stored[-1]:
            self._store.add_settings(settings)

    def ask(self, attempts: float = 6) -> Trial:
        """Return the next trial, running: one whose process died, or a new one.

        A trial of which so many attempts failed, the last as its process died, is begun no more.

        Raises
        ------
        Exhausted
            By the sampler, if there is nothing left to try.
        """
        with self._lock:
            with self._store.transaction():
                self._read()
                number = self._take_up(attempts)
                if number is None:
                    number = len(self._trials)
                    self._store.insert(self._new(number), knew=self._told)
            self._read(number)
            return self._copy(number)

    def _take_up(self, attempts: float) -> int | None:
        """Make the first lost trial ours and return its number; end those that fail too often."""
        for number, attempt, died in self._store.lost():
            self._store.take(number, attempt, died)
            self._read(number)
            trial = self._trials[number]
            if trial.failures < attempts:
                return number
            self._store.update(replace(
                trial, state=FAILED, finished=time.time(), error=f"{trial.failures} attempts "
                "failed, in the last of them its process died"), over=True)
        return None

    def _new(self, number: int) -> Trial:
        cuts = self.pruner.cuts(self._trials, self.maximize) if self.pruner else {}
        return replace(super()._new(number), cuts=cuts)

    def begin_again(self, trial: Trial) -> Trial:
        """Return a trial that failed here for one attempt more: same parameters, same seed."""
        with self._lock:
            with self._store.transaction():
                self._store.take(trial.number, trial.attempt, failed=True)
            self._read(trial.number)
            return self._copy(trial.number)

    def release(self, numbers: Iterable[int], failed: bool = False) -> None:
        """Let any process take up these trials, of those that run here, from now on.

        To be interrupted is no fault of theirs; `failed` says that it may be.
        """
        numbers = list(numbers)
        with self._lock:
            with self._store.transaction():
                self._store.release(numbers, failed)
            self._read(min(numbers, default=None))

    def update(self, trial: Trial) -> None:
        """Keep the reports and notes that a trial has so far, in case this process dies."""
        self._write(replace(trial, state=RUNNING, value=None, error=None, finished=None))

    def _store_trial(self, trial: Trial) -> bool:
        with self._store.transaction():
            stored = self._store.update(trial, over=trial.over)
        self._read(None if trial.over else trial.number)
        return stored

    def _read(self, start: int | None = None) -> None:
        """Bring the trials up to what the store says, in any case those from `start` on."""
        news = self._store.news(len(self._trials) if start is None else start, self._told)
        for number, attempt, failures, told, record in news:
            try:
                self._put(self._trial(number, attempt, failures, record))
                self._told = max(self._told, told or 0)
            except DAMAGE as error:
                raise TuningError(f"{self.path}: trial {number} is damaged ({error}); expected "
                                  "what a study wrote") from None

    def _put(self, trial: Trial) -> None:
        super()._put(trial)
        if trial.state == COMPLETE and trial.losses and not self.several and (
                self.leader is None or trial.losses < (self.leader.losses or ())):
            self.leader = trial

    def _trial(self, number: int, attempt: int, failures: int, record: dict[str, Any]) -> Trial:
        """Return a trial as the store has it."""
        running = record["state"] == RUNNING
        if (number > len(self._trials) or type(attempt) is not int
                or type(failures) is not int or record["state"] not in STATES
                or not running and None in (record["started"], record["finished"])):
            raise ValueError(f"{record['state']} in attempt {attempt}, with {len(self._trials)} "
                             "trials before it")
        trial = Trial(number=number, attempt=attempt, failures=failures,
                      maximize=self.maximize, **record)
        trial.reports, trial.cuts = ({int(step): float(value) for step, value in values.items()}
                                     for values in (trial.reports, trial.cuts))
        trial.folder = str(self.path / "trials" / f"{number:05}") if self.path else None
        return trial

    @property
    def trials(self) -> list[Trial]:
        """All trials in the order in which they were asked for, those of other processes too."""
        with self._lock:
            self._read()
            return list(self._trials)

    @property
    def pareto(self) -> list[Trial]:
        """The complete trials to which no other is equal in all objectives and better in one."""
        done = [trial for trial in self.trials if trial.state == COMPLETE]
        front = pareto_front([trial.losses or () for trial in done]) if done else ()
        return [done[place] for place in front]

    def replay(self, number: int) -> Params:
        """Draw the parameters of a trial once more, from what was known when it was asked for."""
        trials = self.trials
        if not 0 <= number < len(trials):
            raise ConfigError(f"there is no trial {number}; {self.name} has {len(trials)}")
        with self._lock, self._store.transaction():
            settings, told = self._store.origin(number)
        space = SearchSpace.from_dict(settings["space"])
        known = [trial if trial.number in told else Trial(trial.number, trial.params, trial.seed)
                 for trial in trials[:number]]
        return self._draw(number, space, [replace(trial, row=space.to_row(trial.params))
                                          for trial in known])

    def close(self) -> None:
        """Close the file; a trial that runs here is lost, for another to take up."""
        self._store.close()


def check_wider(new: SearchSpace, old: SearchSpace) -> None:
    """Check that a space holds every set of an old one, else a ConfigError says why not."""
    for name in {**old.to_dict(), **new.to_dict()}:
        now, before = new.get(name), old.get(name)
        for what in ("kind", "log", "when"):
            if getattr(now, what) != getattr(before, what):
                raise ConfigError(f"{name}: {what} was {getattr(before, what)!r} and is now "
                                  f"{getattr(now, what)!r}; only ranges and choices may grow")
        values: Sequence[Any] = before.values or (before.low, before.high)
        if before.step and not before.values:  # all lie between these, so many steps apart
            steps = range(int(before.low), int(before.high) + 1, before.step)
            values = (*steps[:2], steps[-1])
        if any(math.isnan(now.to_unit(value)) for value in values):
            raise ConfigError(f"{name} is {now.to_dict()}; expected all of {before.to_dict()}")
