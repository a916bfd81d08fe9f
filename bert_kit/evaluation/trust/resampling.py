"""How far a score would move on other rows: folds, intervals, and a test between two models.

The model is fixed and never trained again here. What moves is the choice of the rows that are
scored; what another training run would change is not part of it.
"""

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.checks import share, whole
from bert_kit.evaluation.scores.checks import Scores, Values, check_classes
from bert_kit.evaluation.scores.classes import (compute_confusion_matrix,
                                                matthews_correlations, ratio)

FOLD_ROWS = 10  # in fewer rows, one row more or less right is most of the score
CELLS_AT_ONCE = 2**21  # of drawn confusion matrices: 16 MiB an array


def headline_scores(confusion: ArrayLike, classes: np.ndarray | None = None) -> dict[str, float]:
    """Return accuracy, f1_macro and matthews_correlation of a confusion matrix (C, C).

    As everywhere in the kit, the mean F1 is over the classes that occur, unless `classes` (C,) of
    bool says which.

    Examples
    --------
    >>> headline_scores([[1, 0], [0, 1]])
    {'accuracy': 1.0, 'f1_macro': 1.0, 'matthews_correlation': 1.0}
    """
    confusion = np.asarray(confusion)
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    scores = _scores_of_each(confusion, occurs if classes is None else classes)
    return {name: float(score) for name, score in scores.items()}


def _scores_of_each(confusions: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Return the headline scores (...) of confusion matrices (..., C, C), in one pass."""
    right = np.diagonal(confusions, axis1=-2, axis2=-1)
    either = confusions.sum(axis=-2) + confusions.sum(axis=-1)
    each = ratio(2 * right, either)[..., classes]  # 0 for a class that is not here
    return {"accuracy": right.sum(axis=-1) / confusions.sum(axis=(-2, -1)),
            "f1_macro": each.mean(axis=-1),
            "matthews_correlation": matthews_correlations(confusions)}


def fold_scores(predictions: Values, labels: Values, num_classes: int, folds: int = 7,
                seed: int = 0) -> Scores:
    """Score the class numbers (N,) of a fixed model on each of several stratified parts of rows.

    A fold has 10 rows at least: where there are too few for `folds`, there are fewer folds, and
    none below 20 rows. The mean F1 of every fold is over the same classes, those with a row in
    each fold (where no class has so many, the largest). So rare classes do not move it, and it can
    be far from the macro F1 of all rows.

    There are at most so many folds; they are those that `stratified_folds` of bert_kit.data deals.

    Returns
    -------
    dict
        `folds`, a list of dicts with `fold`, `rows`, `accuracy`, `f1_macro` and
        `matthews_correlation`; `mean` and `std` (of a sample: divided by folds - 1), each a dict
        of the three scores. With fewer than 20 rows all three are empty.

    Examples
    --------
    >>> scores = fold_scores([0, 0, 1, 1] * 5, [0, 0, 1, 0] * 5, num_classes=2)
    >>> len(scores["folds"]), scores["mean"]["accuracy"]  # 7 folds of 20 rows would be too small
    (2, 0.75)
    """
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    whole("folds", folds, 2)
    folds = min(folds, len(labels) // FOLD_ROWS)
    if folds < 2:
        return {"folds": [], "mean": {}, "std": {}}
    # As bert_kit.data deals them, which this room may not import: one class after another.
    mixed = np.random.default_rng(seed).permutation(len(labels))
    fold = np.empty(len(labels), dtype=np.int64)
    fold[mixed[np.argsort(labels[mixed], kind="stable")]] = np.arange(len(labels)) % folds
    counts = np.bincount(labels, minlength=num_classes)
    everywhere = counts >= min(folds, counts.max())
    scores = [headline_scores(compute_confusion_matrix(
        predictions[fold == i], labels[fold == i], num_classes), everywhere) for i in range(folds)]
    values = {name: [score[name] for score in scores] for name in scores[0]}
    return {"folds": [{"fold": i, "rows": int((fold == i).sum()), **score}
                      for i, score in enumerate(scores)],
            "mean": {name: float(np.mean(each)) for name, each in values.items()},
            "std": {name: float(np.std(each, ddof=1)) for name, each in values.items()}}


def bootstrap_intervals(predictions: Values, labels: Values, num_classes: int,
                        samples: int = 1000, level: float = 0.95, seed: int = 0) -> Scores:
    """Return intervals of what the scores would be over all rows like these (Rubin 1981).

    Predictions and labels are class numbers (N,).

    This is a Bayesian bootstrap ("The Bayesian Bootstrap", Annals of Statistics 9). The share of
    each cell of the confusion matrix is drawn from what the rows leave possible, a Dirichlet
    distribution of the counts and a prior, and the interval is between two quantiles of the scores
    of the draws. The prior is worth one row: half of it right, spread evenly over the classes that
    occur, and half of it wrong, spread evenly over their mistakes. So the interval of the accuracy
    is Jeffreys': Beta(right + 1/2, wrong + 1/2). Rows that are drawn again can hold no mistake that
    the test rows do not: of a perfect model, or one that answers with one class, they say 1 to 1.

    Where classes have few rows, the draws have a lower mean F1 than the matrix they come from, and
    by as much the measured one is too low: both ends of `f1_macro` go up by twice that (Efron &
    Tibshirani 1993, chapter 10). The draws that tell how much are those without the prior.

    Of a class without rows nothing is known: the mean F1 is over the classes that occur.

    Parameters
    ----------
    samples
        Number of draws.
    level
        Probability that the interval holds.

    Returns
    -------
    dict
        For each of `accuracy`, `f1_macro` and `matthews_correlation` a dict of `value`, which is
        measured, `low` and `high`, which include it.

    Examples
    --------
    >>> interval = bootstrap_intervals([0, 1, 1], [0, 1, 1], num_classes=2)["accuracy"]
    >>> interval["value"], round(interval["low"], 1), interval["high"]  # three rows say little
    (1.0, 0.5, 1.0)
    """
    whole("samples", samples, 1)
    share("level", level, above=True, below=True)
    confusion = compute_confusion_matrix(predictions, labels, num_classes)
    scores = headline_scores(confusion)
    draws, f1_of_rows = _draw_scores(confusion, samples, np.random.default_rng(seed))
    result = {}
    for name, value in scores.items():
        ends = np.quantile(draws[name], [(1 - level) / 2, (1 + level) / 2])
        if name == "f1_macro":
            ends = np.clip(ends + 2 * (value - f1_of_rows.mean()), 0, 1)
        result[name] = {"value": value, "low": min(value, float(ends[0])),
                        "high": max(value, float(ends[1]))}
    return result


def _draw_scores(confusion: np.ndarray, samples: int, generator: np.random.Generator
                 ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores (samples,) of drawn matrices, and the mean F1 without the prior."""
    occurs = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    kept = occurs.copy()
    if kept.sum() == 1 and len(kept) > 1:
        kept[kept.argmin()] = True  # a class alone can be taken for another, too
    confusion, occurs = confusion[np.ix_(kept, kept)], occurs[kept]
    prior, filled = _one_row(occurs), confusion > 0
    draws, f1_of_rows, step = [], [], max(1, CELLS_AT_ONCE // confusion.size)
    for start in range(0, samples, step):
        shape = (min(step, samples - start), *confusion.shape)
        drawn = np.zeros(shape)  # a Dirichlet draw is gamma draws, divided by their sum
        drawn[:, filled] = generator.standard_gamma(confusion[filled], (shape[0], filled.sum()))
        f1_of_rows.append(_scores_of_each(drawn, occurs)["f1_macro"])
        draws.append(_scores_of_each(drawn + generator.standard_gamma(prior, shape), occurs))
    return ({name: np.concatenate([scores[name] for scores in draws]) for name in draws[0]},
            np.concatenate(f1_of_rows))


def _one_row(occurs: np.ndarray) -> np.ndarray:
    """Return what is known before any row (C, C): half a row right, and half a row wrong."""
    right = np.diag(occurs / (2 * occurs.sum()))
    wrong = 1.0 - np.eye(len(occurs))
    return right + wrong / (2 * max(wrong.sum(), 1))


def wilson_interval(share: np.ndarray | float, count: np.ndarray | int, z: float = 1.96
                    ) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the interval of a share that was counted in `count` rows (Wilson 1927).

    Parameters
    ----------
    share
        From 0 to 1.
    z
        Half the width in standard deviations: 1.96 for 95%.

    Examples
    --------
    >>> [round(float(end), 4) for end in wilson_interval(0.5, 4, z=2.0)]
    [0.1464, 0.8536]
    """
    share, count = np.asarray(share), np.asarray(count)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / count)**2 / 4)
    return middle - half, middle + half


def mcnemar(first: Values, second: Values, labels: Values) -> Scores:
    """Test whether two models differ in accuracy on the same rows (McNemar's exact test).

    Only rows that one model gets right and the other wrong say anything; if the models were
    equally good, either would win each such row with probability 1/2 (Dietterich 1998,
    "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms").

    Arguments are the class numbers (N,) that each model predicts, and the true ones.

    Returns
    -------
    dict
        Numbers of rows `both_right`, `first_only`, `second_only` (right), `both_wrong`; and
        `p_value`, two-sided, of the exact binomial test: small if the models differ.

    Examples
    --------
    >>> mcnemar([0, 0, 0, 0, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0])["p_value"]  # 2 / 2**4
    0.125
    """
    from scipy.stats import binom

    ours, truth, _ = check_classes(first, labels)
    others, truth, _ = check_classes(second, labels)
    ours, others = ours == truth, others == truth
    wins, losses = int((ours & ~others).sum()), int((others & ~ours).sum())
    tail = float(binom.cdf(min(wins, losses), wins + losses, 0.5))
    return {"both_right": int((ours & others).sum()), "first_only": wins, "second_only": losses,
            "both_wrong": int((~ours & ~others).sum()), "p_value": min(1.0, 2 * tail)}
