"""Texts with a right one each and no score: questions and answers, titles and bodies, paraphrases.

Nothing says what is wrong for a text. The right ones of others in its batch are taken to be, but
for those that are known to be right; so a row has the numbers of its texts, equal for equal ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_kit.data.batches.batching import Row
from bert_kit.data.labels import Names
from bert_kit.data.read.tables import Table, Text
from bert_kit.data.rows.scored_pairs import SimilarityDataset
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer


@dataclass(frozen=True)
class Unrated:
    """The kind of label of rows that have none: each is right as it stands.

    It is encoded as an array (N, 0).
    """

    word, is_trained_on = "label", False

    @property
    def columns(self) -> Names:
        """The columns that hold the label: none."""
        return ()

    def read(self, where: str, values: Sequence[object]) -> Names:
        return ()

    def take(self, where: str, label: object) -> Names:
        return ()

    def names(self, label: Names) -> Names:
        return ()

    def classes(self, labels: Iterable[Names]) -> Names:
        return ()

    def encode(self, labels: Sequence[Names], classes: Sequence[str]) -> np.ndarray:
        return np.zeros((len(labels), 0), np.float32)

    def text(self, label: Names) -> str:
        return ""

    def describe(self, labels: Sequence[Names], classes: Sequence[str]) -> str:
        return "rows without a score"

    def check(self, table: Table, text_column: str | Sequence[str]) -> None:
        if len({text[1] for text in table.texts}) < 2:
            raise DataError(f"{table.path}: {text_column[1]!r} is {table.texts[0][1]!r:.40} in all "
                            f"{len(table.texts):,} rows; expected different texts, of which those "
                            "of other rows are the wrong ones")


class RankingDataset(SimilarityDataset):
    """Texts with a right one each, and maybe a wrong one, as rows [CLS] A [SEP] [CLS] B [SEP] ….

    A row has `input_ids`, `token_type_ids` (S,), where segment k is of its text k; `labels`, the
    number of the right text; `query`, that of the first; and `wrong`, that of the wrong one where
    there is one. Equal texts have equal numbers.

    Parameters
    ----------
    rows
        A text, the right one and maybe a wrong one.
    max_length, prompts
        As of `SimilarityDataset`.
    """

    def __init__(self, rows: Sequence[Any], tokenizer: Tokenizer, max_length: int = 128,
                 prompts: Sequence[str] = ()) -> None:
        super().__init__(rows, np.zeros(len(rows)), tokenizer, max_length, prompts)
        numbers: dict[Text, int] = {}
        self.numbers = np.array([[numbers.setdefault(text, len(numbers)) for text in row]
                                 for row in rows])  # (N, 2) or (N, 3)

    def make_row(self, row: int, epoch: int) -> Row:
        numbers = dict(zip(("query", "labels", "wrong"), self.numbers[row], strict=False))
        return {**super().make_row(row, epoch), **numbers}
