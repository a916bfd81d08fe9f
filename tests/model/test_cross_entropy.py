"""The cross-entropy of a vocabulary, some rows at a time, against torch's."""

import pytest
import torch
from torch.nn import functional as F

from bert_kit import BERTForMaskedLM
from bert_kit.model.fast.cross_entropy import fast_cross_entropy
from bert_kit.modes import IGNORE


@pytest.mark.parametrize("rows", [0, 1, 16, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_some_rows_at_a_time_is_torchs(config, rows, dtype):
    logits = (torch.randn(rows, 50) * 9).to(dtype).requires_grad_()
    labels = torch.randint(0, 50, (rows,))
    labels[::5] = IGNORE
    formula = BERTForMaskedLM(config.replace(fused=False)).cross_entropy
    want = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    assert torch.equal(formula(logits, labels), want)
    got = fast_cross_entropy(logits, labels)
    torch.testing.assert_close(got, want)
    ours, theirs = (torch.autograd.grad(loss * 2, logits)[0] for loss in (got, want))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_logits_stay_what_they_are(dtype):
    """A caller may look at them after the backward pass, and go back a second time."""
    logits = torch.randn(19, 7, dtype=dtype, requires_grad=True)
    before, loss = logits.detach().clone(), fast_cross_entropy(logits, torch.arange(19) % 7)
    once, = torch.autograd.grad(loss, logits, retain_graph=True)
    assert torch.equal(logits, before)
    assert torch.equal(torch.autograd.grad(loss, logits)[0], once)
