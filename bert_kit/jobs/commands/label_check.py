"""What `evaluate --labels` does: rows with labels that are probably wrong, as a CSV to correct.

Each row is told by logistic regression on the sentence vectors of the other rows, see
`bert_kit.evaluation.trust.suspects`. The vectors are those of weights that have not been trained on
the labels: what a fine-tuned model has learned by heart it does not doubt.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_kit.data import OneClass, Table, find_parts, read_table, stratified_folds, text_key
from bert_kit.data.read.json_rows import JSON_SUFFIXES
from bert_kit.errors import ConfigError, UsageError
from bert_kit.evaluation import (PredictionWriter, format_suspects, rank_labels,
                                 unseen_probabilities)
from bert_kit.evaluation.prediction_files import DIGITS
from bert_kit.jobs.options.groups import TrainOptions
from bert_kit.jobs.run.folder import known_settings, stored_run
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tasks.rows import joined, one_or_two
from bert_kit.jobs.tasks.similarity import SentenceEncoder
from bert_kit.lookup import find_folder
from bert_kit.weights import WEIGHT_FILES

SUSPECTS = "suspects.csv"


def classifier_options(folder: Path, task: str | None = None) -> ClassOptions | None:
    """Return the options of the classifier's training that left a folder; None if none did.

    Parameters
    ----------
    task
        As the user names it, if so.

    Raises
    ------
    ConfigError
        If it is of another task, whose labels are not checked.
    """
    name, values = _training(folder) or (task or "classification", None)
    if task not in (None, "classification") or name not in ("classification", "similarity"):
        raise ConfigError(f"labels are checked of one class a text (--task classification), and "
                          f"{folder} is of the task {task or name}; leave labels out")
    if name != "classification" or values is None:
        return None
    return ClassOptions(**known_settings(ClassOptions, values))


def _training(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the task and the settings of the training that left a folder; None if none did."""
    if not (folder / "manifest.json").is_file():
        return None
    job, values = stored_run(folder)
    return (str(values.get("task", "classification")), values) if job == "train" else None


def unseen_encoder(model: str | Path, device: str = "auto",
                   download: bool = False) -> tuple[Path, SentenceEncoder]:
    """Return the folder and the encoder of the weights that a model began with before any labels.

    A model that no training of the kit left is taken as it is, and so is a sentence encoder. Where
    the folder does not say how token vectors become one, it is by their mean.

    Raises
    ------
    ConfigError
        If a training began with random weights.
    """
    folder, seen = _weights_folder(model, download), set()
    while (run := _training(folder)) is not None and run[0] != "similarity":
        start = known_settings(TrainOptions, run[1]).get("model")
        if start is None or folder in seen:
            raise ConfigError(f"{folder}: was trained on such labels and began with random "
                              "weights, so it has no vectors to check them by; expected a --model "
                              "with pre-trained weights, and a --data_file")
        seen.add(folder)
        folder = _weights_folder(start, download)
    pooling = None if (folder / "modules.json").is_file() else "mean"
    return folder, SentenceEncoder(folder, device=device, pooling=pooling)


def _weights_folder(model: str | Path, download: bool) -> Path:
    return find_folder(model, (*WEIGHT_FILES, "modules.json"), download)


def check_labels(folder: Path, output: Path, options: Any,
                 trained: ClassOptions | None) -> dict[str, Any]:
    """Rank the rows by how probable their labels are, write them, and return what was found.

    Parameters
    ----------
    folder
        Of the model.
    options
        Of `evaluate`.
    trained
        From `classifier_options`; without a data_file its training rows are looked at.

    Returns
    -------
    dict
        `model` (the folder of the vectors), `data_file`, `rows`, `doubted` (how many have another
        class that is more probable), `unknown` (how many have a class that no other text has),
        `seconds`, and `file`, the CSV.

    Raises
    ------
    BertKitError
        If a folder or a row cannot be used.
    """
    table, texts, label = _read(options, trained, output)
    kind, started = OneClass(label), time.perf_counter()
    kind.check(table, one_or_two(texts))
    classes = kind.classes(table.labels)
    labels = kind.encode(table.labels, classes)
    folds = stratified_folds(labels, options.folds, options.seed,
                             groups=[text_key(text) for text in table.texts])
    place, encoder = unseen_encoder(folder, options.device, options.download)
    options.say(f"labels    {len(labels):,} rows of {table.path}, {len(classes)} classes; vectors "
                f"of {place}, {options.folds} folds")
    rows: Any = table.texts  # or pairs
    ranked = rank_labels(unseen_probabilities(encoder.encode(rows), labels, folds), labels)
    seconds = time.perf_counter() - started
    _write(output / SUSPECTS, table, ranked, classes, (*texts, label))
    unknown = sum(row["probability"] is None for row in ranked)
    doubted = sum(row["prediction"] != row["label"] for row in ranked) - unknown
    options.say("\n" + format_suspects(ranked[:options.mistakes], joined(table.texts), classes,
                                       table.lines or range(len(labels))))
    options.say(f"\n{doubted:,} of {len(labels):,} rows have another class that is more probable; "
                f"{seconds:.1f} s, {1_000 * seconds / len(labels):.1f} s a thousand rows")
    if unknown:
        names = {classes[row["label"]] for row in ranked if row["probability"] is None}
        options.say(f"note      last come the rows whose class no other text has ({unknown:,}): "
                    f"{', '.join(sorted(names)):.200}")
    options.say(f"saved in {output / SUSPECTS}: all rows, those to look at first on top; correct "
                f"the column {label} there and train on it")
    return {"model": str(place), "data_file": str(table.path), "rows": len(labels),
            "doubted": doubted, "unknown": unknown, "seconds": seconds,
            "file": str(output / SUSPECTS)}


def _read(options: Any, trained: ClassOptions | None,
          output: Path) -> tuple[Table, tuple[str, ...], str]:
    """Return the rows to look at, and the columns of their texts and of their label."""
    given = {name: getattr(options, name) for name in ("text_column", "label_column")
             if getattr(options, name) is not None}
    columns = (trained or ClassOptions()).replace(**given)
    label = (columns.label_column or ("category",))[0]
    if options.data_file is not None:
        path, reading = options.data_file, options.reading()
    elif trained is None:
        raise UsageError("labels needs rows: a data_file, or the model of a training that had one")
    elif not any(trained.files().values()):
        raise ConfigError(f"{options.model}: was trained on docstrings, whose labels are where "
                          "they come from; give a --data_file")
    else:
        files, _ = find_parts(**trained.files(), exports=JSON_SUFFIXES)
        path, reading = files["train"], trained.reading()
    table = read_table(path, one_or_two(columns.text_column), OneClass(label), **reading)
    if options.data_file is not None:  # else the run has told and listed them
        tell_reading(reading, len(table.texts), options.replace(output_dir=str(output)))
    return table, columns.text_column, label


def _write(path: Path, table: Table, ranked: Sequence[dict[str, Any]], classes: Sequence[str],
           columns: Sequence[str]) -> None:
    """Write all rows with their texts and labels as they came, which `train` reads again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with PredictionWriter(path, ["line", *columns, "most_likely", "probability",
                                 "probability_of_most_likely"]) as writer:
        lines = table.lines or range(len(table.texts))
        for row in ranked:
            text: Any = table.texts[row["row"]]
            given = row["probability"]
            writer.write([[lines[row["row"]], *([text] if isinstance(text, str) else text),
                           *(classes[int(row[name])] for name in ("label", "prediction")),
                           "" if given is None else round(given, DIGITS),
                           round(row["confidence"], DIGITS)]])
