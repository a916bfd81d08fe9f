"""The pieces of much text, word by word, and where pieces stand in their text.

A WordPiece tokenizer cleans a text character by character and splits it at every space at least,
so a text's pieces are those of its words one after the other. Most words of a text are frequent
ones: looking them up in a dict is several times faster than encoding them again. Other kinds have
pieces for the spaces too: they get whole texts, many at a time.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from bert_kit.tokenization.encoding import Encoding
from bert_kit.tokenization.guesses import is_punctuation, is_unspaced
from bert_kit.tokenization.tokenizer import Tokenizer

CHUNK = 256  # texts encoded at a time where there is nothing to look up
LIMIT = 2**19  # words to remember, some 150 MB; then all are forgotten and learned anew
LONGEST = 100  # characters of a word to remember; a longer one hardly comes twice


def word_pieces(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Yield the piece ids of each text, without special tokens.

    Examples
    --------
    >>> from bert_kit import Tokenizer
    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "##s", "!"])
    >>> list(word_pieces(["Hug hugs!", "hugs"], tokenizer))
    [[5, 5, 6, 7], [5, 6]]
    """
    added = tokenizer.backend.get_added_tokens_decoder().values()
    if not tokenizer.is_wordpiece or any(  # "New York" may be one piece: words are not all there is
            character.isspace() for token in added for character in token.content):
        texts = iter(texts)
        while chunk := list(islice(texts, CHUNK)):
            yield from (encoding.ids for encoding in tokenizer.encode_pieces(chunk))
        return
    known: dict[str, tuple[int, ...]] = {"": ()}
    for text in texts:
        words = text.split(" ")
        new = list(set(words).difference(known))
        if len(known) + len(new) > LIMIT:
            known = {"": ()}
            new = list(set(words).difference(known))
        for word, encoding in zip(new, tokenizer.encode_pieces(new), strict=True):
            known[word] = tuple(encoding.ids)
        yield list(chain.from_iterable(map(known.__getitem__, words)))
        for word in new:
            if len(word) > LONGEST:
                del known[word]


def begins_word(tokenizer: Tokenizer) -> list[bool]:
    """Return of each piece of a vocabulary whether a word begins with it.

    In a WordPiece all pieces but those with "##". Elsewhere words are what stands between spaces,
    but a punctuation sign begins one too, and a letter of a script that has no spaces; what is
    unknown there is a character, and goes on with its word.
    """
    ids = range(tokenizer.vocab_size)
    pieces = tokenizer.tokens(ids)
    if tokenizer.is_wordpiece:
        return [not piece.startswith("##") for piece in pieces]
    plain = tokenizer.backend.decode_batch([[number] for number in ids], skip_special_tokens=False)
    begins = [piece.startswith(tokenizer.space)
              or any(is_punctuation(sign) or is_unspaced(sign) for sign in text[:1])
              for piece, text in zip(pieces, plain, strict=True)]
    for number in tokenizer.special_ids:
        begins[number] = number != tokenizer.unk_id
    return begins


def encode_with_offsets(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[Encoding]:
    """Yield the Encoding of each text, without special tokens, with offsets.

    An offset has no space in front, also where the piece has one.

    A tokenizer that drops accents leaves those out that are characters of their own (combining
    marks, U+0301 for instance). They belong to the letter before: its offset ends behind them.

    Examples
    --------
    >>> from bert_kit import train_tokenizer
    >>> row, = encode_with_offsets(["cafe\\u0301 cafe"], train_tokenizer(["cafe cafe"], 50))
    >>> row.offsets
    [(0, 5), (6, 10)]
    """
    for text, row in zip(texts, tokenizer.encode_pieces(texts, with_offsets=True), strict=True):
        whole = []
        limits = [start for start, _ in [*row.offsets, (len(text), 0)]][1:]  # the next one's start
        for (start, end), limit in zip(row.offsets, limits, strict=True):
            while start < end - 1 and text[start].isspace():
                start += 1
            while end < limit and unicodedata.category(text[end]) == "Mn":
                end += 1
            whole.append((start, end))
        yield row._replace(offsets=whole)
