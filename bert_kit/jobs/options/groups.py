"""The option groups of training jobs, each declared once; a task's file adds the task's own.

`TrainOptions` is what every training job asks. A default that a task wants otherwise stands at
the task, see `with_defaults`.
"""

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from bert_kit.checks import number, share, unique
from bert_kit.data import rows_in_memory
from bert_kit.errors import ConfigError, UsageError
from bert_kit.files import numbered_folder
from bert_kit.jobs.options.declare import Needs, Options, option
from bert_kit.printing import show
from bert_kit.training import TrainingArguments

BAD_ROWS = "bad_rows.csv"
FILES_OF_A_RUN = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt", "modules.json", "label_mapping.json", "manifest.json", "split.json",
    "results.json", "training_args.json", "metrics.csv", "README.md")
MANY = 0.05  # share of rows that are left out, from which on the file may be meant otherwise
PRECISIONS = ("float32", "bfloat16", "float16")
FROM_NOTHING = Needs("a model from scratch (no model)", lambda options: options.model is None)

LEARNED = Needs("a tokenizer that is learned (no model, no tokenizer)", lambda options: (
    options.model is None and getattr(options, "tokenizer", None) is None))


def _of_one_process(value: object, beside: Mapping[str, Any]) -> str:
    processes = os.environ.get("WORLD_SIZE", "1")
    return "" if processes in ("", "1") else (
        f"in the field these are rows of one process, and there are {processes}; expected "
        "batch_size, the rows of all together")


def _a_share(value: Any, beside: Mapping[str, Any]) -> str:
    with contextlib.suppress(TypeError, ValueError):  # told when the options are made
        if not 0 <= float(value) < 1:
            return "expected a share of all steps, below 1; a number of steps is warmup_steps"
    return ""


def _of_the_head(value: object, beside: Mapping[str, Any]) -> str:
    return "" if beside.get("task") not in ("answering", "similarity", "masked") else (
        f"the head of {beside['task']} has no dropout; expected dropout, of the encoder")


def _optimizer(*names: str) -> Needs:
    return Needs(f"optim {' or '.join(names)}", lambda options: options.optim in names)


def is_table(path: str | None) -> bool:
    """Say whether a file, if there is one, has columns; a .txt has lines."""
    return path is not None and not path.lower().endswith(".txt")


def stops_early(options: Any) -> bool:
    """Say whether options have a rule that may end training before its last step."""
    return bool(options.early_stopping or options.trend_window or options.regression)


A_RULE = Needs("early_stopping, trend_window or regression", stops_early)
FILES = ("data_file", "train_file", "validation_file", "test_file", "input_file", "pool_file")
A_FILE = Needs("a data_file or another file of rows", lambda options: any(
    getattr(options, name, None) is not None for name in FILES))
ROWS = Needs("a data_file or another file of rows, or data", lambda options: (
    A_FILE.are_met(options) or getattr(options, "data", None) is not None))
A_FOLDER = Needs("an output_dir, where checkpoints are kept",
                 lambda options: options.output_dir is not None)
PATIENCE = Needs("early_stopping", lambda options: bool(options.early_stopping))


@dataclass(frozen=True)
class ModelOptions(Options):
    """From which model to start, and how long its rows are."""

    title: ClassVar[str] = "model"

    model: str | None = option(
        None, "folder or name of a BERT to start from; without it a small one is trained from "
        "nothing", "model_name", "model_path", "model_name_or_path", "weights")
    download: bool = option(False, "allow the Hugging Face hub to be asked", may_change=True)
    from_scratch: str = option("bert-mini", "size of a model without weights", needs=FROM_NOTHING)
    do_lower_case: bool = option(
        True, "whether a tokenizer that is learned drops case", "lowercase", needs=LEARNED)
    strip_accents: bool | None = option(
        None, "whether a tokenizer that is learned drops accents, Indic vowel signs and the "
        "voicing of kana; as do_lower_case by default", needs=LEARNED)
    max_length: int = option(128, "tokens in a row; the rest of a text is cut off", "max_seq_len",
                             "max_seq_length", least=3)
    dropout: float | None = option(
        None, "dropout of the head, or of the encoder under a head that has none; the model's own "
        "by default", "dropout_rate", "classifier_dropout",
        doubts={"classifier_dropout": _of_the_head})

    hidden_dropout_prob: float | str | None = option(
        None, "dropout of the encoder's hidden states; the model's own by default, but .1 for a "
        "stored 0 (own: even then)", words=("own",), before="own")
    attention_probs_dropout_prob: float | str | None = option(
        None, "dropout of the attention weights; the model's own by default, but .1 for a stored 0",
        words=("own",), before="own")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"):
            if getattr(self, name) not in (None, "own"):
                share(name, getattr(self, name))


@dataclass(frozen=True)
class TrainingOptions(Options):
    """How to train. What `TrainingArguments` has too is checked there, and has its default."""

    title: ClassVar[str] = "training"

    num_train_epochs: int | None = option(
        None, "passes over the data; 3 with weights, 6 from scratch", "epochs", "num_epochs")
    max_steps: int = option(TrainingArguments.max_steps,
                            "optimizer steps instead of epochs, where above 0")
    min_steps: int | None = option(
        None, "least steps, in whole epochs: few rows make few, and too few teach nothing; 200 "
        "without num_train_epochs and max_steps, more for many classes",
        least=0, before=0, needs=Needs("a number of epochs (no max_steps)",
                                       lambda options: options.max_steps < 1))
    minutes: float | None = option(
        None, "as many steps as fit into so many minutes of training, by the speed of the first "
        "ones", needs=Needs("an open end (no max_steps, min_steps or num_train_epochs)",
                            lambda options: options.max_steps < 1 and options.min_steps is None
                            and options.num_train_epochs is None))
    batch_size: int = option(32, "rows in a batch, of all processes together",
                             "per_device_train_batch_size", least=1,
                             doubts={"per_device_train_batch_size": _of_one_process})
    gradient_accumulation_steps: int = option(TrainingArguments.gradient_accumulation_steps,
                                              "batches in a step")
    learning_rate: float | str | None = option(
        None, "peak rate; 5e-5 with weights, 5e-4 from scratch; auto finds one by a range test",
        "lr", words=("auto",))
    head_learning_rate: float | None = option(
        None, "rate of the head; by default the encoder's; a new head on weights has 10 times it "
        "if deep, and more for many classes", "classifier_learning_rate")
    muon_learning_rate: float | None = option(
        None, "rate of the matrices of the blocks; twice the encoder's by default",
        needs=_optimizer("muon"))
    layer_decay: float = option(TrainingArguments.layer_decay,
                                "factor on the rate for each layer further down")
    weight_decay: float = option(TrainingArguments.weight_decay,
                                 "of matrices; vectors do not decay")
    warmup_steps: float = option(TrainingArguments.warmup_steps,
                                 "steps of rising rate; below 1 a share", "warmup_ratio",
                                 doubts={"warmup_ratio": _a_share})
    lr_scheduler_type: str = option(TrainingArguments.lr_scheduler_type,
                                    "linear, cosine or constant; or wsd, which falls over the "
                                    "last 30% only")
    optim: str = option(TrainingArguments.optim, "which optimizer; muon moves the matrices of the "
                        "blocks by orthogonal steps, and all else as adamw", "optimizer",
                        "optimizer_choice", choices=("adamw", "muon", "adam", "sgd", "rmsprop"),
                        before="adamw")
    betas: tuple[float, float] = option(TrainingArguments.betas, "moments of adam and adamw",
                                        needs=_optimizer("adamw", "adam", "muon"))
    adam_epsilon: float = option(TrainingArguments.adam_epsilon,
                                 "added to the denominator of adam, adamw and rmsprop", "eps",
                                 needs=_optimizer("adamw", "adam", "rmsprop", "muon"))
    momentum: float = option(TrainingArguments.momentum, "of sgd and rmsprop",
                             needs=_optimizer("sgd", "rmsprop"))
    max_grad_norm: float = option(TrainingArguments.max_grad_norm, "longest gradient")
    freeze_layers: int = option(0, "keep embeddings and so many blocks; -1 the whole encoder")
    gradual_unfreezing: bool = option(False,
                                      "unfreeze one block more each epoch, from the top")
    gradient_checkpointing: bool = option(
        False, "less memory for about a third more time", may_change=True)
    precision: str | None = option(None, "by default what the machine is fast in",
                                   choices=PRECISIONS)
    group_by_length: bool = option(False, "put rows of similar length together")
    memory_threshold: float | None = option(
        None, "cut batches into smaller pieces above this share of memory, as .85",
        may_change=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minutes is not None:
            number("minutes", self.minutes, 0, above=True, error=ConfigError)


@dataclass(frozen=True)
class StoppingOptions(Options):
    """When to end, and which epoch to keep. A run may go on with more patience."""

    title: ClassVar[str] = "early stopping"

    early_stopping: int = option(0, "evaluations without improvement to bear; 0 is off",
                                 "early_stopping_patience", "patience", least=0, may_change=True)
    min_delta: float = option(0.0, "least change that is an improvement",
                              "early_stopping_threshold", "improvement_threshold",
                              may_change=True, needs=PATIENCE)
    min_epochs: int = option(0, "never stop before", may_change=True, needs=A_RULE)
    smoothing_window: int = option(1, "evaluations to average over", may_change=True,
                                   needs=A_RULE)
    trend_window: int | None = option(None, "stop when the metric falls over so many",
                                      may_change=True)
    regression: float | None = option(None, "stop when it lies so far below the best, as .2",
                                      may_change=True)
    metric: str | None = option(None, "what decides which epoch is best", "metric_for_best_model")
    load_best_model_at_end: bool = option(True, "keep the best epoch, not the last", needs=A_FOLDER)


@dataclass(frozen=True)
class RunningOptions(Options):
    """Where everything goes, on what machine, and what is said."""

    title: ClassVar[str] = "running"

    output_dir: str | None = option(
        "runs/NAME", "where everything goes; by default runs/NAME, runs/NAME-2 and so on",
        "output_root", "save_dir", may_change=True)
    seed: int = option(0, "of everything random", "random_state", least=0)
    device: str = option("auto", "auto, cpu, cuda or mps", may_change=True)
    threads: int | None = option(
        None, "of torch on a CPU; the same number gives the same bits", least=1,
        most=1_024)
    time_limit: float | None = option(None, "seconds of training at most", may_change=True)
    resume: str | None = option(None, "go on with an interrupted run", choices=("auto",),
                                may_change=True)
    logging_steps: int = option(20, "a log row every so many steps", may_change=True)
    eval_steps: int | None = option(None, "measure every so many steps, not every epoch", least=1)
    save_steps: int | None = option(
        None, "save every so many steps, not every epoch; the end and the best are saved too",
        least=1, may_change=True, needs=A_FOLDER)
    save_total_limit: int = option(TrainingArguments.save_total_limit,
                                   "newest checkpoints to keep, besides the best",
                                   may_change=True, needs=A_FOLDER)
    baselines: bool = option(True, "score what has to be beaten beside BERT", may_change=True)
    fast_dev_run: bool = option(False, "try everything on a few rows and keep nothing")
    overfit_batches: int | None = option(None, "train and score on the same so many batches",
                                         least=1)
    strict: bool = option(False, "end with exit code 3 where the model is no better than what has "
                          "to be beaten", may_change=True)
    plots: bool = option(True, "draw pictures where matplotlib is installed", may_change=True)
    verbosity: int = option(TrainingArguments.verbosity, "0 warnings, 1 progress, 2 every detail",
                            choices=(0, 1, 2), may_change=True)

    def check_use(self) -> None:
        """Refuse what would change nothing; a run that goes on has the options it began with."""
        if self.resume is None:
            super().check_use()

    def say(self, text: str) -> None:
        """Print a line, unless only warnings are wanted."""
        if self.verbosity:
            show(text)

    def in_folder(self, name: str) -> Self:
        """Return options with a real output folder where none was chosen.

        That is runs/<name>, or with a number the first that is not there yet; a resumed run takes
        the last one that is.
        """
        if self.output_dir != type(self).output_dir:
            return self
        return self.replace(output_dir=str(numbered_folder("runs", name, self.resume is not None)))


@dataclass(frozen=True)
class TrainOptions(ModelOptions, TrainingOptions, StoppingOptions, RunningOptions):
    """What every training job asks. A task's own class has its name as the default of `task`."""

    title: ClassVar[str] = "data"
    main = ("task", "data_file", "model", "output_dir", "num_train_epochs")

    task: str = option("", "what is to be told of a text: classification, multi_label, "
                       "regression, tagging, answering, similarity, or package.module:Class")
    max_train_samples: int | None = option(None, "train on so many rows", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != type(self).task:
            raise ConfigError(f"task is {self.task!r}; these are options of {type(self).task}")


@dataclass(frozen=True)
class ReadingOptions(Options):
    """How a file of text is written."""

    title: ClassVar[str] = "data"

    encoding: str = option("utf-8-sig", "of the files; never guessed", needs=A_FILE)


@dataclass(frozen=True)
class RowOptions(ReadingOptions):
    """How a file of rows is written."""

    bad_rows: str = option(
        "error", "what to do with a row that cannot be used, such as one without a text: "
        "refuse the file, or leave the row out, say so and list it in bad_rows.csv",
        choices=("error", "skip"), once={"skip_bad_rows": ("error", "skip")}, needs=ROWS)

    def row_reading(self) -> dict[str, Any]:
        """Return how a reader of rows is to read; its `bad_rows` takes what is left out."""
        return {"encoding": self.encoding, "bad_rows": [] if self.bad_rows == "skip" else None}

    def bad_rows_file(self) -> Path | None:
        """Return where the rows that are left out are listed; None for a job that only prints.

        It is bad_rows.csv in the job's folder, or NAME.bad_rows.csv beside an output file NAME.csv.
        """
        output_file, folder = (getattr(self, name, None) for name in ("output_file", "output_dir"))
        if output_file is not None:
            return bad_rows_beside(output_file)
        return None if folder is None else Path(folder) / BAD_ROWS


@dataclass(frozen=True)
class TableReadingOptions(RowOptions):
    """How a table is written."""

    delimiter: str | None = option(None, "of CSV fields; a comma, or a tab for .tsv", needs=A_FILE)
    quotes: bool | None = option(
        None, "whether quote signs enclose CSV fields; false reads them as they stand, as in "
        "the .tsv files of GLUE; by default only those that would swallow rows", needs=A_FILE)
    columns: tuple[str, ...] | None = option(
        None, "names of the columns of a CSV file without a header, as text,category",
        "column_names", needs=A_FILE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns is not None and len(self.columns) == 1:  # "text,category"
            object.__setattr__(self, "columns", tuple(
                name.strip() for name in self.columns[0].split(",")))
        if self.columns is not None and "" in self.columns:
            raise ConfigError(f"columns are {' '.join(self.columns)!r}; expected a name for each")

    def row_reading(self) -> dict[str, Any]:
        """Return how a file of rows is to be read that is no table."""
        for name in ("delimiter", "quotes", "columns"):
            if getattr(self, name) is not None:
                raise UsageError(f"{name} says how a table is written, which changes nothing for "
                                 "other rows; leave it out")
        return super().row_reading()

    def reading(self) -> dict[str, Any]:
        """Return how a table is to be read; `bad_rows` and `notes` take what is to be told."""
        return {**super().row_reading(), "delimiter": self.delimiter, "quotes": self.quotes,
                "columns": self.columns, "notes": []}


def reading_notes(reading: Mapping[str, Any], kept: int | None = None) -> str:
    """Return what there is to say of how files were read and which rows were left out, or "".

    `kept` is the number of the other rows, for the share.
    """
    bad, lines = reading.get("bad_rows") or [], [*reading.get("notes", ())]
    if bad:
        count, first = len(bad), {row.reason: row.message for row in reversed(bad)}
        share = 0.0 if kept is None else count / (count + kept)
        of = "" if kept is None else f" of {count + kept:,} ({100 * share:.2g}%)"
        kinds = Counter(row.reason for row in bad).most_common()
        lines.append(f"{count:,} row{'s' * (count > 1)} left out{of}: " + ", ".join(
            f"{number:,} {reason} ({first[reason]})" for reason, number in kinds))
        if share > MANY:
            also = ", --delimiter, the names of the columns" * ("delimiter" in reading)
            lines.append("these are many: is the file read as it is written? (see --encoding"
                         f"{also})")
    return "; ".join(lines)


def in_memory() -> Any:
    """Return a field for rows that Python hands over instead of files.

    It is no option: it has no flag, and stands in no config file or manifest.
    """
    return dataclasses.field(default=None, repr=False, compare=False)


def take_rows(options: Any) -> None:
    """Make `rows_in_memory` of the `data` of options, where there are some.

    Raises
    ------
    UsageError
        If there are files beside them.
    """
    if options.data is None:
        return
    for name in FILES:
        if getattr(options, name, None) is not None:
            raise UsageError(f"data and {name} are both given; expected one of them")
    object.__setattr__(options, "data", rows_in_memory(options.data))


@dataclass(frozen=True)
class FileOptions(RowOptions):
    """The files of labelled rows, and how they are cut into parts."""

    title: ClassVar[str] = "data"

    data_file: str | None = option(
        None, "file to train on, or a folder with train, dev and test files", "data_path",
        "dataset_path", may_change=True)
    train_file: str | None = option(None, "file to train on, used as it is", may_change=True)
    validation_file: str | None = option(None, "file to choose the best epoch on", "val_file",
                                         "dev_file", may_change=True)
    test_file: str | None = option(None, "file to score once, at the end", may_change=True)
    val_size: float = option(0.1, "share to choose the best epoch on, where there is no file "
                             "for it; 0 for none")
    data: Any = in_memory()

    def __post_init__(self) -> None:
        super().__post_init__()
        share("val_size", self.val_size, below=True)
        take_rows(self)

    def files(self) -> dict[str, Any]:
        """Return the options that name files; rows in memory are the data_file."""
        files = {name: getattr(self, name) for name in (
            "data_file", "train_file", "validation_file", "test_file")}
        return files if self.data is None else {**files, "data_file": self.data}


@dataclass(frozen=True)
class SpanOptions(Options):
    """How labelled pieces of a text become tagged words."""

    title: ClassVar[str] = "data"

    widen_spans: bool = option(
        False, "where a labelled span of a tool's file cuts a word, take the whole word; else "
        "its text is refused", needs=A_FILE)


@dataclass(frozen=True)
class TableOptions(FileOptions, TableReadingOptions):
    """The columns of a table of texts."""

    MOST_TEXTS: ClassVar[int] = 2  # in a row

    text_column: tuple[str, ...] = option(
        ("text",), "name of the column with the texts; two of them for pairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.text_column) <= self.MOST_TEXTS or "" in self.text_column:
            raise ConfigError(f"text_column names {len(self.text_column)} columns; expected one, "
                              "or two for pairs")
        unique("text_column", self.text_column)


@dataclass(frozen=True)
class UseOptions(Options):
    """What every command asks that uses a model."""

    title: ClassVar[str] = "model"

    model: str = option(None, "folder or name of a model", "best_model")
    device: str = option("auto", "auto, cpu, cuda or mps")
    download: bool = option(False, "allow the Hugging Face hub to be asked")

    def __post_init__(self) -> None:
        if self.model is None:
            raise UsageError("model is missing; expected the folder or name of one")
        super().__post_init__()


@dataclass(frozen=True)
class OwnTaskOptions(Options):
    """Which task a model does, where its code is the user's own."""

    title: ClassVar[str] = "model"

    task: str | None = option(None, "package.module:Class of a task of your own that it does")


@dataclass(frozen=True)
class PrecisionOptions(Options):
    """How numbers are rounded."""

    title: ClassVar[str] = "model"

    precision: str = option("float32", "bfloat16 is faster on most machines, off in the third "
                            "digit", choices=PRECISIONS)


def check_output(output_file: str | None, input_file: str | None) -> None:
    """Refuse to write over a model, or over the file that is read: also with the rows left out."""
    if output_file is not None and _is_of_a_model(Path(output_file)):
        raise ConfigError(f"{output_file}: is a file of the model in that folder; expected another "
                          "to write")
    if output_file is None or input_file is None or not os.path.exists(input_file):
        return
    for path in (Path(output_file), bad_rows_beside(output_file)):
        if os.path.exists(path) and os.path.samefile(path, input_file):
            raise ConfigError(f"{path}: is the file to read; expected another to write")


def _is_of_a_model(path: Path) -> bool:
    """Say whether a file is one that makes up a model or a run, by its name and folder."""
    return (path.is_file() and (path.parent / "config.json").is_file()
            and (path.suffix in (".safetensors", ".bin", ".pt") or path.name in FILES_OF_A_RUN))


def bad_rows_beside(output_file: str) -> Path:
    """Return where the rows that are left out are listed beside an output file."""
    path = Path(output_file)
    return path.with_name(f"{path.stem}.{BAD_ROWS}") if path.name else path / BAD_ROWS


def output_folder(options: RunningOptions) -> Path:
    """Return the output folder of a job that needs one."""
    if options.output_dir is None:
        raise ConfigError("output_dir is missing; expected a folder to write to")
    return Path(options.output_dir)
