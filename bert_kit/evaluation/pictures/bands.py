"""A picture of learning curves with bands: the mean of several runs, and how far they spread."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.errors import DataError
from bert_kit.figures import (COLOURS, INK, draw_legend, plain_axes, printable_names, ruled_axes,
                              saved_figure)

_MARKS = "osD^vP*Xh"  # one a colour, and then other lines, so that no two look alike
_LINES = ("-", ":", "-.")


def plot_bands(curves: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]], path: str | Path,
               score: str, x_label: str = "labels",
               goal: tuple[str, float, float] | None = None) -> None:
    """Draw a line for each method with a band of one standard deviation to both sides.

    Parameters
    ----------
    curves
        {name: (x (N,), mean (N,), standard deviation (N,))}; a deviation that is NaN has no band,
        and a mean that is NaN no place on its line.
    score
        What the curves show.
    goal
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
        names, _ = printable_names([*curves], "method")
        looks = itertools.cycle(itertools.product(_LINES, zip(COLOURS, _MARKS, strict=True)))
        for name, (x, mean, spread), (line, (color, mark)) in zip(names, curves.values(), looks,
                                                                  strict=False):
            x, mean, spread = (np.asarray(values, dtype=float) for values in (x, mean, spread))
            x, mean, spread = (values[~np.isnan(mean)] for values in (x, mean, spread))
            axes.plot(x, mean, line, label=name, color=color, marker=mark, markersize=4,
                      linewidth=1.6)
            axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.15,
                              linewidth=0)
            if len(x) == 1:  # a band of no width
                axes.errorbar(x, mean, spread, color=color, alpha=0.5)
        if goal is not None:
            name, level, around = goal
            axes.axhline(level, label=name, color=INK, linestyle="--", linewidth=1.2)
            if not math.isnan(around):
                axes.axhspan(level - around, level + around, color=INK, alpha=0.08, linewidth=0)
        ruled_axes(axes)
        plain_axes(axes, "", x_label, score)
        draw_legend(figure, axes, "lower right", 2)
