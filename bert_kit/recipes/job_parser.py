"""What a job shows on the command line: its help and its usage."""

import argparse


class JobParser(argparse.ArgumentParser):
    """The parser of a job: it refuses what it does not know itself, with its own usage."""

    def parse_known_args(self, args=None, namespace=None):
        """Parse arguments as the parser of all jobs asks it to; there is never one left over."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
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
