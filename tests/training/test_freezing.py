import pytest
import torch
from tiny_rows import rows_loader
from tiny_runs import assert_same_bits, build, weights

from bert_kit import (AMPTrainer, BERTForMaskedLM, BERTForSequenceClassification, BERTModel,
                      TrainingError, compute_classification_loss)
from bert_kit.training import freeze, gradual_unfreezing, make_optimizer


def trainable(model):
    """First parts of the names of what is trained, without repeats."""
    return sorted({".".join(name.split(".")[1:3 if "blocks" in name else 2])
                   if name.startswith("bert.") else name.split(".")[0]
                   for name, p in model.named_parameters() if p.requires_grad})


@pytest.mark.parametrize("layers, left", [
    (None, ["blocks.0", "blocks.1", "blocks.2", "classifier", "embeddings", "pooler"]),
    (0, ["blocks.0", "blocks.1", "blocks.2", "classifier", "pooler"]),
    (2, ["blocks.2", "classifier", "pooler"]),
    (3, ["classifier"]), (-1, ["classifier"]), ("encoder", ["classifier"])])
def test_which_parts_are_frozen(config, layers, left):
    model = BERTForSequenceClassification(config)
    freeze(model, "encoder")  # what was frozen before does not matter
    freeze(model, layers)
    assert trainable(model) == left


def test_the_head_is_left_as_it_is(config):
    model = BERTForSequenceClassification(config)
    model.classifier.output.bias.requires_grad_(False)
    freeze(model, None)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "classifier.output.bias"]


@pytest.mark.parametrize("layers", [4, -2, "all", True, 1.5])
def test_what_cannot_be_frozen_is_refused(config, layers):
    with pytest.raises(TrainingError, match="blocks to freeze .*from 0 to 3"):
        freeze(BERTForMaskedLM(config), layers)


def test_a_model_without_an_encoder_is_refused_before_training(config):
    with pytest.raises(TrainingError, match=r"bert\.blocks"):
        gradual_unfreezing(torch.nn.Linear(2, 2))


def test_an_encoder_alone_is_frozen_too_but_never_as_a_whole(config):
    model = BERTModel(config)
    freeze(model, 2)
    assert {name.partition(".")[0] if "blocks" not in name else name[:8]
            for name, p in model.named_parameters() if p.requires_grad} == {"blocks.2", "pooler"}
    for work in (lambda: freeze(model, -1), lambda: gradual_unfreezing(model)):
        with pytest.raises(TrainingError, match="has nothing to train"):
            work()


def test_blocks_thaw_from_the_top(config):
    model = BERTForSequenceClassification(config)
    before_epoch = gradual_unfreezing(model)
    counts = []
    for epoch in range(6):
        before_epoch(epoch)
        counts.append(trainable(model))
    assert counts == [
        ["classifier"], ["blocks.2", "classifier", "pooler"],
        ["blocks.1", "blocks.2", "classifier", "pooler"],
        ["blocks.0", "blocks.1", "blocks.2", "classifier", "pooler"],
        *2 * [["blocks.0", "blocks.1", "blocks.2", "classifier", "embeddings", "pooler"]]]


@pytest.mark.parametrize("optim", ["adamw", "adam", "sgd", "rmsprop"])
def test_neither_decay_nor_momentum_moves_what_is_frozen(config, optim):
    model = BERTForSequenceClassification(config)
    amp = AMPTrainer(model, make_optimizer(model, 0.01, weight_decay=0.5, kind=optim),
                     precision="float32")
    batch = next(iter(rows_loader(6, 6)))
    for layers in (None, 2, "encoder"):  # the first step fills the moments of everything
        freeze(model, layers)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        amp.train_step(compute_classification_loss, [batch])
        for name, p in model.named_parameters():
            assert torch.equal(p, before[name]) != p.requires_grad, name


def test_a_run_trains_what_the_epoch_allows():
    seen = {}

    def unfreezing(model):
        inner = gradual_unfreezing(model)

        def before_epoch(epoch):
            seen[epoch] = {name: p.detach().clone() for name, p in model.named_parameters()}
            torch.rand(7)  # must not matter
            inner(epoch)
        return before_epoch

    trainer = build(None, unfreezing=unfreezing, num_train_epochs=4, weight_decay=0.5)
    trainer.train()
    moved = {epoch: sorted({name.split(".")[1] + name.split(".")[2] for name in seen[0]
                            if name.startswith("bert.") and not torch.equal(
                                seen[epoch][name], (seen.get(epoch + 1) or weights(trainer))[name])
                            }) for epoch in seen}
    assert not moved[0]
    assert {name[:7] for name in moved[1]} == {"blocks1", "poolerd"}
    assert {name[:7] for name in moved[2]} == {"blocks0", "blocks1", "poolerd"}
    assert any(name.startswith("embeddings") for name in moved[3])
    (quiet := build(None, unfreezing=gradual_unfreezing, num_train_epochs=4,
                    weight_decay=0.5)).train()
    assert_same_bits(weights(quiet), weights(trainer))


def test_a_pass_with_nothing_to_train_is_an_error():
    trainer = build(None, unfreezing=lambda model: lambda epoch: model.requires_grad_(epoch == 0))
    with pytest.raises(TrainingError, match="every parameter of the model is frozen"):
        trainer.train()
    assert trainer.state.step == 4
