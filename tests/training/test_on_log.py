"""The log as it goes on: what a function of the user's is told, and the curves while it trains."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from tiny_jobs import tiny_bert, write_table
from tiny_runs import assert_same_bits, build, read_csv, weights

from bert_kit import BertClassifier, TextClassificationTrainer, pretrain, train_classifier
from bert_kit.errors import TrainingError
from bert_kit.jobs.run import job
from bert_kit.training import Trainer
from bert_kit.training.state import checkpoints

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"


def hooked(folder, on_log, **settings):
    """The small trainer with a hook."""
    trainer = build(folder, save_strategy="steps", save_steps=2, **settings)
    trainer.on_log = on_log
    return trainer


def test_every_row_is_told_when_metrics_csv_has_it(tmp_path):
    told, lengths = [], []

    def on_log(row):
        told.append({**row})
        lengths.append(len(read_csv(tmp_path / "run")))
        row.clear()  # a copy: the log stays
        torch.rand(7)  # and so does the training
    trainer = hooked(tmp_path / "run", on_log)
    state = trainer.train()
    assert told == state.log and len(told) == 5  # steps 3, 6, 8; an evaluation after 4 and 8
    assert lengths == [1, 2, 3, 4, 5]
    assert {"loss", "learning_rate", "grad_norm"} < told[0].keys()
    assert any("eval_loss" in row for row in told)
    plain = build(tmp_path / "plain", save_strategy="steps", save_steps=2)
    assert plain.train().log == state.log
    assert_same_bits(weights(plain), weights(trainer))


def test_what_is_no_function_is_refused_before_any_step():
    plain, hook = build(None), "tensorboard"
    with pytest.raises(TrainingError, match="on_log is 'tensorboard'; expected a function"):
        Trainer(plain.model, plain.args, plain.loss, plain.train_loader, plain.evaluate,
                on_log=hook)  # type: ignore[arg-type]


def test_an_error_in_it_is_seen_and_the_run_goes_on_from_its_checkpoint(tmp_path):
    def fails(row):
        if row["step"] == 6:
            raise ZeroDivisionError("a bug of mine")
    with pytest.raises(ZeroDivisionError, match="a bug of mine"):
        hooked(tmp_path / "run", fails).train()
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-2", "checkpoint-4"]
    assert len(read_csv(tmp_path / "run")) == 3  # the row that it failed at is there
    told = []
    trainer = hooked(tmp_path / "run", told.append, seed=5)
    state = trainer.train(resume="auto")
    unbroken = build(tmp_path / "whole", save_strategy="steps", save_steps=2)
    assert unbroken.train().log == state.log and told == state.log[2:]
    assert_same_bits(weights(unbroken), weights(trainer))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {"data_file": write_table(folder / "rows.csv", 40), "model": tiny_bert(folder / "bert"),
            "max_steps": 2, "eval_steps": 1, "logging_steps": 1, "max_length": 12, "device": "cpu",
            "precision": "float32", "verbosity": 0, "baselines": False, "plots": False}


def test_jobs_and_the_estimator_take_it(given, tmp_path):
    told = []
    train_classifier(on_log=told.append, output_dir=tmp_path / "run", **given)
    assert [row["step"] for row in told] == [1, 1, 2, 2]
    assert [float(row["step"]) for row in read_csv(tmp_path / "run")] == [1, 1, 2, 2]
    steps = TextClassificationTrainer(on_log=told.append, **{**given, "output_dir": None})
    steps.train(steps.prepare_data())
    assert len(told) == 8
    changed = {name: given[name] for name in ("max_steps", "logging_steps", "precision")}
    BertClassifier(given["model"], max_length=12, device="cpu", settings=changed,
                   on_log=told.append).fit(["red", "ice"] * 4, ["warm", "cold"] * 4)
    assert [row["step"] for row in told[8:]] == [1, 2] and "loss" in told[8]
    common = {name: value for name, value in given.items() if name != "data_file"}
    pretrain(train_file=given["data_file"], output_dir=None, on_log=told.append, **common)
    assert len(told) == 14


class Board:
    """Stands for a service: takes what the lines of the page say to it."""

    def __init__(self):
        self.rows, self.name = [], None

    def init(self, project):  # wandb
        self.name = project
        return self

    def start_run(self):  # MLflow
        self.name = "run"

    def open(self, folder):  # SummaryWriter
        self.name = folder
        return self

    def log(self, row, step):
        self.rows += [(name, value, step) for name, value in row.items()]

    def log_metrics(self, row, step):
        assert all(isinstance(value, int | float) for value in row.values())
        self.log(row, step)

    def add_scalar(self, name, value, step):
        self.rows.append((name, float(value), step))


@pytest.mark.parametrize("module, heading", [
    ("torch.utils.tensorboard", "TensorBoard"), ("wandb", "Weights & Biases"),
    ("mlflow", "MLflow")])
def test_the_lines_of_the_page(module, heading, monkeypatch):
    """The blocks of the guide, run with modules in the place of those services."""
    board, fake = Board(), ModuleType(module)
    for name, value in (("SummaryWriter", board.open), ("init", board.init),
                        ("start_run", board.start_run), ("log_metrics", board.log_metrics)):
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, module, fake)
    section = GUIDE.read_text("utf-8").partition("## The log elsewhere")[2]
    text = section.partition(f"\n{heading}")[2]
    lines = re.search(r"```python no-run\n(.*?)```", text, re.DOTALL)[1]
    assert lines.count("\n") <= 6
    names = {}
    exec(lines, names)
    names["on_log"]({"step": 3, "epoch": 0.5, "loss": 1.25, "eval_f1": 0.0, "grad_norm": None})
    told = {name: value for name, value, step in board.rows if step == 3 and value is not None}
    assert told == {"step": 3, "epoch": 0.5, "loss": 1.25, "eval_f1": 0.0} and board.name


def test_curves_are_drawn_while_there_is_time(tmp_path, monkeypatch):
    """After an evaluation, if drawing has taken a fiftieth of the time since the last picture."""
    now, drawn, told = [100.0], [], []

    def draw(log, path):
        drawn.append((now[0], len(log), path.name))
        now[0] += 3.0
        if len(drawn) == 2:
            raise OSError("no room")
    monkeypatch.setattr(job, "monotonic", lambda: now[0])
    monkeypatch.setattr(job, "plot_learning_curves", draw)
    trainer = SimpleNamespace(state=SimpleNamespace(log=[1, 2]), on_log=told.append)
    hook = job.CurvesBeside(trainer, tmp_path)
    for seconds, row in ((49, {"eval_loss": 1}), (2, {"loss": 1}), (0, {"eval_loss": 1}),
                         (149, {"eval_f1": 1}), (2, {"eval_f1": 1}), (151, {"eval_f1": 1})):
        now[0] += seconds
        hook(row)
    assert drawn == [(151.0, 2, "learning_curves.png"), (305.0, 2, "learning_curves.png"),
                     (459.0, 2, "learning_curves.png")]
    assert len(told) == 6


def test_a_run_renews_its_curves(given, tmp_path, monkeypatch):
    """Drawn by another function: a picture takes a second."""
    monkeypatch.setattr(job, "FIRST_PICTURE", 0.0)
    monkeypatch.setattr(job, "PICTURES", 1e9)
    monkeypatch.setattr(job, "can_draw", lambda wanted, say: False)  # at the end there are more
    monkeypatch.setattr(job, "plot_learning_curves",
                        lambda log, path: path.write_text(str(len(log))))
    picture, there = tmp_path / "run" / "learning_curves.png", []
    train_classifier(output_dir=tmp_path / "run", **{**given, "plots": True}, on_log=lambda row:
                     there.append(picture.read_text() if picture.is_file() else ""))
    assert there == ["", "2", "2", "4"]
