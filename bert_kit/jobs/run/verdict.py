"""The verdict on a model: what was found, in words and for results.json, and what to try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bert_kit.errors import NothingLearned
from bert_kit.evaluation import Finding, not_above, rising_loss
from bert_kit.evaluation.trust.verdict import REMEDIES
from bert_kit.jobs.run.build import more_is_better
from bert_kit.jobs.run.defaults import usual_rate
from bert_kit.jobs.run.task import Task

Verdict = dict[str, Any]
HINT = "bert-kit pretrain makes some"

UNCOMPARED = "no fault is seen, but there was nothing to compare with"


@dataclass(frozen=True)
class Setting:
    """How a model was trained, as far as it is known: what to try depends on it.

    Attributes
    ----------
    weights
        Whether it began with weights.
    steps, rate
        That it was trained with.
    usual_rate
        That its task has by default.
    balances
        Whether it has the option class_weight, not used yet.
    pretrains
        Whether it is a pre-training.
    counts_steps
        Whether a number of steps was given, so that there is no least one.
    asks
        Whether `active` has a method for its task.
    """

    weights: bool | None = None
    steps: int | None = None
    rate: float | None = None
    usual_rate: float | None = None
    balances: bool = False
    pretrains: bool = False
    counts_steps: bool = False
    asks: bool = False
    optim: str = "adamw"

    def remedy(self, name: str) -> str | None:
        """Return what to try, by one of `REMEDIES`; None if it has been tried or has no use."""
        if name == "weights":
            return None if self.weights is not False or self.pretrains else (
                f"weights that were pre-trained: --model FOLDER ({HINT})")
        if name == "optimizer":
            return "another optimizer: --optim muon" if (
                self.pretrains and self.optim != "muon") else None
        if name == "steps":
            flag = "--max_steps" if self.pretrains or self.counts_steps else "--min_steps"
            return f"more steps: {flag} {max(400, 2 * (self.steps or 0))}"
        if name == "rate":
            return self._rate()
        if name == "class_weight":
            return "--class_weight balanced, so that rare classes count" if self.balances else None
        if name == "epochs":
            return "fewer epochs: --early_stopping 2, or more dropout"
        return "more text" if self.pretrains else "more labelled rows" + (
            "; bert-kit active asks for those that teach most" * self.asks)

    def _rate(self) -> str | None:
        if self.rate is None or self.usual_rate is None:
            return None
        if self.rate < self.usual_rate / 5:
            return f"a higher rate: --learning_rate {self.usual_rate:g}"
        lower = self.usual_rate if self.rate > 2 * self.usual_rate else self.rate / 3
        return f"a lower rate: --learning_rate {lower:.1g}"


def make_verdict(findings: Sequence[Finding], setting: Setting) -> Verdict:
    """Return a verdict as results.json holds it.

    Returns
    -------
    dict
        `learned`, False if any finding is serious; `findings`, a list of dicts with `name`,
        `says`, `serious` and `try`, what may help, the best first. `judge` adds `beside`, the
        score of the model and of what has to be beaten, in words.
    """
    listed = []
    for finding in findings:
        wanted = [name for name in REMEDIES if name in finding.remedies]
        remedies = [text for name in wanted if (text := setting.remedy(name)) is not None]
        listed.append({"name": finding.name, "says": finding.says, "serious": finding.serious,
                       "try": remedies})
    return {"learned": not any(finding.serious for finding in findings), "findings": listed}


def judge(task: Task, scores: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]],
          setting: Setting, findings: Sequence[Finding] = (),
          log: Sequence[Mapping[str, Any]] = (), keys: Sequence[str] | None = None,
          count: int | None = None) -> Verdict:
    """Return the verdict on scores: beside the baselines, on the answers, and on the log.

    Compared are the scores called `keys`, by default those in the tables of the task. The scores
    are of `count` rows.
    """
    keys = [key for key, *_ in task.columns] if keys is None else keys
    if any(finding.name == "one_label" for finding in findings):
        baselines = {}  # a constant answer is right everywhere, and that is no fault of the model
    verdict = make_verdict([*not_above(scores, baselines, keys, more_is_better, count), *findings,
                            *rising_loss(log)], setting)
    return verdict | {"beside": _beside(scores, baselines, keys)}


def setting_of(task: Task, options: Any, width: int, steps: int | None = None,
               rate: float | None = None) -> Setting:
    """Return the Setting of a training with these options, of a model so wide."""
    return Setting(
        weights=options.model is not None, steps=steps, rate=rate,
        usual_rate=usual_rate(task, options, width), counts_steps=options.max_steps > 0,
        asks=task.name in ("classification", "multi_label"),
        balances=getattr(options, "class_weight", "none there") is None,
        pretrains=not task.fine_tunes, optim=options.optim)


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict as text: a line a finding, and what to try, the best first."""
    serious = [found for found in verdict["findings"] if found["serious"]]
    others = [found for found in verdict["findings"] if not found["serious"]]
    lines = [f"{'verdict':10}{found['says']}" if i == 0 else f"{'':10}{found['says']}"
             for i, found in enumerate(serious)]
    if not serious:
        lines = [f"{'verdict':10}" + (f"it has learned: {verdict['beside']}"
                                      if verdict.get("beside") else UNCOMPARED)]
    lines += [f"{'but':10}{found['says']}" if i == 0 else f"{'':10}{found['says']}"
              for i, found in enumerate(others)]
    remedies = list(dict.fromkeys(text for found in [*serious, *others] for text in found["try"]))
    lines += [f"{'try' if i == 1 else '':10}{i}. {text}" for i, text in enumerate(remedies, 1)]
    return "\n".join(lines)


def _beside(scores: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]],
            keys: Sequence[str]) -> str:
    """Return the first score that model and baselines share, of each; "" without any."""
    key = next((key for key in keys if isinstance(scores.get(key), float) and any(
        isinstance(baseline.get(key), float) for baseline in baselines.values())), None)
    if key is None:
        return ""
    others = ", ".join(f"{name} {baseline[key]:.4f}" for name, baseline in baselines.items()
                       if isinstance(baseline.get(key), float))
    return f"{key} {scores[key]:.4f}; {others}"


def check_learned(verdict: Verdict | None, strict: bool, what: object) -> None:
    """Raise NothingLearned, if wanted, where a verdict has a serious finding.

    A job calls it last: everything has been saved by then.
    """
    if strict and verdict is not None and not verdict["learned"]:
        says = "; ".join(found["says"] for found in verdict["findings"] if found["serious"])
        raise NothingLearned(f"{what}: {says}")
