"""Where the real tokens of a padded batch go, so that no work is done on padding.

A batch arrives as a (B, S) grid. Everything but attention treats tokens one by one, so it can run
on the N real tokens alone, as (N, D). Attention needs whole rows: the packed rows are ordered by
length and taken in blocks (R, n). Rows of one length make a dense block; rows of nearly one length
share a block in which a little padding is masked, because many tiny products cost more than it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bert_kit.modes import ROUND, to_device

# Scores R * n * n of a block, for one head. With a dozen heads in float32 they take some
# megabytes: about what a core's cache holds, and enough work to pay for the calls.
BLOCK_SCORES = 2**17
# Scores on padding, for one head, that cost less than the calls of one more block.
WORTHWHILE_PADDING = 2**13
# Outside training the rows of a block are filled up to a multiple of this, what a processor takes
# at once: the products and the softmax of 61 scores take twice the time of 64.
LANES = 16
# A row alone, outside training, is filled up to a multiple of this only: the products of so few
# tokens take longer with each of them, and there are few enough lengths all the same.
ALONE = 4


class Block(NamedTuple):
    """R rows that attention takes together.

    Attributes
    ----------
    rows, length
        R, and the tokens n of its longest row.
    mask
        (R, n), True at real tokens; None when all rows are of one length.
    places, sources, padding
        (tokens,), where the packed tokens stand in the flattened (R, n); (R n,), which of them
        is read for each place, at padding any; and where padding stands. None where the packed
        tokens are the flattened (R, n) themselves.
    """

    rows: int
    length: int
    mask: Tensor | None = None
    places: Tensor | None = None
    sources: Tensor | None = None
    padding: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Number of packed tokens."""
        return self.rows * self.length if self.places is None else len(self.places)


@dataclass(frozen=True)
class Packing:
    """The order of the packed tokens of one batch.

    Attributes
    ----------
    rows, length
        B and S of the grid.
    index
        (N,), the place in the flattened grid of each packed token, the N real ones and on a CPU
        some copies of the first that fill up (see `ROUND` and `ALONE`); None when nothing is padded
        or filled up, so that the packed tokens are the grid itself.
    blocks
        What attention takes together, in packed order. Empty on accelerators, where it takes
        the whole grid in one masked call. A row alone is a block with what fills it up.
    mask
        (B, S), True at real tokens; None when nothing is padded.
    fill
        How many of the packed tokens, at the end, only fill up. No other token sees them.
    """

    rows: int
    length: int
    index: Tensor | None
    blocks: tuple[Block, ...]
    mask: Tensor | None
    fill: int = 0

    @classmethod
    def of(cls, mask: Tensor | None, shape: Sequence[int], device: torch.device,
           multiple: int = 1) -> "Packing":
        """Lay out a batch.

        Parameters
        ----------
        mask
            (B, S), True at real tokens. Left on the CPU it can be laid out without waiting for
            the accelerator that holds the rest of the batch.
        shape
            B and S.
        device
            Where the encoder runs.
        multiple
            The rows of a block are filled up to a multiple of it; more than 1 outside training.

        Examples
        --------
        >>> mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 1]]).bool()
        >>> packing = Packing.of(mask, mask.shape, mask.device)
        >>> packing.index[:7].tolist(), packing.blocks[0].mask.int().tolist()
        ([3, 0, 1, 2, 6, 7, 8], [[1, 0, 0], [1, 1, 1], [1, 1, 1]])
        """
        rows, length = shape
        blockwise = device.type == "cpu"
        if blockwise and rows == 1 and multiple > 1:
            return cls._of_one_row(mask, length, device)
        if mask is None or mask.all():
            blocks = _blocks([(rows, length)] if blockwise else (), multiple)
            return cls(rows, length, None, blocks, None)
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)
        places = torch.arange(rows * length, device=mask.device).view(rows, length)
        index = places[order][mask[order]]
        groups, fill = (), 0
        if blockwise:
            sizes, counts = lengths[order].unique_consecutive(return_counts=True)
            groups = zip(counts.tolist(), sizes.tolist(), strict=True)
            fill = -len(index) % ROUND
            index = torch.cat([index, index[:1].expand(fill)])
        return cls(rows, length, to_device(index, device), _blocks(groups, multiple),
                   to_device(mask, device), fill)

    @classmethod
    def _of_one_row(cls, mask: Tensor | None, length: int, device: torch.device) -> "Packing":
        """Lay out one text; attention reads it where it stands, with what fills it up."""
        index = torch.arange(length) if mask is None else mask[0].nonzero().flatten()
        real, fill = len(index), -len(index) % ALONE
        if real == length and not fill:
            return cls(1, length, None, (Block(1, length),), None)
        seen = torch.arange(real + fill)[None] < real if fill else None
        blocks = (Block(1, real + fill, seen),) if real else ()
        index = torch.cat([index, index[:1].expand(fill)])
        return cls(1, length, to_device(index, device), blocks, mask, fill)

    def pack(self, grid: Tensor) -> Tensor:
        """(B, S, …) -> (N, …), filled up."""
        flat = grid.flatten(0, 1)
        # Not flat[index]: its gradient is sorted by index on a GPU, where this one is only added.
        return flat if self.index is None else flat.index_select(0, self.index)

    def unpack(self, packed: Tensor) -> Tensor:
        """(N, …) -> (B, S, …), zero at padding."""
        if self.index is None:
            return packed.unflatten(0, (self.rows, self.length))
        real = len(self.index) - self.fill
        flat = packed.new_zeros(self.rows * self.length, *packed.shape[1:])
        flat.index_copy_(0, self.index[:real], packed[:real])
        return flat.unflatten(0, (self.rows, self.length))

    def split(self, packed: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """(N, …) -> a pair for each block: tokens (R, n, …), and the mask (R, n) or None."""
        *parts, _ = packed.split(self._sizes())
        return [(_spread(part, block), block.mask)
                for part, block in zip(parts, self.blocks, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """One (R, n, …) a block -> (N, …), the inverse of `split`, with zeros that fill up."""
        flat, sizes = [part.flatten(0, 1) for part in parts], self._sizes()
        if sizes[1:] == [0] and self.blocks[0].places is None:
            return flat[0]
        joined = flat[0].new_empty(sum(sizes), *flat[0].shape[1:])
        *places, rest = joined.split(sizes)
        for place, part, block in zip(places, flat, self.blocks, strict=True):
            if block.places is None:
                place.copy_(part)
            else:
                torch.index_select(part, 0, block.places, out=place)
        rest.zero_()
        return joined

    def _sizes(self) -> list[int]:
        """Return the packed tokens of each block, and how many fill up behind them."""
        sizes = [block.tokens for block in self.blocks]
        return [*sizes, 0 if self.index is None else len(self.index) - sum(sizes)]


def _spread(part: Tensor, block: Block) -> Tensor:
    """(tokens, …) -> (R, n, …), zero at padding."""
    if block.sources is not None and block.padding is not None:
        # Read and then cleared, not written into zeros: that takes four times as long.
        part = part.index_select(0, block.sources).index_fill_(0, block.padding, 0)
    return part.unflatten(0, (block.rows, block.length))


def _blocks(groups: Iterable[tuple[int, int]], multiple: int) -> tuple[Block, ...]:
    """Make blocks of (rows, tokens a row) groups, which come in order of length.

    A group joins the block before it if the padding that this adds is worthwhile. A block has at
    most `BLOCK_SCORES`, or one row.
    """
    joined: list[tuple[int, list[int]]] = []  # length of a block, and that of each of its rows
    for rows, tokens in groups:
        if not tokens:
            continue
        length = -(-tokens // multiple) * multiple
        if joined:
            longest, before = joined[-1]
            padding = len(before) * (length**2 - longest**2)
            if (padding <= WORTHWHILE_PADDING
                    and (len(before) + rows) * length**2 <= BLOCK_SCORES):
                joined[-1] = length, before + [tokens] * rows
                continue
        joined.append((length, [tokens] * rows))
    return tuple(block for length, tokens in joined for block in _make_blocks(length, tokens))


def _make_blocks(length: int, tokens: Sequence[int]) -> Iterator[Block]:
    """Yield the blocks of rows with so many tokens each, all of them as long as `length`."""
    most = max(1, BLOCK_SCORES // (length * length))
    for first in range(0, len(tokens), most):
        rows = tokens[first:first + most]
        if rows[0] == length:  # the shortest comes first
            yield Block(len(rows), length)
        else:
            mask = torch.arange(length) < torch.tensor(rows)[:, None]
            seen = mask.flatten()
            yield Block(len(rows), length, mask, seen.nonzero().flatten(), seen.cumsum(0) - 1,
                        (~seen).nonzero().flatten())
