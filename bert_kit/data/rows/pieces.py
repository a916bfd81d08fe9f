"""Texts as the ids of their pieces: how every dataset holds them, and how many fit into a row."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from bert_kit.checks import whole
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.encoding import check_texts
from bert_kit.tokenization.words import word_pieces


class Ragged:
    """Lists of small whole numbers of any lengths, in one array: 4 bytes a number.

    Attributes
    ----------
    values
        All lists one after the other.
    bounds
        List i is `values[bounds[i]:bounds[i + 1]]`.

    Examples
    --------
    >>> rows = Ragged([[5, 6], [], [7]])
    >>> len(rows), rows[0].tolist(), rows.lengths.tolist()
    (3, [5, 6], [2, 0, 1])
    """

    def __init__(self, lists: Iterable[Iterable[int]]) -> None:
        values, bounds = array("i"), array("q", [0])
        for numbers in lists:
            values.extend(numbers)
            bounds.append(len(values))
        self.values = np.frombuffer(values, np.intc)  # not a copy: they may fill half the memory
        self.bounds = np.frombuffer(bounds, np.int64)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.bounds[index]:self.bounds[index + 1]]


def piece_ids(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Yield the piece ids of each text, without special tokens.

    Raises
    ------
    DataError
        At the first row that is not a string.
    """
    return word_pieces(check_texts(texts, "texts", DataError), tokenizer)


def lone_words(words: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Yield the piece ids of each word as it stands in a text, behind a space.

    Raises
    ------
    DataError
        At the first word that is not a string.
    """
    words = check_texts(words, "texts", DataError)
    if not tokenizer.is_wordpiece:  # in which the space is a part of the pieces
        words = (f" {word}" for word in words)
    return word_pieces(words, tokenizer)


def row_room(max_length: int, texts: int, tokenizer: Tokenizer | None = None) -> int:
    """Return how many tokens of a row of one text, or of two, are not special.

    Without a tokenizer they are those of BERT's rows.

    >>> row_room(128, texts=1), row_room(128, texts=2)
    (126, 125)
    """
    special = texts + 1 if tokenizer is None else tokenizer.specials(texts)
    # Of each text there is one token at least.
    return whole("max_length", max_length, special + texts, error=DataError) - special
