"""Checkpoints that are damaged, or not what they seem: told in a line, and the run goes on."""

import json
import random
import shutil

import pytest
import torch
from tiny_runs import CONFIG, assert_same_bits, build, scripted, weights

from bert_kit import BertKitError, Trainer, TrainingError
from bert_kit.digests import DIGESTS
from bert_kit.training.state import checkpoints

SMALL = CONFIG.replace(num_hidden_layers=1)
SETTINGS = dict(config=SMALL, max_steps=3, save_strategy="steps", save_steps=1,
                save_total_limit=9, logging_steps=1, verbosity=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run of two steps and its weights after three."""
    folder = tmp_path_factory.mktemp("run")
    unbroken = build(folder / "three", **SETTINGS)
    unbroken.train()
    return folder / "three", weights(unbroken)


@pytest.fixture
def run(whole, tmp_path):
    """Return a copy of it, cut after its second step, and its weights after three."""
    shutil.copytree(whole[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint-3")
    args = tmp_path / "run" / "training_args.json"
    args.write_text(args.read_text().replace(str(whole[0]), str(tmp_path / "run")))
    return tmp_path / "run", whole[1]


def go_on(folder, **changes):
    trainer = build(folder, seed=9, **SETTINGS | changes)
    trainer.train(resume="auto")
    return weights(trainer)


def change(path, how):
    """Change what a torch file holds, and forget the digests, as one who means harm would."""
    content = torch.load(path, weights_only=True)
    changed = how(content)
    torch.save(content if changed is None else changed, path)
    (path.parent / DIGESTS).unlink(missing_ok=True)


# ---- bits that flip

@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pt", "scaler.pt",
                                  "trainer_state.json", "config.json"])
def test_a_flipped_bit_is_told_and_the_checkpoint_before_is_taken(run, name, capsys):
    folder, final = run
    path = folder / "checkpoint-2" / name
    bad, rng = bytearray(path.read_bytes()), random.Random(name)
    bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    path.write_bytes(bad)
    with pytest.raises(TrainingError, match=f"{name}: damaged.*--resume auto takes"):
        build(folder, **SETTINGS).train(resume=folder / "checkpoint-2")
    assert_same_bits(go_on(folder), final)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "goes on from checkpoint-1" in said and name in said
    assert [path.name for path in checkpoints(folder)] == [f"checkpoint-{i}" for i in (1, 2, 3)]
    assert (folder / "damaged-checkpoint-2" / name).read_bytes() == bad


def test_no_checkpoint_that_is_whole(run):
    folder, _ = run
    for path in checkpoints(folder):
        (path / "rng_state.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match="no checkpoint before it is whole"):
        go_on(folder)


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_best_checkpoint_is_told_before_the_rest_is_trained(tmp_path, gone):
    best = {**SETTINGS, "load_best_model_at_end": True, "metric_for_best_model": "accuracy",
            "eval_strategy": "steps", "eval_steps": 1}
    build(tmp_path, evaluate=scripted([0.9, 0.5, 0.6]), **best).train()
    state = json.loads((checkpoints(tmp_path)[-1] / "trainer_state.json").read_text())
    folder = tmp_path / f"checkpoint-{state['best_step']}"
    assert checkpoints(tmp_path)[-1] != folder
    (folder / "model.safetensors").write_bytes(b"x")
    if gone:
        shutil.rmtree(folder)
    with pytest.raises(TrainingError, match="the best so far.* --resume auto repeats their steps"):
        build(tmp_path, evaluate=scripted([]), **best).train(resume="auto")


# ---- moments

def of_first(**moments):
    return lambda content: content["state"][0].update(moments)


def first_shape():
    return next(build(None, config=SMALL).model.parameters()).shape


HUGE = torch.finfo(torch.float32).max
DAMAGES = {
    "short": lambda: of_first(exp_avg=torch.zeros(1)),
    "stride 0": lambda: of_first(exp_avg=torch.zeros(1).expand(first_shape()).clone()
                                 .as_strided(first_shape(), (1, 0))),
    "transposed": lambda: of_first(exp_avg=torch.zeros(first_shape()[::-1]).t()),
    "float64": lambda: of_first(exp_avg_sq=torch.zeros(first_shape(), dtype=torch.float64)),
    "integers": lambda: of_first(exp_avg=torch.zeros(first_shape(), dtype=torch.int64)),
    "NaN": lambda: of_first(exp_avg=torch.full(first_shape(), float("nan"))),
    "negative": lambda: of_first(exp_avg_sq=-torch.ones(first_shape())),
    "a number": lambda: of_first(exp_avg=0.0),
    "none": lambda: of_first(exp_avg=None),
    "step 0": lambda: of_first(step=torch.tensor(0.0)),
    "half a step": lambda: of_first(step=torch.tensor(1.5)),
    "steps": lambda: of_first(step=torch.ones(3)),
    "endless": lambda: of_first(step=torch.tensor(float("inf"))),
    "more": lambda: of_first(max_exp_avg_sq=torch.zeros(first_shape())),
    "shared": lambda: (lambda content: content["state"][0].update(
        exp_avg_sq=content["state"][0]["exp_avg"])),
    "a list": lambda: (lambda content: content["state"].update({0: [1]})),
    "of nothing": lambda: (lambda content: content["state"].update({10**6: content["state"][0]})),
    "of text": lambda: (lambda content: content["state"].update(x=content["state"][0])),
    "no state": lambda: (lambda content: content["state"].clear()),
    "nothing": lambda: (lambda content: {}),
    "a tensor": lambda: (lambda content: torch.zeros(3)),
    "no groups": lambda: (lambda content: content["param_groups"].clear()),
    "fewer": lambda: (lambda content: content["param_groups"][0]["params"].clear()),
    "betas": lambda: (lambda content: content["param_groups"][0].update(betas=(2.0, 0.999))),
    "epsilon": lambda: (lambda content: content["param_groups"][0].update(eps="1")),
    "decay": lambda: (lambda content: content["param_groups"][0].update(weight_decay=9.0)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_no_moments_reach_the_optimizer_that_are_not_its_own(run, name):
    folder, _ = run
    change(folder / "checkpoint-2" / "optimizer.pt", DAMAGES[name]())
    with pytest.raises(BertKitError, match="optimizer.pt") as caught:
        go_on(folder)
    assert "\n" not in str(caught.value)


def test_what_the_settings_decide_is_not_taken_from_a_file(run):
    folder, final = run
    change(folder / "checkpoint-2" / "optimizer.pt", lambda content: content["param_groups"][0]
           .update(lr=float("nan"), initial_lr=7.0, fused=True, foreach=None))
    assert_same_bits(go_on(folder), final)


@pytest.mark.parametrize("optim", ["adamw", "adam", "sgd", "rmsprop", "muon"])
def test_every_optimizer_goes_on(tmp_path, optim):
    settings = SETTINGS | dict(optim=optim)
    unbroken = build(tmp_path / "a", **settings)
    unbroken.train()
    for path in checkpoints(tmp_path / "a")[1:]:
        shutil.rmtree(path)
    assert_same_bits(go_on(tmp_path / "a", optim=optim), weights(unbroken))


# ---- the place in the run

BAD = ["x", -1, -0.5, True, None, [], {}, 2**70, 1e308, [[]], {"a": 1}]


def test_a_place_that_no_run_was_at(run):
    """Every value of trainer_state.json, replaced: told in a line, or the same weights."""
    folder, final = run
    path = folder / "checkpoint-2" / "trainer_state.json"
    (path.parent / DIGESTS).unlink()
    good = json.loads(path.read_text())
    refused, kept = 0, sorted(p.name for p in checkpoints(folder))
    wrong = [{**good, name: value} for name in good for value in BAD if value != good[name]]
    wrong += [{key: value for key, value in good.items() if key != name} for name in good]
    wrong += [{**good, "step": 1}, {**good, "batch": good["batch"] + 1}, {**good, "epoch": 7},
              {**good, "skipped": 1}, {**good, "other": 1},
              {**good, "log": [{**good["log"][0], "loss": "low"}, *good["log"][1:]]},
              {**good, "log": [{**good["log"][0], "step": 99}, *good["log"][1:]]}]
    wrong += [[], 1, "x", {}]
    for value in wrong:
        path.write_text(json.dumps(value))
        try:
            assert_same_bits(go_on(folder), final)
        except BertKitError as error:
            assert "\n" not in str(error), error
            refused += 1
        for later in checkpoints(folder):
            if later.name not in kept:
                shutil.rmtree(later)
    assert refused > len(wrong) / 2


# ---- scale and generators

@pytest.mark.parametrize("name, how", [
    ("scaler.pt", lambda content: {}), ("scaler.pt", lambda content: [1]),
    ("scaler.pt", lambda content: content.update(precision="float16")),
    ("rng_state.pt", lambda content: []), ("rng_state.pt", lambda content: {"cpu": 1}),
    ("rng_state.pt", lambda content: [{"cpu": torch.zeros(3, dtype=torch.uint8)}]),
    ("rng_state.pt", lambda content: [{"cpu": torch.zeros(5056)}]),
    ("rng_state.pt", lambda content: [{"cpu": content[0]["cpu"], "cuda": 3}])])
def test_scales_and_generators(run, name, how):
    folder, _ = run
    change(folder / "checkpoint-2" / name, how)
    with pytest.raises(BertKitError, match=name) as caught:
        go_on(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scaler", [
    {"scale": 0.0, "_growth_tracker": 0}, {"scale": -2.0, "_growth_tracker": 0},
    {"scale": float("inf"), "_growth_tracker": 0}, {"scale": 2.0, "_growth_tracker": -1},
    {"scale": 2.0}, {"scale": "2", "_growth_tracker": 0}, {}])
def test_a_loss_scale_that_is_none(tmp_path, scaler):
    settings = SETTINGS | dict(precision="float16")
    build(tmp_path / "run", **settings).train()
    last = checkpoints(tmp_path / "run")[-1]
    change(last / "scaler.pt", lambda content: content.update(scaler=scaler))
    with pytest.raises(BertKitError, match="scaler.pt"):
        build(tmp_path / "run", **settings).train(resume="auto")


# ---- schedules

def test_a_checkpoint_of_an_earlier_version_has_the_schedule_in_a_file(run):
    folder, final = run
    checkpoint = folder / "checkpoint-2"
    torch.save({"last_epoch": 99, "base_lrs": [3.0]}, checkpoint / "scheduler.pt")
    (checkpoint / DIGESTS).unlink()
    assert_same_bits(go_on(folder), final)  # which is not read: the step says it


def halving(folder, seed=0):
    like = build(folder, seed=seed, **SETTINGS)
    return Trainer(like.model, like.args, like.loss, like.train_loader, like.evaluate,
                   like.save_model, like.load_model,
                   scheduler=lambda optimizer, total: torch.optim.lr_scheduler.StepLR(
                       optimizer, 1, 0.5))


@pytest.mark.parametrize("how", [
    None, lambda content: {}, lambda content: [], lambda content: content.update(last_epoch=-4),
    lambda content: content.update(step=1), lambda content: content.update(gamma="x"),
    lambda content: content.update(base_lrs=[])])
def test_a_schedule_from_elsewhere(tmp_path, how):
    unbroken = halving(tmp_path / "a")
    unbroken.train()
    shutil.rmtree(tmp_path / "a" / "checkpoint-3")
    other = halving(tmp_path / "a", seed=9)
    if how is None:
        other.train(resume="auto")
        assert_same_bits(weights(other), weights(unbroken))
        return
    change(tmp_path / "a" / "checkpoint-2" / "scheduler.pt", how)
    with pytest.raises(BertKitError, match="scheduler.pt") as caught:
        other.train(resume="auto")
    assert "\n" not in str(caught.value)
