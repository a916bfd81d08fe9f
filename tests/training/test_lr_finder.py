import copy
import math

import pytest
import torch
from tiny_rows import rows_loader
from tiny_runs import CONFIG

from bert_kit import (BERTForSequenceClassification, TrainingError, compute_classification_loss)
from bert_kit.jobs.run import build
from bert_kit.jobs.tasks.classes import ClassOptions, ClassTask
from bert_kit.training import ALONE, LearningRateSweep, find_learning_rate, make_optimizer


def snapshot(model):
    return ({name: value.clone() for name, value in model.state_dict().items()},
            [module.training for module in model.modules()], torch.get_rng_state())


def assert_unchanged(model, before):
    after = snapshot(model)
    assert after[1] == before[1] and torch.equal(after[2], before[2])
    for name, value in before[0].items():
        assert torch.equal(after[0][name], value), name
    assert all(p.grad is None for p in model.parameters())


@pytest.fixture
def model():
    model = BERTForSequenceClassification(CONFIG)
    model.register_buffer("calls", torch.zeros(()))
    model.eval()
    model.classifier.train()  # not all modules in one mode
    return model


def test_the_curve_and_what_is_put_back(model):
    loader = rows_loader(23, 8)
    first = next(iter(loader))

    def loss(model, batch, counts):
        model.calls.add_(1)
        assert model.bert.training
        return compute_classification_loss(model, batch, counts)

    before = snapshot(model)
    sweep = find_learning_rate(model, loss, loader, 1e-6, 3.0, steps=40)
    assert_unchanged(model, before)
    assert torch.equal(next(iter(loader))["input_ids"], first["input_ids"])
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smoothed) <= 40
    assert sweep.rates[0] == pytest.approx(1e-6)
    ratio = (3.0 / 1e-6)**(1 / 39)
    assert all(b / a == pytest.approx(ratio) for a, b in zip(sweep.rates, sweep.rates[1:]))
    assert sweep.smoothed[0] == pytest.approx(sweep.losses[0])
    assert abs(sweep.losses[0] - math.log(2)) < 0.2
    again = find_learning_rate(model, compute_classification_loss, loader, 1e-6, 3.0, steps=40)
    assert again == sweep  # nothing is left over from the first sweep
    assert 1e-6 < sweep.suggestion < 3.0


def test_the_steepest_point_of_a_known_curve():
    # One weight under AdamW without decay moves by its rate in each step, so the loss (w - 1)^2
    # is known: it falls fastest, against log rate, shortly before the moves add up to 1.
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    sweep = find_learning_rate(
        layer, lambda model, batch, counts: (model.weight - 1).square().sum(), [{}], 1e-5, 10.0,
        steps=120, weight_decay=0)
    moved = 0.0
    for rate, loss in zip(sweep.rates, sweep.losses):
        if moved < 0.5:
            assert loss == pytest.approx((1 - moved)**2, abs=1e-3)
        moved += rate
    # Against log rate (1 - moved)^2 is steepest where half the way is done. So sudden a fall is
    # seen with less than the mean lag: the suggestion is on the safe side.
    half = next(i for i, loss in enumerate(sweep.losses) if loss <= 0.25)
    assert half - 9 <= sweep.rates.index(sweep.suggestion) <= half
    assert min(sweep.losses) < 0.1


@pytest.mark.parametrize("middle", [30, 60, 80])
def test_the_suggestion_is_where_the_loss_itself_fell_fastest(middle):
    # A slow fall, over some 60 steps: the smoothed curve shows it 7 or 8 steps late.
    layer, losses = torch.nn.Linear(1, 1), iter(range(120))

    def loss(model, batch, counts):
        return 0 * model.weight.sum() + 1 - 1 / (1 + math.exp((middle - next(losses)) / 12))

    sweep = find_learning_rate(layer, loss, [{}], 1e-5, 10.0, steps=120)
    assert abs(sweep.rates.index(sweep.suggestion) - middle) <= 3


def test_the_runs_own_optimizer_in_multiples_of_the_rate_is_as_before_at_the_end(model):
    def rate_of(name):
        return 10.0 if name.startswith("classifier.") else 0.5

    def loss(model, batch, counts):
        seen.append([group["lr"] for group in optimizer.param_groups])
        return compute_classification_loss(model, batch, counts)

    for used in (False, True):
        optimizer, seen = make_optimizer(model, 1.0, 0.0, kind="rmsprop", rate_of=rate_of), []
        if used:
            compute_classification_loss(model, next(iter(rows_loader(6, 3)))).backward()
            optimizer.step()
            optimizer.zero_grad()
        before, state = snapshot(model), copy.deepcopy(optimizer.state_dict())
        sweep = find_learning_rate(model, loss, rows_loader(6, 3), 1e-6, 0.1, steps=20,
                                   optimizer=optimizer)
        assert_unchanged(model, before)
        after = optimizer.state_dict()
        assert after["param_groups"] == state["param_groups"]
        torch.testing.assert_close(after["state"], state["state"], atol=0, rtol=0)
        assert bool(state["state"]) == used
        for rate, rates in zip(sweep.rates, seen):
            assert rates == pytest.approx([10 * rate] * 2 + [0.5 * rate] * 2)


@pytest.mark.parametrize("factor, highest, lowest", [(10.0, 10, 0.25), (None, 1, 0.25)])
def test_the_job_sweeps_the_optimizer_of_its_run(model, monkeypatch, factor, highest, lowest):
    def sweep(model, loss, loader, precision, optimizer, processes):
        assert isinstance(optimizer, torch.optim.SGD)
        assert all(group["momentum"] == 0.7 for group in optimizer.param_groups)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert (max(rates), min(rates)) == (highest, lowest)  # two blocks above the embeddings
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.3}
        return LearningRateSweep(2e-4, [], [], [])

    monkeypatch.setattr(build, "find_learning_rate", sweep)
    settings = ClassOptions(learning_rate="auto", optim="sgd", momentum=0.7,
                            weight_decay=0.3, layer_decay=0.5)
    found = build._learning_rate(ClassTask(), settings, model, None, None, "float32", ALONE, factor)
    assert found == 2e-4


def test_it_ends_when_the_loss_diverges(model):
    before = snapshot(model)
    rates = []

    def exploding(model, batch, counts):
        rates.append(len(rates))
        factor = 1 if len(rates) < 8 else 100 if len(rates) < 15 else float("nan")
        return factor * compute_classification_loss(model, batch, counts)

    sweep = find_learning_rate(model, exploding, rows_loader(6, 3))
    assert len(sweep.losses) == 8 and len(rates) == 8
    sweep = find_learning_rate(model, lambda model, batch, counts: float("nan") * (
        compute_classification_loss(model, batch, counts)), rows_loader(6, 3))
    assert sweep == (None, [], [], [])
    assert_unchanged(model, before)


def test_an_error_in_the_loss_leaves_the_model_as_it_was(model):
    calls = []

    def broken(model, batch, counts):
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("no more")
        return compute_classification_loss(model, batch, counts)

    before = snapshot(model)
    with pytest.raises(RuntimeError, match="no more"):
        find_learning_rate(model, broken, rows_loader(6, 3), smallest=0.1)
    assert_unchanged(model, before)


def test_what_makes_no_sense_is_refused(model):
    for settings in ({"smallest": 0}, {"smallest": 2.0}, {"largest": math.inf}, {"steps": 9},
                     {"steps": 20.5}):
        with pytest.raises(TrainingError):
            find_learning_rate(model, compute_classification_loss, rows_loader(6, 3), **settings)
    with pytest.raises(TrainingError, match="gave no batches"):
        find_learning_rate(model, compute_classification_loss, [])
