"""Texts as rows of numbers: for masked tokens and for classes (pairs: `sentence_pairs`).

A dataset is indexed by a row number, which means epoch 0, or by an (epoch, row) pair. What is
random in a row comes from (seed, epoch, row) alone.
"""

import numpy as np
from torch.utils.data import Dataset

from bert_kit.data.batching import make_loader
from bert_kit.data.masking import Masking
from bert_kit.errors import DataError


class Ragged:
    """Lists of small whole numbers of any lengths, in one array: about 4 bytes a number.

    Examples
    --------
    >>> rows = Ragged([[5, 6], [], [7]])
    >>> len(rows), rows[0].tolist(), rows.lengths.tolist()
    (3, [5, 6], [2, 0, 1])
    """

    def __init__(self, lists):
        lists = list(lists)
        self.lengths = np.array([len(numbers) for numbers in lists], dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        flat = (number for numbers in lists for number in numbers)
        self.values = np.fromiter(flat, dtype=np.int32, count=int(self.lengths.sum()))

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        return self.values[self.ends[index] - self.lengths[index]:self.ends[index]]


class MLMDataset(Dataset):
    """Rows for masked-language modelling, masked anew every epoch (Liu et al. 2019, section 4.1).

    A text longer than a row is cut into several rows; none of it is lost.

    Parameters
    ----------
    texts : sequence of str
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
        If no text has a token.
    """

    def __init__(self, texts, tokenizer, max_length=128, mask_probability=0.15, whole_word=False,
                 seed=0):
        self.masking = Masking(tokenizer, mask_probability, whole_word, seed)
        self.pad_id = tokenizer.pad_id
        room = row_room(max_length, 2)
        rows, words = [], []
        for text in tokenizer.encode_pieces(texts):
            for start in range(0, len(text.ids), room):
                rows.append([tokenizer.cls_id, *text.ids[start:start + room], tokenizer.sep_id])
                words.append([-1, *text.word_ids[start:start + room], -1])
        if not rows:
            raise DataError("none of the texts has a token; expected at least one")
        self.rows, self.words = Ragged(rows), Ragged(words)
        self.lengths = self.rows.lengths

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` and `labels`, arrays (S,)."""
        epoch, index = epoch_and_index(key)
        ids, labels = self.masking(self.rows[index], self.words[index], epoch, index)
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

    Raises
    ------
    DataError
        If there is no text, the numbers of texts and labels differ, or a label is not a whole
        number from 0.
    """

    def __init__(self, texts, labels, tokenizer, max_length=128):
        texts, labels = list(texts), list(labels)
        if len(texts) != len(labels):
            raise DataError(f"{len(texts)} texts but {len(labels)} labels; "
                            "expected as many of each")
        if not texts:
            raise DataError("no texts; expected at least one")
        for row, label in enumerate(labels):
            if isinstance(label, bool) or int(label) != label or label < 0:
                raise DataError(f"label of row {row} is {label!r}; expected a class number from 0")
        encoded = tokenizer.encode_batch(texts, max_length=max_length)
        self.rows = Ragged(row.ids for row in encoded)
        self.types = Ragged(row.type_ids for row in encoded)
        self.labels = [int(label) for label in labels]
        self.pad_id, self.lengths = tokenizer.pad_id, self.rows.lengths

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` (S,) and `labels`, a number."""
        _, index = epoch_and_index(key)
        return {"input_ids": self.rows[index], "token_type_ids": self.types[index],
                "labels": self.labels[index]}


def epoch_and_index(key):
    """Return (epoch, row number) from either form of a dataset's index."""
    epoch, index = key if isinstance(key, tuple) else (0, key)
    return int(epoch), int(index)


def row_room(max_length, specials):
    """Return how many tokens of a row can be other than special."""
    if max_length <= specials:
        raise DataError(f"max_length is {max_length}; expected more than the {specials} special "
                        "tokens of a row")
    return max_length - specials


def create_mlm_dataloader(texts, tokenizer, batch_size=8, mask_probability=0.15, max_length=128,
                          whole_word=False, shuffle=True, seed=0, num_workers=0):
    """Return a DataLoader of masked batches; see `MLMDataset` and `make_loader`."""
    dataset = MLMDataset(texts, tokenizer, max_length, mask_probability, whole_word, seed)
    return make_loader(dataset, batch_size, shuffle, seed, num_workers=num_workers)


def create_classification_dataloader(texts, labels, tokenizer, batch_size=8, max_length=128,
                                     shuffle=True, seed=0, num_workers=0):
    """Return a DataLoader of texts and classes; see `ClassificationDataset` and `make_loader`."""
    dataset = ClassificationDataset(texts, labels, tokenizer, max_length)
    return make_loader(dataset, batch_size, shuffle, seed, num_workers=num_workers)
