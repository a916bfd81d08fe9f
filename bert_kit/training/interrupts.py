"""Ctrl-C and SIGTERM that wait for the end of a step."""

import contextlib
import os
import signal
import threading


class Interrupt:
    """Whether somebody asked the run to end: `requested`."""

    def __init__(self):
        self.requested = False


@contextlib.contextmanager
def finish_step_first():
    """Catch Ctrl-C and SIGTERM in the block, and raise KeyboardInterrupt at its end.

    Yields an `Interrupt` that the block is to look at where it can stop in good order. A second
    signal raises KeyboardInterrupt at once. Outside the main thread, where Python delivers no
    signals, and in a program that handles them itself, nothing is caught.
    """
    interrupt, process = Interrupt(), os.getpid()

    def handle(number, frame):
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
