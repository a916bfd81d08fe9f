"""A study: ask for parameters, tell what came of them, and lose neither."""

import math
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from bert_kit.errors import ConfigError, TuningError
from bert_kit.tuner import halving, running, trial_files
from bert_kit.tuner.importance import importance
from bert_kit.tuner.samplers import TPE, best_first, pareto_front
from bert_kit.tuner.space import SearchSpace, check_whole
from bert_kit.tuner.store import DAMAGE, Store
from bert_kit.tuner.trial import COMPLETE, FAILED, PRUNED, RUNNING, STATES, Trial


class Study:
    """The search for the parameters with the best value.

    What `trials` says is what the store says: nothing is known that would be lost.

    Parameters
    ----------
    name : str
    space : SearchSpace
    path : path, optional
        Folder for study.sqlite, the exported files and what trials keep; None: all in memory.
    direction : str
        "minimize" or "maximize".
    directions : dict, optional
        {objective: direction} instead, where there are several.
    sampler : object, optional
        Has ``sample(space, trials, rng) -> params``; `TPE()` by default.
    pruner : object, optional
        Has ``cuts(trials, maximize) -> {step: limit}``, as those in `bert_kit.tuner.pruning`.
    seed : int
        The draw of a trial depends on this, its number, and what had been told by then.
    resume : bool
        Go on with the study of the folder, if there is one. Its name, directions and seed stay;
        the space may be wider.

    Raises
    ------
    ConfigError
        If an argument is impossible, or the space lacks something that the study's had.
    TuningError
        If the folder holds a study and `resume` is not given, or another study.

    Examples
    --------
    >>> study = Study("parabola", SearchSpace().continuous("x", -1, 1))
    >>> study.optimize(lambda trial: trial.params["x"] ** 2, n_trials=30)
    >>> study.best.value < 0.01
    True
    """

    def __init__(self, name, space, path=None, direction="minimize", directions=None,
                 sampler=None, pruner=None, seed=0, resume=False):
        self.name, self.space, self.seed = name, space, seed
        self.directions = dict(directions or {"value": direction})
        self.several = len(self.directions) > 1
        self.maximize = not self.several and "maximize" in self.directions.values()
        self.sampler, self.pruner = sampler or TPE(), pruner
        self._check()
        self.path = None if path is None else Path(path)
        try:
            if self.path:
                self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TuningError(f"{path}: {error.strerror}; expected a folder to use") from None
        self.leader = None  # the best complete trial, if there is one objective
        self._trials, self._told, self._lock = [], 0, threading.RLock()
        self._store = Store(self.path and self.path / "study.sqlite")
        with self._store.transaction():
            self._begin(resume)
        self._read()

    def _check(self):
        for name, direction in self.directions.items():
            if direction not in ("minimize", "maximize"):
                raise ConfigError(f"the direction of {name} is {direction!r}; "
                                  "expected minimize or maximize")
        check_whole(0, seed=self.seed)
        if self.pruner and self.several:
            raise ConfigError(f"a pruner compares one number; found the objectives "
                              f"{', '.join(self.directions)}")

    def _begin(self, resume):
        settings = {"name": self.name, "directions": self.directions, "seed": self.seed,
                    "space": self.space.to_dict()}
        stored = self._store.settings()
        if stored and not resume:
            raise TuningError(f"{self.path}: holds the study {stored[-1]['name']!r}; expected "
                              "another folder, or resume=True to go on with it")
        for key in ("name", "directions", "seed") if stored else ():
            if settings[key] != stored[-1][key]:
                raise TuningError(f"{self.path}: the study that is there has the {key} "
                                  f"{stored[-1][key]!r}; found {settings[key]!r}")
        if stored:
            self.space.widened_from(SearchSpace.from_dict(stored[-1]["space"]))
        if not stored or settings != stored[-1]:
            self._store.add_settings(settings)

    def ask(self, attempts=6):
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
            return self._copy(number)

    def _take_up(self, attempts):
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

    def _new(self, number):
        params = self._draw(number, self.space, self._trials)
        self.space.check(params)
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        cuts = self.pruner.cuts(self._trials, self.maximize) if self.pruner else {}
        return Trial(number, params, seed, cuts=cuts, started=time.time())

    def _draw(self, number, space, trials):
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, number)))
        return self.sampler.sample(space, trials, rng)

    def _copy(self, number):
        """Return a trial for someone to run, who may change it."""
        self._read(number)
        trial = self._trials[number]
        return replace(trial, params=dict(trial.params), reports={}, notes={})

    def begin_again(self, trial):
        """Return a trial that failed here for one attempt more: same parameters, same seed."""
        with self._lock:
            with self._store.transaction():
                self._store.take(trial.number, trial.attempt, failed=True)
            return self._copy(trial.number)

    def release(self, numbers, failed=False):
        """Let any process take up these trials, of those that run here, from now on.

        To be interrupted is no fault of theirs; `failed` says that it may be.
        """
        with self._lock:
            with self._store.transaction():
                self._store.release(numbers, failed)
            self._read(min(numbers, default=None))

    def update(self, trial):
        """Keep the reports and notes that a trial has so far, in case this process dies."""
        self._write(trial, state=RUNNING)

    def tell(self, trial, value=None, error=None):
        """Say what came of a trial; return it as it is kept.

        Parameters
        ----------
        trial : Trial
            From `ask`, with the reports and notes that it has got since.
        value : float or dict
            {objective: float} where there are several. What is no finite number makes the trial a
            failed one. A pruned trial without a value takes its last report.
        error : str, optional
            Why it failed.
        """
        if value is None and trial.state == PRUNED and trial.reports:
            value = trial.reports[max(trial.reports)]
        value, error = (None, error) if error else self._number(value)
        state = FAILED if error else PRUNED if trial.state == PRUNED else COMPLETE
        return self._write(trial, state=state, value=value, error=error,
                           finished=trial.finished or time.time())

    def _number(self, value):
        """Return what an objective gave in plain numbers, and what is wrong with it, if so."""
        try:
            values = self._named(value)
            numbers = {name: float(values[name]) for name in self.directions
                       if math.isfinite(values[name])}
        except (TypeError, LookupError, OverflowError):
            numbers = {}
        if len(numbers) == len(self.directions):
            return (numbers if self.several else numbers.popitem()[1]), None
        names = ", ".join(self.directions)
        return None, f"the value is {value!r}; expected " + (
            f"a dict with finite numbers for {names}" if self.several else "a finite number")

    def _named(self, value):
        return value if self.several else dict.fromkeys(self.directions, value)

    def _write(self, trial, **changes):
        """Store what has become of a trial, unless it is someone else's by now."""
        with self._lock:
            kept = replace(self._trials[trial.number], attempt=trial.attempt, notes=trial.notes,
                           reports=trial.reports, started=trial.started, device=trial.device,
                           **changes)
            with self._store.transaction():
                written = self._store.update(kept, over=kept.state != RUNNING)
            self._read(trial.number if kept.state == RUNNING else None)
        if not written:
            warnings.warn(f"trial {trial.number} does not run here any more: its late result is "
                          "dropped", RuntimeWarning, stacklevel=3)
        return self._trials[trial.number]

    def _read(self, start=None):
        """Bring the trials up to what the store says, in any case those from `start` on."""
        news = self._store.news(len(self._trials) if start is None else start, self._told)
        for number, attempt, failures, told, record in news:
            try:
                trial = self._trial(number, attempt, failures, record)
                self._told = max(self._told, told or 0)
            except DAMAGE as error:
                raise TuningError(f"{self.path}: trial {number} is damaged ({error}); expected "
                                  "what a study wrote") from None
            self._trials[number:number + 1] = [trial]
            if trial.state == COMPLETE and not self.several and (
                    self.leader is None or trial.losses < self.leader.losses):
                self.leader = trial

    def _trial(self, number, attempt, failures, record):
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
        trial.row = (self._trials[number].row if number < len(self._trials)
                     else self.space.to_row(trial.params))
        if trial.state == COMPLETE or trial.value is not None:
            values = self._named(trial.value)
            trial.losses = tuple(values[name] * (1.0 if direction == "minimize" else -1.0)
                                 for name, direction in self.directions.items())
        return trial

    @property
    def trials(self):
        """All trials in the order in which they were asked for, those of other processes too."""
        with self._lock:
            self._read()
            return list(self._trials)

    @property
    def best(self):
        """The complete trial with the best value; without one, the best that was pruned.

        Raises
        ------
        TuningError
            If there is neither.
        ConfigError
            If there are several objectives.
        """
        if self.several:
            raise ConfigError(f"{self.name} has the objectives {', '.join(self.directions)}; "
                              "expected one for a best trial (several have a `pareto` front)")
        for trial in self.top(1):
            return trial
        errors = [trial.error.splitlines()[0] for trial in self._trials if trial.error]
        raise TuningError(f"{self.name}: none of {len(self._trials)} trials has a value; " + (
            f"{len(errors)} failed, the last one with {errors[-1]}" if errors else "none failed"))

    def top(self, k):
        """Return the k best trials in the order of `best_first`: pruned after complete ones."""
        trials = self.trials
        return [trials[place] for place in best_first(trials)[:k]]

    @property
    def pareto(self):
        """The complete trials to which no other is equal in all objectives and better in one."""
        done = [trial for trial in self.trials if trial.state == COMPLETE]
        front = pareto_front([trial.losses for trial in done]) if done else ()
        return [done[place] for place in front]

    # Functions of a study, which have files of their own.
    optimize, halve = running.run_trials, halving.run_plan
    statistics, export = trial_files.statistics, trial_files.export

    def replay(self, number):
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

    def importance(self):
        """Return {parameter: share} of what sets the best trials apart from the others."""
        return importance(self.space, self.trials)

    def close(self):
        """Close the file; a trial that runs here is lost in a minute, for another to take up."""
        self._store.close()
