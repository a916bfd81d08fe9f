"""An honest look at a finished classifier: how good, how sure of it, and where it is wrong."""

from pathlib import Path

from bert_kit.data import read_table
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import PredictionWriter
from bert_kit.files import write_json
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.prediction import Predictor, choose_device, text_names
from bert_kit.recipes.rows import read_rows
from bert_kit.recipes.run_folder import stored_settings
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.tasks import TASKS
from bert_kit.training import join_processes


def evaluate_classifier(model, data_file=None, other=None, output_dir=None, text_column=None,
                        label_column=None, delimiter=None, encoding="utf-8-sig", folds=7,
                        mistakes=20, seed=0, device="auto", download=False, plots=True,
                        verbosity=1, calibrated=False):
    """Score a saved classifier on labelled rows, write a report and return it.

    Parameters
    ----------
    model : path
        Folder that `train` wrote; a relative one is looked for under `output_dir` too.
    data_file : path, optional
        Labelled rows; by default the test rows of the run that made the model.
    other : path, optional
        A second model to compare with on the same rows (exact McNemar test), of classes only.
    output_dir : path, optional
        Default: the folder `evaluation` in the model's.
    text_column, label_column : str or sequence of str, optional
        Of the file; by default as in training.
    folds : int
        Parts of the rows to score the fixed model on, for the spread; 0 leaves it out.
    mistakes : int
        How many of the most confident mistakes to show.
    calibrated : bool
        As of `Predictor`; the answers are the same.

    Returns
    -------
    dict
        `loss` and all of `classification_metrics`, `multilabel_metrics` or `regression_metrics`.
        Of classes and labels also `calibration_error` and `brier_score`; of classes `intervals`,
        `folds`, `coverage`, and `mcnemar` with another model.

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
        predictor = Predictor.load(folder, device, download, processes, calibrated=calibrated)
        texts, labels = processes.from_first(lambda: _rows(
            folder, predictor, data_file, text_column, label_column, delimiter, encoding))
        logits = predictor.logits(texts)
        results = {"model": str(folder), "rows": len(texts)}
        if other is not None:
            results["mcnemar"] = _compare(other, predictor, texts, labels, logits, device)

        return processes.from_first(lambda: _report(
            output_dir, predictor, results, texts, labels, logits, (folds, seed), mistakes,
            plots, verbosity))


def _report(folder, predictor, results, texts, labels, logits, resampling, mistakes, plots,
            verbosity):
    """Score the rows, write and say what was found, and return it."""
    say = ClassificationSettings(verbosity=verbosity).say
    task, config = predictor.task, predictor.config
    results.update(task.measure(logits, labels, config, *resampling))
    header = task.header(predictor.classes, True, text_names(texts))
    with PredictionWriter(folder / "predictions.csv", header) as writer:
        writer.write(task.cells(texts, logits, config, labels))
    text = task.report(folder, results, texts, logits, labels, predictor.classes, mistakes)
    write_json(folder / "evaluation.json", results)
    if can_draw(plots, say):
        task.draw(folder, results, logits, labels, config)
    files = ", ".join(sorted(path.name for path in folder.glob("*.*")))
    say(f"{text}\n\nsaved in {folder}: {files}")
    return results


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


def _rows(folder, predictor, data_file, text_column, label_column, delimiter, encoding):
    """Return the texts to score, and their labels as a part has them."""
    stored = (Path(folder) / "manifest.json").is_file()
    if data_file is None:
        if not stored:
            raise ConfigError(f"{folder}: does not say which rows are its test rows; give a "
                              "--data_file")
        part = read_rows(stored_settings(folder).replace(output_dir=str(folder))).test
        if part is None:
            raise ConfigError(f"{folder}: was trained without test rows; give a --data_file")
        return part.texts, part.labels
    name, = (name for name, task in TASKS.items() if task is predictor.task)
    settings = stored_settings(folder) if stored else ClassificationSettings(task=name)
    given = {"text_column": text_column, "label_column": label_column}
    settings = settings.replace(**{key: value for key, value in given.items() if value is not None})
    kind, classes = predictor.task.label_kind(settings), predictor.classes
    table = read_table(data_file, settings.text_column, kind, delimiter, encoding)
    for row, label in enumerate(table.labels):
        for name in kind.names(label):
            if name not in classes:
                raise DataError(f"{table.where(row)}: {name!r} is not a {kind.word} of the model; "
                                f"expected one of {', '.join(classes)[:200]}")
    return table.texts, kind.encode(table.labels, classes)


def _compare(other, predictor, texts, labels, logits, device):
    """Return how another model does on the same rows, and a test of the difference."""
    second = Predictor.load(other, device, processes=predictor.processes)
    if second.classes != predictor.classes:
        raise ConfigError(f"{other}: has other classes; expected {', '.join(predictor.classes)}")
    return {"other": str(other), **predictor.task.compare(logits, second.logits(texts), labels)}
