"""One text as pieces, and many texts given to the library that cuts them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tokenizers import Tokenizer as Backend

from bert_kit.errors import BertKitError, TokenizerError

_CHUNK = 1_024  # texts handed to the library at a time: enough for its threads, little memory
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, as broken JSON escapes leave it


class Encoding(NamedTuple):
    """One row, as lists of one length.

    Attributes
    ----------
    ids
        Numbers of the pieces.
    type_ids
        Segment, 0 or 1.
    word_ids
        Number of the word in its text, counted from 0 in A and again in B; None at a special
        token. Pieces with the same number are one word.
    offsets
        The characters of the text that the piece stands for, as in `text[start:end]`; (0, 0) at
        a special token. Empty where they were not asked for.
    """

    ids: list[int]
    type_ids: list[int]
    word_ids: list[int | None]
    offsets: Sequence[tuple[int, int]]


def encoded(backend: Backend, texts: Sequence[str]) -> Iterator[Any]:
    """Yield each text as the library's encoding, without special tokens."""
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start:start + _CHUNK]
        try:
            yield from backend.encode_batch(chunk, add_special_tokens=False)
        except TypeError:  # what the library says to lone surrogates
            chunk = [SURROGATE.sub("\ufffd", text) for text in chunk]
            yield from backend.encode_batch(chunk, add_special_tokens=False)


def check_texts(texts: Iterable[str], name: str,
                error: type[BertKitError] = TokenizerError) -> Iterator[str]:
    """Yield the texts, after a look at each: the first that is no string is an `error`."""
    if isinstance(texts, str):
        raise error(f"{name} is one string; expected a sequence of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise error(f"row {row} of {name} is {str(text)[:40]!r}, of type "
                        f"{type(text).__name__}; expected a string")
        yield text
