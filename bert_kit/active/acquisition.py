"""Which unlabelled rows to ask about next: nine answers, all with the same signature.

An acquisition function is `choose(pool, count, rng) -> positions (count,)`: it takes what it needs
from the pool (dropout passes, one table of probabilities, embeddings) and names positions in it.
Any function of that form will do. Equal scores are taken in the order of the generator.

Probabilities are those of a softmax where a text has one class, and of sigmoids where it may have
several (`pool.multi_label`). With sigmoids the labels are taken as independent, so the scores of
one class become those of a whole set of labels: its entropy is the sum over the labels, its
probability the product.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from bert_kit.active.diversity import farthest_first, gradient_factors, k_means_plus_plus
from bert_kit.errors import DataError

SUM_TOLERANCE = 0.02  # half precision rounds the probabilities of a row by up to about 0.01


class Pool(Protocol):
    """The unlabelled rows as the present model sees them: what acquisition functions ask for.

    Attributes
    ----------
    multi_label
        Whether the probabilities are those of sigmoids.
    """

    multi_label: bool

    def __len__(self) -> int:
        """Return the number of rows N."""
        ...

    def passes(self) -> Iterator[np.ndarray]:
        """Yield T tables of probabilities (N, C), each with dropout on; see `dropout_on`."""
        ...

    def probabilities(self) -> np.ndarray:
        """Return the probabilities (N, C), dropout off."""
        ...

    def embeddings(self) -> np.ndarray:
        """Return what goes into the last linear layer (N, D), dropout off."""
        ...

    def labelled_embeddings(self) -> np.ndarray:
        """Return the same for the rows that have a label (M, D)."""
        ...


Choose = Callable[[Pool, int, Generator], np.ndarray]


def lowest(scores: np.ndarray, count: int, rng: Generator) -> np.ndarray:
    """Return the positions of the `count` lowest scores (N,), ties in the order of a draw."""
    order = rng.permutation(len(scores))
    return order[np.argsort(scores[order], kind="stable")[:count]]


def random(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose any rows: what every other method has to beat."""
    return rng.permutation(len(pool))[:count]


# One pass without dropout


def entropy(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the rows whose prediction has the highest entropy (Shannon 1948)."""
    return lowest(-entropies(_table(pool), pool.multi_label), count, rng)


def least_confidence(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the rows whose best answer has the lowest probability (Lewis & Gale 1994).

    With several labels that is the most probable set of labels: prod_j max(p_j, 1 - p_j).
    """
    return lowest(_best_and_second(_table(pool), pool.multi_label)[0], count, rng)


def margin(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the rows whose best two answers are closest in probability (Scheffer et al. 2001).

    With several labels the second best set of labels differs from the best in the one label that
    is least sure.
    """
    best, second = _best_and_second(_table(pool), pool.multi_label)
    return lowest(best - second, count, rng)


def deterministic_beal(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the lowest `confidence` of one pass without dropout: the ablation of BEAL."""
    return lowest(confidence(relevance(pool.probabilities())), count, rng)


# Many passes with dropout


def beal(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the lowest `expected_confidence` (Wang et al. 2024, equation 9)."""
    return lowest(expected_confidence(pool.passes()), count, rng)


def bald(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose the rows on which the passes disagree most (Houlsby et al. 2011, Gal et al. 2017)."""
    return lowest(-mutual_information(pool.passes(), pool.multi_label), count, rng)


# Rows unlike each other


def badge(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose rows whose gradients are large and differ (Ash et al. 2020, algorithm 1).

    The gradient is that of the loss at the model's own answer, by the weights of the last layer;
    k-means++ seeding spreads the rows over these gradients.
    """
    factors = gradient_factors(_table(pool), pool.embeddings(), pool.multi_label)
    return k_means_plus_plus(factors, count, rng)


def core_set(pool: Pool, count: int, rng: Generator) -> np.ndarray:
    """Choose rows that leave none far from a labelled one (Sener & Savarese 2018, algorithm 1)."""
    return farthest_first(pool.embeddings(), pool.labelled_embeddings(), count, rng)


ACQUISITIONS: dict[str, Choose] = {choose.__name__: choose for choose in (
    beal, deterministic_beal, bald, badge, core_set, entropy, margin, least_confidence, random)}


# The scores


def relevance(probabilities: ArrayLike) -> np.ndarray:
    """Return R(Y) = 2^Y - 1 of probabilities (N, C) (Wang et al. 2024, equation 1)."""
    return np.exp2(checked_table(probabilities)) - 1


def confidence(relevances: np.ndarray) -> np.ndarray:
    """Return conf (N,) = sum_j R_j / rank_j of relevances (N, C); the largest has rank 1.

    Equation 2, with the ranking that the relevances themselves give. From 0 up to the harmonic
    number 1 + 1/2 + … + 1/C; the order of the labels does not matter.

    Examples
    --------
    >>> confidence(np.array([[0.5, 0.0, 1.0]]))  # 1/1 + 0.5/2 + 0/3
    array([1.25])
    """
    descending = -np.sort(-relevances, axis=1)
    return (descending / np.arange(1, descending.shape[1] + 1)).sum(axis=1)


def expected_confidence(passes: Iterable[np.ndarray]) -> np.ndarray:
    """Return EC (N,) of T tables of probabilities (N, C) (Wang et al. 2024, equations 6 to 8).

    The paper ranks the labels once, by their mean relevance over the passes, and averages conf
    under that ranking:

        EC = 1/T sum_t sum_j R(Y_j^t) / rank(j) = sum_j (mean_t R(Y_j^t)) / rank(j)

    So the confidence of the mean relevance is all that is needed, and no pass has to be kept.

    Examples
    --------
    >>> expected_confidence([np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])])  # 0.5/1 + 0.5/2
    array([0.75])
    """
    total, count = np.zeros(1), 0
    for probabilities in passes:
        total, count = total + relevance(probabilities), count + 1
    _check_passes(count)
    return confidence(total / count)


def mutual_information(passes: Iterable[np.ndarray], multi_label: bool = False) -> np.ndarray:
    """Return H(mean_t p) - mean_t H(p_t) (N,): how much an answer would say about the model.

    From 0, where all passes agree, to log C; with several labels the sum over them, at most
    C log 2.
    """
    mean, mean_entropy, count = np.zeros(1), np.zeros(1), 0
    for probabilities in passes:
        probabilities = checked_table(probabilities, multi_label)
        mean, count = mean + probabilities, count + 1
        mean_entropy = mean_entropy + entropies(probabilities, multi_label)
    _check_passes(count)
    return entropies(mean / count, multi_label) - mean_entropy / count


def entropies(probabilities: np.ndarray, multi_label: bool = False) -> np.ndarray:
    """Return the entropy (N,) in nats of each row of probabilities (N, C).

    Examples
    --------
    >>> entropies(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4)
    array([0.    , 0.6931])
    """
    terms = _p_log_p(probabilities)
    if multi_label:
        terms = terms + _p_log_p(1 - probabilities)
    return 0.0 - terms.sum(axis=1)  # not -0


def _p_log_p(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))  # 0 at 0, its limit


def _best_and_second(probabilities: np.ndarray, multi_label: bool
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability (N,) of the best answer and of the second best."""
    if not multi_label:
        second, best = np.partition(probabilities, [-2, -1], axis=1)[:, -2:].T
        return best, second
    surer = np.maximum(probabilities, 1 - probabilities)  # of each label, at least 1/2
    best = surer.prod(axis=1)
    return best, best * ((1 - surer) / surer).max(axis=1)


def _table(pool: Pool) -> np.ndarray:
    return checked_table(pool.probabilities(), pool.multi_label)


def checked_table(probabilities: ArrayLike, multi_label: bool = True) -> np.ndarray:
    """Return probabilities as a float64 array (N, C).

    Raises
    ------
    DataError
        If a number is not from 0 to 1 or, with one class a row, a row does not add up to 1.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < (1 if multi_label else 2):
        raise DataError(f"probabilities of shape {values.shape}; expected (rows, classes)")
    right = ((values >= 0) & (values <= 1)).all(axis=1)
    if not multi_label:
        right &= abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE
    if not right.all():
        row = int(right.argmin())
        raise DataError(f"probabilities of row {row} of the pool range from "
                        f"{values[row].min():.4g} to {values[row].max():.4g} and add up to "
                        f"{values[row].sum():.4g}; expected 0 to 1"
                        f"{'' if multi_label else ' and a sum of 1'}")
    return values


def _check_passes(count: int) -> None:
    if not count:
        raise DataError("the pool gave no pass with dropout; expected at least one")
