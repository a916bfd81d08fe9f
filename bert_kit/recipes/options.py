"""Settings of a job, declared once: as a dataclass that gives flags, config-file keys and checks.

A field's name is the flag and the key; its aliases are other spellings of both. A value comes from
the command line, else from the config file, else it is the default.
"""

import argparse
import contextlib
import dataclasses
import difflib
import functools
import re
import tomllib
import types
import typing
from pathlib import Path

from bert_kit.errors import BertKitError, ConfigError
from bert_kit.files import check_depth, check_readable, read_json
from bert_kit.recipes.job_parser import default_text

_LONGEST = 2**15  # bytes of TOML or YAML; a key in a key in a key takes the square of it in memory
_METAVARS = {int: "N", float: "X", bool: "true|false", str: "NAME"}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def option(default, text, *aliases, group, choices=None, words=()):
    """Return a dataclass field that is also a flag.

    Parameters
    ----------
    default : object
    text : str
        What --help says.
    *aliases : str
        Other spellings.
    group : str
        Heading in --help.
    choices : tuple, optional
        The only values there are.
    words : tuple of str
        Values besides the numbers of a number field, such as "auto".
    """
    return dataclasses.field(default=default, metadata={
        "help": text, "aliases": aliases, "group": group, "choices": choices, "words": words})


def spellings(settings_class):
    """Return {spelling: field name}, for the names and all aliases."""
    found = {}
    for field in dataclasses.fields(settings_class):
        for name in (field.name, *field.metadata["aliases"]):
            found[name] = field.name
    return found


def check_fields(settings):
    """Convert every field of a settings object to its declared type, in place; refuse the rest.

    Raises
    ------
    ConfigError
        Names the option, its value and what is expected.
    """
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        choices = field.metadata["choices"]
        try:
            value = _convert(value, hints[field.name], field.metadata["words"])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{field.name} is {value!r}; expected {error}") from None
        if choices is not None and value is not None and value not in choices:
            raise ConfigError(f"{field.name} is {value!r}; expected one of "
                              f"{', '.join(map(str, choices))}")
        object.__setattr__(settings, field.name, value)


def named(settings_class, values, source="settings"):
    """Return {field name: value} from {name or alias: value}; a mapping as a value is a section.

    Raises
    ------
    ConfigError
        If a name is unknown or an option is given twice: a misspelt option is never ignored.
    """
    known, found = spellings(settings_class), {}
    for name, value in _flatten(values):
        field = known.get(name.replace("-", "_"))
        if field is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see --help for those there are"
            raise ConfigError(f"{source}: unknown option {name!r}; {hint}")
        if field in found:
            raise ConfigError(f"{source}: {name!r} sets {field} a second time")
        found[field] = value
    return found


def make_settings(settings_class, given, settings):
    """Return settings from a function's own arguments, where not None, and others by any name."""
    return settings_class(**named(settings_class, {
        **{name: value for name, value in given.items() if value is not None}, **settings}))


def read_config_file(path):
    """Return the mapping in a .toml, .json, .yml or .yaml file; YAML where PyYAML is installed.

    Of a file that the kit wrote, a run's manifest.json or a best configuration of `tune`, it is
    the settings in it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        values = read_json(path)
        return _options(path, values["settings"] if {"bert_kit", "settings"} <= values.keys()
                        else values)
    if suffix not in (".toml", ".yml", ".yaml"):
        raise ConfigError(f"{path}: expected a file ending in .toml, .json, .yml or .yaml")
    kind, parse = ("TOML", tomllib.loads) if suffix == ".toml" else ("YAML", _yaml_reader(path))
    try:
        check_readable(path, _LONGEST)
        values = parse(path.read_text("utf-8-sig"))
        check_depth(values)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
                          ) from None
    except BertKitError:
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path}: not valid {kind} ({reason})") from None
    return _options(path, values)


def _options(path, values):
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, expected options by name")
    return values


def _yaml_reader(path):
    """Return a function that reads YAML as strictly as JSON and TOML are read."""
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{path}: YAML needs the package pyyaml; install it, or write the same "
                          "as .toml or .json") from None

    class Strict(yaml.SafeLoader):
        def compose_node(self, parent, index):  # with a few of them, a page is a terabyte
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("an alias; expected the value itself")
            return super().compose_node(parent, index)

        def construct_mapping(self, node, deep=False):
            mapping = super().construct_mapping(node, deep)
            if len(mapping) < len(node.value):
                raise yaml.YAMLError("a key appears twice; expected it once")
            return mapping
    return functools.partial(yaml.load, Loader=Strict)


def add_arguments(parser, settings_class, leave_out=()):
    """Give an argparse parser one flag a field; what is not typed is absent from the result."""
    hints = typing.get_type_hints(settings_class)
    fields = {field.name: field for field in dataclasses.fields(settings_class)}
    # The headings stand as in the class itself, before any more of the class that it builds on.
    order = [name for name in settings_class.__annotations__ if name in fields]
    titles = dict.fromkeys(fields[name].metadata["group"] for name in (*order, *fields))
    groups = {title: parser.add_argument_group(title) for title in titles}
    for field in fields.values():
        if field.name in leave_out:
            continue
        about, hint = field.metadata, hints[field.name]
        kind, length = _kind(hint)
        shape = {"nargs": "?", "const": True} if kind is bool else {}
        if length is not None:
            shape = {"nargs": length or "+"}
        default = field.default
        hidden = default is None or default is False or "default" in about["help"]
        shown = "" if hidden else f" (default: {default_text(default)})"
        groups[about["group"]].add_argument(
            *(f"--{name}" for name in (field.name, *about["aliases"])), dest=field.name,
            default=argparse.SUPPRESS, help=(about["help"] + shown).replace("%", "%%"),
            choices=about["choices"],
            metavar=None if about["choices"] else _METAVARS[kind],
            type=_parser_type(kind, about["words"]), **shape)


def same_spelling(arguments):
    """Return command-line arguments with the dashes inside flag names as underscores."""
    return [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument)
            for argument in arguments]


def _flatten(values):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value)
        else:
            yield str(name), value


def _kind(hint):
    """Return (type, length) of an annotation: length None is one value, 0 a tuple of any length.

    >>> _kind(tuple[int, ...] | None), _kind(tuple[float, float]), _kind(float | str)
    ((<class 'int'>, 0), (<class 'float'>, 2), (<class 'float'>, None))
    """
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is not tuple:
        return hint, None
    kinds = typing.get_args(hint)
    return kinds[0], 0 if Ellipsis in kinds else len(kinds)


def _convert(value, hint, words):
    """Return `value` as the annotation has it; ValueError says what was expected."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in allowed:
        return None
    kind, length = _kind(hint)
    if length is None:
        return _one(value, kind, words)
    if isinstance(value, str) and kind is not str:  # "(0.9, 0.999)", a Python tuple in YAML
        value = [part for part in re.split(r"[\s,]+", value.strip("()[] ")) if part]
    values = value if isinstance(value, list | tuple) else [value]
    if length and len(values) != length:
        raise ValueError(f"{length} values")
    return tuple(_one(part, kind) for part in values)


def _one(value, kind, words=()):
    """Return one value as `kind`, or as one of the `words`; ValueError says what was expected."""
    if value in words:
        return value
    if kind is bool and isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str | Path):
        return str(value)
    if kind in (int, float) and isinstance(value, int | float | str) and value is not True \
            and value is not False:
        with contextlib.suppress(ValueError, OverflowError):
            number = kind(value)
            if isinstance(value, str) or number == value:  # not 2.5 for a whole number, not NaN
                return number
    wanted = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}[kind]
    raise ValueError(" or ".join([wanted, *words]))


def _parser_type(kind, words):
    def parse(text):
        try:
            return _one(text, kind, words)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from None
    return parse
