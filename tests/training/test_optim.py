import math

import pytest
import torch

from bert_kit import AMPTrainer, BERTForPreTraining, TrainingError
from bert_kit.training import (layerwise_rates, make_optimizer, make_schedule, parameter_groups,
                               schedule_factor)


def test_groups_are_disjoint_complete_and_split_by_kind(config):
    model = BERTForPreTraining(config)
    decayed, plain = parameter_groups(model, 0.1)
    ids = [id(p) for group in (decayed, plain) for p in group["params"]]
    assert len(ids) == len(set(ids))  # the shared embedding once
    assert set(ids) == {id(p) for p in model.parameters()}
    names = {id(p): name for name, p in model.named_parameters()}
    for p in plain["params"]:
        assert names[id(p)].endswith("bias") or "norm.weight" in names[id(p)]
    for p in decayed["params"]:
        assert names[id(p)].endswith("weight") and "norm" not in names[id(p)]
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0


def test_frozen_parameters_are_listed_since_they_may_thaw(config):
    model = BERTForPreTraining(config)
    model.bert.embeddings.requires_grad_(False)
    listed = {id(p) for group in parameter_groups(model, 0) for p in group["params"]}
    assert listed == {id(p) for p in model.parameters()}


def test_layers_have_rates_of_their_own(config):
    model = BERTForPreTraining(config)
    rate_of = layerwise_rates(model, 1e-3, head_learning_rate=5e-3, layer_decay=0.5)
    want = {"bert.embeddings": 1e-3 / 8, "bert.blocks.0": 1e-3 / 4, "bert.blocks.1": 1e-3 / 2,
            "bert.blocks.2": 1e-3, "bert.pooler": 1e-3, "mlm_head": 5e-3, "nsp_head": 5e-3}
    groups = parameter_groups(model, 0.1, rate_of)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rate) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        part = next(part for part in want if name.startswith(part + "."))
        assert rate[id(p)] == pytest.approx(want[part]), name
    assert len(groups) == 2 * 5  # rates times decay or not
    assert [group["lr"] for group in groups] == sorted((g["lr"] for g in groups), reverse=True)
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])


def test_without_options_all_rates_are_one_and_groups_two(config):
    for model in (BERTForPreTraining(config), torch.nn.Linear(3, 2)):
        groups = parameter_groups(model, 0.1, layerwise_rates(model, 0.25))
        assert [(group["lr"], group["weight_decay"]) for group in groups] == [
            (0.25, 0.1), (0.25, 0.0)]


def test_schedules_keep_the_ratios_of_rates(config):
    model = BERTForPreTraining(config)
    optimizer = make_optimizer(model, 1.0, rate_of=layerwise_rates(model, 1e-2, 0.5, 0.7))
    first = [group["lr"] for group in optimizer.param_groups]
    scheduler = make_schedule(optimizer, "cosine", 3, 11)
    for step in range(11):
        factor = schedule_factor(step, "cosine", 3, 11)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [rate * factor for rate in first])
        optimizer.step()
        scheduler.step()


def test_the_highest_rate_is_reported():
    layers = torch.nn.ModuleList([torch.nn.Linear(1, 1) for _ in range(2)])
    optimizer = torch.optim.SGD([{"params": layers[0].parameters(), "lr": 0.1},
                                 {"params": layers[1].parameters(), "lr": 0.3}])
    amp = AMPTrainer(layers, optimizer, precision="float32")
    result = amp.train_step(lambda model, batch, counts: model[1].weight.sum(), [{}])
    assert result.learning_rate == 0.3


@pytest.mark.parametrize("kind", ["adam", "sgd", "rmsprop"])
def test_two_steps_of_the_other_optimizers_by_the_formula(kind):
    layer = torch.nn.Linear(3, 2, bias=False).double()
    optimizer = make_optimizer(layer, 0.01, 0.1, (0.8, 0.9), 1e-3, kind, momentum=0.7)
    w, mean, square, speed = layer.weight.detach().clone(), 0.0, 0.0, 0.0
    for t in (1, 2):
        gradient = torch.randn(2, 3).double()
        layer.weight.grad = gradient.clone()
        optimizer.step()
        gradient = gradient + 0.1 * w  # the decay is part of the gradient
        mean, square = 0.8 * mean + 0.2 * gradient, 0.9 * square + 0.1 * gradient**2
        pull = gradient / (square.sqrt() + 1e-3) if kind == "rmsprop" else gradient
        speed = 0.7 * speed + pull
        w -= 0.01 * ((mean / (1 - 0.8**t)) / ((square / (1 - 0.9**t)).sqrt() + 1e-3)
                     if kind == "adam" else speed)
    torch.testing.assert_close(layer.weight.detach(), w)


def test_an_unknown_optimizer_lists_those_there_are():
    with pytest.raises(TrainingError, match="'lion'.*adamw, muon, adam, sgd, rmsprop"):
        make_optimizer(torch.nn.Linear(1, 1), 0.1, kind="lion")


def test_two_steps_of_adamw_by_the_formula():
    layer = torch.nn.Linear(3, 2).double()
    optimizer = make_optimizer(layer, 0.01, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-8)
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    mean, square = torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    mean_b, square_b = torch.zeros(2).double(), torch.zeros(2).double()
    for t in (1, 2):
        gw, gb = torch.randn(2, 3).double(), torch.randn(2).double()
        layer.weight.grad, layer.bias.grad = gw.clone(), gb.clone()
        optimizer.step()
        w -= 0.01 * 0.1 * w
        for x, g, m, s in ((w, gw, mean, square), (b, gb, mean_b, square_b)):
            m.mul_(0.8).add_(0.2 * g)
            s.mul_(0.9).add_(0.1 * g * g)
            x -= 0.01 * (m / (1 - 0.8**t)) / ((s / (1 - 0.9**t)).sqrt() + 1e-8)
    torch.testing.assert_close(layer.weight.detach(), w)
    torch.testing.assert_close(layer.bias.detach(), b)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup, total", [(0, 10), (3, 10), (10, 10), (0, 1), (1, 1)])
def test_schedules_rise_then_fall(kind, warmup, total):
    factors = [schedule_factor(step, kind, warmup, total) for step in range(total + 1)]
    assert factors[0] > 0  # no step is lost to a rate of zero
    assert all(a < b for a, b in zip(factors[:warmup], factors[1:warmup]))
    if warmup < total:
        assert factors[warmup] == 1
        assert all(a >= b for a, b in zip(factors[warmup:], factors[warmup + 1:]))
        assert factors[-1] == (1 if kind == "constant" else pytest.approx(0))
    assert max(factors) <= 1


def test_cosine_by_the_formula():
    assert schedule_factor(4, "cosine", 2, 10) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_scheduler_sets_the_rate_of_each_step():
    layer = torch.nn.Linear(1, 1)
    optimizer = make_optimizer(layer, 0.5)
    scheduler = make_schedule(optimizer, "linear", 0.2, 10)  # a share: 2 steps of warm-up
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[1]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.5 * schedule_factor(s, "linear", 2, 10) for s in range(10)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0)


def test_impossible_schedules_are_refused():
    optimizer = make_optimizer(torch.nn.Linear(1, 1), 0.1)
    for arguments in (("square", 0, 10), ("linear", 11, 10), ("linear", -1, 10),
                      ("linear", 2.5, 10)):
        with pytest.raises(TrainingError):
            make_schedule(optimizer, *arguments)
