import math

import pytest
import torch

from bert_kit import BERTForPreTraining, TrainingError
from bert_kit.training import make_optimizer, make_schedule, parameter_groups, schedule_factor


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


def test_frozen_parameters_are_left_out(config):
    model = BERTForPreTraining(config)
    model.bert.embeddings.requires_grad_(False)
    listed = {id(p) for group in parameter_groups(model, 0) for p in group["params"]}
    assert listed == {id(p) for p in model.parameters() if p.requires_grad}


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
