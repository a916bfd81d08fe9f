"""Pairs of texts with a score of how alike they are, for an encoder that sees each text alone.

A batch has a pair a row, so that a step's rows can be counted, cut and shared out like any other;
`split_pairs` makes two rows of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bert_kit.data.batches.batching import Batch, Row, RowDataset
from bert_kit.data.labels import row_labels
from bert_kit.data.read.tables import Text
from bert_kit.data.rows.pieces import Ragged, piece_ids, row_room
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.tokenizer import check_texts


class SimilarityDataset(RowDataset):
    """Scored pairs as rows [CLS] A [SEP] [CLS] B [SEP], segment 1 from the second [CLS] on.

    A row has `input_ids`, `token_type_ids` (S,) and `labels`, the score.

    Parameters
    ----------
    max_length
        Longest row of one text, [CLS] and [SEP] included; the rest of a longer text is cut off.
    prompts
        What stands before the first text of each pair and before the second; nothing by default.
    """

    def __init__(self, pairs: Sequence[Text], scores: ArrayLike, tokenizer: Tokenizer,
                 max_length: int = 128, prompts: Sequence[str] = ()) -> None:
        if not pairs:
            raise DataError("no pairs; expected at least one")
        self.labels, self.pad_id = row_labels(pairs, np.asarray(scores, float)), tokenizer.pad_id
        sides = list(zip(*pairs, strict=True))
        if any(prompts):
            sides = [[prompt + text for text in check_texts(side, "texts", DataError)]
                     for prompt, side in zip(prompts, sides, strict=True)]
        room = row_room(max_length, texts=1)
        self.rows = Ragged([tokenizer.cls_id, *ids[tokenizer.kept(len(ids), room)],
                            tokenizer.sep_id]
                           for ids in piece_ids([text for side in sides for text in side],
                                                tokenizer))
        self.lengths = self.rows.lengths.reshape(len(sides), -1).sum(0)  # (2 N,) -> (N,)

    def make_row(self, row: int, epoch: int) -> Row:
        texts = [self.rows[place] for place in range(row, len(self.rows), len(self))]
        segments = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        return {"input_ids": np.concatenate(texts).astype(np.int64),
                "token_type_ids": segments, "labels": self.labels[row]}


def split_pairs(batch: Mapping[str, Tensor], texts: int = 2) -> Batch:
    """Make a batch of 2 B texts of a batch of B pairs: all first texts, then all second ones.

    Or of as many more as a row has `texts`.

    Examples
    --------
    >>> pair = {"input_ids": torch.tensor([[2, 7, 3, 2, 8, 9, 3, 0]]),
    ...         "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 1, 0]]),
    ...         "token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1, 1, 0]])}
    >>> split_pairs(pair)["input_ids"].tolist()
    [[2, 7, 3, 0], [2, 8, 9, 3]]
    """
    ids, segments = batch["input_ids"], batch["token_type_ids"]
    real = batch["attention_mask"].bool()
    sides = torch.stack([(real & (segments == side)).sum(1) for side in range(texts)])  # (2, B)
    starts, lengths = (sides.cumsum(0) - sides).flatten(), sides.flatten()  # (2 B,) each
    places = torch.arange(int(lengths.max()) if len(lengths) else 1)  # (S',)
    columns = (starts[:, None] + places).clamp(max=ids.shape[1] - 1)  # (2 B, S')
    mask = (places < lengths[:, None]).long()
    return {"input_ids": ids.repeat(texts, 1).gather(1, columns) * mask, "attention_mask": mask,
            "token_type_ids": torch.zeros_like(mask)}  # (B, S) -> (2 B, S')
