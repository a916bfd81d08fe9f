"""The density that the tree-structured Parzen estimator draws from: a mixture over whole sets.

Each row of numbers in [0, 1] is a kernel: a product of truncated normals, of their masses in the
cells of stepped parameters, and of "this choice, or any". One more kernel is the prior, uniform.
What a row does not have (it was not active) is the prior's too, with density 1, so spaces with
conditions need nothing of their own.

Bergstra et al. 2011, section 4, with the joint mixture of Falkner et al. 2018; Watanabe 2023
compares the choices (arXiv:2304.11127).
"""

import math

import numpy as np

SMALLEST_WIDTH = 0.03  # of a kernel, as a share of the range


class Parzen:
    """A mixture of kernels around rows.

    Parameters
    ----------
    parameters : sequence of Parameter
    rows : array of float, (K, P)
        Places in the unit interval, NaN where a parameter is missing.
    weights : array of float, (K,)
        Of each row; the uniform kernel's is 1.
    """

    def __init__(self, parameters, rows, weights):
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

    def sample(self, count, rng):
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

    def log_density(self, rows):
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

    def _any_choice(self, parameter):
        """How likely a categorical kernel is to draw from all choices instead of its own."""
        return parameter.size / (len(self.rows) + parameter.size)

    def _log_masses(self, j, parameter, units):
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


def _widths(rows):
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


def _normal_cdf(x):
    """The normal distribution function, by Abramowitz & Stegun 7.1.26: within 1e-7."""
    x = x / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * np.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (
        -1.453152027 + t * 1.061405429)))) * np.exp(-x * x)
    return 0.5 * np.where(x < 0, tail, 2 - tail)
