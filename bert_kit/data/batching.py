"""From rows of any length to batches: padding, order, and the place to resume from."""

import numpy as np
import torch
from torch.utils.data import DataLoader

from bert_kit.data.masking import IGNORE
from bert_kit.errors import DataError


def pad_batch(rows, pad_id=0):
    """Make one batch of rows.

    Parameters
    ----------
    rows : list of dict
        Each with `input_ids` and `token_type_ids` (S,), and labels: `labels` (S,) for tokens,
        or a number for the row, and `next_sentence_label`.
    pad_id : int
        Id written into padding.

    Returns
    -------
    dict of Tensor
        `input_ids`, `attention_mask` (1 at real tokens), `token_type_ids` (B, S) as wide as the
        longest row, and the labels; token labels are -100 at padding.

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
        if np.ndim(rows[0][key]) == 0:
            batch[key] = torch.tensor([row[key] for row in rows])
            continue
        grid = np.full((len(rows), width), fill[key], dtype=np.int64)
        for line, row in zip(grid, rows):
            line[:len(row[key])] = row[key]
        batch[key] = torch.from_numpy(grid)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return batch


class BatchSampler:
    """Which rows come together, and in which order, as a pure function of (seed, epoch).

    It yields lists of (epoch, index) pairs: a dataset that masks at random derives its random
    numbers from the pair, so that neither worker processes nor a restart change what a row looks
    like.

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
        is sorted by length, and the batches are shuffled again.
    """

    STRETCH = 50  # batches sorted together: long enough to even out, short enough to stay random

    def __init__(self, lengths, batch_size, shuffle=True, seed=0, group_by_length=False):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise DataError(f"batch_size is {batch_size!r}; expected a whole number from 1")
        self.lengths, self.batch_size = np.asarray(lengths), batch_size
        self.shuffle, self.seed, self.group_by_length = shuffle, seed, group_by_length
        self.epoch = self.first = 0

    def start_at(self, epoch, batch=0):
        """Let the next pass be that of `epoch`, without its first `batch` batches."""
        self.epoch, self.first = epoch, batch

    def __len__(self):
        """Batches of a whole pass, wherever the next one starts."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch):
        """Return all batches of an epoch, as arrays of row numbers."""
        rng = np.random.default_rng((self.seed, epoch))
        order = np.arange(len(self.lengths))
        if self.shuffle:
            rng.shuffle(order)
        size = self.batch_size
        if self.group_by_length:
            stretches = np.split(order, range(size * self.STRETCH, len(order),
                                              size * self.STRETCH))
            order = np.concatenate([rows[np.argsort(-self.lengths[rows], kind="stable")]
                                    for rows in stretches])
        batches = np.split(order, range(size, len(order), size))
        if self.group_by_length and self.shuffle:
            order = rng.permutation(len(batches) - 1)  # a shorter last batch stays last
            batches = [batches[i] for i in order] + batches[-1:]
        return batches

    def __iter__(self):
        for rows in self.batches(self.epoch)[self.first:]:
            yield [(self.epoch, int(row)) for row in rows]


class _Collate:
    """`pad_batch` with one tokenizer's padding id; a class, so that workers can receive it."""

    def __init__(self, pad_id):
        self.pad_id = pad_id

    def __call__(self, rows):
        return pad_batch(rows, self.pad_id)


def make_loader(dataset, batch_size, shuffle=True, seed=0, group_by_length=False, num_workers=0):
    """Return a torch DataLoader over a dataset of the kit, with a `BatchSampler`.

    `num_workers` processes prepare batches; the batches are the same with any number of them.
    """
    sampler = BatchSampler(dataset.lengths, batch_size, shuffle, seed, group_by_length)
    # A loader draws a seed for its workers at the start of each pass. From a generator of its
    # own, or a run resumed within a pass would have drawn once more than the unbroken one.
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=_Collate(dataset.pad_id),
                      num_workers=num_workers, generator=torch.Generator().manual_seed(seed))
