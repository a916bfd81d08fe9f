"""The one training job: every option of training does the same in the job of every task."""

import contextlib
import csv
import shutil

import pytest
import torch
from tiny_jobs import tiny_bert, write_table
from tiny_tasks import training_of

from bert_kit import BERTForMaskedLM, BertConfig, Tokenizer, save_pretrained
from bert_kit.errors import ConfigError
from bert_kit.files import read_json, write_json
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.table import PLACES, task_named
from bert_kit.jobs.train import train
from bert_kit.training import EarlyStopping, Trainer
from bert_kit.weights import read_safetensors

# Those that once had a job of their own, with about half of the options.
TASKS = ("tagging", "answering", "similarity", "masked")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def given(task, bert, tmp_path_factory):
    """Options to train the task on."""
    return training_of(task, tmp_path_factory.mktemp("data"), bert)


def built(task, options):
    """Return the Training of a task, as far as the first step."""
    found = task_named(task)
    job = TrainingJob(found, found.options.from_names(options))
    return job.build(job.tokenize(job.read()))


def metrics_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("task", PLACES)
def test_every_task_asks_every_option_of_training(task):
    names = set.intersection(*({*vars(task_named(name).options())} for name in PLACES))
    assert names >= {
        "model", "download", "from_scratch", "max_length", "dropout", "num_train_epochs",
        "max_steps", "batch_size", "gradient_accumulation_steps", "learning_rate",
        "head_learning_rate", "layer_decay", "weight_decay", "warmup_steps", "lr_scheduler_type",
        "optim", "betas", "adam_epsilon", "momentum", "max_grad_norm", "freeze_layers",
        "gradual_unfreezing", "gradient_checkpointing", "precision", "group_by_length",
        "memory_threshold", "early_stopping", "min_delta", "min_epochs", "smoothing_window",
        "trend_window", "regression", "metric", "load_best_model_at_end", "output_dir", "seed",
        "device", "threads", "time_limit", "resume", "logging_steps", "eval_steps", "save_steps",
        "save_total_limit", "baselines", "fast_dev_run", "overfit_batches", "max_train_samples",
        "plots", "verbosity"}
    with pytest.raises(ConfigError, match="metric is 'speed'; expected one of"):
        train(task, {"metric": "speed", "train_file": "none", "output_dir": None})


def test_training_options_reach_the_trainer(task, given):
    metric = task_named(task).metrics[-1 if task != "masked" else 0]
    training = built(task, {
        **given, "output_dir": "x", "num_train_epochs": 5, "max_steps": 70, "batch_size": 6,
        "gradient_accumulation_steps": 3, "learning_rate": 0.02, "layer_decay": 0.5,
        "weight_decay": 0.07, "warmup_steps": 4, "lr_scheduler_type": "cosine", "optim": "adam",
        "betas": (0.7, 0.8), "adam_epsilon": 1e-5, "max_grad_norm": 0.6, "freeze_layers": 1,
        "dropout": 0.3, "gradient_checkpointing": True, "group_by_length": True,
        "memory_threshold": 0.9, "early_stopping": 4, "min_delta": 0.01, "min_epochs": 2,
        "smoothing_window": 3, "trend_window": 5, "regression": 0.25, "metric": metric,
        "load_best_model_at_end": False, "time_limit": 99, "logging_steps": 9, "eval_steps": 7,
        "save_steps": 14, "save_total_limit": 5, "seed": 3})
    trainer, args, model = training.trainer, training.trainer.args, training.model
    assert (args.num_train_epochs, args.max_steps, args.gradient_accumulation_steps) == (5, 70, 3)
    assert (args.learning_rate, args.layer_decay, args.weight_decay) == (0.02, 0.5, 0.07)
    assert (args.warmup_steps, args.lr_scheduler_type, args.optim) == (4, "cosine", "adam")
    assert (args.betas, args.adam_epsilon, args.max_grad_norm) == ((0.7, 0.8), 1e-5, 0.6)
    assert (args.eval_strategy, args.eval_steps) == ("steps", 7)
    assert (args.save_strategy, args.save_steps, args.save_total_limit) == ("steps", 14, 5)
    assert (args.metric_for_best_model, args.load_best_model_at_end) == (metric, False)
    assert (args.time_limit, args.logging_steps) == (99, 9)
    assert trainer.stopping == EarlyStopping(4, 0.01, 2, 3, 5, regression=0.25)
    assert (trainer.memory.threshold, trainer.memory.largest) == (0.9, 6)
    sampler = trainer.train_loader.batch_sampler
    assert (sampler.batch_size, sampler.group_by_length, sampler.seed) == (6, True, 3)
    encoder = getattr(model, "bert", model)
    assert encoder.gradient_checkpointing
    if task == "tagging":
        assert model.config.classifier_dropout == 0.3
    else:
        assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.3
    frozen = {p.requires_grad for p in encoder.embeddings.parameters()} | {
        p.requires_grad for p in encoder.blocks[0].parameters()}
    assert frozen == {False} and all(p.requires_grad for p in encoder.blocks[1].parameters())


def test_rates_fall_layer_by_layer(task, given):
    trainer = built(task, {**given, "output_dir": None, "learning_rate": 0.02, "layer_decay": 0.5,
                           "head_learning_rate": 0.1}).trainer
    rates = {group["initial_lr"] for group in trainer.amp.optimizer.param_groups}
    head = {0.1} if task != "similarity" else set()  # an encoder alone has none
    matrices = {0.04} if task == "masked" else set()  # by Muon: the last block, of two
    assert rates == {0.02, 0.01, 0.005} | head | matrices


def test_a_run_stops_early_and_keeps_the_last_weights(task, given, tmp_path, monkeypatch):
    """Nothing is ever `min_delta` better than before, so it ends at the second evaluation."""
    before, seen, go = torch.get_num_threads(), [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda trainer, resume: (
        seen.append(torch.get_num_threads()), go(trainer, resume))[1])
    results = train(task, {**given, "output_dir": tmp_path, "max_steps": 9, "eval_steps": 1,
                           "save_steps": 1, "save_total_limit": 9, "early_stopping": 1,
                           "min_delta": 9.0, "load_best_model_at_end": False, "threads": 2,
                           "baselines": False})
    assert results["steps"] == 2 and results["stopped"] and results["baselines"] == {}
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
        "checkpoint-1", "checkpoint-2"}
    last = read_safetensors(tmp_path / "checkpoint-2" / "model.safetensors")
    for name, tensor in read_safetensors(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, last[name]), name
    assert sum(any(value for name, value in row.items() if name.startswith("eval_"))
               for row in metrics_of(tmp_path)) == 2
    assert seen == [2] and torch.get_num_threads() == before
    assert read_json(tmp_path / "manifest.json")["settings"]["threads"] == 2


def test_a_rate_is_found_and_the_time_is_short(task, given, tmp_path, capsys):
    results = train(task, {**given, "output_dir": None, "learning_rate": "auto", "verbosity": 1,
                           "time_limit": 1e-9, "baselines": False})
    assert 1e-7 <= results["learning_rate"] < 1 and results["steps"] == 1
    assert "where the loss falls fastest" in capsys.readouterr().out


def test_a_few_rows(task, given, tmp_path, capsys):
    small = {**given, "batch_size": 4, "output_dir": tmp_path / "out"}
    found = task_named(task)

    def parts(**options):
        return TrainingJob(found, found.options.from_names({**small, **options})).read().present()
    everything, fewer, same = parts(), parts(max_train_samples=7), parts(overfit_batches=2)
    assert len(fewer["train"]) == 7 and fewer.keys() == everything.keys()
    assert all(len(fewer[name]) == len(everything[name]) for name in fewer if name != "train")
    assert same.keys() == {"train", "validation"} and len(same["train"]) == 8
    assert same["train"] is same["validation"]
    results = train(task, {**small, "fast_dev_run": True, "verbosity": 1})
    assert results["steps"] == 2 and results["output_dir"] is None
    assert not (tmp_path / "out").exists()
    assert "fast dev run: every step works" in capsys.readouterr().out


@pytest.mark.parametrize("change, message", [
    ({"val_size": 0, "early_stopping": 2}, "early stopping needs validation rows"),
    ({"val_size": 0, "eval_steps": 2}, "eval_steps is set, but there are no rows to measure on"),
    ({"freeze_layers": 3}, "freeze_layers is 3; the encoder has 2 layers"),
    ({"freeze_layers": 1, "gradual_unfreezing": True}, "are both set"),
    ({"dropout": 1.5}, "dropout is 1.5")])
def test_what_cannot_be_is_said_before_any_work(task, given, tmp_path, change, message):
    options = {**given, "output_dir": tmp_path / "out", **change}
    if "val_size" in change:
        options.pop("validation_file", None)
        if task in ("tagging", "answering"):
            file = next(options.pop("data_file").glob("train.*"))
            options["train_file"] = file
    with pytest.raises(ConfigError, match=message):
        train(task, options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["tagging", "masked"])
def test_a_run_of_many_options_goes_on_to_the_same_bits(task, bert, tmp_path):
    options = {**training_of(task, tmp_path, bert), "num_train_epochs": 3,
               **({"freeze_layers": 1} if task == "tagging" else {"layer_decay": 0.9}),
               "dropout": 0.2, "save_steps": 2, "eval_steps": 3, "threads": 1,
               "early_stopping": 9, "max_train_samples": 30, "baselines": False}
    whole = train(task, {**options, "output_dir": tmp_path / "whole"})
    train(task, {**options, "output_dir": tmp_path / "cut", "time_limit": 1e-9})
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "cut" / "results.json").unlink()
    cut = train(task, {**options, "output_dir": tmp_path / "cut", "resume": "auto"})
    assert cut["steps"] == whole["steps"] and cut["validation"] == whole["validation"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("other", ["tokenizer", "weights", "configuration"])
def test_a_run_goes_on_from_the_model_that_it_began_with(tmp_path, other, capsys):
    model, file = tiny_bert(tmp_path / "bert"), write_table(tmp_path / "rows.csv")
    job = {"data_file": file, "model": model, "output_dir": tmp_path / "run", "max_steps": 1,
           "max_length": 12, "device": "cpu", "plots": False, "baselines": False}
    train("classification", job)
    torch_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(torch_threads + 1)
        capsys.readouterr()
        train("classification", {**job, "resume": "auto"})
        assert f"when this began it had {torch_threads}" in capsys.readouterr().out
    finally:
        torch.set_num_threads(torch_threads)
    if other == "weights":
        save_pretrained(BERTForMaskedLM(BertConfig.load(model)), model)
    elif other == "configuration":
        config = BertConfig.load(model)
        config.replace(extra={"transformers_version": "9"}).save(model)  # which changes nothing
        train("classification", {**job, "resume": "auto"})
        config.replace(hidden_act="relu").save(model)
    else:
        *pieces, one, two = (model / "vocab.txt").read_text().split()
        Tokenizer([*pieces, two, one]).save(model)
    with pytest.raises(ConfigError, match=f"{other} of the model ha.*changed since it began"):
        train("classification", {**job, "resume": "auto"})
    manifest = read_json(tmp_path / "run" / "manifest.json")
    for key in ("tokenizer", "weights", "config", "threads_used"):  # as a run of an earlier version
        del manifest[key]
    write_json(tmp_path / "run" / "manifest.json", manifest)
    train("classification", {**job, "resume": "auto"})


def test_a_folder_that_somebody_removes_meanwhile_is_no_success(bert, tmp_path, monkeypatch):
    """What could be saved at the end is there, and the rest is told."""
    train_to_the_end, folder = Trainer.train, tmp_path / "run"

    def removed(trainer, resume=None):
        state = train_to_the_end(trainer, resume)
        shutil.rmtree(folder)
        return state

    monkeypatch.setattr(Trainer, "train", removed)
    options = training_of("answering", tmp_path, bert)
    with pytest.raises(ConfigError, match="run: was removed or emptied while the job worked"):
        train("answering", {**options, "output_dir": str(folder), "max_steps": 1,
                            "load_best_model_at_end": False})
    assert (folder / "model.safetensors").is_file()
