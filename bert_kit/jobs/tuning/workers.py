"""Where the trials of a search run: here, in processes of this machine, or on a Dask cluster.

On a cluster a worker gets the options and the parameters of a trial, and sends its scores back; all
else goes through files, which every machine sees under the same paths. The study stays here.
"""

import contextlib
import logging
import multiprocessing
import os
import platform
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

import torch

import bert_kit
from bert_kit.errors import ConfigError, MachineError, TuningError
from bert_kit.jobs.tuning.options import SCHEME
from bert_kit.training import choose_device

PATIENCE = 10  # seconds in which a scheduler has to answer


@contextlib.contextmanager
def workers(options: Any) -> Iterator[dict[str, Any]]:
    """Yield where trials run, as keywords of the tuner's runs: nothing for one after another here.

    Raises
    ------
    ConfigError
        If the package that a cluster needs is not installed.
    TuningError
        If the cluster cannot be used.
    """
    if options.executor is not None:
        with _cluster(options) as (executor, jobs):
            yield {"executor": executor, "devices": (None,) * jobs}  # each takes its machine's own
    elif options.jobs in (None, 1):
        yield {}
    else:
        gpus = torch.cuda.device_count() if choose_device(options.device).type == "cuda" else 0
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"),
                                 _end_with_the_search) as executor:
            yield {"executor": executor, "devices": tuple(
                f"cuda:{i % gpus}" if gpus else None for i in range(options.jobs))}


def threads_of_a_trial(options: Any) -> int:
    """Return this machine's threads, shared by the jobs; 1 where other machines do the work.

    How many workers share such a machine is not known here.
    """
    return 1 if options.executor else max(1, torch.get_num_threads() // (options.jobs or 1))


def _end_with_the_search() -> None:
    """Let a worker process end when the one that began it is gone, for instance killed."""
    parent: Any = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Cluster(Executor):
    """The workers of a Dask client, each of which runs one call at a time, in this folder.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self.calls: Executor = client.get_executor(pure=False)  # equal calls are not one
        self.folder = os.getcwd()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future:
        """Return the future of a call on whatever worker is free."""
        return self.calls.submit(run_on_worker, self.folder, function, *args)


def run_on_worker(folder: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run a call in a folder, unless this worker may run another one beside it."""
    from distributed import get_worker  # pyright: ignore[reportMissingImports]
    worker = get_worker()
    if worker.state.nthreads != 1:
        raise MachineError(f"worker {worker.address} runs {worker.state.nthreads} trials in one "
                           "process, where they would share random numbers; begin it with: dask "
                           "worker … --nthreads 1 (--nworkers says how many)")
    if not os.path.isdir(folder):
        raise MachineError(f"worker {worker.address} sees no folder {folder}, where the search "
                           "was begun; expected the same files under the same paths on each "
                           "machine")
    with contextlib.chdir(folder):  # paths may be relative
        return function(*args)


@contextlib.contextmanager
def _cluster(options: Any) -> Iterator[tuple[Cluster, int]]:
    """Yield the workers of the scheduler that the options name, and how many trials to give them.
    """
    try:
        from distributed import Client  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(f"executor is {options.executor}, which needs a package that is not "
                          "installed here; to have it, on each machine: pip install "
                          "distributed") from None
    log = logging.getLogger("distributed.client")  # says in forty lines what we say in one
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with contextlib.closing(connected(Client, options.executor)) as client:
            count = check_workers(client, options)
            yield Cluster(client), options.jobs or count
    finally:
        log.setLevel(level)


def connected(client: Callable[..., Any], executor: str) -> Any:
    """Return a client of the scheduler that the option `executor` names.

    Raises
    ------
    TuningError
        If none answers in time.
    """
    answer: Future = Future()

    def connect() -> None:
        try:
            answer.set_result(client(f"tcp://{executor.removeprefix(SCHEME)}", timeout=PATIENCE,
                                     set_as_default=False))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    try:  # what listens there and is no scheduler never answers
        return answer.result(PATIENCE + 2)
    except Exception as error:
        why = str(error) or f"what is there says nothing in {PATIENCE} s"
        raise TuningError(f"{executor}: no scheduler answers ({why}); expected the address that "
                          "`dask scheduler` prints, which is not that of its pages") from None


def check_workers(client: Any, options: Any) -> int:
    """Say how many workers there are and what of them is not as here; return their number."""
    try:
        found: dict[str, dict[str, str]] = client.run(versions)
    except Exception as error:
        raise TuningError(f"{options.executor}: a worker cannot run bert_kit ({error}); expected "
                          "the same version of it on each machine") from None
    if not found and options.jobs is None:
        raise TuningError(f"{options.executor}: no worker has joined; begin some with: dask worker "
                          f"{options.executor.removeprefix(SCHEME)} --nthreads 1 (or say with "
                          "--jobs how many trials are to wait for them)")
    options.say(f"workers   {len(found)} of {options.executor}")
    for address, theirs in found.items():
        other = [f"{name} {theirs.get(name)} (here {here})" for name, here in versions().items()
                 if theirs.get(name) != here]
        if other:
            options.say(f"          {address} has {', '.join(other)}: its trials may score "
                        "otherwise")
    return len(found)


def versions() -> dict[str, str]:
    """Return what the scores of a trial depend on, of this process."""
    return {"bert_kit": bert_kit.__version__, "python": platform.python_version(),
            "torch": str(torch.__version__)}
