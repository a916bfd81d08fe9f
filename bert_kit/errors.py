"""The errors that the kit raises for bad input: one line each, meant for the user."""

_LONGEST = 1_000  # characters of a message


class BertKitError(ValueError):
    r"""Something the user gave cannot be used.

    The message is one line: the file, row or key, what was found, and what is expected. It may
    quote what a stranger wrote, so control characters are spelled out, and the middle of a long
    one is left out.

    Examples
    --------
    >>> print(BertKitError("the name is \x1b[31mred\n; expected text"))
    the name is \x1b[31mred ; expected text
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().splitlines())
        if len(line) > _LONGEST:
            line = f"{line[:_LONGEST * 2 // 3]} … {line[3 - _LONGEST // 3:]}"
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode()
                       for char in line)


class ConfigError(BertKitError):
    """A model or training setting has an impossible value."""


class UsageError(ConfigError):
    """An option has no meaning beside another one."""


class TokenizerError(BertKitError):
    """A vocabulary is missing, unreadable or unsuitable."""


class DataError(BertKitError):
    """A text, label, table or corpus cannot be used."""


class WeightsError(BertKitError):
    """A weight file or model folder is missing, damaged or does not fit the model."""


class TrainingError(BertKitError):
    """A training run cannot start, continue or resume."""


class NothingLearned(BertKitError):
    """A model was trained, scored and saved, and is no better than what has to be beaten."""


class TuningError(BertKitError):
    """A hyperparameter search cannot start, continue or resume."""
