"""How the next set of parameters is chosen: at random, along a grid, or by what has been learned.

The tree-structured Parzen estimator (Bergstra et al. 2011, section 4) draws from a density, a
mixture over whole sets. Each row of numbers in [0, 1] is a kernel: a product of truncated normals,
of their masses in the cells of stepped parameters, and of "this choice, or any". One more kernel is
the prior, uniform. What a row does not have (it was not active) is the prior's too, with density 1,
so spaces with conditions need nothing of their own.

The mixture is joint as in Falkner et al. 2018; Watanabe 2023 compares the choices
(arXiv:2304.11127).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator

from bert_kit.checks import share, whole
from bert_kit.tuner.ask_tell import FAILED, Exhausted, Trial, best_first
from bert_kit.tuner.space import Parameter, Params, SearchSpace

SMALLEST_WIDTH = 0.03  # of a kernel, as a share of the range
LARGEST_GOOD = 25  # trials; more would be a description of the average, not of the best
RECENT = 25  # bad trials that count in full
LISTED = 100_000  # sets: a space up to this size is searched for what is left of it


class Random:
    """Draw from the prior, and nothing twice while something else can be found."""

    def sample(self, space: SearchSpace, trials: Sequence[Trial], rng: Generator) -> Params:
        """Return a set."""
        return _untried(space, rows_of(space, trials), rng)


class Grid:
    """Every set of a space once, the last parameter changing fastest."""

    def sample(self, space: SearchSpace, trials: Sequence[Trial], rng: Generator) -> Params:
        """Return the first set that no trial has; Exhausted after the last."""
        for params in _left(space, rows_of(space, trials)):
            return params
        raise Exhausted(f"the grid of {space.size()} sets is done")


class TPE:
    """The tree-structured Parzen estimator, joint over all parameters.

    One mixture describes the best trials, one all others: the worse, those that failed, and those
    that still run, so that workers do not all try the same. Of some draws from the first the one
    is returned whose density is largest against the second.

    Parameters
    ----------
    n_startup
        Trials with a result before which sets are drawn at random.
    candidates
        Draws to choose from.
    good
        Share of the trials that the first mixture describes, at most 25.
    """

    def __init__(self, n_startup: int = 10, candidates: int = 24, good: float = 0.1) -> None:
        self.n_startup = whole("n_startup", n_startup, 1)
        self.candidates = whole("candidates", candidates, 1)
        self.good = share("good", good, above=True, below=True)

    def sample(self, space: SearchSpace, trials: Sequence[Trial], rng: Generator) -> Params:
        """Return a set."""
        rows, ranked = rows_of(space, trials), best_first(trials)
        failed = np.flatnonzero([trial.state == FAILED for trial in trials])
        if not len(ranked) or len(ranked) + len(failed) < self.n_startup:
            return _untried(space, rows, rng)
        good = ranked[:min(math.ceil(self.good * len(ranked)), LARGEST_GOOD)]
        better = Parzen(space.parameters, rows[good], _rank_weights(len(good)))
        others = np.delete(rows, good, axis=0)
        worse = Parzen(space.parameters, others, _ramp(len(others)))
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


def rows_of(space: SearchSpace, trials: Sequence[Trial]) -> np.ndarray:
    """Return the rows (N, P) of trials in one array."""
    rows = np.concatenate([np.empty(0), *(trial.row for trial in trials if trial.row is not None)])
    return rows.reshape(len(trials), len(space.parameters))


def _is_tried(row: np.ndarray, rows: np.ndarray) -> bool:
    return bool(((rows == row) | (np.isnan(rows) & np.isnan(row))).all(axis=1).any())


def _untried(space: SearchSpace, rows: np.ndarray, rng: Generator) -> Params:
    """Return a set from the prior that is not among the rows, if one can be found."""
    for _ in range(100):
        params = space.from_row(rng.random(len(space.parameters)))
        if not _is_tried(space.to_row(params), rows):
            return params
    if (space.size() or math.inf) <= LISTED:
        left = [*_left(space, rows)]
        params = left[rng.integers(len(left))] if left else params
    return params


def _left(space: SearchSpace, rows: np.ndarray) -> Iterator[Params]:
    """Return an iterator over the sets of a grid that are not among the rows."""
    tried = {row.tobytes() for row in rows}
    return (each for each in space.grid() if space.to_row(each).tobytes() not in tried)


def _rank_weights(count: int) -> np.ndarray:
    """Weights (K,) of the best trials: 1 on average, less for each that is worse."""
    weights = math.log(count + 1) - np.log(np.arange(1, count + 1))
    return weights / weights.mean()


def _ramp(count: int) -> np.ndarray:
    """Weights (K,) of the others: the older, the less."""
    recent = min(count, RECENT)
    return np.concatenate([np.linspace(1 / max(count, 1), 1, count - recent), np.ones(recent)])


class Parzen:
    """A mixture of kernels around rows.

    Parameters
    ----------
    rows
        Places (K, P) in the unit interval, NaN where a parameter is missing.
    weights
        Of each row (K,); the uniform kernel's is 1.
    """

    def __init__(self, parameters: Sequence[Parameter], rows: np.ndarray,
                 weights: np.ndarray) -> None:
        self.parameters = parameters
        self.rows = np.vstack([rows, np.full(len(self.parameters), np.nan)])
        self.weights = np.append(weights, 1.0) / (np.sum(weights) + 1)
        self.known = ~np.isnan(self.rows)
        self.centres = np.where(self.known, self.rows, 0.5)
        self.widths = _widths(self.rows)
        for j, parameter in enumerate(self.parameters):
            if parameter.step and parameter.kind != "categorical":  # at least the value's cell
                start, end = parameter.cells(self.centres[:, j])
                self.widths[:, j] = np.maximum(self.widths[:, j], (end - start) / 2)
        edges = np.stack([-self.centres, 1 - self.centres]) / self.widths
        below, inside = _normal_cdf(edges)
        self.inside = inside - below

    def sample(self, count: int, rng: Generator) -> np.ndarray:
        """Draw rows (count, P), none of them NaN; `SearchSpace.settle` makes sets of them."""
        kernel = rng.choice(len(self.weights), count, p=self.weights)
        drawn = rng.random((count, len(self.parameters)))  # the prior's
        centres, widths, left = self.centres[kernel], self.widths[kernel], self.known[kernel]
        for j, parameter in enumerate(self.parameters):
            if parameter.kind == "categorical":
                keep = left[:, j] & (rng.random(count) >= self._any_choice(parameter))
                drawn[keep, j], left[:, j] = centres[keep, j], False
        while left.any():  # at least a third of a kernel lies inside
            tried = rng.normal(centres, widths)
            right = left & (tried >= 0) & (tried <= 1)
            drawn[right] = tried[right]
            left &= ~right
        return drawn

    def log_density(self, rows: np.ndarray) -> np.ndarray:
        """Return the logarithm (N,) of the density at rows (N, P) that `settle` has made.

        It is a density in the continuous parameters and a probability in the others; what is NaN
        is integrated out.
        """
        # (x - c)² / 2w² is multiplied out, so that all rows and kernels meet in one product.
        real = [j for j, parameter in enumerate(self.parameters) if not parameter.step]
        known, centre, width = (array[:, real] for array in (self.known, self.centres, self.widths))
        square = known / (2 * width**2)
        constant = -square * centre**2 - known * np.log(
            math.sqrt(2 * math.pi) * width * self.inside[:, real])
        there = ~np.isnan(rows[:, real])
        x = np.where(there, rows[:, real], 0.0)
        logs = (np.hstack([x**2, x, there])
                @ np.hstack([-square, 2 * square * centre, constant]).T)  # (N, K + 1)
        for j, parameter in enumerate(self.parameters):
            if parameter.step:
                units, which = np.unique(rows[:, j], return_inverse=True)
                logs += self._log_masses(j, parameter, units)[which]
        logs += np.log(self.weights)
        highest = logs.max(axis=1)
        return highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1))

    def _any_choice(self, parameter: Parameter) -> float:
        """How likely a categorical kernel is to draw from all choices instead of its own."""
        return len(parameter.values) / (len(self.rows) + len(parameter.values))

    def _log_masses(self, j: int, parameter: Parameter, units: np.ndarray) -> np.ndarray:
        """Return the logarithms (U, K + 1) of what the kernels give to U values."""
        start, end = (edges[:, None] for edges in parameter.cells(units))
        prior = end - start
        if parameter.kind == "categorical":
            same = (start < self.centres[:, j]) & (self.centres[:, j] < end)
            other = self._any_choice(parameter)
            mass = other * prior + (1 - other) * same
        else:
            centre, width = self.centres[:, j], self.widths[:, j]
            mass = (_normal_cdf((end - centre) / width) - _normal_cdf((start - centre) / width))
            mass = np.maximum(mass, 1e-12) / self.inside[:, j]  # cdf is not exact in the tails
        logs = np.log(np.where(self.known[:, j], mass, prior))
        return np.where(np.isnan(prior), 0.0, logs)


def _widths(rows: np.ndarray) -> np.ndarray:
    """Return kernel widths (K, P): a row's larger distance to a neighbour in each column."""
    columns = np.ascontiguousarray(rows.T)
    order = np.argsort(columns)  # NaN goes to the end
    gaps = np.diff(np.take_along_axis(columns, order, axis=1), prepend=np.nan, append=np.nan)
    widths = np.empty_like(columns)
    np.put_along_axis(widths, order, np.fmax(gaps[:, :-1], gaps[:, 1:]), axis=1)
    count = (~np.isnan(columns)).sum(axis=1, keepdims=True)
    smallest = np.maximum(SMALLEST_WIDTH, 1 / (2 + count) ** 2)
    widths[np.isnan(widths)] = 1.0  # of a row without neighbours
    return np.minimum(np.maximum(widths, smallest), 1.0).T


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    """The normal distribution function, by Abramowitz & Stegun 7.1.26: within 1e-7."""
    x = x / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * np.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (
        -1.453152027 + t * 1.061405429)))) * np.exp(-x * x)
    return 0.5 * np.where(x < 0, tail, 2 - tail)
