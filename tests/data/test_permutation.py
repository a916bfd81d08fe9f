"""The order computed on demand: a shuffle like any other, by brute force on small sizes."""

import itertools
import tracemalloc

import numpy as np
import pytest

from bert_kit.data.batches.permutation import permute


def order(size, seed=0):
    return permute(np.arange(size), size, np.random.default_rng(seed))


def test_every_number_once():
    for size in [*range(1, 201), 255, 256, 257, 4_095, 4_096, 4_097, 65_537]:
        assert sorted(order(size, size).tolist()) == list(range(size)), size


@pytest.mark.parametrize("size", [10**7 + 19, 2**40 + 15, 2**62])
def test_large_sizes_on_a_sample(size):
    """Half a million places have different numbers, from everywhere in the range."""
    places = np.arange(size - 500_000, size)
    numbers = permute(places, size, np.random.default_rng(0))
    assert numbers.min() >= 0 and numbers.max() < size
    assert len(np.unique(numbers)) == len(places)
    counts = np.bincount(numbers // (size // 100 + 1), minlength=100)
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 190  # chi-square of 99 degrees; p = 1e-7


def test_a_number_depends_on_its_place_only():
    for size in (1, 2, 77, 1_000):
        whole = order(size, 3)
        for places in (np.arange(size)[::-1], np.array([size - 1, 0, size - 1]), np.arange(0)):
            assert (permute(places, size, np.random.default_rng(3)) == whole[places]).all()
        assert whole.dtype == np.int64


def test_positions_are_not_changed():
    positions = np.arange(100, dtype=np.uint64)
    permute(positions, 100, np.random.default_rng(0))
    assert (positions == np.arange(100)).all()


def test_seeds_give_different_orders():
    assert len({order(50, seed).tobytes() for seed in range(500)}) == 500


@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_orders_of_few_rows_are_equally_likely(size):
    orders = {pair: 0 for pair in itertools.permutations(range(size))}
    trials = 300 * len(orders)
    for seed in range(trials):
        orders[tuple(order(size, seed).tolist())] += 1
    square = sum((count - 300) ** 2 / 300 for count in orders.values())
    assert square < {2: 20, 3: 35, 4: 75}[size]  # p below 1e-5


@pytest.mark.parametrize("size", [5, 16, 23, 64])
def test_every_place_gets_every_number_equally_often(size):
    """And so do pairs of neighbours: their difference is uniform too."""
    orders = np.array([order(size, seed) for seed in range(100 * size)])
    for place in range(size):
        counts = np.bincount(orders[:, place], minlength=size)
        square = ((counts - 100) ** 2 / 100).sum()
        assert abs(square - (size - 1)) < 6 * (2 * size) ** 0.5 + 6
    steps = (np.diff(orders, axis=1) % size)
    counts = np.bincount(steps.ravel(), minlength=size)[1:]
    expected = steps.size / (size - 1)
    assert ((counts - expected) ** 2 / expected).sum() < size + 6 * (2 * size) ** 0.5 + 6


def test_a_large_order_looks_shuffled():
    """Neither places and numbers go together, nor the numbers of neighbouring places."""
    numbers = order(100_000)
    for pair in ((numbers, np.arange(100_000)), (numbers[1:], numbers[:-1]),
                 (numbers[2:], numbers[:-2])):
        assert abs(np.corrcoef(*pair)[0, 1]) < 5 / 100_000 ** 0.5
    assert abs(np.sum(np.diff(numbers) > 0) - 50_000) < 5 * (100_000 / 12) ** 0.5


def test_memory_does_not_grow_with_the_size():
    tracemalloc.start()
    permute(np.arange(10**12, 10**12 + 1_600), 10**12 + 10**6, np.random.default_rng(0))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
