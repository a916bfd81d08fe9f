"""A picture of learning curves with bands: the mean of several runs, and how far they spread."""

import math

import numpy as np

from bert_kit.errors import DataError
from bert_kit.figures import BLUE, GREEN, GREY, ORANGE, plain_axes, saved_figure

# Okabe & Ito 2008, and a brown; with a mark each, so that no two look alike.
_LINES = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B", GREY)
_MARKS = "osD^vP*Xh"


def plot_bands(curves, path, score, x_label="labels", goal=None):
    """Draw a line for each method with a band of one standard deviation to both sides.

    Parameters
    ----------
    curves : dict
        {name: (x (N,), mean (N,), standard deviation (N,))}; a deviation that is NaN has no band.
    path : path
    score : str
        What the curves show.
    x_label : str
    goal : (str, float, float), optional
        Name, mean and standard deviation of what is drawn as a dashed line over the whole width.

    Raises
    ------
    DataError
        If there is no curve.
    """
    if not curves:
        raise DataError("no curves to draw; expected at least one")
    with saved_figure(path, 7.2, 4.6) as figure:
        axes = figure.add_subplot()
        for number, (name, (x, mean, spread)) in enumerate(curves.items()):
            x, mean, spread = (np.asarray(values, dtype=float) for values in (x, mean, spread))
            color, mark = _LINES[number % len(_LINES)], _MARKS[number % len(_MARKS)]
            axes.plot(x, mean, label=name, color=color, marker=mark, markersize=4, linewidth=1.6)
            if not np.isnan(spread).any():
                axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.15,
                                  linewidth=0)
        if goal is not None:
            name, mean, spread = goal
            axes.axhline(mean, label=name, color="#333333", linestyle="--", linewidth=1.2)
            if not math.isnan(spread):
                axes.axhspan(mean - spread, mean + spread, color="#333333", alpha=0.08, linewidth=0)
        axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain_axes(axes, "", x_label, score)
        axes.legend(frameon=False, loc="lower right", ncols=2)
