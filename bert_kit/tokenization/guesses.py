"""Whether a vocabulary of which no file says it keeps case and accents does.

Judged are the pieces that a text can be cut into. One that holds letters beside a punctuation
sign is none of them, since a text is cut there: "[CLS]", "<S>" and "[unused1]" say nothing.
"""

import json
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

CASED = 0.05  # of the pieces with letters that have a case: a cased vocabulary has 20% and more
ACCENTED = 0.01  # of all pieces: one of an accented language that keeps them has 5% and more


def guess_cleaning(pieces: Sequence[str], folder: Path) -> dict[str, bool | None]:
    """Return what is taken for do_lower_case and strip_accents, and warn of both.

    Case is dropped where capitals are in fewer than one in twenty of the pieces that have a case.
    Accents then go with it, but where one piece in a hundred has a combining mark, alone or on a
    letter: the vowel signs of Indic scripts, the voicing of kana, the accents of Latin letters.

    Warns
    -----
    UserWarning
        Says what was taken, why, and what decides it.
    """
    bodies = _bodies(pieces)
    capitals = [body for body in bodies if body != body.lower()]
    with_case = [body for body in bodies if body.lower() != body.upper()]
    marked = [body for body in bodies if _has_marks(body)]
    lowercase = not capitals or len(capitals) < CASED * len(with_case)
    taken, why = {"do_lower_case": lowercase}, "the pieces are all lower-case"
    if capitals:
        why = (f"the pieces include upper-case letters ({len(capitals):,} of {len(with_case):,}, "
               f"as {capitals[0]!r:.20})")
    if lowercase:
        taken["strip_accents"] = len(marked) < ACCENTED * len(bodies) or not marked
        why += (f", and strip_accents as {taken['strip_accents']}, since {len(marked):,} of "
                f"{len(bodies):,} pieces have accents")
        if marked:
            why += f" (as {marked[0]!r:.20})"
    other = json.dumps({key: not value for key, value in taken.items()})
    warnings.warn(f"{folder}: no file sets do_lower_case; taken as {lowercase}, since {why}. "
                  f"{folder / 'tokenizer_config.json'} decides, for instance {other}", stacklevel=2)
    keeps = lowercase and not taken["strip_accents"]
    return {"do_lower_case": lowercase, "strip_accents": False if keeps else None}


def _has_marks(text: str) -> bool:
    """Say whether dropping accents would change a text.

    >>> _has_marks("é"), _has_marks("e"), _has_marks("के")
    (True, False, True)
    """
    return any(unicodedata.category(character) == "Mn"
               for character in unicodedata.normalize("NFD", text))


def _bodies(pieces: Sequence[str]) -> list[str]:
    """Return the pieces without "##", but for those that no text is cut into."""
    bodies = [piece.removeprefix("##") or piece for piece in pieces]
    return [body for body in bodies if len(body) == 1 or not any(map(is_punctuation, body))]


# Chinese and Japanese, Thai and Lao, Burmese, Khmer.
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF),
             (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def is_unspaced(character: str) -> bool:
    """Say whether a letter is of a script that puts no spaces between words.

    >>> is_unspaced("語"), is_unspaced("ก"), is_unspaced("한")
    (True, True, False)
    """
    return any(first <= ord(character) <= last for first, last in _UNSPACED)


def is_punctuation(character: str) -> bool:
    """Say whether BERT cuts a text at a character: as in its BasicTokenizer.

    >>> is_punctuation("$"), is_punctuation("。"), is_punctuation("a")
    (True, True, False)
    """
    ascii_sign = character.isascii() and character.isprintable() and not (
        character.isalnum() or character == " ")
    return ascii_sign or unicodedata.category(character).startswith("P")
