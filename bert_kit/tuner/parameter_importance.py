"""Which parameters made the difference: PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255)."""

import math
from collections.abc import Sequence

import numpy as np

from bert_kit.checks import share
from bert_kit.tuner.ask_tell import COMPLETE, Trial, best_first
from bert_kit.tuner.space import Parameter, SearchSpace
from bert_kit.tuner.tpe import Parzen, rows_of

POINTS = 100  # at which densities are compared


def importance(space: SearchSpace, trials: Sequence[Trial], top: float = 0.1) -> dict[str, float]:
    """Return the share of each parameter in what the best trials have in common.

    For each parameter alone, the density of the best trials is compared with that of all: the
    variance of their ratio is the importance. A parameter that is the same in both has none.

    Parameters
    ----------
    trials
        Only complete ones are looked at.
    top
        Share of the trials that are the best.

    Returns
    -------
    dict
        {name: share}, the largest first; the shares add up to 1. All are 0 with fewer than two
        of the best.
    """
    share("top", top, above=True, below=True)
    complete = [trial for trial in trials if trial.state == COMPLETE]
    count = math.ceil(top * len(complete))
    best = best_first(complete)[:count]
    rows, variances = rows_of(space, complete), {}
    for place, parameter in enumerate(space.parameters):
        column = rows[:, place]
        all_rows, best_rows = (values[~np.isnan(values)] for values in (column, column[best]))
        variances[parameter.name] = 0.0
        if len(best_rows) > 1:
            variances[parameter.name] = _variance(parameter, best_rows, all_rows)
    total = sum(variances.values()) or 1.0
    return {name: variances[name] / total
            for name in sorted(variances, key=lambda name: -variances[name])}


def _variance(parameter: Parameter, best: np.ndarray, every: np.ndarray) -> float:
    """Return the variance of the ratio of two densities, under the second."""
    points = (np.arange(POINTS) + 0.5) / POINTS
    if parameter.step:
        points = np.unique(parameter.units(parameter.numbers(points)))
    best, every = (np.exp(Parzen([parameter], rows[:, None], np.ones(len(rows)))
                          .log_density(points[:, None])) for rows in (best, every))
    best, every = best / best.sum(), every / every.sum()
    return float((every * (best / every - 1) ** 2).sum())
