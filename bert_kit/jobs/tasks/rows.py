"""The rows of a job on texts: read from files or installed packages, and cut into parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bert_kit.data import LabelledParts, Part, library_task, parts_from_lists, read_parts
from bert_kit.errors import ConfigError
from bert_kit.jobs.options.groups import reading_notes
from bert_kit.jobs.run.task import Parts


def read_rows(options: Any, kind: Any) -> Parts[Part]:
    """Return the rows that the options of a text task name; without a file the docstring task.

    Parameters
    ----------
    kind
        How the label of a row is read, such as `OneClass`.
    """
    sizes = {"train_size": options.train_size, "val_size": options.val_size,
             "test_size": options.test_size}
    if options.train_size is None:
        sizes["train_size"] = max(0.0, 1 - options.val_size - options.test_size)
    files = options.files()
    split = None if options.output_dir is None else Path(options.output_dir) / "split.json"
    if any(files.values()):
        reading = options.reading()
        return as_parts(read_parts(
            **files, **sizes, **reading, seed=options.seed, split_file=split,
            text_column=one_or_two(options.text_column), label_column=kind), reading)
    if options.task != "classification":
        raise ConfigError(f"{options.task} needs rows; expected a data_file or train_file")
    train, test = library_task().split(options.test_size)
    return as_parts(parts_from_lists(
        train.texts, train.labels, test=(test.texts, test.labels) if test.texts else None,
        val_size=options.val_size, test_size=0, seed=options.seed, split_file=split))


def as_parts(parts: LabelledParts, reading: Mapping[str, Any] = MappingProxyType({})
             ) -> Parts[Part]:
    """Return labelled parts as the training job takes them, with what was told of `reading`."""
    kept = sum(map(len, filter(None, (parts.train, parts.validation, parts.test))))
    return Parts(parts.train, parts.validation, parts.test, parts.fingerprint, parts.description,
                 parts.classes, "; ".join(filter(None, [parts.note, reading_notes(reading, kept)])),
                 tuple(reading.get("bad_rows") or ()))


def one_or_two(columns: tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the name of one column, or the names of two."""
    return columns[0] if len(columns) == 1 else columns


def joined(texts: Sequence[Any]) -> list[str]:
    """Return texts, or pairs of texts, as single texts."""
    return [text if isinstance(text, str) else " ".join(text) for text in texts]


def text_names(texts: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of a table's columns for texts, or for pairs of them."""
    return ("text",) if isinstance(texts[0], str) else ("text_a", "text_b")
