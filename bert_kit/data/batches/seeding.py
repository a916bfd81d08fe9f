"""Which random numbers a row gets: those of (seed, epoch, row), whoever asks and whenever.

A dataset that owned one generator would hand a copy of it to every worker process, which then
all draw the same, and draw the same again in the next epoch. A generator made anew for each row
has no such memory: neither worker processes nor a restart change what a row looks like.
"""

import operator

import numpy as np

from bert_kit.checks import whole
from bert_kit.errors import DataError

Key = int | tuple[int, int]  # of a dataset: a row number, which means epoch 0, or (epoch, row)

# What the numbers are for. Without it row 0 would be masked by the draws that ordered its epoch:
# numpy fills up a short seed with zeros.
ORDER, MASKS, PAIRS, TIES, STRETCHES = range(5)


def generator_for(purpose: int, seed: int, epoch: int, row: int = 0) -> np.random.Generator:
    """Return the numpy Generator of one row (or stretch; or, with row 0, of a whole epoch)."""
    return np.random.default_rng((seed, epoch, row, purpose))


def check_seed(seed: int) -> int:
    """Return the seed.

    Raises
    ------
    DataError
        If it is not a whole number from 0.
    """
    return whole("seed", seed, 0, error=DataError)


def epoch_and_row(key: Key, rows: int) -> tuple[int, int]:
    """Return (epoch, row) from either form of a dataset's index.

    Parameters
    ----------
    key
        A row may count from the end.
    rows
        Rows of the dataset.

    Raises
    ------
    IndexError
        If there is no such row; this is also what ends a `for` loop over a dataset.

    Examples
    --------
    >>> epoch_and_row(4, rows=5), epoch_and_row((2, -1), rows=5)
    ((0, 4), (2, 4))
    """
    epoch, row = map(operator.index, key) if isinstance(key, tuple) else (0, operator.index(key))
    if not -rows <= row < rows:
        raise IndexError(f"row {row} of a dataset of {rows} rows")
    return epoch, row % rows
