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
from concurrent.futures import (ALL_COMPLETED, FIRST_COMPLETED, BrokenExecutor, Executor, Future,
                                ProcessPoolExecutor, wait)
from contextlib import closing, contextmanager, suppress
from functools import partial

from bert_kit.errors import ConfigError, TuningError
from bert_kit.tuner.samplers import Exhausted
from bert_kit.tuner.space import check_whole
from bert_kit.tuner.trial import COMPLETE, FAILED, PRUNED

MODES = {"async": FIRST_COMPLETED, "waves": ALL_COMPLETED}
ENDS = {COMPLETE: "on_trial_complete", PRUNED: "on_trial_pruned", FAILED: "on_trial_failed"}
EVENTS = ("on_study_start", "on_trial_start", *ENDS.values(), "on_new_best", "on_study_end")


class WorkerDied(TuningError):
    """An executor broke down; any of the trials that it ran may have done it."""


class Serial(Executor):
    """Runs every call at once, in this thread."""

    def submit(self, function, /, *args):
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

    def __init__(self, limit=None):
        self.begin = limit and partial(faulthandler.dump_traceback_later, limit, exit=True)

    def submit(self, function, /, *args):
        """Return the future of a call that has its own process."""
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), self.begin)
        future = pool.submit(function, *args)
        pool.shutdown(wait=False)  # it still finishes the call
        return future


def run_trials(study, objective, n_trials, timeout=None, executor=None, in_flight=1, retries=0,
               callbacks=(), mode="async", devices=(), isolate=False, trial_timeout=None,
               raise_errors=False):
    """Ask for trials, run the objective, and tell the study, until there are enough.

    Parameters
    ----------
    study : Study
    objective : callable
        ``objective(trial) -> float``, or a dict of them. It finds the parameters in
        `trial.params` and may call `trial.report`. For other processes it must be picklable.
    n_trials : int
        How many trials this call finishes; those of an interrupted call that it takes up count.
    timeout : float, optional
        Seconds after which no new trial begins.
    executor : concurrent.futures.Executor, optional
        Where trials run; None: here, one after another.
    in_flight : int
        How many trials run, or wait to run, at a time.
    retries : int
        How often a trial that raised is run again, with the same parameters and seed. To be
        interrupted does not count.
    callbacks : sequence
        Objects with some of the methods on_study_start(study), on_trial_start(trial),
        on_trial_complete(trial), on_trial_pruned(trial), on_trial_failed(trial),
        on_new_best(trial, improvement) (infinite for the first, never with several objectives)
        and on_study_end(study). They run in this process.
    mode : str
        "async" asks for the next trial as soon as one is told. "waves" waits for `in_flight` of
        them and tells them in order: the study is the same on every executor.
    devices : sequence of str
        Handed out to the slots in turn, as `trial.device`.
    isolate : bool
        Give each trial a process of its own.
    trial_timeout : float, optional
        Seconds, after the import of the main script, until an isolated trial's process is ended
        and the trial has failed. Others cannot be ended: one that hangs is waited for.
    raise_errors : bool
        Raise what an objective raises, once the trial is told as failed.

    Raises
    ------
    ConfigError
        If an argument is impossible.
    TuningError
        If the executor breaks down; its trials can be taken up.
    """
    check_whole(0, n_trials=n_trials, retries=retries)
    check_whole(1, in_flight=in_flight)
    if mode not in MODES:
        raise ConfigError(f"mode is {mode!r}; expected {' or '.join(MODES)}")
    executor = _isolated(executor, isolate, trial_timeout)
    end = math.inf if timeout is None else time.monotonic() + timeout
    run = _Run(study, callbacks, retries, raise_errors, n_trials, end)
    function = partial(evaluate, objective, not raise_errors)
    slots = [devices[i % len(devices)] if devices else None for i in range(in_flight)]
    with (watched(study, callbacks, run.unfinished),
          closing(spread(run.take, function, slots, executor, MODES[mode])) as calls):
        for trial, future in calls:
            run.receive(trial, future)


def _isolated(executor, isolate, trial_timeout):
    """Return the executor that these arguments ask for."""
    if isolate and executor is not None:
        raise ConfigError("isolate gives each trial a process; expected no executor beside it")
    if trial_timeout is not None and not (isolate and 0 < trial_timeout < math.inf):
        raise ConfigError(f"trial_timeout is {trial_timeout!r}, isolate {isolate!r}; expected "
                          "seconds, for trials in processes of their own")
    return Isolated(trial_timeout) if isolate else executor


class _Run:
    """What a call of `run_trials` has still to do."""

    def __init__(self, study, callbacks, retries, raise_errors, left, end):
        self.study, self.callbacks = study, callbacks
        self.retries, self.raise_errors = retries, raise_errors
        self.left, self.end = left, end
        self.again, self.unfinished = deque(), set()

    def take(self, device):
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

    def receive(self, trial, future):
        """Tell what came of a trial, or have it run again."""
        error = future.exception()
        if error and not isinstance(error, Exception):
            raise error  # a worker was told to stop, not the objective
        if isinstance(error, BrokenExecutor):  # of an isolated trial; any other ends the search
            error = TuningError("its process died (is memory short?) or ran into trial_timeout")
        result = dataclasses.replace(trial, error=described(error)) if error else future.result()
        if result.error and trial.failures < self.retries and not self.raise_errors:
            self.again.append(self.study.begin_again(trial))
            return
        tell(self.study, result, self.callbacks)
        self.unfinished.remove(trial.number)
        if error and self.raise_errors:
            raise error


def evaluate(objective, catch, trial):
    """Run an objective on a copy of a trial, in whatever process this is, and return the copy."""
    trial = dataclasses.replace(trial, reports={}, notes={}, started=time.time())
    if trial.folder:
        os.makedirs(trial.folder, exist_ok=True)
    try:
        trial.value = objective(trial)
    except Exception as error:  # as text, since not every exception survives pickling
        if not catch:
            raise
        trial.error = described(error)
    trial.finished = time.time()
    if trial.folder:
        with suppress(OSError):  # it stays if something was kept in it
            os.rmdir(trial.folder)
    return trial


def described(error):
    """Return what an exception says in one line, and below where it came from."""
    return f"{type(error).__name__}: {error}\n" + "".join(traceback.format_exception(error))


def spread(take, function, slots, executor=None, until=FIRST_COMPLETED):
    """Keep a call of ``function(task)`` in flight for every slot; yield (task, future).

    `take(device)` returns the next task for the device of a slot, or None if there is none now.
    With `until` ALL_COMPLETED every slot is waited for before any is filled again.

    Raises
    ------
    WorkerDied
        If the executor breaks down.
    """
    executor = executor or Serial()
    free, busy = list(range(len(slots))), {}
    try:
        while True:
            while free and (task := take(slots[free[0]])) is not None:
                busy[executor.submit(function, task)] = free.pop(0), task
            if not busy:
                return
            done, broken = wait(busy, return_when=until).done, None
            for slot, task, future in sorted((*busy[future], future) for future in done):
                error = future.exception()
                if isinstance(error, BrokenExecutor) and not isinstance(executor, Isolated):
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


def run_legs(step, legs, executor=None, devices=()):
    """Train legs, one on a device at a time; yield (place, score, error) as each is over.

    The error is text, None where the step returned a score.
    """
    left = iter(enumerate(legs))

    def take(device):
        return next(((place, leg.replace(device=device)) for place, leg in left), None)

    slots = list(devices) or [None] * len(legs)
    slots = slots if executor else slots[:1]  # here: each is over before the next begins
    with closing(spread(take, partial(_run_leg, step), slots, executor)) as calls:
        for (place, _), future in calls:
            error = future.exception()
            yield place, *((None, described(error)) if error else future.result())


def _run_leg(step, task):
    """Run a leg, in whatever process this is; return its score, or None, and the error."""
    try:
        return float(step(task[1])), None
    except Exception as error:
        return None, described(error)


@contextmanager
def watched(study, callbacks, unfinished):
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
            study.export()
        announce(callbacks, "on_study_end", study)


def announce(callbacks, event, *args):
    """Call a method of those callbacks that have it."""
    for callback in callbacks:
        getattr(callback, event, lambda *_: None)(*args)


def tell(study, trial, callbacks):
    """Tell a study what came of a trial, and the callbacks what the study made of it."""
    leader = study.leader
    trial = study.tell(trial, trial.value, trial.error)
    if trial.state in ENDS:  # else it is somebody else's by now
        announce(callbacks, ENDS[trial.state], trial)
    if study.leader is trial:
        announce(callbacks, "on_new_best", trial,
                 leader.losses[0] - trial.losses[0] if leader else math.inf)
