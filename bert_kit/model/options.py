"""Checks of the options of a classification head: each returns the value or says what fits."""

from bert_kit.errors import ConfigError

LARGEST = 2**28  # numbers in a part of a head: 1 GB, and nearly as many as BERT-large has


def check_size(count):
    """Refuse a part of a head before it is built: each option fits, and all together may not.

    Raises
    ------
    ConfigError
        If it would hold more than 2**28 numbers.
    """
    if count > LARGEST:
        raise ConfigError(f"the sizes ask for {count:,} numbers; expected at most {LARGEST:,}")


def whole(name, value, low, high):
    """Return a whole number from `low` to `high`.

    Raises
    ------
    ConfigError
        One line with the name, the value and the limits.

    Examples
    --------
    >>> whole("num_filters", 100, 1, 4096)
    100
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; expected a whole number from {low} to {high:,}")
    return value


def wholes(name, value, low, high, most=16, least=1):
    """Return a tuple of `least` to `most` whole numbers; a single number counts as a list of one.

    Raises
    ------
    ConfigError
        One line with the name, the value and the limits.
    """
    values = value if isinstance(value, list | tuple) else [value]
    if not least <= len(values) <= most or not all(
            isinstance(n, int) and not isinstance(n, bool) and low <= n <= high for n in values):
        raise ConfigError(f"{name} is {value!r}; expected {least} to {most} whole numbers "
                          f"from {low} to {high:,}")
    return tuple(values)


def number(name, value, low, high):
    """Return a number from `low` to `high` as a float.

    Raises
    ------
    ConfigError
        One line with the name, the value and the limits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)


def choice(name, value, choices):
    """Return one of the `choices`.

    Raises
    ------
    ConfigError
        One line with the name, the value and the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
    return value
