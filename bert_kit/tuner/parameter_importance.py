"""Which parameters made the difference: PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255)."""

import math
from collections.abc import Sequence

import numpy as np

from bert_kit.checks import share
from bert_kit.tuner.ask_tell import COMPLETE, Trial, best_first
from bert_kit.tuner.space import Parameter, SearchSpace
from bert_kit.tuner.tpe import Parzen, rows_of

POINTS = 100  # at which densities are compared
# Of complete trials. With fewer, two or one of them are the best tenth, and what they have in
# common is mostly chance: see the simulation in tests/tuner/test_importance.py.
NEEDED = 21


def importance(space: SearchSpace, trials: Sequence[Trial], top: float = 0.1) -> dict[str, float]:
    """Return the share of each parameter in what the best trials have in common.

    For each parameter alone, the density of the best trials is compared with that of all: the
    variance of their ratio is the importance. A parameter that is the same in both has none.
    It is meant for random draws: a sampler that draws near the best trials, as TPE does, makes all
    trials like them, and then the order was no better than chance in up to 61 trials.

    Parameters
    ----------
    trials
        Only complete ones are looked at.
    top
        Share of the trials that are the best.

    Returns
    -------
    dict
        {name: share}, the largest first; the shares add up to 1. Empty where nothing can be
        said; `why_unknown` has the reason.
    """
    share("top", top, above=True, below=True)
    if why_unknown(trials):
        return {}
    complete = [trial for trial in trials if trial.state == COMPLETE]
    ranked, count = best_first(complete), math.ceil(top * len(complete))
    losses = [complete[place].losses for place in ranked]
    while losses[count:] and losses[count] == losses[count - 1]:
        count += 1  # what is as good as the last of the best is one of them
    best = ranked[:count]
    rows, variances = rows_of(space, complete), {}
    for place, parameter in enumerate(space.parameters):
        column = rows[:, place]
        all_rows, best_rows = (values[~np.isnan(values)] for values in (column, column[best]))
        variances[parameter.name] = 0.0
        if len(best_rows) > 1:
            variances[parameter.name] = _variance(parameter, best_rows, all_rows)
    total = sum(variances.values())
    return {name: variances[name] / total
            for name in sorted(variances, key=lambda name: -variances[name]) if total}


def why_unknown(trials: Sequence[Trial]) -> str:
    """Return why trials do not say what is important, as a line for people; empty if they do.

    Examples
    --------
    >>> why_unknown([])
    'too few trials to say (0 of 21 needed)'
    """
    values = [trial.losses for trial in trials if trial.state == COMPLETE]
    if len(values) < NEEDED:
        return f"too few trials to say ({len(values)} of {NEEDED} needed)"
    if len({*values}) == 1:
        return f"nothing to say: all {len(values)} finished trials have the same value"
    return ""


def _variance(parameter: Parameter, best: np.ndarray, every: np.ndarray) -> float:
    """Return the variance of the ratio of two densities, under the second."""
    points = (np.arange(POINTS) + 0.5) / POINTS
    if parameter.step:
        points = np.unique(parameter.units(parameter.numbers(points)))
    best, every = (np.exp(Parzen([parameter], rows[:, None], np.ones(len(rows)))
                          .log_density(points[:, None])) for rows in (best, every))
    best, every = best / best.sum(), every / every.sum()
    return float((every * (best / every - 1) ** 2).sum())
