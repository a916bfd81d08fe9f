"""Texts as rows of numbers: for masked tokens and for classes (pairs: `sentence_pairs`).

A dataset is indexed by a row number, which means epoch 0, or by an (epoch, row) pair; see `draws`
for what depends on the epoch.
"""

from array import array

import numpy as np
from torch.utils.data import Dataset

from bert_kit.data.batching import make_loader
from bert_kit.data.draws import epoch_and_row
from bert_kit.data.masking import Masking
from bert_kit.data.token_store import TokenStore
from bert_kit.data.word_pieces import word_pieces
from bert_kit.errors import DataError

LARGEST_WEIGHT = float(np.finfo(np.float32).max)


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
    """Texts with class numbers.

    Parameters
    ----------
    texts : sequence of str
    labels : sequence of int
        Class numbers from 0.
    tokenizer : Tokenizer
    max_length : int
        Longest row, [CLS] and [SEP] included; the rest of a longer text is cut off.
    sample_weights : sequence of float, optional
        How much each row counts in the loss. They come out as `sample_weights`, (B,) float32 in
        a batch.

    Raises
    ------
    DataError
        If there is no text, the numbers of texts, labels and weights differ, a label is not a
        whole number from 0, a weight is not a number from 0, or `max_length` is below 3.
    """

    def __init__(self, texts, labels, tokenizer, max_length=128, sample_weights=None):
        texts = _checked(texts)
        if not texts:
            raise DataError("no texts; expected at least one")
        self.labels = _one_each(texts, labels, "labels", _class_number)
        self.sample_weights = None
        if sample_weights is not None:
            weights = _one_each(texts, sample_weights, "sample_weights", _weight)
            self.sample_weights = np.array(weights, dtype=np.float32)
        self.pad_id, room = tokenizer.pad_id, row_room(max_length, texts=1)
        self.rows = Ragged([tokenizer.cls_id, *ids[:room], tokenizer.sep_id]
                           for ids in piece_ids(texts, tokenizer))
        self.lengths = self.rows.lengths

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` (S,), `labels`, a number, and any weight."""
        _, row = epoch_and_row(key, len(self))
        ids = self.rows[row].astype(np.int64)  # a copy: the row may be changed, the dataset not
        item = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "labels": self.labels[row]}
        if self.sample_weights is not None:
            item["sample_weights"] = self.sample_weights[row]
        return item


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


def _one_each(texts, values, name, convert):
    """Return `convert(row, value)` for the value of each text."""
    values = list(values)
    if len(values) != len(texts):
        raise DataError(f"{len(texts)} texts but {len(values)} {name}; expected as many of each")
    return [convert(row, value) for row, value in enumerate(values)]


def _class_number(row, label):
    """Return a label as a Python int."""
    try:
        number = int(label)
    except (TypeError, ValueError, OverflowError):  # a list, a name, infinity
        number = None
    if number is None or isinstance(label, bool) or number != label or number < 0:
        raise DataError(f"label of row {row} is {label!r:.40}; expected a class number from 0")
    return number


def _weight(row, value):
    """Return a weight as a Python float."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a list, a name, 10**400
        number = None
    if (number is None or isinstance(value, bool) or number != value
            or not 0 <= number <= LARGEST_WEIGHT):
        raise DataError(f"sample_weights of row {row} is {value!r:.40}; expected a finite number "
                        "from 0")
    return number


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
                                     sample_weights=None):
    """Return a DataLoader of texts and classes; see `ClassificationDataset` and `make_loader`."""
    dataset = ClassificationDataset(texts, labels, tokenizer, max_length, sample_weights)
    return make_loader(dataset, batch_size, shuffle, seed, group_by_length, num_workers)
