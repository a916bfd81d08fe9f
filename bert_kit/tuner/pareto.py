"""Several objectives at once: which trials no other beats, and in which order the rest follow."""

import numpy as np
from numpy.typing import ArrayLike


def pareto_front(losses: ArrayLike) -> np.ndarray:
    """Return the places of the rows (N, M) of losses that no other row beats.

    To beat is to be better in one and no worse in all.

    Examples
    --------
    >>> pareto_front([[1, 4], [2, 2], [3, 3]]).tolist()
    [0, 1]
    """
    return np.flatnonzero(~_beats(np.asarray(losses)).any(axis=0))


def _beats(losses: np.ndarray) -> np.ndarray:
    """Return (N, N) whether the first row beats the second."""
    no_worse, better = losses[:, None] <= losses, losses[:, None] < losses
    return np.logical_and(no_worse.all(axis=2), better.any(axis=2))


def pareto_order(losses: np.ndarray) -> list[int]:
    """Return the places (N) by front and, on it, by crowding distance, the lonely first.

    Deb et al. 2002, NSGA-II.
    """
    order: list[int] = []
    beats = _beats(losses)
    beaten_by = beats.sum(axis=0)
    while len(order) < len(losses):
        front = np.flatnonzero(beaten_by == 0)
        distance = np.zeros(len(front))
        for values in losses[front].T:
            along = np.argsort(values, kind="stable")
            gaps = np.diff(values[along], prepend=-np.inf, append=np.inf)
            distance[along] += (gaps[:-1] + gaps[1:]) / max(np.ptp(values), 1e-12)
        order.extend(front[np.argsort(-distance, kind="stable")])
        beaten_by -= beats[front].sum(axis=0)
        beaten_by[front] = -1  # done
    return order
