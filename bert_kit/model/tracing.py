"""What a debugger would show: the local names of a function at the moment it returned."""

import sys
from collections.abc import Callable
from types import FrameType, FunctionType


def locals_of(function: FunctionType, call: Callable[[], object]) -> dict[str, object]:
    """Run `call()` and return the local names that `function` had when it first returned.

    For study: it shows what `breakpoint()` in front of the function's `return` would show. A
    profiler that is running is switched off.

    Parameters
    ----------
    function
        Written in Python, a method for instance; `call()` must reach it, in this thread.
    call
        Called without arguments; its result is dropped.

    Raises
    ------
    LookupError
        If the function never returned.

    Examples
    --------
    >>> from bert_kit.tokenization import fit_pair
    >>> locals_of(fit_pair, lambda: fit_pair(50, 90, room=11))
    {'first': 50, 'second': 90, 'room': 11, 'shorter': 5}
    """
    found: list[dict[str, object]] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is function.__code__ and not found:
            found.append(dict(frame.f_locals))

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    if not found:
        raise LookupError(f"{function.__qualname__} did not return during the call")
    return found[0]
