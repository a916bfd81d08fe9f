"""Any number of labels a text: losses, thresholds chosen on validation rows, and what they give."""

import numpy as np
import torch

from bert_kit.data import LabelColumns, LabelList
from bert_kit.errors import ConfigError
from bert_kit.evaluation import (brier_score, expected_calibration_error, fit_thresholds,
                                 format_per_class, format_sweep, label_set_cells,
                                 label_set_columns, multilabel_logit_metrics, multilabel_metrics,
                                 plot_confidence_histogram, plot_threshold_sweep,
                                 predict_label_sets, tfidf_label_probabilities, threshold_sweep,
                                 threshold_warning, write_rows)
from bert_kit.model import BERTForMultiLabel
from bert_kit.recipes.calibration import calibrate
from bert_kit.recipes.class_task import ClassTask, joined
from bert_kit.training import multi_label_loss, positive_weights, prior_logits, set_output_bias

ASYMMETRIC = {"gamma_positive": 0.0, "gamma_negative": 4.0, "margin": 0.05}  # as its paper sets it
LARGEST_WEIGHT = 10.0  # of a rare label: more costs too much precision
TFIDF_THRESHOLD = 0.3  # without validation rows to choose one by


def sigmoid(logits):
    """Logits (N, C) -> probabilities (N, C), a float64 array."""
    return torch.as_tensor(np.asarray(logits)).double().sigmoid().numpy()


def thresholds_of(config):
    """Return the thresholds that a model's config.json holds; .5 where it holds none."""
    thresholds = config.extra.get("thresholds", 0.5)
    numbers = thresholds if isinstance(thresholds, list) else [thresholds] * config.num_labels
    if len(numbers) != config.num_labels or not all(
            isinstance(number, int | float) and 0 <= number <= 1 for number in numbers):
        raise ConfigError(f"config.json: thresholds are {thresholds!r:.40}; expected a number, or "
                          "one a label")
    return thresholds


class LabelTask(ClassTask):
    """Any number of labels a text; see `ClassTask`.

    The thresholds from which on a label is given are those with the best F1 on the validation
    rows: one for all labels, or with the metric f1_macro one for each.
    """

    problem_type = "multi_label_classification"
    model_class = BERTForMultiLabel
    stored = {"problem_type": problem_type}
    columns = (("f1_micro", "micro F1", 10, ".4f"), ("f1_macro", "macro F1", 10, ".4f"),
               ("jaccard", "Jaccard", 9, ".4f"))
    foreign, chooses = ("label_smoothing",), True

    def title(self, classes):
        return f"text classifier with {len(classes)} labels, any number of them a text"

    def label_kind(self, settings):
        if len(settings.label_column) > 1:
            return LabelColumns(settings.label_column)
        return LabelList(*settings.label_column, settings.label_separator)

    def loss(self, settings, labels=None, num_classes=None):
        if settings.asymmetric and settings.focal_gamma:
            raise ConfigError("asymmetric and focal_gamma are both set; expected one of them")
        gamma = settings.focal_gamma
        options = ASYMMETRIC if settings.asymmetric else {"gamma_positive": gamma,
                                                          "gamma_negative": gamma}
        weights = None
        if settings.class_weight == "balanced" and labels is not None:
            weights = positive_weights(labels).clamp(max=LARGEST_WEIGHT)
        return multi_label_loss(weights, **options)

    def start(self, model, labels):
        set_output_bias(model, prior_logits(labels))

    def choose(self, logits, labels, settings):
        if not labels.any():  # a handful of rows: nothing to choose by
            return {}
        thresholds = fit_thresholds(sigmoid(logits), labels, settings.metric == "f1_macro")
        return {"thresholds": np.asarray(thresholds).tolist()}

    def scaled(self, config, scale, shift):
        thresholds = np.asarray(thresholds_of(config), dtype=np.float64)
        with np.errstate(divide="ignore"):  # of 0 and 1
            cuts = np.log(thresholds) - np.log1p(-thresholds)
        return config.replace(extra={
            **config.extra, "thresholds": sigmoid(scale * cuts + shift).tolist()})

    def scores(self, logits, labels, config):
        return multilabel_logit_metrics(logits, labels, thresholds_of(config))

    def probabilities(self, logits):
        return sigmoid(logits)

    def answers(self, logits, config):
        probabilities = sigmoid(logits)
        return predict_label_sets(probabilities, thresholds_of(config)), probabilities

    def header(self, classes, labelled=False, text_columns=("text",)):
        return label_set_columns(classes, labelled, text_columns)

    def cells(self, texts, logits, config, labels=None):
        return label_set_cells(texts, *self.answers(logits, config), config.labels, labels)

    def names(self, logits, config):
        return [tuple(name for name, holds in zip(config.labels, row) if holds)
                for row in self.answers(logits, config)[0]]

    def baselines(self, parts):
        train, test, chosen_on = parts.train, parts.test, parts.validation
        shares = np.tile(train.labels.mean(0), (len(test), 1))
        yield "commonest label", self._headline(shares, test.labels, shares.max())
        found = tfidf_label_probabilities(
            joined(train.texts), train.labels,
            joined(test.texts + (chosen_on.texts if chosen_on else [])))
        probabilities, others = found[:len(test)], found[len(test):]
        threshold = (fit_thresholds(others, chosen_on.labels)
                     if chosen_on and chosen_on.labels.any() else TFIDF_THRESHOLD)
        yield "TF-IDF + logistic regression", self._headline(probabilities, test.labels, threshold)

    def _headline(self, probabilities, labels, thresholds):
        scores = multilabel_metrics(probabilities, labels, thresholds)
        return {key: scores[key] for key, *_ in self.columns}

    def more_scores(self, rows, config):
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

    def calibration(self, rows):
        return calibrate(sigmoid, **rows)

    def table(self, scores, classes):
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

    def leave(self, folder, scores, rows, config, plots):
        if "validation" in rows:
            logits, labels = rows["validation"]
            sweep = threshold_sweep(sigmoid(logits), labels)
            write_rows(folder / "thresholds.csv", sweep)
            if plots:
                chosen = thresholds_of(config)
                plot_threshold_sweep(sweep, folder / "thresholds.png",
                                     None if isinstance(chosen, list) else chosen)
        super().leave(folder, scores, rows, config, plots)

    def draw(self, folder, scores, logits, labels, config):
        plot_confidence_histogram(sigmoid(logits), labels, folder / "confidence.png")

    def measure(self, logits, labels, config, folds=7, seed=0):
        probabilities = sigmoid(logits)
        return {**self.scores(logits, labels, config),
                "calibration_error": expected_calibration_error(probabilities, labels),
                "brier_score": brier_score(probabilities, labels),
                "sweep": threshold_sweep(probabilities, labels),
                "warning": threshold_warning(probabilities, labels, thresholds_of(config))}

    def compare(self, logits, other, labels):
        raise ConfigError("another model is compared by McNemar's test, which is for one class a "
                          "row; leave other out")

    def report(self, folder, results, texts, logits, labels, classes, mistakes):
        write_rows(folder / "thresholds.csv", results["sweep"])
        lines = [f"{results['rows']:,} rows, loss {results['loss']:.4f}", ""]
        lines += [f"{key:34}{value:.4f}" for key, value in results.items()
                  if isinstance(value, float) and key != "loss"]
        lines += ["", format_per_class(results, classes), "",
                  "one threshold for all labels", format_sweep(results["sweep"])]
        return "\n".join(lines + ([f"\nnote: {results['warning']}"] if results["warning"] else []))
