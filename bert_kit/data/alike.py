"""Names of classes that are probably one name, written in two ways.

`pos` and `Pos`, `1` and `1.0`, or é as one character and as two: a table that holds both trains a
class too many, and nobody is told why the scores are low.
"""

import unicodedata
from collections.abc import Callable, Iterable

from bert_kit.errors import DataError

# What programs write where there is nothing; the classes of a table seldom are called so.
_NOTHING = {"nan", "none", "null", "na", "n/a", "<na>", "nat"}
_TRUTH = {"true": "1.0", "false": "0.0"}  # as numbers mean them
_JOINERS = "\u200c\u200d"  # they change how the letters beside them look


def check_names(names: Iterable[str], where: Callable[[str], str] = lambda name: "") -> str:
    r"""Return a line about names that are odd, "" if there are none.

    Such are names that differ in letter case or form only, and those that mean nothing ("nan").

    Parameters
    ----------
    where
        Says where a name stands, as a message begins with it; "" for nothing to say.

    Raises
    ------
    DataError
        If two names look the same: they differ in spaces, in invisible characters or in how their
        accents are stored (Unicode NFC, NFD).

    Examples
    --------
    >>> check_names(["pos", "Pos", "neg"])
    "'pos' and 'Pos' are two names: write them alike if one is meant"
    """
    seen, told = {}, []
    for look in (_looks, _means):
        seen.clear()
        for name in names:
            other = seen.setdefault(look(name), name)
            if other == name:
                continue
            if look is _looks:
                raise DataError(f"{where(name)}: {ascii(name)} and {ascii(other)} look the same; "
                                "expected one way to write a name (plain spaces, and accents in "
                                "the Unicode form NFC)".removeprefix(": "))
            told.append(f"{other!r:.60} and {name!r:.60}")
    nothing = [name for name in seen.values() if name.casefold() in _NOTHING]
    return "; ".join(filter(None, [
        f"{', '.join(told[:3])} are two names: write them alike if one is meant" if told else "",
        f"{nothing[0]!r} is a name like others: leave those rows out if it means that there is none"
        if nothing else ""]))


def like(name: str, known: Iterable[str]) -> str:
    """Return a hint at a known name that a name probably is, or "".

    >>> like("Pos", ["neg", "pos"])
    " (is it 'pos'?)"
    """
    found = next((other for other in known if _means(other) == _means(name)), None)
    if found is None:
        return ""
    shown = ascii(found) if _looks(found) == _looks(name) else repr(found)
    return f" (is it {shown:.60}?)"


def _looks(name: str) -> str:
    """Return what is seen of a name: no invisible characters, accents composed."""
    visible = "".join(" " if char.isspace() else char for char in unicodedata.normalize("NFC", name)
                      if char.isspace() or char in _JOINERS
                      or unicodedata.category(char) not in ("Cc", "Cf"))
    return " ".join(visible.split()) or name


def _means(name: str) -> str:
    """Return a name without letter case, wide forms and quotes; a number as its value."""
    plain = unicodedata.normalize("NFKC", _looks(name)).casefold() or name
    plain = plain[1:-1] if len(plain) > 2 and plain[0] == plain[-1] in "'\"" else plain
    plain = _TRUTH.get(plain, plain)
    try:
        return repr(float(plain)) if "_" not in plain else plain
    except ValueError:
        return plain
