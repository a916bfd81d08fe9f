"""When to stop asking: rules on what the rounds so far have shown.

The rules are pure functions of the stored rounds, so a resumed campaign stops where an unbroken
one does. Those that look at predictions compare each model with the one before it on the same
rows, the stop set, for which no labels are needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bert_kit.active.acquisition import entropies
from bert_kit.checks import share, whole

Rounds = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class StoppingRules:
    """Reasons to stop a campaign, any of which is enough; None does not look.

    Attributes
    ----------
    rounds
        Rounds of questions after the first training.
    budget
        Labels, those of the first training included.
    delta_f
        Stop when the predicted change of F1 stays below this for `window` rounds (Altschuler &
        Bloodgood 2019; they take 0.05).
    classification_change
        Stop when at most this share of the predictions has changed (Zhu et al. 2008; they take 0).
    kappa
        Stop when Cohen's kappa between successive models has a mean of at least this over
        `window` rounds (Bloodgood & Vijay-Shanker 2009; they take 0.99).
    uncertainty
        Stop when the mean entropy in the stop set, as a share of the largest possible, is below
        this (Zhu et al. 2008).

    Examples
    --------
    >>> StoppingRules(budget=500).reason([{"round": 0, "rows": range(500)}])
    '500 labels, the budget'
    """

    rounds: int | None = None
    budget: int | None = None
    delta_f: float | None = None
    classification_change: float | None = None
    kappa: float | None = None
    uncertainty: float | None = None
    window: int = 3

    def __post_init__(self) -> None:
        for name, least in (("rounds", 0), ("budget", 1)):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), least)
        whole("window", self.window, 1)
        for name in ("delta_f", "classification_change", "kappa", "uncertainty"):
            if getattr(self, name) is not None:
                share(name, getattr(self, name))

    def reason(self, history: Rounds) -> str | None:
        """Say in one line why a campaign with these rounds should stop, or return None.

        `history` is one dict a round, as `ActiveLearner` stores them.
        """
        if not history:
            return None
        last, labels = history[-1], len(history[-1]["rows"])
        if self.rounds is not None and last["round"] >= self.rounds:
            return f"{last['round']} rounds, as many as asked for"
        if self.budget is not None and labels >= self.budget:
            return f"{labels:,} labels, the budget"
        recent = history[-self.window:]
        if self.delta_f is not None and _all(recent, "delta_f", self.window) \
                and max(row["delta_f"] for row in recent) < self.delta_f:
            return (f"the predicted change of F1 was below {self.delta_f:g} for {self.window} "
                    "rounds")
        if self.kappa is not None and _all(recent, "kappa", self.window):
            mean = math.fsum(row["kappa"] for row in recent) / self.window
            if mean >= self.kappa:
                return f"kappa between successive models has a mean of {mean:.4f}"
        if self.classification_change is not None and _all([last], "changed", 1) \
                and last["changed"] <= self.classification_change:
            return f"{last['changed']:.2%} of the predictions changed"
        if self.uncertainty is not None and last["uncertainty"] < self.uncertainty:
            return f"the mean entropy is {last['uncertainty']:.4f} of the largest possible"
        return None


def _all(rounds: Rounds, name: str, count: int) -> bool:
    return len(rounds) == count and all(row.get(name) is not None for row in rounds)


def decisions(probabilities: np.ndarray, multi_label: bool) -> np.ndarray:
    """Return what probabilities (N, C) predict: 0 or 1 for each class, (N, C) of int.

    Examples
    --------
    >>> decisions(np.array([[0.2, 0.8], [0.6, 0.9]]), multi_label=True)
    array([[0, 1],
           [1, 1]])
    """
    if multi_label:
        return (probabilities >= 0.5).astype(np.int64)
    return np.eye(probabilities.shape[1], dtype=np.int64)[probabilities.argmax(axis=1)]


def uncertainty(probabilities: np.ndarray, multi_label: bool) -> float:
    """Return the mean entropy of probabilities (N, C) as a share of the largest possible."""
    classes = probabilities.shape[1]
    largest = classes * math.log(2) if multi_label else math.log(classes)
    return float(entropies(probabilities, multi_label).mean() / largest)


def agreement(before: ArrayLike, now: ArrayLike, multi_label: bool) -> dict[str, float | None]:
    """Compare the predictions of two successive models on the same rows.

    Parameters
    ----------
    before, now
        0 and 1 for each class of each row (N, C), as `decisions` returns them.
    multi_label
        Kappa is then that of the N C single decisions, else that of N choices among C classes.

    Returns
    -------
    dict
        `changed`, the share of rows with another prediction; `delta_f` = 1 - the mean over the
        classes of 2 a / (2 a + b + c), where a rows have the class in both predictions, b only
        before and c only now; `kappa`, Cohen's. The last two are None where they are not defined:
        for models that predict no class at all, or the same one for every row.

    Examples
    --------
    >>> agreement([[1, 0], [0, 1]], [[1, 0], [0, 1]], multi_label=False)
    {'changed': 0.0, 'delta_f': 0.0, 'kappa': 1.0}
    """
    before, now = np.asarray(before), np.asarray(now)
    either = before.sum(axis=0) + now.sum(axis=0)  # 2 a + b + c of each class
    f1 = 2 * (before & now).sum(axis=0)[either > 0] / either[either > 0]
    if multi_label:
        observed = (before == now).mean()
        chance = before.mean() * now.mean() + (1 - before.mean()) * (1 - now.mean())
    else:
        observed = (before & now).sum() / len(now)
        chance = float((before.mean(axis=0) * now.mean(axis=0)).sum())
    return {"changed": float((before != now).any(axis=1).mean()),
            "delta_f": float(1 - f1.mean()) if len(f1) else None,
            "kappa": float((observed - chance) / (1 - chance)) if chance < 1 else None}
