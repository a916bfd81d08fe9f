"""Pictures of runs: learning curves, and heads side by side.

Pictures need the `plots` extra (`pip install 'bert_kit[plots]'`). Paths end in .png, .svg or .pdf.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Rows
from bert_kit.figures import (BLUE, GREEN, GREY, INK, ORANGE, PURPLE, plain_axes, printable_names,
                              ruled_axes, saved_figure)
from bert_kit.printing import number, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[float, float]]  # (step, value)

# Title of a panel, the columns drawn in it with their names, and which evaluation is the best.
_PANELS = (
    ("Loss", {"eval_loss": "evaluation", "loss": "training"}, min),
    ("Accuracy", {"eval_accuracy": "evaluation"}, max),
    ("Macro F1", {"eval_f1_macro": "evaluation"}, max),
    ("Matthews correlation", {"eval_matthews_correlation": "evaluation"}, max),
)
_MORE_PANELS = (
    ("Learning rate", {"learning_rate": "encoder", "head_learning_rate": "head",
                       "muon_learning_rate": "matrices (Muon)"}, None),
    ("Gradient norm", {"grad_norm": "training"}, None),
)
_LINES = {"evaluation": ORANGE, "head": GREEN, "matrices (Muon)": PURPLE}
FAR_APART = 10  # from this ratio of their highest points on, curves share a logarithmic axis
_SCORES = {"accuracy": "accuracy", "f1_macro": "macro F1",
           "matthews_correlation": "Matthews correlation"}


def plot_learning_curves(log: Rows, path: str | Path) -> None:
    """Draw how loss and scores went over the steps: up to four panels.

    Loss, accuracy, macro F1 and Matthews correlation, as far as the log has them; then other
    `eval_` columns, the learning rate and the norm of the gradient fill the four. The best
    evaluation is in the title.

    Parameters
    ----------
    log
        Rows as the Trainer logs them, or as read from metrics.csv: `step`, and any of `loss`,
        `learning_rate`, `head_learning_rate`, `muon_learning_rate`, `grad_norm`, `eval_…`.
        Missing, None, NaN or empty values are left out, and so are rows marked `extra`: an
        evaluation at a time limit counts nowhere.

    Raises
    ------
    DataError
        If no row has a step and a number to draw.
    """
    panels = _panels([row for row in log if not row.get("extra")])
    if not panels:
        raise DataError(f"a log of {len(log)} rows has nothing to draw; expected rows with 'step' "
                        "and numbers such as 'loss' or 'eval_accuracy'")
    down, across = math.ceil(len(panels) / 2), min(len(panels), 2)
    last = max(step for _, curves in panels for curve in curves.values() for step, _ in curve)
    with saved_figure(path, 4.8 * across, 3.2 * down) as figure:
        for place, (title, curves) in enumerate(panels, 1):
            axes = figure.add_subplot(down, across, place)
            for name, curve in curves.items():
                _draw_curve(axes, curve, name)
            if len(curves) > 1 and "evaluation" not in curves and _far_apart(curves.values()):
                axes.set_yscale("log", nonpositive="mask")
            axes.set_xlim(0, max(1.03 * last, 1))  # the same in all panels
            plain_axes(axes, title, "step")
            if len(curves) > 1:
                axes.legend(frameon=False)


def _panels(log: Rows) -> list[tuple[str, dict[str, Curve]]]:
    """Return up to four (title, curves by name), the usual ones first."""
    columns = list(dict.fromkeys(key for row in log for key in row))
    usual = {column for _, names, _ in _PANELS for column in names}
    others = tuple((one_line(column.removeprefix("eval_").replace("_", " ").capitalize(), 36),
                    {column: "evaluation"}, None)
                   for column in columns if column.startswith("eval_") and column not in usual)
    panels = []
    for title, names, choose in _PANELS + others + _MORE_PANELS:
        curves = {name: _curve(log, column) for column, name in names.items()}
        curves = {name: curve for name, curve in curves.items() if curve}
        if [*curves] == ["encoder"]:
            curves = {"training": curves["encoder"]}  # one rate for all
        if choose and "evaluation" in curves:
            step, value = choose(curves["evaluation"], key=lambda pair: pair[1])
            title += f": best {value:.4g} at step {step:,.0f}"
        if curves:
            panels.append((title, curves))
    return panels[:4]


def _curve(log: Rows, column: str) -> Curve:
    """Return the (step, value) pairs of a column that are numbers."""
    pairs = [(number(row.get("step")), number(row.get(column))) for row in log]
    return [pair for pair in pairs if not math.isnan(sum(pair))]


def _far_apart(curves: Iterable[Curve]) -> bool:
    """Return whether one of some rates is so much lower that it would lie on the axis."""
    highest = [max(value for _, value in curve) for curve in curves]
    return 0 < FAR_APART * min(highest) <= max(highest)


def _draw_curve(axes: "Axes", curve: Curve, name: str) -> None:
    evaluation = name == "evaluation"
    axes.plot(*zip(*curve, strict=True), label=name, color=_LINES.get(name, BLUE),
              marker="o" if evaluation or len(curve) == 1 else None, markersize=4, linewidth=1.6,
              zorder=3 if evaluation else 2)
    ruled_axes(axes)
    axes.locator_params(axis="x", nbins=6)
    axes.ticklabel_format(useOffset=False, style="plain")


def plot_comparison(rows: Rows, path: str | Path,
                    scores: Mapping[str, str] | None = None) -> None:
    """Draw scores of each head as bars, and its time.

    The rows are drawn from top to bottom in the order given; `rank` sorts them.

    Parameters
    ----------
    rows
        `classifier` (the name), the scores and `seconds`; what is missing or no number has no bar.
        `accuracy_low` and `accuracy_high`, the ends of its 95% interval, are drawn as a thin line
        where a row has both; so are those of other scores.
    scores
        {column: its name in the picture}, up to three; by default accuracy, macro F1 and Matthews
        correlation.

    Raises
    ------
    DataError
        If a row has no name or there is no score at all.
    """
    for i, row in enumerate(rows):
        if "classifier" not in row:
            raise DataError(f"row {i} has {', '.join(row) or 'nothing'}; expected 'classifier' too")
    names_of = scores or _SCORES
    present = {key: name for key, name in names_of.items()
               if not np.isnan(_column(rows, key)).all()}
    if not present:
        raise DataError(f"{len(rows)} rows without a score; expected {', '.join(names_of)}")
    timed = not np.isnan(_column(rows, "seconds")).all()
    with saved_figure(path, 10 if timed else 7, 1.2 + 0.75 * len(rows)) as figure:
        grid = figure.add_gridspec(1, 1 + timed, width_ratios=[2.4, 1][:1 + timed])
        axes = figure.add_subplot(grid[0])
        _draw_scores(axes, rows, present)
        names, style = printable_names([row["classifier"] for row in rows], "model")
        _name_bars(axes, names, style)
        if timed:
            axes = figure.add_subplot(grid[1])
            _draw_seconds(axes, _column(rows, "seconds"))
            _name_bars(axes, [""] * len(rows), {})


def _column(rows: Rows, key: str) -> np.ndarray:
    return np.array([number(row.get(key)) for row in rows])


def _draw_scores(axes: "Axes", rows: Rows, present: Mapping[str, str]) -> None:
    thick = 0.8 / len(present)
    lowest = min(0.0, *(np.nanmin(_column(rows, key)) for key in present))
    colors = (BLUE, ORANGE, GREEN)
    for i, (key, name) in enumerate(present.items()):
        low, high = _column(rows, f"{key}_low"), _column(rows, f"{key}_high")
        _draw_bars(axes, np.arange(len(rows)) - 0.4 + thick * (i + 0.5), _column(rows, key), thick,
                   "{:.3f}".format, ends=(low, high), label=name, color=colors[i % 3])
    if lowest < -1:  # R², which has no lower end
        axes.locator_params(axis="x", nbins=6)
    else:
        axes.set_xticks(np.arange(math.ceil(lowest * 5), 6) / 5)
    # With room for the number of a bar that reaches 1.
    axes.set_xlim(lowest * 1.1, 1.14 - 0.14 * min(lowest + 1, 0))
    plain_axes(axes, "", "score (1 is perfect)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False,
                borderaxespad=0, borderpad=0.2, columnspacing=1.2)


def _draw_seconds(axes: "Axes", seconds: np.ndarray) -> None:
    longest = np.nanmax(seconds)
    _draw_bars(axes, np.arange(len(seconds)), seconds, 0.5, _seconds_text, color=GREY)
    axes.set_xlim(0, longest * 1.3 or 1)
    axes.locator_params(axis="x", nbins=4)
    plain_axes(axes, "Time", "seconds")


def _seconds_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _draw_bars(axes: "Axes", places: np.ndarray, values: np.ndarray, thick: float,
               text_of: Callable[[float], str], color: str,
               ends: tuple[np.ndarray, np.ndarray] | None = None, label: str = "") -> None:
    """Draw horizontal bars, their intervals and numbers; a value that is missing says so."""
    axes.barh(places, np.nan_to_num(values), height=0.92 * thick, color=color, label=label)
    low, high = np.full((2, len(values)), np.nan) if ends is None else ends
    for place, value, left, right in zip(places, values, low, high, strict=True):
        known = not math.isnan(value + left + right)
        if known:
            axes.plot([left, right], [place, place], color=INK, linewidth=1)
        text = "missing" if math.isnan(value) else text_of(value)
        axes.annotate(text, (max(right, 0) if known else np.nanmax([value, 0]), place),
                      xytext=(3, 0), fontsize=8, textcoords="offset points", va="center",
                      color=INK)


def _name_bars(axes: "Axes", names: Sequence[str], style: dict[str, Any]) -> None:
    axes.set_yticks(range(len(names)), names, **style)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first on top
