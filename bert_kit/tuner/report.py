"""A search on one page: what was tried, what came of it, and what made the difference.

An HTML file that needs nothing beside it. Its pictures are drawn by matplotlib (the `plots` extra),
which is imported only when a page is written.
"""

import base64
import contextlib
import html
import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bert_kit.figures import BLUE, GREEN, GREY, ORANGE, require_plots
from bert_kit.files import write_text
from bert_kit.printing import one_line, short_name
from bert_kit.tuner.ask_tell import COMPLETE, FAILED, PRUNED, RUNNING, Trial, best_first
from bert_kit.tuner.axis_ticks import Ticks, keep_labels_apart, number_labels, ticks_of
from bert_kit.tuner.parameter_importance import importance, why_unknown
from bert_kit.tuner.pareto import pareto_front
from bert_kit.tuner.pbt import Member
from bert_kit.tuner.population import Population
from bert_kit.tuner.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {COMPLETE: BLUE, PRUNED: ORANGE, FAILED: GREY, RUNNING: GREEN}
SHOWN, SHORT = 12, 24  # trials in the table, parameters in a picture; letters of a name
STYLE: dict[Any, Any] = {"font.size": 8, "text.parse_math": False, "text.usetex": False,
                         "legend.frameon": False, "axes.spines.top": False,
                         "axes.spines.right": False}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><title>{0}</title><style>
body {{ font: 15px/1.5 sans-serif; max-width: 1100px; margin: 2em auto }} img {{ max-width: 100% }}
div {{ overflow-x: auto }} td, th {{ text-align: left; padding-right: 1.2em; white-space: nowrap }}
</style></head><body><h1>{0}</h1>{1}</body></html>
"""


def write_report(study: Study, path: str | Path) -> None:
    """Write a page on a study: its best trials, importances, statistics and pictures.

    History, slices along the parameters, the Pareto front of several objectives, parallel
    coordinates, the two most important parameters together, learning curves with cuts, and when
    each trial ran. What is far worse than most lies on the edge of a picture. Raises a
    BertKitError if matplotlib is not installed or the file cannot be written.
    """
    trials, names = study.trials, list(study.space.to_dict())
    ranked, shares = best_first(trials), importance(study.space, trials)
    value = "value" if study.several else next(iter(study.directions))
    with _page(path, study.name) as parts:
        parts += [
            _table("Best trials", ["trial", "state", value, *names], [
                [trial.number, trial.state, trial.value,
                 *(trial.params.get(name, "") for name in names)]
                for trial in (trials[place] for place in ranked[:SHOWN])]),
            _importance(shares, why_unknown(trials)),
            _table("Statistics", ["what", ""], [[name.replace("_", " "), value]
                                                for name, value in study.statistics().items()])]
        if len(ranked):
            parts += _Pictures(study, trials, ranked, list(shares)).all()


def write_lineage(population: Population, path: str | Path, metric: str = "score") -> None:
    """Write a page on a `Population`: its parameters, scores and diversity over the generations.

    `metric` is the name of the scores. A line is a slot, and an arrow a copy: a slot goes on from
    where another one was. What led to the best member is black, and in the table. Raises a
    BertKitError as `write_report` does.
    """
    winners = population.ancestors(population.best)
    names = list(population.space.to_dict())
    with _page(path, "Population-based training") as parts:
        parts.append(_table("What led to the best", ["generation", "slot", metric, *names], [
            [row.generation, row.slot, row.score, *(row.params.get(name, "") for name in names)]
            for row in winners]))
        if winners:
            parts.append(_lineage(population, winners, metric))


class _Column(NamedTuple):
    """What an axis shows: a number a trial, and ticks where those are not the usual ones."""

    name: str
    places: np.ndarray
    ticks: Ticks | None = None

    def scale(self, axes: "Axes", way: str) -> None:
        """Let the x or y axis show this column."""
        axes.set(**{f"{way}label": short_name(self.name, SHORT)})
        if self.ticks:
            axes.set(**{f"{way}lim": (-0.03, 1.03)})
            getattr(axes, f"set_{way}ticks")(*self.ticks)


class _Pictures:
    """The trials of a study in columns, those of the most important parameters first.

    `names` are the parameters in this order; without any they stay as in the space.
    """

    def __init__(self, study: Study, trials: Sequence[Trial], ranked: np.ndarray,
                 names: Sequence[str]) -> None:
        self.trials, self.states = trials, np.array([trial.state for trial in trials])
        self.signs = [-1 if way == "maximize" else 1 for way in study.directions.values()]
        losses = np.array([trial.losses or [math.nan] * len(self.signs) for trial in trials])
        self.results = [_Column(name, sign * _fenced(column)) for name, sign, column
                        in zip(study.directions, self.signs, losses.T, strict=True)]
        self.best = pareto_front(np.nan_to_num(losses, nan=np.inf)) if study.several else ranked[:1]
        self.done = [place for place in ranked if trials[place].state == COMPLETE]
        rows = np.array([trial.row for trial in trials])
        # Equal values are spread a little, by the golden ratio rather than by chance.
        spread = 0.6 * ((0.618034 * np.arange(len(rows))) % 1 - 0.5)
        columns = {each.name: _Column(each.name, column + spread / (each.size or math.inf),
                                      ticks_of(each))
                   for each, column in zip(study.space.parameters, rows.T, strict=True)}
        self.ordered = bool(names)
        self.columns = [columns[name] for name in names or columns][:SHOWN]

    def all(self) -> Iterator[str]:
        """Return the pictures of which there is something to show."""
        number, lines = _Column("trial", np.arange(len(self.trials))), []
        for result, sign in zip(self.results, self.signs, strict=True):
            losses = np.where(self.states == COMPLETE, sign * result.places, np.nan)
            lines.append((number, result, sign * np.fmin.accumulate(losses)))
        yield self.scatter("History: each trial, and the best so far", lines, 1)
        for result in self.results:
            title = f"{result.name} along each parameter" + (
                ", the most important first" if self.ordered else "")
            yield self.scatter(title, [(column, result, None) for column in self.columns], 4)
        first, *others = self.results
        if others:
            yield self.scatter("Pareto front", [(first, other, None) for other in others], 3)
        if self.done:
            yield self.parallel()
        if len(self.done) > 1 and len(self.columns) > 1:
            yield self.contour()
        if any(trial.reports for trial in self.trials):
            yield self.curves()
        yield self.timeline()

    def scatter(self, title: str, triples: Sequence[tuple[_Column, _Column, Any]],
                across: int) -> str:
        """Draw pairs of columns, perhaps with a line: trials without a value are crosses."""
        figure, grid = _panels(len(triples), across, 2.2)
        for axes, (x, y, line) in zip(grid, triples, strict=True):
            for state, color in COLORS.items():
                mine, known = self.states == state, state in (COMPLETE, PRUNED)
                axes.plot(x.places[mine], y.places[mine] if known else np.zeros(mine.sum()),
                          ".x"[not known], color=color, ms=4, alpha=0.6,
                          label=f"{state} ({mine.sum()})" if mine.any() else None,
                          transform=axes.transData if known else axes.get_xaxis_transform())
            axes.plot(x.places[self.best], y.places[self.best], "k*", ms=8, label="best")
            if line is not None:
                axes.step(x.places, line, "k", where="post", lw=1)
                _count_along(axes)
            x.scale(axes, "x")
            y.scale(axes, "y")
            if y is triples[0][1]:
                axes.sharey(grid[0])
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=5)
        return _embed(title, figure)

    def parallel(self) -> str:
        from matplotlib.collections import LineCollection
        columns = [column._replace(places=np.nan_to_num(column.places, nan=-0.12)[self.done])
                   for column in self.columns]
        for name, values, _ in self.results:
            low, high = values[self.done].min(), values[self.done].max()
            ends = sorted({low, high})
            columns.append(_Column(name, (values[self.done] - low) / (high - low or 1),
                                   (range(len(ends)), number_labels(ends, 4))))
        figure, (axes,) = _panels(1, 1, 3.4)
        lines = [list(enumerate(places))
                 for places in zip(*(column.places for column in columns), strict=True)]
        axes.add_collection(LineCollection(lines, colors="#AAAAAA", lw=0.4, alpha=0.5))
        axes.add_collection(LineCollection(lines[:math.ceil(len(lines) / 10)],
                                           colors=COLORS[COMPLETE], lw=0.9, alpha=0.8))
        for i, column in enumerate(columns):
            axes.axvline(i, color="black", lw=0.6)
            for tick, label in zip(*column.ticks or ((), ()), strict=True):
                axes.text(i - 0.02, tick, short_name(label, 150 // len(columns)), fontsize=7,
                          ha="right", va="center",
                          bbox={"color": "white", "alpha": 0.7, "pad": 0.5})
        names = [short_name(column.name, SHORT) for column in columns]
        crowded = len(names) * max(map(len, names)) > 150
        axes.set_xticks(range(len(names)), names, rotation=15 * crowded,
                        ha="right" if crowded else "center")
        axes.set(xlim=(-0.4, len(columns) - 0.9), ylim=(-0.15, 1.05), yticks=[])
        axes.spines[:].set_visible(False)
        return _embed("Parallel coordinates: complete trials, the best tenth blue (at the bottom: "
                      "not active)", figure)

    def contour(self) -> str:
        figure, grid = _panels(len(self.results), 2, 3.2)
        x, y = self.columns[:2]
        for axes, (name, values, _), sign in zip(grid, self.results, self.signs, strict=True):
            points = np.stack([x.places, y.places, values])[:, self.done]
            cells = axes.hexbin(*points[:, np.isfinite(points).all(axis=0)], gridsize=(28, 12),
                                extent=(0, 1, 0, 1), cmap="viridis" if sign < 0 else "viridis_r")
            figure.colorbar(cells, ax=axes, label=short_name(name, SHORT))
            x.scale(axes, "x")
            y.scale(axes, "y")
        which = "two most important" if self.ordered else "first two"
        return _embed(f"The {which} parameters: mean of the complete trials in a cell", figure)

    def curves(self) -> str:
        from matplotlib.collections import LineCollection
        figure, (axes,) = _panels(1, 1, 3)
        reports, sign = [sorted(trial.reports.items()) for trial in self.trials], self.signs[0]
        points = np.array([pair for pairs in reports for pair in pairs], dtype=float)
        points[:, 1] = sign * _fenced(sign * points[:, 1])
        curves = np.split(points, np.cumsum([len(pairs) for pairs in reports])[:-1])
        axes.add_collection(LineCollection(curves, colors=[COLORS[state] for state in self.states],
                                           lw=0.6, alpha=0.4))
        ends = [curve[-1] for curve, state in zip(curves, self.states, strict=True)
                if state == PRUNED]
        axes.plot(*np.reshape(ends, (-1, 2)).T, "x", color=COLORS[PRUNED], ms=4, label="pruned")
        axes.plot(*curves[self.best[0]].T, "k", lw=2, label="best")
        cuts = next((trial.cuts for trial in reversed(self.trials) if trial.cuts), {})
        axes.plot(*np.reshape(sorted(cuts.items()), (-1, 2)).T, "k--", lw=1, scalex=False,
                  scaley=False, label="cuts of the last trial")
        axes.set(xlabel="step", ylabel=short_name(self.results[0].name, SHORT))
        _count_along(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return _embed("Learning curves", figure)

    def timeline(self) -> str:
        trials = sorted(self.trials, key=lambda trial: trial.started or 0.0)
        starts = [trial.started or 0.0 for trial in trials]
        start, now = starts[0], max(*starts, *(trial.finished or 0.0 for trial in trials))
        scale, unit = next(pair for pair in ((3600, "hours"), (60, "minutes"), (1, "seconds"))
                           if now - start > 2 * pair[0] or pair[0] == 1)
        slots, bars = [], []
        for trial, began in zip(trials, starts, strict=True):
            slot = next((i for i, (device, free) in enumerate(slots)
                         if device == trial.device and free <= began), len(slots))
            end = trial.finished or now
            slots[slot:slot + 1] = [(trial.device, end)]
            end = max(end, began + (now - start) / 1000)  # at least a pixel
            bars.append((slot, (began - start) / scale, (end - start) / scale,
                         COLORS[trial.state]))
        figure, (axes,) = _panels(1, 1, min(0.3 * len(slots), 5))
        axes.hlines(*zip(*bars, strict=True), lw=min(10, 200 / len(slots)),
                    alpha=[0.6 + 0.3 * (trial.number % 2) for trial in trials])
        if len(slots) <= 30:
            axes.set_yticks(range(len(slots)), [short_name(device or f"slot {i}", SHORT)
                                                for i, (device, _) in enumerate(slots)])
        axes.set(xlabel=unit, ylim=(-0.7, len(slots) - 0.3))
        return _embed("Timeline: a bar is a trial", figure)


def _lineage(population: Population, winners: Sequence[Member], metric: str) -> str:
    from matplotlib.collections import LineCollection
    members: dict[tuple[int, int | None], Member] = {
        (row.generation, row.slot): row for row in population.lineage}
    rows = np.array([population.space.to_row(row.params) for row in members.values()])
    sign = -1 if population.maximize else 1
    scores = np.array([math.nan if row.score is None else row.score for row in members.values()])
    columns = [_Column(metric, sign * _fenced(sign * scores)),
               *(_Column(each.name, column, ticks_of(each))
                 for each, column in zip(population.space.parameters, rows.T, strict=True))]
    figure, grid = _panels(len(columns) + 1, 2, 2.3)
    for axes, column in zip(grid, columns, strict=False):  # the last axes show the diversity
        points = {key: (key[0], place)
                  for key, place in zip(members, column.places, strict=True)}
        steps = [(row, (points[row.generation - 1, row.parent], points[key]))
                 for key, row in members.items() if row.generation]
        kept = [(ends, f"C{row.slot % 10}") for row, ends in steps if row.slot == row.parent]
        copies = np.array([ends for row, ends in steps if row.slot != row.parent])
        x, y = np.transpose([*points.values()])
        axes.scatter(x, y, 8, [f"C{row.slot % 10}" for row in members.values()])
        axes.add_collection(LineCollection([ends for ends, _ in kept], lw=1,
                                           colors=[color for _, color in kept]))
        if len(copies):
            axes.quiver(*copies[:, 0].T, *(copies[:, 1] - copies[:, 0]).T, color="#AAAAAA",
                        angles="xy", scale_units="xy", scale=1, width=0.004)
        axes.plot(*np.transpose([points[row.generation, row.slot] for row in winners]), "k",
                  lw=2.5, alpha=0.7)
        column.scale(axes, "y")
        _count_along(axes)
    grid[-1].plot(population.diversity, "k.-")
    grid[-1].set(ylabel="diversity", ylim=(0, None), xlabel="generation")
    _count_along(grid[-1])
    return _embed("A colour is a slot, an arrow a copy, black what led to the best", figure)


def _fenced(losses: np.ndarray) -> np.ndarray:
    """Return losses in which those that are far worse than most lie on Tukey's outer fence."""
    losses = np.clip(losses, -1e100, 1e100)  # an axis needs finite ends
    known = losses[~np.isnan(losses)]
    if len(known):
        low, high = np.quantile(known, (0.25, 0.75))
        losses = np.minimum(losses, high + 3 * (high - low) if low < high else known.max())
    return losses


def _count_along(axes: "Axes") -> None:
    """Let the x axis have whole numbers only, even if it shows a single one."""
    axes.locator_params("x", integer=True, min_n_ticks=1)


def _panels(count: int, across: int, height: float) -> tuple["Figure", np.ndarray]:
    from matplotlib.figure import Figure
    across = min(across, count)
    down = math.ceil(count / across)
    figure = Figure(figsize=(10, 0.6 + height * down), dpi=130, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def _embed(title: str, figure: "Figure") -> str:
    """Return a figure as HTML with the picture inside, in a third of the bytes of a PNG."""
    picture, title = io.BytesIO(), _cell(title)
    keep_labels_apart(figure)
    figure.savefig(picture, format="webp", pil_kwargs={"quality": 75, "method": 2})
    code = base64.b64encode(picture.getvalue()).decode()
    return f'<h2>{title}</h2><img alt="{title}" src="data:image/webp;base64,{code}"/>'


def _importance(shares: dict[str, float], unknown: str) -> str:
    """Return a table of shares with bars, or a line that says why there are none."""
    title = "Importance: what sets the best tenth apart from all (PED-ANOVA)"
    if not shares:
        return f"<h2>{title}</h2><p>{_cell(unknown)}</p>"
    return _table(title, ["parameter", "share", ""], [
        [name, f"{share:.0%}", "█" * round(40 * share)] for name, share in shares.items()]) + (
        "<p>Of random draws. TPE draws near the best trials, which hides what they have in common: "
        "then the order says little.</p>")


def _table(title: str, header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{_cell(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>\n"
                   for row in rows)
    return f"<h2>{_cell(title)}</h2><div><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: object) -> str:
    """Return a value as text that is safe in HTML."""
    if isinstance(value, dict):  # several objectives, or errors and how often each came
        value = ", ".join(f"{name}: {f'{each:.5g}' if isinstance(each, float) else each}"
                          for name, each in value.items())
    return html.escape(f"{value:.5g}" if isinstance(value, float) else one_line(value, 1000))


@contextlib.contextmanager
def _page(path: str | Path, title: str) -> Iterator[list[str]]:
    """Yield a list for the parts of a page, which is written at the end."""
    require_plots()
    import matplotlib
    parts: list[str] = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of another script: the tables have it
        yield parts
    write_text(path, PAGE.format(_cell(title), "\n".join(parts)))
