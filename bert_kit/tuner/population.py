"""A population at work: trained generation by generation, in a folder, and gone on with.

What is decided stands in pbt.py. The folder holds population.json, which is replaced after each
generation, and the states of the members.
"""

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.checks import whole
from bert_kit.errors import ConfigError, TuningError
from bert_kit.files import check_kinds, held, read_json, write_json
from bert_kit.tuner.legs import Leg, Step, run_legs
from bert_kit.tuner.pbt import ExploitExplore, Member
from bert_kit.tuner.running import announce
from bert_kit.tuner.space import Params, SearchSpace

MEMBER = {"generation": int, "slot": int, "parent": int | None, "params": dict, "seed": int,
          "checkpoint": str, "score": float | int | None, "error": str | None}


@dataclass(frozen=True)
class Population:
    """What has become of a population: `lineage` holds a Member a generation and slot."""

    space: SearchSpace
    maximize: bool
    lineage: tuple[Member, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> "Population":
        """Return what `PBT.run` left in a folder, as far as it has come.

        Raises
        ------
        BertKitError
            If there is nothing, or it is damaged.
        """
        file = Path(path, "population.json")
        stored = read_json(file)
        try:
            for row in stored["lineage"]:
                check_kinds(row, MEMBER, "a member")
            lineage = tuple(Member(**{**row, "checkpoint": str(Path(path, row["checkpoint"]))})
                            for row in stored["lineage"])
            _check_lineage(lineage, stored["settings"]["population"], Path(path, "states"))
            return cls(SearchSpace.from_dict(stored["settings"]["space"]),
                       stored["settings"]["direction"] == "maximize", lineage)
        except (KeyError, TypeError, ValueError) as error:  # a BertKitError is a ValueError
            raise TuningError(f"{file}: damaged ({error}); expected what a population "
                              "left") from None

    @property
    def best(self) -> Member | None:
        """The Member with the best score of all generations; of equals the first."""
        scored = [(member.score, member) for member in self.lineage if member.score is not None]
        pick = max if self.maximize else min
        return pick(scored, key=lambda pair: pair[0], default=(None, None))[1]

    @property
    def diversity(self) -> list[float]:
        """How far apart the members of each generation are.

        The standard deviation of their places in the unit interval, averaged over the parameters:
        .29 for many uniform draws, 0 if all are the same.
        """
        rows = {}
        for member in self.lineage:
            rows.setdefault(member.generation, []).append(self.space.to_row(member.params))
        return [float(np.nan_to_num(group, nan=0.5).std(axis=0).mean()) for group in rows.values()]

    def ancestors(self, member: Member | None) -> list[Member]:
        """Return the Members whose training led to a member, itself the last."""
        line: list[Member] = []
        found: dict[tuple[int, int | None], Member] = {
            (row.generation, row.slot): row for row in self.lineage}
        while member is not None:
            line.insert(0, member)
            member = found.get((member.generation - 1, member.parent))
        return line

    def schedule(self, member: Member | None) -> list[tuple[int, Params, int]]:
        """Return [(generation, params, seed), ...] of all that led to a member, itself the last."""
        return [(row.generation, row.params, row.seed) for row in self.ancestors(member)]


def _check_lineage(lineage: Sequence[Member], size: int, states: Path) -> None:
    """Check that members stand in their order and name states that a population writes."""
    if len(lineage) % whole("population", size, 1):
        raise TuningError(f"{len(lineage)} members in generations of {size}")
    for number, member in enumerate(lineage):
        generation, slot = divmod(number, size)
        parents = range(size) if generation else ()
        if (member.generation, member.slot) != (generation, slot) or (
                member.parent is not None and member.parent not in parents):
            raise TuningError(f"member {number} is slot {member.slot} of generation "
                              f"{member.generation}, from slot {member.parent}")
        if member.score is not None and not math.isfinite(member.score):
            raise TuningError(f"member {number} has the score {member.score}")
        if Path(member.checkpoint).parent != states:
            raise TuningError(f"member {number} has its state in {member.checkpoint}")


class PBT(ExploitExplore):
    """Population-based training: `ExploitExplore` says what its settings are.

    Examples
    --------
    ::

        space = SearchSpace().log_uniform("lr", 1e-5, 1e-2).continuous("dropout_rate", 0, 0.5)
        population = PBT(space).run(step, generations=10, path="runs/pbt")
        print(population.best, population.schedule(population.best))
    """

    def run(self, step: Step, generations: int = 10, path: str | Path = "runs/pbt", every: int = 1,
            executor: Executor | None = None, devices: Sequence[str | None] = (),
            resume: bool = False, callbacks: Sequence[object] = ()) -> Population:
        """Train so many generations, those of an earlier run included; return the Population.

        Parameters
        ----------
        step
            `step(leg)` goes on from `leg.state_in`, writes `leg.state_out` and returns the score;
            with an executor it must be picklable. A member whose step raises has failed.
        path
            Folder for the lineage (population.json, replaced after each generation) and the
            states of the members: 2 * population + 1 files at most, and between generations those
            of the last one and of the best member.
        every
            Units of a leg's budget, epochs as a rule, in a generation.
        devices
            At most so many members train at a time, each on one of these.
        resume
            Go on with the population in the folder, if there is one.
        callbacks
            Objects with `on_generation(population)`.

        Raises
        ------
        TuningError
            If the folder cannot be used, or all members of a generation fail.
        """
        path, states = Path(path), Path(path, "states")
        settings = {**vars(self), "space": self.space.to_dict(), "factors": list(self.factors),
                    "every": every}
        states.mkdir(parents=True, exist_ok=True)
        with held(states):
            population = self._begin(path / "population.json", settings, resume)
            for _ in range(len(population.lineage) // self.population, generations):
                population = self._generation(population, step, states, every, executor, devices)
                write_json(path / "population.json", {"settings": settings, "lineage": [
                    {**vars(row), "checkpoint": os.path.relpath(row.checkpoint, path)}
                    for row in population.lineage]})
                _keep_only([*population.lineage[-self.population:], population.best], states)
                announce(callbacks, "on_generation", population)
        return population

    def _begin(self, file: Path, settings: dict[str, Any], resume: bool) -> Population:
        """Return a new population, or that in a file, if it may go on with these settings."""
        if not file.exists():
            return Population(self.space, self.direction == "maximize")
        if not resume:
            raise TuningError(f"{file.parent}: already holds a population; pass resume=True to go "
                              "on with it, or choose another folder")
        before = read_json(file).get("settings")
        if not isinstance(before, dict):
            raise TuningError(f"{file}: holds no settings; expected what a population left")
        for name, now in settings.items():
            if before.get(name) != now:
                raise TuningError(f"{file.parent}: {name} was {before.get(name)} and is now {now};"
                                  " a population goes on with the settings that it began with")
        return Population.load(file.parent)

    def _generation(self, population: Population, step: Step, states: Path, every: int,
                    executor: Executor | None, devices: Sequence[str | None]) -> Population:
        """Train one generation more and return the population with it."""
        last = population.lineage[-self.population:]
        _keep_only([*last, population.best], states)
        members = self.ask(last, states)
        legs = [Leg(each.params, each.seed, each.generation * every, (each.generation + 1) * every,
                    None if each.parent is None else last[each.parent].checkpoint, each.checkpoint)
                for each in members]
        scores: list[float | None] = [None] * len(members)
        with closing(run_legs(step, legs, executor, devices)) as results:
            for place, score, error in results:
                scores[place] = score
                if score is not None and math.isfinite(score) and not os.path.isfile(
                        members[place].checkpoint):
                    error = "leaving no leg.state_out"
                if error:
                    members[place] = replace(members[place], error=error.splitlines()[0])
        return replace(population, lineage=(*population.lineage, *self.tell(members, scores)))

    def replay(self, step: Step, schedule: Sequence[tuple[int, Params, int]], path: str | Path,
               every: int = 1) -> float:
        """Train a schedule as one run into the state file `path` and return its last score.

        `step` and `every` are those of the run that the schedule comes from.
        """
        if not schedule:
            raise ConfigError("the schedule is empty; expected that of a member")
        scores = [step(Leg(params, seed, generation * every, (generation + 1) * every,
                           str(path) if place else None, str(path)))
                  for place, (generation, params, seed) in enumerate(schedule)]
        return scores[-1]


def _keep_only(members: Iterable[Member | None], states: Path) -> None:
    """Remove the files that none of the members left."""
    needed = {member.checkpoint for member in members if member}
    for file in states.iterdir():
        if str(file) not in needed:
            file.unlink()
