"""The scores that a model has to beat before it has learned anything worth its cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bert_kit.checks import same_length
from bert_kit.errors import DataError
from bert_kit.evaluation.outputs import Batches
from bert_kit.evaluation.scores.ranking import Ranks, Searched, rank_right

FROZEN_VECTORS = "frozen vectors + logistic regression"  # the name of `vector_baseline` in results


def majority_baseline(train_labels: Iterable[Any], test_labels: Iterable[Any]) -> float:
    """Return the accuracy on the test labels of always answering the commonest training label.

    Ties go to the label that sorts first, so that the score does not depend on the row order.

    Examples
    --------
    >>> majority_baseline(["ham", "ham", "spam"], ["ham", "spam", "spam", "ham"])
    0.5
    """
    train_labels, test_labels = list(train_labels), list(test_labels)
    if not train_labels or not test_labels:
        raise DataError(f"{len(train_labels)} training and {len(test_labels)} test labels; "
                        "expected at least one of each")
    counts = Counter(train_labels)
    guess = min(counts, key=lambda label: (-counts[label], label))
    return sum(label == guess for label in test_labels) / len(test_labels)


def tfidf_baseline(train_texts: Iterable[str], train_labels: Iterable[Any],
                   test_texts: Iterable[str]) -> list[Any]:
    """Return the label of each test text that logistic regression on words and word pairs predicts.

    TF-IDF of unigrams and bigrams with sublinear counts, then logistic regression with C = 10: the
    linear model that is hard to beat on small data. The same input gives the same answer.

    Raises
    ------
    DataError
        If texts and labels do not match in number, there is only one class, or there is no word.
    """
    from sklearn.linear_model import LogisticRegression

    texts, labels, test_texts = list(train_texts), list(train_labels), list(test_texts)
    same_length(texts=texts, labels=labels)
    if len(set(labels)) < 2:
        raise DataError(f"{len(set(labels))} class in {len(labels)} training labels; "
                        "expected at least 2")
    if not test_texts:
        return []
    features, test_features = _tfidf(texts, test_texts)
    model = LogisticRegression(C=10, max_iter=1_000).fit(features, labels)
    return model.predict(test_features).tolist()


def tfidf_ranks(searched: Searched) -> Ranks:
    """Return how a search by words ranks: by the cosines of TF-IDF, learned on the documents.

    Raises
    ------
    DataError
        If there is no word in them.
    """
    documents, queries = _tfidf(searched.documents, searched.queries)
    return rank_right(searched, lambda part: (queries[part] @ documents.T).toarray())


def vector_baseline(train_vectors: np.ndarray, train_labels: Sequence[Any],
                    test_vectors: np.ndarray) -> list[Any]:
    """Vectors (N, D), (M, D) -> the M labels that logistic regression on them predicts (C = 10).

    With vectors of an encoder that is not trained further this is the linear probe: what its
    weights know already (Alain & Bengio 2016).
    """
    from sklearn.linear_model import LogisticRegression

    same_length(train_vectors=train_vectors, train_labels=train_labels)
    model = LogisticRegression(C=10, max_iter=1_000).fit(train_vectors, train_labels)
    return model.predict(test_vectors).tolist()


def tfidf_label_probabilities(train_texts: Iterable[str], train_labels: ArrayLike,
                              test_texts: Sequence[str]) -> np.ndarray:
    """Return how probable each label is by a logistic regression of its own, as `tfidf_baseline`.

    From 0 and 1 for each label of the N training texts (N, C), to probabilities (M, C) of the M
    test texts. A label that all training texts have, or none, keeps that share. A threshold of .3
    suits these probabilities better than .5, or `fit_thresholds` on others.

    Raises
    ------
    DataError
        If texts and labels do not match in number, or there is no word.
    """
    texts, labels = list(train_texts), np.asarray(train_labels) == 1
    if labels.ndim != 2 or len(texts) != len(labels) or not len(texts):
        raise DataError(f"{len(texts)} training texts but labels of shape {labels.shape}; expected "
                        "a row of 0 and 1 a text")
    if not len(test_texts):
        return np.empty((0, labels.shape[1]))
    features, test_features = _tfidf(texts, test_texts)
    return _label_by_label(features, labels, test_features)


def vector_label_probabilities(train_vectors: np.ndarray, train_labels: ArrayLike,
                               test_vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D), labels of 0 and 1 (N, C), vectors (M, D) -> probabilities (M, C).

    A logistic regression a label, as `vector_baseline` has one for all classes. A label that all
    training rows have, or none, keeps that share.
    """
    labels = np.asarray(train_labels) == 1
    same_length(train_vectors=train_vectors, train_labels=labels)
    return _label_by_label(train_vectors, labels, test_vectors)


def _label_by_label(features: Any, labels: np.ndarray, test_features: Any) -> np.ndarray:
    """Features of N and of M rows, labels (N, C) -> probabilities (M, C), each label by itself."""
    from sklearn.linear_model import LogisticRegression

    result = np.tile(labels.mean(axis=0), (test_features.shape[0], 1))
    for label, holds in enumerate(labels.T):
        if holds.any() and not holds.all():
            model = LogisticRegression(C=10, max_iter=1_000).fit(features, holds)
            result[:, label] = model.predict_proba(test_features)[:, 1]
    return result


def _tfidf(train_texts: Sequence[str], test_texts: Sequence[str]) -> tuple[Any, Any]:
    """Return the features (sparse) of the words and word pairs that the training texts hold."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        features = vectorizer.fit_transform(train_texts)
    except ValueError as error:
        raise DataError(f"the training texts hold no words ({error})") from None
    return features, vectorizer.transform(test_texts)


def unigram_loss(train_loader: Batches, test_loader: Batches, vocab_size: int) -> float:
    """Return the masked-token loss of a model that only knows how common each token is (nats).

    That is the cross-entropy of the test labels under the shares of the training labels, each
    token counted once more than it was seen. A model below it has learned something from context.

    The `labels` (B, S) of the batches are -100 where nothing is predicted.
    """
    def count(loader: Batches) -> Tensor:
        total = torch.zeros(vocab_size, dtype=torch.float64)
        for batch in loader:
            labels = batch["labels"]
            total += torch.bincount(labels[labels >= 0], minlength=vocab_size)
        return total

    seen, wanted = count(train_loader) + 1, count(test_loader)
    if wanted.sum() == 0:
        raise DataError("the test batches have no masked token")
    return -(wanted @ (seen / seen.sum()).log() / wanted.sum()).item()
