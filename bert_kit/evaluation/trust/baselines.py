"""The scores that a model has to beat before it has learned anything worth its cost."""

from collections import Counter

import numpy as np
import torch

from bert_kit.errors import DataError


def majority_baseline(train_labels, test_labels):
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


def tfidf_baseline(train_texts, train_labels, test_texts):
    """Return the labels that logistic regression on words and word pairs predicts.

    TF-IDF of unigrams and bigrams with sublinear counts, then logistic regression with C = 10: the
    linear model that is hard to beat on small data. The same input gives the same answer.

    Parameters
    ----------
    train_texts, test_texts : list of str
    train_labels : list
        One class for each training text.

    Returns
    -------
    list
        One label for each test text.

    Raises
    ------
    DataError
        If texts and labels do not match in number, there is only one class, or there is no word.
    """
    from sklearn.linear_model import LogisticRegression

    train_texts, train_labels = list(train_texts), list(train_labels)
    test_texts = list(test_texts)
    if len(train_texts) != len(train_labels):
        raise DataError(f"{len(train_texts)} training texts but {len(train_labels)} labels; "
                        "expected one label a text")
    if len(set(train_labels)) < 2:
        raise DataError(f"{len(set(train_labels))} class in {len(train_labels)} training labels; "
                        "expected at least 2")
    if not test_texts:
        return []
    features, test_features = _tfidf(train_texts, test_texts)
    model = LogisticRegression(C=10, max_iter=1_000).fit(features, train_labels)
    return model.predict(test_features).tolist()


def tfidf_label_probabilities(train_texts, train_labels, test_texts):
    """Return how probable each label is by a logistic regression of its own, as `tfidf_baseline`.

    Parameters
    ----------
    train_texts, test_texts : list of str
    train_labels : array of 0 and 1, (N, C)

    Returns
    -------
    array of float, (M, C)
        For the M test texts. A label that all training texts have, or none, keeps that share. A
        threshold of .3 suits these probabilities better than .5, or `fit_thresholds` on others.

    Raises
    ------
    DataError
        If texts and labels do not match in number, or there is no word.
    """
    from sklearn.linear_model import LogisticRegression

    train_texts, train_labels = list(train_texts), np.asarray(train_labels) == 1
    if train_labels.ndim != 2 or len(train_texts) != len(train_labels) or not len(train_texts):
        raise DataError(f"{len(train_texts)} training texts but labels of shape "
                        f"{train_labels.shape}; expected a row of 0 and 1 a text")
    result = np.tile(train_labels.mean(axis=0), (len(test_texts), 1))
    if not len(test_texts):
        return result
    features, test_features = _tfidf(train_texts, list(test_texts))
    for label, holds in enumerate(train_labels.T):
        if holds.any() and not holds.all():
            model = LogisticRegression(C=10, max_iter=1_000).fit(features, holds)
            result[:, label] = model.predict_proba(test_features)[:, 1]
    return result


def _tfidf(train_texts, test_texts):
    """Return the features of the words and word pairs that the training texts hold."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        features = vectorizer.fit_transform(train_texts)
    except ValueError as error:
        raise DataError(f"the training texts hold no words ({error})") from None
    return features, vectorizer.transform(test_texts)


def unigram_loss(train_loader, test_loader, vocab_size):
    """Return the masked-token loss of a model that only knows how common each token is (nats).

    That is the cross-entropy of the test labels under the shares of the training labels, each
    token counted once more than it was seen. A model below it has learned something from context.

    Parameters
    ----------
    train_loader, test_loader : iterable of dict
        Batches whose `labels` (B, S) are -100 where nothing is predicted.
    vocab_size : int
        Number of tokens V.
    """
    def count(loader):
        total = torch.zeros(vocab_size, dtype=torch.float64)
        for batch in loader:
            labels = batch["labels"]
            total += torch.bincount(labels[labels >= 0], minlength=vocab_size)
        return total

    seen, wanted = count(train_loader) + 1, count(test_loader)
    if wanted.sum() == 0:
        raise DataError("the test batches have no masked token")
    return -(wanted @ (seen / seen.sum()).log() / wanted.sum()).item()
