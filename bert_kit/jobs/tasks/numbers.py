"""A number a text, or a pair of texts: mean squared error, and the correlations that judge it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bert_kit.config import BertConfig
from bert_kit.data import Number, Part
from bert_kit.evaluation import (Finding, few_rows, flat_numbers, number_cells, number_columns,
                                 regression_metrics)
from bert_kit.evaluation.prediction_files import Cell
from bert_kit.jobs.options.declare import with_defaults
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.texts import Predictor, TextOptions, TextTask
from bert_kit.model import BERTForSequenceClassification
from bert_kit.training import Loss, compute_regression_loss, set_output_bias

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows, Training


@dataclass(frozen=True)
@with_defaults({"data_file": "file with the columns text,label, or a folder with train, dev and "
                "test files", "metric": "what decides which epoch is best; by default spearman"},
               task="regression")
class NumberOptions(TextOptions):
    """What to train on and how: a number a text."""

    examples = ("bert-kit train --task regression --data_file essays.csv --model minilm",
                "bert-kit train --task regression --data_file p.csv --text_column text_a text_b")
    METRICS = ("spearman", "pearson", "loss")


class NumberTask(TextTask):
    """A number a text. It has no classes and no probabilities."""

    name, what = "regression", "gives a text a number"
    options, head_class = NumberOptions, BERTForSequenceClassification
    stored = {"problem_type": "regression"}
    metrics = NumberOptions.METRICS
    columns = (("spearman", "Spearman", 10, ".4f"), ("pearson", "Pearson", 10, ".4f"),
               ("loss", "MSE", 10, ".4f"))

    def label_kind(self, options: Any) -> Number:
        return Number(*options.label_column)

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        return compute_regression_loss

    def start(self, model: Any, rows: "Rows[Part]", options: Any) -> None:
        set_output_bias(model, torch.tensor([np.asarray(rows.parts.train.labels).mean()]))

    def logit_scores(self, logits: Tensor, labels: Any, config: BertConfig) -> Scores:
        return regression_metrics(logits, labels)

    def names(self, logits: Tensor, config: BertConfig) -> list[float]:
        return logits[:, 0].tolist()

    def cell_names(self, config: BertConfig, labelled: bool,
                   text_columns: Sequence[str]) -> list[str]:
        return number_columns(labelled, text_columns)

    def cells(self, texts: Sequence[Any], logits: Tensor, config: BertConfig,
              labels: Any = None) -> list[list[Cell]]:
        return number_cells(texts, logits[:, 0].double().numpy(), labels)

    def text_baselines(self, parts: Parts[Part], held_out: Part) -> Iterator[tuple[str, Scores]]:
        mean = np.full(len(held_out), np.asarray(parts.train.labels).mean())
        yield "mean of the training labels", regression_metrics(mean, held_out.labels)

    def constant_baseline(self, part: Part) -> dict[str, Scores]:
        mean = np.full(len(part), np.asarray(part.labels).mean())
        return {"the mean of these rows": regression_metrics(mean, part.labels)}

    def findings(self, answers: Tensor, part: Part, predictor: Any, scores: Scores,
                 rows: str) -> list[Finding]:
        return [*flat_numbers(answers[:, 0], part.labels, rows), *few_rows(len(part.labels), rows)]

    def table(self, scores: Scores, classes: Sequence[str]) -> str:
        return f"mean absolute error {scores['mean_absolute_error']:.4f}"

    def report(self, folder: Path, results: Scores, answers: Tensor, part: Part,
               predictor: Predictor, options: Any) -> str:
        self.write_predictions(folder / "predictions.csv", part.texts, answers, predictor.config,
                               part.labels)
        return "\n".join([f"{results['rows']:,} rows", "", *(
            f"{key:22}{value:.4f}" for key, value in results.items() if isinstance(value, float))])
