import pytest
import torch

from bert_kit.model import Packing

MASKS = {
    "ragged": [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]],
    "full": [[1, 1, 1], [1, 1, 1]],
    "left padding": [[0, 0, 1], [0, 1, 1]],
    "holes": [[1, 0, 1, 1], [0, 1, 0, 1]],
    "an empty row": [[0, 0], [1, 1]],
    "nothing": [[0, 0], [0, 0]],
    "one": [[1]],
}


@pytest.mark.parametrize("rows", MASKS.values(), ids=MASKS)
def test_pack_and_split_lose_nothing(rows):
    mask = torch.tensor(rows).bool()
    packing = Packing.of(mask, mask.shape, mask.device)
    grid = torch.randn(*mask.shape, 3)
    packed = packing.pack(grid)
    assert packed.shape == (mask.sum(), 3)
    torch.testing.assert_close(packing.unpack(packed), grid * mask[..., None])
    parts = packing.split(packed)
    assert sorted(n for r, n in packing.blocks for _ in range(r)) == sorted(
        n for n in mask.sum(1).tolist() if n)
    if parts:
        torch.testing.assert_close(packing.join(parts), packed)
    # Each line of a part is one row of the grid, in the row's own order.
    lines = [line.tolist() for part in parts for line in part]
    assert sorted(lines) == sorted(grid[b][mask[b]].tolist() for b in range(len(mask))
                                   if mask[b].any())


def test_nothing_is_copied_without_padding():
    grid = torch.randn(3, 4, 5)
    packing = Packing.of(torch.ones(3, 4).bool(), (3, 4), grid.device)
    assert packing.index is None and packing.blocks == ((3, 4),)
    assert packing.pack(grid).data_ptr() == grid.data_ptr()
    assert packing.unpack(packing.pack(grid)).data_ptr() == grid.data_ptr()


def test_blocks_are_small_and_cover_every_row(monkeypatch):
    monkeypatch.setattr("bert_kit.model.packing.BLOCK_SCORES", 40)
    mask = torch.arange(7) < torch.tensor([3, 7, 3, 3, 2, 3, 3])[:, None]
    packing = Packing.of(mask, mask.shape, mask.device)
    assert packing.blocks == ((1, 2), (4, 3), (1, 3), (1, 7))
    grid = torch.randn(7, 7, 2)
    packed = packing.pack(grid)
    assert torch.equal(packing.join(packing.split(packed)), packed)
    assert Packing.of(None, (5, 4), mask.device).blocks == ((2, 4), (2, 4), (1, 4))
