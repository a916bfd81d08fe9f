"""When to stop before the last step: what the evaluations so far say.

The answer is a pure function of the logged values, so a resumed run needs nothing stored to come
to the same one.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bert_kit.checks import number, whole
from bert_kit.errors import TrainingError


@dataclass(frozen=True)
class EarlyStopping:
    """Three reasons to stop a run, any of which is enough.

    Attributes
    ----------
    patience
        Evaluations in a row without improvement; None does not count them.
    min_delta
        How much better than the best an evaluation must be to count as an improvement.
    min_epochs
        Evaluations that must happen before any reason counts.
    smoothing_window
        Improvement and trend are judged on the mean of so many last values; 1 takes them as they
        are.
    trend_window
        Evaluations over which a falling trend is looked for; None does not look.
    trend_slope
        The trend is too bad if the least-squares slope, in units of the metric an evaluation with
        upwards for better, is below this.
    regression
        Stop when the mean of the last 3 evaluations is worse than the best one by more than this
        share of it, 0.2 for a fifth; None does not look.

    Examples
    --------
    >>> EarlyStopping(patience=2).reason([0.9, 0.5, 0.6, 0.55], greater_is_better=False)
    'no improvement in 2 evaluations; the best was 0.5, evaluation 2'
    """

    patience: int | None = 3
    min_delta: float = 0.0
    min_epochs: int = 0
    smoothing_window: int = 1
    trend_window: int | None = None
    trend_slope: float = -0.01
    regression: float | None = None

    # Evaluations: enough that one unlucky value does not end a run.
    REGRESSION_WINDOW: ClassVar[int] = 3

    def __post_init__(self) -> None:
        for name, least in (("patience", 1), ("min_epochs", 0), ("smoothing_window", 1),
                            ("trend_window", 2)):
            value = getattr(self, name)
            if value is not None or name not in ("patience", "trend_window"):
                whole(f"early stopping's {name}", value, least, error=TrainingError)
        number("early stopping's min_delta", self.min_delta, 0, error=TrainingError)
        number("early stopping's trend_slope", self.trend_slope, error=TrainingError)
        if self.regression is not None:
            number("early stopping's regression", self.regression, 0, above=True,
                   error=TrainingError, also=", or None")

    @classmethod
    def adaptive(cls, trial_number: int, num_epochs: int) -> "EarlyStopping":
        """Return the settings for one of many trials: later ones are given more patience.

        patience = max(3, min(8, trial_number // 2)) and min_epochs = max(5, num_epochs // 4),
        at most num_epochs; all three reasons count.
        """
        return cls(patience=max(3, min(8, trial_number // 2)), min_delta=0.001,
                   min_epochs=min(num_epochs, max(5, num_epochs // 4)), smoothing_window=3,
                   trend_window=5, regression=0.2)

    def reason(self, values: Sequence[float | None], greater_is_better: bool) -> str | None:
        """Say in one line why a run with these evaluations should stop, or return None.

        `values` are those of the metric, one an evaluation; None, NaN and infinity are no
        improvement.
        """
        if len(values) < max(1, self.min_epochs):
            return None
        sign = 1 if greater_is_better else -1  # from here on, more is better
        scores = [sign * value if value is not None and math.isfinite(value) else math.nan
                  for value in values]
        smooth = _moving_average(scores, self.smoothing_window)
        return (self._no_improvement(smooth, sign) or self._regression(scores, sign)
                or self._trend(smooth))

    def _no_improvement(self, scores: list[float], sign: int) -> str | None:
        best: float | None = None
        at = -1
        for i, score in enumerate(scores):
            if not math.isnan(score) and (best is None or score > best + self.min_delta):
                best, at = score, i
        since = len(scores) - 1 - at
        if self.patience is None or since < self.patience:
            return None
        if best is None:
            return f"none of {since} evaluations gave a number"
        enough = f" by more than {self.min_delta:g}" if self.min_delta else ""
        mean = f" (mean of {self.smoothing_window})" if self.smoothing_window > 1 else ""
        return (f"no improvement{enough} in {since} evaluations; "
                f"the best was {sign * best:.4g}{mean}, evaluation {at + 1}")

    def _regression(self, scores: list[float], sign: int) -> str | None:
        known = [score for score in scores if not math.isnan(score)]
        if self.regression is None or len(scores) <= self.REGRESSION_WINDOW or not known:
            return None
        best, recent = max(known), statistics.fmean(scores[-self.REGRESSION_WINDOW:])
        # Relative to the size of the best, so that it also holds for losses and negative metrics.
        # A best of exactly 0 gives no scale to measure by; NaN compares as False.
        if not best - recent > self.regression * abs(best) > 0:
            return None
        return (f"the last {self.REGRESSION_WINDOW} evaluations have a mean of "
                f"{sign * recent:.4g}, more than {self.regression:.0%} worse than the best, "
                f"{sign * best:.4g}")

    def _trend(self, scores: list[float]) -> str | None:
        if self.trend_window is None or len(scores) < self.trend_window:
            return None
        recent = scores[-self.trend_window:]
        slope = statistics.linear_regression(range(len(recent)), recent).slope
        if not slope < self.trend_slope:
            return None
        return (f"worse by {-slope:.3g} an evaluation over the last {self.trend_window}, "
                f"more than {-self.trend_slope:g}")


def _moving_average(scores: list[float], window: int) -> list[float]:
    """Return the mean of each score and those before it in its window, without NaN.

    A score that is NaN stays so: it cannot be an improvement.
    """
    means = []
    for i, score in enumerate(scores):
        recent = [s for s in scores[max(0, i + 1 - window):i + 1] if not math.isnan(s)]
        means.append(score if math.isnan(score) else statistics.fmean(recent))
    return means
