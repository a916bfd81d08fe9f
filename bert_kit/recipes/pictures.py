"""Pictures of a run or a comparison, where matplotlib is installed; one line where it is not."""

from pathlib import Path

from bert_kit.evaluation import (PlotsMissing, plot_comparison, plot_confidence_histogram,
                                 plot_confusion_matrix, plot_learning_curves)


def draw_run(folder, log, results, probabilities, labels, say):
    """Draw learning curves, and of the test rows confusion matrix and confidence, into a folder.

    Parameters
    ----------
    folder : path
    log : list of dict
        The trainer's rows.
    results : dict
        As in results.json.
    probabilities : array (N, C) or None
    labels : list of int or None
        Of the test rows.
    say : callable
        Told in one line when pictures cannot be drawn.
    """
    folder = Path(folder)
    try:
        plot_learning_curves(log, folder / "learning_curves.png")
        if probabilities is not None:
            plot_confusion_matrix(results["test"]["confusion_matrix"], results["classes"],
                                  folder / "confusion_matrix.png")
            plot_confidence_histogram(probabilities, labels, folder / "confidence.png")
    except PlotsMissing as missing:
        say(str(missing))


def draw_comparison(folder, rows, say):
    """Draw the rows of a leaderboard into comparison.png."""
    try:
        plot_comparison(rows, Path(folder) / "comparison.png")
    except PlotsMissing as missing:
        say(str(missing))
