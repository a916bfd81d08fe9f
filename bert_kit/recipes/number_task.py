"""A number a text, or a pair of texts: mean squared error, and the correlations that judge it."""

import numpy as np
import torch

from bert_kit.data import Number
from bert_kit.errors import ConfigError
from bert_kit.evaluation import number_cells, number_columns, regression_metrics
from bert_kit.recipes.class_task import ClassTask
from bert_kit.training import compute_regression_loss, set_output_bias


class NumberTask(ClassTask):
    """A number a text; see `ClassTask`. It has no classes and no probabilities."""

    problem_type = "regression"
    stored = {"problem_type": problem_type}
    columns = (("spearman", "Spearman", 10, ".4f"), ("pearson", "Pearson", 10, ".4f"),
               ("loss", "MSE", 10, ".4f"))
    foreign = ("label_smoothing", "focal_gamma", "class_weight", "asymmetric")

    def title(self, classes):
        return "model of one number a text"

    def label_kind(self, settings):
        return Number(*settings.label_column)

    def loss(self, settings, labels=None, num_classes=None):
        return compute_regression_loss

    def start(self, model, labels):
        set_output_bias(model, torch.tensor([labels.mean()]))

    def scores(self, logits, labels, config):
        return regression_metrics(logits, labels)

    def probabilities(self, logits):
        raise ConfigError("a model of numbers has no probabilities; expected one of classes or "
                          "labels")

    def answers(self, logits, config):
        return logits[:, 0].double().numpy(), None

    def header(self, classes, labelled=False, text_columns=("text",)):
        return number_columns(labelled, text_columns)

    def cells(self, texts, logits, config, labels=None):
        return number_cells(texts, self.answers(logits, config)[0], labels)

    def names(self, logits, config):
        return logits[:, 0].tolist()

    def baselines(self, parts):
        mean = np.full(len(parts.test), parts.train.labels.mean())
        yield "mean of the training labels", regression_metrics(mean, parts.test.labels)

    def more_scores(self, rows, config):
        return {}

    def calibration(self, rows):
        return None

    def table(self, scores, classes):
        return f"mean absolute error {scores['mean_absolute_error']:.4f}"

    def draw(self, folder, scores, logits, labels, config):
        """There is nothing to draw."""

    def measure(self, logits, labels, config, folds=7, seed=0):
        return self.scores(logits, labels, config)

    def compare(self, logits, other, labels):
        raise ConfigError("another model is compared by McNemar's test, which is for one class a "
                          "row; leave other out")

    def report(self, folder, results, texts, logits, labels, classes, mistakes):
        return "\n".join([f"{results['rows']:,} rows", "", *(
            f"{key:22}{value:.4f}" for key, value in results.items() if isinstance(value, float))])
