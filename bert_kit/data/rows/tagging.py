"""Sentences of words with a tag each, as rows of pieces."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np

from bert_kit.checks import same_length
from bert_kit.data.batches.batching import Row, RowDataset
from bert_kit.data.rows.pieces import Ragged, lone_words, row_room
from bert_kit.data.rows.windows import shares, windows
from bert_kit.errors import DataError
from bert_kit.modes import IGNORE
from bert_kit.tokenization import Tokenizer

NO_WORD = -1


class TaggingDataset(RowDataset):
    """Words with tags; the first piece of a word carries its tag (Devlin et al. 2019, section 5.3).

    The other pieces of a word, [CLS] and [SEP] have the label -100. A sentence that is too long
    stands in several rows that overlap (see `windows`), but each of its words has its label in one
    of them only: it counts once in the loss, and is predicted once. A word that the tokenizer
    drops, such as a lone control character, stands as [UNK]. A row has `input_ids`,
    `token_type_ids` and, with tags, `labels` (S,).

    Parameters
    ----------
    sentences
        The words of each sentence.
    tags
        The class number of each word, from 0; None for words to be tagged.
    max_length
        Longest row, [CLS] and [SEP] included.
    stride
        How many pieces further each row of a long sentence starts; default half a row.

    Raises
    ------
    DataError
        If there is no sentence, the numbers of words and tags differ, a tag is not a whole number
        from 0, or `max_length` is below 3.

    Examples
    --------
    >>> from bert_kit import Tokenizer
    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "##s", "!"])
    >>> row = TaggingDataset([["Hugs", "hug!"]], [[1, 0]], tokenizer)[0]
    >>> row["input_ids"].tolist(), row["labels"].tolist()
    ([2, 5, 6, 5, 7, 3], [-100, 1, -100, 0, -100, -100])
    """

    def __init__(self, sentences: Iterable[Sequence[str]], tags: Iterable[Sequence[int]] | None,
                 tokenizer: Tokenizer, max_length: int = 128, stride: int | None = None) -> None:
        sentences = _checked(sentences)
        self.sizes = [len(words) for words in sentences]
        self.tags = None if tags is None else _class_numbers(tags, self.sizes)
        self.pad_id, room = tokenizer.pad_id, row_room(max_length, texts=1)
        pieces = lone_words(list(chain.from_iterable(sentences)), tokenizer)
        # Of each row its ids, then as many numbers of words, counted through all sentences.
        self.rows = Ragged(_rows(self.sizes, pieces, tokenizer, room, stride))
        self.lengths = self.rows.lengths // 2

    def make_row(self, row: int, epoch: int) -> Row:
        ids, words = self._row(row)
        item: Row = {"input_ids": ids.astype(np.int64),
                     "token_type_ids": np.zeros(len(ids), np.int64)}
        if self.tags is not None:
            item["labels"] = np.where(words == NO_WORD, IGNORE, self.tags[words])
        return item

    def _row(self, row: int) -> np.ndarray:
        """Return the ids (S,), and the number of the word that each token answers for."""
        return self.rows[row].reshape(2, -1)

    def word_values(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Take what a model says of each word from what it says of each token.

        Parameters
        ----------
        rows
            (S, …): one value a token, for instance logits (S, C), of each row in order.

        Returns
        -------
            (words, …): one value a word, of each sentence.
        """
        if len(rows) != len(self):
            raise DataError(f"values of {len(rows)} rows; expected those of {len(self)}")
        values = [np.asarray(each)[self._row(row)[1] != NO_WORD] for row, each in enumerate(rows)]
        return np.split(np.concatenate(values), np.cumsum(self.sizes)[:-1])


def _checked(sentences: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """Return the sentences as a list; what is in them is checked as texts are."""
    sentences = list(sentences)
    if not sentences:
        raise DataError("no sentences; expected at least one")
    for number, words in enumerate(sentences):
        if isinstance(words, str) or not hasattr(words, "__len__") or not len(words):
            raise DataError(f"sentence {number} is {str(words)[:40]!r}; expected a list of words")
    return sentences


def _class_numbers(tags: Iterable[Sequence[int]], sizes: Sequence[int]) -> np.ndarray:
    """Return the tags of all words in one array."""
    arrays = [np.asarray(each) for each in tags]
    same_length(sentences=sizes, tags=arrays)
    for number, (values, size) in enumerate(zip(arrays, sizes, strict=True)):
        if len(values) != size:
            raise DataError(f"sentence {number} has {size} words but {len(values)} tags; expected "
                            "as many")
        if values.dtype.kind not in "iu" or values.ndim != 1 or values.min() < 0:
            raise DataError(f"tags of sentence {number} are {str(values.tolist()):.40}; expected "
                            "class numbers from 0")
    return np.concatenate(arrays, dtype=np.int64)


def _rows(sizes: Sequence[int], pieces: Iterator[list[int]], tokenizer: Tokenizer, room: int,
          stride: int | None) -> Iterator[list[int]]:
    """Yield of each row the ids and then the numbers of the words that it answers for."""
    numbered = enumerate(pieces)
    for size in sizes:
        ids, words = [], []
        for word, own in islice(numbered, size):
            own = own or [tokenizer.unk_id]
            ids += own
            words += [word] + [NO_WORD] * (len(own) - 1)
        cuts = windows(len(ids), room, stride)
        for (start, end), (first, last) in zip(cuts, shares(cuts), strict=True):
            outside = [NO_WORD] * (first - start + 1), [NO_WORD] * (end - last + 1)
            yield [tokenizer.cls_id, *ids[start:end], tokenizer.sep_id,
                   *outside[0], *words[first:last], *outside[1]]
