"""In-batch negatives against the sum written out, with texts that come twice."""

import math

import pytest
import torch

from bert_kit.training import in_batch_losses


def written_out(queries, documents, asked, told, scale, symmetric):
    """The loss of each row, term by term, in float64."""
    def cosine(a, b):
        return float(a @ b / a.norm() / b.norm())
    count, losses = len(queries), []
    right = {(asked[i], told[i]) for i in range(count)} | {(text, text) for text in asked}
    for i in range(count):
        def total(pairs):
            return math.log(sum(math.exp(scale * cosine(queries[a], documents[b]))
                                for a, b in pairs
                                if a == b == i or (asked[a], told[b]) not in right))
        ways = [total([(i, b) for b in range(len(documents))])]
        if symmetric:
            ways.append(total([(a, i) for a in range(count)]))
        losses.append(sum(ways) / len(ways) - scale * cosine(queries[i], documents[i]))
    return losses


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("asked, told", [
    ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]),  # all texts differ
    ([0, 1, 0, 3, 4], [5, 6, 7, 8, 9]),  # a query twice: both answers are right for it
    ([0, 1, 2, 3, 4], [5, 6, 5, 8, 8]),  # an answer twice
    ([0, 1, 2, 3, 4], [5, 0, 7, 4, 9]),  # an answer that is somebody's query
    ([0, 0, 0, 0, 0], [5, 6, 7, 8, 9]),  # no negative at all
    ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 6, 12, 13, 9]),  # wrong texts, two of them right ones
    ([0, 1, 0, 3, 4], [5, 6, 7, 8, 9, 7, 11, 12, 0, 14]),
])
def test_loss_is_the_sum_written_out(asked, told, symmetric):
    generator = torch.Generator().manual_seed(0)
    queries, documents = (torch.randn(len(numbers), 6, generator=generator, dtype=torch.float64)
                          for numbers in (asked, told))
    found = in_batch_losses(queries, documents, torch.tensor(asked), torch.tensor(told), 3.0,
                            symmetric)
    assert found.tolist() == pytest.approx(
        written_out(queries, documents, asked, told, 3.0, symmetric), abs=1e-12)


def test_no_rows_and_sixteen_bits():
    """A process may have no row of a batch; the products stay in float32 under autocast."""
    none = torch.empty(0, 4, requires_grad=True)
    loss = in_batch_losses(none, none, torch.empty(0).long(), torch.empty(0).long()).sum()
    loss.backward()
    assert loss.item() == 0 and none.grad is not None
    vectors, numbers = torch.randn(5, 9, dtype=torch.bfloat16), torch.arange(10)
    plain = in_batch_losses(vectors, vectors.flip(0), numbers[:5], numbers[5:])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(in_batch_losses(vectors, vectors.flip(0), numbers[:5], numbers[5:]),
                           plain)
