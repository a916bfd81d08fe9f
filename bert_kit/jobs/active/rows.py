"""What a campaign asks of a model and its rows: fit, pool, scores, and weights to and from disk."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bert_kit.config import BertConfig
from bert_kit.data import ClassificationDataset, Part, check_names, read_table
from bert_kit.jobs.active.pool import ModelPool, SomeRows
from bert_kit.jobs.options.declare import fields_of
from bert_kit.jobs.options.groups import reading_notes
from bert_kit.jobs.run.build import early_stopping, read_weights_once
from bert_kit.jobs.run.defaults import least_steps, planned_epochs, usual_epochs
from bert_kit.jobs.run.job import Rows, TrainingJob
from bert_kit.jobs.run.predictor import warn
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.rows import one_or_two
from bert_kit.jobs.tasks.texts import Predictor, TextTask
from bert_kit.training import give_back_memory
from bert_kit.weights import load_pretrained, save_pretrained

AT_HALF = ("f1_micro", "f1_macro")  # scores of labels that are given at the threshold .5 as well


class ActiveRows:
    """The texts of a job, tokenized once, and the functions that its campaigns are made of.

    Parameters
    ----------
    task
        One that gives a text classes.
    options
        CampaignOptions of the task, with a real output folder.

    Attributes
    ----------
    texts
        Those of the campaign: the training rows, and then those of the pool file if there is one.
    truth
        Labels of the training rows as the loop has them: class numbers, or lists of these.
    known
        The same, of the rows whose labels are there from the start; none but with a pool file.
    bad_rows
        Those that were left out.
    """

    def __init__(self, task: TextTask, options: Any, device: torch.device) -> None:
        self.task, self.options, self.device = task, options, device
        parts = self.parts = _read(task, options)
        self.classes = parts.classes
        self.truth = [np.flatnonzero(label).tolist() if task.has_label_sets else label
                      for label in parts.train.labels]
        self.texts: list[Any] = [*parts.train.texts]
        self.known: list[Any] = []
        self.bad_rows = [*parts.bad_rows]
        self.fingerprint, self.description = parts.fingerprint, parts.description
        if options.pool_file is not None:
            reading = options.reading()
            pool = read_table(options.pool_file, one_or_two(options.text_column), None,
                              **reading).texts
            self.texts += pool
            self.known = self.truth
            self.fingerprint = _digest(parts.fingerprint, *pool)
            self.description += f"; {len(pool):,} texts to ask about"
            warn(reading_notes(reading, len(pool)))
            self.bad_rows += reading["bad_rows"] or []
        self.base = _options_of_a_round(task, options)
        everything = Part(self.texts, [0] * len(self.texts))
        self.tokenizer = task.make_tokenizer(self.base, everything)
        self.dataset = self._tokenized("train", everything)
        self.others = {name: self._tokenized(name, part)
                       for name, part in parts.present().items() if name != "train" and part}
        self.scored = self.others.get("test", self.others.get("validation"))

    def _tokenized(self, name: str, part: Part) -> ClassificationDataset:
        return self.task.dataset(part, name, self.parts, self.tokenizer, self.base)

    def fit(self, rows: Sequence[int], labels: Sequence[Any], seed: int, start: Any,
            epochs: int | None = None) -> Any:
        """Train on some rows, from the pre-trained weights or from the model `start`.

        The epochs are fixed before, as in the paper; the validation rows, where there are any,
        choose the thresholds of labels and nothing else, unless early stopping is asked for.
        """
        give_back_memory(self.device)  # else small things that stay split it, and rounds add up
        if epochs is None:
            steps = math.ceil(math.ceil(len(rows) / self.base.batch_size)
                              / self.base.gradient_accumulation_steps)
            least = self.options.min_steps
            if least is None:
                least = least_steps(self.task, self.base, self.parts.classes)
            epochs = planned_epochs(self.task, self.base.replace(min_steps=least, max_steps=-1),
                                    steps)
        options = self.base.replace(seed=seed, num_train_epochs=epochs, min_steps=0)
        if start is not None and options.scale_with_classes and options.learning_rate != "auto":
            rate = options.learning_rate or self.task.rates[options.model is None]
            options = options.replace(  # the head is not new: it learns as the encoder does
                head_learning_rate=options.head_learning_rate or rate)
        encoded = self._encoded(labels)
        parts = dataclasses.replace(self.parts, train=Part([self.texts[row] for row in rows],
                                                           encoded))
        datasets: dict[str, Any] = {"train": SomeRows(self.dataset, rows, encoded)}
        validation = self.others.get("validation")
        if validation is not None and early_stopping(options) is not None:
            datasets["validation"] = validation
        training = TrainingJob(self.task, options).build(
            Rows(parts, self.tokenizer, datasets), read_weights_once)
        if start is not None:
            training.model.load_state_dict(start.state_dict())
        with training.at_work() as trainer:
            trainer.train()
        if validation is not None and self.task.chooses_thresholds:
            training.score("validation", training.predictor.answers(validation))
        return training.model

    def _encoded(self, labels: Sequence[Any]) -> list[int] | np.ndarray:
        """Return labels as a dataset has them."""
        if not self.task.has_label_sets:
            return list(labels)
        table = np.zeros((len(labels), len(self.classes)), dtype=np.float32)
        for row, numbers in zip(table, labels, strict=True):
            row[numbers] = 1
        return table

    def make_pool(self, model: Any, rows: Sequence[int], labelled: Sequence[int],
                  seed: int) -> ModelPool:
        """Return the Pool of some rows."""
        return ModelPool(model, self.task, self.dataset, rows, labelled, seed,
                         self.options.passes, self.options.pass_precision)

    def evaluate(self, model: Any) -> Scores:
        """Return every score of the test rows that is a number; without any, of validation rows.

        Of labels, those at the thresholds that the validation rows chose, and also those at .5,
        whose names end in _at_half. Validation rows themselves are scored at .5 alone: thresholds
        chosen by the rows that are scored would flatter.
        """
        if self.scored is None:
            return {}
        logits = Predictor(model, self.tokenizer, self.device).answers(self.scored)
        labels, plain = self.scored.labels, model.config.replace(extra={})
        at_half = _numbers(self.task.logit_scores(logits, labels, plain))
        if not (self.task.chooses_thresholds and {*self.others} == {"validation", "test"}):
            return at_half
        return _numbers(self.task.logit_scores(logits, labels, model.config)) | {
            f"{name}_at_half": at_half[name] for name in AT_HALF}

    def constant_scores(self) -> tuple[str, Scores]:
        """Return the commonest class or label of the texts, and the scores of it for every row."""
        every: Any = self.truth
        truth = [number for numbers in every for number in numbers] if (
            self.task.has_label_sets) else every
        if self.scored is None or not truth:
            return "", {}
        common = int(np.bincount(truth).argmax())
        logits = torch.full((len(self.scored), len(self.classes)), -10.0)
        logits[:, common] = 10.0
        config = BertConfig(labels=tuple(self.classes))
        return self.classes[common], _numbers(self.task.logit_scores(
            logits, self.scored.labels, config))

    def save_model(self, model: Any, folder: Path) -> None:
        """Write a model and its tokenizer; `predict` reads the folder."""
        save_pretrained(model, folder, self.tokenizer)

    def load_model(self, folder: Path) -> Any:
        """Read a model back."""
        return load_pretrained(self.task.model_class(self.base), folder, strict=True,
                               report=lambda line: None).to(self.device).eval()


def _read(task: TextTask, options: Any) -> Parts[Part]:
    """Return the parts; without labelled files the training part is empty."""
    if options.pool_file is None or options.data_file or options.train_file:
        return TrainingJob(task, options).read()
    classes = tuple(sorted(options.classes))
    warn(check_names(classes))
    return Parts(Part([], []), None, None, _digest(*classes),
                 f"{len(classes)} classes, no labels", classes)


def _options_of_a_round(task: TextTask, options: Any) -> Any:
    """Return the options of the training of one round, which leaves nothing on disk."""
    values = {field.name: getattr(options, field.name) for field in fields_of(task.options)}
    epochs = usual_epochs(task, options)
    return task.options(**{**values, "output_dir": None, "resume": None, "verbosity": 0,
                           "time_limit": None, "num_train_epochs": epochs})


def _digest(*texts: Any) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()


def _numbers(scores: Scores) -> Scores:
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}
