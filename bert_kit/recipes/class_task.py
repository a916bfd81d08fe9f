"""One class a text: the loss, the scores, and the report of an evaluation."""

import numpy as np
import torch

from bert_kit.data import OneClass
from bert_kit.evaluation import (bootstrap_intervals, brier_score, class_cells, class_columns,
                                 classification_metrics, confidence_coverage,
                                 expected_calibration_error, fold_scores, format_coverage,
                                 format_mistakes, format_per_class, logit_metrics,
                                 majority_baseline, mcnemar, most_confident_mistakes,
                                 plot_confidence_histogram, plot_confusion_matrix,
                                 tfidf_baseline, write_rows)
from bert_kit.model import BERTForSequenceClassification
from bert_kit.recipes.calibration import calibrate
from bert_kit.training import balanced_class_weights, classification_loss


def softmax(logits):
    """Logits (N, C) -> probabilities (N, C), a float64 array."""
    return torch.as_tensor(np.asarray(logits)).double().softmax(1).numpy()


def joined(texts):
    """Return texts, or pairs of texts, as single texts."""
    return [text if isinstance(text, str) else " ".join(text) for text in texts]


class ClassTask:
    """One class a text. What a task is asked for is described here.

    Attributes
    ----------
    problem_type : str
        What config.json may call it, as the Hugging Face library does.
    stored : dict
        What config.json has to say.
    columns : tuple
        Scores in tables: key, heading, width and format.
    foreign : tuple of str
        Settings that only other tasks have.
    chooses : bool
        Whether something is chosen by the validation rows, see `choose`.
    """

    problem_type = "single_label_classification"
    model_class = BERTForSequenceClassification
    columns = (("accuracy", "accuracy", 8, ".4f"), ("f1_macro", "macro F1", 10, ".4f"),
               ("matthews_correlation", "MCC", 9, ".4f"))
    stored = {}
    foreign, chooses = ("asymmetric",), False

    def title(self, classes):
        """Return in a few words what a model with these classes is."""
        return f"text classifier with {len(classes)} classes"

    def label_kind(self, settings):
        """Return how the label of a row is read."""
        return OneClass(*settings.label_column)

    def loss(self, settings, labels=None, num_classes=None):
        """Return the loss that the settings describe; without labels only to check them."""
        weights = None
        if settings.class_weight == "balanced" and labels is not None:
            weights = balanced_class_weights(labels, num_classes)
        return classification_loss(weights, settings.label_smoothing, settings.focal_gamma)

    def start(self, model, labels):
        """Let the new head of a model start from what the training labels say."""

    def choose(self, logits, labels, settings):
        """Return what validation rows decide, to be kept in config.json."""
        return {}

    def scaled(self, config, scale, shift):
        """Return a configuration under which scaled logits give the answers of those before."""
        return config

    def scores(self, logits, labels, config):
        """Return `loss` and every score of logits (N, C)."""
        return logit_metrics(logits, labels)

    def probabilities(self, logits):
        """Logits (N, C) -> probabilities (N, C), a float64 array."""
        return softmax(logits)

    def answers(self, logits, config):
        """Return predictions as `cells` takes them, and probabilities."""
        return logits.argmax(1).numpy(), softmax(logits)

    def header(self, classes, labelled=False, text_columns=("text",)):
        """Return the header of a file of predictions."""
        return class_columns(classes, labelled, text_columns)

    def cells(self, texts, logits, config, labels=None):
        """Return the rows of a file of predictions, for logits (N, C)."""
        return class_cells(texts, *self.answers(logits, config), config.labels, labels)

    def names(self, logits, config):
        """Return the answer to each text as Python values: here N class names."""
        return [config.labels[best] for best in logits.argmax(1).tolist()]

    def baselines(self, parts):
        """Yield (name, scores) of what has to be beaten on the test rows."""
        train, test = parts.train, parts.test
        yield "majority class", {"accuracy": majority_baseline(train.labels, test.labels)}
        guesses = tfidf_baseline(joined(train.texts), train.labels, joined(test.texts))
        tfidf = classification_metrics(guesses, test.labels, len(parts.classes))
        yield "TF-IDF + logistic regression", {key: tfidf[key] for key, *_ in self.columns}

    def more_scores(self, rows, config):
        """Return further scores of the test rows; `rows` are (logits, labels) by part."""
        logits, labels = rows["test"]
        return {"calibration_error": expected_calibration_error(softmax(logits), labels),
                "intervals": bootstrap_intervals(logits.argmax(1), labels, logits.shape[1])}

    def calibration(self, rows):
        """Return what `calibrate` does, of rows (logits, labels) by part."""
        return calibrate(softmax, **rows)

    def table(self, scores, classes):
        """Return the scores of the test rows as text."""
        return format_per_class(scores, classes)

    def leave(self, folder, scores, rows, config, plots):
        """Write files and pictures of the rows (logits, labels) of a finished run."""
        if plots and "test" in rows:
            self.draw(folder, scores, *rows["test"], config)

    def draw(self, folder, scores, logits, labels, config):
        """Draw scored rows into a folder."""
        plot_confusion_matrix(scores["confusion_matrix"], config.labels,
                              folder / "confusion_matrix.png")
        plot_confidence_histogram(softmax(logits), labels, folder / "confidence.png")

    # ---- the job `evaluate`

    def measure(self, logits, labels, config, folds=7, seed=0):
        """Return every score of logits (N, C), without texts or names."""
        probabilities, predictions = softmax(logits), logits.argmax(1).numpy()
        results = {**logit_metrics(logits, labels),
                   "intervals": bootstrap_intervals(predictions, labels, logits.shape[1],
                                                    seed=seed),
                   "calibration_error": expected_calibration_error(probabilities, labels),
                   "brier_score": brier_score(probabilities, labels),
                   "coverage": confidence_coverage(probabilities, labels)}
        if folds:
            results["folds"] = fold_scores(predictions, labels, logits.shape[1], folds, seed)
        return results

    def compare(self, logits, other, labels):
        """Return McNemar's test of logits against those of another model."""
        guesses = other.argmax(1).numpy()
        return {"accuracy": float(np.mean(guesses == np.asarray(labels))),
                **mcnemar(logits.argmax(1).numpy(), guesses, labels)}

    def report(self, folder, results, texts, logits, labels, classes, mistakes):
        """Write the tables of an evaluation and return the report as text."""
        worst = most_confident_mistakes(softmax(logits), labels, mistakes)
        write_rows(folder / "coverage.csv", results["coverage"])
        if not worst:
            return format_evaluation(results, classes)
        texts = joined(texts)
        write_rows(folder / "mistakes.csv", [
            {"row": row["row"], "text": texts[row["row"]], "category": classes[row["label"]],
             "prediction": classes[row["prediction"]], "confidence": row["confidence"]}
            for row in worst])
        return (f"{format_evaluation(results, classes)}\n\nmost confident mistakes\n"
                f"{format_mistakes(worst, texts, classes)}")


def format_evaluation(results, classes):
    """Return the report as text: scores with their intervals, classes, confidence, folds."""
    lines = [f"{results['rows']:,} rows, loss {results['loss']:.4f}", ""]
    for key, interval in results["intervals"].items():
        lines.append(f"{key:22}{results[key]:.4f}   95% of resamplings {interval['low']:.4f} to "
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
