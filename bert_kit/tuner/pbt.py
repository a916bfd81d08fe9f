"""Population-based training: several runs side by side, of which the worst go on from the best.

After every generation the worst members give up their own training for that of one of the best,
weights, optimizer and all, with parameters a little larger or smaller (Jaderberg et al. 2017,
"Population Based Training of Neural Networks"). So a parameter becomes a schedule.

`ExploitExplore` decides this, and neither trains nor writes a file. A generation begins when the
one before is complete, and its draws depend on the scores of that one and on (seed, generation,
slot): runs are equal on any executor, and so is one that was killed and went on. A copy is only a
pointer: the member goes on from the state that another one left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.checks import is_number, number, one_of, share, whole
from bert_kit.errors import ConfigError, TuningError
from bert_kit.tuner.space import Parameter, Params, SearchSpace


@dataclass(frozen=True)
class Member:
    """What one slot did in one generation.

    `parent` is the slot of the generation before from whose end it went on; `score` is None where
    it failed, and `error` says why. `checkpoint` names the state that it leaves, which is there as
    long as it is needed.
    """

    generation: int
    slot: int
    parent: int | None
    params: Params
    seed: int
    checkpoint: str
    score: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class ExploitExplore:
    """The decisions of population-based training: who copies whom, and what changes.

    Parameters
    ----------
    space
        The first generation is spread over it. A change multiplies each number by one of the
        factors and moves each ordered value to a neighbour, within the range; a category stays
        what it is, and is passed on with the weights.
    quantile
        The share at the bottom that changes, and that at the top that is copied.
    exploit
        How likely a member at the bottom copies one at the top and changes the copy; else it
        changes its own parameters. 1 is the paper's way. A member that failed always copies.
    direction
        "maximize" or "minimize" the score.

    Examples
    --------
    >>> pbt = ExploitExplore(SearchSpace().log_uniform("lr", 1e-3, 1.0))
    >>> members = []
    >>> for _ in range(3):
    ...     members = pbt.ask(members)
    ...     members = pbt.tell(members, [-abs(member.params["lr"] - 0.1) for member in members])
    >>> [member.generation for member in members]
    [2, 2, 2, 2]
    """

    space: SearchSpace
    population: int = 4
    quantile: float = 0.2
    exploit: float = 0.5
    factors: Sequence[float] = (0.8, 1.2)
    direction: str = "maximize"
    seed: int = 0

    def __post_init__(self) -> None:
        whole("population", self.population, 2)
        number("quantile", self.quantile, 0, 0.5, above=True)
        share("exploit", self.exploit)
        if not self.factors or not all(is_number(factor) and factor > 0 for factor in self.factors):
            raise ConfigError(f"factors is {self.factors!r}; expected numbers above 0")
        one_of("direction", self.direction, ("maximize", "minimize"))
        whole("seed", self.seed, 0)

    def ask(self, last: Sequence[Member] = (), folder: str | Path = "") -> list[Member]:
        """Return the next generation, not yet trained.

        Parameters
        ----------
        last
            The generation before, with scores; without one, the first begins. A member goes on
            from the state of ``last[member.parent]``.
        folder
            Where checkpoints are.
        """
        generation = last[0].generation + 1 if last else 0
        many = min(math.ceil(round(self.quantile * self.population, 9)), self.population // 2)
        sign = 1 if self.direction == "maximize" else -1
        ranked = [slot for _, slot in sorted((sign * member.score, member.slot)
                                             for member in last if member.score is not None)]
        failed = {member.slot for member in last if member.score is None}
        top, bottom = ranked[-many:], failed.union(ranked[:max(0, many - len(failed))])
        rows, members = self._first_rows(), []
        for slot in range(self.population):
            ours, its = np.random.SeedSequence((self.seed, generation, slot)).spawn(2)
            rng, parent = np.random.default_rng(ours), slot if last else None
            if slot in failed or slot in bottom and rng.random() < self.exploit:
                parent = int(rng.choice(top))
            params = self.space.from_row(rows[slot]) if parent is None else last[parent].params
            if slot in bottom and parent is not None:
                params = self._changed(params, rng)
            members.append(Member(generation, slot, parent, params, int(its.generate_state(1)[0]),
                                  str(Path(folder, f"generation-{generation}-slot-{slot}"))))
        return members

    def tell(self, members: Sequence[Member], scores: Sequence[float | None]) -> list[Member]:
        """Return a generation with its scores; who has an error or no finite score has failed.

        Raises
        ------
        TuningError
            If all have.
        """
        told = []
        for member, score in zip(members, scores, strict=True):
            if not member.error and score is not None and math.isfinite(score):
                told.append(replace(member, score=float(score)))
            else:
                told.append(replace(member, error=member.error or f"score {score}"))
        if all(member.score is None for member in told):
            raise TuningError(f"all members of generation {told[0].generation} failed, the first "
                              f"by {told[0].error}")
        return told

    def _first_rows(self) -> np.ndarray:
        """Return rows (population, P): of every parameter, one in each part of its range.

        Few uniform draws may leave out what no later change reaches in time; a Latin hypercube
        (McKay et al. 1979) does not.
        """
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 0, self.population)))
        return np.stack([(rng.permutation(self.population) + rng.random(self.population))
                         / self.population for _ in self.space.parameters], axis=1)

    def _changed(self, old: Params, rng: np.random.Generator) -> Params:
        params = {}
        for parameter in self.space.parameters:
            factor, name = float(rng.choice(self.factors)), parameter.name
            if parameter.is_active(params):  # one that was not active before begins anywhere
                params[name] = (perturb(parameter, old[name], factor) if name in old
                                else parameter.from_unit(rng.random()))
        return params


def perturb(parameter: Parameter, value: Any, factor: float) -> Any:
    """Return a value that is a factor further: if it has steps, at least one of them.

    Examples
    --------
    >>> space = SearchSpace().log_uniform("lr", 1e-5, 1e-3).discrete("rows", 8, 64, 8)
    >>> [perturb(space.parameters[0], 9e-4, 1.2), perturb(space.parameters[1], 16, 0.8)]
    [0.001, 8]
    """
    direction = (factor > 1) - (factor < 1)
    if parameter.kind == "categorical":
        return value
    if parameter.kind == "ordered":
        return parameter.from_unit(parameter.to_unit(value) + direction / len(parameter.values))
    if parameter.step:
        steps = round(value * (factor - 1) / parameter.step) or direction
        return min(max(value + steps * parameter.step, parameter.low), parameter.high)
    return float(min(max(value * factor, parameter.low), parameter.high))
