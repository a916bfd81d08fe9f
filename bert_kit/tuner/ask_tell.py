"""Ask for parameters, tell what came of them: the heart of a search, without files or processes.

`AskTell` keeps trials in a list; `Study` does the same in a file that can be shared and killed. Who
draws the parameters is a `Sampler`, such as those in tpe.py. Below stands which trials are best.
"""

import math
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator

from bert_kit.checks import one_of, whole
from bert_kit.errors import ConfigError, TuningError
from bert_kit.tuner.space import Params, SearchSpace

STATES = RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"
UNNAMED = "value"  # the one objective, where nobody says what its numbers are


class Exhausted(Exception):
    """There is nothing left to try; a study ends quietly."""


@dataclass
class Trial:
    """One set of parameters and what came of it. Made of plain values; it travels by pickle.

    Parameters
    ----------
    number
        Counts the trials of a study from 0.
    params
        Only those that are active under the conditions of the space.
    seed
        For all that is random in the trial.
    state
        running, complete, pruned or failed.
    value
        What the objective returned; a dict {objective: value} where there are several.
    reports
        {step: value} on the way.
    cuts
        {step: limit}, fixed when the trial was asked for: a value beyond the limit ends it.
    row
        The parameters (P,) in the unit interval, one column a parameter of the space, NaN where
        one is not active.
    losses
        The value with lower for better, one number an objective; None while the trial runs and
        when it failed.
    """

    number: int
    params: Params
    seed: int
    state: str = RUNNING
    value: Any = None  # a number, or a dict of them, once the trial is told
    reports: dict[int, float] = field(default_factory=dict)
    cuts: dict[int, float] = field(default_factory=dict)
    maximize: bool = False
    error: str | None = None
    attempt: int = 1  # how often it has begun
    failures: int = 0  # how often it raised or its process died, before this attempt
    started: float | None = None  # seconds since 1970
    finished: float | None = None
    device: str | None = None
    folder: str | None = None  # where the trial may keep files
    notes: dict[str, Any] = field(default_factory=dict)  # what the objective wants to be kept
    row: np.ndarray | None = field(default=None, repr=False, compare=False)
    losses: tuple[float, ...] | None = field(default=None, repr=False, compare=False)

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it: it is complete, pruned or failed."""
        return self.state != RUNNING

    @property
    def steps(self) -> int:
        """The last step with a report; 0 while the trial runs, when nobody else knows of them."""
        return max(self.reports, default=0) if self.over else 0

    def report(self, step: int, value: float) -> bool:
        """Note a value on the way and return whether to stop: it lies beyond this step's cut."""
        self.reports[int(step)] = value = float(value)
        limit = self.cuts.get(int(step))
        if limit is not None and not (value >= limit if self.maximize else value <= limit):
            self.state = PRUNED
        return self.state == PRUNED


class Sampler(Protocol):
    """Chooses the next set: at random, along a grid, or by what has been learned.

    It keeps nothing between calls: the same arguments give the same set, so a study can be
    replayed. `trials` are all that are known, in the order of their numbers.
    """

    def sample(self, space: SearchSpace, trials: Sequence[Trial], rng: Generator) -> Params:
        """Return a set; an `Exhausted` says that there is nothing left."""
        ...


class AskTell:
    """Trials in memory: each begins with `ask` and ends with `tell`.

    Parameters
    ----------
    direction
        "minimize" or "maximize".
    directions
        {objective: direction} instead, where there are several, or to name the one.
    seed
        The draw of a trial depends on this, its number, and what had been told by then.

    Raises
    ------
    ConfigError
        If an argument is impossible.

    Examples
    --------
    >>> from bert_kit.tuner.tpe import TPE
    >>> search = AskTell(SearchSpace().continuous("x", -1, 1), TPE())
    >>> for _ in range(30):
    ...     trial = search.ask()
    ...     _ = search.tell(trial, trial.params["x"] ** 2)
    >>> search.best.value < 0.01
    True
    """

    def __init__(self, space: SearchSpace, sampler: Sampler, direction: str = "minimize",
                 directions: Mapping[str, str] | None = None, seed: int = 0,
                 name: str = "study") -> None:
        self.name, self.space, self.sampler = name, space, sampler
        self.seed = whole("seed", seed, 0)
        self.directions = dict(directions or {UNNAMED: direction})
        for each, way in self.directions.items():
            one_of(f"the direction of {each}", way, ("minimize", "maximize"))
        self.several = len(self.directions) > 1
        self.maximize = not self.several and "maximize" in self.directions.values()
        self._trials: list[Trial] = []
        self._lock = threading.RLock()

    def ask(self) -> Trial:
        """Return the next trial, running.

        Raises
        ------
        Exhausted
            By the sampler, if there is nothing left to try.
        """
        with self._lock:
            number = len(self._trials)
            self._put(self._new(number))
            return self._copy(number)

    def tell(self, trial: Trial, value: Any = None, error: str | None = None) -> Trial:
        """Say what came of a trial; return it as it is stored.

        Parameters
        ----------
        trial
            From `ask`, with the reports and notes that it has got since.
        value
            A number, or {objective: number} where there are several. What is no finite number
            makes the trial a failed one. A pruned trial without a value takes its last report.
        error
            Why it failed.
        """
        if value is None and trial.state == PRUNED and trial.reports:
            value = trial.reports[max(trial.reports)]
        value, error = (None, error) if error else self._number(value)
        state = FAILED if error else PRUNED if trial.state == PRUNED else COMPLETE
        return self._write(replace(trial, state=state, value=value, error=error,
                                   finished=trial.finished or time.time()))

    def _new(self, number: int) -> Trial:
        params = self._draw(number, self.space, self._trials)
        self.space.check(params)
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        return Trial(number, params, seed, maximize=self.maximize, started=time.time())

    def _draw(self, number: int, space: SearchSpace, trials: Sequence[Trial]) -> Params:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, number)))
        return self.sampler.sample(space, trials, rng)

    def _copy(self, number: int) -> Trial:
        """Return a trial for someone to run, who may change it."""
        trial = self._trials[number]
        return replace(trial, params=dict(trial.params), reports={}, notes={})

    def _number(self, value: Any) -> tuple[Any, str | None]:
        """Return what an objective gave in plain numbers, and what is wrong with it, if so."""
        try:
            values = self._by_name(value)
            numbers = {name: float(values[name]) for name in self.directions
                       if math.isfinite(values[name])}
        except (TypeError, LookupError, OverflowError):
            numbers = {}
        if len(numbers) == len(self.directions):
            return (numbers if self.several else numbers.popitem()[1]), None
        names = ", ".join(self.directions)
        return None, f"the value is {value!r}; expected " + (
            f"a dict with finite numbers for {names}" if self.several else "a finite number")

    def _by_name(self, value: Any) -> Any:
        return value if self.several else dict.fromkeys(self.directions, value)

    def _write(self, trial: Trial) -> Trial:
        """Keep what has become of a trial, unless it is someone else's or over by now."""
        with self._lock:  # number, parameters, seed and cuts stay what they were
            stored = self._store_trial(replace(
                self._trials[trial.number], state=trial.state, value=trial.value,
                error=trial.error, attempt=trial.attempt, notes=dict(trial.notes),
                reports=dict(trial.reports), started=trial.started, finished=trial.finished,
                device=trial.device))
        if not stored:
            warnings.warn(f"trial {trial.number} does not run here any more: its late result is "
                          "dropped", RuntimeWarning, stacklevel=3)
        return self._trials[trial.number]

    def _store_trial(self, trial: Trial) -> bool:
        """Store a trial if it still runs here, and return whether it did."""
        over = self._trials[trial.number].over
        if not over:
            self._put(trial)
        return not over

    def _put(self, trial: Trial) -> None:
        """Give a trial its row and losses and its place in the list."""
        number = trial.number
        trial.row = (self._trials[number].row if number < len(self._trials)
                     else self.space.to_row(trial.params))
        if trial.state == COMPLETE or trial.value is not None:
            values = self._by_name(trial.value)
            trial.losses = tuple(values[name] * (1.0 if direction == "minimize" else -1.0)
                                 for name, direction in self.directions.items())
        self._trials[number:number + 1] = [trial]

    @property
    def trials(self) -> list[Trial]:
        """All trials in the order in which they were asked for."""
        with self._lock:
            return list(self._trials)

    @property
    def best(self) -> Trial:
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

    def top(self, k: int) -> list[Trial]:
        """Return the k best trials in the order of `best_first`: pruned after complete ones."""
        trials = self.trials
        return [trials[place] for place in best_first(trials)[:k]]


def best_first(trials: Sequence[Trial]) -> np.ndarray:
    """Return the places (R,) of the trials that have a result, the best first.

    Complete trials come before pruned ones. Those are in the order of their loss (of several
    losses: of the front that they are on, and on a front the lonely first); pruned ones in the
    order of their last step, the furthest first, and then of their loss.
    """
    complete = [i for i, trial in enumerate(trials) if trial.state == COMPLETE]
    pruned = [i for i, trial in enumerate(trials) if trial.state == PRUNED and trial.losses]
    losses = np.array([loss for i in complete for loss in trials[i].losses or ()])
    if losses.size > len(complete):  # several objectives: the only ones who need this file
        from bert_kit.tuner.pareto import pareto_order
        order = pareto_order(losses.reshape(len(complete), -1))
    else:
        order = np.argsort(losses, kind="stable")
    pruned.sort(key=lambda i: (-trials[i].steps, trials[i].losses))
    return np.array([*(complete[i] for i in order), *pruned], dtype=np.int64)
