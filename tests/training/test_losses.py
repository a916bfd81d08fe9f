import copy
import math

import pytest
import torch
from tiny_rows import rows_loader
from torch.nn import functional as F

from bert_kit import (BERTForMaskedLM, BERTForNextSentencePrediction, BERTForPreTraining,
                      BERTForSequenceClassification, DataError, compute_classification_loss,
                      compute_mlm_loader_loss, compute_mlm_loss)
from bert_kit.errors import BertKitError
from bert_kit.training import compute_nsp_loss, compute_pretraining_loss, count_labels
from bert_kit.training.losses import IGNORE, mean_loss, sum_cross_entropy


def test_mlm_loss_is_the_mean_over_masked_tokens(config):
    model = BERTForMaskedLM(config).eval()
    for batch in rows_loader(9, 5, masked=True):
        logits = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        want = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
        torch.testing.assert_close(compute_mlm_loss(model, batch), want)


def test_mlm_loss_of_a_model_of_next_sentences_is_that_of_its_tokens(config):
    both = BERTForPreTraining(config).eval()
    alone = BERTForMaskedLM(config).eval()
    alone.load_state_dict(both.state_dict(), strict=False)
    loader = rows_loader(9, 5, masked=True)
    assert compute_mlm_loader_loss(both, loader) == compute_mlm_loader_loss(alone, loader)


def test_mlm_loss_ignores_padding_and_rows_without_masks(config):
    model = BERTForMaskedLM(config).eval()
    batch = next(iter(rows_loader(6, 6, masked=True)))
    want = compute_mlm_loss(model, batch)
    more = {key: F.pad(value, (0, 3, 0, 2), value=-100 if key == "labels" else 0)
            for key, value in batch.items()}
    torch.testing.assert_close(compute_mlm_loss(model, more), want)


def test_nothing_masked_is_zero_with_zero_gradient(config):
    model = BERTForMaskedLM(config)
    batch = next(iter(rows_loader(3, 3, masked=True)))
    batch["labels"][:] = -100
    loss = compute_mlm_loss(model, batch)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_loss_over_a_loader_counts_every_token_once(config):
    model = BERTForMaskedLM(config).train()
    losses = [compute_mlm_loader_loss(model, rows_loader(23, size, masked=True), "cpu")
              for size in (1, 7, 23)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5) == losses[2]
    assert model.training  # as it was
    total = torch.zeros(2)
    with torch.no_grad():
        for batch in rows_loader(23, 5, masked=True):
            logits = model.eval()(batch["input_ids"], batch["attention_mask"])
            total += torch.tensor([F.cross_entropy(
                logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum"),
                count_labels(batch)["labels"]])
    assert losses[0] == pytest.approx((total[0] / total[1]).item(), abs=1e-5)


def test_an_empty_loader_is_no_perfect_score(config):
    with pytest.raises(DataError, match="no label"):
        compute_mlm_loader_loss(BERTForMaskedLM(config), [])


def test_a_label_beyond_the_classes_is_named(config):
    batch = next(iter(rows_loader(4, 4)))
    batch["labels"][2] = 5
    with pytest.raises(DataError, match="a label is 5; the model has 2 classes"):
        compute_classification_loss(BERTForSequenceClassification(config), batch)


def test_every_kind_of_label_is_counted():
    batch = {"input_ids": torch.ones(3, 4), "labels": torch.rand(3, 7),
             "sentence_label": torch.tensor([0, -100, 1])}
    assert count_labels(batch) == {"labels": 3, "sentence_label": 2}


def test_classification_loss(config):
    model = BERTForSequenceClassification(config, 3).eval()
    batch = next(iter(rows_loader(7, 7)))
    logits = model(batch["input_ids"], batch["attention_mask"])
    want = -torch.stack([torch.log_softmax(row, 0)[label]
                         for row, label in zip(logits, batch["labels"])]).mean()
    torch.testing.assert_close(compute_classification_loss(model, batch), want)


@pytest.mark.parametrize("label", [0, 1])
def test_both_answers_of_next_sentence_prediction_teach(config, label):
    # A loss that ignores label 0 leaves half of the pairs without gradient.
    model = BERTForNextSentencePrediction(config)
    batch = next(iter(rows_loader(4, 4)))
    batch["labels"][:] = label
    loss = compute_nsp_loss(model, batch)
    loss.backward()
    assert abs(loss.item() - math.log(2)) < 0.2
    assert model.nsp_head.output.weight.grad.abs().sum() > 0


def test_joint_loss_is_the_sum(config):
    model = BERTForPreTraining(config).eval()
    batch = next(iter(rows_loader(6, 6, masked=True)))
    batch["next_sentence_label"] = torch.tensor([0, 1, 1, 0, 1, 1])
    output = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    want = (F.cross_entropy(output.mlm.flatten(0, 1), batch["labels"].flatten())
            + F.cross_entropy(output.next_sentence, batch["next_sentence_label"]))
    torch.testing.assert_close(compute_pretraining_loss(model, batch), want)
    assert count_labels(batch) == {"labels": int((batch["labels"] != -100).sum()),
                                   "next_sentence_label": 6}


def test_loss_in_bfloat16_is_taken_in_float32(config):
    model = BERTForMaskedLM(config).eval()
    batch = next(iter(rows_loader(6, 6, masked=True)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = compute_mlm_loss(model, batch)
    assert loss.dtype == torch.float32
    assert abs(loss - compute_mlm_loss(model, batch)) < 0.02


@pytest.mark.parametrize("rows", [0, 1, 16, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cross_entropy_some_rows_at_a_time_is_torchs(rows, dtype):
    logits = (torch.randn(rows, 50) * 9).to(dtype).requires_grad_()
    labels = torch.randint(0, 50, (rows,))
    labels[::5] = IGNORE
    got = sum_cross_entropy(logits, labels) / 3
    want = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum") / 3
    torch.testing.assert_close(got, want)
    ours, theirs = (torch.autograd.grad(loss * 2, logits)[0] for loss in (got, want))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)


def test_a_row_has_no_gradient_from_another_rows_loss(config):
    model = BERTForMaskedLM(config).eval()
    batch = next(iter(rows_loader(6, 6, masked=True)))
    lonely = copy.deepcopy(batch)
    lonely["labels"][1:] = -100
    lonely["labels"][0, 0] = 7
    model.zero_grad()
    # Ids of other rows that row 0 lacks: their input embeddings must get nothing. The decoder
    # shares the matrix and reaches every row, so take the gradient at the looked-up vectors.
    looked_up = []
    hook = model.bert.embeddings.word.register_forward_hook(
        lambda module, inputs, output: looked_up.append(output) or output.retain_grad())
    compute_mlm_loss(model, lonely).backward()
    hook.remove()
    first = int(batch["attention_mask"][0].sum())
    from bert_kit.model import Packing
    packing = Packing.of(batch["attention_mask"].bool(), batch["input_ids"].shape,
                         torch.device("cpu"))
    gradient = packing.unpack(looked_up[0].grad).abs().sum(-1)
    assert (gradient[0, :first] > 0).all() and (gradient[1:] == 0).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_an_accelerator_that_the_machine_lacks_is_one_line():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(BertKitError, match="device 'cuda' cannot be used here") as caught:
        mean_loss(compute_classification_loss, model, [], "cuda")
    assert "\n" not in str(caught.value)
