"""The rows that a classifier gets wrong, the most confident first: read these before tuning."""

from collections.abc import Sequence

import numpy as np

from bert_kit.checks import whole
from bert_kit.errors import DataError
from bert_kit.evaluation.scores.checks import Rows, Scores, Values, check_probabilities
from bert_kit.printing import align, one_line, short_name


def most_confident_mistakes(probabilities: Values, labels: Values, count: int | None = 20
                            ) -> list[Scores]:
    """Return the wrong rows in which the model was surest of itself.

    Where it is sure and wrong, the label is often the mistake, or the classes overlap.

    Parameters
    ----------
    probabilities
        Of shape (N, C).
    labels
        Class numbers (N,).
    count
        At most so many rows; None for all.

    Returns
    -------
    list of dict
        `row` (number from 0), `label`, `prediction` (class numbers) and `confidence`; the most
        confident first, rows in order where equal.

    Raises
    ------
    DataError
        If a row of probabilities does not add up to 1, or the labels do not fit.

    Examples
    --------
    >>> most_confident_mistakes([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], [1, 1, 1], count=1)
    [{'row': 0, 'label': 1, 'prediction': 0, 'confidence': 0.75}]
    """
    if count is not None:
        whole("count", count, 0)
    shares, labels = check_probabilities(probabilities, labels)
    predictions, confidence = shares.argmax(axis=1), shares.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [{"row": int(row), "label": int(labels[row]), "prediction": int(predictions[row]),
             "confidence": float(confidence[row])} for row in order[:count]]


def format_mistakes(mistakes: Rows, texts: Sequence[str], class_names: Sequence[str],
                    width: int = 80) -> str:
    """Lay out mistakes as an aligned table, one line each.

    Parameters
    ----------
    mistakes
        From `most_confident_mistakes`.
    texts
        The texts of all rows that were scored.
    class_names
        One name a class, in the order of the class numbers.
    width
        Characters of a text that are shown. Line breaks and control characters are not.

    Raises
    ------
    DataError
        If a row or a class has no text or name.
    """
    for mistake in mistakes:
        if mistake["row"] >= len(texts):
            raise DataError(f"a mistake in row {mistake['row']} but only {len(texts)} texts; "
                            "expected the texts of all rows")
        largest = max(mistake["label"], mistake["prediction"])
        if largest >= len(class_names):
            raise DataError(f"row {mistake['row']} has class {largest} but there are "
                            f"{len(class_names)} class names; expected one a class")
    rows = [[str(mistake["row"]), f"{mistake['confidence']:.4f}",
             short_name(class_names[mistake["label"]]),
             short_name(class_names[mistake["prediction"]]),
             one_line(texts[mistake["row"]], width)] for mistake in mistakes]
    return align(["row", "confidence", "label", "prediction", "text"], rows, left=(2, 3, 4))
