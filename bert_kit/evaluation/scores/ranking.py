"""How good a search is: at which rank the right documents of a query stand.

All documents are ranked for each query, the best first; of equal ones the one that stands first in
the list. Recall@k is the share of a query's right documents among the first k, MRR@10 the mean of 1
over the rank of the first right one (0 beyond rank 10), and NDCG@10 the sum of 1 / log2(1 + rank)
of the right ones among the first ten, over the largest sum there could be (Järvelin & Kekäläinen
2002, for documents that are right or not). All are means over the queries, from 0 to 1.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bert_kit.errors import DataError

CUT = 10  # ranks that count for MRR and NDCG
RECALL_AT = (1, 10)
QUERIES_AT_ONCE = 256  # and right documents


@dataclass(frozen=True)
class Searched:
    """What is searched for, and where.

    Attributes
    ----------
    right
        (P, 2): a query, and a document that is right for it, by their places; sorted.
    """

    queries: list[str]
    documents: list[str]
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.right)

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]]) -> "Searched":
        """Return the search in rows of a query, a right document and maybe wrong ones.

        Equal texts are one. What is right for a query in any row is right for it.

        Examples
        --------
        >>> found = Searched.of([("q", "a"), ("q", "b"), ("r", "a", "wrong")])
        >>> found.documents, found.right.tolist()
        (['a', 'b', 'wrong'], [[0, 0], [0, 1], [1, 0]])
        """
        queries: dict[str, int] = {}
        documents: dict[str, int] = {}
        right = set()
        for query, *texts in rows:
            places = [documents.setdefault(text, len(documents)) for text in texts]
            right.add((queries.setdefault(query, len(queries)), places[0]))
        if not right:
            raise DataError("no rows to search in; expected at least one")
        return cls([*queries], [*documents], np.array(sorted(right)))


class Ranks(NamedTuple):
    """Where the right documents stand.

    Attributes
    ----------
    queries, ranks
        (P,): a query by its place, and the rank of a document that is right for it, from 1.
    spread
        Standard deviation of a query's cosines with all documents, the mean over the queries.
    """

    queries: np.ndarray
    ranks: np.ndarray
    spread: float


def rank_right(searched: Searched, cosines: Callable[[slice], Any]) -> Ranks:
    """Return the ranks of the right documents.

    A document equal to the query is not searched, unless it is right for it.

    Parameters
    ----------
    cosines
        `cosines(part)` -> (Q', M), of some queries with all documents.
    """
    count, right = len(searched.documents), searched.right
    place = {text: column for column, text in enumerate(searched.documents)}
    wanted, ranks, spreads = set(map(tuple, right.tolist())), [], []
    for start in range(0, len(searched.queries), QUERIES_AT_ONCE):
        part = slice(start, min(start + QUERIES_AT_ONCE, len(searched.queries)))
        table = np.array(cosines(part), dtype=np.float32)  # a copy, which is changed
        spreads.append(table.std(1))
        for query in range(part.start, part.stop):
            itself = place.get(searched.queries[query])
            if itself is not None and (query, itself) not in wanted:
                table[query - start, itself] = -np.inf
        pairs = right[(right[:, 0] >= part.start) & (right[:, 0] < part.stop)]
        for first in range(0, len(pairs), QUERIES_AT_ONCE):  # a query may have thousands
            rows, columns = pairs[first:first + QUERIES_AT_ONCE].T
            others = table[rows - start]  # (P', M)
            own = others[np.arange(len(rows)), columns][:, None]
            before = np.arange(count) < columns[:, None]  # of equal ones
            ranks.append(1 + ((others > own) | (others == own) & before).sum(1))
    return Ranks(right[:, 0], np.concatenate(ranks), float(np.concatenate(spreads).mean()))


def ranking_metrics(found: Ranks) -> dict[str, float]:
    """Return every score of a search.

    Returns
    -------
    dict
        `ndcg@10`, `mrr@10`, `recall@1` and `recall@10`; see the head of this file.

    Examples
    --------
    >>> scores = ranking_metrics(Ranks(np.array([0, 1]), np.array([1, 2]), 0.1))
    >>> scores["recall@1"], scores["mrr@10"], round(scores["ndcg@10"], 4)
    (0.5, 0.75, 0.8155)
    """
    queries, ranks = found.queries, found.ranks
    rights = np.bincount(queries)  # right documents of each query, one at least
    gains = 1 / np.log2(1 + np.arange(1, CUT + 1))
    ideal = gains.cumsum()[np.minimum(rights, CUT) - 1]
    near = ranks <= CUT
    gained = np.bincount(queries[near], gains[ranks[near] - 1], len(rights))
    firsts = np.full(len(rights), np.inf)
    np.minimum.at(firsts, queries[near], ranks[near])
    recalls = {f"recall@{most}": (np.bincount(queries[ranks <= most], minlength=len(rights))
                                  / rights) for most in RECALL_AT}
    scores = {f"ndcg@{CUT}": gained / ideal, f"mrr@{CUT}": 1 / firsts, **recalls}
    return {name: float(values.mean()) for name, values in scores.items()}
