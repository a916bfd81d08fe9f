"""What scaling would do to a model's probabilities: fitted on validation rows, measured on others.

The probabilities that a model gives stay as they are; see `fit_temperature` for how to use a scale.
"""

import numpy as np

from bert_kit.evaluation import (brier_score, expected_calibration_error, fit_label_scaling,
                                 fit_temperature)


def calibrate(probabilities_of, validation, test):
    """Fit a temperature, and for label sets a scale and a shift a label; measure before and after.

    Parameters
    ----------
    probabilities_of : callable
        Logits (N, C) -> probabilities (N, C).
    validation, test : (logits, labels)

    Returns
    -------
    (dict, dict)
        `temperature` and for label sets `scale` and `shift`, with the `calibration_error` and
        `brier_score` of the test rows under each name in `test`; and, by the same names, what
        `plot_reliability` draws: (probabilities, labels).
    """
    logits, labels = test
    logits = np.asarray(logits, dtype=np.float64)
    temperature = fit_temperature(*validation)
    fitted = {"temperature": temperature}
    versions = {"before": logits, "temperature": logits / temperature}
    if np.ndim(labels) == 2:
        scale, shift = fit_label_scaling(*validation)
        fitted |= {"scale": scale.tolist(), "shift": shift.tolist()}
        versions["scale and shift"] = scale * logits + shift
    curves = {name: (probabilities_of(scaled), labels) for name, scaled in versions.items()}
    fitted["test"] = {name: {"calibration_error": expected_calibration_error(*curve),
                             "brier_score": brier_score(*curve)}
                      for name, curve in curves.items()}
    return fitted, curves
