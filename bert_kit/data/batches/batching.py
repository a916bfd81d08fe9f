"""From rows of any length to batches: padding, order, and the place to resume from."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bert_kit.checks import whole
from bert_kit.data.batches.permutation import permute
from bert_kit.data.batches.seeding import (
    ORDER, STRETCHES, Key, check_seed, epoch_and_row, generator_for)
from bert_kit.errors import DataError
from bert_kit.modes import IGNORE

Row = dict[str, Any]  # arrays (S,), numbers, or a list of windows; see `pad_batch`
Batch = dict[str, Tensor]


class Lengths(Protocol):
    """Tokens of each row: an array, or what reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...

    def mean(self) -> float: ...


class RowDataset(Dataset[Row]):
    """What `make_loader` makes batches of. A dataset sets `pad_id`, `lengths`, and has `make_row`.

    It is indexed by a row number, which means epoch 0, or by an (epoch, row) pair; see `seeding`
    for what depends on the epoch.
    """

    pad_id: int
    lengths: Lengths

    def make_row(self, row: int, epoch: int) -> Row:
        """Return a row as it is in an epoch."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: Key) -> Row:
        epoch, row = epoch_and_row(key, len(self))
        return self.make_row(row, epoch)


def pad_batch(rows: Sequence[Row], pad_id: int = 0, example: Row | None = None) -> Batch:
    """Make one batch of rows.

    Parameters
    ----------
    rows
        Each with `input_ids` and `token_type_ids` (S,), and labels: `labels` (S,) for tokens, a
        number for the row, or floats (C,) for its classes; and `next_sentence_label` or
        `sample_weights` (a float). Instead of the first two a row may have a list `windows` of
        such dicts.
    pad_id
        Id written into padding.
    example
        Any row of the dataset. It gives a batch of no rows its keys, types and axes.

    Returns
    -------
        `input_ids`, `attention_mask` (1 at real tokens), `token_type_ids` (B, S) as wide as the
        longest row, and the labels; token labels are -100 at padding. Whole numbers are int64,
        others float32. Of windows the first three are (B, K, S), where a text with fewer than K
        has no real token in the others.

    Examples
    --------
    >>> row = {"input_ids": [2, 9, 3], "token_type_ids": [0, 0, 0], "labels": 1}
    >>> short = {"input_ids": [2, 3], "token_type_ids": [0, 0], "labels": 0}
    >>> batch = pad_batch([row, short])
    >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist(), batch["labels"].tolist()
    ([[2, 9, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]], [1, 0])
    """
    if not rows and example is not None:
        return {key: value[:0] for key, value in pad_batch([example], pad_id).items()}
    if "windows" in rows[0]:
        return _pad_windows(rows, pad_id)
    width = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad_id, "token_type_ids": 0, "labels": IGNORE}
    batch: Batch = {}
    for key in rows[0]:
        values = [np.asarray(row[key]) for row in rows]
        if values[0].dtype.kind == "f":
            batch[key] = torch.from_numpy(np.stack(values).astype(np.float32))
        elif values[0].ndim == 0:
            batch[key] = torch.from_numpy(np.stack(values).astype(np.int64))
        else:
            grid = np.full((len(rows), width), fill[key], dtype=np.int64)
            for line, value in zip(grid, values, strict=True):
                line[:len(value)] = value
            batch[key] = torch.from_numpy(grid)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return batch


def _pad_windows(rows: Sequence[Row], pad_id: int) -> Batch:
    """Make one batch of rows that have windows: first of all windows, then texts of them."""
    most = max(len(row["windows"]) for row in rows)
    none = {"input_ids": np.zeros(0, np.int64), "token_type_ids": np.zeros(0, np.int64)}
    batch = pad_batch([window for row in rows for window in
                       row["windows"] + [none] * (most - len(row["windows"]))], pad_id)
    texts = pad_batch([none | {key: row[key] for key in row if key != "windows"} for row in rows])
    return texts | {key: value.unflatten(0, (len(rows), most)) for key, value in batch.items()}


class BatchSampler:
    """Which rows come together, and in which order, as a pure function of (seed, epoch).

    It yields lists of (epoch, row) pairs: a dataset that masks at random derives its random
    numbers from the pair (see `seeding`). The order is computed a stretch of batches at a time (see
    `permutation`): it takes no memory, and any batch is as near as the first.

    With `shuffle` every pass is the next epoch. Without it every pass is epoch 0 (or the one
    that `start_at` chose), in which a dataset always masks the same: what an evaluation needs.

    Parameters
    ----------
    lengths
        Tokens of each row. Besides lists and arrays, anything that has a `len` and can be indexed
        with an array of row numbers.
    batch_size
        Rows of a batch, in all processes together.
    shuffle
        A new order every epoch; else the given one.
    group_by_length
        Put rows of similar length together: each stretch of 50 batches of the order is sorted by
        length, and its batches are shuffled again (if `shuffle`).
    share
        Number of this process and how many there are: of each batch it gets the rows
        `number::processes`. The short last batch may leave it none; that is an empty list.

    Raises
    ------
    DataError
        If there are no rows, or the batch size is not a whole number from 1, or the seed not one
        from 0, or there is no such share.
    """

    STRETCH = 50  # batches sorted together: long enough to even out, short enough to stay random

    def __init__(self, lengths: Sequence[int] | Lengths, batch_size: int, shuffle: bool = True,
                 seed: int = 0, group_by_length: bool = False,
                 share: tuple[int, int] = (0, 1)) -> None:
        if len(lengths) == 0:
            raise DataError("no rows to make batches of; expected at least one")
        if not 0 <= share[0] < share[1]:
            raise DataError(f"share is {share!r}; expected the number of a process from 0, and "
                            "how many there are")
        self.lengths = np.asarray(lengths) if isinstance(lengths, Sequence) else lengths
        self.batch_size = whole("batch_size", batch_size, 1, error=DataError)
        self.share = share
        self.shuffle, self.seed = shuffle, check_seed(seed)
        self.group_by_length = group_by_length
        self.epoch = self.first = 0

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Let the next pass be that of `epoch`, without its first `batch` batches."""
        self.epoch, self.first = epoch, batch

    def __len__(self) -> int:
        """Batches of a whole pass, wherever the next one starts; the same in every process."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int = 0) -> Iterator[np.ndarray]:
        """Yield the batches of an epoch from number `first` on, as arrays of row numbers.

        They are those of all processes together.
        """
        for stretch in range(first // self.STRETCH, -(-len(self) // self.STRETCH)):
            yield from self._stretch(epoch, stretch)[max(0, first - stretch * self.STRETCH):]

    def _stretch(self, epoch: int, stretch: int) -> list[np.ndarray]:
        """Return the batches of a stretch as a list."""
        count, size = len(self.lengths), self.batch_size * self.STRETCH
        rows = np.arange(stretch * size, min((stretch + 1) * size, count))
        if self.shuffle:
            rows = permute(rows, count, generator_for(ORDER, self.seed, epoch))
        if self.group_by_length:
            rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
        batches = [rows[start:start + self.batch_size]
                   for start in range(0, len(rows), self.batch_size)]
        if self.group_by_length and self.shuffle:
            # The last batch of the epoch, which may be smaller, stays last.
            free = len(batches) - ((stretch + 1) * size >= count)
            order = permute(np.arange(free), free,
                            generator_for(STRETCHES, self.seed, epoch, stretch))
            batches[:free] = [batches[place] for place in order]
        return batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self.epoch, self.first
        self.epoch, self.first = epoch + bool(self.shuffle), 0
        number, processes = self.share
        for rows in self.batches(epoch, first):
            yield [(epoch, row) for row in rows[number::processes].tolist()]


def make_loader(dataset: RowDataset, batch_size: int, shuffle: bool = True, seed: int = 0,
                group_by_length: bool = False, num_workers: int = 0,
                share: tuple[int, int] = (0, 1), pin_memory: bool = False) -> DataLoader:
    """Return a torch DataLoader over a dataset of the kit, with a `BatchSampler`.

    With `shuffle` every pass is a new epoch; `loader.batch_sampler.start_at` chooses another.
    `num_workers` processes prepare batches; the batches are the same with any number of them.
    With `share=(number, processes)` each of several training processes gets its rows of every
    batch; a batch that is too short for that has no rows, but all its keys. `pin_memory` puts
    batches where a GPU fetches them while it goes on computing.
    """
    sampler = BatchSampler(dataset.lengths, batch_size, shuffle, seed, group_by_length, share)
    collate = functools.partial(pad_batch, pad_id=dataset.pad_id, example=dataset[0])
    # A loader draws a seed for its workers at the start of each pass. From a generator of its
    # own, or a run resumed within a pass would have drawn once more than the unbroken one.
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate,
                      num_workers=num_workers, pin_memory=pin_memory,
                      generator=torch.Generator().manual_seed(seed))
