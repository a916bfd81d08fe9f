import os
import signal
import threading
import time
from pathlib import Path

import pytest
import warm_processes
from tiny_runs import assert_same_bits, build, read_csv, weights

from bert_kit import compute_classification_loss
from bert_kit.training.interrupts import finish_step_first
from bert_kit.training.state import checkpoints


def signalling(number, call, times=1):
    """A loss that sends this process a signal in its `call`-th call, in the middle of a step."""
    calls = []

    def loss(model, batch, counts):
        calls.append(1)
        value = compute_classification_loss(model, batch, counts)
        if len(calls) == call:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return value
    return loss


@pytest.mark.parametrize("number, call, step", [
    (signal.SIGINT, 1, 1), (signal.SIGTERM, 4, 2), (signal.SIGINT, 7, 4), (signal.SIGTERM, 9, 5),
    (signal.SIGINT, 15, 8)])  # two calls make a step; epochs end with 4 and 8, 5 is saved anyway
def test_the_step_is_finished_and_the_run_resumes_to_the_same_bits(tmp_path, number, call, step):
    settings = dict(save_strategy="steps", save_steps=5, logging_steps=3)
    (unbroken := build(tmp_path / "whole", **{**settings, "save_strategy": "no"})).train()
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        build(folder, loss=signalling(number, call), **settings).train()
    assert checkpoints(folder)[-1].name == f"checkpoint-{step}"
    other = build(folder, seed=5, **settings)
    state = other.train(resume="auto")
    assert state.log == unbroken.state.log and state.stopped is None
    assert_same_bits(weights(other), weights(unbroken))
    assert read_csv(folder) == read_csv(tmp_path / "whole")


def test_handlers_are_those_of_before_however_the_run_ends():
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    build(None).train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    with pytest.raises(KeyboardInterrupt):
        build(None, loss=signalling(signal.SIGINT, 3)).train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_the_second_signal_interrupts_at_once(tmp_path):
    trainer = build(tmp_path, loss=signalling(signal.SIGINT, 3, times=2))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.state.step == 1 and checkpoints(tmp_path) == []


def test_without_a_place_for_checkpoints_the_step_is_still_finished(tmp_path):
    for folder in (None, tmp_path):
        trainer = build(folder, save_strategy="no", loss=signalling(signal.SIGINT, 3))
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert trainer.state.step == 2
    assert checkpoints(tmp_path) == []


def test_a_program_with_a_handler_of_its_own_keeps_it():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        trainer = build(None, loss=signalling(signal.SIGTERM, 2))
        assert trainer.train().step == 8
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]


def test_a_run_in_another_thread_leaves_signals_alone():
    handlers, during = signal.getsignal(signal.SIGINT), []

    def run():
        with finish_step_first() as interrupt:
            during.append((signal.getsignal(signal.SIGINT), interrupt.requested))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert during == [(handlers, False)]


def test_a_signal_that_is_ignored_from_the_start_stays_so():
    """As Ctrl-C is under nohup, and in a shell's background job: it is meant for others."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = build(None, loss=signalling(signal.SIGINT, 3))
        assert trainer.train().step == 8 and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            build(None, loss=signalling(signal.SIGTERM, 3)).train()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_end(tmp_path, number):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]\n"
        "import tiny_runs\n"
        "from pathlib import Path\n"
        "trainer = tiny_runs.build(Path(sys.argv[1]), num_train_epochs=500, logging_steps=1)\n"
        "trainer.train(resume='auto')\n")
    log = tmp_path / "log"
    said = log.with_suffix(".out")
    process = warm_processes.start(script, tmp_path / "run", folder=tmp_path, log=log)
    while not (said.exists() and "step 3/" in said.read_text()):
        assert process.is_alive(), log.with_suffix(".err").read_text()
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.join(60)
    error = log.with_suffix(".err").read_text()
    assert "finishing the step" in error and "Traceback" in error and process.exitcode
    step = int(checkpoints(tmp_path / "run")[-1].name.split("-")[1])
    assert 3 <= step < 2000
