"""A guard is one line: each check returns the value, or says what was found and what fits.

Booleans are no numbers here: `True` where a count is expected is a mistake, not a one. NaN fits
no limits. `error` is the class of BertKitError to raise.
"""

import math
from collections.abc import Collection, Iterable, Sized
from numbers import Integral, Real
from typing import TypeGuard, TypeVar

from bert_kit.errors import BertKitError, ConfigError, DataError

T = TypeVar("T")
Error = type[BertKitError]


def whole(name: str, value: object, low: int, high: int | None = None,
          error: Error = ConfigError) -> int:
    """Return a whole number from `low` to `high`, if there is a `high`.

    Examples
    --------
    >>> whole("num_filters", 100, 1, 4096)
    100
    """
    if not _is_whole(value) or value < low or high is not None and value > high:
        raise error(f"{name} is {value!r}; expected a whole number {_limits(low, high)}")
    return int(value)


def wholes(name: str, value: object, low: int, high: int, most: int = 16, least: int = 1,
           error: Error = ConfigError) -> tuple[int, ...]:
    """Return a tuple of `least` to `most` whole numbers; a single number counts as a list of one.
    """
    values = value if isinstance(value, list | tuple) else [value]
    fitting = [int(n) for n in values if _is_whole(n) and low <= n <= high]
    if not least <= len(values) <= most or len(fitting) != len(values):
        raise error(f"{name} is {value!r}; expected {least} to {most} whole numbers "
                    f"{_limits(low, high)}")
    return tuple(fitting)


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf,
           above: bool = False, error: Error = ConfigError, also: str = "") -> float:
    """Return a finite number from `low` to `high` as a float; with `above` it must exceed `low`.

    `also` ends the message: what else the caller lets through, as in ", or None".

    Examples
    --------
    >>> number("learning_rate", 3, 0, above=True)
    3.0
    """
    if not is_number(value) or not low <= value <= high or above and value == low:
        limits = f"expected a number {_limits(low, high, above)}".rstrip()
        raise error(f"{name} is {value!r}; {limits}{also}")
    return float(value)


def share(name: str, value: object, above: bool = False, below: bool = False,
          error: Error = ConfigError) -> float:
    """Return a share from 0 to 1 as a float; `above` leaves out 0, `below` leaves out 1."""
    if not is_number(value) or not 0 <= value <= 1 or above and value == 0 or below and value == 1:
        start = "above 0" if above else "from 0"
        raise error(f"{name} is {value!r}; expected a share {start}"
                    + (", below 1" if below else ", at most 1" if above else " to 1"))
    return float(value)


def one_of(name: str, value: T, choices: Collection[T], error: Error = ConfigError) -> T:
    """Return one of the `choices`."""
    if isinstance(value, list | dict | set) or value not in choices:
        raise error(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}")
    return value


def unique(name: str, values: Iterable[T], error: Error = ConfigError) -> tuple[T, ...]:
    """Return values of which none stands twice."""
    values = tuple(values)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise error(f"{name} has {value!r} twice; expected each once")
    return values


def same_length(**sized: Sized) -> int:
    """Return how long some sequences are, which must be equally long.

    Raises
    ------
    DataError
        Names the first that differs.
    """
    (first, one), *others = sized.items()
    for name, other in others:
        if len(other) != len(one):
            raise DataError(f"{len(one)} {first} but {len(other)} {name}; expected as many")
    return len(one)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a finite number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and (
        isinstance(value, Integral) or math.isfinite(value))  # a whole number may exceed a float


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _limits(low: float, high: float | None, above: bool = False) -> str:
    """Return how limits are said: "from 1", "above 0", "from 1 to 4,096", or "" for none."""
    start = "" if low == -math.inf else f"{'above' if above else 'from'} {_plain(low)}"
    if high is None or high == math.inf:
        return start
    return f"{start} to {_plain(high)}".strip()


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
