"""An honest look at a finished classifier: how good, how sure of it, and where it is wrong."""

from pathlib import Path

import numpy as np

from bert_kit.data import read_table
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (bootstrap_intervals, brier_score, confidence_coverage,
                                 expected_calibration_error, fold_scores, format_coverage,
                                 format_mistakes, format_per_class, logit_metrics, mcnemar,
                                 most_confident_mistakes, write_predictions, write_rows)
from bert_kit.files import write_json
from bert_kit.recipes.pictures import draw_scores
from bert_kit.recipes.prediction import Predictor, choose_device, softmax
from bert_kit.recipes.rows import read_rows
from bert_kit.recipes.run_folder import stored_settings
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.training import join_processes


def evaluate_classifier(model, data_file=None, other=None, output_dir=None, text_column="text",
                        label_column="category", delimiter=None, encoding="utf-8-sig", folds=7,
                        mistakes=20, seed=0, device="auto", download=False, plots=True,
                        verbosity=1):
    """Score a saved classifier on labelled rows, write a report and return it.

    Parameters
    ----------
    model : path
        Folder that `train` wrote; a relative one is looked for under `output_dir` too.
    data_file : path, optional
        Labelled rows; by default the test rows of the run that made the model.
    other : path, optional
        A second model to compare with on the same rows (exact McNemar test).
    output_dir : path, optional
        Default: the folder `evaluation` in the model's.
    folds : int
        Parts of the rows to score the fixed model on, for the spread; 0 leaves it out.
    mistakes : int
        How many of the most confident mistakes to show.

    Returns
    -------
    dict
        All of `classification_metrics`, and `loss`, `intervals`, `folds`, `coverage`,
        `calibration_error`, `brier_score`, and `mcnemar` with another model.

    Raises
    ------
    BertKitError
        If a folder or a row cannot be used; a class that the model does not know names its row.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed is {seed}; expected a whole number from 0")
    folder = find_run(model, output_dir)
    output_dir = Path(folder, "evaluation") if output_dir is None else Path(output_dir)
    with join_processes(choose_device(device)) as processes:
        predictor = Predictor.load(folder, device, download, processes)
        texts, labels = processes.from_first(lambda: _rows(
            folder, predictor.classes, data_file, text_column, label_column, delimiter, encoding))
        logits = predictor.logits(texts)
        results = {"model": str(folder), "rows": len(texts)}
        if other is not None:
            results["mcnemar"] = _compare(other, predictor, texts, labels,
                                          logits.argmax(1).numpy(), device)

        def report():
            results.update(measure(logits, labels, folds, seed))
            _report(output_dir, results, texts, labels, softmax(logits), predictor.classes,
                    mistakes, plots, ClassificationSettings(verbosity=verbosity).say)
            return results

        return processes.from_first(report)


def measure(logits, labels, folds=7, seed=0):
    """Return every score of logits (N, C) on class numbers (N), without texts or names."""
    probabilities, predictions = softmax(logits), logits.argmax(1).numpy()
    results = {**logit_metrics(logits, labels),
               "intervals": bootstrap_intervals(predictions, labels, logits.shape[1], seed=seed),
               "calibration_error": expected_calibration_error(probabilities, labels),
               "brier_score": brier_score(probabilities, labels),
               "coverage": confidence_coverage(probabilities, labels)}
    if folds:
        results["folds"] = fold_scores(predictions, labels, logits.shape[1], folds, seed)
    return results


def _report(folder, results, texts, labels, probabilities, classes, mistakes, plots, say):
    """Write and say what evaluate_classifier found."""
    worst = most_confident_mistakes(probabilities, labels, mistakes)
    write_predictions(folder / "predictions.csv", texts, probabilities.argmax(1), probabilities,
                      classes, labels=labels)
    if worst:
        write_rows(folder / "mistakes.csv", [
            {"row": row["row"], "text": texts[row["row"]], "category": classes[row["label"]],
             "prediction": classes[row["prediction"]], "confidence": row["confidence"]}
            for row in worst])
    write_rows(folder / "coverage.csv", results["coverage"])
    write_json(folder / "evaluation.json", results)
    if plots:
        draw_scores(folder, results["confusion_matrix"], classes, probabilities, labels, say)
    say(format_evaluation(results, classes))
    if worst:
        say(f"\nmost confident mistakes\n{format_mistakes(worst, texts, classes)}")
    say(f"\nsaved in {folder}: evaluation.json, predictions.csv, mistakes.csv, coverage.csv")


def find_run(model, output_dir=None):
    """Return the folder of a model: as given, or under `output_dir`; a file means its folder."""
    places = [Path(model)]
    if output_dir is not None and not Path(model).is_absolute():
        places.append(Path(output_dir) / model)
    for place in places:
        if place.is_file():
            return place.parent
        if place.is_dir():
            return place
    return model  # a name, which the loader looks up


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


def _rows(folder, classes, data_file, text_column, label_column, delimiter, encoding):
    """Return the texts and class numbers to score."""
    if data_file is None:
        if not (Path(folder) / "manifest.json").is_file():
            raise ConfigError(f"{folder}: does not say which rows are its test rows; give a "
                              "--data_file")
        settings = stored_settings(folder)
        part = read_rows(settings.replace(output_dir=str(folder))).test
        if part is None:
            raise ConfigError(f"{folder}: was trained without test rows; give a --data_file")
        return part.texts, part.labels
    table = read_table(data_file, text_column, label_column, delimiter, encoding)
    number = {name: i for i, name in enumerate(classes)}
    for row, label in enumerate(table.labels):
        if label not in number:
            raise DataError(f"{table.where(row)}: {label!r} is not a class of the model; "
                            f"expected one of {', '.join(classes)[:200]}")
    return table.texts, [number[label] for label in table.labels]


def _compare(other, predictor, texts, labels, predictions, device):
    """Return McNemar's test of the predictions against those of another model."""
    second = Predictor.load(other, device, processes=predictor.processes)
    if second.classes != predictor.classes:
        raise ConfigError(f"{other}: has other classes; expected {', '.join(predictor.classes)}")
    guesses = second.logits(texts).argmax(1).numpy()
    return {"other": str(other), "accuracy": float(np.mean(guesses == np.asarray(labels))),
            **mcnemar(predictions, guesses, labels)}
