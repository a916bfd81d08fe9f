"""Training in pieces: a leg goes from one checkpoint to the next, and many run side by side.

Successive halving, Hyperband and population-based training are made of legs.
"""

import dataclasses
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from bert_kit.tuner.running import describe, spread
from bert_kit.tuner.space import Params


@dataclass(frozen=True)
class Leg:
    """A piece of training: go on from one checkpoint with some parameters, and leave the next.

    Parameters
    ----------
    start, stop
        Which units of the budget (epochs, as a rule) the leg covers: from `start` up to `stop`.
    state_in
        File that the leg before left; None starts from the beginning.
    state_out
        File to write, if what comes of it is to go on.
    """

    params: Params
    seed: int
    start: int
    stop: int
    state_in: str | None = None
    state_out: str | None = None
    device: str | None = None

    def replace(self, **changes: Any) -> "Leg":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


Step = Callable[[Leg], float]  # trains a leg and returns its score


def run_legs(step: Step, legs: Sequence[Leg], executor: Executor | None = None,
             devices: Sequence[str | None] = ()) -> Generator[tuple[int, float | None, str | None]]:
    """Train legs, one on a device at a time; yield (place, score, error) as each is over.

    The error is text, None where the step returned a score.

    Raises
    ------
    MachineError
        If the machine lacks something, which is no result of a leg.
    """
    left = iter(enumerate(legs))

    def take(device: str | None) -> tuple[int, Leg] | None:
        return next(((place, leg.replace(device=device)) for place, leg in left), None)

    slots = list(devices) or [None] * len(legs)
    slots = slots if executor else slots[:1]  # here: each is over before the next begins
    with closing(spread(take, partial(_run_leg, step), slots, executor)) as calls:
        for (place, _), future in calls:
            error = future.exception()
            score, text = (None, describe(error)) if error else future.result()
            yield place, score, text


def _run_leg(step: Step, task: tuple[int, Leg]) -> tuple[float | None, str | None]:
    """Run a leg, in whatever process this is; return its score, or None, and the error."""
    try:
        return float(step(task[1])), None
    except Exception as error:
        return None, describe(error)
