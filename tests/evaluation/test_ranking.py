"""Ranks and scores of a search against brute force and scikit-learn."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from bert_kit.errors import DataError
from bert_kit.evaluation import (Ranks, Searched, rank_right, ranking_metrics, tfidf_ranks)
from bert_kit.evaluation.scores import ranking

ROWS = [(f"q{i}", f"d{(i * 5 + j) % 23}") for i in range(17) for j in range(i % 4 + 1)]


def searched(rows=ROWS, extra=23):
    """The rows, with all documents in the first row's place, so that none is unknown."""
    return Searched.of([*rows, *((*rows[0], f"d{i}") for i in range(extra))])


@pytest.mark.parametrize("decimals", [1, 6])  # with ties, and without
def test_scores_are_those_of_a_full_sort(decimals, monkeypatch):
    monkeypatch.setattr(ranking, "QUERIES_AT_ONCE", 5)
    search, rng = searched(), np.random.default_rng(0)
    table = rng.random((17, 23)).round(decimals).astype(np.float32)
    found = rank_right(search, lambda part: table[part])
    relevant = np.zeros((17, 23))
    relevant[tuple(search.right.T)] = 1
    orders = np.argsort(-table, axis=1, kind="stable")
    wanted = {"ndcg@10": [], "mrr@10": [], "recall@1": [], "recall@10": []}
    for row, order in enumerate(orders):
        hits = relevant[row, order]
        wanted["recall@1"].append(hits[0] / hits.sum())
        wanted["recall@10"].append(hits[:10].sum() / hits.sum())
        wanted["mrr@10"].append(next((1 / rank for rank in range(1, 11) if hits[rank - 1]), 0))
        places = np.empty(23)
        places[order] = np.arange(23, 0, -1)  # without ties: scikit-learn takes their mean
        wanted["ndcg@10"].append(ndcg_score([relevant[row]], [places], k=10))
        assert found.ranks[found.queries == row].tolist() == [
            int(np.flatnonzero(order == column)[0]) + 1
            for column in search.right[search.right[:, 0] == row, 1]]
    assert ranking_metrics(found) == pytest.approx(
        {name: np.mean(values) for name, values in wanted.items()})
    assert found.spread == pytest.approx(table.std(1).mean())


def test_a_text_is_not_found_by_itself():
    """Paraphrases are queries and documents; the text itself, at cosine 1, is nobody's answer."""
    search = Searched.of([("a", "b"), ("b", "a"), ("c", "c")])
    assert search.documents == ["b", "a", "c"] and len(search) == 3
    table = np.array([[0.2, 1, 0.1], [1, 0.3, 0.2], [0.1, 0.2, 1]])
    assert rank_right(search, lambda part: table[part]).ranks.tolist() == [1, 1, 1]
    assert table[0, 1] == 1  # what was handed out is not changed


def test_words_find_what_shares_them():
    search = Searched.of([("red sun", "the red sun"), ("blue ice", "ice, blue"), ("x", "y z w")])
    assert tfidf_ranks(search).ranks.tolist() == [1, 1, 3]
    with pytest.raises(DataError, match="no words"):
        tfidf_ranks(Searched.of([("a", "!"), ("b", "?")]))
    with pytest.raises(DataError, match="no rows"):
        Searched.of([])


def test_a_query_with_many_right_documents_takes_little_memory():
    count = 3_000  # a table of all of them would be 36 MB
    search = Searched.of([("q", f"d{i}") for i in range(count)])
    table = np.random.default_rng(0).random((1, count)).astype(np.float32)
    tracemalloc.start()
    found = rank_right(search, lambda part: table[part])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(found.ranks.tolist()) == [*range(1, count + 1)]
    assert peak < 10e6


def test_ten_right_documents_and_more():
    """More than ten cannot stand among the first ten: the best there could be counts as 1."""
    found = ranking_metrics(Ranks(np.zeros(12, int), np.arange(1, 13), 0.1))
    assert found == pytest.approx({"ndcg@10": 1, "mrr@10": 1, "recall@1": 1 / 12,
                                   "recall@10": 10 / 12})
