"""Batches: padding by hand, every row once, and the place to go on from."""

import json
import pickle
import random
import tracemalloc

import numpy as np
import pytest
import torch
from tiny_rows import Rows
from tiny_texts import make_texts, tokenizer
from torch.utils.data import DataLoader

from bert_kit.data import (BatchSampler, ClassificationDataset, MLMDataset, NSPDataset,
                           make_loader, pad_batch)
from bert_kit.errors import DataError

ROWS = [{"input_ids": np.array([2, 9, 8, 3]), "token_type_ids": np.array([0, 0, 1, 1]),
         "labels": np.array([-100, 9, -100, -100]), "next_sentence_label": 1},
        {"input_ids": np.array([2, 3]), "token_type_ids": np.array([0, 0]),
         "labels": np.array([5, -100]), "next_sentence_label": 0}]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        assert batch.keys() == other.keys()
        assert all(torch.equal(batch[key], other[key]) for key in batch)


def made_lengths(rows, seed=0):
    return np.random.default_rng(seed).lognormal(3, 0.8, rows).astype(int) + 2


def test_pad_batch_by_hand():
    batch = pad_batch(ROWS, pad_id=7)
    assert {key: value.tolist() for key, value in batch.items()} == {
        "input_ids": [[2, 9, 8, 3], [2, 3, 7, 7]],
        "token_type_ids": [[0, 0, 1, 1], [0, 0, 0, 0]],
        "labels": [[-100, 9, -100, -100], [5, -100, -100, -100]],
        "next_sentence_label": [1, 0],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]]}
    assert all(value.dtype == torch.int64 for value in batch.values())


def test_padding_id_inside_a_row_is_no_padding():
    assert pad_batch(ROWS, pad_id=9)["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_kinds_of_labels():
    """Class numbers are (B,), floats by class (B, C) as many as they are, numbers float32 (B,)."""
    def labels(*values):
        return pad_batch([{**row, "labels": value} for row, value in zip(ROWS, values)])["labels"]
    assert labels(np.int32(3), 1).dtype == torch.int64
    several = labels([0.0, 1.0, 1.0], np.array([1.0, 0.5, 0.0]))
    assert several.dtype == torch.float32 and several.tolist() == [[0, 1, 1], [1, 0.5, 0]]
    assert labels(0.25, np.float64(3)).dtype == torch.float32


def test_pad_batch_changes_no_row():
    before = pickle.dumps(ROWS)
    pad_batch(ROWS)["input_ids"].zero_()
    assert pickle.dumps(ROWS) == before


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 1_000])
@pytest.mark.parametrize("size", [1, 3, 8, 100])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("group", [False, True])
def test_every_row_once_an_epoch(rows, size, shuffle, group):
    sampler = BatchSampler(made_lengths(rows), size, shuffle, 5, group)
    for epoch in (0, 3):
        sampler.start_at(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == -(-rows // size)
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        keys = [key for batch in batches for key in batch]
        assert sorted(keys) == [(epoch, row) for row in range(rows)]
        assert json.dumps(keys)  # plain ints
        if not shuffle and not group:
            assert keys == sorted(keys)


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_start_at_is_the_tail_of_the_full_pass(shuffle, group):
    full = BatchSampler(made_lengths(500), 7, shuffle, 1, group)
    for epoch in (0, 1, 4):
        full.start_at(epoch)
        batches = list(full)
        for first in range(len(batches) + 1):
            tail = BatchSampler(made_lengths(500), 7, shuffle, 1, group)
            tail.start_at(epoch, first)
            assert list(tail) == batches[first:]


def test_passes_follow_one_another():
    """A shuffled pass is followed by the next epoch, also after a resumed or broken one."""
    sampler = BatchSampler(range(20), 3, seed=2)
    epochs = [[[(epoch, row) for row in rows.tolist()] for rows in sampler.batches(epoch)]
              for epoch in range(9)]
    assert [list(sampler) for _ in range(3)] == epochs[:3]
    sampler.start_at(5, 4)
    assert [list(sampler), list(sampler)] == [epochs[5][4:], epochs[6]]
    assert next(iter(sampler)) == epochs[7][0]
    assert list(sampler) == epochs[8]


def test_unshuffled_passes_repeat():
    sampler = BatchSampler(range(20), 3, shuffle=False)
    assert list(sampler) == list(sampler)
    assert {epoch for batch in sampler for epoch, _ in batch} == {0}
    sampler.start_at(2, 1)
    assert [len(list(sampler)), len(list(sampler))] == [6, 7]


def test_orders_differ_by_seed_and_epoch_only():
    def order(seed, epoch, group=False):
        sampler = BatchSampler(made_lengths(99), 4, True, seed, group)
        return np.concatenate(list(sampler.batches(epoch)))
    assert (order(3, 4) == order(3, 4)).all() and (order(3, 4, True) == order(3, 4, True)).all()
    assert len({order(seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}) == 25


def test_orders_are_equally_likely():
    sampler, counts = BatchSampler([1] * 3, 3, seed=0), {}
    for epoch in range(6_000):
        order = tuple(next(sampler.batches(epoch)).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 1_000) < 4 * (6_000 / 6 * 5 / 6) ** 0.5 for count in counts.values())


def test_grouping_reduces_padding():
    lengths = made_lengths(2_000)

    def padding(shuffle, group):
        return sum(int((lengths[rows].max() - lengths[rows]).sum())
                   for rows in BatchSampler(lengths, 16, shuffle, 0, group).batches(1))
    assert padding(True, True) < padding(True, False) / 8
    assert padding(False, True) < padding(False, False) / 8


def test_grouped_batches_come_in_no_order_of_length():
    """Over 40 epochs length and place do not go together; only the short last batch stays last."""
    lengths, correlations = made_lengths(725), []  # 46 batches: one stretch
    for epoch in range(40):
        batches = list(BatchSampler(lengths, 16, group_by_length=True).batches(epoch))
        assert len(batches[-1]) == 725 % 16
        means = [lengths[rows].mean() for rows in batches[:-1]]
        correlations.append(np.corrcoef(means, range(45))[0, 1])
    assert abs(np.mean(correlations)) < 4 / (44 * 40) ** 0.5


class Lengths:
    """Lengths as a store gives them: with a `len`, and read for some rows at a time."""

    def __init__(self, rows, largest=10**9):
        self.rows, self.largest = rows, largest

    def __len__(self):
        return self.rows

    def __getitem__(self, rows):
        assert isinstance(rows, np.ndarray) and len(rows) <= self.largest
        return rows * 7 % 100 + 2


@pytest.mark.parametrize("shuffle", [False, True])
def test_lengths_are_read_as_they_are_needed(shuffle):
    """A stretch at a time, whatever holds them; a list, an array and a store give one order."""
    plain = (np.arange(3_001) * 7 % 100 + 2)
    samplers = [BatchSampler(lengths, 3, shuffle, 4, group_by_length=True)
                for lengths in (plain, plain.tolist(), Lengths(3_001, largest=150))]
    first, *others = [[rows.tolist() for rows in sampler.batches(2)] for sampler in samplers]
    assert all(other == first for other in others) and len(first) == 1_001


@pytest.mark.parametrize("group", [False, True])
def test_ten_million_rows(group):
    """The first batch, and one in the middle, take no memory by row, and so no time."""
    sampler = BatchSampler(Lengths(10**7), 32, seed=1, group_by_length=group)
    for place in (0, 150_000):
        tracemalloc.start()
        sampler.start_at(1, place)
        batch = next(iter(sampler))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(batch) == 32 and peak < 2**20


def test_stretches_hold_the_same_rows_grouped_or_not():
    """Grouping moves rows and batches within stretches of 50 batches, not beyond them."""
    plain, grouped = (list(BatchSampler(made_lengths(1_000), 6, True, 3, group).batches(5))
                      for group in (False, True))
    for start in range(0, len(plain), 50):
        one, other = (np.concatenate(batches[start:start + 50]) for batches in (plain, grouped))
        assert sorted(one) == sorted(other) and (one != other).any()


@pytest.mark.parametrize("rows, size, processes", [(50, 7, 3), (9, 4, 2), (5, 8, 3), (1, 4, 4)])
@pytest.mark.parametrize("group", [False, True])
def test_shares_make_up_the_batches(rows, size, processes, group):
    whole = BatchSampler(made_lengths(rows), size, True, 2, group)
    parts = [BatchSampler(made_lengths(rows), size, True, 2, group, (number, processes))
             for number in range(processes)]
    for sampler in (whole, *parts):
        sampler.start_at(1, 0)
    assert {len(sampler) for sampler in parts} == {len(whole)}
    for batch, *shares in zip(whole, *parts, strict=True):
        assert shares == [batch[number::processes] for number in range(processes)]


@pytest.mark.parametrize("name", ["mlm", "nsp", "classes"])
def test_a_share_without_rows_is_a_batch_of_none(name):
    dataset = datasets()[name]
    size = len(dataset) - 1  # leaves one row for the last batch
    full, rest = make_loader(dataset, size, share=(1, 2))
    assert len(full["input_ids"]) == size // 2
    assert rest.keys() == full.keys()
    for key, value in rest.items():
        assert len(value) == 0 and value.dtype == full[key].dtype
        assert value.dim() == full[key].dim()
    assert rest["input_ids"].shape == rest["attention_mask"].shape


@pytest.mark.parametrize("arguments, message", [
    (([1, 2], 0), "batch_size is 0"), (([1, 2], 2.5), "batch_size is 2.5"),
    (([1, 2], True), "batch_size is True"), (([], 2), "no rows"),
    (([1, 2], 2, True, -1), "seed is -1"), (([1, 2], 2, True, 0.5), "seed is 0.5"),
    (([1, 2], 2, True, 0, False, (2, 2)), r"share is \(2, 2\)"),
    (([1, 2], 2, True, 0, False, (-1, 2)), r"share is \(-1, 2\)")])
def test_bad_arguments_get_one_line(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        BatchSampler(*arguments)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


def datasets():
    documents = [make_texts(6, seed=i) for i in range(9)]
    texts = make_texts(41)
    return {"mlm": MLMDataset(texts, tokenizer(), 20, whole_word=True),
            "nsp": NSPDataset(documents, tokenizer(), 30),
            "classes": ClassificationDataset(texts, [i % 3 for i in range(41)], tokenizer())}


@pytest.mark.parametrize("name", ["mlm", "nsp", "classes"])
def test_workers_change_nothing(name):
    """0 and 2 worker processes give the same batches, in both epochs and from a place within."""
    passes = []
    for workers in (0, 2):
        loader = make_loader(datasets()[name], 4, seed=3, group_by_length=True,
                             num_workers=workers)
        loader.batch_sampler.start_at(1, 2)
        passes.append([list(loader), list(loader)])
        assert len(passes[-1][0]) == len(loader) - 2 and len(passes[-1][1]) == len(loader)
    assert_same(passes[0][0] + passes[0][1], passes[1][0] + passes[1][1])


@pytest.mark.parametrize("name", ["mlm", "nsp", "classes"])
def test_a_copy_in_another_process_is_the_same(name):
    """Pickled, as worker processes may get it; the loader's own parts as well."""
    loader = make_loader(datasets()[name], 4)
    dataset, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    rows = [(epoch, row) for epoch in range(2) for row in range(len(dataset))]
    assert_same([collate([dataset[key]]) for key in rows],
                [loader.collate_fn([loader.dataset[key]]) for key in rows])


def test_global_generators_stay_untouched():
    states = torch.get_rng_state(), pickle.dumps(np.random.get_state()), random.getstate()
    for dataset in datasets().values():
        assert sum(len(batch["input_ids"]) for batch in make_loader(dataset, 4)) == len(dataset)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert pickle.dumps(np.random.get_state()) == states[1] and random.getstate() == states[2]


def test_padding_takes_the_tokenizers_id():
    dataset = Rows(9)
    dataset.pad_id = 98
    batch = next(iter(make_loader(dataset, 9)))
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 98).all()
    assert (batch["attention_mask"].sum(1) == torch.tensor(
        [dataset.lengths[row] for _, row in next(iter(make_loader(dataset, 9).batch_sampler))])
    ).all()


@pytest.mark.parametrize("name", ["mlm", "nsp", "classes"])
def test_any_torch_loader_takes_the_rows(name):
    """Plain row numbers mean epoch 0; counting from the end and a `for` loop work as in lists."""
    dataset = datasets()[name]
    plain = list(DataLoader(dataset, batch_size=4, collate_fn=pad_batch))
    assert_same(plain, list(make_loader(dataset, 4, shuffle=False)))
    rows = [pad_batch([row]) for row in dataset]
    assert_same(rows, [pad_batch([dataset[(0, row)]]) for row in range(len(dataset))])
    assert_same([pad_batch([dataset[-1]]), pad_batch([dataset[np.int64(2)]])],
                [rows[-1], rows[2]])
    for key in (len(dataset), -len(dataset) - 1, (1, len(dataset))):
        with pytest.raises(IndexError):
            dataset[key]
