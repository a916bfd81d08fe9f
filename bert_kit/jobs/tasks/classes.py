"""One class a text: the loss, the scores, and the report of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bert_kit.config import BertConfig
from bert_kit.data import OneClass, Part
from bert_kit.errors import DataError
from bert_kit.evaluation import (Finding, bootstrap_intervals, brier_score, class_cells,
                                 class_columns, classification_metrics, confidence_coverage,
                                 expected_calibration_error, few_rows, flat_answers, fold_scores,
                                 format_coverage, format_mistakes, format_per_class, logit_metrics,
                                 mcnemar, most_confident_mistakes, never_predicted,
                                 plot_confusion_matrix, same_answers, tfidf_baseline,
                                 vector_baseline, write_rows)
from bert_kit.evaluation.prediction_files import Cell
from bert_kit.evaluation.trust.baselines import FROZEN_VECTORS
from bert_kit.jobs.options.declare import Options, option, with_defaults
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.calibration import calibrate
from bert_kit.jobs.tasks.rows import joined
from bert_kit.jobs.tasks.texts import Predictor, TextOptions, TextTask
from bert_kit.model import BERTForSequenceClassification
from bert_kit.training import Loss, balanced_class_weights, classification_loss

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Training

MOST_CLASSES = 1_000  # of a regression: its weights are classes times words, many times over


@dataclass(frozen=True)
class ClassLossOptions(Options):
    """What the loss of classes looks at."""

    title: ClassVar[str] = "training"

    label_smoothing: float = option(0.0, "share given to the other classes",
                                    "label_smoothing_factor")
    focal_gamma: float = option(0.0, "focus on hard rows; 0 is cross-entropy")
    class_weight: str | None = option(None, "balanced weighs rare classes up",
                                      choices=("balanced",))


@dataclass(frozen=True)
@with_defaults({"data_file": "file with the columns text,category, or a folder with train, dev "
                "and test files; without any file the docstring task is used",
                "metric": "what decides which epoch is best; by default f1_macro"},
               task="classification")
class ClassOptions(TextOptions, ClassLossOptions):
    """What to train a classifier on and how: one class a text."""

    examples = ("bert-kit train --data_file reviews.csv --model minilm",
                "bert-kit train --task classification --data_file reviews.csv --classifier bilstm")
    METRICS = ("f1_macro", "accuracy", "precision", "recall", "f1", "f1_micro", "f1_weighted",
               "matthews_correlation", "loss")
    LABEL_COLUMN = "category"


def softmax(logits: Any) -> np.ndarray:
    """Logits (N, C) -> probabilities (N, C), a float64 array."""
    return torch.as_tensor(np.asarray(logits)).double().softmax(1).numpy()


class ClassTask(TextTask):
    """One class a text."""

    name, what = "classification", "gives a text one class"
    options, head_class = ClassOptions, BERTForSequenceClassification
    metrics = ClassOptions.METRICS
    columns = (("accuracy", "accuracy", 8, ".4f"), ("f1_macro", "macro F1", 10, ".4f"),
               ("matthews_correlation", "MCC", 9, ".4f"))
    has_confidence = True

    def label_kind(self, options: Any) -> OneClass:
        return OneClass(*options.label_column)

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        weights = None
        if options.class_weight == "balanced" and training is not None:
            weights = balanced_class_weights(training.datasets["train"].labels,
                                             training.model.config.num_labels)
        return classification_loss(weights, options.label_smoothing, options.focal_gamma)

    def logit_scores(self, logits: Tensor, labels: Any, config: BertConfig) -> Scores:
        return logit_metrics(logits, labels)

    def probabilities(self, logits: Any) -> np.ndarray:
        return softmax(logits)

    def names(self, logits: Tensor, config: BertConfig) -> list[str]:
        return [config.labels[best] for best in logits.argmax(1).tolist()]

    def cell_names(self, config: BertConfig, labelled: bool,
                   text_columns: Sequence[str]) -> list[str]:
        return class_columns(config.labels, labelled, text_columns)

    def cells(self, texts: Sequence[Any], logits: Tensor, config: BertConfig,
              labels: Any = None) -> list[list[Cell]]:
        return class_cells(texts, logits.argmax(1).numpy(), softmax(logits), config.labels, labels)

    def text_baselines(self, parts: Parts[Part], held_out: Part) -> Iterator[tuple[str, Scores]]:
        train = parts.train
        yield "majority class", self._constant(train.labels, held_out.labels, len(parts.classes))
        if len(parts.classes) > MOST_CLASSES:
            raise DataError(f"there are {len(parts.classes):,} classes; the regression is for up "
                            f"to {MOST_CLASSES:,}")
        guesses = tfidf_baseline(joined(train.texts), train.labels, joined(held_out.texts))
        tfidf = classification_metrics(guesses, held_out.labels, len(parts.classes))
        yield "TF-IDF + logistic regression", {key: tfidf[key] for key, *_ in self.columns}

    def vector_baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        classes = len(training.predictor.classes)
        if classes > MOST_CLASSES or len({*training.parts.train.labels}) < 2:
            return
        found = self.frozen_vectors(training, name)
        if found is None:
            return
        few, vectors, held_out = found
        labels: Any = few.labels
        scores = classification_metrics(vector_baseline(vectors, labels, held_out),
                                        training.parts.present()[name].labels, classes)
        yield FROZEN_VECTORS, {key: scores[key] for key, *_ in self.columns}

    def _constant(self, labels: Any, held_out: Any, classes: int) -> Scores:
        """Return the scores of always answering the commonest of some labels."""
        counts = np.bincount(labels, minlength=classes)
        scores = classification_metrics(np.full(len(held_out), counts.argmax()), held_out, classes)
        return {key: scores[key] for key, *_ in self.columns}

    def constant_baseline(self, part: Part) -> dict[str, Scores]:
        classes = int(np.max(part.labels)) + 1
        return {"the commonest class of these rows": self._constant(part.labels, part.labels,
                                                                    classes)}

    def findings(self, answers: Tensor, part: Part, predictor: Any, scores: Scores,
                 rows: str) -> list[Finding]:
        classes = predictor.classes
        given = [classes[number] for number in answers.argmax(1).tolist()]
        right = [classes[number] for number in part.labels]
        return [*same_answers(given, right, rows), *flat_answers(answers.log_softmax(1), rows),
                *never_predicted(given, right), *few_rows(len(right), rows, scores.get("accuracy"))]

    def more_scores(self, rows: Mapping[str, tuple[Tensor, Any]], config: BertConfig) -> Scores:
        logits, labels = rows["test"]
        return {"calibration_error": expected_calibration_error(softmax(logits), labels),
                "intervals": bootstrap_intervals(logits.argmax(1), labels, logits.shape[1])}

    def calibration(self, validation: tuple[Tensor, Any],
                    test: tuple[Tensor, Any]) -> tuple[dict, dict]:
        return calibrate(softmax, validation, test)

    def table(self, scores: Scores, classes: Sequence[str]) -> str:
        return format_per_class(scores, classes)

    def draw(self, folder: Path, scores: Scores, logits: Tensor, labels: Any,
             config: BertConfig) -> None:
        if scores["confusion_matrix"] is not None:  # of many classes there is none
            plot_confusion_matrix(scores["confusion_matrix"], config.labels,
                                  folder / "confusion_matrix.png")
        self.draw_confidence(folder / "confidence.png", logits, labels)

    # ---- the command `evaluate`

    def measure(self, answers: Tensor, part: Part, predictor: Predictor, options: Any) -> Scores:
        labels, classes = part.labels, answers.shape[1]
        probabilities, predictions = softmax(answers), answers.argmax(1).numpy()
        results = {**logit_metrics(answers, labels),
                   "intervals": bootstrap_intervals(predictions, labels, classes,
                                                    seed=options.seed),
                   "calibration_error": expected_calibration_error(probabilities, labels),
                   "brier_score": brier_score(probabilities, labels),
                   "coverage": confidence_coverage(probabilities, labels)}
        if options.folds:
            results["folds"] = fold_scores(predictions, labels, classes, options.folds,
                                           options.seed)
        return results

    def compare(self, logits: Tensor, other: Tensor, labels: Any) -> Scores:
        guesses = other.argmax(1).numpy()
        return {"accuracy": float(np.mean(guesses == np.asarray(labels))),
                **mcnemar(logits.argmax(1).numpy(), guesses, labels)}

    def report(self, folder: Path, results: Scores, answers: Tensor, part: Part,
               predictor: Predictor, options: Any) -> str:
        self.write_predictions(folder / "predictions.csv", part.texts, answers, predictor.config,
                               part.labels)
        classes, texts = predictor.classes, joined(part.texts)
        worst = most_confident_mistakes(softmax(answers), part.labels, options.mistakes)
        write_rows(folder / "coverage.csv", results["coverage"])
        if not worst:
            return format_evaluation(results, classes)
        write_rows(folder / "mistakes.csv", [
            {"row": row["row"], "text": texts[row["row"]], "category": classes[row["label"]],
             "prediction": classes[row["prediction"]], "confidence": row["confidence"]}
            for row in worst])
        return (f"{format_evaluation(results, classes)}\n\nmost confident mistakes\n"
                f"{format_mistakes(worst, texts, classes)}")


def format_evaluation(results: Scores, classes: Sequence[str]) -> str:
    """Return the report as text: scores with their intervals, classes, confidence, folds."""
    lines = [f"{results['rows']:,} rows, loss {results['loss']:.4f}", ""]
    for key, interval in results["intervals"].items():
        lines.append(f"{key:22}{results[key]:.4f}   95% interval {interval['low']:.4f} to "
                     f"{interval['high']:.4f}")
    lines += ["", format_per_class(results, classes), "",
              f"confidence: calibration error {results['calibration_error']:.4f}, "
              f"Brier score {results['brier_score']:.4f}", format_coverage(results["coverage"])]
    if results.get("folds", {}).get("folds"):  # not of fewer than 20 rows
        lines += ["", "the same model on parts of the rows, mean ± standard deviation"]
        lines += [f"{key:22}{mean:.4f} ± {results['folds']['std'][key]:.4f}"
                  for key, mean in results["folds"]["mean"].items()]
    if "mcnemar" in results:
        test = results["mcnemar"]
        lines += ["", f"against {test['other']}: accuracy {test['accuracy']:.4f}; only this one "
                  f"right {test['first_only']}, only the other {test['second_only']}, "
                  f"p = {test['p_value']:.4g} (exact McNemar test)"]
    return "\n".join(lines)
