"""A shuffled order that is computed where it is asked for, never written down.

Shuffling a list of a billion rows takes gigabytes, in every process, before the first batch. A
cipher is a shuffle too: encrypting a number gives another number of the same range, and no two
give the same. So the row at place p of the order is p, encrypted under the keys of this epoch.

The cipher is a Feistel network over the next power of four. What comes out at or above `size` is
encrypted again until it does not (cycle-walking): fewer than four times on average (Black and
Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 4).
"""

import numpy as np

ROUNDS = 8  # of the network; four would do for the eye (Luby and Rackoff 1988), eight are cheap

# The mixing steps of splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
# generators", figure 16): a change of one bit changes about half of all bits.
_MIXING = [(np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
           (np.uint64(27), np.uint64(0x94D049BB133111EB))]


def permute(positions: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return what stands at some positions of a shuffled range(size).

    Parameters
    ----------
    positions
        Each from 0 to size - 1.
    size
        At most 2**62.
    rng
        The keys are its next draws: generators in the same state give the same order.

    Returns
    -------
        As many int64 numbers; those of all positions are range(size) in another order.

    Examples
    --------
    >>> orders = [permute(np.arange(7), 7, np.random.default_rng(seed)) for seed in (0, 1)]
    >>> [sorted(order.tolist()) for order in orders], bool((orders[0] == orders[1]).all())
    ([[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]], False)
    """
    keys = rng.integers(2**64, size=ROUNDS, dtype=np.uint64)
    bits = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))  # of one half
    numbers = _encrypt(np.array(positions, dtype=np.uint64, ndmin=1), keys, bits)
    outside = np.flatnonzero(numbers >= size)
    while len(outside) > 0:
        numbers[outside] = _encrypt(numbers[outside], keys, bits)
        outside = outside[numbers[outside] >= size]
    return numbers.astype(np.int64)


def _encrypt(numbers: np.ndarray, keys: np.ndarray, bits: np.uint64) -> np.ndarray:
    """Shuffle the numbers below 4**bits: each round adds a hash of one half to the other."""
    left, right = numbers >> bits, numbers & ((np.uint64(1) << bits) - np.uint64(1))
    for key in keys:
        mixed = right + key  # modulo 2**64, as everything here
        for shift, factor in _MIXING:
            mixed = (mixed ^ (mixed >> shift)) * factor
        left, right = right, left ^ (mixed >> (np.uint64(64) - bits))
    return (left << bits) | right
