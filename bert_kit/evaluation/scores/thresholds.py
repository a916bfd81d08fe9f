"""From which probability on a label is given: chosen on validation rows, applied to all others.

With 0.5 a model that has only learned how rare each label is gives none at all. The threshold
that suits it is often far lower; chosen on the rows that are scored it would flatter the score.
"""

from collections.abc import Sequence

import numpy as np

from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation.scores.checks import Rows, Scores, Values, check_label_sets
from bert_kit.evaluation.scores.labels import multilabel_metrics, predict_label_sets
from bert_kit.printing import align

SWEEP = tuple(round(0.05 * i, 2) for i in range(1, 20))  # .05 to .95
DEFAULT = 0.5  # of a model for which none was chosen
COLUMNS = ("f1_micro", "f1_macro", "f1_samples", "precision_micro", "recall_micro")


def fit_thresholds(probabilities: Values, labels: Values, per_label: bool = False
                   ) -> float | np.ndarray:
    """Return the threshold with the best F1, for all labels together or for each of them.

    Every possible threshold is tried. The single one has the largest micro F1. Those of the
    labels have the largest F1 of their label each, and so the largest macro F1; a label that no
    row has gets the single one. Thresholds of labels that few rows have fit those rows by chance:
    with little validation data the single one is the safer choice.

    Parameters
    ----------
    probabilities, labels
        Of shape (N, C), of validation rows, never of those that are scored in the end. A label is
        0 or 1.
    per_label
        Return one for each label, (C,).

    Returns
    -------
    float or array
        Half-way between the least probability that is taken and the next one below.

    Raises
    ------
    DataError
        If no row has a label, or the two do not fit together.

    Examples
    --------
    >>> probabilities, labels = [[0.3, 0.1], [0.2, 0.1], [0.1, 0.3]], [[1, 0], [1, 0], [0, 1]]
    >>> round(fit_thresholds(probabilities, labels), 6)
    0.15
    >>> fit_thresholds(probabilities, labels, per_label=True).round(6)
    array([0.15, 0.2 ])
    """
    probabilities, labels = check_label_sets(probabilities, labels)
    if not labels.any():
        raise DataError(f"no row of {len(labels)} has a label; expected some to choose a threshold "
                        "by")
    single = _best_cut(probabilities.ravel(), labels.ravel())
    if not per_label:
        return single
    return np.array([_best_cut(scores, holds) if holds.any() else single
                     for scores, holds in zip(probabilities.T, labels.T, strict=True)])


def _best_cut(scores: np.ndarray, holds: np.ndarray) -> float:
    """Return the threshold of scores (M,) with the largest F1; of equal ones the highest."""
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], holds[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + holds.sum())
    f1[:-1][scores[:-1] == scores[1:]] = -1  # equal scores are taken all or none
    last = int(f1.argmax())
    below = scores[last + 1] if last + 1 < len(scores) else 0.0
    middle = (scores[last] + below) / 2
    return float(middle if middle > below else scores[last])


def threshold_sweep(probabilities: Values, labels: Values, thresholds: Sequence[float] = SWEEP
                    ) -> list[Scores]:
    """Score one threshold for all labels after another; arguments as of `fit_thresholds`.

    Returns
    -------
    list of dict
        For each `threshold` its `f1_micro`, `f1_macro`, `f1_samples`, `precision_micro`,
        `recall_micro`, `labels_per_row` (given, on average) and `rows_without` (given none).

    Raises
    ------
    DataError
        If the two do not fit together.
    ConfigError
        If there is no threshold, or one is not from 0 to 1.
    """
    probabilities, labels = check_label_sets(probabilities, labels)
    thresholds = [float(threshold) for threshold in thresholds]
    if not thresholds or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ConfigError(f"thresholds are {thresholds}; expected numbers from 0 to 1")
    result = []
    for threshold in thresholds:
        scores = multilabel_metrics(probabilities, labels, threshold)
        given = predict_label_sets(probabilities, threshold).sum(axis=1)
        result.append({"threshold": threshold, **{name: scores[name] for name in COLUMNS},
                       "labels_per_row": float(given.mean()),
                       "rows_without": int((given == 0).sum())})
    return result


def format_sweep(rows: Rows) -> str:
    """Lay out the answer of `threshold_sweep` as an aligned table."""
    return align(["threshold", *COLUMNS, "labels/row", "rows without"],
                 [[f"{row['threshold']:.2f}", *(f"{row[name]:.4f}" for name in COLUMNS),
                   f"{row['labels_per_row']:.2f}", f"{row['rows_without']:,}"] for row in rows])


def threshold_warning(probabilities: Values, labels: Values, thresholds: Values = DEFAULT
                      ) -> str | None:
    """Return a line that explains why most texts get no label, and what to do; None if they do.

    "Most" is more than half of the rows that have a label. Arguments are those of
    `multilabel_metrics`.

    Examples
    --------
    >>> threshold_warning([[0.9, 0.1], [0.6, 0.3]], [[1, 0], [0, 1]]) is None
    True
    """
    values, labels = check_label_sets(probabilities, labels)
    given, labelled = predict_label_sets(values, thresholds), labels.any(axis=1)
    without = int((labelled & ~given.any(axis=1)).sum())
    if without <= labelled.sum() / 2:
        return None
    single = np.ndim(thresholds) == 0
    at = f"the threshold {thresholds:g}" if single else "its threshold"
    advice = ("Choose the threshold on validation rows (fit_thresholds); if"
              if single and thresholds == DEFAULT else "If")
    f1 = multilabel_metrics(values, labels, thresholds)["f1_micro"]
    return (f"no probability reaches {at} in {without:,} of {labelled.sum():,} rows that have a "
            f"label, so micro F1 is {f1:.3f}: the largest probability is {values.max():.3f}, the "
            f"mean {values.mean():.3f}, and a label holds in {labels.mean():.3f} of all cells. A "
            f"model learns how rare labels are before it tells texts apart. {advice} the "
            "loss still falls, train for more steps; else try a higher --head_learning_rate, "
            "--class_weight balanced, --focal_gamma 2 or --asymmetric")
