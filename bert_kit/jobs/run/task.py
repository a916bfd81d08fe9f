"""What is to be told of a text. Everything else is the same for all tasks: see `TrainingJob`.

A task is one file in `bert_kit/jobs/tasks`: a class that answers the questions below.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from bert_kit.config import BertConfig
from bert_kit.data import BadRow
from bert_kit.errors import DataError
from bert_kit.evaluation import Finding
from bert_kit.jobs.options.groups import TrainOptions
from bert_kit.jobs.run.predictor import TrainedModel, check_pieces
from bert_kit.lookup import find_folder
from bert_kit.printing import Column
from bert_kit.tokenization import Tokenizer, get_tokenizer, train_tokenizer
from bert_kit.training import Loss, Processes
from bert_kit.weights import WEIGHT_FILES, weights_digest

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows, Training

Part = TypeVar("Part", bound=Sized)
Scores = dict[str, Any]
VOCABULARY = 8_000  # pieces of a tokenizer trained on the rows themselves


@dataclass(frozen=True)
class Parts(Generic[Part]):
    """What a model is trained, chosen and scored on.

    Attributes
    ----------
    train, validation, test
        Rows, in the form that the task gives them; None where there is no such part.
    fingerprint
        Of all rows, before any is left out: equal for equal data.
    description
        One line for people: where each part comes from, and its size.
    classes
        Names of the classes, labels or tags; none where there are none.
    note
        A line to warn of, as of rows that were left out; "" for none.
    bad_rows
        Those rows, for a list of them in the run's folder.
    """

    train: Part
    validation: Part | None
    test: Part | None
    fingerprint: str
    description: str
    classes: tuple[str, ...] = ()
    note: str = ""
    bad_rows: Sequence[BadRow] = ()

    def present(self) -> dict[str, Part]:
        """Return the parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


class Task(ABC, Generic[Part]):
    """One task: its rows, its head and loss, how its answers are scored and left behind.

    Attributes
    ----------
    name
        Of `--task`.
    what
        What a trained model does, after "A BERT that".
    use
        The command line that uses such a model; {model} is the folder.
    options
        All that a training of it asks: `TrainOptions` and the task's own.
    predictor_class
        What runs a trained model.
    metrics
        Scores that may decide which epoch is best; the first is the default.
    columns
        Scores in tables and on the card.
    job
        That trains it, as manifest.json names it.
    has_head
        Whether what is not the encoder may have a learning rate of its own.
    drops_in_head
        Whether the option `dropout` is of the head; else it is of the encoder.
    fine_tunes
        Whether weights are trained on few rows, many times over, which takes dropout.
    rates, epochs
        Peak learning rate and passes over the data where none are given: with weights, and from
        scratch.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    use: ClassVar[str]
    options: ClassVar[type[TrainOptions]]
    predictor_class: ClassVar[type[TrainedModel]]
    metrics: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    job: ClassVar[str] = "train"
    has_head: ClassVar[bool] = True
    drops_in_head: ClassVar[bool] = True
    fine_tunes: ClassVar[bool] = True
    rates: ClassVar[tuple[float, float]] = (5e-5, 5e-4)
    epochs: ClassVar[tuple[int, int]] = (3, 6)

    # ---- before training

    def folder_name(self, options: Any) -> str:
        """Return the name of the output folder in runs/ where none is given."""
        return self.name

    def check(self, options: Any, config: BertConfig) -> None:
        """Find what does not go together before any row is read; `config` is the start's."""

    @abstractmethod
    def read(self, options: Any) -> Parts[Part]:
        """Return the rows that the options name."""

    @abstractmethod
    def subset(self, part: Part, count: int, seed: int) -> Part:
        """Return `count` rows of a part, or all if there are fewer."""

    @abstractmethod
    def texts(self, part: Part) -> Iterable[str]:
        """Return the texts of a part, for a tokenizer to learn from."""

    def start_folder(self, options: Any) -> Path:
        """Return the folder of the weights to start from."""
        return find_folder(options.model, WEIGHT_FILES, options.download)

    def make_tokenizer(self, options: Any, part: Part) -> Tokenizer:
        """Return the tokenizer of the model, or one that learned from the training rows."""
        if options.model is None:
            tokenizer = train_tokenizer(self.texts(part), VOCABULARY, 2, options.do_lower_case,
                                        options.strip_accents)
        else:
            tokenizer = get_tokenizer(options.model, options.download)
        tokenizer.max_length = options.max_length  # saved with it: predictions cut there too
        return tokenizer

    def check_tokenizer(self, options: Any, config: BertConfig) -> None:
        """Refuse a tokenizer that does not fit the weights to start from, before rows are read."""
        if options.model is not None:
            check_pieces(get_tokenizer(self.start_folder(options)), config, options.model)

    @abstractmethod
    def dataset(self, part: Part, name: str, parts: Parts[Part], tokenizer: Tokenizer,
                options: Any) -> Any:
        """Return the torch Dataset of a part, called `name`: ids and, to train on, labels."""

    def model_class(self, options: Any) -> Callable[[BertConfig], nn.Module]:
        """Return what builds the model from a configuration."""
        return self.predictor_class.model_class

    def config(self, options: Any, parts: Parts[Part], before: BertConfig) -> dict[str, Any]:
        """Return the fields of BertConfig that the task needs; `before` is the start's."""
        return {}

    def start(self, model: Any, rows: "Rows[Part]", options: Any) -> None:
        """Let what is new in a model start from what the training rows say."""

    def new_weights(self, options: Any) -> str:
        """Return what the weights of a model from scratch are, in a word or two."""
        return "random weights"

    def head_factor(self, options: Any, classes: Sequence[str]) -> float | None:
        """Return how many times the encoder's rate a new head has by default; None is the same.

        `classes` are those of the rows.
        """
        return None

    def steps_for(self, options: Any, classes: Sequence[str]) -> int:
        """Return how many steps rows of these classes want at least, by default."""
        return 0

    @abstractmethod
    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        """Return the loss of a model and a batch; without a training only to check the options.
        """

    def metric(self, options: Any, parts: Parts[Part] | None) -> str:
        """Return the score that decides which epoch is best."""
        return options.metric or self.metrics[0]

    def predictor(self, model: nn.Module, tokenizer: Tokenizer, options: Any,
                  device: torch.device, processes: Processes) -> Any:
        """Return what runs the model."""
        return self.predictor_class(model, tokenizer, device, processes)

    def made_of(self, options: Any, data: str, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return what a run's bits depend on besides its options, for its manifest.

        `data` is the `fingerprint` of its rows. Weights and configuration are those to start from,
        or None. A tokenizer that is learned follows from the rows.
        """
        weights = config = None
        given = options.model or getattr(options, "tokenizer", None)
        if options.model is not None:
            weights = weights_digest(self.start_folder(options))
            config = hashlib.sha256(json.dumps(self.start_config(options), sort_keys=True,
                                               default=str).encode()).hexdigest()
        return {"data": data, "weights": weights, "config": config,
                "tokenizer": None if given is None else tokenizer.fingerprint(),
                "threads_used": options.threads or torch.get_num_threads()}

    def start_config(self, options: Any) -> dict[str, Any]:
        """Return what the files of the model to start from say of how numbers are made."""
        return BertConfig.load(self.start_folder(options)).replace(extra={}).to_dict()

    def fingerprint(self, parts: Parts[Part], tokenizer: Tokenizer) -> str:
        """Return what tells the rows of a run from any others."""
        return parts.fingerprint

    def describe(self, training: "Training", baselines: Mapping[str, Scores]) -> list[str]:
        """Return lines to say before training, besides those on rows and model."""
        return []

    # ---- scores

    def choose(self, answers: Any, part: Part, predictor: Any, options: Any) -> dict[str, Any]:
        """Return what validation rows decide besides the epoch, to be kept in config.json."""
        return {}

    @abstractmethod
    def scores(self, answers: Any, part: Part, predictor: Any) -> Scores:
        """Return every score of a predictor's answers to the rows of a part."""

    def logged(self, options: Any) -> Sequence[str] | None:
        """Return which scores the log shows; None is every number."""
        return None

    def table_columns(self, results: Scores) -> Sequence[Column]:
        """Return the columns that the results of a run have."""
        return self.columns

    def untrained_scores(self, options: Any) -> bool:
        """Say whether the model can do the task before training, which is then to be beaten."""
        return False

    def baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        """Yield what has to be beaten on the part called `name`: what it is, and its scores."""
        yield from ()

    def constant_baseline(self, part: Part) -> dict[str, Scores]:
        """Return the scores of the best constant answer to the rows of a part, if there is one."""
        return {}

    def findings(self, answers: Any, part: Part, predictor: Any, scores: Scores,
                 rows: str) -> list[Finding]:
        """Return what is wrong with the answers themselves; `rows` names the rows: "test rows"."""
        return []

    # ---- what a finished run leaves

    def facts(self, training: "Training") -> dict[str, Any]:
        """Return what else results.json says of the model."""
        return {}

    def conclude(self, training: "Training", answers: Mapping[str, Any],
                 results: dict[str, Any]) -> Any:
        """Say how the parts went, before the model is saved; may add to results and config.

        What it returns is handed to `leave`.
        """

    def use_of(self, training: "Training") -> str:
        """Return the command line that uses the model; {model} is the folder."""
        return self.use

    def leave(self, training: "Training", answers: Mapping[str, Any], results: dict[str, Any],
              folder: Path, plots: bool, concluded: Any) -> None:
        """Write predictions, tables and pictures into the run's folder."""

    # ---- the command `evaluate`

    def load(self, folder: Path, device: str, processes: Processes) -> Any:
        """Return the predictor of a folder."""
        return self.predictor_class.load(folder, device, processes=processes)

    def read_to_score(self, options: Any, predictor: Any, folder: Path) -> Part:
        """Return the rows of a file, for a model that has been trained."""
        return self.read(options).train

    def dataset_for(self, predictor: Any, part: Part) -> Any:
        """Return the rows of a part as a model reads them whose folder holds no options."""
        return self.dataset(part, "test", Parts(part, None, None, "", ""), predictor.tokenizer,
                            self.options(max_length=predictor.max_length))

    def measure(self, answers: Any, part: Part, predictor: Any, options: Any) -> Scores:
        """Return every score, with what says how far they can be trusted."""
        return self.scores(answers, part, predictor)

    def report(self, folder: Path, results: Scores, answers: Any, part: Part, predictor: Any,
               options: Any) -> str:
        """Write the files of an evaluation and return the report as text."""
        return "\n".join(f"{name:22}{value:.4f}" for name, value in results.items()
                         if isinstance(value, float))

    def present(self, folder: Path, results: Scores, answers: Any, part: Part,
                predictor: Any) -> None:
        """Draw scored rows into a folder."""


def drawn_rows(total: int, count: int, seed: int) -> list[int]:
    """Return `count` row numbers below `total` in their order, or all if there are fewer."""
    if count >= total:
        return list(range(total))
    return sorted(np.random.default_rng(seed).choice(total, count, replace=False).tolist())


def rows_to_keep(count: int, share: float, what: object) -> int:
    """Return how many of some rows to train on, if a share of them is held out, at least one.

    Raises
    ------
    DataError
        If none is left.
    """
    left = count - max(1, round(share * count))
    if left < 1:
        raise DataError(f"{what}: holding out {share} of {count} rows leaves none to train on; "
                        "expected more rows, a smaller val_size or a validation_file")
    return left


def fingerprint_of(content: object) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
