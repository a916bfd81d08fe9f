"""Search by meaning: the texts of a file whose vectors have the smallest angles to a query's."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch

from bert_kit.checks import whole
from bert_kit.data import Reading, stream_texts
from bert_kit.errors import DataError
from bert_kit.printing import one_line
from bert_kit.files import check_readable, read_json
from bert_kit.jobs.tasks.similarity import CHUNK, SentenceEncoder, chunks_of, directions


class Match(NamedTuple):
    """A text found: its cosine to the query, its number in the file (from 0), and itself."""

    score: float
    row: int
    text: str


def search(encoder: SentenceEncoder, queries: Sequence[str], data_file: str | Path,
           vectors_file: str | Path | None = None, top_k: int = 10, text_column: str = "text",
           **reading: Unpack[Reading]) -> list[list[Match]]:
    """Return for each query the texts of a file that are nearest in meaning.

    What the encoder's folder has as prompts for queries and for documents stands before each.

    Parameters
    ----------
    data_file, text_column, **reading
        As in `embed_file`.
    vectors_file
        What `embed_file` wrote for this file; without it the texts are encoded now. What it wrote
        beside it says of which texts and model they are.
    top_k
        Texts for each query.

    Returns
    -------
    list
        For each query, best first.

    Raises
    ------
    DataError
        If the vectors are of other texts, in another order, of another model, or made with
        another prompt.
    WeightsError
        If the encoder's vectors are meant to be compared otherwise.
    """
    encoder.layout.check_comparable()
    texts = partial(stream_texts, data_file, text_column)
    if vectors_file is None:
        blocks = map(encoder.encode_document, chunks_of(texts(**reading)))
    else:
        now = origin_of(encoder, texts(**reading))
        vectors = open_vectors(vectors_file, now["rows"], encoder.dimension)
        check_origin(vectors_file, now, encoder.layout.document_prompt)
        blocks = (vectors[start:start + CHUNK] for start in range(0, len(vectors), CHUNK))
    scores, rows = nearest(encoder.encode_query(queries), blocks, top_k)
    wanted = set(rows.flatten().tolist())
    found = {row: text for row, text in enumerate(texts(**again(reading))) if row in wanted}
    return [[Match(score, row, found[row]) for score, row in zip(*pair, strict=True)]
            for pair in zip(scores.tolist(), rows.tolist(), strict=True)]


def again(reading: Reading) -> Reading:
    """Return how the same rows are read once more; those that are left out were told before."""
    return {**reading, "bad_rows": None if reading.get("bad_rows") is None else [], "notes": None}


def format_matches(queries: Sequence[str], found: Sequence[Sequence[Match]]) -> str:
    """Return what `search` found as text: each query, and under it its matches, a line each."""
    return "\n".join("\n".join([one_line(query, 1_000), *(
        f"  {match.score:.4f}  {one_line(match.text, 1_000)}" for match in matches)])
        for query, matches in zip(queries, found, strict=True))


def nearest(queries: Any, blocks: Iterable[Any],
            top_k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Find the vectors with the smallest angles to some queries.

    Parameters
    ----------
    queries
        (Q, D)
    blocks
        Arrays (N_i, D): the vectors to search, some at a time; ``[vectors]`` is all at once.

    Returns
    -------
    cosines, rows : arrays (Q, K)
        Best first; K is `top_k`, or the number of all vectors if that is smaller.

    Examples
    --------
    >>> cosines, rows = nearest([[2.0, 0.0]], [[[0.0, 3.0], [1.0, 0.0]], [[3.0, 4.0]]], 2)
    >>> [round(cosine, 4) for cosine in cosines[0].tolist()], rows.tolist()
    ([1.0, 0.6], [[1, 2]])
    """
    whole("top_k", top_k, 1)
    queries, start = directions(queries), 0
    best, rows = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
    for block in map(directions, blocks):
        cosines, places = (queries @ block.T).topk(min(top_k, len(block)))  # (Q, N_i) -> (Q, K)
        best, rows = torch.cat([best, cosines], 1), torch.cat([rows, places + start], 1)
        best, order = best.topk(min(top_k, best.shape[1]))
        rows, start = rows.gather(1, order), start + len(block)
    return best.numpy(), rows.numpy()


def origin_of(encoder: SentenceEncoder, texts: Iterable[str]) -> dict[str, Any]:
    """Return what vectors of documents are made of.

    That is the number of texts, SHA-256s of them and the model, and the prompt before each.
    """
    digest, rows = hashlib.sha256(), 0
    for text in texts:
        line = text.encode("utf-8", "surrogatepass")
        digest.update(len(line).to_bytes(8, "little") + line)
        rows += 1
    return {"rows": rows, "texts": digest.hexdigest(), "model": encoder.fingerprint(),
            "prompt": encoder.layout.document_prompt or ""}


def origin_file(vectors_file: str | Path) -> Path:
    """Return the file beside vectors that says what they are made of."""
    return Path(f"{vectors_file}.json")


def check_origin(vectors_file: str | Path, now: Mapping[str, Any],
                 prompt: str | None = None) -> None:
    """Refuse vectors of other texts or of another model than `now`, or with another prompt.

    Older vectors do not say, and were made with no prompt. Any prompt is right where none is known.
    """
    path = origin_file(vectors_file)
    before = read_json(path) if path.exists() else {}
    for name, what in (("texts", "other texts, or the same in another order"),
                       ("model", "another model")):
        if before.get(name, now[name]) != now[name]:
            raise DataError(f"{vectors_file}: vectors of {what}, as {path.name} says; expected "
                            "those of this model and file: write them anew with --output_file")
    made = str(before.get("prompt", ""))
    if before and prompt is not None and made != prompt:
        raise DataError(f"{vectors_file}: made with {made!r:.60} before each text, as {path.name} "
                        f"says; expected {prompt!r:.60}: write them anew with --output_file, or "
                        f"search with --document_prompt {made!r:.60}")


def open_vectors(path: str | Path, count: int, dimension: int) -> np.ndarray:
    """Return the memory-mapped array (count, dimension) in a .npy file."""
    try:
        check_readable(path, math.inf)  # no pipe
        vectors = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read ({reason}); expected a .npy file") from None
    if vectors.shape != (count, dimension) or vectors.dtype.kind != "f":
        raise DataError(f"{path}: holds {vectors.dtype} numbers {vectors.shape}; expected vectors "
                        f"({count}, {dimension}) of the same model and texts")
    return vectors
