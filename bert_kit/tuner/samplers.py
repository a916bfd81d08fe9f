"""How the next set of parameters is chosen: at random, along a grid, or by what has been learned.

A sampler is any object with ``sample(space, trials, rng) -> params``. `trials` are all that are
known, in the order of their numbers, with `row` (P,), `state`, `losses` (numbers of which less is
better, None while running or failed) and `steps` (the last that was reported). A sampler keeps
nothing between calls: the same arguments give the same set, so a study can be replayed.
"""

import math

import numpy as np

from bert_kit.errors import ConfigError
from bert_kit.tuner.parzen import Parzen
from bert_kit.tuner.space import check_whole
from bert_kit.tuner.trial import COMPLETE, FAILED, PRUNED

LARGEST_GOOD = 25  # trials; more would be a description of the average, not of the best
RECENT = 25  # bad trials that count in full
LISTED = 100_000  # sets: a space up to this size is searched for what is left of it


class Exhausted(Exception):
    """There is nothing left to try; a study ends quietly."""


class Random:
    """Draw from the prior, and nothing twice while something else can be found."""

    def sample(self, space, trials, rng):
        """Return a set."""
        return _untried(space, _rows(space, trials), rng)


class Grid:
    """Every set of a space once, the last parameter changing fastest."""

    def sample(self, space, trials, rng):
        """Return the first set that no trial has; Exhausted after the last."""
        for params in _left(space, _rows(space, trials)):
            return params
        raise Exhausted(f"the grid of {space.size()} sets is done")


class TPE:
    """The tree-structured Parzen estimator, joint over all parameters.

    One mixture describes the best trials, one all others: the worse, those that failed, and those
    that still run, so that workers do not all try the same. Of some draws from the first the one
    is returned whose density is largest against the second.

    Parameters
    ----------
    n_startup : int
        Trials with a result before which sets are drawn at random.
    candidates : int
        Draws to choose from.
    good : float
        Share of the trials that the first mixture describes, at most 25.
    """

    def __init__(self, n_startup=10, candidates=24, good=0.1):
        check_whole(1, n_startup=n_startup, candidates=candidates)
        if not isinstance(good, int | float) or not 0 < good < 1:
            raise ConfigError(f"good is {good!r}; expected a share between 0 and 1")
        self.n_startup, self.candidates, self.good = n_startup, candidates, good

    def sample(self, space, trials, rng):
        """Return a set."""
        rows, ranked = _rows(space, trials), best_first(trials)
        failed = np.flatnonzero([trial.state == FAILED for trial in trials])
        if not len(ranked) or len(ranked) + len(failed) < self.n_startup:
            return _untried(space, rows, rng)
        good = ranked[:min(math.ceil(self.good * len(ranked)), LARGEST_GOOD)]
        bad = np.ones(len(trials), dtype=bool)
        bad[good] = False
        better = Parzen(space.parameters, rows[good], _rank_weights(len(good)))
        worse = Parzen(space.parameters, rows[bad], _ramp(bad.sum()))
        drawn = space.settle(better.sample(self.candidates, rng))
        gain = better.log_density(drawn) - worse.log_density(drawn)
        if len(failed):  # times the chance not to fail
            fails, works = (Parzen(space.parameters, rows[some], np.ones(len(some)))
                            .log_density(drawn) + math.log(len(some) + 1)
                            for some in (failed, ranked))
            gain -= np.logaddexp(0, fails - works)
        for place in np.argsort(-gain, kind="stable"):
            params = space.from_row(drawn[place])
            if not _is_tried(space.to_row(params), rows):
                return params
        return _untried(space, rows, rng)


def best_first(trials):
    """Return the places (R,) of the trials that have a result, the best first.

    Complete trials come before pruned ones. Those are in the order of their loss (of several
    losses: of the front that they are on, and on a front the lonely first); pruned ones in the
    order of their last step, the furthest first, and then of their loss.
    """
    complete = [i for i, trial in enumerate(trials) if trial.state == COMPLETE]
    pruned = [i for i, trial in enumerate(trials) if trial.state == PRUNED and trial.losses]
    losses = np.array([loss for i in complete for loss in trials[i].losses])
    if losses.size > len(complete):
        order = _pareto_order(losses.reshape(len(complete), -1))
    else:
        order = np.argsort(losses, kind="stable")
    pruned.sort(key=lambda i: (-trials[i].steps, trials[i].losses))
    return np.array([*(complete[i] for i in order), *pruned], dtype=np.int64)


def pareto_front(losses):
    """Return the places of the rows (N, M) of losses that no other row beats.

    To beat is to be better in one and no worse in all.

    Examples
    --------
    >>> pareto_front([[1, 4], [2, 2], [3, 3]]).tolist()
    [0, 1]
    """
    return np.flatnonzero(~_beats(np.asarray(losses)).any(axis=0))


def _beats(losses):
    return ((losses[:, None] <= losses).all(axis=2) & (losses[:, None] < losses).any(axis=2))


def _pareto_order(losses):
    """Sort by front and crowding distance (Deb et al. 2002, NSGA-II)."""
    order, beats = [], _beats(losses)
    beaten_by = beats.sum(axis=0)
    while len(order) < len(losses):
        front = np.flatnonzero(beaten_by == 0)
        distance = np.zeros(len(front))
        for values in losses[front].T:
            along = np.argsort(values, kind="stable")
            gaps = np.diff(values[along], prepend=-np.inf, append=np.inf)
            distance[along] += (gaps[:-1] + gaps[1:]) / max(np.ptp(values), 1e-12)
        order.extend(front[np.argsort(-distance, kind="stable")])
        beaten_by -= beats[front].sum(axis=0)
        beaten_by[front] = -1  # done
    return order


def _rows(space, trials):
    rows = np.concatenate([[], *(trial.row for trial in trials)])
    return rows.reshape(len(trials), len(space.parameters))


def _is_tried(row, rows):
    return ((rows == row) | (np.isnan(rows) & np.isnan(row))).all(axis=1).any()


def _untried(space, rows, rng):
    """Return a set from the prior that is not among the rows, if one can be found."""
    for _ in range(100):
        params = space.from_row(rng.random(len(space.parameters)))
        if not _is_tried(space.to_row(params), rows):
            return params
    size = space.size()
    if size is not None and size <= LISTED:
        left = [*_left(space, rows)]
        params = left[rng.integers(len(left))] if left else params
    return params


def _left(space, rows):
    """Return an iterator over the sets of a grid that are not among the rows."""
    tried = {row.tobytes() for row in rows}
    return (each for each in space.grid() if space.to_row(each).tobytes() not in tried)


def _rank_weights(count):
    """Weights (K,) of the best trials: 1 on average, less for each that is worse."""
    weights = math.log(count + 1) - np.log(np.arange(1, count + 1))
    return weights / weights.mean()


def _ramp(count):
    """Weights (K,) of the others: the older, the less."""
    recent = min(count, RECENT)
    return np.concatenate([np.linspace(1 / max(count, 1), 1, count - recent), np.ones(recent)])
