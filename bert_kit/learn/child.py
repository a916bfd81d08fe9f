"""Run a learner's code in a process of its own, with a limit on its time and its memory.

The child writes its verdicts to a file as it goes. What the learner's code prints is seen as it
is, and breakpoint() opens the debugger, without a limit of time, in the learner's terminal.
"""

import contextlib
import json
import pdb
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_kit.errors import BertKitError

MEMORY = 2 * 2**30  # bytes that a check may take beyond what torch and the kit do
PATIENCE = 60.0  # seconds that the child may take beside the learner's code


def examined(folder: Path, keys: Sequence[str], answer: Sequence[str] = (),
             model: str | None = None, seconds: float = 20) -> list[dict[str, str]]:
    """Return the verdicts on rungs or exercises, each {"key", "state", "text"}.

    Raises
    ------
    BertKitError
        If the kit itself, not the learner's code, cannot do its part.
    """
    with tempfile.TemporaryDirectory() as work:
        task = Path(work, "task.json")
        task.write_text(json.dumps({"folder": str(folder), "keys": [*keys], "answer": [*answer],
                                    "model": model, "seconds": seconds}), "utf-8")
        process = subprocess.Popen([sys.executable, "-m", "bert_kit.learn.child", str(task)])
        try:
            try:
                process.wait(seconds * len(keys) + PATIENCE if seconds else None)
            except subprocess.TimeoutExpired:
                if (task.parent / "debugger").exists():
                    process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        verdicts = _read(task.parent / "verdicts.json")
        if process.returncode == 0:
            return verdicts
        if (task.parent / "error").exists():
            raise BertKitError((task.parent / "error").read_text("utf-8"))
        if len(verdicts) == len(keys):
            return verdicts
        text = (f"its process ended with code {process.returncode}; does it run for ever, ask for "
                "too much memory or end Python?")
        return [*verdicts, {"key": keys[len(verdicts)], "state": "wrong", "text": text}]


def _read(path: Path) -> list[dict[str, str]]:
    return json.loads(path.read_text("utf-8")) if path.exists() else []


def _limit_memory() -> None:
    """Let this process take so much more memory than it has, where the system can be told."""
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError, TypeError):
        import resource
        status = Path("/proc/self/status").read_text("utf-8")
        used = int(re.search(r"VmData:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, most))


def _debug(flag: Path) -> None:
    """Make breakpoint() a debugger that passes over torch, and end the limit on time."""
    def hook(*_: Any, **__: Any) -> None:
        flag.touch()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        pdb.Pdb(skip=["torch*", "bert_kit*"]).set_trace(sys._getframe(1))

    sys.breakpointhook = hook


def main(task_file: str) -> int:
    """Examine what the task file names; this is the child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    path = Path(task_file)
    task = json.loads(path.read_text("utf-8"))
    from bert_kit.learn.examiner import examine
    _limit_memory()
    _debug(path.parent / "debugger")
    verdicts = []
    try:
        for key in task["keys"]:
            verdicts.append(examine(Path(task["folder"]), key, task["answer"], task["model"],
                                    task["seconds"])._asdict())
            (path.parent / "verdicts.json").write_text(json.dumps(verdicts), "utf-8")
    except BertKitError as error:
        (path.parent / "error").write_text(str(error), "utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
