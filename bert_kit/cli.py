"""The command line: `python -m bert_kit JOB …`, or `bert-kit JOB …`."""

import contextlib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from bert_kit import __version__
from bert_kit.errors import (BertKitError, MachineError, NothingLearned, UsageError,
                             is_out_of_memory, machine_fault)
from bert_kit.jobs.options.declare import nearest
from bert_kit.jobs.options.parser import parse, same_spelling
from bert_kit.jobs.table import JOBS, RESUMED, renamed

USAGE = "bert-kit JOB [options]; bert-kit JOB --help lists the options of a job"


def jobs_listed() -> str:
    """Return what there is to do, a line a job."""
    width = max(map(len, JOBS))
    return "\n".join([USAGE, "", *(f"  {name:{width}}  {job.text}" for name, job in JOBS.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return its exit code.

    0; 1 for input that cannot be used, or a machine that lacks something; 2 for options that have
    no meaning; 3, with --strict, for a model that learned nothing; 130 for Ctrl-C.
    """
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # without Unicode it shows \xdf, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    words, name = same_spelling(sys.argv[1:] if arguments is None else arguments), ""
    try:
        name, *rest = renamed(words) if words else ("--help",)
        with plain_warnings():
            code = _run(name, rest)
    except SystemExit as end:  # of --help and wrong usage
        if not _flushed() and not end.code:
            raise SystemExit(1) from None
        raise
    except KeyboardInterrupt:
        if arguments is None:  # once more ends a program that already ends, without a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        _tell("interrupted" + "; go on with --resume auto" * (name in RESUMED))
        code = 130
    except Exception as error:
        code = _told(error)
    return code if _flushed() else code or 1


def _run(name: str, arguments: Sequence[str]) -> int:
    """Do what the first word of a command line says."""
    if name in ("-h", "--help"):
        print(jobs_listed())
        return 0
    if name == "--version":
        print(f"bert_kit {__version__}")
        return 0
    if name not in JOBS:
        with contextlib.suppress(OSError):
            print(f"error: there is no job {name!r}; {nearest(name, JOBS)}\n{jobs_listed()}",
                  file=sys.stderr, flush=True)
        return 2
    job = JOBS[name]
    module = importlib.import_module(job.module)
    kind, elsewhere = job.options(module, arguments)
    options = parse(name, kind, arguments, elsewhere)
    options.check_use()
    module.run(options)
    return 0


def _told(error: Exception) -> int:
    """Say in one line what ended a job and return the exit code; a fault of the kit is raised."""
    if isinstance(error, NothingLearned):  # with --strict; all is saved, and the verdict was said
        _tell(f"not learned: {error}")
        return 3
    if isinstance(error, BertKitError):
        _tell(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
        return 1
    fault = machine_fault(error)
    if fault is None and is_out_of_memory(error):
        fault = MachineError("out of memory on the device; a smaller model, shorter texts or "
                             "--device cpu would need less of it")
    if fault is None and isinstance(error, OSError):  # a folder that may not be entered
        fault = BertKitError(error)
    if fault is None:
        raise error
    _tell(f"error: {fault}")
    return 1


def _tell(line: str) -> None:
    """Print one line on standard error, if anybody still reads it."""
    with contextlib.suppress(OSError):
        print(*line.splitlines(), file=sys.stderr, flush=True)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Say warnings in one line each: they may quote a file as much as an error may."""
    before = warnings.formatwarning

    def plain(message: Warning | str, category: type[Warning], filename: str, lineno: int,
              line: str | None = None) -> str:
        return f"warning: {BertKitError(message)}\n"

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _open_closed_streams() -> None:
    """Lead standard streams that are closed nowhere, or the next file would be taken for one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _flushed() -> bool:
    """Write what standard output still holds; where that fails, say so and return False."""
    try:
        sys.stdout.flush()
        return True
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _tell(f"error: standard output: {machine_fault(error) or BertKitError(error)}")
    # Python tries again at its end, and would report that; what is left goes nowhere.
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return False
