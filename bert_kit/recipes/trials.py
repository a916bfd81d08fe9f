"""A trial of a search: a classifier is trained with some parameters and scored on validation rows.

Nothing but the parameters differs between the trials of a search. The split, the first weights and
the order of the rows come from one seed.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from bert_kit.errors import TrainingError
from bert_kit.recipes.options import named
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.shared_rows import SharedRowsTrainer, tokenized_rows
from bert_kit.training import EarlyStopping, peak_memory, reset_peak_memory


def trial_settings(settings, params):
    """Return the settings of a trial: those of the search with `params`, under any spelling."""
    return settings.replace(**named(ClassificationSettings, params, "trial"))


def adaptive_patience(settings, number):
    """Return settings with the patience of trial `number`; see `EarlyStopping.adaptive`."""
    epochs = settings.num_train_epochs or (3 if settings.model else 6)
    stopping = EarlyStopping.adaptive(number, epochs)
    return settings.replace(early_stopping=stopping.patience, **{
        name: getattr(stopping, name) for name in (
            "min_delta", "min_epochs", "smoothing_window", "trend_window", "regression")})


class TrialTrainer(SharedRowsTrainer):
    """The classification job of a trial; nothing is written while it trains.

    Parameters
    ----------
    settings : ClassificationSettings
    rows : TokenizedRows
    report : callable
        `report(epoch, score)` after each epoch -> whether to stop.
    """

    def __init__(self, settings, rows, report):
        super().__init__(settings.replace(output_dir=None, verbosity=0), rows)
        self.report, self.epoch, self.best_epoch, self.stops = report, 0, 0, False
        self.scores, self.weights = None, None

    def score(self):
        """Train, and return the scores of the best epoch; the model has that epoch's weights."""
        self.setup_trainer(self.datasets)
        self.trainer.stopping = _StopsWhenTold(self, self.trainer.stopping)
        self.train()
        if self.scores is None:
            raise TrainingError(f"no epoch had a {self.settings.metric} that is a number")
        self.model.load_state_dict(self.weights)
        return self.scores

    def evaluate(self, dataset):
        """Score the validation rows, remember the weights if it is the best epoch, and report."""
        scores = super().evaluate(dataset)
        value, best = scores[self.settings.metric], self.scores
        self.epoch += 1
        if not self.settings.load_best_model_at_end or self.trainer.args.is_better(
                value, best and best[self.settings.metric]):
            self.scores, self.best_epoch = scores, self.epoch
            self.weights = {name: tensor.clone()
                            for name, tensor in self.model.state_dict().items()}
        self.stops = self.report(self.epoch, value)
        return scores


@dataclass
class _StopsWhenTold:
    """Early stopping that first asks whether the trial has been pruned."""

    job: TrialTrainer
    otherwise: EarlyStopping | None

    def reason(self, values, more_is_better):
        if self.job.stops:
            return "pruned"
        return self.otherwise and self.otherwise.reason(values, more_is_better)


@dataclass(frozen=True)
class Objective:
    """`objective(trial)` -> score of a classifier with the trial's parameters.

    It is made of plain values, so that it travels to other processes and machines.

    Parameters
    ----------
    settings : ClassificationSettings
        All that is not tuned.
    folds : int
        0 scores on the validation rows, more is cross-validation.
    adaptive : bool
        Whether patience grows with the trial's number; see `EarlyStopping.adaptive`.
    keep : bool
        Leave the model in the trial's folder.
    """

    settings: ClassificationSettings
    folds: int = 0
    adaptive: bool = False
    keep: bool = True

    def __call__(self, trial):
        settings = trial_settings(self.settings, trial.params)
        if self.adaptive:
            settings = adaptive_patience(settings, trial.number)
            trial.notes["patience"] = settings.early_stopping
        if trial.device is not None:
            settings = settings.replace(device=trial.device)
        if self.folds:
            return self._mean_of_folds(settings, trial)
        job = TrialTrainer(settings, tokenized_rows(settings)[0], trial.report)
        reset_peak_memory(job.device)
        scores = job.score()
        trial.notes.update(_numbers(scores), epoch=job.best_epoch, epochs=job.epoch,
                           peak_memory_mb=(peak_memory(job.device) or 0) / 2**20)
        if self.keep and trial.folder is not None and trial.state == "running":
            job.save_model(Path(trial.folder) / "model")
        return scores[settings.metric]

    def _mean_of_folds(self, settings, trial):
        """Return the mean over the folds; a trial that falls behind ends with a fold."""
        values = []
        for fold, rows in enumerate(tokenized_rows(settings, self.folds), 1):
            job = TrialTrainer(settings, rows, lambda epoch, value: False)
            reset_peak_memory(job.device)
            values.append(job.score()[settings.metric])
            if trial.report(fold, statistics.fmean(values)):
                break
        trial.notes["folds"] = values
        return statistics.fmean(values)


def _numbers(scores):
    return {name: value for name, value in scores.items() if isinstance(value, float)}
