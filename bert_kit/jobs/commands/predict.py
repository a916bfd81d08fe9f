"""The command `predict`: texts in, classes, label sets or numbers out, as CSV."""

import contextlib
import io
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bert_kit.cells import FORBIDDEN
from bert_kit.checks import unique
from bert_kit.data import BadRow, OtherCells, column_names, read_table, stream_texts
from bert_kit.data.read.bad_rows import WRONG_BYTES, Refuser
from bert_kit.data.read.text_lines import not_clean
from bert_kit.errors import BertKitError, ConfigError, DataError
from bert_kit.evaluation import PredictionWriter
from bert_kit.jobs.options.declare import Needs, option, with_defaults
from bert_kit.jobs.options.groups import (OwnTaskOptions, PrecisionOptions, TableReadingOptions,
                                          UseOptions, check_output)
from bert_kit.jobs.run.folder import stored_run
from bert_kit.jobs.run.left_out import in_place, put_back, tell_reading
from bert_kit.jobs.run.predictor import CHUNK, warn
from bert_kit.jobs.tasks.rows import one_or_two, text_names
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import Predictor
from bert_kit.lookup import find_folder
from bert_kit.printing import show
from bert_kit.training import choose_device, join_processes
from bert_kit.weights import WEIGHT_FILES


@dataclass(frozen=True)
@with_defaults({"bad_rows": "what to do with a row that cannot be used, such as one without "
                "a text: refuse the file, or write a line without an answer, say so and list "
                "the row in NAME.bad_rows.csv beside the output_file"}, bad_rows="skip")
class PredictOptions(UseOptions, OwnTaskOptions, PrecisionOptions, TableReadingOptions):
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
        None, "table of texts, or .txt with a text a line; - is standard input, a text a line",
        "input_file")
    output_file: str | None = option(None, "table to write, as its name ends: CSV, .tsv or .jsonl; "
                                     "without it, CSV to standard output")
    text_column: tuple[str, ...] | None = option(
        None, "column with the texts, two for pairs; by default as in training")
    calibrated: bool = option(False, "scale probabilities as training found to be right; the "
                              "answers stay the same")
    keep_columns: tuple[str, ...] | None = option(
        None, "columns of the table to write before each answer, such as id; by default none",
        needs=Needs("a data_file that is a table", lambda options: (
            options.data_file not in (None, "-") and not _has_lines(options))))
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


def _standard_input(encoding: str, bad_rows: list[BadRow] | None) -> Iterator[str]:
    """Yield the lines of standard input that hold a text."""
    refuse = Refuser("standard input", bad_rows)
    try:
        for number, line in enumerate(io.TextIOWrapper(
                sys.stdin.buffer, encoding=encoding, errors="surrogateescape"), 1):
            if bad := FORBIDDEN.search(line):
                refuse(number, WRONG_BYTES, not_clean(f"standard input line {number}", bad[0],
                                                      encoding), line)
            elif line.strip():
                yield line.rstrip("\r\n")
    except LookupError:
        raise ConfigError(f"unknown encoding {encoding!r}; expected a name such as utf-8") from None
    except UnicodeError:
        raise DataError(f"standard input: not {encoding}; expected that, or give another "
                        "--encoding") from None


def _has_lines(options: PredictOptions) -> bool:
    """Say whether the file is a text a line; a .txt whose columns are named is a table."""
    return Path(str(options.data_file)).suffix.lower() == ".txt" and not any(
        (options.delimiter, options.columns, options.text_column))


def _of_file(options: PredictOptions, columns: tuple[str, ...]) -> tuple[Sequence[Any], Any]:
    """Return the texts of a file, or its pairs, and each row that cannot be used; and the cells to
    keep beside the texts."""
    path, reading, kept = str(options.data_file), options.reading(), None
    bad = reading["bad_rows"]
    if not _has_lines(options):
        others = None if options.keep_columns is None else OtherCells(options.keep_columns)
        table = read_table(path, one_or_two(columns), others, **reading)
        rows = put_back(table.texts, table.before or (), bad or ())
        kept = table.labels if others else None
    elif len(columns) == 1:
        rows = [*in_place(stream_texts(path, **reading), bad)]
        warn(f"{path}: read as a text a line (a table in a .txt has a --delimiter)")
    else:
        raise ConfigError(f"{path}: a text a line, but {options.model} was trained on pairs; "
                          "expected a table with both (or its --text_column, for one in a .txt)")
    tell_reading(reading, len(rows) - len(bad or ()), options)
    return rows, kept


def _kept_of(row: BadRow, others: Sequence[str]) -> Sequence[Any]:
    """Return the cells to keep of a row without a text; of one whose cells are not known, None."""
    if not others or not row.cells:
        return [None] * len(others)
    return OtherCells(tuple(others)).read("", row.cells[-len(others):])


def _answer(predictor: Predictor, writer: PredictionWriter | None, rows: Sequence[Any],
            kept: Sequence[Any] | None, others: Sequence[str] = ()) -> int:
    """Write a line for each row, empty for one that cannot be used; return how many others.

    `kept` are cells to write before each answer, those of the columns `others`.
    """
    texts = [row for row in rows if not isinstance(row, BadRow)]
    logits, done = predictor.logits(texts) if texts else None, 0
    for bad, group in itertools.groupby(rows, lambda row: isinstance(row, BadRow)):
        some = list(group)
        part = slice(done, done + len(some))
        if writer is not None and bad:
            writer.write([*_kept_of(row, others), *[None] * (len(writer.columns) - len(others))]
                         for row in some)
        elif writer is not None and logits is not None:
            predictor.task.write_cells(writer, some, logits[part], predictor.config,
                                       first=None if kept is None else kept[part])
        done += len(some) * (not bad)
    return len(texts)


def _left_out(options: PredictOptions, columns: tuple[str, ...]) -> str:
    """Return a line on the columns of a table that nobody asked for, "" for none."""
    if options.data_file in (None, "-") or _has_lines(options) or options.keep_columns:
        return ""
    names = list(options.columns or ())
    with contextlib.suppress(BertKitError):  # the rows could be read, if not by these rules
        names = names or column_names(str(options.data_file), options.delimiter, options.encoding)
    others = ", ".join(name for name in names if name and name not in columns)
    return (f"{options.data_file}: columns left out: {others:.200} (--keep_columns keeps them)"
            if others else "")


def _written(options: PredictOptions, predictor: Predictor,
             columns: tuple[str, ...]) -> list[str]:
    """Return the columns to write; one that is kept must not be there already."""
    names = ("text_a", "text_b") if len(columns) == 2 else ("text",)
    written = predictor.task.cell_names(predictor.config, False, names)
    kept = unique("keep_columns", options.keep_columns or ())
    for name in kept:
        if name in columns or name in written:
            what = ("holds texts, which are written anyway" if name in columns
                    else "is what a column of the answers is called")
            raise ConfigError(f"keep_columns names {name!r:.60}, which {what}; leave it out")
    return [*kept, *written]


def run(options: PredictOptions) -> int:
    """Classify texts, a file's rows or the lines of standard input; return how many were written.
    """
    if options.task is not None:
        task_named(options.task)  # its code is imported, so that the model finds it
    with join_processes(choose_device(options.device)) as processes:
        predictor = Predictor.load(options.model, options.device, options.download, processes,
                                   options.precision, options.calibrated)
        folder = find_folder(options.model, WEIGHT_FILES, options.download)
        columns, texts, kept = text_columns(folder, options.text_column), options.text, None
        reading = options.row_reading() if options.data_file == "-" else {}
        if options.text is not None:
            texts = (options.text if options.text_b is None
                     else list(zip(options.text, options.text_b, strict=True)))
            if len(text_names(list(texts))) < len(columns):
                raise ConfigError(f"{options.model}: was trained on pairs; give the second text "
                                  "too (--text_b)")
            columns = text_names(list(texts))
        elif options.data_file == "-":
            texts = in_place(_standard_input(**reading), reading["bad_rows"])
        else:
            _written(options, predictor, columns)  # or an error, before the file is read
            texts, kept = processes.from_first(lambda: _of_file(options, columns))
            if _has_lines(options):
                columns = ("text",)
        rows, count, answered = iter(texts or ()), 0, 0
        with (PredictionWriter(
                sys.stdout if options.output_file is None else options.output_file,
                _written(options, predictor, columns), guard_formulas=not options.raw_cells)
              if processes.first else contextlib.nullcontext()) as writer:
            while chunk := processes.from_first(lambda: list(itertools.islice(rows, CHUNK))):
                cells = None if kept is None else kept[answered:answered + len(chunk)]
                answered += _answer(predictor, writer, chunk, cells,
                                    options.keep_columns or ())
                count += len(chunk)
            if not answered:
                found = Refuser("standard input", reading.get("bad_rows"))
                raise DataError("no text to classify; expected at least one line"
                                + found.left_out())
        if processes.first and options.data_file == "-":
            tell_reading(reading, answered, options)
        if processes.first:
            warn(_left_out(options, columns))
        if processes.first and options.output_file is not None:
            silent = f", {count - answered:,} without an answer" * (count > answered)
            show(f"{count:,} rows{silent}: {options.output_file}")
        return count if processes.first else 0
