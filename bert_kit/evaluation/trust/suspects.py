"""Labels that are probably wrong: rows whose given class a model that has not seen them doubts.

The mistakes of a model on test rows show wrong labels there (`mistakes`); those that do damage are
among the rows to train on. Each of these is told by a model of the other rows. Northcutt et al.
2021 ("Confident Learning", JAIR 70) compare what it says with the labels class by class; to look at
the rows in the order of their loss finds as many (Chong et al. 2022, "Detecting label errors by
using pre-trained language models", arXiv 2205.12702), and that is what is done here.
"""

from collections.abc import Sequence

import numpy as np

from bert_kit.checks import same_length
from bert_kit.evaluation.scores.checks import Rows, Scores
from bert_kit.printing import align, one_line, short_name


def unseen_probabilities(vectors: np.ndarray, labels: Sequence[int] | np.ndarray,
                         folds: Sequence[int] | np.ndarray) -> np.ndarray:
    """Vectors (N, D) of rows -> how probable each class is (N, C), told by the other rows.

    A row is told by logistic regression (C = 1) on the rows of all folds but its own. Vectors are
    centred and scaled to a mean square length of 1 before, so that C means the same for every
    encoder. With a greater C, as of the baselines, the regression follows the wrong labels among
    its rows. The same input gives the same answer.

    Parameters
    ----------
    labels
        Class numbers (N,) from 0 to C - 1.
    folds
        The fold (N,) of each row. Rows that are alike, as equal texts, belong in one: else one
        tells the label of the other.

    Returns
    -------
        float64; nan for a class that no row of the other folds has, of which nothing is known.

    Examples
    --------
    >>> p = unseen_probabilities([[0], [1], [0], [1], [1]], [0, 1, 0, 1, 0], [0, 0, 1, 1, 1])
    >>> int(p[4].argmax())  # the label of the last row is 0; it looks like those of class 1
    1
    """
    from sklearn.linear_model import LogisticRegression

    same_length(vectors=vectors, labels=labels, folds=folds)
    labels, folds = np.asarray(labels), np.asarray(folds)
    vectors = np.asarray(vectors, dtype=np.float64)
    vectors = vectors - vectors.mean(0)
    vectors /= max(np.sqrt((vectors**2).sum(1).mean()), np.finfo(float).tiny)
    result = np.full((len(labels), labels.max(initial=-1) + 1), np.nan)
    for fold in np.unique(folds):
        held, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        known = np.unique(labels[rest])
        if len(known) > 1:
            model = LogisticRegression(C=1, max_iter=1_000).fit(vectors[rest], labels[rest])
            result[np.ix_(held, known)] = model.predict_proba(vectors[held])
        else:
            result[np.ix_(held, known)] = 1
    return result


def rank_labels(probabilities: np.ndarray, labels: Sequence[int] | np.ndarray) -> list[Scores]:
    """Return all rows, those first whose label is the least probable.

    Parameters
    ----------
    probabilities
        As from `unseen_probabilities` (N, C).
    labels
        Class numbers (N,).

    Returns
    -------
    list of dict
        `row` (number from 0), `label`, `prediction` (class numbers), `probability` of the label and
        `confidence`, the probability of the prediction. Where nothing is known of the label, its
        probability is None and the row stands last. Rows are in order where equal.

    Examples
    --------
    >>> rank_labels(np.array([[0.75, 0.25], [0.75, 0.25]]), [0, 1])[0]
    {'row': 1, 'label': 1, 'prediction': 0, 'probability': 0.25, 'confidence': 0.75}
    """
    same_length(probabilities=probabilities, labels=labels)
    labels = np.asarray(labels, dtype=np.int64)
    given = probabilities[np.arange(len(labels)), labels]
    likely = np.where(np.isnan(probabilities), -1, probabilities)
    order = np.argsort(given, kind="stable")  # nan last
    return [{"row": int(row), "label": int(labels[row]), "prediction": int(likely[row].argmax()),
             "probability": None if np.isnan(given[row]) else float(given[row]),
             "confidence": float(likely[row].max())} for row in order]


def format_suspects(suspects: Rows, texts: Sequence[str], class_names: Sequence[str],
                    places: Sequence[object], width: int = 70) -> str:
    """Lay out rows of `rank_labels` as an aligned table, one line each.

    Parameters
    ----------
    texts, places
        Of all rows: their texts, and where each stands, as its line in a file.
    class_names
        One name a class, in the order of the class numbers.
    width
        Characters of a text that are shown. Line breaks and control characters are not.
    """
    rows = [[str(places[one["row"]]), short_name(class_names[one["label"]]),
             "" if one["probability"] is None else f"{one['probability']:.4f}",
             short_name(class_names[one["prediction"]]), f"{one['confidence']:.4f}",
             one_line(texts[one["row"]], width)] for one in suspects]
    return align(["line", "given", "probable", "most likely", "probable", "text"], rows,
                 left=(1, 3, 5))
