"""Running trials: in this process or on any executor, in waves or as slots come free.

An executor is one of `concurrent.futures` or built like them: threads, processes, Dask's
``Client.get_executor()``, mpi4py's ``MPIPoolExecutor``. A worker gets the objective and a trial and
sends the trial back; it never sees the study.
"""

import dataclasses
import faulthandler
import math
import multiprocessing
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import (ALL_COMPLETED, FIRST_COMPLETED, BrokenExecutor, Executor, Future,
                                ProcessPoolExecutor, wait)
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from bert_kit.checks import is_number, one_of, whole
from bert_kit.errors import ConfigError, TuningError, machine_fault
from bert_kit.tuner.ask_tell import COMPLETE, FAILED, PRUNED, Exhausted, Trial
from bert_kit.tuner.stored_study import StoredStudy
from bert_kit.tuner.trial_files import export

MODES = {"async": FIRST_COMPLETED, "waves": ALL_COMPLETED}
Objective = Callable[[Trial], Any]  # returns a number, or {objective: number}
Task = TypeVar("Task")
GIVEN_UP = ("the executor gave its calls up (is its scheduler gone?): what ran is taken up by the "
            "next call")
ENDS = {COMPLETE: "on_trial_complete", PRUNED: "on_trial_pruned", FAILED: "on_trial_failed"}
EVENTS = ("on_study_start", "on_trial_start", *ENDS.values(), "on_new_best", "on_study_end")


class WorkerDied(TuningError):
    """An executor broke down; any of the trials that it ran may have done it."""


class Serial(Executor):
    """Runs every call at once, in this thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future:
        """Return the future of a call that is over."""
        future = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Isolated(Executor):
    """A new process for each call: all its memory comes back, and if it dies, it dies alone.

    After `limit` seconds it ends, whatever it hangs in, and says on stderr where it was.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.begin = partial(faulthandler.dump_traceback_later, limit, exit=True) if limit else None

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future:
        """Return the future of a call that has its own process."""
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), self.begin)
        future = pool.submit(function, *args)
        pool.shutdown(wait=False)  # it still finishes the call
        return future


def run_trials(study: StoredStudy, objective: Objective, n_trials: int,
               timeout: float | None = None, executor: Executor | None = None, in_flight: int = 1,
               retries: int = 0, callbacks: Sequence[object] = (), mode: str = "async",
               devices: Sequence[str | None] = (), isolate: bool = False,
               trial_timeout: float | None = None, raise_errors: bool = False) -> None:
    """Ask for trials, run the objective, and tell the study, until there are enough.

    Parameters
    ----------
    objective
        ``objective(trial) -> float``, or a dict of them. It finds the parameters in
        `trial.params` and may call `trial.report`. For other processes it must be picklable.
    n_trials
        How many trials this call finishes; those of an interrupted call that it takes up count.
    timeout
        Seconds after which no new trial begins.
    executor
        Where trials run; None: here, one after another.
    in_flight
        How many trials run, or wait to run, at a time.
    retries
        How often a trial that raised (an interruption is none) runs again, with the same seed.
    callbacks
        Objects with some of the methods on_study_start(study), on_trial_start(trial),
        on_trial_complete(trial), on_trial_pruned(trial), on_trial_failed(trial),
        on_new_best(trial, improvement) (infinite for the first, never with several objectives)
        and on_study_end(study). They run in this process.
    mode
        "async" asks for the next trial as soon as one is told. "waves" waits for `in_flight` of
        them and tells them in order: the study is the same on every executor.
    devices
        Handed out to the slots in turn, as `trial.device`.
    isolate
        Give each trial a process of its own.
    trial_timeout
        Seconds, after the import of the main script, until an isolated trial has failed and its
        process is ended. Others cannot be ended: one that hangs is waited for.
    raise_errors
        Raise what an objective raises, once the trial is told as failed.

    Raises
    ------
    ConfigError
        If an argument is impossible.
    TuningError
        If the executor breaks down; its trials can be taken up.
    """
    whole("n_trials", n_trials, 0)
    whole("retries", retries, 0)
    whole("in_flight", in_flight, 1)
    one_of("mode", mode, MODES)
    executor = _isolated(executor, isolate, trial_timeout)
    end = math.inf if timeout is None else time.monotonic() + timeout
    run = _Run(study, callbacks, retries, raise_errors, n_trials, end)
    function = partial(evaluate, objective, not raise_errors)
    slots = [devices[i % len(devices)] if devices else None for i in range(in_flight)]
    with (watched(study, callbacks, run.unfinished),
          closing(spread(run.take, function, slots, executor, MODES[mode])) as calls):
        for trial, future in calls:
            run.receive(trial, future)


def _isolated(executor: Executor | None, isolate: bool,
              trial_timeout: float | None) -> Executor | None:
    """Return the executor that these arguments ask for."""
    if isolate and executor is not None:
        raise ConfigError("isolate gives each trial a process; expected no executor beside it")
    if trial_timeout is not None and not (isolate and is_number(trial_timeout)
                                          and trial_timeout > 0):
        raise ConfigError(f"trial_timeout is {trial_timeout!r}, isolate {isolate!r}; expected "
                          "seconds, for trials in processes of their own")
    return Isolated(trial_timeout) if isolate else executor


class _Run:
    """What a call of `run_trials` has still to do."""

    def __init__(self, study: StoredStudy, callbacks: Sequence[object], retries: int,
                 raise_errors: bool, left: int, end: float) -> None:
        self.study, self.callbacks = study, callbacks
        self.retries, self.raise_errors = retries, raise_errors
        self.left, self.end = left, end
        self.again: deque[Trial] = deque()
        self.unfinished: set[int] = set()

    def take(self, device: str | None) -> Trial | None:
        """Return the trial to run next on a device, or None."""
        if self.again:
            return dataclasses.replace(self.again.popleft(), device=device)
        if not self.left or time.monotonic() >= self.end:
            return None
        try:
            trial = self.study.ask()
        except Exhausted:
            self.left = 0
            return None
        self.left -= 1
        self.unfinished.add(trial.number)
        announce(self.callbacks, "on_trial_start", trial)
        return dataclasses.replace(trial, device=device)

    def receive(self, trial: Trial, future: Future) -> None:
        """Tell what came of a trial, or have it run again."""
        error = future.exception()
        if error and not isinstance(error, Exception):
            raise error  # a worker was told to stop, not the objective
        if isinstance(error, BrokenExecutor):  # of an isolated trial; any other ends the search
            error = TuningError("its process died (is memory short?) or ran into trial_timeout")
        result = dataclasses.replace(trial, error=describe(error)) if error else future.result()
        if result.error and trial.failures < self.retries and not self.raise_errors:
            self.again.append(self.study.begin_again(trial))
            return
        tell(self.study, result, self.callbacks)
        self.unfinished.remove(trial.number)
        if error and self.raise_errors:
            raise error


def evaluate(objective: Objective, catch: bool, trial: Trial) -> Trial:
    """Run an objective on a copy of a trial, in whatever process this is, and return the copy."""
    trial = dataclasses.replace(trial, reports={}, notes={}, started=time.time())
    try:
        if trial.folder:
            os.makedirs(trial.folder, exist_ok=True)
        trial.value = objective(trial)
    except Exception as error:  # as text, since not every exception survives pickling
        trial.error = describe(error)
        if not catch:
            raise
    trial.finished = time.time()
    if trial.folder:
        with suppress(OSError):  # it stays if something was kept in it
            os.rmdir(trial.folder)
    return trial


def describe(error: BaseException) -> str:
    """Return what an exception says in one line, and below where it came from.

    Raises
    ------
    MachineError
        If it says what the machine lacks: that is no result of a trial. A search ends with it, its
        trials are given back, and it can go on.
    """
    fault = machine_fault(error)
    if fault is not None:
        raise fault from None
    return f"{type(error).__name__}: {error}\n" + "".join(traceback.format_exception(error))


def spread(take: Callable[[str | None], Task | None], function: Callable[[Task], Any],
           slots: Sequence[str | None], executor: Executor | None = None,
           until: str = FIRST_COMPLETED) -> Generator[tuple[Task, Future]]:
    """Keep a call of ``function(task)`` in flight for every slot; yield (task, future).

    `take(device)` returns the next task for the device of a slot, or None if there is none now.
    With `until` ALL_COMPLETED every slot is waited for before any is filled again.

    Raises
    ------
    WorkerDied
        If the executor breaks down.
    TuningError
        If it gives a call up, as one whose scheduler is gone.
    """
    executor = executor or Serial()
    free = list(range(len(slots)))
    busy: dict[Future, tuple[int, Task]] = {}
    try:
        while True:
            while free and (task := take(slots[free[0]])) is not None:
                busy[executor.submit(function, task)] = free.pop(0), task
            if not busy:
                return
            done, broken = wait(busy, return_when=until).done, None
            for slot, task, future in sorted((*busy[future], future) for future in done):
                error = TuningError(GIVEN_UP) if future.cancelled() else future.exception()
                if future.cancelled() or (isinstance(error, BrokenExecutor)
                                          and not isinstance(executor, Isolated)):
                    broken = error  # those that are done come first
                    continue
                del busy[future]
                free = sorted([*free, slot])
                yield task, future
            if broken is not None:
                raise broken
    except BrokenExecutor as error:
        raise WorkerDied(f"a worker died ({error}); expected all to live (is memory short?): what "
                         "ran is taken up by the next call") from None
    finally:
        for future in busy:
            future.cancel()


@contextmanager
def watched(study: StoredStudy, callbacks: Sequence[object],
            unfinished: Collection[int]) -> Iterator[None]:
    """Announce both ends of a search; whatever happens, give unfinished trials back and export."""
    for callback in callbacks:
        if not any(hasattr(callback, event) for event in EVENTS):
            raise ConfigError(f"callback {callback!r} has none of the methods {', '.join(EVENTS)}")
    announce(callbacks, "on_study_start", study)
    died = False
    try:
        yield
    except WorkerDied:
        died = True
        raise
    finally:
        study.release(unfinished, failed=died)
        if study.path:
            export(study)
        announce(callbacks, "on_study_end", study)


def announce(callbacks: Sequence[object], event: str, *args: object) -> None:
    """Call a method of those callbacks that have it."""
    for callback in callbacks:
        getattr(callback, event, lambda *_: None)(*args)


def tell(study: StoredStudy, trial: Trial, callbacks: Sequence[object]) -> None:
    """Tell a study what came of a trial, and the callbacks what the study made of it."""
    leader = study.leader
    trial = study.tell(trial, trial.value, trial.error)
    if trial.state in ENDS:  # else it is somebody else's by now
        announce(callbacks, ENDS[trial.state], trial)
    if study.leader is trial:
        announce(callbacks, "on_new_best", trial,
                 leader.losses[0] - trial.losses[0]
                 if leader and leader.losses and trial.losses else math.inf)
