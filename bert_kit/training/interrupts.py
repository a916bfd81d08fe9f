"""Ctrl-C and SIGTERM that wait for the end of a step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Whether somebody asked the run to end: `requested`."""

    def __init__(self) -> None:
        self.requested = False


@contextlib.contextmanager
def finish_step_first() -> Iterator[Interrupt]:
    """Catch Ctrl-C and SIGTERM in the block, and raise KeyboardInterrupt at its end.

    Yields an `Interrupt` that the block is to look at where it can stop in good order. A second
    signal raises KeyboardInterrupt at once. Outside the main thread, where Python delivers no
    signals, and in a program that handles them itself, nothing is caught; nor is a signal that is
    ignored from the start, as Ctrl-C is under nohup and in a shell's background job.
    """
    interrupt, process = Interrupt(), os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True
        if os.getpid() == process:  # a loader's workers inherit this function
            with contextlib.suppress(OSError):  # print could break into another print
                os.write(2, b"\nfinishing the step; once more to stop at once\n")

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupt.requested:
        raise KeyboardInterrupt
