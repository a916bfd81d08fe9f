"""A full disk, no memory, no open files: a search ends, records nothing, and goes on with room."""

import errno
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from bert_kit.errors import MachineError, TrainingError
from bert_kit.tuner import PBT, Hyperband, SearchSpace, Study, SuccessiveHalving

SPACE = SearchSpace().continuous("x", -1, 1)


def wrapped(error):
    """As a reader does: what could not be opened becomes one line."""
    try:
        raise error
    except OSError as inner:
        raise TrainingError(f"x: cannot be read ({inner.strerror})") from None


FAULTS = {
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "files": OSError(errno.EMFILE, "Too many open files"), "memory": MemoryError(),
    "mapping": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "torch.save": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs "
                               "598"),
    "stream": RuntimeError("basic_ios::clear: iostream error"),
    "writer": RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    "allocator": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not "
                              "enough memory: you tried to allocate 999 bytes"),
    "thread": RuntimeError("can't start new thread")}


def work(room, kind, unit):
    """A trial or leg, which fails for want of something at its third turn, while there is none."""
    x, turns = unit.params["x"], Path(room, "turns")
    turns.write_text("." + (turns.read_text() if turns.exists() else ""))
    if len(turns.read_text()) == 3:
        if kind == "wrapped":
            wrapped(FAULTS["files"])
        raise FAULTS[kind]
    if getattr(unit, "state_out", None):
        Path(unit.state_out).write_text(str(x))
    return x ** 2


def of_trials(study):
    return [(t.number, t.params, t.state, t.value, t.error, t.failures) for t in study.trials]


@pytest.mark.parametrize("kind", [*FAULTS, "wrapped"])
def test_what_the_machine_lacks_is_no_result_and_the_search_goes_on(tmp_path, kind):
    expected = Study("s", SPACE)
    expected.optimize(lambda trial: trial.params["x"] ** 2, 4)
    study = Study("s", SPACE, tmp_path / "study")
    with pytest.raises(MachineError) as caught:
        study.optimize(partial(work, tmp_path, kind), 4, retries=3)
    assert "\n" not in str(caught.value)
    assert [trial.state for trial in study.trials] == ["complete", "complete", "running"]
    study.close()
    study = Study("s", SPACE, tmp_path / "study", resume=True)
    study.optimize(partial(work, tmp_path, kind), 2)
    assert of_trials(study) == of_trials(expected)
    study.close()


@pytest.mark.parametrize(("make", "kind"), [
    (lambda: ThreadPoolExecutor(1), "disk"),
    (lambda: ProcessPoolExecutor(1, get_context("spawn")), "wrapped")],
    ids=["threads", "processes"])
def test_nor_in_a_pool(tmp_path, make, kind):
    study = Study("s", SPACE)
    with make() as pool, pytest.raises(MachineError, match="room|open"):
        study.optimize(partial(work, tmp_path, kind), 4, executor=pool)
    assert not [trial for trial in study.trials if trial.state == "failed"]


@pytest.mark.parametrize("plan", [SuccessiveHalving(4, 1, 3), Hyperband(3)],
                         ids=["halving", "hyperband"])
@pytest.mark.parametrize("kind", ["disk", "memory", "wrapped"])
def test_legs_of_a_plan(tmp_path, plan, kind, capsys):
    def run(folder):
        study = Study("s", SPACE, folder, resume=True)
        try:
            study.halve(partial(work, tmp_path, kind), plan)
        finally:
            found = [row[:5] for row in of_trials(study)]
            study.close()
        return found

    with pytest.raises(MachineError):
        run(tmp_path / "broken")
    found = run(tmp_path / "broken")
    assert found == run(tmp_path / "unbroken") and not [row for row in found if row[4]]


@pytest.mark.parametrize("kind", ["disk", "memory", "wrapped"])
def test_members_of_a_population(tmp_path, kind):
    def run(folder):
        found = PBT(SPACE, population=2).run(partial(work, tmp_path, kind), 3, folder, resume=True)
        return [(m.generation, m.slot, m.parent, m.params, m.score, m.error)
                for m in found.lineage]

    with pytest.raises(MachineError):
        run(tmp_path / "broken")
    assert run(tmp_path / "broken") == run(tmp_path / "unbroken")


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    TrainingError("out of memory with 1 rows at a time, the fewest allowed"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ZeroDivisionError("division"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "rows.csv"), OSError("busy")],
    ids=lambda error: type(error).__name__)
def test_what_comes_of_the_parameters_is_a_failed_trial(error):
    def objective(trial):
        raise error

    study = Study("s", SPACE)
    study.optimize(objective, 2)
    assert [trial.state for trial in study.trials] == ["failed"] * 2


def test_memory_that_ran_out_behind_a_step_on_a_gpu_is_the_works_fault():
    def objective(trial):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except RuntimeError:
            raise TrainingError("out of memory in the optimizer's step") from None

    study = Study("s", SPACE)
    study.optimize(objective, 1)
    assert study.trials[0].state == "failed"
