"""Pairs of texts as files have them: with a score of how alike they are, or without one.

The columns say which. Without a score a row is a text and one that is right for it: a question and
its answer, two texts that mean the same. A third column holds one that is wrong, and hard to tell.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bert_kit.data import Number, Part, Unrated, column_names, read_table, split_pairs
from bert_kit.data.read.tables import Source
from bert_kit.errors import DataError
from bert_kit.training import Loss, in_batch_losses, mean_over_rows
from bert_kit.weights import SentenceLayout

TEXTS, LABEL, WRONG = ("text_a", "text_b"), "label", "text_c"  # the columns of the files
RATED = ("spearman", "pearson")  # scores of pairs with a score, the usual one first
RANKED = ("ndcg@10", "mrr@10", "recall@1", "recall@10")  # of others
# What a column with a score is called elsewhere: pairs that have one are not all right.
SCORES = ("score", "scores", "labels", "gold", "gold_label", "rating", "similarity",
          "similarity_score", "relatedness_score", "is_duplicate")
Columns = tuple[tuple[str, ...], Number | Unrated]


def is_rated(part: Part) -> bool:
    """Say whether the pairs of a part have a score each."""
    return np.ndim(part.labels) == 1


def pair_columns(path: Source, text_columns: Sequence[str], label_column: str,
                 reading: Mapping[str, Any]) -> Columns:
    """Return the columns of texts in a file, and what the label of a row is.

    Where there is no column for a score and none was asked for, the rows have none; `text_c` is
    then a third text, unless other columns are asked for.

    Raises
    ------
    BertKitError
        If the file cannot be read, a third text is asked for beside scores, or there seem to be
        scores in a column of another name.
    """
    texts = tuple(text_columns)
    names = reading.get("columns") or column_names(
        path, reading.get("delimiter"), reading.get("encoding", "utf-8-sig"))
    if label_column in names or label_column != LABEL:
        if len(texts) > 2:
            raise DataError(f"{path}: has scores in the column {label_column!r}, and three text "
                            "columns are asked for, of which the third is of rows without scores; "
                            "expected two")
        return texts, Number(label_column)
    likely = next((name for name in names if name not in texts and (
        name.lower() in SCORES or difflib.get_close_matches(name.lower(), [LABEL], 1, 0.75))), None)
    if likely is not None:
        raise DataError(f"{path}: no column {label_column!r}, but {likely!r}; expected a score "
                        f"there (--label_column {likely}), or a file without it, whose pairs are "
                        "all right")
    return (*TEXTS, WRONG) if texts == TEXTS and WRONG in names else texts, Unrated()


def same_columns(files: Mapping[str, Source], text_columns: Sequence[str], label_column: str,
                 reading: Mapping[str, Any]) -> Columns:
    """Return the `pair_columns` of files, which have to be alike."""
    found = {path: pair_columns(path, text_columns, label_column, reading)
             for path in files.values()}
    first, *others = found.items()
    for path, columns in others:
        if columns != first[1]:
            raise DataError(f"{path}: {_described(columns)}, other than {first[0]}: "
                            f"{_described(first[1])}; expected the same columns in both")
    return first[1]


def _described(columns: Columns) -> str:
    return f"{' and '.join(columns[0])} {'with' if columns[1].columns else 'without'} a score"


def read_pairs(path: Source, text_columns: Sequence[str], label_column: str,
               reading: Any) -> Part:
    """Return the pairs of a file to score a model on, with the scores that they have."""
    texts, kind = pair_columns(path, text_columns, label_column, reading)
    table = read_table(path, texts, kind, **reading)
    kind.check(table, texts)
    return Part(table.texts, np.asarray(table.labels))  # (N,), or (N, 0)


def column_prompts(layout: SentenceLayout, part: Part) -> tuple[str, ...]:
    """Return what stands before each text of a row.

    Texts with scores are alike: before both stands what the folder has by default. Of other rows
    the first text is a query, and the others are documents.
    """
    if is_rated(part):
        return ((layout.prompt(layout.default_prompt) or ""),) * 2
    documents = len(part.texts[0]) - 1
    return ((layout.query_prompt or ""), *((layout.document_prompt or ""),) * documents)


def ranking_loss(pool: Callable[[Any, Any], Tensor], texts: int = 2, scale: float = 20.0,
                 symmetric: bool = False) -> Loss:
    """Return the loss of rows without a score: the mean of `in_batch_losses` over the rows.

    Parameters
    ----------
    pool
        `pool(model, batch)` -> vectors, of all first texts, all second ones and maybe all third.
    texts
        In a row, 2 or 3.
    """
    def loss(model: Any, batch: Any, counts: Mapping[str, int] | None = None) -> Tensor:
        vectors, rows = pool(model, split_pairs(batch, texts)), len(batch["labels"])
        numbers = torch.cat([batch[name] for name in ("labels", "wrong")[:texts - 1]])
        losses = in_batch_losses(vectors[:rows], vectors[rows:], batch["query"], numbers, scale,
                                 symmetric)
        return mean_over_rows(losses, batch, counts)
    return loss
