"""The options of a run: each resumed at every step, and what ends a run early."""

import json
import shutil

import pytest
import torch
from tiny_runs import assert_same_bits, build, read_csv, scripted, weights

from bert_kit import TrainingError
from bert_kit.training import (EarlyStopping, MemoryManager, classification_loss,
                               gradual_unfreezing, trainer)
from bert_kit.training.state import checkpoints

EVERY = dict(save_strategy="steps", save_steps=1, save_total_limit=99, max_steps=9)


def short_at_step_3(folder, **settings):
    """A run that finds memory short in one step and goes on with fewer rows at a time."""
    run = build(folder, memory=MemoryManager(
        smallest=1, largest=3, measure=lambda device: 0.9 if run.state.step == 3 else 0.1),
        **settings)
    return run


@pytest.mark.parametrize("options", [
    dict(optim="adam"), dict(optim="sgd", momentum=0.8, learning_rate=0.1),
    dict(optim="rmsprop", betas=(0.656, 0.95), adam_epsilon=1e-6),
    dict(layer_decay=0.5, head_learning_rate=5e-3, loss=classification_loss([0.5, 2.0], 0.1, 2.0)),
    dict(unfreezing=gradual_unfreezing, weight_decay=0.5, optim="sgd"),
    dict(unfreezing=gradual_unfreezing, layer_decay=0.5, precision="float16"),
    dict(make=short_at_step_3),
    dict(stopping=EarlyStopping(smoothing_window=3, trend_window=3)),
], ids=lambda options: " ".join(options))
def test_resumed_at_any_step_equals_unbroken(tmp_path, options):
    make = options.get("make", build)
    options = {**EVERY, **{key: value for key, value in options.items() if key != "make"}}
    state = (unbroken := make(tmp_path / "whole", **options)).train()
    assert state.step == 9 and state.stopped is None  # in the third epoch
    for step in (1, 3, 4, 8):  # within an epoch, at its end, and the last
        folder = tmp_path / f"from-{step}"
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", folder / f"checkpoint-{step}")
        other = make(folder, seed=5, **{**options, "save_strategy": "no"})
        resumed = other.train(resume="auto")
        assert_same_bits(weights(unbroken), weights(other))
        assert resumed.log == state.log and read_csv(folder) == read_csv(tmp_path / "whole")
        assert resumed.rows_at_a_time == state.rows_at_a_time
    assert state.rows_at_a_time == (1 if make is short_at_step_3 else None)


def stopped_run(folder, values, patience, seed=0, **settings):
    return build(folder, evaluate=scripted(values), stopping=EarlyStopping(patience=patience),
                 metric_for_best_model="accuracy", seed=seed,
                 **{"num_train_epochs": 9, "save_total_limit": 99, **settings})


def test_early_stopping_ends_the_run_and_keeps_the_best(tmp_path):
    run = stopped_run(tmp_path, [0.1, 0.5, 0.4, float("nan"), 0.9], 2, load_best_model_at_end=True)
    state = run.train()
    assert state.step == 16 and state.best_step == 8 and state.epoch == 4
    assert state.stopped == "no improvement in 2 evaluations; the best was 0.5, evaluation 2"
    assert checkpoints(tmp_path)[-1].name == "checkpoint-16"
    stored = json.loads((tmp_path / "checkpoint-16" / "trainer_state.json").read_text())
    assert stored["stopped"] == state.stopped
    assert [row["eval_accuracy"] for row in state.log if "eval_accuracy" in row] == [
        0.1, 0.5, 0.4, None]
    best = weights(run)
    run.load_model(tmp_path / "checkpoint-8")
    assert_same_bits(weights(run), best)


def test_a_run_that_has_stopped_stays_so_when_resumed(tmp_path):
    values = [0.5, 0.4, 0.3]
    (first := stopped_run(tmp_path, values, 2)).train()
    again = stopped_run(tmp_path, [], 2, seed=5)  # an evaluation would raise StopIteration
    state = again.train(resume="auto")
    assert state == first.state and state.step == 12
    assert_same_bits(weights(again), weights(first))


def test_more_patience_goes_on_to_the_bits_of_a_run_that_always_had_it(tmp_path):
    values = [0.5, 0.4, 0.3, 0.6, 0.5, 0.7, 0.8, 0.8, 0.9]
    stopped_run(tmp_path / "a", values, 2).train()
    state = (longer := stopped_run(tmp_path / "a", values[3:], 3, seed=5)).train(resume="auto")
    (whole := stopped_run(tmp_path / "b", values, 3)).train()
    assert state.step == 36 and state.stopped is None and state.log == whole.state.log
    assert_same_bits(weights(longer), weights(whole))


def test_a_killed_run_stops_where_it_would_have(tmp_path):
    values = [0.5, 0.4, 0.6, 0.5, 0.4]
    (whole := stopped_run(tmp_path / "whole", values, 2)).train()
    for epoch in (1, 2, 3, 4):
        folder = tmp_path / f"from-{epoch}"
        name = f"checkpoint-{4 * epoch}"
        shutil.copytree(tmp_path / "whole" / name, folder / name)
        (other := stopped_run(folder, values[epoch:], 2, seed=5)).train(resume="auto")
        assert other.state.log == whole.state.log and other.state.stopped == whole.state.stopped
        assert_same_bits(weights(other), weights(whole))


def test_stopping_needs_evaluations():
    for settings in (dict(evaluate=None), dict(eval_strategy="no")):
        with pytest.raises(TrainingError, match="early stopping needs an evaluate"):
            build(None, stopping=EarlyStopping(), **settings)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [0.0]
    monkeypatch.setattr(trainer, "monotonic", lambda: now[0])
    return now


def timed(folder, clock, seconds=10.0, **settings):
    """A run whose batches take so many seconds each; two make a step."""
    run = build(folder, **{"num_train_epochs": 4, **settings})
    inner = run.loss

    def slow(model, batch, counts):
        clock[0] += seconds
        return inner(model, batch, counts)
    run.loss = slow
    return run


@pytest.mark.parametrize("cut", [
    *(1, 4, 7, 12), *(pytest.param(cut, marks=pytest.mark.slow) for cut in (
        2, 3, 5, 6, 8, 9, 10, 11))])
def test_the_evaluation_at_a_cut_does_not_count_for_early_stopping(tmp_path, clock, cut):
    def run(values, **settings):
        return timed(tmp_path, clock, evaluate=scripted(values), metric_for_best_model="accuracy",
                     stopping=EarlyStopping(patience=2), num_train_epochs=9, **settings)

    planned = [0.1, 0.5, 0.4, 0.3]  # after steps 4, 8, 12 and 16: the last one stops the run
    extra = [0.2] if cut % 4 else []
    state = run(planned[:cut // 4] + extra, time_limit=20 * cut).train()
    assert state.step == cut and "time limit" in state.stopped
    assert [row["step"] for row in state.log if "extra" in row] == [cut] * len(extra)
    state = run(planned[cut // 4:]).train(resume="auto")
    assert state.step == 16 and "no improvement in 2" in state.stopped
    assert [row["eval_accuracy"] for row in state.log
            if "eval_accuracy" in row and "extra" not in row] == planned


@pytest.mark.parametrize("cut", [
    1, 8, 11, *(pytest.param(cut, marks=pytest.mark.slow) for cut in (5, 15))])
def test_the_evaluation_at_a_cut_does_not_choose_the_best_step(tmp_path, clock, cut):
    """The run that goes on ends with the step and the bits of one that was never cut."""
    def run(folder, values, **settings):
        return timed(folder, clock, evaluate=scripted(values), metric_for_best_model="accuracy",
                     load_best_model_at_end=True, **settings)

    planned = [0.4, 0.6, 0.5, 0.3]  # after steps 4, 8, 12 and 16
    (whole := run(tmp_path / "whole", planned)).train()
    first = run(tmp_path / "cut", planned[:cut // 4] + [0.9] * (cut % 4 > 0), time_limit=20 * cut)
    state = first.train()
    assert state.step == cut
    assert state.best_step == {0: None, 1: 4}.get(cut // 4, 8)  # of the planned ones only
    if cut < 4:  # none: the last weights stay
        last = run(tmp_path / "cut", [])
        last.load_model(tmp_path / "cut" / f"checkpoint-{cut}")
        assert_same_bits(weights(first), weights(last))
    state = (again := run(tmp_path / "cut", planned[cut // 4:])).train(resume="auto")
    assert (state.best_step, state.best_value) == (8, 0.6)
    assert whole.state.best_step == 8
    assert_same_bits(weights(again), weights(whole))


def test_the_time_limit_ends_with_an_evaluation_and_a_checkpoint(tmp_path, clock):
    state = timed(tmp_path, clock, time_limit=55).train()
    assert state.step == 3 and state.elapsed == 60
    assert state.stopped == "the time limit of 55 s is reached"
    assert [set(row) >= {"eval_loss"} for row in state.log] == [False, True]
    assert [row["extra"] for row in read_csv(tmp_path)] == ["", "1"]
    assert checkpoints(tmp_path)[-1].name == "checkpoint-3"
    assert timed(tmp_path, clock, time_limit=55).train(resume="auto").step == 3  # still over
    state = timed(tmp_path, clock, time_limit=100).train(resume="auto")  # more time: 40 s more
    assert state.step == 5 and state.elapsed == 100
    state = (last := timed(tmp_path, clock, seed=5)).train(resume="auto")
    assert state.step == 16 and state.stopped is None
    (whole := timed(None, clock)).train()
    assert_same_bits(weights(last), weights(whole))


def test_a_resumed_run_counts_the_seconds_of_the_one_before(tmp_path, clock):
    run = timed(tmp_path, clock, save_strategy="steps", save_steps=2, time_limit=1000)
    inner = run.loss

    def killed(model, batch, counts):
        if run.state.step == 3:
            raise RuntimeError("killed")
        return inner(model, batch, counts)
    run.loss = killed
    with pytest.raises(RuntimeError):
        run.train()
    clock[0] += 9999  # the time in between does not count
    state = timed(tmp_path, clock, save_strategy="steps", save_steps=2, time_limit=70).train(
        resume="auto")
    assert state.step == 4 and state.elapsed == 80


def test_a_limit_in_the_last_step_is_a_normal_end(clock):
    state = timed(None, clock, num_train_epochs=1, time_limit=71).train()
    assert state.step == 4 and state.stopped is None


def test_checkpoints_of_earlier_versions_are_understood(tmp_path):
    build(tmp_path, max_steps=5, save_strategy="steps", save_steps=2).train()
    shutil.rmtree(tmp_path / "checkpoint-5")
    (tmp_path / "checkpoint-4" / "digests.json").unlink()
    for path, new in (("checkpoint-4/trainer_state.json", ("elapsed", "stopped", "rows_at_a_time")),
                      ("training_args.json", ("optim", "betas", "time_limit", "layer_decay",
                                              "before_epoch", "stopping", "memory", "verbosity"))):
        stored = json.loads((tmp_path / path).read_text())
        for key in new:
            del stored[key]
        (tmp_path / path).write_text(json.dumps(stored))
    assert build(tmp_path, max_steps=5, save_strategy="steps", save_steps=2).train("auto").step == 5


@pytest.mark.parametrize("setting, free", [
    (dict(time_limit=1e9), True), (dict(verbosity=0), True),
    (dict(memory=MemoryManager(smallest=1)), True), (dict(stopping=EarlyStopping()), True),
    (dict(optim="sgd"), False), (dict(betas=(0.8, 0.999)), False), (dict(layer_decay=0.9), False),
    (dict(head_learning_rate=1e-3), False), (dict(unfreezing=gradual_unfreezing), False)])
def test_what_a_resumed_run_may_change(tmp_path, setting, free):
    build(tmp_path).train()
    if free:
        assert build(tmp_path, **setting).train(resume="auto").step == 8
    else:
        with pytest.raises(TrainingError, match="a resumed run needs the same settings"):
            build(tmp_path, **setting).train(resume="auto")


def test_wall_clock_times_are_not_in_the_log(tmp_path):
    state = build(tmp_path).train()
    assert 0 < state.elapsed < 60
    assert {key for row in state.log for key in row} == {
        "step", "epoch", "loss", "learning_rate", "grad_norm", "eval_loss"}


def test_rates_and_optimizer_reach_the_run():
    run = build(None, layer_decay=0.5, head_learning_rate=4e-3, optim="rmsprop", betas=[0.9, 0.95],
                adam_epsilon=1e-5, momentum=0.3, weight_decay=0.2)
    optimizer = run.amp.optimizer
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert [group["initial_lr"] for group in optimizer.param_groups[::2]] == pytest.approx(
        [4e-3, 1e-3, 5e-4, 2.5e-4])
    for group in optimizer.param_groups:
        assert (group["alpha"], group["eps"], group["momentum"]) == (0.95, 1e-5, 0.3)
    state = run.train()
    assert run.args.betas == (0.9, 0.95) and run.args.to_dict()["betas"] == [0.9, 0.95]
    last = state.log[-2]
    assert last["step"] == 8 and last["head_learning_rate"] == pytest.approx(4e-3 / 7)
    assert last["learning_rate"] == pytest.approx(1e-3 / 7)
