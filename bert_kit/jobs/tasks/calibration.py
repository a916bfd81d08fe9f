"""Scaling a model's probabilities: fitted on validation rows, measured on others, kept, applied.

The probabilities that a model gives stay as they are unless calibrated ones are asked for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError
from bert_kit.evaluation import (brier_score, expected_calibration_error, fit_label_scaling,
                                 fit_temperature, scaled_losses)
from bert_kit.evaluation.trust.scaling import LEAST_ROWS, TEMPERATURES


def calibrate(probabilities_of: Callable[[Any], np.ndarray], validation: tuple[Any, Any],
              test: tuple[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit a temperature, and for label sets a scale and a shift a label; measure before and after.

    What does not help is measured and not kept: a fit on fewer than 50 rows, one at an end of the
    search, and one that does not lower the loss of validation rows it was not fitted on.

    Parameters
    ----------
    probabilities_of
        Logits (N, C) -> probabilities (N, C).
    validation, test
        Logits (N, C) and labels.

    Returns
    -------
    fitted, curves
        `temperature` and for label sets `scale` and `shift`, with the `calibration_error` and
        `brier_score` of the test rows under each name in `test`, and `not_kept`, why they are not
        (None where they are); and, by the same names, what `plot_reliability` draws:
        (probabilities, labels).
    """
    logits, labels = test
    logits = np.asarray(logits, dtype=np.float64)
    temperature = fit_temperature(*validation)
    fitted: dict[str, Any] = {"temperature": temperature}
    versions = {"before": logits, "temperature": logits / temperature}
    if np.ndim(labels) == 2:
        scale, shift = fit_label_scaling(*validation)
        fitted |= {"scale": scale.tolist(), "shift": shift.tolist()}
        versions["scale and shift"] = scale * logits + shift
    curves = {name: (probabilities_of(scaled), labels) for name, scaled in versions.items()}
    fitted["not_kept"] = _why_not(fitted, *validation)
    fitted["test"] = {name: {"calibration_error": expected_calibration_error(*curve),
                             "brier_score": brier_score(*curve)}
                      for name, curve in curves.items()}
    return fitted, curves


def _why_not(fitted: dict[str, Any], logits: Any, labels: Any) -> str | None:
    """Return why a fit is not kept, or None."""
    each = _of_each(fitted)
    if not each and any(abs(fitted["temperature"] / end - 1) < 1e-6 for end in TEMPERATURES):
        return "it is where the search ends: none fits the validation rows"
    if len(logits) < LEAST_ROWS:
        return f"{len(logits)} validation rows are too few to fit it on; {LEAST_ROWS} are enough"
    before, after = scaled_losses(
        fit_label_scaling if each else lambda z, y: (1 / fit_temperature(z, y), 0.0),
        logits, labels)
    return None if after < before else (
        f"fitted on some of the validation rows it does not help the others, whose loss goes from "
        f"{before:.4f} to {after:.4f}")


def _of_each(fitted: dict[str, Any]) -> bool:
    """Say whether each label has a scale that leaves the order of its logits."""
    return min(fitted.get("scale", [0])) > 0


def format_calibration(fitted: dict[str, Any]) -> str:
    """Return the calibration errors before and after scaling as a line.

    A scaling that is not kept is no help, and the line says why.

    Examples
    --------
    >>> errors = {"before": {"calibration_error": 0.2}, "temperature": {"calibration_error": 0.1}}
    >>> line = format_calibration({"temperature": 2.0, "test": errors})
    >>> print(line.strip())  # doctest: +ELLIPSIS
    calibration error of the test rows: 0.2000 as it is, 0.1000 with temperature (...
    """
    errors = [f"{scores['calibration_error']:.4f}" + (f" with {name}" if i else " as it is")
              for i, (name, scores) in enumerate(fitted["test"].items())]
    why = fitted.get("not_kept")
    return (f"\ncalibration error of the test rows: {', '.join(errors)} "
            f"(temperature {fitted['temperature']:.3f}, "
            + (f"not kept: {why})" if why else "from the validation rows)"))


def calibration_keys(fitted: dict[str, Any]) -> dict[str, Any]:
    """Return what config.json keeps of a calibration: a scale and a shift of the logits.

    One for each label where they have all been fitted and none turns the order round, else one for
    all: the temperature, which never does. A fit that is not kept leaves the logits as they are.
    """
    if fitted.get("not_kept"):
        return {"calibration": {"scale": 1.0, "shift": 0.0}}
    if _of_each(fitted):
        return {"calibration": {name: fitted[name] for name in ("scale", "shift")}}
    return {"calibration": {"scale": 1 / fitted["temperature"], "shift": 0.0}}


def read_calibration(config: BertConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the shift in a model's config.json, arrays (C,) or ().

    Raises
    ------
    ConfigError
        If there are none, or they are damaged.
    """
    found = config.extra.get("calibration")
    if found is None:
        raise ConfigError("config.json holds no calibration; expected a model of classes or labels "
                          "that was trained with validation and test rows")
    try:
        scale, shift = (np.asarray(found[name], dtype=np.float64) for name in ("scale", "shift"))
        fits = (scale.shape == shift.shape and scale.shape in ((), (config.num_labels,))
                and np.isfinite([scale, shift]).all() and (scale > 0).all())
    except (TypeError, ValueError, KeyError, IndexError):
        fits = False
    if not fits:
        raise ConfigError(f"config.json: calibration is {found!r:.60}; expected a scale above 0 "
                          "and a shift, of all logits or of each")
    return scale, shift
