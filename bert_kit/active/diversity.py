"""Rows unlike each other: greedy k-centre, and k-means++ on gradients that are never written out.

A row is given by factors: vectors a (A,) and h (D,) whose outer product a h^T, A D numbers, is the
point meant. Inner products of such points are products of inner products,

    <a h^T, b k^T> = <a, b> <h, k>

so distances cost A + D numbers a row, not A D. Plain points are the case of one factor.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from bert_kit.errors import DataError

BLOCK = 256  # centres whose distances to all rows are held at a time


def gradient_factors(probabilities: np.ndarray, embeddings: ArrayLike, multi_label: bool = False
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors (N, C) and (N, D) of the gradient embeddings (Ash et al. 2020, eq. 1).

    With logits W h and the model's own answer y as the label, the gradient of the loss by W is
    (p - y) h^T. y is 1 at the most probable class, or with several labels at each with p >= 1/2.
    `probabilities` are (N, C), `embeddings`, the input h of the last linear layer, (N, D).

    Examples
    --------
    >>> gradient_factors(np.array([[0.25, 0.75]]), np.array([[1.0, 2.0, 3.0]]))
    (array([[ 0.25, -0.25]]), array([[1., 2., 3.]]))
    """
    if multi_label:
        answers = probabilities >= 0.5
    else:
        answers = np.zeros_like(probabilities)
        answers[np.arange(len(answers)), probabilities.argmax(axis=1)] = 1
    return probabilities - answers, points(embeddings, len(probabilities))


def k_means_plus_plus(factors: Sequence[np.ndarray], count: int, rng: Generator) -> np.ndarray:
    """Return positions (count,) drawn by k-means++ seeding (Arthur & Vassilvitskii 2007).

    The first is any row; each further one is drawn with a probability proportional to the squared
    distance to the nearest row drawn so far. Each factor has N rows; at most N positions are
    returned.
    """
    rows = len(factors[0])
    squares = np.prod([(factor**2).sum(axis=1) for factor in factors], axis=0)
    nearest, chosen = np.full(rows, np.inf), []
    left = np.ones(rows, dtype=bool)
    while len(chosen) < min(count, rows):
        mass = np.where(left, nearest, 0) if chosen else np.zeros(rows)
        if not mass.sum() > 0:  # the first; or all that is left lies on a row that was drawn
            mass = left
        centre = int(rng.choice(rows, p=mass / mass.sum()))
        chosen.append(centre)
        left[centre] = False
        products = np.prod([factor @ factor[centre] for factor in factors], axis=0)
        nearest = np.minimum(nearest, np.maximum(squares + squares[centre] - 2 * products, 0))
    return np.array(chosen, dtype=np.int64)


def farthest_first(embeddings: ArrayLike, centres: ArrayLike, count: int, rng: Generator
                   ) -> np.ndarray:
    """Return positions (count,), each the row farthest from the centres and the rows before it.

    The greedy solution of the k-centre problem: the largest distance that is left is at most twice
    the smallest possible (Gonzalez 1985).

    Parameters
    ----------
    embeddings
        Of the rows, (N, D).
    centres
        What is covered already, (M, D). With M = 0 the first row is drawn.
    count
        At most N are returned.
    rng
        For the first row, and between rows that are equally far.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [4.0], [9.0]])
    >>> farthest_first(line, line[:1], 2, np.random.default_rng(0))
    array([3, 2])
    """
    rows, covered = np.asarray(embeddings), np.asarray(centres)
    order = rng.permutation(len(rows))
    rows = points(rows, len(rows))[order]
    covered = points(covered, len(covered)) if len(covered) else rows[:0]
    squares = (rows**2).sum(axis=1)
    nearest, chosen = np.full(len(rows), np.inf), []
    for start in range(0, len(covered), BLOCK):
        block = covered[start:start + BLOCK]
        distances = (squares - 2 * (block @ rows.T)) + (block**2).sum(axis=1)[:, None]
        nearest = np.minimum(nearest, distances.min(axis=0))
    while len(chosen) < min(count, len(rows)):
        centre = int(nearest.argmax())  # the first of equals, in an order that was drawn
        chosen.append(centre)
        nearest = np.minimum(nearest, squares + squares[centre] - 2 * (rows @ rows[centre]))
        nearest[centre] = -np.inf  # also where all that is left lies on a centre
    return order[np.array(chosen, dtype=np.int64)]


def points(embeddings: ArrayLike, count: int) -> np.ndarray:
    """Return embeddings as a float64 array of `count` rows, or say what they are."""
    values = np.asarray(embeddings, dtype=np.float64)
    if values.ndim != 2 or len(values) != count or not np.isfinite(values).all():
        raise DataError(f"embeddings of shape {values.shape}, "
                        f"{np.count_nonzero(~np.isfinite(values))} of them not finite; "
                        f"expected ({count}, width) of numbers")
    return values
