import re

import pytest
from tiny_runs import build, scripted

from bert_kit.training import progress
from bert_kit.training.progress import Progress


class Terminal:
    """A standard error that claims to be a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_plain_lines_tell_loss_rate_speed_and_time_left(capsys):
    build(None, logging_steps=2).train()
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    steps = [line for line in lines if "examples/s" in line]
    assert len(steps) == 4 and len(lines) == 6  # and two evaluations
    assert re.fullmatch(r"step 2/8  epoch 0\.50  loss \d\.\d{4}  lr \d\.\d\de-\d\d  "
                        r"[\d,]+ examples/s  about \d+ s left", steps[0])
    assert re.fullmatch(r"step 4/8  eval_loss \d\.\d{4}", lines[2])
    assert "about 0 s left" in steps[-1]


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    build(None, logging_steps=2, evaluate=None).train()
    assert "8/8" in terminal.text and "examples/s" in terminal.text and "loss=" in terminal.text


@pytest.mark.parametrize("verbosity", [0, 1, 2])
def test_how_much_is_said(verbosity, capsys):
    build(None, verbosity=verbosity, layer_decay=0.5).train()
    out, err = capsys.readouterr()
    assert err == ""
    assert (out == "") == (verbosity == 0)
    assert ("learning rate 1.00e-03" in out) == (verbosity == 2)
    assert out.count("parameters") == (6 if verbosity == 2 else 0)  # embeddings and two blocks


def test_speed_and_time_left(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    row = {"epoch": 0.5, "loss": 0.25, "learning_rate": 1e-4}
    with Progress(total=100, done=20, verbosity=1) as shown:
        for _ in range(10):  # of 20 to 100
            now[0] += 30
            shown.advance(64)
        shown.report(row)
    assert capsys.readouterr().out == (
        "step 30/100  epoch 0.50  loss 0.2500  lr 1.00e-04  2 examples/s  about 35 min left\n")


def test_what_matters_is_said_even_to_those_who_want_silence(capsys):
    with Progress(10, 3, verbosity=0) as shown:
        shown.say("hello")
        shown.warn("memory is short")
    assert capsys.readouterr() == ("", "step 3/10  memory is short\n")


def test_a_run_that_ends_early_says_why(capsys):
    from bert_kit.training import EarlyStopping
    build(None, evaluate=scripted([0.5, 0.4]), stopping=EarlyStopping(patience=1),
          metric_for_best_model="accuracy", num_train_epochs=9).train()
    assert capsys.readouterr().out.splitlines()[-1] == (
        "step 8/36  stopped: no improvement in 1 evaluations; the best was 0.5, evaluation 1")
