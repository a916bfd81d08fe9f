"""A task of one's own in one file: a grade a text, told by how many thresholds it passes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.data import Number
from bert_kit.evaluation import number_cells, number_columns
from bert_kit.jobs.options.declare import option, with_defaults
from bert_kit.jobs.tasks.texts import TextOptions, TextTask
from bert_kit.model import BERTForSequenceClassification
from bert_kit.training import mean_over_rows, model_inputs


@dataclass(frozen=True)
@with_defaults(task="ordinal_task:OrdinalTask")
class OrdinalOptions(TextOptions):
    METRICS = ("accuracy", "within_one", "loss")
    top: int = option(2, "highest grade", least=1)


class OrdinalTask(TextTask):
    """Logit k says whether the grade is above k (Frank & Hall 2001)."""

    name, what, options = "ordinal_task:OrdinalTask", "gives a text a grade", OrdinalOptions
    head_class, metrics = BERTForSequenceClassification, OrdinalOptions.METRICS
    columns = (("within_one", "within one", 12, ".4f"), ("accuracy", "accuracy", 10, ".4f"))

    def label_kind(self, options):
        return Number(*options.label_column)

    def config(self, options, parts, before):
        labels = tuple(f"above {grade}" for grade in range(options.top))
        return super().config(options, parts, before) | {"labels": labels}

    def loss(self, options, training=None):
        def loss(model, batch, counts=None):
            logits = model(**model_inputs(model, batch)).float()  # (B, top)
            above = batch["labels"].reshape(-1, 1) > torch.arange(logits.shape[1])
            rows = F.binary_cross_entropy_with_logits(logits, above.float(), reduction="none")
            return mean_over_rows(rows.sum(1), batch, counts)
        return loss

    def logit_scores(self, logits, labels, config):
        off = np.abs((logits > 0).sum(1).numpy() - np.asarray(labels))
        return {"loss": float(off.mean()), "accuracy": float((off < 0.5).mean()),
                "within_one": float((off < 1.5).mean())}

    def names(self, logits, config):
        return (logits > 0).sum(1).tolist()

    def cell_names(self, config, labelled, text_columns):
        return number_columns(labelled, text_columns)

    def cells(self, texts, logits, config, labels=None):
        return number_cells(texts, (logits > 0).sum(1).double().numpy(), labels)
