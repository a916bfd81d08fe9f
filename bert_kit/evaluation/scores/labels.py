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
from bert_kit.evaluation.scores.checks import Scores, Values, check_label_sets, floats
from bert_kit.evaluation.scores.classes import ratio, scores_of_counts


def predict_label_sets(probabilities: Values, thresholds: Values = 0.5) -> np.ndarray:
    """Return which labels are given: those of at least their threshold, as bool (N, C).

    Parameters
    ----------
    probabilities
        Of shape (N, C).
    thresholds
        One for all labels or one for each, (C,); see `fit_thresholds`.

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


def multilabel_metrics(probabilities: Values, labels: Values, thresholds: Values = 0.5) -> Scores:
    """Return every score of the labels of texts; all values can be written as JSON.

    Parameters
    ----------
    probabilities, labels
        Of shape (N, C); a label is 0 or 1.
    thresholds
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
    each = scores_of_counts(right, given.sum(axis=0), support)
    micro = scores_of_counts(right.sum(), given.sum(), support.sum())
    row_right, either = (given & labels).sum(axis=1), (given | labels).sum(axis=1)
    cuts = np.broadcast_to(floats(thresholds), support.shape)
    return {"f1_micro": float(micro["f1"]),
            "f1_macro": float(each["f1"].mean()),
            "f1_weighted": float(ratio(each["f1"] @ support, support.sum())),
            "f1_samples": float(ratio(2 * row_right, row_right + either, empty=1).mean()),
            **{f"{name}_micro": float(micro[name]) for name in ("precision", "recall")},
            **{f"{name}_macro": float(each[name].mean()) for name in ("precision", "recall")},
            "jaccard": float(ratio(row_right, either, empty=1).mean()),
            "exact_match": float((given == labels).all(axis=1).mean()),
            **_ranking_scores(probabilities, labels),
            "per_class": [{"class": i, **{name: float(score[i]) for name, score in each.items()},
                           "support": int(support[i]), "threshold": float(cuts[i])}
                          for i in range(len(support))]}


def multilabel_logit_metrics(logits: Values, labels: Values, thresholds: Values = 0.5) -> Scores:
    """Logits (N, C), labels (N, C) -> `loss` and all of `multilabel_metrics`.

    The loss is the mean binary cross-entropy of a cell, in nats.
    """
    logits, labels = torch.tensor(floats(logits)), torch.tensor(floats(labels))
    metrics = multilabel_metrics(logits.sigmoid(), labels, thresholds)  # checks them too
    return {"loss": float(F.binary_cross_entropy_with_logits(logits, labels)), **metrics}


def _ranking_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the three scores of the order of each text's labels; ties count as wrong order."""
    from sklearn.metrics import (coverage_error, label_ranking_average_precision_score,
                                 label_ranking_loss)

    if labels.shape[1] == 1:  # scikit-learn asks for two: one that nobody has changes no score
        labels = np.pad(labels, [(0, 0), (0, 1)])
        probabilities = np.pad(probabilities, [(0, 0), (0, 1)], constant_values=-1)
    return {"coverage_error": float(coverage_error(labels, probabilities)),
            "label_ranking_average_precision": float(
                label_ranking_average_precision_score(labels, probabilities)),
            "ranking_loss": float(label_ranking_loss(labels, probabilities))}
