"""Examine the learner's files: a verdict of one line for each rung or exercise.

His errors are told with his file, his line and the shapes of the tensors there, and without the
kit's traceback.
"""

import contextlib
import importlib.util
import linecache
import signal
import sys
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from bert_kit.errors import BertKitError, is_out_of_memory
from bert_kit.learn.exercises import EXERCISES, answer_difference, functions_difference
from bert_kit.learn.judge import judge
from bert_kit.learn.ladder import BERT, EXERCISES as EXERCISE_FILE, RUNGS
from bert_kit.learn.published import judge_published
from bert_kit.printing import one_line

T = TypeVar("T")
RIGHT, WRONG, MISSING = "right", "wrong", "not written yet"
_NUMBERS = {rung.name: number for number, rung in enumerate(RUNGS, 1)}


class Verdict(NamedTuple):
    """What is to be said of a rung or an exercise."""

    key: str
    state: str
    text: str


class Stopped(BaseException):
    """The time is over. No learner's `except Exception` should catch it."""


def examine(folder: Path, key: str, answer: Sequence[str] = (), model: str | None = None,
            seconds: float = 0) -> Verdict:
    """Return the verdict on one rung, "7", or one exercise, "attention.1".

    Parameters
    ----------
    answer
        What was typed for an exercise that asks for numbers or words.
    model
        Folder of the weights for the last rung; by default what is on this machine.
    seconds
        How long the learner's function may run; 0 for as long as it likes.
    """
    with _time_limit(seconds):
        try:
            wrong, note = _judged(folder, key, answer, model)
            return Verdict(key, WRONG if wrong else RIGHT, wrong or note)
        except _NotWritten as error:
            return Verdict(key, MISSING, str(error))
        except (Stopped, Exception, SystemExit) as error:
            if isinstance(error, BertKitError) and _own_line(error, folder) is None:
                raise  # of what was typed, not of the learner's code
            return Verdict(key, WRONG, described(error, folder, seconds))


class _NotWritten(Exception):
    """A stub is as it was written."""


def _judged(folder: Path, key: str, answer: Sequence[str], model: str | None) -> tuple[str, str]:
    """Return what is wrong, "" if nothing is, and what to say if all is right."""
    if not key.isdigit():
        exercise = EXERCISES[key]
        if not exercise.functions:
            return answer_difference(exercise, answer), ""
        functions = [_function(folder, EXERCISE_FILE, name) for name in exercise.functions]
        return _called(exercise.functions, lambda: functions_difference(exercise, functions)), ""
    rung = RUNGS[int(key) - 1]
    function = _function(folder, BERT, rung.name)
    wrong = _called((rung.name,), lambda: judge(rung.name, function))
    if wrong or rung is not RUNGS[-1]:
        return wrong, ""
    own = load(folder, BERT)
    return _called((rung.name,), lambda: judge_published(own, model))


def _called(names: tuple[str, ...], call: Callable[[], T]) -> T:
    """Call what runs the learner's code; a stub that it meets is told by its name."""
    try:
        return call()
    except NotImplementedError as error:
        stub = next(frame.f_code.co_name for frame, _ in reversed([*traceback.walk_tb(
            error.__traceback__)]))
        if stub in names:
            raise _NotWritten("") from None
        number = f" of rung {_NUMBERS[stub]}" if stub in _NUMBERS else ""
        raise _NotWritten(f"it calls {stub}{number}, which is not written yet") from None


def load(folder: Path, file: str) -> ModuleType:
    """Import one of the learner's files, anew each time."""
    path = (folder / file).resolve()
    sys.path.insert(0, str(path.parent))  # he may spread his code over more files
    try:
        spec = importlib.util.spec_from_file_location(f"my_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


def _function(folder: Path, file: str, name: str) -> Callable[..., Any]:
    found = getattr(load(folder, file), name, None)
    if not callable(found):
        raise _NotWritten(f"{folder / file} has no function {name}")
    return found


def described(error: BaseException, folder: Path, seconds: float = 0) -> str:
    """Return an error of the learner's code in one line: his file and line, and what went wrong."""
    if isinstance(error, BdbQuit):
        return "you left the debugger"
    what = f"{type(error).__name__}: {one_line(error, 300)}".removesuffix(": ")
    if isinstance(error, SyntaxError):
        where = f"{Path(str(error.filename)).name}, line {error.lineno}"
        return f"{where}: {type(error).__name__}: {error.msg}: {one_line(error.text or '', 80)}"
    if is_out_of_memory(error):
        what = "asks for more memory than the 2 GB that a check may take"
    elif isinstance(error, Stopped):
        what = (f"still ran after {seconds:g} s and was stopped; does a loop never end? "
                "(--seconds gives it longer)")
    else:
        what = f"raises {what}"
    frame_line = _own_line(error, folder)
    if frame_line is None:
        return f"it {what}"
    frame, line = frame_line
    path = Path(frame.f_code.co_filename)
    code = linecache.getline(str(path), line).strip()
    inside = "" if frame.f_code.co_name == "<module>" else f", in {frame.f_code.co_name}"
    return f"{path.name}, line {line}{inside}: `{code}` {what}{_shapes(frame)}"


def _own_line(error: BaseException, folder: Path) -> tuple[FrameType, int] | None:
    """Return the innermost place of an error in the learner's folder."""
    own = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
           if Path(frame.f_code.co_filename).resolve().is_relative_to(folder.resolve())]
    return own[-1] if own else None


def _shapes(frame: FrameType) -> str:
    """Return the shapes of the tensors that a line could see, "" if there are none."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in frame.f_locals.items()
              if isinstance(value, Tensor) and name.isidentifier()]
    return f"; there {', '.join(shapes)}" if shapes and len(shapes) < 12 else ""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise Stopped after so many seconds, where the system has a timer for it."""
    if not seconds or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
