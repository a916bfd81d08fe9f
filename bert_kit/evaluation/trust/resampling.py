"""How far a score would move on other rows: folds, intervals, and a test between two models.

The model is fixed and never trained again here. What moves is the choice of the rows that are
scored; what another training run would change is not part of it.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.checks import share, whole
from bert_kit.evaluation.scores.checks import Scores, Values, check_classes
from bert_kit.evaluation.scores.classes import (ClassCounts, count_classes, counts_of_matrix,
                                                matthews_of_counts, ratio)

FOLD_ROWS = 10  # in fewer rows, one row more or less right is most of the score
CELLS_AT_ONCE = 2**21  # of drawn confusion matrices: 16 MiB an array
PIECES = 20  # of half a row: what is left of it then is 3**-20 on average


def headline_scores(confusion: ArrayLike, classes: np.ndarray | None = None) -> dict[str, float]:
    """Return accuracy, f1_macro and matthews_correlation of a confusion matrix (C, C).

    As everywhere in the kit, the mean F1 is over the classes that occur, unless `classes` (C,) of
    bool says which.

    Examples
    --------
    >>> headline_scores([[1, 0], [0, 1]])
    {'accuracy': 1.0, 'f1_macro': 1.0, 'matthews_correlation': 1.0}
    """
    return _headline(counts_of_matrix(confusion), classes)


def _headline(counts: ClassCounts, classes: np.ndarray | None = None) -> dict[str, float]:
    occurs = counts.given + counts.wanted > 0
    scores = _scores_of_each(counts, occurs if classes is None else classes)
    return {name: float(score) for name, score in scores.items()}


def _scores_of_each(counts: ClassCounts, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Return the headline scores (...) of counts (..., C), in one pass."""
    each = ratio(2 * counts.right, counts.given + counts.wanted)[..., classes]  # 0 if not here
    return {"accuracy": counts.right.sum(axis=-1) / counts.wanted.sum(axis=-1),
            "f1_macro": each.mean(axis=-1),
            "matthews_correlation": matthews_of_counts(counts)}


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
    scores = [_headline(count_classes(predictions[fold == i], labels[fold == i], num_classes),
                        everywhere) for i in range(folds)]
    values = {name: [score[name] for score in scores] for name in scores[0]}
    return {"folds": [{"fold": i, "rows": int((fold == i).sum()), **score}
                      for i, score in enumerate(scores)],
            "mean": {name: float(np.mean(each)) for name, each in values.items()},
            "std": {name: float(np.std(each, ddof=1)) for name, each in values.items()}}


def bootstrap_intervals(predictions: Values, labels: Values, num_classes: int,
                        samples: int = 1000, level: float = 0.95, seed: int = 0) -> Scores:
    """Return intervals of what the scores would be over all rows like these (Rubin 1981).

    Predictions and labels are class numbers (N,).

    The accuracy is a share of independent rows and has Wilson's interval, see `wilson_interval`;
    the others have a Bayesian bootstrap ("The Bayesian Bootstrap", Annals of Statistics 9). The
    share of each cell of the confusion matrix is drawn from what the rows leave possible, a
    Dirichlet distribution of the counts and a prior, and the interval is between two quantiles of
    the scores of the draws. The prior is worth one row: half of it right, spread evenly over the
    classes that occur, and half of it wrong, spread evenly over their mistakes. Rows that are drawn
    again can hold no mistake that the test rows do not: of a perfect model, or one that answers
    with one class, they say 1 to 1. Only cells with rows are drawn one by one, so that time and
    memory grow with rows and classes and not with the square of the classes.

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
    (1.0, 0.4, 1.0)
    """
    whole("samples", samples, 1)
    share("level", level, above=True, below=True)
    predictions, labels, num_classes = check_classes(predictions, labels, num_classes)
    counts = count_classes(predictions, labels, num_classes)
    scores = _headline(counts)
    draws, f1_of_rows = _draw_scores(predictions, labels, num_classes, samples,
                                     np.random.default_rng(seed))
    result = {}
    for name, value in scores.items():
        if name == "accuracy" and num_classes > 1:  # without another class nothing can be wrong
            z = NormalDist().inv_cdf((1 + level) / 2)
            ends = np.clip(wilson_interval(value, len(labels), z), 0, 1)
        else:
            ends = np.quantile(draws[name], [(1 - level) / 2, (1 + level) / 2])
        if name == "f1_macro":
            ends = np.clip(ends + 2 * (value - f1_of_rows.mean()), 0, 1)
        result[name] = {"value": value, "low": min(value, float(ends[0])),
                        "high": max(value, float(ends[1]))}
    return result


def _draw_scores(predictions: np.ndarray, labels: np.ndarray, num_classes: int, samples: int,
                 generator: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores (samples,) of drawn matrices, and the mean F1 without the prior."""
    occurs = np.bincount([*np.unique(predictions), *np.unique(labels)], minlength=num_classes) > 0
    kept = occurs.copy()
    if kept.sum() == 1 and len(kept) > 1:
        kept[kept.argmin()] = True  # a class alone can be taken for another, too
    place, classes = np.cumsum(kept) - 1, int(kept.sum())
    pairs, rows = np.unique(place[labels] * classes + place[predictions], return_counts=True)
    cells = np.divmod(pairs, classes)  # of (true class, predicted class) that have rows
    occurring = np.flatnonzero(occurs[kept])
    draws, f1_of_rows, step = [], [], max(1, CELLS_AT_ONCE // max(len(rows), classes))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        # A Dirichlet draw is gamma draws, divided by their sum, which the scores do not need.
        drawn = _sums(cells, generator.standard_gamma(rows, (size, len(rows))), classes)
        f1_of_rows.append(_scores_of_each(drawn, occurs[kept])["f1_macro"])
        _add_prior(drawn, occurring, generator)
        draws.append(_scores_of_each(drawn, occurs[kept]))
    return ({name: np.concatenate([scores[name] for scores in draws]) for name in draws[0]},
            np.concatenate(f1_of_rows))


def _sums(cells: tuple[np.ndarray, np.ndarray], values: np.ndarray, classes: int) -> ClassCounts:
    """Add the values (S, F) of F cells up to what is right, given and wanted, each (S, C)."""
    from scipy.sparse import csr_array

    every = np.arange(len(cells[0]))
    same = np.flatnonzero(cells[0] == cells[1])
    return ClassCounts(*(
        np.asarray(values[:, own] @ csr_array((np.ones(len(own)), (np.arange(len(own)), columns)),
                                              shape=(len(own), classes)))
        for own, columns in ((same, cells[0][same]), (every, cells[1]), (every, cells[0]))))


def _add_prior(drawn: ClassCounts, occurring: np.ndarray, generator: np.random.Generator) -> None:
    """Add what is known before any row: half a row right, and half a row wrong.

    Spread evenly over cells, half a row is a Dirichlet process: its mass lies on a few cells that
    are chosen alike, in pieces that a stick is broken into (Sethuraman 1994).
    """
    samples, classes = drawn.right.shape
    row = np.arange(samples)[:, None]
    true, mass = generator.choice(occurring, (samples, PIECES)), _pieces(samples, generator)
    for part in drawn:
        np.add.at(part, (row, true), mass)
    if classes > 1:
        true = generator.integers(classes, size=(samples, PIECES))
        given = (true + generator.integers(1, classes, size=true.shape)) % classes
        mass = _pieces(samples, generator)
        np.add.at(drawn.given, (row, given), mass)
        np.add.at(drawn.wanted, (row, true), mass)


def _pieces(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return the pieces (samples, PIECES) of half a row, which add up to a gamma draw of 1/2."""
    broken = generator.beta(1, 0.5, (samples, PIECES))
    left = np.cumprod(1 - broken, axis=1)
    sticks = broken * np.concatenate([np.ones((samples, 1)), left[:, :-1]], axis=1)
    return sticks * generator.standard_gamma(0.5, (samples, 1))


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
