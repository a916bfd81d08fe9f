"""What a search says while it goes on: a line for each trial, or for each member of a population.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bert_kit.tuner.ask_tell import Trial
from bert_kit.tuner.population import Population
from bert_kit.tuner.study import Study


class LoggingCallback:
    """Callbacks of a study or a population that print a line for each trial or generation.

    Parameters
    ----------
    metric
        The name of the scores.
    say
        What prints a line.

    Examples
    --------
    ::

        study.optimize(objective, 20, callbacks=[LoggingCallback("accuracy")])
    """

    def __init__(self, metric: str = "score", say: Callable[[str], object] = print) -> None:
        self.metric, self.say = metric, say
        self.study: Any = None

    def on_study_start(self, study: Study) -> None:
        """Say how much an earlier part of the search has done."""
        self.study = study
        over = sum(trial.over for trial in study.trials)
        if over:
            self.say(f"resumed   {over} trials are done")

    def on_trial_complete(self, trial: Trial) -> None:
        """Print the trial with its score."""
        best = self.study.best.number == trial.number
        self._line(trial, f"{self.metric} {trial.value:.4f}" + (" best" if best else "     "))

    def on_trial_pruned(self, trial: Trial) -> None:
        """Print the trial with the score that ended it; it may have had a better one before."""
        score = trial.reports[trial.steps]
        self._line(trial, f"{self.metric} {score:.4f}, pruned after {trial.steps}")

    def on_trial_failed(self, trial: Trial) -> None:
        """Print the trial with its error."""
        self._line(trial, f"failed ({str(trial.error).strip().splitlines()[-1]})")

    def on_study_end(self, study: Study) -> None:
        """Print how many trials there are of each kind, and how many are equally good."""
        counts = study.statistics()
        self.say(f"trials    {counts['complete']} complete, {counts['pruned']} pruned, "
                 f"{counts['failed']} failed")
        values = [trial.value for trial in study.trials if trial.state == "complete"]
        equal = values.count(study.best.value) if values else 0
        if equal > 1:
            self.say(f"          {equal} trials share the best score: the first of them is taken")

    def on_generation(self, population: Population) -> None:
        """Print the members of the last generation, and how far apart they are."""
        last = population.lineage[-1].generation
        for member in population.lineage:
            if member.generation != last:
                continue
            score = (f"failed ({member.error})" if member.score is None
                     else f"{self.metric} {member.score:.4f}")
            origin = "" if member.parent in (None, member.slot) else f" from {member.parent}"
            self.say(f"epoch {last + 1:<4}member {member.slot}{origin:8}{score}  "
                     f"{parameters_text(member.params)}")
        self.say(f"epoch {last + 1:<4}diversity {population.diversity[-1]:.3f}")

    def _line(self, trial: Trial, outcome: str) -> None:
        seconds = (trial.finished or 0) - (trial.started or 0)
        self.say(f"trial {trial.number:<4}{outcome}  {parameters_text(trial.params)}, "
                 f"{seconds:.0f} s")


def parameters_text(params: Mapping[str, Any]) -> str:
    """Return parameters as one line of text.

    >>> parameters_text({"lr": 0.000321987, "activation": "gelu", "batch_size": 8})
    'lr 0.000322, activation gelu, batch_size 8'
    """
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in params.items())
