"""A vocabulary as a text file: one piece a line, the number of the line from 0 is the id."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_kit.errors import TokenizerError
from bert_kit.files import JSON_LIMIT, check_readable


def read_vocab_txt(path: Path) -> list[str]:
    """Return the pieces of a vocab.txt, in the order of their ids.

    Raises
    ------
    TokenizerError
        If the file has no piece, is too large, or not UTF-8.

    Warns
    -----
    UserWarning
        If a piece comes twice: the later line counts.
    """
    try:
        check_readable(path, JSON_LIMIT)
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # splitlines cuts at U+2028 too
    except UnicodeDecodeError:
        raise TokenizerError(f"{path}: not UTF-8 text; expected one piece a line") from None
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read ({error.strerror})") from None
    pieces = [line.rstrip(" \t\r") for line in lines]  # no piece ends with one
    while pieces and not pieces[-1]:
        pieces.pop()
    if not pieces:
        raise TokenizerError(f"{path}: empty; expected one piece a line")
    for number, before, piece in _repeated(pieces):
        warnings.warn(f"{path}: line {number} repeats {piece!r:.40} of line {before}; the later "
                      "one counts, as in transformers", stacklevel=2)
        pieces[before - 1] = f"{piece} of line {before}"  # no text has a piece with a space
    return pieces


def _repeated(pieces: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (line, earlier line, piece) of each piece that is there already."""
    last: dict[str, int] = {}
    for number, piece in enumerate(pieces, start=1):
        if piece in last:
            yield number, last[piece], piece
        last[piece] = number
