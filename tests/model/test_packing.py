import pytest
import torch

from bert_kit.model import Packing
from bert_kit.model.fast.packing import ALONE, BLOCK_SCORES, LANES, ROUND, Block

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
    assert packed.shape == (-(-mask.sum() // ROUND) * ROUND, 3) or packing.index is None
    torch.testing.assert_close(packing.unpack(packed), grid * mask[..., None])
    parts = packing.split(packed)
    if parts:
        joined, real = packing.join([part for part, _ in parts]), len(packed) - packing.fill
        assert torch.equal(joined[:real], packed[:real]) and not joined[real:].any()
    # Each line of a part is one row of the grid, in the row's own order, then zeros.
    lines = []
    for part, seen in parts:
        seen = torch.ones(part.shape[:2]).bool() if seen is None else seen
        assert not part[~seen].any() and torch.equal(seen, seen.sort(1, descending=True).values)
        lines += [line[real].tolist() for line, real in zip(part, seen)]
    assert sorted(lines) == sorted(grid[b][mask[b]].tolist() for b in range(len(mask))
                                   if mask[b].any())


def test_nothing_is_copied_without_padding():
    grid = torch.randn(3, 4, 5)
    packing = Packing.of(torch.ones(3, 4).bool(), (3, 4), grid.device)
    assert packing.index is None and packing.blocks == (Block(3, 4),)
    assert packing.pack(grid).data_ptr() == grid.data_ptr()
    assert packing.unpack(packing.pack(grid)).data_ptr() == grid.data_ptr()


@pytest.mark.parametrize("row", [[1] * 16, [1] * 21, [1], [0, 1, 1, 0, 1], [0, 0]])
def test_a_row_alone_is_filled_up_and_attention_gets_it_without_a_copy(row):
    mask = torch.tensor([row]).bool()
    packing = Packing.of(mask, mask.shape, mask.device, LANES)
    grid, real = torch.randn(1, len(row), 3), sum(row)
    packed = packing.pack(grid)
    assert len(packed) == -(-real // ALONE) * ALONE
    assert torch.equal(packed[:real], grid[mask])
    assert torch.equal(packing.unpack(packed), grid * mask[..., None])
    parts = packing.split(packed)
    assert len(parts) == min(real, 1)
    for part, seen in parts:
        assert part.data_ptr() == packed.data_ptr() == packing.join([part]).data_ptr()
        assert part.shape == (1, len(packed), 3)
        assert (len(packed) if seen is None else seen.sum()) == real


def shapes(packing):
    return [(block.rows, block.length, block.mask is None) for block in packing.blocks]


def test_blocks_are_small_and_cover_every_row(monkeypatch):
    monkeypatch.setattr("bert_kit.model.fast.packing.BLOCK_SCORES", 40)
    mask = torch.arange(7) < torch.tensor([3, 7, 3, 3, 2, 3, 3])[:, None]
    grid = torch.randn(7, 7, 2)
    for worth, expected in ((0, [(1, 2, True), (4, 3, True), (1, 3, True), (1, 7, True)]),
                            (2**13, [(1, 2, True), (4, 3, True), (1, 3, True), (1, 7, True)])):
        monkeypatch.setattr("bert_kit.model.fast.packing.WORTHWHILE_PADDING", worth)
        packing = Packing.of(mask, mask.shape, mask.device)
        assert shapes(packing) == expected
        packed = packing.pack(grid)
        joined = packing.join([part for part, _ in packing.split(packed)])
        assert torch.equal(joined[:mask.sum()], packed[:mask.sum()])
    assert shapes(Packing.of(None, (5, 4), mask.device)) == [
        (2, 4, True), (2, 4, True), (1, 4, True)]


def test_rows_of_nearly_one_length_share_a_block():
    mask = torch.arange(200) < torch.tensor([9, 12, 12, 20, 190, 200])[:, None]
    packing = Packing.of(mask, mask.shape, mask.device)
    assert shapes(packing) == [(4, 20, False), (2, 200, False)]
    assert packing.blocks[0].mask.sum(1).tolist() == [9, 12, 12, 20]


def test_rows_that_would_need_much_padding_do_not_share_a_block():
    lengths = torch.tensor([20] * 30 + [60] * 4)
    assert len(lengths) * 60**2 <= BLOCK_SCORES  # it is not the size that keeps them apart
    mask = torch.arange(60) < lengths[:, None]
    assert shapes(Packing.of(mask, mask.shape, mask.device)) == [(30, 20, True), (4, 60, True)]


@pytest.mark.parametrize("rows", MASKS.values(), ids=MASKS)
def test_accelerators_need_no_blocks(rows):
    mask = torch.tensor(rows).bool()
    packing = Packing.of(mask, mask.shape, torch.device("meta"))
    assert packing.blocks == ()
    assert packing.index is None or packing.index.shape == (mask.sum(),)
    assert Packing.of(None, mask.shape, torch.device("meta")).blocks == ()
