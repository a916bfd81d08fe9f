"""Texts as rows of numbers: for masked tokens, and for classes, label sets or numbers.

Next-sentence pairs are in `sentence_pairs`. What depends on the epoch is said in `seeding`.
"""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from bert_kit.checks import whole
from bert_kit.data.batches.batching import Row, RowDataset, make_loader
from bert_kit.data.labels import row_labels, row_weights
from bert_kit.data.read.tables import Text
from bert_kit.data.rows.masking import Masking
from bert_kit.data.rows.pieces import Ragged, piece_ids, row_room
from bert_kit.data.rows.windows import windows
from bert_kit.data.store.token_store import TokenStore
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer, fit_pair


class MLMDataset(RowDataset):
    """Rows for masked-language modelling, masked anew every epoch (Liu et al. 2019, section 4.1).

    A text longer than a row is cut into several rows; none of it is lost. A row has `input_ids`,
    `token_type_ids` and `labels` (S,).

    Parameters
    ----------
    texts
        A store of the same texts gives the same rows, read from the disk as they are needed.
    max_length
        Longest row, [CLS] and [SEP] included.
    mask_probability
        Share of tokens to predict.
    whole_word
        Mask all pieces of a word or none.

    Raises
    ------
    DataError
        If no text has a token, a store is another tokenizer's, or a parameter is out of its range.
    """

    def __init__(self, texts: Iterable[str] | TokenStore, tokenizer: Tokenizer,
                 max_length: int = 128, mask_probability: float = 0.15, whole_word: bool = False,
                 seed: int = 0) -> None:
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

    def make_row(self, row: int, epoch: int) -> Row:
        ids, labels = self.masking(self.rows[row], epoch, row)
        return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "labels": labels}


class ClassificationDataset(RowDataset):
    """Texts, or pairs of texts, with what is to be told of them: class, label set or number.

    Rows are [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with segment 1 from B on. In a pair that is
    too long the longer text is cut first. Texts are cut at the tokenizer's `truncation_side`. A
    row has `input_ids`, `token_type_ids` (S,), `labels`, and any weight; with a stride it has a
    list `windows` of such ids and types instead of the first two.

    Parameters
    ----------
    labels
        Class numbers from 0; or an array of floats (N,), or of 0 and 1 (N, C), see `row_labels`.
    max_length
        Longest row, [CLS] and [SEP] included; the rest of a longer text is cut off.
    sample_weights
        How much each row counts in the loss. They come out as `sample_weights`, (B,) float32 in
        a batch.
    stride
        Read a longer text in `windows` of `max_length` that begin so many tokens apart, instead
        of cutting it off; 0 cuts. A batch then has K windows a text, (B, K, S); see `pad_batch`.

    Attributes
    ----------
    labels
        A list of int, or an array of float32.
    lengths
        Tokens of each row, those of all its windows counted once.

    Raises
    ------
    DataError
        If there is no text, the numbers of texts, labels and weights differ, a label is none, a
        weight is not a number from 0, `max_length` is below 3 (5 for pairs, in RoBERTa's rows 6),
        or the stride would leave out tokens.
    """

    lengths: np.ndarray

    def __init__(self, texts: Iterable[Text], labels: Iterable[int] | np.ndarray | Tensor,
                 tokenizer: Tokenizer, max_length: int = 128,
                 sample_weights: Iterable[float] | None = None, stride: int = 0) -> None:
        texts, second = _sides(texts)
        self.labels = row_labels(texts, labels)
        self.sample_weights = row_weights(texts, sample_weights)
        self.pad_id, self.second_from = tokenizer.pad_id, None
        self.second_segment = tokenizer.second_segment
        self.room = row_room(max_length, 1 if second is None else 2, tokenizer)
        self.stride = whole("stride", stride, 0, self.room, error=DataError)
        pieces = piece_ids(texts, tokenizer)
        if second is None:
            room = None if self.stride else self.room
            self.rows = Ragged([tokenizer.cls_id, *ids[tokenizer.kept(len(ids), room)],
                                tokenizer.sep_id] for ids in pieces)
        elif self.stride:
            raise DataError(f"stride is {stride} for pairs of texts; expected 0 (windows are for "
                            "single texts)")
        else:
            self.second_from = array("i")  # where segment 1 begins
            pairs = zip(pieces, piece_ids(second, tokenizer), strict=True)
            self.rows = Ragged(_joined(pairs, tokenizer, self.room, self.second_from))
        self.lengths = self.rows.lengths

    def make_row(self, row: int, epoch: int) -> Row:
        ids = self.rows[row].astype(np.int64)  # a copy: the row may be changed, the dataset not
        types = np.zeros_like(ids)
        if self.second_from is not None:
            types[self.second_from[row]:] = self.second_segment
        item: Row = {"input_ids": ids, "token_type_ids": types}
        if self.stride:
            item = {"windows": [_window(ids, start, end) for start, end in windows(
                len(ids) - 2, self.room, self.stride)]}
        item["labels"] = self.labels[row]
        if self.sample_weights is not None:
            item["sample_weights"] = self.sample_weights[row]
        return item


def _sides(texts: Iterable[Text]) -> tuple[list[str], list[str] | None]:
    """Return the texts, and the second ones where they are pairs."""
    if isinstance(texts, str):
        raise DataError("texts is one string; expected a sequence of strings")
    rows: list = texts if isinstance(texts, list) else list(texts)
    if not rows:
        raise DataError("no texts; expected at least one")
    if not isinstance(rows[0], tuple | list):
        return rows, None
    for row, pair in enumerate(rows):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"row {row} of texts is {str(pair)[:40]!r}; expected two texts")
    return [first for first, _ in rows], [second for _, second in rows]


def _joined(pairs: Iterable[tuple[list[int], list[int]]], tokenizer: Tokenizer, room: int,
            second_from: array) -> Iterator[list[int]]:
    """Yield the ids of each pair as a row, and note where its segment 1 begins."""
    for first, second in pairs:
        most_first, most_second = fit_pair(len(first), len(second), room)
        second_from.append(most_first + 2)
        yield tokenizer.pair_ids(first[tokenizer.kept(len(first), most_first)],
                                 second[tokenizer.kept(len(second), most_second)])


def _window(ids: np.ndarray, start: int, end: int) -> Row:
    """Return some tokens of a row [CLS] … [SEP] as a row of their own."""
    row = np.insert(ids[[0, -1]], 1, ids[start + 1:end + 1])
    return {"input_ids": row, "token_type_ids": np.zeros_like(row)}


def create_mlm_dataloader(texts: Iterable[str] | TokenStore, tokenizer: Tokenizer,
                          batch_size: int = 8, mask_probability: float = 0.15,
                          max_length: int = 128, whole_word: bool = False, shuffle: bool = True,
                          seed: int = 0, group_by_length: bool = False,
                          num_workers: int = 0) -> DataLoader:
    """Return a DataLoader of masked batches; see `MLMDataset` and `make_loader`.

    For evaluation take `shuffle=False`: then every pass hides the same tokens.
    """
    dataset = MLMDataset(texts, tokenizer, max_length, mask_probability, whole_word, seed)
    return make_loader(dataset, batch_size, shuffle, seed, group_by_length, num_workers)


def create_classification_dataloader(
        texts: Iterable[Text], labels: Iterable[int] | np.ndarray | Tensor, tokenizer: Tokenizer,
        batch_size: int = 8, max_length: int = 128, shuffle: bool = True, seed: int = 0,
        group_by_length: bool = False, num_workers: int = 0,
        sample_weights: Iterable[float] | None = None, stride: int = 0) -> DataLoader:
    """Return a DataLoader of texts and classes; see `ClassificationDataset` and `make_loader`."""
    dataset = ClassificationDataset(texts, labels, tokenizer, max_length, sample_weights, stride)
    return make_loader(dataset, batch_size, shuffle, seed, group_by_length, num_workers)
