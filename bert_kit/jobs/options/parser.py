"""A job on the command line: one flag an option, and help that begins with what matters."""

import argparse
import contextlib
import re
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bert_kit.errors import ConfigError
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.options.declare import (Options, fields_of, flattened, group_of, kind_of,
                                           named, nearest, one_value, spellings)

_METAVARS = {int: "N", float: "X", bool: "true|false", str: "NAME"}


def parse(job: str, options: type[Options], arguments: Sequence[str],
          elsewhere: Callable[[str], str | None] = lambda name: None) -> Any:
    """Return the options of a job: command line over config file over defaults.

    Parameters
    ----------
    options
        Their class. It may have `examples`, command lines to begin the help with, `main`, the
        options that matter most, and `positional`, one that needs no flag.
    elsewhere
        Says of the name of an unknown option where there is one of that name, if anywhere.
    """
    parser = JobParser(f"bert-kit {job}", options, elsewhere)
    given = vars(parser.parse_args(same_spelling(arguments)))
    flags, config = given.pop("_flags", {}), given.pop("config", None)
    stored = {} if config is None else named(options, read_config_file(config), config)
    typed = {}
    for name, value in given.items():  # under the spelling that was typed
        flag = (flags[name] or name).lstrip("-")
        typed[flag if flag in spellings(options) else name] = value  # --no_cuda is none
    return options.from_names({**stored, **named(options, typed, "command line", stored)})


def same_spelling(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with the dashes inside flag names as underscores."""
    return [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument)
            for argument in arguments]


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """Return what a flag is given on a command line, the last time, without parsing the rest."""
    value = None
    for place, argument in enumerate(same_spelling(arguments)):
        if argument.startswith(f"--{name}="):
            value = argument.partition("=")[2]
        if argument == f"--{name}" and place + 1 < len(arguments):
            value = arguments[place + 1]
    return value


class _OneSpelling(argparse.Action):
    """Store a value; under another spelling a second one is refused. (The same flag may be
    repeated, as everywhere on a command line: the last one counts.)"""

    def __call__(self, parser, namespace, values, option_string=None):
        flags = namespace.__dict__.setdefault("_flags", {})
        if flags.get(self.dest, option_string) != option_string:
            parser.error(f"{flags[self.dest]} and {option_string} both set {self.dest}; expected "
                         "one of them")
        flags[self.dest] = option_string
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)


class JobParser(argparse.ArgumentParser):
    """The parser of a job; what is not typed is absent from its result."""

    def __init__(self, program: str, options: type[Options],
                 elsewhere: Callable[[str], str | None]) -> None:
        examples = getattr(options, "examples", ())
        super().__init__(
            program, usage=f"{program} [options]; --help lists them", allow_abbrev=False,
            formatter_class=JobHelp, description="\n".join(f"  {line}" for line in examples)
            or options.__doc__)
        self.options, self.elsewhere = options, elsewhere
        self.add_argument("--config", metavar="NAME", default=argparse.SUPPRESS,
                          help="file with options, .toml, .json or .yml")
        fields = {field.name: field for field in fields_of(options)}
        main = getattr(options, "main", ())
        groups = {title: self.add_argument_group(title) for title in dict.fromkeys(
            ["what matters most"] * bool(main)
            + [group_of(options, name).title for name in fields])}
        hints = typing.get_type_hints(options)
        for name in (*main, *(name for name in fields if name not in main)):
            title = "what matters most" if name in main else group_of(options, name).title
            self._add(groups[title], fields[name], hints[name])
        for name, flag, value, text in (("device", "--no_cuda", "cpu", "--device cpu"),
                                        ("plots", "--no_plots", False, "--plots false")):
            if name in fields:
                groups[group_of(options, name).title].add_argument(
                    flag, action=_OneSpelling, nargs=0, const=value, dest=name,
                    default=argparse.SUPPRESS, help=f"the same as {text}")

    def _add(self, group: Any, field: Any, hint: Any) -> None:
        about = field.metadata
        kind, length = kind_of(hint)
        shape: dict[str, Any] = {"nargs": "?", "const": True} if kind is bool else {}
        if length is not None:
            shape = {"nargs": length or "+"}
        hidden = (field.default in (None, "", ()) or field.default is False
                  or "default" in about["help"])
        shown = "" if hidden else f" (default: {default_text(field.default)})"
        names = [f"--{name}" for name in (field.name, *about["aliases"])]
        if field.name == getattr(self.options, "positional", None):
            names, shape = [field.name], {"nargs": "*"} if length is not None else {}
        else:
            shape["dest"] = field.name
        group.add_argument(
            *names, action=_OneSpelling, default=argparse.SUPPRESS,
            help=(about["help"] + shown).replace("%", "%%"), choices=about["choices"],
            metavar=None if about["choices"] or names[0][0] != "-" else _METAVARS[kind],
            type=_parser_type(kind, about["words"]), **shape)
        for name in about["once"]:
            group.add_argument(f"--{name}", action=_OneSpelling, default=argparse.SUPPRESS,
                               help=argparse.SUPPRESS, type=_parser_type(bool, ()), nargs="?",
                               const=True, dest=field.name)

    def parse_args(  # type: ignore[override]
            self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        """Parse arguments; an unknown flag is told with the one that was probably meant."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].lstrip("-").partition("=")[0]
            where = self.elsewhere(name)
            self.error(f"unrecognized arguments: {' '.join(unknown)}; "
                       + (where or nearest(name, spellings(self.options))))
        return known

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or usage; argparse's own passes over a standard output that is full."""
        with contextlib.suppress(*[OSError] * (file is not sys.stdout)):
            print(message, end="", file=file)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


class JobHelp(argparse.RawDescriptionHelpFormatter):
    """Help that shows a flag's values once, not again for each of its spellings."""

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {values}"


def default_text(value: object) -> str:
    """Return a default as it would be typed.

    >>> default_text((0.9, 0.999)), default_text(True)
    ('0.9 0.999', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _parser_type(kind: type, words: tuple[str, ...]) -> Callable[[str], object]:
    def parse_one(text: str) -> object:
        try:
            return one_value(text, kind, words)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from None
    return parse_one


def config_value(arguments: Sequence[str], name: str) -> object:
    """Return what a command line or its config file says of an option, or None."""
    typed = value_of(arguments, name)
    path = value_of(arguments, "config")
    if typed is not None or path is None:
        return typed
    try:
        values = read_config_file(path)
    except ConfigError:
        return None  # told when the options are read
    return next((value for key, value in flattened(values) if key == name), None)
