"""Pictures of a run or a comparison, where matplotlib is installed; one line where it is not."""

from pathlib import Path

from bert_kit.evaluation import (PlotsMissing, plot_bands, plot_comparison,
                                 plot_confidence_histogram, plot_confusion_matrix,
                                 plot_learning_curves, plot_reliability, plot_threshold_sweep)


def draw_curves(folder, log, say):
    """Draw the learning curves of a trainer's log; `say` is told once why there is no picture.

    Returns
    -------
    bool
        Whether pictures can be drawn.
    """
    try:
        plot_learning_curves(log, Path(folder) / "learning_curves.png")
    except PlotsMissing as missing:
        say(str(missing))
        return False
    return True


def draw_scores(folder, confusion, classes, probabilities, labels, say):
    """Draw the confusion matrix and the confidence of scored rows into a folder."""
    folder = Path(folder)
    try:
        plot_confusion_matrix(confusion, classes, folder / "confusion_matrix.png")
        plot_confidence_histogram(probabilities, labels, folder / "confidence.png")
    except PlotsMissing as missing:
        say(str(missing))


def draw_probabilities(folder, probabilities, labels, say):
    """Draw the probabilities (N, C) of scored rows with label sets into confidence.png."""
    try:
        plot_confidence_histogram(probabilities, labels, Path(folder) / "confidence.png")
    except PlotsMissing as missing:
        say(str(missing))


def draw_thresholds(folder, sweep, chosen, say):
    """Draw the rows of `threshold_sweep`, and the threshold chosen if any, into thresholds.png."""
    try:
        plot_threshold_sweep(sweep, Path(folder) / "thresholds.png", chosen)
    except PlotsMissing as missing:
        say(str(missing))


def draw_reliability(folder, curves, say):
    """Draw {name: (probabilities, labels)} into reliability.png."""
    try:
        plot_reliability(curves, Path(folder) / "reliability.png")
    except PlotsMissing as missing:
        say(str(missing))


def draw_comparison(folder, rows, say):
    """Draw the rows of a leaderboard into comparison.png."""
    try:
        plot_comparison(rows, Path(folder) / "comparison.png")
    except PlotsMissing as missing:
        say(str(missing))


def draw_bands(path, curves, score, goal, say):
    """Draw what `plot_bands` does into a file."""
    try:
        plot_bands(curves, path, score, goal=goal)
    except PlotsMissing as missing:
        say(str(missing))
