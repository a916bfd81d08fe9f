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
LENGTH = 0.8  # of an embedding: a deviation of .05 at 256; .02 and .1 measured worse
TOKENS, ROWS = 5_000_000, 50_000  # that are counted; more would hardly change the vectors
PIECES = 30_000  # the most common ones have vectors; the matrix of more would not fit


def start_from_counts(model: Any, rows: Any, seed: int = 0) -> None:
    """Let a new model start as one that guesses a masked token from what stands around it.

    1. Word embeddings: `ppmi_vectors`. Their products say how alike the neighbours of two pieces
       are.
    2. Value and output matrices of the attention of each of L blocks: Q / sqrt(L) and Q^T / sqrt(L)
       for a random rotation Q. The queries and keys are random and small, so each block adds about
       1 / L of the mean of all tokens to each of them. (Trockman & Kolter 2023 set such products
       too, in images to about minus the identity, and queries by keys to about the identity.)
    3. The dense layer of the head: the identity, so that what has gathered meets the embeddings.
    4. Its bias: ln P(w). A guess is then a common piece with neighbours like those of the pieces
       around.

    All else stays as it is, and so do the embeddings of pieces that do not occur, or are rarer than
    the `PIECES` most common ones.

    Parameters
    ----------
    model
        With a head for masked tokens.
    rows
        A dataset of masked rows, such as an `MLMDataset`: `input_ids`, and `labels` that are the
        hidden tokens (S,). Special tokens are counted too. Of more than `TOKENS` tokens or `ROWS`
        rows some are counted, evenly spread.

    Raises
    ------
    TrainingError
        If there is no row, or rows have no label for each token.
    """
    words = model.bert.embeddings.word.weight
    count, size = words.shape
    texts: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    for row in _evenly(rows):
        labels = np.asarray(row["labels"])
        if labels.shape != np.shape(row["input_ids"]):
            raise TrainingError("the rows have no label for each token; expected masked rows")
        texts.append(np.where(labels >= 0, labels, row["input_ids"]))
        hidden.append(labels[labels >= 0])
    if not texts:
        raise TrainingError("no rows to count; expected at least one")
    vectors = torch.from_numpy(LENGTH * ppmi_vectors(cooccurrences(texts, count), size, seed))
    often = torch.from_numpy(np.bincount(np.concatenate(hidden), minlength=count)).double() + 1
    with torch.no_grad():
        seen = vectors.any(1)
        words[seen] = vectors[seen].to(words)
        model.mlm_head.bias.copy_((often / often.sum()).log())
        model.mlm_head.dense.weight.copy_(torch.eye(size))
        for number, block in enumerate(model.bert.blocks, 1):
            turn = torch.from_numpy(_turn(size, (seed, number))) / math.sqrt(len(model.bert.blocks))
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

    Source: Levy et al. 2015, section 3.2, "context distribution smoothing".
    """
    from scipy import sparse

    pairs, often = counts.tocoo(), counts.sum(1)
    near = often**SMOOTHING / max((often**SMOOTHING).sum(), 1e-300)  # of no pairs there is none
    row, column = pairs.row, pairs.col
    found = np.log(pairs.data / (often[row] * near[column]))  # P(w, c) / P(w) = #(w, c) / #(w)
    above = found > 0
    return sparse.csr_array((found[above], (row[above], column[above])), counts.shape)


def ppmi_vectors(counts: "sparse.csr_array", size: int, seed: int = 0) -> np.ndarray:
    """Return vectors (V, size) of length 1 of the pieces.

    U sqrt(S) of the `size` greatest singular values of `positive_pmi` (Levy et al. 2015, section
    3.3, eigenvalue weighting 1/2), turned at random, so that no number of a vector means more
    than another. 0 for pieces without a neighbour, and for rarer ones than the `PIECES` with the
    most.
    """
    from sklearn.utils.extmath import randomized_svd

    often = counts.sum(1)
    common = np.sort(np.argsort(-often, kind="stable")[:min(PIECES, int((often > 0).sum()))])
    vectors = np.zeros((len(often), size))
    if len(common) > 0:
        rank = min(size, len(common))
        near: Any = counts[common]
        rounds: Any = 2  # scikit-learn's annotation knows "auto" only
        left, values, _ = randomized_svd(positive_pmi(near[:, common]), rank, n_iter=rounds,
                                         random_state=seed)
        vectors[common, :rank] = left * np.sqrt(values)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-6)
    return vectors @ _turn(size, seed)


def _turn(size: int, seed: int | tuple[int, int]) -> np.ndarray:
    """Return a random orthogonal matrix (size, size)."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def _evenly(rows: Any) -> Iterator[dict[str, Any]]:
    """Yield rows of about `TOKENS` tokens in all and `ROWS` at most, evenly spread."""
    if len(rows) == 0:
        return
    step = math.ceil(len(rows) * max(rows.lengths.mean() / TOKENS, 1 / ROWS))
    for row in range(0, len(rows), step):
        yield rows[row]
