"""Making a trained model's probabilities mean what they say: fitted on validation rows.

A temperature is one number for all logits and never changes which class or label is the most
probable. A scale and a shift for each label mend what a weighted loss did to it, too.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import (Values, are_label_sets, check_label_sets,
                                               check_probabilities, floats)

TEMPERATURES = (0.01, 100.0)  # the range that is searched
LEAST_ROWS = 50  # that a scaling can be fitted on: of fewer it makes new rows worse half the time
MOST_SCORES = 2**22  # to fit again on, for a cross-validation
HALVINGS = 50  # of that range: more would be below the rounding of a float
STEPS = 100  # of Newton's method at most; it takes about ten
SMALLEST = 1e-10  # step worth taking


def fit_temperature(logits: Values, labels: Values) -> float:
    """Return the temperature T for which softmax(logits / T) fits the labels best.

    T minimises the mean negative log-likelihood (Guo et al. 2017, section 4.2); with label sets
    that of sigmoid(logits / T). Above 1 the model was too sure of itself, below 1 not sure enough;
    which class wins never changes. Fit it on validation rows, not on those that are scored.

    Parameters
    ----------
    logits
        Of shape (N, C).
    labels
        Class numbers (N,), or 0 and 1 for each label (N, C).

    Returns
    -------
    float
        From 0.01 to 100, the ends of the search. Where every row is right no T is best: the loss
        keeps falling towards T = 0, and the low end is returned. Where the logits mislead it keeps
        falling towards infinity, and the high end is returned. 1 where the temperature makes no
        difference, because the logits of each row are equal (with label sets: all 0).

    Raises
    ------
    DataError
        If a logit is not finite or the labels do not fit.

    Examples
    --------
    >>> sure_of_90_percent = [2.1972245773, 0.0]  # log 9, but right in 3 rows of 4: log 3
    >>> round(fit_temperature([sure_of_90_percent] * 4, [0, 0, 0, 1]), 6)
    2.0
    >>> round(fit_temperature([[2.1972245773]] * 4, [[1], [1], [1], [0]]), 6)
    2.0
    """
    scores = _finite(logits)
    label_sets = are_label_sets(labels)
    if label_sets:
        _, holds = check_label_sets(scores.sigmoid(), labels)
        right = (torch.from_numpy(holds) * scores).sum(dim=1)
    else:
        _, classes = check_probabilities(scores.softmax(dim=1), labels)
        scores = scores - scores.max(dim=1, keepdim=True).values
        right = scores.gather(1, torch.from_numpy(classes)[:, None])[:, 0]

    def slope(temperature: float) -> float:
        """Derivative of the loss with respect to 1 / T; the loss is convex in 1 / T."""
        scaled = scores / temperature
        expected = scaled.sigmoid() if label_sets else F.softmax(scaled, dim=1)
        return ((expected * scores).sum(dim=1) - right).mean().item()

    low, high = TEMPERATURES
    if not scores.any():
        return 1.0
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        # A falling loss means that 1 / T should grow: the answer is a lower temperature. So does
        # a slope of 0: it is a negative one that underflows, or the lower T's turn it positive.
        low, high = (low, middle) if slope(middle) <= 0 else (middle, high)
    return (low * high) ** 0.5


def fit_label_scaling(logits: Values, labels: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return a scale a and a shift b for each label: sigmoid(a z + b) fits the labels best.

    Platt's scaling (Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2)
    of each label by itself, held near the pair that suits all labels together. The scores are
    c u + d of u = (z - mean) / deviation, both of all logits; the negative log-likelihood +
    ((c - C)^2 + (d - D)^2) / 2 is minimised, so that c and d stay within 1 or so of the common
    C and D unless many rows say otherwise. Without that, labels that few validation rows have
    come out worse than they went in. The common pair is held near C = 1 and the log-odds of all
    labels in the same way, which matters to a handful of rows only. Fit it on validation rows.

    Both arguments are of shape (N, C), a label is 0 or 1.

    Returns
    -------
    (array, array)
        Scales (C,) and shifts (C,), float64. A scale below 0 means that the label's logits are
        lower where it holds.

    Raises
    ------
    DataError
        If a logit is not finite or the labels do not fit.

    Examples
    --------
    >>> scale, shift = fit_label_scaling([[3.0], [-1.0]] * 500, [[1], [0], [0], [0]] * 250)
    >>> (1 / (1 + np.exp(-(scale * 3 + shift)))).round(1)  # the label holds in half of these rows
    array([0.5])
    """
    scores = _finite(logits)
    _, holds = check_label_sets(scores.sigmoid(), labels)
    z = scores.numpy()
    mean, deviation = z.mean(), z.std() or 1.0
    units = (z - mean) / deviation
    log_odds = np.log((holds.sum() + 1) / ((1 - holds).sum() + 1))
    common = _platt(units.ravel(), holds.ravel(), np.array([1.0, log_odds]))
    scale, shift = np.array([_platt(u, y, common)
                             for u, y in zip(units.T, holds.T, strict=True)]).T
    return scale / deviation, shift - scale * mean / deviation


def scaled_losses(fit: Callable[[Tensor, np.ndarray], tuple[Values, Values]], logits: Values,
                  labels: Values, folds: int = 5, seed: int = 0) -> tuple[float, float]:
    """Return the mean loss of rows as they are, and scaled by what was fitted on other rows.

    The rows are dealt into folds, and each is scaled by a fit on the others (cross-validation). A
    scaling that does not lower this loss would not have helped on new rows. Of very many rows some
    are drawn: they say enough.

    Parameters
    ----------
    fit
        `fit(logits, labels)` -> scale and shift, numbers or arrays (C,).
    logits, labels
        (N, C), and class numbers (N,) or label sets (N, C).

    Returns
    -------
    (float, float)
        Negative log-likelihoods a row, of label sets a decision.

    Examples
    --------
    >>> logits, labels = [[3.0, 0.0]] * 8 + [[0.0, 3.0]] * 8, [0, 0, 0, 1] * 2 + [1, 1, 1, 0] * 2
    >>> before, after = scaled_losses(
    ...     lambda z, y: (1 / fit_temperature(z, y), 0.0), logits, labels)
    >>> after < before  # as they are, they are too sure of themselves
    True
    """
    scores, truth = _finite(logits), np.asarray(labels)
    rows = np.random.default_rng(seed).permutation(len(truth))
    rows = rows[:max(LEAST_ROWS, MOST_SCORES // scores.shape[1])]
    scores, truth = scores[torch.from_numpy(rows)], truth[rows]
    fold = np.arange(len(rows)) % folds
    after = 0.0
    for number in range(min(folds, len(rows))):
        own = fold == number
        scale, shift = (torch.as_tensor(part) for part in fit(scores[~own], truth[~own]))
        after += _loss(scores[own] * scale + shift, truth[own]) * int(own.sum())
    return _loss(scores, truth), after / len(rows)


def _loss(scores: Tensor, labels: np.ndarray) -> float:
    wanted = torch.from_numpy(np.asarray(labels))
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(scores, wanted.double()).item()
    return F.cross_entropy(scores, wanted.long()).item()


def _platt(z: np.ndarray, holds: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return scale and shift of scores (N,), held near `start`: Newton's method, line search."""
    x = np.stack([z, np.ones_like(z)])

    def loss(weights: np.ndarray) -> float:
        scores = weights @ x
        return (np.logaddexp(0, scores) - holds * scores).sum() + ((weights - start)**2).sum() / 2

    weights, value = start, loss(start)
    for _ in range(STEPS):
        p = (1 + np.tanh(weights @ x / 2)) / 2  # the sigmoid, without an overflow
        gradient = x @ (p - holds) + weights - start
        curvature = x * (p * (1 - p)) @ x.T + np.eye(2)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > SMALLEST and loss(weights - size * step) > value:
            size /= 2
        if size <= SMALLEST or abs(size * step).max() < SMALLEST:
            break
        weights = weights - size * step
        value = loss(weights)
    return weights


def _finite(logits: Values) -> Tensor:
    """Return logits as a float64 tensor (N, C)."""
    scores = torch.tensor(floats(logits))
    if scores.ndim != 2 or not scores.isfinite().all():
        raise DataError(f"logits of shape {tuple(scores.shape)}; expected finite numbers of shape "
                        "(rows, classes)")
    return scores
