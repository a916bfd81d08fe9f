import ctypes
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from bert_kit import ConfigError, TuningError
from bert_kit.files import read_json
from bert_kit.tuner.trial_files import history
from bert_kit.tuner.pruning import Median
from bert_kit.tuner.running import Serial
from bert_kit.tuner.tpe import TPE
from bert_kit.tuner.space import SearchSpace
from bert_kit.tuner.study import Study

ROOT = Path(__file__).resolve().parents[2]
SPACE = (SearchSpace().continuous("x", -1, 1).log_uniform("lr", 1e-5, 1e-1)
         .categorical("head", ["linear", "cnn"]))


def curve(trial):
    """Five epochs, some of which end early, and a few trials that fail, once or for good."""
    loss = trial.params["x"] ** 2 + abs(math.log10(trial.params["lr"]) + 3)
    if trial.seed % (5 * trial.attempt ** 2) == 0:
        raise RuntimeError(f"seed {trial.seed}")
    for epoch in range(1, 6):
        if trial.report(epoch, loss + 1 / epoch + (trial.seed % 7) / 50):
            break
    trial.notes["head"] = trial.params["head"]
    return loss if trial.params["x"] > -0.9 else math.nan


def parabola(trial):
    return trial.params["x"] ** 2


def slow(trial):
    time.sleep(0.002 * (trial.seed % 5))
    return trial.params["x"] ** 2


def last_words(trial):
    if trial.number == 1:
        os._exit(1)
    return os.getpid()


def hanging(trial):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(60)  # in C, with the lock of the interpreter


def always_last_words(trial):
    os._exit(1)


class Awkward(Exception):
    """Pickled, it cannot be made again, which breaks a pool of processes."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def awkward(trial):
    raise Awkward("not", "today")


def table(trials):
    """All of the trials but when they ran, and the rest of an error after its first line."""
    return [{key: value for key, value in each.items() if key not in (
        "started", "finished", "duration")} | {"error": each["error"] and each["error"].split(
            "\n")[0]} for each in trials]


def in_waves(executor=None, path=None):
    study = Study("s", SPACE, path, sampler=TPE(n_startup=6), pruner=Median(startup=3))
    study.optimize(curve, 40, executor=executor, in_flight=4, mode="waves", retries=1,
                   devices=["a", "b", "c"])
    return table([history(trial) for trial in study.trials])


@pytest.fixture(scope="module")
def expected():
    return in_waves()


def test_waves_are_the_same_on_threads_and_processes(expected):
    states = {each["state"] for each in expected}
    assert states == {"complete", "pruned", "failed"} and len(expected) == 40
    assert {each["attempt"] for each in expected} == {1, 2}
    assert {each["device"] for each in expected} == {"a", "b", "c"}
    with ThreadPoolExecutor(4) as pool:
        assert in_waves(pool) == expected
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert in_waves(pool) == expected


ELSEWHERE = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from test_running import in_waves
if __name__ == "__main__":
    {begin}
        in_waves(pool, sys.argv[1]) if {master} else None
"""


def elsewhere(tmp_path, begin, *command, master="True"):
    script = tmp_path / "script.py"
    script.write_text(ELSEWHERE.format(root=str(ROOT), tests=str(Path(__file__).parent),
                                       begin=begin, master=master))
    done = subprocess.run([*command, str(script), str(tmp_path / "study")], capture_output=True,
                          text=True, cwd=tmp_path, timeout=120,
                          env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"})
    assert done.returncode == 0, done.stderr
    return table(read_json(tmp_path / "study" / "trial_history.json", list))


def as_stored(trials, folder):
    return [each | {"reports": {str(step): value for step, value in each["reports"].items()},
                    "cuts": {str(step): value for step, value in each["cuts"].items()}}
            for each in trials]


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask is not there")
def test_waves_are_the_same_on_dask(tmp_path, expected):
    found = elsewhere(tmp_path, "from distributed import Client, LocalCluster\n"
                      "    with (LocalCluster(2, threads_per_worker=1, dashboard_address=None) as "
                      "cluster, Client(cluster) as client, client.get_executor() as pool):",
                      sys.executable)
    assert found == as_stored(expected, tmp_path)


MPI = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.skipif(MPI is None or importlib.util.find_spec("mpi4py") is None,
                    reason="mpi4py or an MPI is not there")
def test_waves_are_the_same_on_mpi(tmp_path, expected):
    found = elsewhere(tmp_path, "from mpi4py.futures import MPIPoolExecutor\n"
                      "    with MPIPoolExecutor() as pool:",
                      MPI, "-n", "3", sys.executable, "-m", "mpi4py.futures")
    assert found == as_stored(expected, tmp_path)


class Gone(Serial):
    """An executor that gives up from its third call on, as one whose scheduler is gone."""

    calls = 0

    def submit(self, function, /, *args):
        self.calls += 1
        if self.calls < 3:
            return super().submit(function, *args)
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


@pytest.mark.parametrize("mode", ["async", "waves"])
def test_calls_that_an_executor_gives_up_end_the_search_and_are_no_failures(tmp_path, mode):
    study = Study("s", SPACE, tmp_path)
    with pytest.raises(TuningError, match="gave its calls up"):
        study.optimize(parabola, 6, executor=Gone(), in_flight=2, mode=mode)
    assert [trial.state for trial in study.trials] == ["complete"] * 2 + ["running"] * 2
    study.optimize(parabola, 6 - 2)
    assert [(trial.state, trial.failures) for trial in study.trials] == [("complete", 0)] * 6
    study.close()


@pytest.mark.parametrize("make,trials", [
    (lambda: ThreadPoolExecutor(4), 200),
    (lambda: ProcessPoolExecutor(2, get_context("spawn")), 60)], ids=["threads", "processes"])
def test_every_trial_that_ran_beside_others_can_be_replayed(make, trials):
    study = Study("s", SPACE, seed=3)
    with make() as pool:
        study.optimize(slow, trials, executor=pool, in_flight=4)
    assert len(study.trials) == trials and study.best.value < 0.01
    assert [study.replay(n) for n in range(trials)] == [trial.params for trial in study.trials]
    assert study.replay(50) != Study("s", SPACE, seed=4).ask().params


def test_failures_do_not_stop_a_study_and_are_learned_from():
    """A third of the box gives NaN; after 60 trials hardly a draw falls there."""
    shares = []
    for seed in range(5):
        study = Study("s", SearchSpace().continuous("x", 0, 1).continuous("y", 0, 1), seed=seed)
        study.optimize(lambda trial: math.nan if trial.params["x"] < 0.3
                       else (trial.params["x"] - 0.35) ** 2 + trial.params["y"], 120)
        late = study.trials[60:]
        shares.append(np.mean([trial.params["x"] < 0.3 for trial in late]))
        assert study.statistics()["running"] == 0 and study.best.value < 0.2
        assert {t.params["x"] < 0.3 for t in study.trials if t.state == "failed"} == {True}
    assert np.mean(shares) <= 0.1


def test_an_objective_that_raises():
    def objective(trial):
        trial.report(1, 0.5)
        raise ZeroDivisionError("always")

    study = Study("s", SPACE)
    study.optimize(objective, 5)
    assert [trial.state for trial in study.trials] == ["failed"] * 5
    assert study.trials[0].reports == {1: 0.5}
    first, *rest = study.trials[0].error.splitlines()
    assert first == "ZeroDivisionError: always" and any("in objective" in line for line in rest)
    assert study.statistics()["errors"] == {"ZeroDivisionError: always": 5}
    with pytest.raises(ZeroDivisionError):
        study.optimize(objective, 5, raise_errors=True)
    assert [trial.state for trial in study.trials] == ["failed"] * 6


def test_an_exception_that_cannot_be_pickled_fails_one_trial():
    study = Study("s", SPACE)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        study.optimize(awkward, 2, executor=pool)
    assert [trial.error.splitlines()[0] for trial in study.trials] == ["Awkward: not today"] * 2


def test_retries_keep_the_parameters_and_the_seed():
    calls = []

    def objective(trial):
        calls.append((trial.number, trial.attempt, trial.seed, dict(trial.params)))
        trial.params.clear()
        trial.report(trial.attempt, 1.0)
        if trial.attempt < (3 if trial.number == 1 else 9):
            raise OSError("busy")
        return 1.0

    study = Study("s", SPACE)
    study.optimize(objective, 2, retries=2)
    assert [call[:2] for call in calls] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    assert len({str(call[2:]) for call in calls}) == 2
    assert [(t.state, t.attempt, t.reports) for t in study.trials] == [
        ("failed", 3, {3: 1.0}), ("complete", 3, {3: 1.0})]
    assert study.trials[0].params == calls[0][3]


def test_the_timeout_begins_no_new_trial():
    study = Study("s", SPACE)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        study.optimize(lambda trial: time.sleep(0.1) or 1.0, 1000, timeout=0.35, executor=pool,
                       in_flight=2)
    assert time.monotonic() - began < 5
    assert 2 <= len(study.trials) <= 8
    assert {trial.state for trial in study.trials} == {"complete"}


class Diary:
    def __init__(self):
        self.lines = []

    def on_study_start(self, study):
        self.lines.append(("study", len(study.trials)))

    def on_trial_start(self, trial):
        self.lines.append(("start", trial.number))

    def on_trial_complete(self, trial):
        self.lines.append(("complete", trial.number, trial.value))

    def on_trial_pruned(self, trial):
        self.lines.append(("pruned", trial.number))

    def on_trial_failed(self, trial):
        self.lines.append(("failed", trial.number))

    def on_new_best(self, trial, improvement):
        self.lines.append(("best", trial.number, improvement))

    def on_study_end(self, study):
        self.lines.append(("end", len(study.trials)))


def test_callbacks_hear_everything_in_order():
    values = [0.5, 0.25, math.nan, 0.75, 0.5]

    def objective(trial):
        if trial.number == 3:
            trial.state = "pruned"
        return values[trial.number]

    class Silent:
        def on_study_end(self, study):
            pass

    diary, study = Diary(), Study("s", SPACE, direction="maximize")
    study.optimize(objective, 5, callbacks=[diary, Silent()])
    assert diary.lines == [
        ("study", 0), ("start", 0), ("complete", 0, 0.5), ("best", 0, math.inf),
        ("start", 1), ("complete", 1, 0.25), ("start", 2), ("failed", 2),
        ("start", 3), ("pruned", 3), ("start", 4), ("complete", 4, 0.5), ("end", 5)]
    values += [0.875]
    study.optimize(objective, 1, callbacks=[diary])
    assert diary.lines[-2:] == [("best", 5, 0.375), ("end", 6)]
    with pytest.raises(ConfigError, match="has none of the methods on_study_start, on_trial"):
        study.optimize(objective, 1, callbacks=[object()])
    several = Study("t", SPACE, directions={"a": "minimize", "b": "maximize"})
    several.optimize(lambda trial: {"a": 1, "b": 2}, 2, callbacks=[diary])
    assert diary.lines[-2:] == [("complete", 1, {"a": 1.0, "b": 2.0}), ("end", 2)]


def test_each_slot_has_its_device():
    lock, busy, most = threading.Lock(), {"cuda:0": 0, "cuda:1": 0}, []

    def objective(trial):
        with lock:
            busy[trial.device] += 1
            most.append(max(busy.values()))
        time.sleep(0.002 * (1 + trial.seed % 3))
        with lock:
            busy[trial.device] -= 1
        return 0.0

    study = Study("s", SPACE)
    with ThreadPoolExecutor(8) as pool:
        study.optimize(objective, 40, executor=pool, in_flight=2, devices=["cuda:0", "cuda:1"])
    assert {trial.device for trial in study.trials} == {"cuda:0", "cuda:1"} and max(most) == 1


def test_a_process_for_each_trial_may_die():
    study = Study("s", SPACE)
    study.optimize(last_words, 3, isolate=True, in_flight=3)
    assert [trial.state for trial in study.trials] == ["complete", "failed", "complete"]
    assert study.trials[1].error.startswith("TuningError: its process died")
    assert len({study.trials[0].value, study.trials[2].value, os.getpid()}) == 3


def test_an_executor_that_breaks_down_gives_its_trials_back():
    study = Study("s", SPACE)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.raises(TuningError, match="a worker died .* taken up by the next call"):
            study.optimize(last_words, 4, executor=pool, in_flight=2)
    params = [trial.params for trial in study.trials]
    assert study.trials[1].state == "running"
    study.optimize(parabola, 4 - study.statistics()["complete"])
    assert [trial.state for trial in study.trials] == ["complete"] * 4
    assert [trial.params for trial in study.trials][:len(params)] == params
    assert study.trials[1].attempt == 2


@pytest.mark.parametrize("path", [None, "study"])
def test_an_interrupted_call_goes_on(tmp_path, path):
    def objective(trial):
        if trial.number == 3 and trial.attempt == 1:
            raise KeyboardInterrupt
        return 1.0

    diary, study = Diary(), Study("s", SPACE, path and tmp_path / path)
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, 6, callbacks=[diary])
    assert diary.lines[-1] == ("end", 4)
    study.optimize(objective, 3)
    assert [(trial.state, trial.attempt) for trial in study.trials] == [
        ("complete", 2 if number == 3 else 1) for number in range(6)]
    if path:
        assert read_json(tmp_path / "study/statistics.json")["complete"] == 6


@pytest.mark.parametrize("path", [None, "study"])
def test_an_interruption_uses_no_retry_up(tmp_path, path):
    """Ctrl-C seven times, and the trial still has its two retries."""
    study = Study("s", SPACE, path and tmp_path / path)
    calls = []

    def objective(trial):
        calls.append(trial.attempt)
        if len(calls) <= 7:
            raise KeyboardInterrupt
        raise OSError("busy")

    for _ in range(7):
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, 1, retries=2)
    study.optimize(objective, 1, retries=2)
    trial, = study.trials
    assert calls == [*range(1, 11)] and trial.error.startswith("OSError: busy")
    assert (trial.state, trial.attempt, trial.failures) == ("failed", 10, 2)


def test_a_trial_that_breaks_the_executor_down_is_not_tried_for_ever():
    study = Study("s", SPACE)
    for failures in range(1, 7):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            with pytest.raises(TuningError, match="a worker died"):
                study.optimize(always_last_words, 1, executor=pool)
        assert study.trials[0].failures == failures
    study.optimize(parabola, 1)
    assert [trial.state for trial in study.trials] == ["failed", "complete"]
    assert study.trials[0].error == "6 attempts failed, in the last of them its process died"


def test_a_trial_that_hangs_is_ended(capfd):
    study = Study("s", SPACE)
    study.optimize(hanging, 2, isolate=True, in_flight=2, trial_timeout=0.8)
    assert {trial.error.split("\n")[0] for trial in study.trials} == {
        "TuningError: its process died (is memory short?) or ran into trial_timeout"}
    assert "Timeout (0:00:00.8" in capfd.readouterr().err  # and where it was
    study.optimize(parabola, 1, isolate=True, trial_timeout=60)
    assert [trial.state for trial in study.trials] == ["failed", "failed", "complete"]


@pytest.mark.parametrize("arguments,words", [
    ({"n_trials": -1}, "n_trials is -1; expected a whole number from 0"),
    ({"n_trials": 1, "in_flight": 0}, "in_flight is 0; expected a whole number from 1"),
    ({"n_trials": 1, "retries": 1.5}, "retries is 1.5"),
    ({"n_trials": 1, "mode": "fast"}, "mode is 'fast'; expected one of async, waves"),
    ({"n_trials": 1, "isolate": True, "executor": object()}, "expected no executor beside it"),
    ({"n_trials": 1, "trial_timeout": 9}, "trial_timeout is 9, isolate False; expected seconds"),
    ({"n_trials": 1, "trial_timeout": 0, "isolate": True}, "trial_timeout is 0, isolate True"),
    ({"n_trials": 1, "trial_timeout": math.nan, "isolate": True}, "trial_timeout is nan"),
])
def test_impossible_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        Study("s", SPACE).optimize(parabola, **arguments)


def test_the_tuner_needs_numpy_only_and_begins_quickly():
    code = ("import sys; import bert_kit.tuner.study; "
            "print(*{'torch', 'sklearn', 'tokenizers', 'scipy'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          check=True)
    assert done.stdout.strip() == ""
