"""The rows of a campaign as a model sees them: tokenized once, and run through it fast.

Rows of similar length make a batch, so that there is little padding, and the encoder leaves out
what there is; passes with dropout may be in bfloat16.
"""

import functools

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from bert_kit.active import dropout_on
from bert_kit.data import make_loader
from bert_kit.errors import ConfigError
from bert_kit.evaluation import predict_logits
from bert_kit.model import Dropout
from bert_kit.recipes.fine_tuning import threads
from bert_kit.training import autocast, best_precision, keep_freed_memory

BATCHES = {"cpu": 128}  # rows that go through the model together; elsewhere 1024
WINDOW_BATCH = 8  # texts in windows, of which each may have many


class Rows(Dataset):
    """Some rows of a ClassificationDataset, with labels of their own; nothing is tokenized again.

    Parameters
    ----------
    dataset : ClassificationDataset
    rows : sequence of int
    labels : list of int, or array of float32 (N, C)
        By position in `rows`.
    """

    def __init__(self, dataset, rows, labels):
        self.dataset, self.rows, self.labels = dataset, np.asarray(rows, dtype=np.int64), labels
        self.lengths, self.pad_id = dataset.lengths[self.rows], dataset.pad_id
        self.stride = dataset.stride

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        row = key[1] if isinstance(key, tuple) else key  # these rows are the same in every epoch
        return {**self.dataset[int(self.rows[row])], "labels": self.labels[row]}


class ModelPool:
    """What acquisition functions ask of a model about some rows; see `bert_kit.active.Pool`.

    Parameters
    ----------
    model : BERTForSequenceClassification or BERTForMultiLabel
    task : ClassTask or LabelTask
        Makes probabilities of logits.
    dataset : ClassificationDataset
        All rows of the campaign.
    rows, labelled : list of int
        Those of the pool, and those that have labels.
    seed : int
        Of the dropout masks.
    settings : ActiveSettings
        Of which `passes`, `pass_precision` and `threads`.
    """

    def __init__(self, model, task, dataset, rows, labelled, seed, settings):
        self.model, self.task, self.dataset = model, task, dataset
        self.rows, self.labelled, self.seed, self.settings = rows, labelled, seed, settings
        self.multi_label = task.chooses
        self.device = next(model.parameters()).device
        self.precision = settings.pass_precision or best_precision(self.device)

    def __len__(self):
        return len(self.rows)

    def passes(self):
        """Yield T tables of probabilities (N, C), each with its own dropout masks."""
        batches, order = self._batches(self.rows)  # once for all passes
        for number in range(self.settings.passes):
            seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
            with threads(self.settings.threads), torch.inference_mode(), \
                    dropout_on(self.model, (Dropout, nn.Dropout), seed), \
                    autocast(self.precision, self.device.type):
                logits = [self.model(batch["input_ids"], batch["attention_mask"],
                                     batch["token_type_ids"]).float() for batch in batches]
            yield self.task.probabilities(_in_place(logits, order))

    def probabilities(self):
        """Return the probabilities (N, C), dropout off."""
        return self.task.probabilities(self._own[0])

    def embeddings(self):
        """Return what goes into the last linear layer (N, D), dropout off."""
        return self._vectors(self._own)

    def labelled_embeddings(self):
        """Return the same for the rows that have a label (M, D)."""
        return self._vectors(self._look(self.labelled))

    def _vectors(self, look):
        if self.dataset.stride:
            raise ConfigError("a text in windows has no single vector; leave out the stride, or "
                              "the method that asks for embeddings")
        return look[1].numpy()

    @functools.cached_property
    def _own(self):
        return self._look(self.rows)

    def _look(self, rows):
        """Return logits (N, C) and what the last layer made them of (N, D), in float32."""
        inputs, (batches, order) = [], self._batches(rows)
        last = [layer for layer in self.model.classifier.modules()
                if isinstance(layer, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda layer, given: inputs.append(given[0]))
        try:
            with threads(self.settings.threads):
                logits, _ = predict_logits(self.model, batches, self.device)
        finally:
            hook.remove()
        return logits[np.argsort(order)], _in_place(inputs, order)

    def _batches(self, rows):
        """Return padded batches of rows, long ones first, and which position each row had."""
        keep_freed_memory()
        rows = np.asarray(rows, dtype=np.int64)
        order = np.argsort(-self.dataset.lengths[rows], kind="stable")
        size = WINDOW_BATCH if self.dataset.stride else BATCHES.get(self.device.type, 1024)
        loader = make_loader(Rows(self.dataset, rows[order], np.zeros(len(rows), np.int64)), size,
                             shuffle=False)
        return [{key: value if key == "attention_mask" else value.to(self.device)
                 for key, value in batch.items()} for batch in loader], order


def _in_place(parts, order):
    """Return the rows of batches on the CPU, each at the position that it had."""
    return torch.cat(parts).float().cpu()[np.argsort(order)]
