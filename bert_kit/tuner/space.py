"""What may be tried: parameters with ranges or choices, each laid out on the unit interval.

A set of parameters is a dict for the user and a row of numbers in [0, 1] for a sampler, one column
a parameter, NaN where one is not active. Log scales are folded in, and separate values own a cell
of the interval each: a uniform number is a draw from the prior.
"""

import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bert_kit.errors import ConfigError

Params = dict[str, Any]  # one set: {name: a value that JSON can hold}
When = Mapping[str, Any] | None  # {name of an earlier parameter: value, or a list of them}

# The kinds of parameter, with what describes each in a file.
_FIELDS = {"continuous": ("low", "high"), "log_uniform": ("low", "high"),
           "discrete": ("low", "high", "step", "log"),
           "ordered": ("values",), "categorical": ("values",)}


def log(low: float, high: float) -> dict[str, Any]:
    """Return a range on a log scale for `SearchSpace.from_dict`; two ints make whole numbers."""
    if _is_whole(low) and _is_whole(high):
        return {"kind": "discrete", "low": low, "high": high, "log": True}
    return {"kind": "log_uniform", "low": low, "high": high}


@dataclass(frozen=True)
class Parameter:
    """One parameter; the methods of `SearchSpace` make and check it.

    `low` and `high` are the ends of the range, or the first and last place in `values`; `step` is
    the distance of neighbours, 0 where every number of the range is a value; `when` maps names to
    tuples of values: the parameter is active only if each of those has one of its values.
    """

    name: str
    kind: str
    low: float
    high: float
    step: int = 0
    log: bool = False
    values: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int | None:
        """Number of values, or None where there is no end of them."""
        return int((self.high - self.low) // self.step) + 1 if self.step else None

    def grid(self) -> Iterator[Any]:
        """Return an iterator over the values of a parameter that has steps."""
        return iter(self.values or range(int(self.low), int(self.high) + 1, self.step))

    def is_active(self, params: Params) -> bool:
        """Return whether the conditions hold, given the values of the parameters before."""
        return all(name in params and any(_same(params[name], value) for value in values)
                   for name, values in self.when.items())

    def to_dict(self) -> dict[str, Any]:
        """Return what describes the parameter, as `SearchSpace.from_dict` reads it."""
        entry = {"kind": self.kind} | {key: getattr(self, key) for key in _FIELDS[self.kind]}
        when = {name: list(values) for name, values in self.when.items()}
        return (entry | ({"values": list(self.values)} if self.values else {})
                | ({"when": when} if when else {}))

    @functools.cached_property
    def _ends(self) -> tuple[float, float]:
        """Where the unit interval begins and ends: half a step outside, so that cells are whole."""
        low, high = self.low - self.step / 2, self.high + self.step / 2
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def units(self, numbers: np.ndarray) -> np.ndarray:
        """Return where numbers of the range lie in the unit interval."""
        start, end = self._ends
        return ((np.log(numbers) if self.log else numbers) - start) / (end - start)

    def numbers(self, units: np.ndarray) -> np.ndarray:
        """Return the nearest numbers of the range: for a list of values, their places in it."""
        start, end = self._ends
        numbers = start + units * (end - start)
        numbers = np.exp(numbers) if self.log else numbers
        if self.step:
            numbers = self.low + self.step * np.round((numbers - self.low) / self.step)
        return np.minimum(np.maximum(numbers, self.low), self.high)

    def cells(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the cells around some places of the unit interval begin and end."""
        numbers = self.numbers(units)
        return self.units(numbers - self.step / 2), self.units(numbers + self.step / 2)

    def to_unit(self, value: Any) -> float:
        """Return the place of a value in the unit interval, NaN if it is none of this parameter."""
        if self.values:
            value = next((i for i, own in enumerate(self.values) if _same(own, value)), None)
        inside = _is_number(value) and self.low <= value <= self.high
        if not inside or self.step and (value - self.low) % self.step:
            return math.nan
        return float(self.units(np.asarray(float(value))))

    def from_unit(self, unit: float) -> Any:
        """Return the value at a place of the unit interval."""
        number = float(self.numbers(np.asarray(unit)))
        return self.values[int(number)] if self.values else int(number) if self.step else number


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in the order in which they were named; every method returns a new space.

    ``when={"head": "cnn"}`` or ``when={"head": ["cnn", "bilstm"]}`` is a condition: the parameter
    exists only with these values of one that comes earlier. What cannot be is a ConfigError.

    Examples
    --------
    >>> space = SearchSpace().continuous("dropout", 0, 0.5).categorical("head", ["linear", "cnn"])
    >>> space.from_row([0.5, 0.9])
    {'dropout': 0.25, 'head': 'cnn'}
    """

    parameters: tuple[Parameter, ...] = ()

    def continuous(self, name: str, low: float, high: float, when: When = None) -> "SearchSpace":
        """Add a number from a range."""
        return self._with_range(Parameter(name, "continuous", low, high), when)

    def log_uniform(self, name: str, low: float, high: float, when: When = None) -> "SearchSpace":
        """Add a positive number whose logarithm is uniform."""
        return self._with_range(Parameter(name, "log_uniform", low, high, log=True), when)

    def discrete(self, name: str, low: int, high: int, step: int = 1, log: bool = False,
                 when: When = None) -> "SearchSpace":
        """Add a whole number: low, low + step, ..., high."""
        return self._with_range(Parameter(name, "discrete", low, high, step, log), when)

    def ordered(self, name: str, values: Sequence[Any], when: When = None) -> "SearchSpace":
        """Add a choice among values of which neighbours are alike."""
        return self._with_values(name, "ordered", values, when)

    def categorical(self, name: str, values: Sequence[Any], when: When = None) -> "SearchSpace":
        """Add a choice among values without order: anything that JSON can hold."""
        return self._with_values(name, "categorical", values, when)

    def build(self) -> "SearchSpace":
        """Return the space: the end of a chain of calls."""
        return self

    def _with_range(self, new: Parameter, when: When) -> "SearchSpace":
        low, high, step, whole = new.low, new.high, new.step, new.kind == "discrete"
        fits = all(map(_is_whole if whole else _is_number, (low, high, step))) and (
            step >= 1 and low <= high and (high - low) % step == 0 if whole else low < high)
        if not fits or not isinstance(new.log, bool) or new.log and 2 * low <= step:
            raise ConfigError(
                f"{new.name}: the range is {low!r} to {high!r}" + f" by {step!r}" * whole
                + "; expected " + ("whole numbers, high some steps above low" if whole
                                   else "numbers, low < high") + ", low above 0" * bool(new.log))
        return self._with(new, when)

    def _with_values(self, name: str, kind: str, values: Any, when: When) -> "SearchSpace":
        try:
            plain = json.loads(json.dumps(values, allow_nan=False))
        except (TypeError, ValueError):
            plain = None
        if not isinstance(plain, list) or not plain or any(
                itertools.starmap(_same, itertools.combinations(plain, 2))):
            raise ConfigError(f"{name}: the values are {values!r}; expected a list of numbers, "
                              f"strings, true, false, null or lists, none of them twice")
        return self._with(Parameter(name, kind, 0, len(plain) - 1, 1, values=tuple(plain)), when)

    def _with(self, new: Parameter, when: When) -> "SearchSpace":
        if not isinstance(new.name, str) or new.name in self._named:
            raise ConfigError(f"{new.name!r}: expected a name that the space does not have yet")
        if not isinstance(when, Mapping | None):
            raise ConfigError(f"{new.name}: when is {when!r}; expected names with values")
        conditions = {}
        for name, wanted in (when or {}).items():
            parent = self._named.get(name)
            if parent is None or not parent.step:
                raise ConfigError(f"{new.name}: when names {name!r}; expected a parameter with "
                                  f"separate values that comes earlier")
            if not isinstance(wanted, list | tuple) or not math.isnan(parent.to_unit(wanted)):
                wanted = [wanted]
            if not wanted or any(math.isnan(parent.to_unit(value)) for value in wanted):
                raise ConfigError(f"{new.name}: when asks for {name} to be one of {wanted}; "
                                  f"expected values of {parent.to_dict()}")
            conditions[name] = tuple(wanted)
        return SearchSpace((*self.parameters, replace(new, when=conditions)))

    @functools.cached_property
    def _named(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    def get(self, name: str) -> Parameter:
        """Return a parameter by its name."""
        if name not in self._named:
            raise ConfigError(f"unknown parameter {name!r}; expected one of "
                              f"{', '.join(self._named)}")
        return self._named[name]

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "SearchSpace":
        """Build a space from {name: entry}.

        A list is categorical; a tuple of two ints is discrete and one with floats continuous;
        `log(low, high)` is on a log scale; a dict says all, as those that `to_dict` returns.

        Examples
        --------
        >>> space = SearchSpace.from_dict({"rows": [8, 16], "layers": (1, 4), "lr": log(1e-6, .1)})
        >>> [parameter.kind for parameter in space.parameters]
        ['categorical', 'discrete', 'log_uniform']
        """
        if not isinstance(entries, Mapping):
            raise ConfigError(f"the search space is {entries!r}; expected names with entries")
        space = cls()
        for name, entry in entries.items():
            if isinstance(entry, list):
                entry = {"kind": "categorical", "values": entry}
            elif isinstance(entry, tuple) and len(entry) == 2:
                entry = {"kind": "discrete" if all(map(_is_whole, entry)) else "continuous",
                         "low": entry[0], "high": entry[1]}
            if not isinstance(entry, Mapping) or entry.get("kind") not in [*_FIELDS]:
                raise ConfigError(f"{name} is {entry!r}; expected a list, a tuple (low, high), "
                                  f"log(low, high) or a dict with a kind: {', '.join(_FIELDS)}")
            known = _FIELDS[entry["kind"]]
            if not {*known} - {"step", "log"} <= {*entry} - {"kind"} <= {*known, "when"}:
                raise ConfigError(f"{name} is {entry!r}; {entry['kind']} takes {', '.join(known)}")
            rest = {key: value for key, value in entry.items() if key != "kind"}
            space = getattr(space, entry["kind"])(name, **rest)
        return space

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return {name: entry}, which JSON can hold and `from_dict` reads."""
        return {parameter.name: parameter.to_dict() for parameter in self.parameters}

    def only(self, *names: str) -> "SearchSpace":
        """Return the space of some of the parameters, in the order of this one."""
        wanted = [self.get(name) for name in names]
        return self.from_dict({p.name: p.to_dict() for p in self.parameters if p in wanted})

    def check(self, params: Params) -> None:
        """Raise a ConfigError that names the first value of a set that cannot be."""
        for name in [*params, *self._named]:
            parameter = self.get(name)
            if parameter.is_active(params) != (name in params):
                raise ConfigError(f"{name}: expected a value exactly where it is active; "
                                  f"found {params}")
            if name in params and math.isnan(parameter.to_unit(params[name])):
                raise ConfigError(f"{name} is {params[name]!r}; expected one of "
                                  f"{parameter.to_dict()}")

    def to_row(self, params: Params) -> np.ndarray:
        """Return the row (P,) of a set; NaN where it has no value that is one of the space."""
        return np.array([parameter.to_unit(params[parameter.name])
                         if parameter.name in params and parameter.is_active(params) else math.nan
                         for parameter in self.parameters])

    def from_row(self, row: Sequence[float] | np.ndarray) -> Params:
        """Return the set of a row (P,): what is active, in plain values.

        A number outside the unit interval is moved to its end, NaN to its middle.
        """
        params = {}
        units = np.where(np.isnan(row), 0.5, row).tolist()
        for parameter, unit in zip(self.parameters, units, strict=True):
            if parameter.is_active(params):
                params[parameter.name] = parameter.from_unit(min(max(unit, 0.0), 1.0))
        return params

    def settle(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (N, P) with steps on their values, and NaN where one is not active."""
        columns = {}
        for parameter, units in zip(self.parameters, np.transpose(rows), strict=True):
            units = parameter.units(parameter.numbers(units)) if parameter.step else units
            for name, values in parameter.when.items():
                wanted = np.array([self._named[name].to_unit(value) for value in values])
                same = np.abs(columns[name][:, None] - wanted) < 1e-12
                units = np.where(same.any(axis=1), units, np.nan)
            columns[parameter.name] = units
        return np.stack(list(columns.values()), axis=1)

    def size(self) -> int | None:
        """Return the number of sets, or None where there is no end of them."""
        if not all(parameter.step for parameter in self.parameters):
            return None
        tied = {name for p in self.parameters if p.when for name in (p.name, *p.when)}
        free = math.prod(p.size or 1 for p in self.parameters if p.name not in tied)
        return free * sum(1 for _ in self.only(*tied).grid())

    def grid(self) -> Iterator[Params]:
        """Return an iterator over all sets; the last parameter changes fastest."""
        sets: Iterator[Params] = iter([{}])
        for parameter in self.parameters:
            if not parameter.step:
                raise ConfigError(f"{parameter.name} is {parameter.kind}, which a grid cannot list;"
                                  f" expected discrete, ordered or categorical")
            sets = _with_each_value(sets, parameter)
        return sets


def _with_each_value(sets: Iterator[Params], parameter: Parameter) -> Iterator[Params]:
    for params in sets:
        if parameter.is_active(params):
            yield from ({**params, parameter.name: value} for value in parameter.grid())
        else:
            yield params


def _is_whole(value: Any) -> bool:
    """Beyond 2**53 a float64 does not know every whole number."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _same(one: Any, other: Any) -> bool:
    """Equality in which True is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
