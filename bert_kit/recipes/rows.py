"""The rows of a classification job: read, split, cut down, and what has to be beaten on them."""

import dataclasses
from pathlib import Path

from bert_kit.data import library_task, limit, parts_from_lists, read_parts
from bert_kit.errors import ConfigError, DataError
from bert_kit.recipes.tasks import TASKS


def read_rows(settings):
    """Return the LabelledParts that the settings name."""
    sizes = {name: getattr(settings, name) for name in ("train_size", "val_size", "test_size")}
    if sizes["train_size"] is None:
        sizes["train_size"] = max(0.0, 1 - sizes["val_size"] - sizes["test_size"])
    files = {name: getattr(settings, name) for name in (
        "data_file", "train_file", "validation_file", "test_file")}
    split = None if settings.output_dir is None else Path(settings.output_dir) / "split.json"
    if any(files.values()):
        parts = read_parts(**files, **sizes, seed=settings.seed, split_file=split,
                           text_column=one_or_two(settings.text_column),
                           label_column=TASKS[settings.task].label_kind(settings),
                           delimiter=settings.delimiter, encoding=settings.encoding)
    elif settings.task != "classification":
        raise ConfigError(f"{settings.task} needs rows; expected a data_file or train_file")
    else:
        train, test = library_task().split(settings.test_size)
        parts = parts_from_lists(
            train.texts, train.labels, test=(test.texts, test.labels) if test.texts else None,
            val_size=settings.val_size, test_size=0, seed=settings.seed, split_file=split)
    if settings.fast_dev_run:
        parts = dataclasses.replace(parts, **{
            name: limit(part, 2 * settings.batch_size, settings.seed)
            for name, part in present(parts)})
    if settings.max_train_samples is not None:
        parts = dataclasses.replace(parts, train=limit(
            parts.train, settings.max_train_samples, settings.seed))
    if settings.overfit_batches is not None:
        few = limit(parts.train, settings.overfit_batches * settings.batch_size, settings.seed)
        parts = dataclasses.replace(parts, train=few, validation=few, test=None)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in present(parts))
    if settings.fast_dev_run or settings.max_train_samples or settings.overfit_batches:
        parts = dataclasses.replace(parts, description=f"{parts.description}; used: {counts}")
    return parts


def one_or_two(columns):
    """Return the name of one column, or the names of two."""
    return columns[0] if len(columns) == 1 else columns


def present(parts):
    """Return (name, Part) of the parts that there are."""
    return [(name, getattr(parts, name)) for name in ("train", "validation", "test")
            if getattr(parts, name) is not None]


def score_baselines(parts, say=print, task=TASKS["classification"]):
    """Return the scores of the task's baselines on the test rows, if there are any."""
    scores = {}
    try:
        scores.update(task.baselines(parts) if parts.test else ())
    except DataError as error:  # texts without words, for instance
        say(f"no TF-IDF baseline: {error}")
    return scores
