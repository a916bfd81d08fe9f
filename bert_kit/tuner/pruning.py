"""Spending less on what does not look good: cuts for single trials, and plans for many.

A cut is a limit at a step, fixed when the trial is asked for: a worker needs nobody to decide, and
a search can be replayed. A plan says how many configurations are trained how long, and how many of
them go on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bert_kit.checks import share, whole
from bert_kit.tuner.ask_tell import COMPLETE, Trial

Rungs = tuple[tuple[int, int], ...]  # (configurations, epochs that each has had by then)


class Pruner(Protocol):
    """Says which trials end early, by limits that are fixed when a trial is asked for."""

    def cuts(self, trials: Sequence[Trial], maximize: bool) -> dict[int, float]:
        """Return {step: limit}."""
        ...


@dataclass(frozen=True)
class Percentile:
    """Stop a trial that is not among the best share of the complete ones at the same step.

    Parameters
    ----------
    share
        0.25 lets a quarter go on, were they all alike.
    warmup
        Steps up to this one have no limit; nor has the last.
    startup
        Complete trials that must be there before any limit.
    """

    share: float
    warmup: int = 0
    startup: int = 5

    def __post_init__(self) -> None:
        share("share", self.share, above=True, below=True)

    def cuts(self, trials: Sequence[Trial], maximize: bool) -> dict[int, float]:
        """Return {step: limit}."""
        at: dict[int, list[float]] = {}
        for trial in trials:
            for step, value in trial.reports.items():
                if trial.state == COMPLETE and math.isfinite(value):
                    at.setdefault(step, []).append(value)
        place = 1 - self.share if maximize else self.share
        return {step: float(np.quantile(at[step], place)) for step in sorted(at)[:-1]
                if step > self.warmup and len(at[step]) >= self.startup}


@dataclass(frozen=True)
class Median(Percentile):
    """Stop a trial that is worse than the median of the complete ones at the same step."""

    share: float = 0.5


@dataclass(frozen=True)
class Threshold:
    """Stop a trial whose value at a step is worse than the limit for it.

    Parameters
    ----------
    limits
        {step: limit}; ``dict.fromkeys(range(3, 100), 0.2)`` has the same for many.
    """

    limits: Mapping[int, float]

    def cuts(self, trials: Sequence[Trial], maximize: bool) -> dict[int, float]:
        """Return {step: limit}."""
        return dict(self.limits)


class Plan:
    """How many configurations are trained how long: brackets of rungs, one after another."""

    min_budget: int
    max_budget: int
    eta: int

    @property
    def brackets(self) -> tuple[Rungs, ...]:
        """The rungs of each bracket, (configurations, epochs that each has had by then)."""
        raise NotImplementedError

    @property
    def epochs(self) -> int:
        """All that the plan trains, unless something fails."""
        return sum(count * (budget - before) for rungs in self.brackets for (count, budget),
                   (_, before) in zip(rungs, ((0, 0), *rungs[:-1]), strict=True))

    @property
    def configurations(self) -> int:
        """How many the plan begins with."""
        return sum(rungs[0][0] for rungs in self.brackets)

    def __str__(self) -> str:
        full = self.configurations * self.max_budget
        lines = [f"{self.configurations} configurations in {self.epochs} epochs "
                 f"({full} without stopping any)"]
        for rungs in self.brackets:
            lines.append("  " + ", ".join(f"{count} up to {budget}" for count, budget in rungs))
        return "\n".join(lines)

    def __post_init__(self) -> None:
        whole("n", getattr(self, "n", 1), 1)
        whole("min_budget", self.min_budget, 1)
        whole("max_budget", self.max_budget, self.min_budget)
        whole("eta", self.eta, 2)


@dataclass(frozen=True)
class SuccessiveHalving(Plan):
    """Train n configurations a little, the best `eta`-th of them `eta` times as long, and so on.

    The first are trained for at least `min_budget` epochs, the last for `max_budget`
    (Jamieson & Talwalkar 2016).

    Examples
    --------
    >>> print(SuccessiveHalving(9, 1, 9))
    9 configurations in 21 epochs (81 without stopping any)
      9 up to 1, 3 up to 3, 1 up to 9
    """

    n: int
    min_budget: int
    max_budget: int
    eta: int = 3

    @property
    def brackets(self) -> tuple[Rungs, ...]:
        """The rungs, (configurations, epochs that each has had by then), as the only bracket."""
        last = _times(self.min_budget, self.max_budget, self.eta)
        return (tuple((max(1, self.n // self.eta ** rung), self.max_budget // self.eta ** (
            last - rung)) for rung in range(last + 1)),)


@dataclass(frozen=True)
class Hyperband(Plan):
    """Halvings that begin with many configurations and few epochs, down to few and all epochs.

    Nobody knows beforehand how many epochs are enough to judge (Li et al. 2018, algorithm 1).
    """

    max_budget: int
    eta: int = 3
    min_budget: int = 1

    @property
    def brackets(self) -> tuple[Rungs, ...]:
        """Tuples of rungs (configurations, epochs that each has had by then)."""
        most = _times(self.min_budget, self.max_budget, self.eta)
        return tuple(SuccessiveHalving(
            math.ceil((most + 1) * self.eta ** times / (times + 1)),
            self.max_budget // self.eta ** times, self.max_budget, self.eta).brackets[0]
            for times in range(most, -1, -1))


def _times(low: int, high: int, factor: int) -> int:
    """Return how often `low` can be multiplied without passing `high`; logarithms round."""
    times = 0
    while low * factor ** (times + 1) <= high:
        times += 1
    return times
