"""What a job shows on the command line: its help, its usage, and the flags in its errors."""

import argparse
import re


class JobParser(argparse.ArgumentParser):
    """The parser of a job. It refuses what it does not know itself, with its own usage.

    The result has `flags`, the names of all that it knows.
    """

    def parse_known_args(self, args=None, namespace=None):
        """Parse arguments as the parser of all jobs asks it to; there is never one left over."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        known.flags = [flag[2:] for flag in self._option_string_actions if flag.startswith("--")]
        return known, unknown


class JobHelp(argparse.HelpFormatter):
    """Help that shows a flag's values once, not again for each of its spellings, and defaults."""

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {values}"

    def _get_help_string(self, action):
        text, default = action.help or "", action.default
        if (action.nargs == 0 or "default" in text or default is None
                or default is argparse.SUPPRESS):
            return text
        return f"{text} (default: {default_text(default)})".replace("%", "%%").strip()


def default_text(value):
    """Return a default as it would be typed.

    >>> default_text((0.9, 0.999)), default_text(True)
    ('0.9 0.999', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def with_flags(message, flags):
    """Return an error's message with the options in it as the flags that they are.

    A name with _ in it is one wherever it stands free; one without, which is a word as well, where
    something is said of it. What is in quotes or in a path stays, and so do the keys of a file.

    >>> with_flags("seed is -1; give a val_size, not 'val_size', or seed", ["seed", "val_size"])
    "--seed is -1; give a --val_size, not 'val_size', or seed"
    """
    if re.search(r"\.(json|toml|ya?ml)\b", message):
        return message
    names = "|".join(sorted(map(re.escape, flags), key=len, reverse=True))
    plain = rf"(?:^|(?<=: ))(?:{names})(?= (?:is|are|was|has|names|and|says)\b)"
    joined = rf"(?<![\w/.'\"=-])(?=\w*_)(?:{names})(?![\w/.'\"=(])"
    return re.sub(f"{plain}|{joined}", lambda name: f"--{name[0]}", message)
