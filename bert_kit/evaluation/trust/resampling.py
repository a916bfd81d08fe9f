"""How far a score would move on other rows: folds, intervals, and a test between two models.

The model is fixed and never trained again here. What moves is the choice of the rows that are
scored; what another training run would change is not part of it.
"""

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.checks import share, whole
from bert_kit.evaluation.scores.checks import Scores, Values, check_classes
from bert_kit.evaluation.scores.classes import (compute_confusion_matrix, matthews_correlation,
                                                ratio)

FOLD_ROWS = 10  # in fewer rows, one row more or less right is most of the score


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
    right, either = np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    classes = either > 0 if classes is None else classes
    each = ratio(2 * right, either)[classes]  # 0 for a class that is not here
    return {"accuracy": float(right.sum() / confusion.sum()),
            "f1_macro": float(each.mean()),
            "matthews_correlation": matthews_correlation(confusion)}


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
    """Return percentile intervals of the scores (Efron & Tibshirani 1993, chapter 13).

    Predictions and labels are class numbers (N,).

    The bootstrap is stratified: as many rows of each true class are drawn, with replacement, as
    there are, and the mean F1 is always over the same classes. Drawn from all rows at once, a rare
    class would be missing now and then, and the macro F1 of a model that never finds it would jump.
    The interval is therefore one for data with these shares of the classes; that other data may
    have other shares is not part of it.

    Drawing rows of a class gives its row of the confusion matrix multinomial counts, so counts are
    drawn instead of rows: the same distribution, at a cost that does not grow with N.

    Parameters
    ----------
    samples
        Number of draws.
    level
        Share of the draws inside the interval.

    Returns
    -------
    dict
        For each of `accuracy`, `f1_macro` and `matthews_correlation` a dict of `value`, `low` and
        `high`.

    Examples
    --------
    >>> bootstrap_intervals([0, 1, 1], [0, 1, 1], num_classes=2)["accuracy"]
    {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    whole("samples", samples, 1)
    share("level", level, above=True, below=True)
    confusion = compute_confusion_matrix(predictions, labels, num_classes)
    generator, rows = np.random.default_rng(seed), confusion.sum(axis=1)
    shares = confusion / np.maximum(rows, 1)[:, None]
    occurs = (rows + confusion.sum(axis=0)) > 0
    draws = [headline_scores(generator.multinomial(rows, shares), occurs) for _ in range(samples)]
    result = {}
    for name, value in headline_scores(confusion).items():
        ends = np.quantile([draw[name] for draw in draws], [(1 - level) / 2, (1 + level) / 2])
        result[name] = {"value": value, "low": float(ends[0]), "high": float(ends[1])}
    return result


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
