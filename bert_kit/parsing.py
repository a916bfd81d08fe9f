"""JSON from strangers, read strictly: nothing said twice, nothing without end."""

import json
import math
from typing import Any, NoReturn

from bert_kit.errors import BertKitError

JSON_DEPTH = 100  # levels of lists and objects; no file in use has ten
JSON_VALUES = 10_000_000  # and commas in texts; SQuAD 2.0 has about 3 million


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise BertKitError(f"key {key!r} appears twice; expected it once")
        result[key] = value
    return result


def _refuse(constant: str) -> NoReturn:
    raise BertKitError(f"{constant} is not a JSON number")


def _finite(digits: str) -> float:  # 1e999 is spelled like a number and read as infinity
    return number if math.isfinite(number := float(digits)) else _refuse(digits[:20])


STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)


def parse_json(text: str, name: object, start: int | None = None) -> Any:
    """Parse JSON strictly: no key twice, no NaN or infinity, 100 levels, 10 million values.

    Parameters
    ----------
    start
        Where a value begins; then what follows it is left, and (value, its end) is returned.

    Raises
    ------
    BertKitError
        Names `name` and what is wrong with the text.
    """
    if start is None:
        check_count(text, name)
    try:
        value, end = STRICT.raw_decode(text, start) if start is not None else (
            STRICT.decode(text), None)
        check_depth(value)
    except BertKitError as error:
        raise BertKitError(f"{name}: {error}") from None
    except RecursionError:
        raise BertKitError(f"{name}: JSON is nested too deeply") from None
    except (UnicodeDecodeError, ValueError) as error:  # ValueError: also integers over 4,300 digits
        raise BertKitError(f"{name}: not valid JSON ({str(error).splitlines()[0]})") from None
    return value if start is None else (value, end)


def check_count(text: str, name: object) -> None:
    """Refuse JSON of too many values, before it is parsed: each is 60 bytes or more in memory.

    Raises
    ------
    BertKitError
        Names `name`.
    """
    most = sum(map(text.count, ",[{"))
    if most > JSON_VALUES:
        raise BertKitError(f"{name}: JSON of up to {most:,} values; at most {JSON_VALUES:,} are "
                           "read (of one object a line, .jsonl, any number)")


def check_depth(value: object) -> None:
    """Raise a RecursionError where nesting has no end: what walks the value need not fear one."""
    level = [value]
    for _ in range(JSON_DEPTH + 1):
        level = [child for each in level if isinstance(each, dict | list)
                 for child in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return
    raise RecursionError("it is nested too deeply")
