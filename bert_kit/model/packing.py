"""Where the real tokens of a padded batch go, so that no work is done on padding.

A batch arrives as a (B, S) grid. Everything but attention treats tokens one by one, so it can run
on the N real tokens alone, as (N, D). Attention needs whole rows: the packed rows are ordered by
length, and rows of one length make dense (R, n) blocks that need no mask. Padding cannot change a
result, because it is not there.
"""

from dataclasses import dataclass

import torch

# Scores R * n * n of a block, for one head. With a dozen heads in float32 they take some
# megabytes: about what a core's cache holds, and enough work to pay for the calls.
BLOCK_SCORES = 2**17


@dataclass(frozen=True)
class Packing:
    """The order of the packed tokens of one batch.

    Attributes
    ----------
    rows, length : int
        B and S of the grid.
    index : Tensor (N,) or None
        Place in the flattened grid of each packed token; None when nothing is padded, so that
        the packed tokens are the grid itself.
    blocks : tuple of (int, int)
        Number of rows R and tokens a row n of each block, in packed order.
    mask : Tensor (B, S) of bool, or None
        True at real tokens; None when nothing is padded.
    """

    rows: int
    length: int
    index: torch.Tensor | None
    blocks: tuple[tuple[int, int], ...]
    mask: torch.Tensor | None

    @classmethod
    def of(cls, mask, shape, device):
        """Lay out a batch.

        Parameters
        ----------
        mask : Tensor (B, S) of bool, or None
            True at real tokens. Kept on the CPU it can be laid out without waiting for the
            accelerator that holds the rest of the batch.
        shape : (int, int)
            B and S.
        device : torch.device
            Where the encoder runs.

        Examples
        --------
        >>> mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 1]]).bool()
        >>> packing = Packing.of(mask, mask.shape, mask.device)
        >>> packing.blocks, packing.index.tolist()
        (((1, 1), (2, 3)), [3, 0, 1, 2, 6, 7, 8])
        """
        rows, length = shape
        if mask is None or mask.all():
            return cls(rows, length, None, _blocks([(rows, length)]), None)
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)
        places = torch.arange(rows * length, device=mask.device).view(rows, length)
        index = places[order][mask[order]]
        sizes, counts = lengths[order].unique_consecutive(return_counts=True)
        return cls(rows, length, index.to(device, non_blocking=True),
                   _blocks(zip(counts.tolist(), sizes.tolist())),
                   mask.to(device, non_blocking=True))

    def pack(self, grid):
        """(B, S, …) -> (N, …)."""
        flat = grid.flatten(0, 1)
        return flat if self.index is None else flat[self.index]

    def unpack(self, packed):
        """(N, …) -> (B, S, …), zero at padding."""
        if self.index is None:
            return packed.unflatten(0, (self.rows, self.length))
        flat = packed.new_zeros(self.rows * self.length, *packed.shape[1:])
        return flat.index_copy(0, self.index, packed).unflatten(0, (self.rows, self.length))

    def split(self, packed):
        """(N, …) -> one (R, n, …) view a block."""
        parts = packed.split([r * n for r, n in self.blocks])
        return [part.unflatten(0, block) for part, block in zip(parts, self.blocks)]

    def join(self, parts):
        """One (R, n, …) a block -> (N, …), the inverse of `split`."""
        return torch.cat([part.flatten(0, 1) for part in parts])


def _blocks(groups):
    """Cut (rows, tokens a row) groups into blocks of at most `BLOCK_SCORES`, or one row."""
    blocks = []
    for rows, length in groups:
        most = max(1, BLOCK_SCORES // max(1, length * length))
        blocks += [(min(most, rows - first), length) for first in range(0, rows, most) if length]
    return tuple(blocks)
