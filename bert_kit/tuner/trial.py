"""What everything in this room passes around: a trial of the tuner, and a leg of training."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

STATES = RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"


@dataclass
class Trial:
    """One set of parameters and what came of it. Made of plain values; it travels by pickle.

    Parameters
    ----------
    number : int
        Counts the trials of a study from 0.
    params : dict
        Only those that are active under the conditions of the space.
    seed : int
        For all that is random in the trial.
    state : str
        running, complete, pruned or failed.
    value : float or dict, optional
        What the objective returned; a dict {objective: value} where there are several.
    reports : dict
        {step: value} on the way.
    cuts : dict
        {step: limit}, fixed when the trial was asked for: a value beyond the limit ends it.
    row : array (P,), optional
        The parameters in the unit interval, one column a parameter of the space, NaN where one is
        not active.
    losses : tuple of float, optional
        The value with lower for better, one number an objective; None while the trial runs and
        when it failed.
    """

    number: int
    params: dict
    seed: int
    state: str = RUNNING
    value: Any = None
    reports: dict = field(default_factory=dict)
    cuts: dict = field(default_factory=dict)
    maximize: bool = False
    error: str | None = None
    attempt: int = 1  # how often it has begun
    failures: int = 0  # how often it raised or its process died, before this attempt
    started: float | None = None  # seconds since 1970
    finished: float | None = None
    device: str | None = None
    folder: str | None = None  # where the trial may keep files
    notes: dict = field(default_factory=dict)  # what the objective wants to be kept with it
    row: Any = field(default=None, repr=False, compare=False)
    losses: tuple | None = field(default=None, repr=False, compare=False)

    @property
    def over(self):
        """Whether nothing more comes of it: it is complete, pruned or failed."""
        return self.state != RUNNING

    @property
    def steps(self):
        """The last step with a report; 0 while the trial runs, when nobody else knows of them."""
        return max(self.reports, default=0) if self.over else 0

    def report(self, step, value):
        """Note a value on the way and return whether to stop: it lies beyond this step's cut."""
        self.reports[int(step)] = value = float(value)
        limit = self.cuts.get(int(step))
        if limit is not None and not (value >= limit if self.maximize else value <= limit):
            self.state = PRUNED
        return self.state == PRUNED


@dataclass(frozen=True)
class Leg:
    """A piece of training: go on from one checkpoint with some parameters, and leave the next.

    A step function takes a leg and returns its score. Successive halving, Hyperband and
    population-based training are made of legs.

    Parameters
    ----------
    params : dict
    seed : int
    start, stop : int
        Which units of the budget (epochs, as a rule) the leg covers: from `start` up to `stop`.
    state_in : str, optional
        File that the leg before left; None starts from the beginning.
    state_out : str, optional
        File to write, if what comes of it is to go on.
    """

    params: dict
    seed: int
    start: int
    stop: int
    state_in: str | None = None
    state_out: str | None = None
    device: str | None = None

    def replace(self, **changes):
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)
