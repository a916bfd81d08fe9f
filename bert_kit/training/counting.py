"""Where a new model begins before any step: at what counting its text says of neighbours.

Random weights have to learn by gradients what counting finds in seconds. How much more often two
pieces stand together than chance has it is their pointwise mutual information (Church & Hanks
1990). Its matrix, cut at 0 and factored, gives vectors in which pieces with the same neighbours
are close; word2vec finds nearly the same factors step by step (Levy & Goldberg 2014).
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bert_kit.errors import TrainingError

if TYPE_CHECKING:
    from scipy import sparse

WINDOW = 5  # places on either side that count as near
SMOOTHING = 0.75  # power of a neighbour's frequency; rare ones would stand out otherwise
SPREAD = 0.05  # standard deviation of the embeddings; .02 and .1 measured worse
PASSED_ON = 0.25  # share of the mean of all tokens that a block adds to each of them
COUNTED = 5_000_000  # tokens; more would hardly change the vectors


def start_from_counts(model: Any, rows: Any, seed: int = 0) -> None:
    """Let a new model start as one that guesses a masked token from what stands around it.

    1. Word embeddings: `ppmi_vectors`, so that their products are near a mutual information.
    2. Value and output matrices of every attention: Q / 2 and Q^T / 2 for a random rotation Q. The
       queries and keys are random and small, so each block adds about a quarter of the mean of all
       tokens to each of them (Trockman & Kolter 2023 start from such products).
    3. The dense layer of the head: the identity, so that what has gathered meets the embeddings.
    4. Its bias: ln P(w). The logits are then near ln P(w) + PMI(w, c) = ln P(w | c), for the
       pieces c around.

    All else stays as it is, and so do the embeddings of pieces that do not occur.

    Parameters
    ----------
    model
        With a head for masked tokens.
    rows
        A dataset of masked rows, such as an `MLMDataset`: `input_ids`, and `labels` that are the
        hidden tokens (S,). Of more than `COUNTED` tokens some rows are counted, evenly spread.

    Raises
    ------
    TrainingError
        If there is no row.
    """
    words = model.bert.embeddings.word.weight
    texts: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    for row in _evenly(rows):
        labels = np.asarray(row["labels"])
        texts.append(np.where(labels >= 0, labels, row["input_ids"]))
        hidden.append(labels[labels >= 0])
    if not texts:
        raise TrainingError("no rows to count; expected at least one")
    vectors = torch.from_numpy(ppmi_vectors(cooccurrences(texts, len(words)), words.size(1), seed))
    often = torch.from_numpy(np.bincount(np.concatenate(hidden), minlength=len(words))).double() + 1
    shares = often / often.sum()
    with torch.no_grad():
        seen = vectors.any(1)
        words[seen] = (vectors[seen] * SPREAD * math.sqrt(words.size(1))).to(words)
        model.mlm_head.bias.copy_(shares.log())
        model.mlm_head.dense.weight.copy_(torch.eye(words.size(1)))
        for number, block in enumerate(model.bert.blocks, 1):
            turn = torch.from_numpy(_turn(words.size(1), (seed, number))) * math.sqrt(PASSED_ON)
            block.attention.qkv.weight.chunk(3)[2].copy_(turn)  # queries, keys, values
            block.attention.output.weight.copy_(turn.T)


def cooccurrences(texts: Sequence[np.ndarray], vocab_size: int,
                  window: int = WINDOW) -> "sparse.csr_array":
    """Return how often pieces stand near one another, (V, V), symmetric.

    Two pieces d places apart count 1 / d (Pennington et al. 2014, section 4.2), up to `window`.

    Examples
    --------
    >>> cooccurrences([np.array([0, 1, 2])], 3).toarray().tolist()
    [[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]]
    """
    from scipy import sparse

    pieces = np.concatenate(texts)
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    counts = sparse.csr_array((vocab_size, vocab_size))
    for apart in range(1, window + 1):
        inside = text_of[:-apart] == text_of[apart:]
        pair = pieces[:-apart][inside], pieces[apart:][inside]
        counts += sparse.csr_array((np.full(inside.sum(), 1 / apart), pair), counts.shape)
    return counts + counts.T


def positive_pmi(counts: "sparse.csr_array") -> "sparse.csr_array":
    """Return max(0, ln(P(w, c) / (P(w) Q(c)))) of counts (V, V), where Q goes as P(c)^.75.

    Source: Levy et al. 2015, section 3.1, "context distribution smoothing".
    """
    from scipy import sparse

    pairs, often = counts.tocoo(), counts.sum(1)
    near = often**SMOOTHING / max((often**SMOOTHING).sum(), 1e-300)  # of no pairs there is none
    row, column = pairs.coords
    found = np.log(pairs.data / (often[row] * near[column]))  # P(w, c) / P(w) = #(w, c) / #(w)
    above = found > 0
    return sparse.csr_array((found[above], (row[above], column[above])), counts.shape)


def ppmi_vectors(counts: "sparse.csr_array", size: int, seed: int = 0) -> np.ndarray:
    """Return vectors (V, size) of length 1 of the pieces, 0 for those without a neighbour.

    U sqrt(S) of the `size` greatest singular values of `positive_pmi` (Levy et al. 2015, section
    3.3, eigenvalue weighting 1/2), turned at random, so that no number of a vector means more
    than another.
    """
    from sklearn.utils.extmath import randomized_svd

    rank = min(size, counts.shape[0])
    left, values, _ = randomized_svd(positive_pmi(counts), rank, n_iter=2, random_state=seed)
    vectors = np.pad(left * np.sqrt(values), ((0, 0), (0, size - rank)))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return vectors @ _turn(size, seed)


def _turn(size: int, seed: int | tuple[int, int]) -> np.ndarray:
    """Return a random orthogonal matrix (size, size)."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def _evenly(rows: Any) -> Iterator[dict[str, Any]]:
    """Yield rows of about `COUNTED` tokens in all, evenly spread."""
    lengths = np.asarray(rows.lengths) if isinstance(rows.lengths, Sequence) else rows.lengths
    step = 1 if len(rows) == 0 else math.ceil(len(rows) * lengths.mean() / COUNTED)
    for row in range(0, len(rows), step):
        yield rows[row]
