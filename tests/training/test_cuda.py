"""What only a GPU can show. The same code runs elsewhere on torch's meta device and on the CPU."""

import pytest
import torch

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, compute_classification_loss,
                      compute_mlm_loss)
from bert_kit.training import AMPTrainer, make_optimizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def batch(ragged, labels):
    ids, mask, segments = ragged
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments, "labels": labels}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("task", [BERTForMaskedLM, BERTForSequenceClassification])
def test_the_loss_is_the_cpus_and_falls(config, ragged, precision, task):
    mlm = task is BERTForMaskedLM
    model = task(config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    loss = compute_mlm_loss if mlm else compute_classification_loss
    labels = torch.where(ragged[1] == 1, ragged[0], -100) if mlm else torch.arange(7) % 2
    rows = batch(ragged, labels)
    on_cpu = float(loss(model, rows))
    trainer = AMPTrainer(model.cuda(), make_optimizer(model, 1e-3), precision=precision)
    losses = [float(trainer.train_step(loss, [rows]).loss) for _ in range(20)]
    assert losses[0] == pytest.approx(on_cpu, rel=1e-4 if precision == "float32" else 2e-2)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_never_waits_for_the_gpu(config, ragged, precision):
    model = BERTForMaskedLM(config).cuda()
    trainer = AMPTrainer(model, make_optimizer(model, 1e-3), precision=precision)
    rows = batch(ragged, torch.where(ragged[1] == 1, ragged[0], -100))
    rows = {key: value.pin_memory() for key, value in rows.items()}
    trainer.train_step(compute_mlm_loss, [rows])
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = trainer.train_step(compute_mlm_loss, [rows])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(result.loss)


def test_attention_runs_in_one_kernel(config, ragged):
    model = BERTForSequenceClassification(config).cuda().eval()
    ids, mask, segments = ragged
    with torch.profiler.profile() as profile, torch.inference_mode():
        model(ids.cuda(), mask, segments.cuda())
    names = {event.key for event in profile.key_averages()}
    assert any("scaled_dot_product" in name for name in names)
