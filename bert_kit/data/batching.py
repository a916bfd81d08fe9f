"""From rows of any length to batches: padding, order, and the place to resume from."""

import functools

import numpy as np
import torch
from torch.utils.data import DataLoader

from bert_kit.data.draws import ORDER, check_seed, generator_for
from bert_kit.data.masking import IGNORE
from bert_kit.errors import DataError


def pad_batch(rows, pad_id=0):
    """Make one batch of rows.

    Parameters
    ----------
    rows : list of dict
        Each with `input_ids` and `token_type_ids` (S,), and labels: `labels` (S,) for tokens, a
        number for the row, or floats (C,) for its classes; and `next_sentence_label` or
        `sample_weights` (a float).
    pad_id : int
        Id written into padding.

    Returns
    -------
    dict of Tensor
        `input_ids`, `attention_mask` (1 at real tokens), `token_type_ids` (B, S) as wide as the
        longest row, and the labels; token labels are -100 at padding. Whole numbers are int64,
        others float32.

    Examples
    --------
    >>> row = {"input_ids": [2, 9, 3], "token_type_ids": [0, 0, 0], "labels": 1}
    >>> short = {"input_ids": [2, 3], "token_type_ids": [0, 0], "labels": 0}
    >>> batch = pad_batch([row, short])
    >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist(), batch["labels"].tolist()
    ([[2, 9, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]], [1, 0])
    """
    width = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad_id, "token_type_ids": 0, "labels": IGNORE}
    batch = {}
    for key in rows[0]:
        values = [np.asarray(row[key]) for row in rows]
        if values[0].dtype.kind == "f":
            batch[key] = torch.from_numpy(np.stack(values).astype(np.float32))
        elif values[0].ndim == 0:
            batch[key] = torch.from_numpy(np.stack(values).astype(np.int64))
        else:
            grid = np.full((len(rows), width), fill[key], dtype=np.int64)
            for line, value in zip(grid, values):
                line[:len(value)] = value
            batch[key] = torch.from_numpy(grid)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return batch


class BatchSampler:
    """Which rows come together, and in which order, as a pure function of (seed, epoch).

    It yields lists of (epoch, row) pairs: a dataset that masks at random derives its random
    numbers from the pair (see `draws`).

    With `shuffle` every pass is the next epoch. Without it every pass is epoch 0 (or the one
    that `start_at` chose), in which a dataset always masks the same: what an evaluation needs.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    batch_size : int
    shuffle : bool
        A new order every epoch; else the given one.
    seed : int
    group_by_length : bool
        Put rows of similar length together: the order is cut into stretches of 50 batches, each
        is sorted by length, and the batches are shuffled again (if `shuffle`).

    Raises
    ------
    DataError
        If there are no rows, or the batch size is not a whole number from 1, or the seed not one
        from 0.
    """

    STRETCH = 50  # batches sorted together: long enough to even out, short enough to stay random

    def __init__(self, lengths, batch_size, shuffle=True, seed=0, group_by_length=False):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise DataError(f"batch_size is {batch_size!r}; expected a whole number from 1")
        if len(lengths) == 0:
            raise DataError("no rows to make batches of; expected at least one")
        self.lengths, self.batch_size = np.asarray(lengths), batch_size
        self.shuffle, self.seed = shuffle, check_seed(seed)
        self.group_by_length = group_by_length
        self.epoch = self.first = 0

    def start_at(self, epoch, batch=0):
        """Let the next pass be that of `epoch`, without its first `batch` batches."""
        self.epoch, self.first = epoch, batch

    def __len__(self):
        """Batches of a whole pass, wherever the next one starts."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch):
        """Return all batches of an epoch, as arrays of row numbers."""
        rng = generator_for(ORDER, self.seed, epoch)
        order = np.arange(len(self.lengths))
        if self.shuffle:
            rng.shuffle(order)
        if self.group_by_length:
            for rows in _cut(order, self.batch_size * self.STRETCH):
                rows[:] = rows[np.argsort(-self.lengths[rows], kind="stable")]
        batches = _cut(order, self.batch_size)
        if self.group_by_length and self.shuffle:
            *whole, last = batches  # the last one, which may be smaller, stays last
            batches = [*(whole[i] for i in rng.permutation(len(whole))), last]
        return batches

    def __iter__(self):
        epoch, first = self.epoch, self.first
        self.epoch, self.first = epoch + bool(self.shuffle), 0
        for rows in self.batches(epoch)[first:]:
            yield [(epoch, row) for row in rows.tolist()]


def _cut(order, size):
    """Return consecutive views of `size` numbers; the last may be shorter."""
    return [order[start:start + size] for start in range(0, len(order), size)]


def make_loader(dataset, batch_size, shuffle=True, seed=0, group_by_length=False, num_workers=0):
    """Return a torch DataLoader over a dataset of the kit, with a `BatchSampler`.

    With `shuffle` every pass is a new epoch; `loader.batch_sampler.start_at` chooses another.
    `num_workers` processes prepare batches; the batches are the same with any number of them.
    """
    sampler = BatchSampler(dataset.lengths, batch_size, shuffle, seed, group_by_length)
    # A loader draws a seed for its workers at the start of each pass. From a generator of its
    # own, or a run resumed within a pass would have drawn once more than the unbroken one.
    return DataLoader(dataset, batch_sampler=sampler,
                      collate_fn=functools.partial(pad_batch, pad_id=dataset.pad_id),
                      num_workers=num_workers, generator=torch.Generator().manual_seed(seed))
