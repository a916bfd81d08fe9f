"""How good predictions are where a text has any number of labels, over a whole data set at once.

A cell is one label of one text. Micro averages count all cells alike; macro averages are means
over the C labels, weighted ones by how many texts have the label; samples averages are means over
texts. As everywhere in the kit a ratio with nothing in its denominator counts as 0, but for one: a
text without labels that is given none is right, and counts as 1 in the averages over texts.
"""

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import check_label_sets, floats


def predict_label_sets(probabilities, thresholds=0.5):
    """Return which labels are given: those of at least their threshold, as bool (N, C).

    Parameters
    ----------
    probabilities : array or tensor of float, (N, C)
    thresholds : float, or array (C,)
        One for all labels or one for each; see `fit_thresholds`.

    Examples
    --------
    >>> predict_label_sets([[0.2, 0.9], [0.6, 0.4]], thresholds=[0.5, 0.4]).tolist()
    [[False, True], [True, True]]
    """
    probabilities, thresholds = floats(probabilities), floats(thresholds)
    if probabilities.ndim != 2 or thresholds.shape not in ((), probabilities.shape[1:]):
        raise DataError(f"thresholds of shape {thresholds.shape} for probabilities of shape "
                        f"{probabilities.shape}; expected one number, or one a label")
    return probabilities >= thresholds


def multilabel_metrics(probabilities, labels, thresholds=0.5):
    """Return every score of the labels of texts; all values can be written as JSON.

    Parameters
    ----------
    probabilities : array or tensor of float, (N, C)
    labels : array or tensor of 0 and 1, (N, C)
    thresholds : float, or array (C,)
        As in `predict_label_sets`. The last three scores need none.

    Returns
    -------
    dict
        `f1_micro`, `f1_macro`, `f1_weighted`, `f1_samples`; `precision_micro`, `recall_micro`,
        `precision_macro`, `recall_macro`; `jaccard` (samples; the share of labels given or true
        that are both); `exact_match` (texts with every label right); `per_class`, a list of C
        dicts with `class`, `precision`, `recall`, `f1`, `support` and `threshold`;
        `coverage_error` (how many of a text's best labels it takes to have all true ones),
        `label_ranking_average_precision` (of the labels at least as probable as a true one, the
        share that is true) and `ranking_loss` (pairs of a true label and another in wrong order),
        all three as in Tsoumakas et al. 2010, "Mining Multi-label Data", and scikit-learn.

    Raises
    ------
    DataError
        If there are no rows, or probabilities, labels and thresholds do not fit.

    Examples
    --------
    >>> scores = multilabel_metrics([[0.9, 0.6], [0.2, 0.7]], [[1, 0], [0, 1]])
    >>> scores["f1_micro"], scores["exact_match"], scores["ranking_loss"]
    (0.8, 0.5, 0.0)
    """
    probabilities, labels = check_label_sets(probabilities, labels)
    given = predict_label_sets(probabilities, thresholds)
    right, support = (given & labels).sum(axis=0), labels.sum(axis=0)
    precision, recall = ratio(right, given.sum(axis=0)), ratio(right, support)
    f1 = ratio(2 * right, given.sum(axis=0) + support)
    row_right, either = (given & labels).sum(axis=1), (given | labels).sum(axis=1)
    row_sizes = given.sum(axis=1) + labels.sum(axis=1)
    each = np.broadcast_to(floats(thresholds), support.shape)
    return {"f1_micro": float(ratio(2 * right.sum(), given.sum() + support.sum())),
            "f1_macro": float(f1.mean()),
            "f1_weighted": float(ratio(f1 @ support, support.sum())),
            "f1_samples": float(ratio(2 * row_right, row_sizes, empty=1).mean()),
            "precision_micro": float(ratio(right.sum(), given.sum())),
            "recall_micro": float(ratio(right.sum(), support.sum())),
            "precision_macro": float(precision.mean()), "recall_macro": float(recall.mean()),
            "jaccard": float(ratio(row_right, either, empty=1).mean()),
            "exact_match": float((given == labels).all(axis=1).mean()),
            **_ranking_scores(probabilities, labels),
            "per_class": [{"class": i, "precision": float(precision[i]),
                           "recall": float(recall[i]), "f1": float(f1[i]),
                           "support": int(support[i]), "threshold": float(each[i])}
                          for i in range(len(support))]}


def multilabel_logit_metrics(logits, labels, thresholds=0.5):
    """Logits (N, C), labels (N, C) -> `loss` and all of `multilabel_metrics`.

    The loss is the mean binary cross-entropy of a cell, in nats.
    """
    logits, labels = torch.tensor(floats(logits)), torch.tensor(floats(labels))
    metrics = multilabel_metrics(logits.sigmoid(), labels, thresholds)  # checks them too
    return {"loss": float(F.binary_cross_entropy_with_logits(logits, labels)), **metrics}


def ratio(part, whole, empty=0):
    """Return part / whole of numbers or arrays, and `empty` where there is no whole."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole)
    return np.divide(part, whole, out=np.full(part.shape, float(empty)), where=whole > 0)


def _ranking_scores(probabilities, labels):
    """Return the three scores of the order of each text's labels; ties count as wrong order."""
    coverage, precision, loss = np.zeros((3, len(labels)))
    precision[:] = 1  # where all labels hold, or none, every order is right
    for row, (scores, holds) in enumerate(zip(probabilities, labels)):
        true, false = scores[holds], scores[~holds]
        if len(true):
            coverage[row] = (scores >= true.min()).sum()
        if len(true) and len(false):
            true_above = (true[:, None] >= true).sum(axis=0)  # itself too
            false_above = (false[:, None] >= true).sum(axis=0)
            precision[row] = (true_above / (true_above + false_above)).mean()
            loss[row] = false_above.mean() / len(false)
    return {"coverage_error": float(coverage.mean()),
            "label_ranking_average_precision": float(precision.mean()),
            "ranking_loss": float(loss.mean())}
