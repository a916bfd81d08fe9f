import copy

import pytest
import torch
from tiny_rows import rows_loader

from bert_kit import (AMPTrainer, BERTForMaskedLM, BERTForSequenceClassification, TrainingError,
                      compute_classification_loss, compute_mlm_loss)
from bert_kit.data import pad_batch
from bert_kit.training import make_optimizer, make_schedule


def build(model, precision="float32", **options):
    optimizer = make_optimizer(model, 0.01)
    return AMPTrainer(model, optimizer, make_schedule(optimizer, "linear", 0, 10), precision,
                      **options)


def no_dropout(config):
    return config.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.mark.parametrize("sizes", [(3, 3, 3), (4, 4, 1), (1, 8)])
def test_small_batches_equal_one_large_one(config, sizes):
    # Rows have very uneven numbers of masked tokens, so a mean of means would differ.
    rows = list(rows_loader(9, 9, masked=True).dataset.rows)
    pieces, start = [], 0
    for size in sizes:
        pieces.append(pad_batch(rows[start:start + size]))
        start += size
    one = build(BERTForMaskedLM(no_dropout(config)))
    many = build(copy.deepcopy(one.model))
    for trainer, batches in ((one, [pad_batch(rows)]), (many, pieces)):
        result = trainer.train_mlm_step(*batches)
        trainer.result = result
    torch.testing.assert_close(one.result.loss, many.result.loss, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(one.result.grad_norm, many.result.grad_norm, atol=1e-6, rtol=1e-5)
    means = sum(compute_mlm_loss(copy.deepcopy(one.model), piece) for piece in pieces) / len(sizes)
    assert abs(means - compute_mlm_loss(one.model, pad_batch(rows))) > 1e-4  # the wrong way differs


def test_gradients_of_small_batches_equal_those_of_a_large_one(config):
    rows = list(rows_loader(7, 7).dataset.rows)
    gradients = []
    model = BERTForSequenceClassification(no_dropout(config))
    for batches in ([pad_batch(rows)], [pad_batch(rows[:3]), pad_batch(rows[3:6]),
                                        pad_batch(rows[6:])]):
        trainer = build(copy.deepcopy(model), max_grad_norm=None)
        kept = {}
        trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: kept.update(
            enumerate(p.grad.clone() for g in optimizer.param_groups for p in g["params"])))
        trainer.train_classification_step(*batches)
        gradients.append(kept)
    for key, want in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], want, atol=1e-6, rtol=1e-5)


def test_clipping_sees_the_true_norm(config):
    # Scaled by 65,536, the norm would be far above the limit and the update far too small.
    model = BERTForSequenceClassification(no_dropout(config))
    results = {}
    for precision in ("float32", "float16"):
        trainer = build(copy.deepcopy(model), precision, max_grad_norm=0.5)
        result = trainer.train_classification_step(next(iter(rows_loader(6, 6))))
        results[precision] = result.grad_norm, next(trainer.model.parameters()).detach()
    torch.testing.assert_close(results["float16"][0], results["float32"][0], atol=0, rtol=0.05)
    moved = [results[p][1] - next(model.parameters()) for p in results]
    torch.testing.assert_close(moved[0].norm(), moved[1].norm(), atol=0, rtol=0.1)


def test_the_norm_is_clipped():
    layer = torch.nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1)
    before = layer.weight.detach().clone()
    result = AMPTrainer(layer, optimizer, precision="float32", max_grad_norm=0.1).train_step(
        lambda model, batch, counts: 30 * model.weight.sum(), [{}])
    assert result.grad_norm == pytest.approx(60)
    assert (layer.weight - before).norm().item() == pytest.approx(0.1, rel=1e-4)


def test_an_overflowing_step_changes_nothing_but_the_scale(config):
    model = BERTForSequenceClassification(config)
    trainer = build(model, "float16")
    batch = next(iter(rows_loader(4, 4)))
    before = copy.deepcopy(model.state_dict())
    rate = trainer.scheduler.get_last_lr()

    def overflow(model, batch, counts):
        return model(batch["input_ids"]).sum() * float("inf")

    result = trainer.train_step(overflow, [batch])
    assert not result.stepped
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert trainer.scheduler.get_last_lr() == rate
    assert trainer.scaler.get_scale() == 2.0**15
    assert trainer.train_classification_step(batch).stepped  # and training goes on
    assert trainer.scheduler.get_last_lr() != rate


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_weights_stay_in_float32_and_learn(config, precision):
    trainer = build(BERTForSequenceClassification(no_dropout(config)), precision)
    batch = next(iter(rows_loader(8, 8)))
    losses = [trainer.train_classification_step(batch).loss.item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert trainer.scaler.is_enabled() == (precision == "float16")


def test_a_small_model_learns_one_batch_by_heart(config):
    torch.manual_seed(1)
    trainer = build(BERTForMaskedLM(no_dropout(config)))
    batch = next(iter(rows_loader(4, 4, masked=True)))
    trainer.scheduler = None
    losses = [trainer.train_mlm_step(batch).loss.item() for _ in range(60)]
    assert losses[0] > 4 and losses[-1] < 0.1


def test_no_limit_means_no_scaling():
    layer = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1)
    trainer = AMPTrainer(layer, optimizer, precision="float32", max_grad_norm=None)
    before = layer.weight.detach().clone()
    trainer.train_step(lambda model, batch, counts: 30 * model.weight.sum(), [{}])
    torch.testing.assert_close(layer.weight.detach(), before - 30)


def test_what_cannot_be_trained_is_refused(config):
    with pytest.raises(TrainingError, match="not float32"):
        build(BERTForSequenceClassification(config).half(), "float16")
    with pytest.raises(TrainingError, match="at least one batch"):
        build(BERTForSequenceClassification(config)).train_classification_step()


def test_batches_may_come_from_a_generator(config):
    trainer = build(BERTForSequenceClassification(config))
    result = trainer.train_step(compute_classification_loss, iter(rows_loader(6, 3)))
    assert result.loss > 0.1 and result.learning_rate == 0.01


def test_state_round_trip_and_precision_check(config):
    trainer = build(BERTForSequenceClassification(config), "float16", init_scale=8.0)
    other = build(BERTForSequenceClassification(config), "float16")
    other.load_state_dict(trainer.state_dict())
    assert other.scaler.get_scale() == 8.0
    with pytest.raises(TrainingError, match="float16.*bfloat16"):
        build(BERTForSequenceClassification(config), "bfloat16").load_state_dict(
            trainer.state_dict())
    with pytest.raises(TrainingError, match="fp8.*float32, bfloat16, float16"):
        build(BERTForSequenceClassification(config), "fp8")
