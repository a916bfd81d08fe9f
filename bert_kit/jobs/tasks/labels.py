"""Any number of labels a text: losses, thresholds chosen on validation rows, and what they give."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.data import LabelColumns, LabelList, Part
from bert_kit.errors import ConfigError
from bert_kit.evaluation import (Finding, brier_score, expected_calibration_error, few_rows,
                                 fit_thresholds, flat_answers, format_per_class, format_sweep,
                                 label_set_cells, label_set_columns, multilabel_logit_metrics,
                                 multilabel_metrics, never_predicted, plot_threshold_sweep,
                                 predict_label_sets, same_answers,
                                 tfidf_label_probabilities, threshold_sweep, threshold_warning,
                                 vector_label_probabilities, write_rows)
from bert_kit.evaluation.prediction_files import Cell
from bert_kit.evaluation.trust.baselines import FROZEN_VECTORS
from bert_kit.jobs.options.declare import Needs, Options, option, with_defaults
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.calibration import calibrate
from bert_kit.jobs.tasks.rows import joined
from bert_kit.jobs.tasks.texts import MOST_VECTORS, Predictor, TextOptions, TextTask
from bert_kit.model import BERTForMultiLabel
from bert_kit.training import (Loss, multi_label_loss, positive_weights, prior_logits,
                               set_output_bias)

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows, Training

ASYMMETRIC = {"gamma_positive": 0.0, "gamma_negative": 4.0, "margin": 0.05}  # as its paper sets it
LARGEST_WEIGHT = 10.0  # of a rare label: more costs too much precision
TFIDF_THRESHOLD = 0.3  # without validation rows to choose one by
LISTED = Needs("one label_column", lambda options: len(options.label_column) == 1)


@dataclass(frozen=True)
class LabelLossOptions(Options):
    """What the loss of labels looks at."""

    title: ClassVar[str] = "training"

    focal_gamma: float = option(0.0, "focus on hard rows; 0 is cross-entropy")
    asymmetric: bool = option(False, "the asymmetric loss of labels: easy absent ones hardly count")
    class_weight: str | None = option(None, "balanced weighs rare labels up",
                                      choices=("balanced",))


@dataclass(frozen=True)
@with_defaults({"data_file": "file with the columns text,labels, or a folder with train, dev and "
                "test files", "label_column": "name of the column with the labels; several are "
                "columns of 0 and 1, a label each; by default labels",
                "metric": "what decides which epoch is best; by default f1_micro"},
               task="multi_label")
class LabelOptions(TextOptions, LabelLossOptions):
    """What to train on and how: any number of labels a text."""

    examples = ("bert-kit train --task multi_label --data_file comments.csv --model minilm",
                "bert-kit train --task multi_label --data_file t.csv --label_column joy anger")
    METRICS = ("f1_micro", "f1_macro", "f1_weighted", "f1_samples", "jaccard", "exact_match",
               "label_ranking_average_precision", "loss")
    LABEL_COLUMN = "labels"

    label_separator: str = option("|", "between the labels of a cell", needs=LISTED)

    def _check_columns(self) -> None:
        """Any number of columns will do."""


def sigmoid(logits: Any) -> np.ndarray:
    """Logits (N, C) -> probabilities (N, C), a float64 array."""
    return torch.as_tensor(np.asarray(logits)).double().sigmoid().numpy()


def thresholds_of(config: BertConfig) -> float | list[float]:
    """Return the thresholds that a model's config.json holds; .5 where it holds none."""
    thresholds = config.extra.get("thresholds", 0.5)
    numbers = thresholds if isinstance(thresholds, list) else [thresholds] * config.num_labels
    if len(numbers) != config.num_labels or not all(
            isinstance(number, int | float) and 0 <= number <= 1 for number in numbers):
        raise ConfigError(f"config.json: thresholds are {thresholds!r:.40}; expected a number, or "
                          "one a label")
    return thresholds


class LabelTask(TextTask):
    """Any number of labels a text.

    The thresholds from which on a label is given are those with the best F1 on the validation
    rows: one for all labels, or with the metric f1_macro one for each.
    """

    name, what = "multi_label", "gives a text any number of labels"
    options, head_class = LabelOptions, BERTForMultiLabel
    stored = {"problem_type": "multi_label_classification"}
    metrics = LabelOptions.METRICS
    columns = (("f1_micro", "micro F1", 10, ".4f"), ("f1_macro", "macro F1", 10, ".4f"),
               ("jaccard", "Jaccard", 9, ".4f"))
    has_label_sets = chooses_thresholds = has_confidence = True

    def label_kind(self, options: Any) -> LabelColumns | LabelList:
        if len(options.label_column) > 1:
            return LabelColumns(options.label_column)
        column, = options.label_column
        return LabelList(column, options.label_separator)

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        if options.asymmetric and options.focal_gamma:
            raise ConfigError("asymmetric and focal_gamma are both set; expected one of them")
        gamma = options.focal_gamma
        form = ASYMMETRIC if options.asymmetric else {"gamma_positive": gamma,
                                                      "gamma_negative": gamma}
        weights = None
        if options.class_weight == "balanced" and training is not None:
            weights = positive_weights(training.datasets["train"].labels).clamp(max=LARGEST_WEIGHT)
        return multi_label_loss(weights, **form)

    def start(self, model: Any, rows: "Rows[Part]", options: Any) -> None:
        set_output_bias(model, prior_logits(np.asarray(rows.parts.train.labels)))

    def choose(self, answers: Tensor, part: Part, predictor: Predictor,
               options: Any) -> dict[str, Any]:
        if not np.any(part.labels):  # a handful of rows: nothing to choose by
            return {}
        thresholds = fit_thresholds(sigmoid(answers), part.labels, options.metric == "f1_macro")
        return {"thresholds": np.asarray(thresholds).tolist()}

    def scaled(self, config: BertConfig, scale: np.ndarray, shift: np.ndarray) -> BertConfig:
        thresholds = np.asarray(thresholds_of(config), dtype=np.float64)
        with np.errstate(divide="ignore"):  # of 0 and 1
            cuts = np.log(thresholds) - np.log1p(-thresholds)
        return config.replace(extra={
            **config.extra, "thresholds": sigmoid(scale * cuts + shift).tolist()})

    def logit_scores(self, logits: Tensor, labels: Any, config: BertConfig) -> Scores:
        return multilabel_logit_metrics(logits, labels, thresholds_of(config))

    def probabilities(self, logits: Any) -> np.ndarray:
        return sigmoid(logits)

    def names(self, logits: Tensor, config: BertConfig) -> list[tuple[str, ...]]:
        sets = predict_label_sets(sigmoid(logits), thresholds_of(config))
        return [tuple(name for name, holds in zip(config.labels, row, strict=True) if holds)
                for row in sets]

    def cell_names(self, config: BertConfig, labelled: bool,
                   text_columns: Sequence[str]) -> list[str]:
        return label_set_columns(config.labels, labelled, text_columns)

    def cells(self, texts: Sequence[Any], logits: Tensor, config: BertConfig,
              labels: Any = None) -> list[list[Cell]]:
        probabilities = sigmoid(logits)
        return label_set_cells(texts, predict_label_sets(probabilities, thresholds_of(config)),
                               probabilities, config.labels, labels)

    def text_baselines(self, parts: Parts[Part], held_out: Part) -> Iterator[tuple[str, Scores]]:
        train, chosen_on = parts.train, parts.validation
        labels = np.asarray(train.labels)
        shares = np.tile(labels.mean(0), (len(held_out), 1))
        yield "commonest label", self._headline(shares, held_out.labels, shares.max())
        found = tfidf_label_probabilities(
            joined(train.texts), labels,
            joined([*held_out.texts, *(chosen_on.texts if chosen_on else [])]))
        probabilities, others = found[:len(held_out)], found[len(held_out):]
        threshold = (fit_thresholds(others, chosen_on.labels)
                     if chosen_on and np.any(chosen_on.labels) else TFIDF_THRESHOLD)
        yield "TF-IDF + logistic regression", self._headline(probabilities, held_out.labels,
                                                             threshold)

    def vector_baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        found = self.frozen_vectors(training, name)
        if found is None:
            return
        few, vectors, held_out = found
        chosen_on, threshold = training.parts.validation, TFIDF_THRESHOLD
        if chosen_on and np.any(chosen_on.labels) and len(chosen_on) <= MOST_VECTORS:
            threshold = fit_thresholds(vector_label_probabilities(
                vectors, few.labels, training.predictor.vectors(training.datasets["validation"])),
                chosen_on.labels)
        probabilities = vector_label_probabilities(vectors, few.labels, held_out)
        yield FROZEN_VECTORS, self._headline(
            probabilities, training.parts.present()[name].labels, threshold)

    def _headline(self, probabilities: np.ndarray, labels: Any, thresholds: Any) -> Scores:
        scores = multilabel_metrics(probabilities, labels, thresholds)
        return {key: scores[key] for key, *_ in self.columns}

    def constant_baseline(self, part: Part) -> dict[str, Scores]:
        shares = np.tile(np.asarray(part.labels).mean(0), (len(part), 1))
        return {"the commonest label of these rows": self._headline(shares, part.labels,
                                                                    shares.max())}

    def findings(self, answers: Tensor, part: Part, predictor: Any, scores: Scores,
                 rows: str) -> list[Finding]:
        given = self.names(answers, predictor.config)
        right = [tuple(name for name, holds in zip(predictor.classes, row, strict=True) if holds)
                 for row in np.asarray(part.labels)]
        flat = [name for labels in given for name in labels]
        return [*same_answers(given, right, rows, lambda labels: ", ".join(labels) or "no label"),
                *flat_answers(F.logsigmoid(answers), rows),
                *never_predicted(flat, [name for labels in right for name in labels]),
                *few_rows(len(right), rows)]

    def more_scores(self, rows: Mapping[str, tuple[Tensor, Any]], config: BertConfig) -> Scores:
        logits, labels = rows["test"]
        probabilities = sigmoid(logits)
        result = {"calibration_error": expected_calibration_error(probabilities, labels),
                  "brier_score": brier_score(probabilities, labels),
                  "thresholds": {"0.5": self._headline(probabilities, labels, 0.5)}}
        if "validation" in rows and rows["validation"][1].any():
            chosen_on = sigmoid(rows["validation"][0]), rows["validation"][1]
            for name, each in (("one for all", False), ("one a label", True)):
                thresholds = fit_thresholds(*chosen_on, each)
                result["thresholds"][name] = {
                    "chosen": np.asarray(thresholds).tolist(),
                    **self._headline(probabilities, labels, thresholds)}
        result["warning"] = threshold_warning(probabilities, labels, thresholds_of(config))
        return result

    def calibration(self, validation: tuple[Tensor, Any],
                    test: tuple[Tensor, Any]) -> tuple[dict, dict]:
        return calibrate(sigmoid, validation, test)

    def table(self, scores: Scores, classes: Sequence[str]) -> str:
        lines = [format_per_class(scores, classes)]
        lines += ["", f"{'threshold':40}" + "".join(
            f"{heading:>{width}}" for _, heading, width, _ in self.columns)]
        for name, row in scores.get("thresholds", {}).items():
            chosen = row.get("chosen")
            shown = f"{name}, {chosen:.2f}" if isinstance(chosen, float) else name
            lines.append(f"{shown:40}" + "".join(
                f"{format(row[key], form):>{width}}" for key, _, width, form in self.columns))
        if scores.get("warning"):
            lines += ["", f"note: {scores['warning']}"]
        return "\n".join(lines)

    def leave(self, training: "Training", answers: Mapping[str, Tensor], results: dict[str, Any],
              folder: Path, plots: bool, concluded: dict | None) -> None:
        validation = training.parts.validation
        if validation is not None:
            sweep = threshold_sweep(sigmoid(answers["validation"]), validation.labels)
            write_rows(folder / "thresholds.csv", sweep)
            if plots:
                chosen = thresholds_of(training.predictor.config)
                plot_threshold_sweep(sweep, folder / "thresholds.png",
                                     None if isinstance(chosen, list) else chosen)
        super().leave(training, answers, results, folder, plots, concluded)

    def draw(self, folder: Path, scores: Scores, logits: Tensor, labels: Any,
             config: BertConfig) -> None:
        self.draw_confidence(folder / "confidence.png", logits, labels)

    # ---- the command `evaluate`

    def measure(self, answers: Tensor, part: Part, predictor: Predictor, options: Any) -> Scores:
        probabilities, config = sigmoid(answers), predictor.config
        return {**self.logit_scores(answers, part.labels, config),
                "calibration_error": expected_calibration_error(probabilities, part.labels),
                "brier_score": brier_score(probabilities, part.labels),
                "sweep": threshold_sweep(probabilities, part.labels),
                "warning": threshold_warning(probabilities, part.labels, thresholds_of(config))}

    def report(self, folder: Path, results: Scores, answers: Tensor, part: Part,
               predictor: Predictor, options: Any) -> str:
        self.write_predictions(folder / "predictions.csv", part.texts, answers, predictor.config,
                               part.labels)
        write_rows(folder / "thresholds.csv", results["sweep"])
        lines = [f"{results['rows']:,} rows, loss {results['loss']:.4f}", ""]
        lines += [f"{key:34}{value:.4f}" for key, value in results.items()
                  if isinstance(value, float) and key != "loss"]
        lines += ["", format_per_class(results, predictor.classes), "",
                  "one threshold for all labels", format_sweep(results["sweep"])]
        return "\n".join(lines + ([f"\nnote: {results['warning']}"] if results["warning"] else []))
