"""The errors that the kit raises for bad input: one line each, meant for the user."""


class BertKitError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: the file, row or key, what was found, and what is expected.
    """


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


class TuningError(BertKitError):
    """A hyperparameter search cannot start, continue or resume."""
