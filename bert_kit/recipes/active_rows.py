"""What a campaign asks of a model and its rows: fit, pool, scores, and weights to and from disk."""

import dataclasses
import hashlib
import math

import numpy as np

from bert_kit.data import ClassificationDataset, LabelledParts, Part, read_table
from bert_kit.recipes.active_pool import ModelPool, Rows
from bert_kit.recipes.fine_tuning import early_stopping, make_tokenizer, threads
from bert_kit.recipes.prediction import Predictor
from bert_kit.recipes.rows import one_or_two, read_rows
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.shared_rows import SharedRowsTrainer, TokenizedRows
from bert_kit.recipes.tasks import TASKS
from bert_kit.training import give_back_memory
from bert_kit.weights import load_pretrained, save_pretrained

AT_HALF = ("f1_micro", "f1_macro")  # scores of labels that are given at the threshold .5 as well


class ActiveRows:
    """The texts of a job, tokenized once, and the functions that its campaigns are made of.

    Parameters
    ----------
    settings : ActiveSettings
        With a real output folder, and precisions that are fixed.
    device : torch.device

    Attributes
    ----------
    texts : list
        Those of the campaign: the training rows, and then those of the pool file if there is one.
    truth : list
        Labels of the training rows as the loop has them: class numbers, or lists of these.
    known : list
        The same, of the rows whose labels are there from the start; none but with a pool file.
    classes : tuple of str
    fingerprint, description : str
    """

    def __init__(self, settings, device):
        self.settings, self.device, self.task = settings, device, TASKS[settings.task]
        parts = self.parts = _read(settings)
        self.classes = parts.classes
        self.truth = [np.flatnonzero(label).tolist() if self.task.chooses else label
                      for label in parts.train.labels]
        self.texts, self.known = list(parts.train.texts), []
        self.fingerprint, self.description = parts.fingerprint, parts.description
        if settings.pool_file is not None:
            pool = read_table(settings.pool_file, one_or_two(settings.text_column), None,
                              settings.delimiter, settings.encoding).texts
            self.texts, self.known = self.texts + pool, self.truth
            self.fingerprint = _digest(parts.fingerprint, *pool)
            self.description += f"; {len(pool):,} texts to ask about"
        self.base = _of_one_training(settings)
        self.tokenizer = make_tokenizer(self.base, self.texts)
        self.dataset = self._tokenized(Part(self.texts, [0] * len(self.texts)))
        self.others = {name: self._tokenized(part) for name, part in (
            ("validation", parts.validation), ("test", parts.test)) if part}
        self.scored = next((self.others[name] for name in ("test", "validation")
                            if name in self.others), None)

    def _tokenized(self, part):
        return ClassificationDataset(part.texts, part.labels, self.tokenizer,
                                     self.settings.max_length, stride=self.settings.stride)

    def fit(self, rows, labels, seed, start, epochs=None):
        """Train on some rows, from the pre-trained weights or from the model `start`.

        The epochs are fixed before, as in the paper; the validation rows, where there are any,
        choose the thresholds of labels and nothing else, unless early stopping is asked for.
        """
        give_back_memory(self.device)  # else small things that stay split it, and rounds add up
        base = self.base
        if epochs is None:
            steps = math.ceil(math.ceil(len(rows) / base.batch_size)
                              / base.gradient_accumulation_steps)
            epochs = max(base.num_train_epochs, math.ceil(self.settings.min_steps / steps))
        datasets = {"train": Rows(self.dataset, rows, self._encoded(labels))}
        everything = datasets | {name: dataset for name, dataset in self.others.items()
                                 if name == "validation"}
        job = SharedRowsTrainer(base.replace(seed=seed, num_train_epochs=epochs),
                                TokenizedRows(self.parts, self.tokenizer, everything))
        job.setup_trainer(datasets if early_stopping(base) is None else everything)
        job.datasets = everything
        if start is not None:
            job.model.load_state_dict(start.state_dict())
        job.train()
        return job.model

    def _encoded(self, labels):
        """Return labels as a dataset has them."""
        if not self.task.chooses:
            return list(labels)
        table = np.zeros((len(labels), len(self.classes)), dtype=np.float32)
        for row, numbers in zip(table, labels):
            row[numbers] = 1
        return table

    def make_pool(self, model, rows, labelled, seed):
        """Return the Pool of some rows."""
        return ModelPool(model, self.task, self.dataset, rows, labelled, seed, self.settings)

    def evaluate(self, model):
        """Return every score of the test rows that is a number; without any, of validation rows.

        Of labels, those at the thresholds that the validation rows chose, and also those at .5,
        whose names end in _at_half. Validation rows themselves are scored at .5 alone: thresholds
        chosen by the rows that are scored would flatter.
        """
        if self.scored is None:
            return {}
        with threads(self.settings.threads):
            logits = Predictor(model, self.tokenizer, self.device).dataset_logits(self.scored)
        labels, plain = self.scored.labels, model.config.replace(extra={})
        at_half = _numbers(self.task.scores(logits, labels, plain))
        if not (self.task.chooses and {*self.others} == {"validation", "test"}):
            return at_half
        return _numbers(self.task.scores(logits, labels, model.config)) | {
            f"{name}_at_half": at_half[name] for name in AT_HALF}

    def save_model(self, model, folder):
        """Write a model and its tokenizer; `predict` reads the folder."""
        save_pretrained(model, folder, self.tokenizer)

    def load_model(self, folder):
        """Read a model back."""
        return load_pretrained(self.task.model_class, folder, strict=True,
                               report=lambda line: None).to(self.device).eval()


def _read(settings):
    """Return the LabelledParts; without labelled files the training part is empty."""
    if settings.pool_file is None or settings.data_file or settings.train_file:
        return read_rows(settings)
    classes = tuple(sorted(settings.classes))
    return LabelledParts(Part([], []), None, None, classes, _digest(*classes), 0,
                         f"{len(classes)} classes, no labels")


def _of_one_training(settings):
    """Return the settings of the training of one round, which leaves nothing on disk."""
    names = [field.name for field in dataclasses.fields(ClassificationSettings)]
    return ClassificationSettings(**{name: getattr(settings, name) for name in names} | {
        "output_dir": None, "resume": None, "verbosity": 0,
        "num_train_epochs": settings.num_train_epochs or (3 if settings.model else 6)})


def _digest(*texts):
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()


def _numbers(scores):
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}
