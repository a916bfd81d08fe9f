"""Texts as rows of numbers: for masked tokens, and for classes, label sets or numbers.

Next-sentence pairs are in `sentence_pairs`.

A dataset is indexed by a row number, which means epoch 0, or by an (epoch, row) pair; see `draws`
for what depends on the epoch.
"""

from array import array

import numpy as np
from torch.utils.data import Dataset

from bert_kit.data.batches.batching import make_loader
from bert_kit.data.batches.seeding import epoch_and_row
from bert_kit.data.rows.masking import Masking
from bert_kit.data.targets import row_labels, row_weights
from bert_kit.data.store.token_store import TokenStore
from bert_kit.data.rows.windows import windows
from bert_kit.tokenization.words import word_pieces
from bert_kit.errors import DataError
from bert_kit.tokenization import fit_pair


class Ragged:
    """Lists of small whole numbers of any lengths, in one array: 4 bytes a number.

    Attributes
    ----------
    values : array of int
        All lists one after the other.
    bounds : array of int
        List i is `values[bounds[i]:bounds[i + 1]]`.

    Examples
    --------
    >>> rows = Ragged([[5, 6], [], [7]])
    >>> len(rows), rows[0].tolist(), rows.lengths.tolist()
    (3, [5, 6], [2, 0, 1])
    """

    def __init__(self, lists):
        values, bounds = array("i"), array("q", [0])
        for numbers in lists:
            values.extend(numbers)
            bounds.append(len(values))
        self.values = np.frombuffer(values, np.intc)  # not a copy: they may fill half the memory
        self.bounds = np.frombuffer(bounds, np.int64)

    @property
    def lengths(self):
        return np.diff(self.bounds)

    def __len__(self):
        return len(self.bounds) - 1

    def __getitem__(self, index):
        return self.values[self.bounds[index]:self.bounds[index + 1]]


class MLMDataset(Dataset):
    """Rows for masked-language modelling, masked anew every epoch (Liu et al. 2019, section 4.1).

    A text longer than a row is cut into several rows; none of it is lost.

    Parameters
    ----------
    texts : sequence of str, or TokenStore
        A store of the same texts gives the same rows, read from the disk as they are needed.
    tokenizer : Tokenizer
    max_length : int
        Longest row, [CLS] and [SEP] included.
    mask_probability : float
        Share of tokens to predict.
    whole_word : bool
        Mask all pieces of a word or none.
    seed : int

    Raises
    ------
    DataError
        If no text has a token, a store is another tokenizer's, or a parameter is out of its range.
    """

    def __init__(self, texts, tokenizer, max_length=128, mask_probability=0.15, whole_word=False,
                 seed=0):
        self.masking = Masking(tokenizer, mask_probability, whole_word, seed)
        self.pad_id, room = tokenizer.pad_id, row_room(max_length, texts=1)
        if isinstance(texts, TokenStore):
            self.rows = texts.rows(tokenizer, room)
        else:
            self.rows = Ragged([tokenizer.cls_id, *ids[start:start + room], tokenizer.sep_id]
                               for ids in piece_ids(texts, tokenizer)
                               for start in range(0, len(ids), room))
        if not self.rows:
            raise DataError("none of the texts has a token; expected at least one")
        self.lengths = self.rows.lengths

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` and `labels`, arrays (S,)."""
        epoch, row = epoch_and_row(key, len(self))
        ids, labels = self.masking(self.rows[row], epoch, row)
        return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "labels": labels}


class ClassificationDataset(Dataset):
    """Texts, or pairs of texts, with what is to be told of them: class, label set or number.

    Rows are [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with segment 1 from B on. In a pair that is
    too long the longer text is cut first, at its end.

    Parameters
    ----------
    texts : sequence of str, or of (str, str)
    labels : sequence of int, or array
        Class numbers from 0; or an array of floats (N,), or of 0 and 1 (N, C), see `row_labels`.
    tokenizer : Tokenizer
    max_length : int
        Longest row, [CLS] and [SEP] included; the rest of a longer text is cut off.
    sample_weights : sequence of float, optional
        How much each row counts in the loss. They come out as `sample_weights`, (B,) float32 in
        a batch.
    stride : int
        Read a longer text in `windows` of `max_length` that begin so many tokens apart, instead
        of cutting it off; 0 cuts. A batch then has K windows a text, (B, K, S); see `pad_batch`.

    Attributes
    ----------
    labels : list of int, or array of float32
    lengths : array of int
        Tokens of each row, those of all its windows counted once.

    Raises
    ------
    DataError
        If there is no text, the numbers of texts, labels and weights differ, a label is none, a
        weight is not a number from 0, `max_length` is below 3 (5 for pairs), or the stride would
        leave out tokens.
    """

    def __init__(self, texts, labels, tokenizer, max_length=128, sample_weights=None, stride=0):
        texts, pairs = _checked_rows(texts)
        self.labels = row_labels(texts, labels)
        self.sample_weights = row_weights(texts, sample_weights)
        self.pad_id, self.room = tokenizer.pad_id, row_room(max_length, texts=1 + pairs)
        self.stride, self.second_from = _checked_stride(stride, self.room, pairs), None
        cls, sep = tokenizer.cls_id, tokenizer.sep_id
        if pairs:
            self.second_from = array("i")
            pieces = zip(*(piece_ids([pair[i] for pair in texts], tokenizer) for i in (0, 1)))
            self.rows = Ragged(self._join(first, second, cls, sep) for first, second in pieces)
        else:
            kept = None if self.stride else self.room
            self.rows = Ragged([cls, *ids[:kept], sep] for ids in piece_ids(texts, tokenizer))
        self.lengths = self.rows.lengths

    def _join(self, first, second, cls, sep):
        """Return the ids of a pair, and note where its segment 1 begins."""
        keep_first, keep_second = fit_pair(len(first), len(second), self.room)
        self.second_from.append(keep_first + 2)
        return [cls, *first[:keep_first], sep, *second[:keep_second], sep]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` (S,), `labels`, and any weight.

        With a stride there is a list `windows` of such ids and types instead of the first two.
        """
        _, row = epoch_and_row(key, len(self))
        ids = self.rows[row].astype(np.int64)  # a copy: the row may be changed, the dataset not
        types = np.zeros_like(ids)
        if self.second_from is not None:
            types[self.second_from[row]:] = 1
        item = {"input_ids": ids, "token_type_ids": types}
        if self.stride:
            item = {"windows": [_window(ids, start, end) for start, end in windows(
                len(ids) - 2, self.room, self.stride)]}
        item["labels"] = self.labels[row]
        if self.sample_weights is not None:
            item["sample_weights"] = self.sample_weights[row]
        return item


def _window(ids, start, end):
    """Return some tokens of a row [CLS] … [SEP] as a row of their own."""
    row = np.insert(ids[[0, -1]], 1, ids[start + 1:end + 1])
    return {"input_ids": row, "token_type_ids": np.zeros_like(row)}


def piece_ids(texts, tokenizer):
    """Return an iterator over the piece ids of each text, without special tokens."""
    return word_pieces(_checked(texts), tokenizer)


def row_room(max_length, texts):
    """Return how many tokens of a row of one text, or of two, are not special.

    >>> row_room(128, texts=1), row_room(128, texts=2)
    (126, 125)
    """
    least = 2 * texts + 1  # [CLS], and of each text one token and its [SEP]
    if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < least:
        raise DataError(f"max_length is {max_length!r}; expected a whole number from {least}")
    return max_length - texts - 1


def _checked_rows(texts):
    """Return the texts as a list of strings or of pairs, and whether they are pairs."""
    texts = texts if isinstance(texts, str | list) else list(texts)
    if not texts:
        raise DataError("no texts; expected at least one")
    if not isinstance(texts[0], tuple | list):
        return _checked(texts), False
    for row, pair in enumerate(texts):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"row {row} of texts is {str(pair)[:40]!r}; expected two texts")
    return texts, True


def _checked_stride(stride, room, pairs):
    if isinstance(stride, bool) or not isinstance(stride, int) or not 0 <= stride <= room:
        raise DataError(f"stride is {stride!r}; expected 0, or 1 to the {room} tokens of a window")
    if stride and pairs:
        raise DataError(f"stride is {stride} for pairs of texts; expected 0 (windows are for "
                        "single texts)")
    return stride


def _checked(texts):
    """Return the texts as a list of strings; a list is not copied."""
    if isinstance(texts, str):
        raise DataError("texts is one string; expected a sequence of strings")
    texts = texts if isinstance(texts, list) else list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"row {row} of texts is {str(text)[:40]!r}, of type "
                            f"{type(text).__name__}; expected a string")
    return texts


def create_mlm_dataloader(texts, tokenizer, batch_size=8, mask_probability=0.15, max_length=128,
                          whole_word=False, shuffle=True, seed=0, group_by_length=False,
                          num_workers=0):
    """Return a DataLoader of masked batches; see `MLMDataset` and `make_loader`.

    For evaluation take `shuffle=False`: then every pass hides the same tokens.
    """
    dataset = MLMDataset(texts, tokenizer, max_length, mask_probability, whole_word, seed)
    return make_loader(dataset, batch_size, shuffle, seed, group_by_length, num_workers)


def create_classification_dataloader(texts, labels, tokenizer, batch_size=8, max_length=128,
                                     shuffle=True, seed=0, group_by_length=False, num_workers=0,
                                     sample_weights=None, stride=0):
    """Return a DataLoader of texts and classes; see `ClassificationDataset` and `make_loader`."""
    dataset = ClassificationDataset(texts, labels, tokenizer, max_length, sample_weights, stride)
    return make_loader(dataset, batch_size, shuffle, seed, group_by_length, num_workers)
