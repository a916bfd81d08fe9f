"""Processes that have torch ready: a test that starts the kit ten times need not read it ten times.

A server reads torch and the kit once. What it forks is a process of its own, with its own output,
folder and signals, as `python -m bert_kit …` or `python script.py …` would be.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVER = multiprocessing.get_context("forkserver")
# The first optimizer of a process reads torch._dynamo, for as long as all else of torch.
SERVER.set_forkserver_preload([
    "torch", "torch._dynamo", "sklearn.linear_model", "bert_kit.jobs.tasks.table",
    "bert_kit.jobs.active.campaigns", "bert_kit.jobs.tuning.search"])


def environment() -> dict[str, str]:
    """Return the variables of a process that is to find the kit of this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*arguments: object, folder: Path, log: Path, **variables: str) -> BaseProcess:
    """Start `python …` in a folder, with `-m MODULE` or a script first.

    What it prints goes to two files, `log` with the suffixes .out and .err, line by line; its
    input is `log` with .in, where that is a file.
    """
    process = SERVER.Process(target=_become, args=(
        [*map(str, arguments)], str(Path(folder).absolute()), {**environment(), **variables}, log))
    process.start()
    return process


def run(*arguments: object, folder: Path = Path(), input: str = "", limit: float = 240,
        **variables: str) -> subprocess.CompletedProcess[str]:
    """Do the same to the end; return what `subprocess.run` would."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        log.with_suffix(".in").write_text(input)
        process = start(*arguments, folder=folder, log=log, **variables)
        process.join(limit)
        code = process.exitcode
        process.kill()
        printed = [log.with_suffix(end).read_text() for end in (".out", ".err")]
    assert code is not None, f"still at work after {limit} s: {printed}"
    return subprocess.CompletedProcess(arguments, code, *printed)


def _become(arguments: list[str], folder: str, variables: dict[str, str], log: Path) -> None:
    """Be `python arguments` in this process, which was forked for it."""
    gc.freeze()  # what was forked is not looked at again, nor copied
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    source = log.with_suffix(".in")
    os.dup2(os.open(source if source.exists() else os.devnull, os.O_RDONLY), 0)
    for number, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log.with_suffix(end), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    sys.stderr.reconfigure(encoding="utf-8", line_buffering=True)
    sys.path[:0] = variables.get("PYTHONPATH", "").split(os.pathsep)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
