"""The rows of a campaign as a model sees them: tokenized once, and run through it fast.

Rows of similar length make a batch, so that there is little padding, and the encoder leaves out
what there is; passes with dropout may be in bfloat16.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bert_kit.active import dropout_on
from bert_kit.data import ClassificationDataset, RowDataset, make_loader
from bert_kit.errors import ConfigError
from bert_kit.evaluation import batch_logits, predict_logits
from bert_kit.jobs.tasks.texts import WINDOW_BATCH, TextTask
from bert_kit.model import Dropout, prepare_for_inference
from bert_kit.training import autocast, best_precision, keep_freed_memory

BATCHES = {"cpu": 128}  # rows that go through the model together; elsewhere 1024


class SomeRows(RowDataset):
    """Some rows of a ClassificationDataset, with labels of their own; nothing is tokenized again.

    Parameters
    ----------
    labels
        By position in `rows`: class numbers, or an array of float32 (N, C).
    """

    def __init__(self, dataset: ClassificationDataset, rows: Sequence[int] | np.ndarray,
                 labels: Sequence[int] | np.ndarray) -> None:
        self.dataset, self.rows, self.labels = dataset, np.asarray(rows, dtype=np.int64), labels
        self.lengths, self.pad_id = dataset.lengths[self.rows], dataset.pad_id
        self.stride = dataset.stride

    def make_row(self, row: int, epoch: int) -> dict[str, Any]:
        return {**self.dataset[int(self.rows[row])], "labels": self.labels[row]}


class ModelPool:
    """What acquisition functions ask of a model about some rows; see `bert_kit.active.Pool`.

    Parameters
    ----------
    model
        BERTForSequenceClassification or BERTForMultiLabel.
    task
        Makes probabilities of logits.
    dataset
        All rows of the campaign.
    rows, labelled
        Those of the pool, and those that have labels.
    seed
        Of the dropout masks.
    passes
        How often to run the model with dropout, T.
    precision
        Of these passes; by default what the machine is fast in.
    """

    def __init__(self, model: Any, task: TextTask, dataset: ClassificationDataset,
                 rows: Sequence[int], labelled: Sequence[int], seed: int, passes: int,
                 precision: str | None = None) -> None:
        self.model, self.task, self.dataset = model, task, dataset
        self.rows, self.labelled, self.seed, self.count = rows, labelled, seed, passes
        self.multi_label = task.has_label_sets
        self.device = next(model.parameters()).device
        self.precision = precision or best_precision(self.device)

    def __len__(self) -> int:
        return len(self.rows)

    def passes(self) -> Iterator[np.ndarray]:
        """Yield T tables of probabilities (N, C), each with its own dropout masks."""
        batches, order = self._batches(self.rows)  # once for all passes
        for number in range(self.count):
            seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
            with dropout_on(self.model, (Dropout, nn.Dropout), seed), \
                    autocast(self.precision, self.device.type):
                logits = [batch_logits(self.model, batch, self.device) for batch in batches]
            yield self.task.probabilities(_in_place(logits, order))

    def probabilities(self) -> np.ndarray:
        """Return the probabilities (N, C), dropout off."""
        return self.task.probabilities(self._outputs[0])

    def embeddings(self) -> np.ndarray:
        """Return what goes into the last linear layer (N, D), dropout off."""
        return self._vectors(self._outputs)

    def labelled_embeddings(self) -> np.ndarray:
        """Return the same for the rows that have a label (M, D)."""
        return self._vectors(self._run(self.labelled))

    def _vectors(self, outputs: tuple[Tensor, Tensor]) -> np.ndarray:
        if self.dataset.stride:
            raise ConfigError("a text in windows has no single vector; leave out the stride, or "
                              "the method that asks for embeddings")
        return outputs[1].numpy()

    @functools.cached_property
    def _ready(self) -> Any:
        return prepare_for_inference(self.model)

    @functools.cached_property
    def _outputs(self) -> tuple[Tensor, Tensor]:
        return self._run(self.rows)

    def _run(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return logits (N, C) and what the last layer made them of (N, D), in float32."""
        inputs, (batches, order) = [], self._batches(rows)
        last = [layer for layer in self._ready.classifier.modules()
                if isinstance(layer, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda layer, given: inputs.append(given[0]))
        try:
            logits, _ = predict_logits(self._ready, batches, self.device)
        finally:
            hook.remove()
        return logits[np.argsort(order)], _in_place(inputs, order)

    def _batches(self, rows: Sequence[int]) -> tuple[list[dict[str, Tensor]], np.ndarray]:
        """Return padded batches of rows, long ones first, and which position each row had."""
        keep_freed_memory()
        numbers = np.asarray(rows, dtype=np.int64)
        order = np.argsort(-self.dataset.lengths[numbers], kind="stable")
        size = WINDOW_BATCH if self.dataset.stride else BATCHES.get(self.device.type, 1024)
        loader = make_loader(SomeRows(self.dataset, numbers[order],
                                      np.zeros(len(numbers), np.int64)), size, shuffle=False)
        return [{key: value if key == "attention_mask" else value.to(self.device)
                 for key, value in batch.items()} for batch in loader], order


def _in_place(parts: list[Tensor], order: np.ndarray) -> Tensor:
    """Return the rows of batches on the CPU, each at the position that it had."""
    return torch.cat(parts).float().cpu()[np.argsort(order)]
