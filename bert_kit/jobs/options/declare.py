"""An option is declared once: as a field that gives a flag, a key of config files, and its checks.

An option group is a frozen dataclass of options with a `title`; the options of a job are a class
that inherits from its groups. A field's name is the flag and the key, its aliases are other
spellings of both. A value comes from the command line, else from the config file, else it is the
default.
"""

import contextlib
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from bert_kit.checks import one_of, whole
from bert_kit.errors import ConfigError, UsageError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
LARGEST = 2**32 - 1  # of whole numbers; a greater one is no number of steps, rows or threads
Group = TypeVar("Group", bound="Options")


# Of a spelling that the field uses for something else too: its value and all options by name
# -> what to expect instead, "" where there is no doubt.
Doubt = Callable[[Any, Mapping[str, Any]], str]


class Needs(NamedTuple):
    """What an option changes nothing without: in words, and as a question to the options."""

    text: str
    are_met: Callable[[Any], bool]


def option(default: Any, text: str, *aliases: str, choices: tuple | None = None,
           words: tuple[str, ...] = (), least: int | None = None, most: int = LARGEST,
           may_change: bool = False,
           needs: Needs | None = None, may_be_empty: bool = False,
           doubts: Mapping[str, Doubt] = types.MappingProxyType({}),
           before: object = dataclasses.MISSING,
           once: Mapping[str, tuple[object, object]] = types.MappingProxyType({})) -> Any:
    """Return a dataclass field that is also a flag.

    Parameters
    ----------
    default
        Its value where nothing is given.
    text
        What --help says.
    *aliases
        Other spellings.
    choices
        The only values there are.
    words
        Values besides the numbers of a number field, such as "auto".
    least, most
        Smallest and largest value of a whole number.
    may_change
        Whether a run that goes on may have another value: it changes nothing that is computed.
    needs
        Without which a value other than the default is refused, since it would change nothing.
    may_be_empty
        Whether "" is a value, as of a text; elsewhere it is a shell variable that is not set.
    doubts
        {alias: what is said where it may be meant otherwise than the option}, see `Doubt`.
    before
        What a run had that began when there was no such option, or another default.
    once
        {an older spelling that took true or false: the values that these are now}, false first.
    """
    return dataclasses.field(default=default, metadata={
        "help": text, "aliases": aliases, "choices": choices, "words": words, "least": least,
        "most": most, "may_change": may_change, "needs": needs, "may_be_empty": may_be_empty,
        "doubts": doubts, "once": once,
        **({} if before is dataclasses.MISSING else {"before": before})})


def with_defaults(help: Mapping[str, str] | None = None,
                  spellings: Mapping[str, tuple[str, ...]] | None = None,
                  before: Mapping[str, object] | None = None,
                  **defaults: object) -> Callable[[type[Group]], type[Group]]:
    """Give options that a class inherits other defaults, words in --help, and more spellings.

    An option whose default is now None may be None. What it was `before` is as in `option`.
    """
    def change(options: type[Group]) -> type[Group]:
        inherited = {field.name: field for base in reversed(options.__mro__)
                     for field in vars(base).get("__dataclass_fields__", {}).values()}
        for name in {**defaults, **(help or {}), **(spellings or {}), **(before or {})}:
            field = inherited[name]
            default, about = defaults.get(name, field.default), dict(field.metadata)
            about["help"] = (help or {}).get(name, about["help"])
            about["aliases"] += (spellings or {}).get(name, ())
            about.update({"before": before[name]} if before and name in before else {})
            options.__annotations__[name] = field.type | None if default is None else field.type
            setattr(options, name, dataclasses.field(default=default, metadata=about))
        return options
    return change


@dataclass(frozen=True)
class Options:
    """Some options of a job; converted and checked when they are made, before any work.

    Raises
    ------
    ConfigError
        Names the option, its value and what is expected.
    """

    title: ClassVar[str] = "options"

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in fields_of(type(self)):
            value, about = getattr(self, field.name), field.metadata
            try:
                value = _convert(value, hints[field.name], about["words"])
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{field.name} is {value!r}; expected {error}") from None
            if value is not None:
                for one in value if isinstance(value, tuple) else (value,):
                    if about["choices"] is not None:
                        one_of(field.name, one, about["choices"])
                    if type(one) is int:
                        least = -LARGEST if about["least"] is None else about["least"]
                        whole(field.name, one, least, about["most"])
            if (value in ("", (), ("",)) and field.default is None
                    and not about["may_be_empty"]):  # a shell variable that is not set
                raise ConfigError(f"{field.name} is empty; expected a value, or leave it out")
            object.__setattr__(self, field.name, value)

    def check_use(self) -> None:
        """Refuse a value that would change nothing, beside the others.

        Raises
        ------
        UsageError
            Names the option and what it needs.
        """
        for field in fields_of(type(self)):
            value, needs = getattr(self, field.name), field.metadata["needs"]
            if needs is not None and value != field.default and not needs.are_met(self):
                raise UsageError(f"{field.name} is {_shown(value)}, which changes nothing without "
                                 f"{needs.text}; leave it out")

    def replace(self, **changes: object) -> Self:
        """Return a copy with some options changed, checked like any other."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {field.name: getattr(self, field.name) for field in fields_of(type(self))}

    @classmethod
    def from_names(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Return options from {name or alias: value}; see `named`."""
        return cls(**named(cls, values, source))


def composed(name: str, groups: tuple[type[Options], ...],
             change: Callable[[type[Any]], type[Any]] = lambda made: made) -> type[Any]:
    """Return a class of options made of groups, of which the first counts; see `with_defaults`."""
    return dataclass(frozen=True)(change(type(name, groups, {
        "__annotations__": {}, "__module__": groups[0].__module__, "__doc__": groups[0].__doc__})))


def fields_of(options: type[Options]) -> tuple[dataclasses.Field, ...]:
    """Return the fields that are options."""
    return tuple(field for field in dataclasses.fields(options) if "help" in field.metadata)


def group_of(options: type[Options], name: str) -> type[Options]:
    """Return the group that an option was declared in first."""
    return next(base for base in reversed(options.__mro__)
                if name in base.__dict__.get("__annotations__", {}))


def spellings(options: type[Options]) -> dict[str, str]:
    """Return {spelling: field name}, for the names and all aliases."""
    return {name: field.name for field in fields_of(options)
            for name in (field.name, *field.metadata["aliases"], *field.metadata["once"])}


def value_today(field: dataclasses.Field, name: str, value: object) -> object:
    """Return the value of an option that was given under some spelling, as it is called today."""
    if name not in field.metadata["once"]:
        return value
    try:
        return field.metadata["once"][name][bool(one_value(value, bool))]
    except ValueError as error:
        raise ConfigError(f"{name} is {value!r}; expected {error}") from None


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Return a hint at the spelling that was probably meant."""
    near = difflib.get_close_matches(name.replace("-", "_"), [*known], n=1)
    return f"did you mean {near[0]!r}?" if near else "see --help for those there are"


def named(options: type[Options], values: Mapping[str, Any], source: str = "settings",
          beside: Mapping[str, Any] = types.MappingProxyType({})) -> dict[str, Any]:
    """Return {field name: value} from {name or alias: value}; a mapping as a value is a section.

    Parameters
    ----------
    beside
        {field name: value} of what else is given, for a spelling whose meaning depends on it.

    Raises
    ------
    ConfigError
        If a name is unknown or an option is given twice: a misspelt option is never ignored. Or
        if a spelling may be meant otherwise here.
    """
    known, given, used = spellings(options), {}, {}
    fields = {field.name: field for field in fields_of(options)}
    for name, value in flattened(values):
        field = known.get(name.replace("-", "_"))
        if field is None:
            raise ConfigError(f"{source}: unknown option {name!r}; {nearest(name, known)}")
        if field in given:
            raise ConfigError(f"{source}: {name!r} sets {field} a second time, after "
                              f"{used[field]!r}; expected one of them")
        given[field], used[field] = value_today(fields[field], name.replace("-", "_"), value), name
    together = {name: field.default for name, field in fields.items()} | dict(beside) | given
    for field, name in used.items():
        doubt = fields[field].metadata["doubts"].get(name.replace("-", "_"))
        expected = "" if doubt is None or given[field] is None else doubt(given[field], together)
        if expected:
            raise UsageError(f"{name} is {_shown(given[field])}; {expected}")
    return given


def given_options(settings: Mapping[str, Any] = types.MappingProxyType({}),
                  **values: object) -> dict[str, Any]:
    """Return a function's own arguments, but those left out (None), with the `settings` beside.

    Raises
    ------
    UsageError
        If one of them stands in both.
    """
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name in settings:
            raise UsageError(f"{name} is {_shown(settings[name])}, and was given as "
                             f"{_shown(given[name])} already; expected one of them")
    return {**given, **settings}


def flattened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of a mapping and of the sections in it."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flattened(value)
        else:
            yield str(name), value


def kind_of(hint: Any) -> tuple[type, int | None]:
    """Return (type, length) of an annotation: length None is one value, 0 a tuple of any length.

    >>> kind_of(tuple[int, ...] | None), kind_of(tuple[float, float]), kind_of(float | str)
    ((<class 'int'>, 0), (<class 'float'>, 2), (<class 'float'>, None))
    """
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is not tuple:
        return hint, None
    kinds = typing.get_args(hint)
    return kinds[0], 0 if Ellipsis in kinds else len(kinds)


def _convert(value: object, hint: Any, words: tuple[str, ...]) -> object:
    """Return `value` as the annotation has it; ValueError says what was expected."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in allowed:
        return None
    kind, length = kind_of(hint)
    if length is None:
        return one_value(value, kind, words)
    if isinstance(value, str) and kind is not str:  # "(0.9, 0.999)", a Python tuple in YAML
        value = [part for part in re.split(r"[\s,]+", value.strip("()[] ")) if part]
    values = value if isinstance(value, list | tuple) else [value]
    if length and len(values) != length:
        raise ValueError(f"{length} values")
    return tuple(one_value(part, kind) for part in values)


def one_value(value: object, kind: type, words: tuple[str, ...] = ()) -> object:
    """Return one value as `kind`, or as one of the `words`; ValueError says what was expected."""
    if value in words:
        return value
    if kind is bool and isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str | Path):
        return str(value)
    if kind in (int, float) and isinstance(value, int | float | str) and not isinstance(
            value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = kind(value)
            if isinstance(value, str) or number == value:  # not 2.5 for a whole number, not NaN
                return number
    wanted = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}[kind]
    raise ValueError(" or ".join([wanted, *words]))


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
