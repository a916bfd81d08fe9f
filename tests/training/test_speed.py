import dataclasses
import json

import pytest
import torch
from tiny_rows import Rows, rows_loader
from tiny_runs import CONFIG

from bert_kit import (BERTForSequenceClassification, TrainingArguments, TrainingError,
                      compute_classification_loss)
from bert_kit.data import make_loader
from bert_kit.training import planned_steps, speed

ARGUMENTS = TrainingArguments(None, optim="muon", gradient_accumulation_steps=2)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a step of the loss moves by two seconds, the first one by ten."""
    now = {"time": 0.0, "calls": 0}

    def loss(model, batch, counts):
        now["time"] += 10.0 if now["calls"] == 0 else 2.0
        now["calls"] += 1
        return compute_classification_loss(model, batch, counts)

    monkeypatch.setattr(speed, "monotonic", lambda: now["time"])
    now["loss"] = loss
    return now


def test_steps_fill_the_time_that_measuring_leaves(clock):
    model = BERTForSequenceClassification(CONFIG)
    loader = rows_loader(23, 8)
    steps = planned_steps(100, model, ARGUMENTS, clock["loss"], loader)
    used = clock["time"]
    assert used >= speed.SHARE * 6000 and used < speed.SHARE * 6000 + 8
    assert steps == int((6000 - used) / 4)  # two batches a step; the first steps do not count


def test_model_numbers_and_loader_are_as_before(clock):
    model = BERTForSequenceClassification(CONFIG).eval()
    loader = rows_loader(23, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, numbers = next(iter(loader))["input_ids"], torch.get_rng_state()
    planned_steps(1, model, ARGUMENTS, clock["loss"], loader)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(numbers, torch.get_rng_state()) and not model.training
    assert torch.equal(next(iter(loader))["input_ids"], first)
    assert all(p.grad is None for p in model.parameters())


def test_at_least_one_step_and_no_time_is_refused(clock):
    model, loader = BERTForSequenceClassification(CONFIG), rows_loader(23, 8)
    assert planned_steps(0.01, model, ARGUMENTS, clock["loss"], loader) == 1
    for minutes in (0, -1, float("nan")):
        with pytest.raises(TrainingError, match="minutes"):
            planned_steps(minutes, model, ARGUMENTS, clock["loss"], loader)


def test_a_run_that_goes_on_keeps_its_number(clock, tmp_path):
    model, loader = BERTForSequenceClassification(CONFIG), rows_loader(23, 8)
    there = dataclasses.replace(ARGUMENTS, output_dir=str(tmp_path))
    (tmp_path / "training_args.json").write_text(json.dumps({"max_steps": 77}))
    assert planned_steps(5, model, there, clock["loss"], loader, resume="auto") == 77
    assert clock["calls"] == 0
    assert planned_steps(5, model, there, clock["loss"], loader) != 77


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("fixed, of_a_token", [(0, 1), (150, 1), (100, 0)])
@pytest.mark.parametrize("together", [1, 3])
def test_long_batches_at_the_beginning_do_not_change_the_plan(monkeypatch, grouped, fixed,
                                                              of_a_token, together):
    """Steps take some time each and some for their tokens; held against eight passes."""
    now = {"time": 0.0}

    def loss(model, batch, counts):
        now["time"] += fixed + of_a_token * float(batch["attention_mask"].sum())
        return compute_classification_loss(model, batch, counts)

    monkeypatch.setattr(speed, "monotonic", lambda: now["time"])
    rows = Rows(1500, longest=40)
    loader = make_loader(rows, 8, seed=3, group_by_length=grouped)
    seconds = 8 * (fixed * len(loader) + of_a_token * float(sum(rows.lengths)))
    model = BERTForSequenceClassification(CONFIG.replace(max_position_embeddings=40))
    steps = planned_steps(seconds / 60 / (1 - speed.SHARE), model, dataclasses.replace(
        ARGUMENTS, gradient_accumulation_steps=together), loss, loader)
    assert abs(steps * together - 8 * len(loader)) < 0.03 * steps * together
