"""How a running text is cut into words, so that they are those of the training file.

BERT's cleaning cuts a text at spaces and around each punctuation sign. Files of tagged words often
keep signs inside a word, "u.s." or "new-york", and only its first piece was given a tag in
training. `learn_cut` sees which signs those are, and `word_spans` joins such words again.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.encoding import Encoding
from bert_kit.tokenization.guesses import is_punctuation
from bert_kit.tokenization.words import encode_with_offsets

Span = tuple[int, int]

ABBREVIATED = 2  # letters between the signs of an abbreviation: "u.s.", "Ph.D."
# Blocks of Chinese characters, each a word to BERT (`_is_chinese_char` of its tokenization.py).
_CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
            (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


class WordCut(NamedTuple):
    """Which signs stay inside a word; without any, BERT's own cut.

    Attributes
    ----------
    joined
        Signs that stand inside or at the end of longer words, more often than at their beginning.
    alone
        Of these, the ones that are words of their own as well, such as the full stop.
    """

    joined: str = ""
    alone: str = ""


def learn_cut(words: Iterable[str]) -> WordCut:
    """Return which signs the words of a training file keep.

    Examples
    --------
    >>> learn_cut(["the", "u.s.", "and", "new-york", "'s", "."])
    WordCut(joined='-.', alone='.')
    """
    alone, more = set(), Counter()
    for word, count in Counter(words).items():
        if len(word) == 1:
            alone.add(word)
        elif any(map(str.isalnum, word)):
            for place, sign in enumerate(word):
                if is_punctuation(sign):
                    more[sign] += count if place else -count
    joined = "".join(sorted(sign for sign, count in more.items() if count > 0))
    return WordCut(joined, "".join(sign for sign in joined if sign in alone))


def word_spans(text: str, tokenizer: Tokenizer, cut: WordCut = WordCut()) -> list[Span]:
    """Return the (start, end) characters of the words of a text.

    It is cut at spaces and around each punctuation sign, as BERT's cleaning does; where no space
    is, a sign of `cut.joined` keeps the word together. At the end or the beginning of a stretch
    without spaces a sign that may stand alone is a word of its own, except in abbreviations:
    "London." are two words and "u.s." is one.

    Examples
    --------
    >>> from bert_kit import train_tokenizer
    >>> tokenizer = train_tokenizer(["it s hot in the u.s. of new-york ' ."], 60, 1)
    >>> word_spans("It's  hot.", tokenizer)
    [(0, 2), (2, 3), (3, 4), (6, 9), (9, 10)]
    >>> text = "In the u.s. or New-York."
    >>> [text[start:end] for start, end in word_spans(text, tokenizer, WordCut("-.", "."))]
    ['In', 'the', 'u.s.', 'or', 'New-York', '.']
    """
    if tokenizer.is_wordpiece:
        (row,) = encode_with_offsets([text], tokenizer)
        spans = _spans(row)
    else:  # whose words are what stands between spaces
        spans = cut_at_signs(text)
    if not cut.joined:
        return spans
    words, stretch = [], spans[:1]
    for before, span in pairwise(spans):
        if before[1] != span[0]:
            words += _joined(text, stretch, cut)
            stretch = []
        stretch.append(span)
    return words + _joined(text, stretch, cut)


def cut_at_signs(text: str) -> list[Span]:
    """Return the (start, end) characters of the words of a text, without any tokenizer.

    That is BERT's own cut: at spaces, and around each punctuation sign and Chinese character.
    Control characters belong to no word. `word_spans` without signs to join gives the same.

    Examples
    --------
    >>> cut_at_signs("It's  hot.")
    [(0, 2), (2, 3), (3, 4), (6, 9), (9, 10)]
    """
    words, start, end = [], None, 0
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == "letter":
            start, end = place if start is None else start, place + 1
        elif kind != "control":
            if start is not None:
                words.append((start, end))
            start = None
            if kind == "sign":
                words.append((place, place + 1))
    return words if start is None else [*words, (start, end)]


@lru_cache(2**16)
def _kind(character: str) -> str:
    """Say what a character is to BERT's cleaning."""
    if character in "\t\n\r":
        return "space"
    if character == "\ufffd" or unicodedata.category(character).startswith("C"):
        return "control"
    if character.isspace():
        return "space"
    chinese = any(first <= ord(character) <= last for first, last in _CHINESE)
    return "sign" if chinese or is_punctuation(character) else "letter"


def _spans(row: Encoding) -> list[Span]:
    """Return the characters of each word of an encoded text."""
    spans = {}
    for word, (start, end) in zip(row.word_ids, row.offsets, strict=True):
        first, _ = spans.get(word, (start, end))
        spans[word] = first, end
    return list(spans.values())


def _joined(text: str, spans: list[Span], cut: WordCut) -> list[Span]:
    """Return the words of a stretch without spaces."""
    parts = [text[start:end] for start, end in spans]
    first, last = 0, len(parts)
    while last - first > 1 and _is_alone(parts[last - 1], parts[first:last - 1], cut):
        last -= 1
    while last - first > 1 and _is_alone(parts[first], parts[first + 1:last][::-1], cut):
        first += 1
    words = spans[:first]
    for place in range(first, last):
        if place > first and any(_is_sign(part) and part in cut.joined
                                 for part in parts[place - 1:place + 1]):
            words[-1] = words[-1][0], spans[place][1]
        else:
            words.append(spans[place])
    return words + spans[last:]


def _is_sign(part: str) -> bool:
    return len(part) == 1 and is_punctuation(part)


def _is_alone(part: str, rest: list[str], cut: WordCut) -> bool:
    """Say whether a part at an edge of a stretch is a word of its own; `rest` ends beside it.

    A sign that may stand alone belongs to an abbreviation, such as "u.s.", and to nothing else.
    """
    if not _is_sign(part) or part not in cut.joined:
        return _is_sign(part)
    short = len(rest[-1]) <= ABBREVIATED and rest[-1].isalpha()
    return part in cut.alone and not (short and part in rest[:-1])
