"""Population-based training: several runs side by side, of which the worst go on from the best.

After every generation the worst members give up their own training for that of one of the best,
weights, optimizer and all, with parameters a little larger or smaller (Jaderberg et al. 2017,
"Population Based Training of Neural Networks"). So a parameter becomes a schedule.

A generation begins when the one before is complete, and its draws depend on the scores of that
one and on (seed, generation, slot): runs are equal on any executor, and so is one that was killed
and went on. A copy is only a pointer: the member reads the file that another one left.
"""

import math
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bert_kit.errors import BertKitError, ConfigError, TuningError
from bert_kit.files import check_kinds, held, read_json, write_json
from bert_kit.tuner.running import announce, run_legs
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.trial import Leg


@dataclass(frozen=True)
class Member:
    """What one slot did in one generation.

    `parent` is the slot of the generation before from whose end it went on; `score` is None where
    it failed, and `error` says why. The file `checkpoint` is there as long as it is needed.
    """

    generation: int
    slot: int
    parent: int | None
    params: dict
    seed: int
    checkpoint: str
    score: float | None = None
    error: str | None = None


MEMBER = {"generation": int, "slot": int, "parent": int | None, "params": dict, "seed": int,
          "checkpoint": str, "score": float | int | None, "error": str | None}


@dataclass(frozen=True)
class Population:
    """What has become of a population: `lineage` holds a Member a generation and slot."""

    space: SearchSpace
    maximize: bool
    lineage: tuple = ()

    @classmethod
    def load(cls, path):
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
            return cls(SearchSpace.from_dict(stored["settings"]["space"]),
                       stored["settings"]["direction"] == "maximize", lineage)
        except BertKitError as error:
            raise TuningError(f"{file}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise TuningError(f"{file}: damaged ({error}); expected what a population "
                              "left") from None

    @property
    def best(self):
        """The Member with the best score of all generations; of equals the first."""
        scored = [member for member in self.lineage if member.score is not None]
        return (max if self.maximize else min)(scored, key=lambda member: member.score,
                                               default=None)

    @property
    def diversity(self):
        """How far apart the members of each generation are, a list.

        The standard deviation of their places in the unit interval, averaged over the parameters:
        .29 for many uniform draws, 0 if all are the same.
        """
        rows = {}
        for member in self.lineage:
            rows.setdefault(member.generation, []).append(self.space.to_row(member.params))
        return [float(np.nan_to_num(group, nan=0.5).std(axis=0).mean()) for group in rows.values()]

    def ancestors(self, member):
        """Return the Members whose training led to a member, itself the last."""
        found, line = {(row.generation, row.slot): row for row in self.lineage}, []
        while member is not None:
            line.insert(0, member)
            member = found.get((member.generation - 1, member.parent))
        return line

    def schedule(self, member):
        """Return [(generation, params, seed), ...] of all that led to a member, itself the last."""
        return [(row.generation, row.params, row.seed) for row in self.ancestors(member)]


@dataclass(frozen=True)
class PBT:
    """Population-based training.

    Parameters
    ----------
    space : SearchSpace
        The first generation is spread over it. A change multiplies each number by one of the
        factors and moves each ordered value to a neighbour, within the range; a category stays
        what it is, and is passed on with the weights.
    population : int
    quantile : float
        The share at the bottom that changes, and that at the top that is copied.
    exploit : float
        How likely a member at the bottom copies one at the top and changes the copy; else it
        changes its own parameters. 1 is the paper's way. A member that failed always copies.
    factors : sequence of float
    direction : str
        "maximize" or "minimize" the score.
    seed : int

    Examples
    --------
    ::

        space = SearchSpace().log_uniform("lr", 1e-5, 1e-2).continuous("dropout_rate", 0, 0.5)
        population = PBT(space).run(step, generations=10, path="runs/pbt")
        print(population.best, population.schedule(population.best))
    """

    space: SearchSpace
    population: int = 4
    quantile: float = 0.2
    exploit: float = 0.5
    factors: tuple = (0.8, 1.2)
    direction: str = "maximize"
    seed: int = 0

    def __post_init__(self):
        for name, fits, expected in (
                ("population", self.population in range(2, 10**6), "a whole number from 2"),
                ("quantile", 0 < self.quantile <= 0.5, "a share above 0, at most .5"),
                ("exploit", 0 <= self.exploit <= 1, "a share from 0 to 1"),
                ("factors", self.factors and min(self.factors) > 0, "numbers above 0"),
                ("direction", self.direction in ("maximize", "minimize"), "maximize or minimize"),
                ("seed", self.seed in range(2**64), "a whole number from 0")):
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    def run(self, step, generations=10, path="runs/pbt", every=1, executor=None, devices=(),
            resume=False, callbacks=()):
        """Train so many generations, those of an earlier run included; return the Population.

        Parameters
        ----------
        step : callable
            `step(leg)` goes on from `leg.state_in`, writes `leg.state_out` and returns the score;
            with an executor it must be picklable. A member whose step raises has failed.
        path : path
            Folder for the lineage (population.json, replaced after each generation) and the
            states of the members: 2 * population + 1 files at most, and between generations those
            of the last one and of the best member.
        every : int
            Units of a leg's budget, epochs as a rule, in a generation.
        executor : concurrent.futures.Executor, optional
        devices : sequence of str
            At most so many members train at a time, each on one of these.
        resume : bool
            Go on with the population in the folder, if there is one.
        callbacks : sequence
            Objects with `on_generation(population)`.

        Raises
        ------
        TuningError
            If the folder cannot be used, or all members of a generation fail.
        """
        states = Path(path, "states")
        settings = {**vars(self), "space": self.space.to_dict(), "factors": list(self.factors),
                    "every": every}
        states.mkdir(parents=True, exist_ok=True)
        with held(states):
            return self._run(step, generations, Path(path), settings, executor, devices, resume,
                             callbacks)

    def _run(self, step, generations, path, settings, executor, devices, resume, callbacks):
        file, states, every = path / "population.json", path / "states", settings["every"]
        population = Population(self.space, self.direction == "maximize")
        if file.exists():
            _check(file, settings, resume)
            population = Population.load(path)
        for generation in range(len(population.lineage) // self.population, generations):
            last = population.lineage[-self.population:]
            _keep_only([*last, population.best], states)
            members = self._members(last, generation, states)
            legs = [Leg(member.params, member.seed, generation * every, (generation + 1) * every,
                        last[member.parent].checkpoint if last else None, member.checkpoint)
                    for member in members]
            members = _trained(step, members, legs, executor, devices)
            population = replace(population, lineage=(*population.lineage, *members))
            write_json(file, {"settings": settings, "lineage": [
                {**vars(row), "checkpoint": os.path.relpath(row.checkpoint, path)}
                for row in population.lineage]})
            _keep_only([*members, population.best], states)
            announce(callbacks, "on_generation", population)
        return population

    def replay(self, step, schedule, path, every=1):
        """Train a schedule as one run into the state file `path` and return its last score.

        `step` and `every` are those of the run that the schedule comes from.
        """
        if not schedule:
            raise ConfigError("the schedule is empty; expected that of a member")
        for place, (generation, params, seed) in enumerate(schedule):
            score = step(Leg(params, seed, generation * every, (generation + 1) * every,
                             str(path) if place else None, str(path)))
        return score

    def _members(self, last, generation, states):
        """Return the members of a generation, not yet trained; `last` are those before."""
        many = min(math.ceil(round(self.quantile * self.population, 9)), self.population // 2)
        sign = 1 if self.direction == "maximize" else -1
        ranked = [slot for _, slot in sorted((sign * member.score, member.slot)
                                             for member in last if member.score is not None)]
        failed = {member.slot for member in last if member.score is None}
        top, bottom = ranked[-many:], failed.union(ranked[:max(0, many - len(failed))])
        members = []
        for slot in range(self.population):
            ours, its = np.random.SeedSequence((self.seed, generation, slot)).spawn(2)
            rng, parent = np.random.default_rng(ours), slot
            if not last:
                parent, params = None, self.space.from_row(self._first_rows()[slot])
            elif slot in bottom:
                if slot in failed or rng.random() < self.exploit:
                    parent = int(rng.choice(top))
                params = self._changed(last[parent].params, rng)
            else:
                params = last[slot].params
            members.append(Member(generation, slot, parent, params, int(its.generate_state(1)[0]),
                                  str(states / f"generation-{generation}-slot-{slot}")))
        return members

    def _first_rows(self):
        """Return rows (population, P): of every parameter, one in each part of its range.

        Few uniform draws may leave out what no later change reaches in time; a Latin hypercube
        (McKay et al. 1979) does not.
        """
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 0, self.population)))
        return np.stack([(rng.permutation(self.population) + rng.random(self.population))
                         / self.population for _ in self.space.parameters], axis=1)

    def _changed(self, old, rng):
        params = {}
        for parameter in self.space.parameters:
            factor, name = float(rng.choice(self.factors)), parameter.name
            if parameter.is_active(params):  # one that was not active before begins anywhere
                params[name] = (perturb(parameter, old[name], factor) if name in old
                                else parameter.from_unit(rng.random()))
        return params


def perturb(parameter, value, factor):
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
        return parameter.from_unit(parameter.to_unit(value) + direction / parameter.size)
    if parameter.step:
        steps = round(value * (factor - 1) / parameter.step) or direction
        return min(max(value + steps * parameter.step, parameter.low), parameter.high)
    return float(min(max(value * factor, parameter.low), parameter.high))


def _check(file, settings, resume):
    """Check that the population in a file may go on with these settings."""
    if not resume:
        raise TuningError(f"{file.parent}: already holds a population; pass resume=True to go on "
                          "with it, or choose another folder")
    before = read_json(file).get("settings")
    if not isinstance(before, dict):
        raise TuningError(f"{file}: holds no settings; expected what a population left")
    for name, now in settings.items():
        if before.get(name) != now:
            raise TuningError(f"{file.parent}: {name} was {before.get(name)} and is now {now}; "
                              "a population goes on with the settings that it began with")


def _trained(step, members, legs, executor, devices):
    """Train the legs and return the members with their scores."""
    members = list(members)
    with closing(run_legs(step, legs, executor, devices)) as results:
        for place, score, error in results:
            if not error and not math.isfinite(score):
                error = f"score {score}"
            elif not error and not os.path.isfile(legs[place].state_out):
                error = "leaving no leg.state_out"
            members[place] = (replace(members[place], error=error.splitlines()[0]) if error
                              else replace(members[place], score=score))
    if all(member.score is None for member in members):
        raise TuningError(f"all members of generation {members[0].generation} failed, the first "
                          f"by {members[0].error}")
    return members


def _keep_only(members, states):
    """Remove the files that none of the members left."""
    for file in states.iterdir():
        if str(file) not in {member.checkpoint for member in members if member}:
            file.unlink()
