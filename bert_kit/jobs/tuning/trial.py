"""A trial of a search: a model is trained with some parameters and scored on validation rows.

Nothing but the parameters differs between the trials of a search. The split, the first weights and
the order of the rows come from one seed. A process reads the rows and the weights to start from
once, whatever number of trials it runs. The test rows stay out of it.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.data import Part, stratified_folds
from bert_kit.errors import ConfigError, TrainingError
from bert_kit.jobs.options.declare import fields_of, group_of, named
from bert_kit.jobs.run.build import read_weights_once
from bert_kit.jobs.run.defaults import usual_epochs
from bert_kit.jobs.run.job import Rows, Training, TrainingJob
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tuning.spaces import tunable
from bert_kit.training import EarlyStopping, choose_device, peak_memory, reset_peak_memory
from bert_kit.tuner import Trial


def trial_options(options: Any, params: Mapping[str, Any], source: str = "trial") -> Any:
    """Return the options of a trial: those of the search with `params`, under any spelling."""
    return options.replace(**named(type(options), params, source, vars(options)))


def adaptive_patience(options: Any, number: int) -> Any:
    """Return options with the patience of trial `number`; see `EarlyStopping.adaptive`."""
    epochs = usual_epochs(task_named(options.task), options)
    stopping = EarlyStopping.adaptive(number, epochs)
    return options.replace(early_stopping=stopping.patience, **{
        name: getattr(stopping, name) for name in (
            "min_delta", "min_epochs", "smoothing_window", "trend_window", "regression")})


def tokenized_rows(options: Any, folds: int = 0) -> list[Rows]:
    """Return Rows: one, or one a fold. Those of the same options are not read again."""
    kind = type(options)
    free = tunable(kind) - {"max_length"}
    return _tokenized_rows(kind(verbosity=0, **{
        field.name: getattr(options, field.name) for field in fields_of(kind)
        if field.name in ("seed", "output_dir", "metric") or field.name not in free
        and group_of(kind, field.name).title not in ("early stopping", "running")}), folds)


@functools.lru_cache(maxsize=1)
def _tokenized_rows(options: Any, folds: int) -> list[Rows]:
    job = TrainingJob(task_named(options.task), options)
    parts = job.read()
    if parts.validation is None and not folds:
        raise ConfigError("a search needs validation rows; give a val_size above 0, a "
                          "validation_file or folds")
    found = []
    for rows in _in_folds(parts, folds, options.seed) if folds else [parts]:
        tokenized = job.tokenize(dataclasses.replace(rows, test=None))
        found.append(Rows(rows, tokenized.tokenizer, tokenized.datasets))
    return found


def _in_folds(parts: Parts[Part], folds: int, seed: int) -> Iterator[Parts[Part]]:
    """Yield the parts of each fold: every row but the test's is validated on once."""
    both = [part for part in (parts.train, parts.validation) if part is not None]
    texts = [text for part in both for text in part.texts]
    labels = np.concatenate([np.asarray(part.labels) for part in both])
    classes = labels if labels.dtype.kind == "i" else np.zeros(len(labels))  # sets, numbers: none
    fold_of = stratified_folds(classes, folds, seed)

    def part(rows: Sequence[int]) -> Part:
        chosen = labels[rows]
        return Part([texts[row] for row in rows],
                    chosen.tolist() if classes is labels else chosen)

    for fold in range(folds):
        yield dataclasses.replace(parts, train=part(np.flatnonzero(fold_of != fold).tolist()),
                                  validation=part(np.flatnonzero(fold_of == fold).tolist()),
                                  test=None)


class TrialTraining:
    """The training of a trial, on rows that are there already; nothing is written while it trains.

    Parameters
    ----------
    options
        Of the trial.
    report
        `report(epoch, score)` after each epoch -> whether to stop.

    Attributes
    ----------
    training
        Its Training; after `score` the model has the weights of the best epoch.
    epoch, best_epoch
        How many epochs were scored, and which one was the best.
    learned
        Whether the answers of the best epoch depend on the text; see `Task.findings`.
    """

    def __init__(self, options: Any, rows: Rows, report: Callable[[int, float], bool]) -> None:
        self.options, self.report = options.replace(output_dir=None, verbosity=0), report
        job = TrainingJob(task_named(options.task), self.options)
        self.training: Training = job.build(rows, read_weights_once)
        trainer: Any = self.training.trainer
        trainer.evaluate = self._evaluate
        self.stopping, trainer.stopping = trainer.stopping, self  # see `reason`
        self.metric = trainer.args.metric_for_best_model
        self.epoch, self.best_epoch, self.stops = 0, 0, False
        self.scores: Scores = {}
        self.learned = True
        self.state: Any = None

    def score(self) -> Scores:
        """Train, and return the scores of the best epoch."""
        with self.training.at_work() as trainer:
            trainer.train()
        if not self.scores:
            raise TrainingError(f"no epoch had a {self.metric} that is a number")
        weights, self.training.model.config = self.state  # it holds thresholds that were chosen
        self.training.model.load_state_dict(weights)
        return self.scores

    def _evaluate(self) -> Scores:
        """Score the validation rows, remember the model if it is the best so far, and report."""
        training, model = self.training, self.training.model
        answers = training.predictor.answers(training.datasets["validation"])
        scores = training.score("validation", answers)
        value = scores[self.metric]
        self.epoch += 1
        if not self.options.load_best_model_at_end or self.training.trainer.args.is_better(
                value, self.scores.get(self.metric)):
            self.scores, self.best_epoch = scores, self.epoch
            self.learned = not any(finding.serious for finding in training.task.findings(
                answers, training.parts.validation, training.predictor, scores, "rows"))
            self.state = {name: tensor.clone()
                          for name, tensor in model.state_dict().items()}, model.config
        self.stops = self.report(self.epoch, value)
        return {self.metric: value}

    def reason(self, values: Sequence[float | None], more_is_better: bool) -> str | None:
        """Say why training ends here, or None: early stopping that first asks for `report`."""
        if self.stops:
            return "pruned"
        return self.stopping and self.stopping.reason(values, more_is_better)


@dataclass(frozen=True)
class Objective:
    """`objective(trial)` -> score of a model with the trial's parameters.

    It is made of plain values, so that it travels to other processes and machines.

    Parameters
    ----------
    options
        Of training, all that is not tuned.
    folds
        0 scores on the validation rows, more is cross-validation.
    adaptive
        Whether patience grows with the trial's number; see `EarlyStopping.adaptive`.
    keep
        Leave the model in the trial's folder.
    """

    options: Any
    folds: int = 0
    adaptive: bool = False
    keep: bool = True

    def __call__(self, trial: Trial) -> float:
        options = trial_options(self.options, trial.params)
        if self.adaptive:
            options = adaptive_patience(options, trial.number)
            trial.notes["patience"] = options.early_stopping
        if trial.device is not None:
            options = options.replace(device=trial.device)
        device = choose_device(options.device)
        reset_peak_memory(device)
        if self.folds:
            return self._mean_of_folds(options, trial)
        job = TrialTraining(options, tokenized_rows(options)[0], trial.report)
        scores = job.score()
        numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
        trial.notes.update(numbers, learned=job.learned, epoch=job.best_epoch, epochs=job.epoch,
                           peak_memory_mb=(peak_memory(device) or 0) / 2**20)
        if self.keep and trial.folder is not None and trial.state == "running":
            job.training.save(Path(trial.folder) / "model")
        return scores[job.metric]

    def _mean_of_folds(self, options: Any, trial: Trial) -> float:
        """Return the mean over the folds; a trial that falls behind ends with a fold."""
        values: list[float] = []
        learned = []
        for fold, rows in enumerate(tokenized_rows(options, self.folds), 1):
            job = TrialTraining(options, rows, lambda epoch, value: False)
            values.append(job.score()[job.metric])
            learned.append(job.learned)
            if trial.report(fold, statistics.fmean(values)):
                break
        trial.notes.update(folds=values, learned=all(learned))
        return statistics.fmean(values)
