import json
import shutil
import time
from pathlib import Path

import pytest
import torch
import warm_processes
from tiny_rows import rows_loader
from tiny_runs import CONFIG, assert_same_bits, build, read_csv, scripted, weights

from bert_kit import (BERTForSequenceClassification, Trainer, TrainingArguments, TrainingError,
                      compute_classification_loss)
from bert_kit.training import EarlyStopping
from bert_kit.training.state import checkpoints


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("masked", [False, True])
def test_resumed_at_any_step_equals_unbroken(tmp_path, precision, masked):
    settings = dict(masked=masked, save_strategy="steps", save_steps=1, save_total_limit=99,
                    precision=precision)
    unbroken = build(tmp_path / "whole", **settings)
    state = unbroken.train()
    assert state.step == 8 and len(checkpoints(tmp_path / "whole")) == 8
    for step in range(1, 8) if precision == "float32" else (1, 4, 7):
        folder = tmp_path / f"from-{step}"
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", folder / f"checkpoint-{step}")
        other = build(folder, seed=5, **settings)  # other initial weights: all must be restored
        torch.manual_seed(77 + step)
        resumed = other.train(resume=folder / f"checkpoint-{step}")
        assert_same_bits(weights(unbroken), weights(other))
        assert resumed.log == state.log
        assert read_csv(folder) == read_csv(tmp_path / "whole")


def test_killed_at_any_moment_resumes_to_the_same_bits(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch\n"
        f"sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]\n"
        "import tiny_runs\n"
        "from pathlib import Path\n"
        "trainer = tiny_runs.build(Path(sys.argv[1]), masked=True, rows=60,\n"
        "                          num_train_epochs=3, save_strategy='steps', save_steps=2)\n"
        "print('ready', flush=True)\n"
        "trainer.train(resume='auto')\n"
        "tiny_runs.save_pretrained(trainer.model, sys.argv[1] + '/final')\n")
    log, kills = tmp_path / "log", 0
    assert warm_processes.run(script, tmp_path / "whole").returncode == 0
    for attempt in range(4):  # kill -9 at some moment of the run itself, then let it finish
        log.with_suffix(".out").unlink(missing_ok=True)
        process = warm_processes.start(script, tmp_path / "broken", folder=tmp_path, log=log)
        while not (log.with_suffix(".out").exists() and log.with_suffix(".out").read_text()):
            time.sleep(0.005)
        process.join(0.05 + 0.1 * attempt)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert warm_processes.run(script, tmp_path / "broken").returncode == 0
    assert kills >= 1
    for name in ("final/model.safetensors", "metrics.csv", "training_args.json"):
        whole, broken = ((tmp_path / run / name).read_bytes() for run in ("whole", "broken"))
        assert whole.replace(b"whole", b"broken") == broken, name
    assert not [path for path in (tmp_path / "broken").iterdir() if path.name.startswith(".")]


def test_a_short_last_window_and_the_number_of_steps():
    trainer = build(None, num_train_epochs=3)
    assert trainer.steps_per_epoch == 4 and trainer.train().step == 12
    assert trainer.state.epoch == 3 and trainer.state.batch == 0
    trainer = build(None, max_steps=6)
    state = trainer.train()
    assert (state.step, state.epoch, state.batch) == (6, 1, 4)


def test_training_learns():
    trainer = build(None, num_train_epochs=12, rows=200, learning_rate=3e-3)
    losses = [row["loss"] for row in trainer.train().log if "loss" in row]
    assert losses[0] > 0.6 and losses[-1] < 0.05


def test_logs_and_checkpoint_files(tmp_path):
    state = build(tmp_path).train()
    rows = read_csv(tmp_path)
    assert [row["step"] for row in rows] == ["3", "4", "6", "8", "8"]
    assert rows[0]["loss"] and not rows[0]["eval_loss"] and rows[1]["eval_loss"]
    assert float(rows[0]["learning_rate"]) > 0 and float(rows[0]["grad_norm"]) > 0
    assert json.loads((tmp_path / "training_args.json").read_text())["learning_rate"] == 1e-3
    for folder in checkpoints(tmp_path):
        assert {path.name for path in folder.iterdir()} == {
            "config.json", "model.safetensors", "optimizer.pt", "scaler.pt", "rng_state.pt",
            "trainer_state.json", "digests.json"}
    assert state.best_value == min(row["eval_loss"] for row in state.log if "eval_loss" in row)


@pytest.mark.parametrize("values, best", [
    ([0.1, 0.9, 0.3, 0.4, 0.5, 0.6], 2),
    ([float("nan"), 0.2, float("nan"), 0.1, 0.1, 0.1], 2),
    ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 1),
])
def test_the_best_checkpoint_is_kept_and_loaded(tmp_path, values, best):
    trainer = build(tmp_path, evaluate=scripted(values), num_train_epochs=6, save_total_limit=2,
                    metric_for_best_model="accuracy", load_best_model_at_end=True)
    state = trainer.train()
    assert state.best_step == 4 * best
    assert [path.name for path in checkpoints(tmp_path)] == [
        f"checkpoint-{4 * best}", "checkpoint-20", "checkpoint-24"]
    final = weights(trainer)
    trainer.load_model(tmp_path / f"checkpoint-{4 * best}")
    assert_same_bits(weights(trainer), final)


def test_smaller_is_better_for_a_loss_and_the_user_may_say_otherwise():
    args = TrainingArguments()
    assert args.is_better(0.1, 0.2) and not args.is_better(0.2, 0.2)
    assert args.is_better(5.0, None) and not args.is_better(float("nan"), None)
    args = TrainingArguments(metric_for_best_model="eval_f1_macro")
    assert args.best_metric == "eval_f1_macro" and args.is_better(0.3, 0.2)
    for metric in ("brier_score", "expected_calibration_error", "eval_nll"):
        assert TrainingArguments(metric_for_best_model=metric).is_better(0.1, 0.2)
    args = TrainingArguments(metric_for_best_model="error", greater_is_better=False)
    assert args.is_better(0.1, 0.2)


def test_a_better_evaluation_between_saves_is_saved(tmp_path):
    trainer = build(tmp_path, evaluate=scripted([0.9, 0.1, 0.1, 0.1]), eval_strategy="steps",
                    eval_steps=2, save_strategy="steps", save_steps=5,
                    metric_for_best_model="accuracy")
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-2", "checkpoint-5", "checkpoint-8"]


def test_an_unknown_metric_lists_those_there_are():
    trainer = build(None, metric_for_best_model="f2")
    with pytest.raises(TrainingError, match="'f2'.*eval_loss"):
        trainer.train()


def test_runs_are_not_mixed(tmp_path):
    build(tmp_path).train()
    with pytest.raises(TrainingError, match="already has checkpoint-8.*--resume auto"):
        build(tmp_path).train()
    with pytest.raises(TrainingError, match="learning_rate was 0.001 and is now 0.5"):
        build(tmp_path, learning_rate=0.5).train(resume="auto")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        build(tmp_path).train(resume=tmp_path / "nothing")
    before = weights(trainer := build(tmp_path))
    assert trainer.train(resume="auto").step == 8  # finished already: nothing left to do
    assert any(not torch.equal(value, before[name]) for name, value in weights(trainer).items())


def test_resume_auto_starts_anew_in_an_empty_folder(tmp_path):
    assert build(tmp_path / "new").train(resume="auto").step == 8


@pytest.mark.parametrize("name, content", [
    ("optimizer.pt", b"not a file of torch"), ("rng_state.pt", b""), ("scaler.pt", None),
    ("trainer_state.json", b"{}x"), ("model.safetensors", b"\x08"), ("scaler.pt", b"PK"),
])
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, name, content):
    build(tmp_path).train()
    path = tmp_path / "checkpoint-8" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for _ in range(2):  # with digests, and without, as in checkpoints of earlier versions
        with pytest.raises(ValueError, match=name) as caught:
            build(tmp_path).train(resume=tmp_path / "checkpoint-8")
        assert "\n" not in str(caught.value)
        (tmp_path / "checkpoint-8" / "digests.json").unlink(missing_ok=True)


def test_a_diverging_run_stops_with_advice():
    with pytest.raises(TrainingError, match="loss is nan.*learning_rate"):
        trainer = build(None, evaluate=None)
        trainer.loss = lambda model, batch, counts: (
            float("nan") * compute_classification_loss(model, batch, counts))
        trainer.train()


@pytest.mark.parametrize("settings, part", [
    (dict(num_train_epochs=0), "num_train_epochs"), (dict(precision="half"), "bfloat16"),
    (dict(eval_strategy="often"), "eval_strategy"), (dict(learning_rate=-1.0), "learning_rate"),
    (dict(gradient_accumulation_steps=1.5), "gradient_accumulation_steps"),
    (dict(max_grad_norm=0.0), "max_grad_norm"),
    (dict(load_best_model_at_end=True), "output_dir"),
    (dict(output_dir="x", load_best_model_at_end=True, save_strategy="no"), "save_strategy"),
    (dict(lr_scheduler_type="square"), "linear, cosine, constant"),
    (dict(optim="lion"), "adamw, muon, adam, sgd, rmsprop"), (dict(verbosity=3), "0, 1, 2"),
    (dict(betas=(0.9, 1.0)), "betas"), (dict(betas="(0.9, 0.99)"), "betas"),
    (dict(adam_epsilon=0.0), "adam_epsilon"), (dict(momentum=1), "momentum"),
    (dict(layer_decay=0), "layer_decay.*at most 1"), (dict(time_limit=0), "time_limit.*or None"),
    (dict(head_learning_rate=float("nan")), "head_learning_rate"),
])
def test_impossible_settings_are_refused_before_any_work(settings, part):
    with pytest.raises(TrainingError, match=part):
        TrainingArguments(**settings)


def test_pieces_that_do_not_fit_are_refused(tmp_path):
    model = BERTForSequenceClassification(CONFIG)
    loader = rows_loader(3, 3)
    for args, extra in ((TrainingArguments(str(tmp_path)), {}),
                        (TrainingArguments(None, warmup_steps=9), {})):
        with pytest.raises(TrainingError):
            Trainer(model, args, compute_classification_loss, loader, **extra)
    with pytest.raises(TrainingError, match="output_dir"):
        build(None).train(resume="auto")


def test_best_weights_do_not_alias_the_live_ones(tmp_path):
    trainer = build(tmp_path, evaluate=scripted([0.9, 0.1]), metric_for_best_model="accuracy")
    trainer.train()
    live = weights(trainer)
    trainer.load_model(tmp_path / "checkpoint-4")
    assert any(not torch.equal(value, live[name]) for name, value in weights(trainer).items())


def test_evaluation_does_not_disturb_training():
    (quiet := build(None, eval_strategy="no")).train()
    (busy := build(None, eval_strategy="steps", eval_steps=1)).train()
    assert_same_bits(weights(quiet), weights(busy))
    assert busy.model.training


def test_a_loader_that_ends_early_is_an_error_not_an_endless_loop():
    class Short(list):
        batch_sampler = rows_loader(6, 3).batch_sampler

        def __len__(self):
            return 5

    for batches in ([], list(rows_loader(6, 3))):
        trainer = build(None)
        trainer.train_loader = Short(batches)
        with pytest.raises(TrainingError, match="the loader's length says 5"):
            trainer.train()


def test_a_diverged_run_keeps_its_good_checkpoints(tmp_path):
    trainer = build(tmp_path, save_strategy="steps", save_steps=1, logging_steps=99,
                    num_train_epochs=5)
    honest = trainer.loss

    def diverging(model, batch, counts):
        return honest(model, batch, counts) * (float("nan") if trainer.state.step >= 5 else 1)

    trainer.loss = diverging
    with pytest.raises(TrainingError, match="loss is nan.*at step 6"):
        trainer.train()
    assert [path.name for path in checkpoints(tmp_path)][-2:] == ["checkpoint-4", "checkpoint-5"]
    healthy = build(tmp_path, save_strategy="steps", save_steps=1, logging_steps=99,
                    num_train_epochs=5)
    assert healthy.train(resume="auto").step == 20


def test_a_resumed_run_needs_the_same_data_and_the_newest_checkpoint(tmp_path):
    build(tmp_path / "a").train()
    with pytest.raises(TrainingError, match="batches_per_epoch was 8 and is now 10"):
        build(tmp_path / "a", rows=30).train(resume="auto")
    with pytest.raises(TrainingError, match="checkpoint-8 is newer"):
        build(tmp_path / "a").train(resume=tmp_path / "a" / "checkpoint-4")
    with pytest.raises(TrainingError, match="not a checkpoint in"):
        build(tmp_path / "b").train(resume=tmp_path / "a" / "checkpoint-8")
    assert build(tmp_path / "a", logging_steps=1).train(resume="auto").step == 8  # a free setting


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_resume_is_exact_with_any_loader_that_knows_its_place(tmp_path, generator):
    def other_loader(trainer):
        loader = trainer.train_loader
        trainer.train_loader = torch.utils.data.DataLoader(
            loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn,
            generator=generator)
        return trainer

    settings = dict(save_strategy="steps", save_steps=3, save_total_limit=9)
    (whole := other_loader(build(tmp_path / "whole", **settings))).train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "part" / "checkpoint-3")
    (part := other_loader(build(tmp_path / "part", **settings))).train(resume="auto")
    assert_same_bits(weights(whole), weights(part))


def test_an_evaluation_that_draws_numbers_does_not_change_the_training():
    (quiet := build(None, evaluate=None)).train()
    (noisy := build(None, evaluate=lambda: {"loss": torch.rand(())})).train()
    assert_same_bits(weights(quiet), weights(noisy))
    assert all(isinstance(row["eval_loss"], float) for row in noisy.state.log
               if "eval_loss" in row)


def test_own_optimizer_and_schedule():
    trainer = build(None)
    optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.5)
    trainer = Trainer(
        trainer.model, trainer.args, trainer.loss, trainer.train_loader, optimizer=optimizer,
        scheduler=lambda optimizer, total: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 1 / (1 + step)))
    log = trainer.train().log
    assert [row["learning_rate"] for row in log] == pytest.approx([0.5 / 3, 0.5 / 6, 0.5 / 8])


def test_more_that_is_refused_before_any_work(tmp_path):
    trainer = build(None)
    with pytest.raises(TrainingError, match="make_loader"):
        Trainer(trainer.model, trainer.args, trainer.loss, [{}])
    trainer.model.requires_grad_(False)
    with pytest.raises(TrainingError, match="frozen"):
        Trainer(trainer.model, trainer.args, trainer.loss, trainer.train_loader)
    for settings in (dict(max_steps=0), dict(max_steps=2.5), dict(learning_rate="5e-5"),
                     dict(max_grad_norm=float("inf")), dict(logging_steps=True)):
        with pytest.raises(TrainingError, match=next(iter(settings))):
            TrainingArguments(**settings)
    assert TrainingArguments(output_dir=tmp_path).to_dict()["output_dir"] == str(tmp_path)


def test_a_run_that_stops_early_has_the_loss_of_its_last_steps(tmp_path):
    trainer = build(tmp_path, eval_strategy="steps", eval_steps=3, logging_steps=100,
                    evaluate=lambda: {"loss": 1.0}, stopping=EarlyStopping(patience=1))
    state = trainer.train()
    assert state.step == 6 and state.stopped
    losses = [row for row in state.log if "loss" in row]
    assert [row["step"] for row in losses] == [6] and state.loss_steps == 0
    assert losses[0]["loss"] == pytest.approx(sum(
        float(row["loss"]) or 0 for row in read_csv(tmp_path) if row["loss"]))
