"""Pictures of predictions: which classes are confused, and whether confidence means anything."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Rows, Values, are_label_sets, decisions
from bert_kit.evaluation.trust.calibration import expected_calibration_error, reliability_bins
from bert_kit.evaluation.trust.resampling import wilson_interval
from bert_kit.figures import (BLUE, COLOURS, GREY, ORANGE, PALE, draw_legend, plain_axes,
                              printable_names, saved_figure)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTED_CLASSES = 20  # up to here the counts of a confusion matrix are printed in its cells
NAMED_CLASSES = 100  # and up to here every class has its name beside it
MOST_CURVES = 4  # in one reliability diagram


def plot_confusion_matrix(confusion: ArrayLike, class_names: Sequence[str], path: str | Path
                          ) -> None:
    """Draw a confusion matrix: a row is a true class, its colours the shares of the predictions.

    The colour grows with the square root of the share, so that rare confusions show too.

    Parameters
    ----------
    confusion
        From `compute_confusion_matrix`, (C, C). A class without rows is grey.
    class_names
        One name a class. Long names are cut.

    Raises
    ------
    DataError
        If the matrix is not square, has no rows, or the names do not fit.
    """
    confusion = np.asarray(confusion)
    classes = len(class_names)
    if confusion.shape != (classes, classes) or not classes:
        raise DataError(f"a confusion matrix of shape {confusion.shape} for {classes} class names; "
                        "expected as many rows and columns as names")
    if not confusion.sum() > 0:
        raise DataError("a confusion matrix without rows; expected at least one")
    size = confusion.sum(axis=1, keepdims=True)
    share = np.divide(100 * confusion, size, out=np.full(confusion.shape, np.nan), where=size > 0)
    side = float(np.clip(0.45 * classes, 2.0, 9.0) if classes <= COUNTED_CLASSES
                 else np.clip(0.15 * classes, 6.0, 15.0))
    with saved_figure(path, side + 2.8, side + 1.9) as figure:
        from matplotlib.colors import PowerNorm

        axes = figure.add_subplot()
        image = axes.imshow(np.ma.masked_invalid(share), cmap="Blues",
                            norm=PowerNorm(0.5, vmin=0, vmax=100))
        axes.set_facecolor(PALE)
        if classes <= COUNTED_CLASSES:
            _print_counts(axes, confusion, share)
        names, style = printable_names(class_names)
        every = slice(None, None, math.ceil(classes / NAMED_CLASSES))
        style["fontsize"] = 9 if classes <= COUNTED_CLASSES else 6.5
        axes.set_yticks(range(classes)[every], names[every], **style)
        if max(map(len, names)) * 0.09 > side / classes:  # inches: too wide to stand side by side
            style.update(rotation=90, va="top")
        axes.set_xticks(range(classes)[every], names[every], **style)
        axes.tick_params(length=0)
        accuracy = np.trace(confusion) / confusion.sum()
        plain_axes(axes, f"{confusion.sum():,} rows, {accuracy:.1%} right", "predicted class",
                   "true class")
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, shrink=0.8, label="% of the true class",
                              ticks=[0, 5, 20, 50, 100])
        bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib says it may be called


def _print_counts(axes: "Axes", confusion: np.ndarray, share: np.ndarray) -> None:
    longest = len(f"{confusion.max()}")
    for (i, j), count in np.ndenumerate(confusion):
        if count:
            axes.text(j, i, f"{count}", ha="center", va="center", fontsize=min(9, 36 / longest),
                      color="white" if share[i, j] > 35 else "black")


def plot_confidence_histogram(probabilities: Values, labels: Values, path: str | Path,
                              bins: int = 15) -> None:
    """Draw how sure the model is where it is right and where it is wrong, and whether it may be.

    On the left, the confidences of right and of wrong rows, each in percent of its own number: a
    useful confidence keeps them apart. On the right, accuracy against confidence (a reliability
    diagram, Guo et al. 2017) with 95% Wilson intervals; a calibrated model follows the diagonal.
    With label sets: the probabilities of labels that hold and of those that do not.

    Parameters
    ----------
    probabilities
        Of shape (N, C).
    labels
        Class numbers (N,), or 0 and 1 for each label (N, C).
    bins
        Number of bins of the diagram on the right; twice as many on the left.

    Raises
    ------
    DataError
        If a row of probabilities does not add up to 1 (of classes), or the labels do not fit.
    """
    groups = reliability_bins(probabilities, labels, bins)
    error = expected_calibration_error(probabilities, labels, bins)
    confidence, right = decisions(probabilities, labels)
    words = _words(labels)
    with saved_figure(path, 9.6, 4.2) as figure:
        left, axes = figure.subplots(1, 2)
        edges = np.linspace(0, 1, 2 * bins + 1)
        for name, rows, style in ((words["right"], right, {"color": BLUE, "alpha": 0.5}),
                                  (words["wrong"], ~right, {"color": ORANGE, "histtype": "step",
                                                            "linewidth": 2})):
            if rows.any():
                left.hist(np.minimum(confidence[rows], 1), edges, **style,
                          weights=np.full(rows.sum(), 100 / rows.sum()),
                          label=f"{name} ({rows.sum():,} {words['rows']})")
        left.set_xlim(0, 1.02)
        left.legend(frameon=False)
        plain_axes(left, words["title"], words["sure"], f"{words['rows']} in % of each group")
        _draw_reliability(axes, {"model, 95% interval": groups})
        draw_legend(figure, axes)
        plain_axes(axes, f"Calibration error {error:.3f}", words["sure"], words["share"])


def plot_reliability(models: Mapping[str, tuple[Values, Values]], path: str | Path,
                     bins: int = 15) -> None:
    """Draw accuracy against confidence for several sets of probabilities, as before and after.

    `models` are by name up to four pairs of probabilities (N, C) and labels, as in
    `plot_confidence_histogram`: all of classes, or all of label sets.

    Raises
    ------
    DataError
        If there is no pair, or too many, or one cannot be used.
    """
    if not 1 <= len(models) <= MOST_CURVES:
        raise DataError(f"{len(models)} sets of probabilities; expected 1 to {MOST_CURVES}")
    groups, words = {}, {}
    names, _ = printable_names([*models], "model")
    for name, (probabilities, labels) in zip(names, models.values(), strict=True):
        error = expected_calibration_error(probabilities, labels, bins)
        groups[f"{name}: error {error:.3f}"] = reliability_bins(probabilities, labels, bins)
        words = _words(labels)
    with saved_figure(path, 4.8, 4.6) as figure:
        axes = figure.add_subplot()
        _draw_reliability(axes, groups)
        draw_legend(figure, axes)
        plain_axes(axes, "Calibration", words["sure"], words["share"])


def _words(labels: Values) -> dict[str, str]:
    """Return what a picture says of classes, or of label sets."""
    if are_label_sets(labels):
        return {"right": "label holds", "wrong": "label does not hold", "rows": "labels",
                "sure": "probability", "share": "share that holds",
                "title": "Probability of labels that hold or not"}
    return {"right": "right", "wrong": "wrong", "rows": "rows", "sure": "confidence",
            "share": "accuracy", "title": "Confidence of right and wrong rows"}


def _draw_reliability(axes: "Axes", curves: Mapping[str, Rows]) -> None:
    """Draw the reliability bins of each curve with their intervals."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="calibrated")
    for (name, groups), colour in zip(curves.items(), COLOURS, strict=False):
        x, y = (np.array([group[key] for group in groups]) for key in ("confidence", "accuracy"))
        low, high = wilson_interval(y, np.array([group["rows"] for group in groups]))
        reach = np.maximum([y - low, high - y], 0)  # rounding can put an end just inside
        axes.errorbar(x, y, yerr=reach, color=colour, marker="o", markersize=5, linewidth=1.6,
                      elinewidth=1, label=name)
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def plot_threshold_sweep(rows: Rows, path: str | Path, chosen: float | None = None) -> None:
    """Draw F1, precision and recall against the threshold, and how many labels are given.

    Parameters
    ----------
    rows
        From `threshold_sweep`.
    chosen
        The threshold that was chosen, as a line.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not rows:
        raise DataError("no thresholds to draw; expected the rows of threshold_sweep")
    x = [row["threshold"] for row in rows]
    with saved_figure(path, 9.6, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        for axes, curves in ((left, {"f1_micro": "micro F1", "f1_macro": "macro F1",
                                     "precision_micro": "precision", "recall_micro": "recall"}),
                             (right, {"labels_per_row": "labels a row"})):
            for (key, name), colour in zip(curves.items(), COLOURS, strict=False):
                axes.plot(x, [row[key] for row in rows], color=colour, marker="o", markersize=3,
                          linewidth=1.6, label=name)
            if chosen is not None:
                axes.axvline(chosen, color=GREY, linewidth=1, linestyle="--",
                             label=f"chosen {chosen:.2f}")
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
        left.legend(frameon=False)
        best = max(rows, key=lambda row: row["f1_micro"])
        plain_axes(left, f"Best micro F1 {best['f1_micro']:.3f} at {best['threshold']:.2f}",
                   "threshold", "score")
        plain_axes(right, "Labels given", "threshold", "labels a row")
