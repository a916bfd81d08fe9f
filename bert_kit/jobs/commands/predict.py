"""The command `predict`: texts in, classes, label sets or numbers out, as CSV."""

import contextlib
import io
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bert_kit.data import read_table
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import PredictionWriter
from bert_kit.jobs.options.declare import option
from bert_kit.jobs.options.groups import (OF_FILES, OwnTaskOptions, PrecisionOptions, UseOptions,
                                          check_output)
from bert_kit.jobs.run.folder import stored_run
from bert_kit.jobs.run.predictor import CHUNK
from bert_kit.jobs.tasks.rows import one_or_two, text_names
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import Predictor
from bert_kit.lookup import find_folder
from bert_kit.training import choose_device, join_processes
from bert_kit.weights import WEIGHT_FILES


@dataclass(frozen=True)
class PredictOptions(UseOptions, OwnTaskOptions, PrecisionOptions):
    """What to classify, and where to."""

    title: ClassVar[str] = "data"
    examples = ('bert-kit predict --model runs/standard --text "What is the longest river?"',
                "bert-kit predict --model runs/standard --data_file texts.csv --output_file "
                "out.csv")
    main = ("model", "text", "data_file", "output_file", "text_column")

    text: tuple[str, ...] | None = option(None, "texts to classify", may_be_empty=True)
    text_b: tuple[str, ...] | None = option(None, "the second text of each pair",
                                           may_be_empty=True)
    data_file: str | None = option(
        None, "file with texts; - is standard input, a text a line", "input_file")
    output_file: str | None = option(None, "CSV to write; without it, standard output")
    text_column: tuple[str, ...] | None = option(
        None, "column with the texts, two for pairs; by default as in training")
    delimiter: str | None = option(None, "of CSV fields", needs=OF_FILES)
    encoding: str = option("utf-8-sig", "of the file", needs=OF_FILES)
    calibrated: bool = option(False, "scale probabilities as training found to be right; the "
                              "answers stay the same")
    raw_cells: bool = option(False, "leave cells alone that a spreadsheet would run as formulas")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (not self.text) == (self.data_file is None):
            raise ConfigError("predict needs texts (--text) or a file (--data_file, - is standard "
                              "input); expected one of the two")
        check_output(self.output_file, self.data_file)
        if self.text_b is not None and len(self.text or ()) != len(self.text_b):
            raise ConfigError(f"{len(self.text_b)} second texts (--text_b); expected one for each "
                              "text")


def text_columns(folder: Path, chosen: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return the columns that hold the texts: as chosen, or as the run was given them."""
    if chosen is not None:
        return chosen
    if not (folder / "manifest.json").is_file():
        return ("text",)
    columns = stored_run(folder)[1].get("text_column", ("text",))
    if not isinstance(columns, list | tuple) or not 1 <= len(columns) <= 2:
        raise ConfigError(f"{folder / 'manifest.json'}: text_column is {columns!r:.60}; expected "
                          "one name, or two")
    return tuple(map(str, columns))


def _standard_input(encoding: str) -> Iterator[str]:
    """Yield the lines of standard input that hold a text."""
    try:
        for line in io.TextIOWrapper(sys.stdin.buffer, encoding=encoding):
            if line.strip():
                yield line.rstrip("\r\n")
    except LookupError:
        raise ConfigError(f"unknown encoding {encoding!r}; expected a name such as utf-8") from None
    except UnicodeError:
        raise DataError(f"standard input: not {encoding}; expected that, or give another "
                        "--encoding") from None


def run(options: PredictOptions) -> int:
    """Classify texts, a file's rows or the lines of standard input; return how many were written.
    """
    if options.task is not None:
        task_named(options.task)  # its code is imported, so that the model finds it
    with join_processes(choose_device(options.device)) as processes:
        predictor = Predictor.load(options.model, options.device, options.download, processes,
                                   options.precision, options.calibrated)
        folder = find_folder(options.model, WEIGHT_FILES, options.download)
        columns, texts = text_columns(folder, options.text_column), options.text
        if options.text is not None:
            texts = (options.text if options.text_b is None
                     else list(zip(options.text, options.text_b, strict=True)))
            if len(text_names(list(texts))) < len(columns):
                raise ConfigError(f"{options.model}: was trained on pairs; give the second text "
                                  "too (--text_b)")
            columns = text_names(list(texts))
        elif options.data_file == "-":
            texts = _standard_input(options.encoding)
        else:
            texts = processes.from_first(lambda: read_table(
                str(options.data_file), one_or_two(columns), None, options.delimiter,
                options.encoding).texts)
        rows, count = iter(texts or ()), 0
        names = ("text_a", "text_b") if len(columns) == 2 else ("text",)
        with (PredictionWriter(
                sys.stdout if options.output_file is None else options.output_file,
                predictor.task.cell_names(predictor.config, False, names),
                guard_formulas=not options.raw_cells)
              if processes.first else contextlib.nullcontext()) as writer:
            while chunk := processes.from_first(lambda: list(itertools.islice(rows, CHUNK))):
                logits, count = predictor.logits(chunk), count + len(chunk)
                if writer is not None:
                    predictor.task.write_cells(writer, chunk, logits, predictor.config)
            if not count:
                raise DataError("no text to classify; expected at least one line")
        if processes.first and options.output_file is not None:
            print(f"{count:,} rows: {options.output_file}")
        return count if processes.first else 0
