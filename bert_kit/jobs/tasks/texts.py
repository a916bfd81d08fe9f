"""What the tasks on whole texts share: one class, any number of labels, or a number a text."""

import inspect
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from bert_kit.config import BertConfig
from bert_kit.data import ClassificationDataset, Part, known_rows, limit, read_table
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import PredictionWriter, plot_confidence_histogram, plot_reliability
from bert_kit.evaluation.prediction_files import Cell
from bert_kit.jobs.options.declare import Needs, Options, option
from bert_kit.jobs.options.groups import TableOptions, TrainOptions
from bert_kit.jobs.run.folder import known_settings, stored_run
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.run.predictor import BATCH, TrainedModel, by_length, check_finite
from bert_kit.jobs.run.randomness import seeded
from bert_kit.jobs.run.task import Parts, Scores, Task
from bert_kit.jobs.tasks.calibration import (calibration_keys, format_calibration,
                                             read_calibration)
from bert_kit.jobs.tasks.rows import one_or_two, read_rows, text_names
from bert_kit.jobs.tasks.table import OLD_ACTIVATION, text_task
from bert_kit.model import CLASSIFIERS, POOLINGS, make_classifier
from bert_kit.tokenization import Tokenizer
from bert_kit.training import ALONE, Processes, keep_freed_memory, model_inputs
from bert_kit.weights import read_weights

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Training

HEADS = ("standard", "mlp", "bilstm", "attention", "cnn", "fourier_kan", "wavelet_kan")
HEAD_OPTIONS = ("pooling", "last_layers", "hidden_dims", "depth", "activation", "kernel_sizes",
                "num_filters", "num_frequencies", "num_wavelets", "wavelet_type")
VECTORS_TO_FIT = 2_000  # training rows of the baseline on vectors: more would hardly change it
MOST_VECTORS = 5_000  # held-out rows: of more the baseline would take longer than it is worth
NEW_HEAD = 10.0  # a deep new head learns so many times as fast as the encoder below it
# What many classes want; see docs/classification.md.
STEPS_OF_A_CLASS, MOST_STEPS = 5, 1000
MANY_CLASSES, MOST_TIMES = 20, 100.0  # from 20 on, a new head learns as many times as fast
CELLS_AT_ONCE = 2**18  # of a file of predictions, as Python's numbers
WINDOW_BATCH = 8  # texts in windows scored together, of which each may have many
# What config.json says of the task.
TASK_KEYS = ("problem_type", "thresholds", "calibration", "task", "sentence_transformers",
             OLD_ACTIVATION)
IN_WINDOWS = Needs("a stride", lambda options: options.stride > 0)


def _of_a_head(value: object, beside: Mapping[str, Any]) -> str:
    """Say what to expect of a name under which the field has the depth of BERT itself."""
    mlp = beside.get("classifier") is not None or beside.get("hidden_dims") is not None
    return "" if mlp else ("elsewhere that is the depth of BERT itself, which its folder says; for "
                           "a head of so many layers give classifier mlp with it, or depth")


@dataclass(frozen=True)
class HeadOptions(Options):
    """Which head a text classifier has, and how it is made."""

    title: ClassVar[str] = "head"

    classifier: str | None = option(
        None, "which head (custom is mlp); standard, or mlp where its widths are given",
        "classifier_type", choices=(*HEADS, "custom"))
    pooling: str | None = option(None, "how token vectors become one")
    last_layers: int | None = option(None, "how many last layers the head sees")
    hidden_dims: tuple[int, ...] | None = option(None, "widths of the mlp head", "hidden_dim")
    depth: int | None = option(None, "layers of the mlp head, sizes falling evenly",
                               "num_hidden_layers", doubts={"num_hidden_layers": _of_a_head})
    activation: str | None = option(None, "relu, gelu, silu or tanh of the mlp head")
    kernel_sizes: tuple[int, ...] | None = option(None, "tokens under each cnn filter")
    num_filters: int | None = option(None, "cnn filters of each size")
    num_frequencies: int | None = option(
        None, "of the fourier_kan head (wavelet_kan: wavelets)")
    num_wavelets: int | None = option(None, "of the wavelet_kan head")
    wavelet_type: str | None = option(None, "mixed, haar, mexican or morlet")
    scale_with_classes: bool = option(
        True, "for many classes: by default 5 steps a class, up to 1,000; on weights a new head of "
        "20 or more learns min(classes, 100) times as fast", before=False)
    bert_hidden_size: int | None = option(
        None, "what the encoder's width must be, as a check")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classifier is None:
            mlp = self.hidden_dims is not None or self.depth is not None
            object.__setattr__(self, "classifier", "mlp" if mlp else "standard")
        elif self.classifier == "custom":
            object.__setattr__(self, "classifier", "mlp")

    def head(self) -> dict[str, Any]:
        """Return `BertConfig.classifier` for the head that is asked for; {} is standard.

        Raises
        ------
        ConfigError
            If an option is set that the head does not have.
        """
        known = inspect.signature(CLASSIFIERS[str(self.classifier)]).parameters
        given = {name: getattr(self, name) for name in HEAD_OPTIONS
                 if getattr(self, name) is not None}
        if "num_wavelets" in known and "num_frequencies" in given:
            given.setdefault("num_wavelets", given.pop("num_frequencies"))
        for name in given:
            if name not in known:
                options = [option for option in HEAD_OPTIONS if option in known]
                raise ConfigError(f"{name} is not an option of the {self.classifier} head; "
                                  f"expected {', '.join(options) or 'none'}")
        if self.classifier == "standard":
            return {}
        return {"type": self.classifier, **{
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()}}

    def with_head(self, classifier: str) -> Self:
        """Return options for another head, without those that it does not have."""
        known = {*inspect.signature(CLASSIFIERS[classifier]).parameters}
        if "num_wavelets" in known and self.num_wavelets is None:
            known.add("num_frequencies")
        return self.replace(classifier=classifier, **{
            name: None for name in HEAD_OPTIONS if name not in known})


@dataclass(frozen=True)
class TextOptions(TrainOptions, TableOptions, HeadOptions):
    """What to train a model of texts on and how; checked when it is made, before any work."""

    title: ClassVar[str] = "data"

    label_column: tuple[str, ...] | None = option(
        None, "name of the column with the label; category, for multi_label labels, for "
        "regression label")
    train_size: float | None = option(None, "share of the rows to train on; the rest by default")
    test_size: float = option(0.1, "share to score at the end")
    stride: int = option(0, "read a longer text in windows that begin so many tokens apart; 0 "
                         "cuts it off", least=0)
    window_pooling: str = option("mean", "how the logits of windows become one",
                                 choices=("mean", "max"), needs=IN_WINDOWS)

    LABEL_COLUMN: ClassVar[str] = "label"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_column is None:
            object.__setattr__(self, "label_column", (self.LABEL_COLUMN,))
        if self.metric is None:
            object.__setattr__(self, "metric", self.METRICS[0])
        if self.metric not in self.METRICS:
            raise ConfigError(f"metric is {self.metric!r}; expected one of "
                              f"{', '.join(self.METRICS)} for {self.task}")
        self._check_columns()

    METRICS: ClassVar[tuple[str, ...]] = ()

    def _check_columns(self) -> None:
        if len(self.label_column or ()) > 1:
            raise ConfigError(f"label_column names {len(self.label_column or ())} columns; "
                              f"expected one for {self.task}")


class Predictor(TrainedModel):
    """A trained model of texts: its answers are classes, label sets or numbers.

    Its configuration says what it tells of a text, and how long texts are read.

    Parameters
    ----------
    calibrated
        Scale the logits as the configuration says that training found to be right. No answer
        changes, for the thresholds of labels move along.

    Examples
    --------
    ::

        predictor = Predictor.load("runs/classifier")
        predictor.predict(["What is the longest river?"])
    """

    command = "predict"

    def __init__(self, model: nn.Module, tokenizer: Tokenizer,
                 device: str | torch.device = "cpu", processes: Processes = ALONE,
                 precision: str = "float32", calibrated: bool = False) -> None:
        super().__init__(model, tokenizer, device, processes, precision)
        self.task = text_task(self.model.config)
        self.scaling = read_calibration(self.model.config) if calibrated else None

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", download: bool = False,
             processes: Processes = ALONE, precision: str = "float32",
             calibrated: bool = False) -> Self:
        """Read what `train` wrote; see `TrainedModel.load`."""
        predictor = super().load(folder, device, download, processes, precision)
        if calibrated:
            predictor.scaling = read_calibration(predictor.model.config)
        return predictor

    @classmethod
    def class_of(cls, config: BertConfig) -> Any:
        return text_task(config).head_class

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.model.config.labels

    @property
    def config(self) -> BertConfig:
        """The model's configuration, for the logits as they are given here."""
        config = self.model.config
        return config if self.scaling is None else self.task.scaled(config, *self.scaling)

    def answers(self, dataset: Any) -> Tensor:
        """The rows of a ClassificationDataset -> logits (N, C) on the CPU, in float32.

        Calibrated ones are in float64, so that no order is lost.
        """
        keep_freed_memory()
        loader, places = by_length(dataset, WINDOW_BATCH if dataset.stride else BATCH)
        parts = []
        with self.answering() as model:
            for batch in self.processes.mine(loader):
                parts.append(model(**model_inputs(model, batch)).float())
        logits = torch.cat(self.processes.in_order([part.cpu() for part in parts]))[places]
        if self.scaling is not None:
            scale, shift = map(torch.from_numpy, self.scaling)
            logits = logits.double() * scale + shift
        return logits

    def vectors(self, dataset: Any) -> np.ndarray:
        """The rows of a ClassificationDataset -> the mean of each row's token vectors (N, D).

        Of this process alone, in the order of the rows.
        """
        parts, mean, (loader, places) = [], POOLINGS["mean"], by_length(dataset, BATCH)
        with self.answering() as model:
            for batch in loader:
                inputs = model_inputs(model, batch)
                hidden = model.bert(**inputs).last_hidden_state
                mask = inputs["attention_mask"].to(hidden.device).bool()
                parts.append(mean(hidden.float(), mask).cpu())
        return torch.cat(parts)[places].numpy()

    def logits(self, texts: Sequence[Any]) -> Tensor:
        """Texts or pairs of texts (N) -> logits (N, C), as `answers` has them."""
        return self.answers(ClassificationDataset(
            texts, [0] * len(texts), self.tokenizer, self.max_length,
            stride=self.model.config.window_stride))

    def probabilities(self, texts: Sequence[Any]) -> np.ndarray:
        """Texts (N) -> probabilities (N, C) as a float64 array; of classes a row adds up to 1.

        Raises
        ------
        ConfigError
            If the model tells numbers.
        """
        return self.task.probabilities(self.logits(texts))

    def predict(self, texts: Sequence[Any]) -> list[Any]:
        """Texts (N) -> list of N class names, tuples of label names, or numbers."""
        return self.task.names(self.logits(texts), self.config)


class TextTask(Task[Part]):
    """A task on whole texts; what it is asked besides `Task` stands here.

    Attributes
    ----------
    head_class
        The task model of `bert_kit.model`.
    stored
        What config.json has to say.
    has_label_sets
        Whether a text has any number of labels, so that labels are rows of 0 and 1.
    has_confidence
        Whether its probabilities can be drawn, as `confidence.png`.
    chooses_thresholds
        Whether thresholds are chosen by the validation rows, see `choose`.
    """

    predictor_class = Predictor
    use = 'predict --model {model} --text "…"'
    head_class: ClassVar[Any]
    stored: ClassVar[dict[str, str]] = {}
    has_label_sets: ClassVar[bool] = False
    has_confidence: ClassVar[bool] = False
    chooses_thresholds: ClassVar[bool] = False

    # ---- rows, model and loss

    @abstractmethod
    def label_kind(self, options: Any) -> Any:
        """Return how the label of a row is read."""

    def folder_name(self, options: Any) -> str:
        return str(options.classifier)

    def check(self, options: Any, config: BertConfig) -> None:
        if options.bert_hidden_size not in (None, config.hidden_size):
            raise ConfigError(
                f"bert_hidden_size is {options.bert_hidden_size}; "
                f"{options.model or options.from_scratch} is {config.hidden_size} wide")
        with seeded(options.seed):  # the head's own checks; on the meta device they take a second
            make_classifier(config.replace(**self._head_config(options)))

    def read(self, options: Any) -> Parts[Part]:
        return read_rows(options, self.label_kind(options))

    def subset(self, part: Part, count: int, seed: int) -> Part:
        return limit(part, count, seed)

    def texts(self, part: Part) -> Iterable[Any]:
        return part.texts

    def dataset(self, part: Part, name: str, parts: Parts[Part], tokenizer: Tokenizer,
                options: Any, sample_weights: np.ndarray | None = None) -> ClassificationDataset:
        return ClassificationDataset(part.texts, part.labels, tokenizer, options.max_length,
                                     sample_weights, options.stride)

    def model_class(self, options: Any) -> Callable[[BertConfig], nn.Module]:
        return self.head_class

    def config(self, options: Any, parts: Parts[Part], before: BertConfig) -> dict[str, Any]:
        extra = {key: value for key, value in before.extra.items() if key not in TASK_KEYS}
        own = {"task": self.name} if ":" in self.name else {}
        return {"labels": tuple(parts.classes), "extra": extra | self.stored | own,
                **self._head_config(options)}

    def _head_config(self, options: Any) -> dict[str, Any]:
        changes = {"classifier": options.head(), "window_stride": options.stride,
                   "window_pooling": options.window_pooling}
        if options.dropout is not None:
            changes["classifier_dropout"] = options.dropout
        return changes

    def head_factor(self, options: Any, classes: Sequence[str]) -> float | None:
        if options.model is None or options.head_learning_rate is not None:
            return None
        head, stored = options.head(), BertConfig.load(self.start_folder(options))
        times = NEW_HEAD if head else 1.0
        if options.scale_with_classes:
            if self._comes_trained(options, stored, classes):
                return None
            if (len(classes) >= MANY_CLASSES and options.optim != "sgd"
                    and (head or stored.model_type == "bert")  # others have two layers
                    and options.freeze_layers not in (-1, stored.num_hidden_layers)):
                times = max(times, min(len(classes), MOST_TIMES))
        return None if times == 1 else times

    def _comes_trained(self, options: Any, stored: BertConfig, classes: Sequence[str]) -> bool:
        """Say whether the folder to start from has a head that `load_pretrained` keeps."""
        head = options.head()
        ordered = tuple if head else sorted  # a plain head is put into any order
        same = (len(classes) == len(stored.labels) == 1  # one number has any name
                or ordered(stored.labels) == ordered(classes))
        if not same or stored.classifier != head:
            return False
        _, tensors = read_weights(self.start_folder(options))  # the head may be gone
        return any(name.startswith("classifier.") for name in tensors)

    def steps_for(self, options: Any, classes: Sequence[str]) -> int:
        return min(STEPS_OF_A_CLASS * len(classes), MOST_STEPS) * options.scale_with_classes

    # ---- answers: what logits (N, C) say

    def probabilities(self, logits: Any) -> np.ndarray:
        """Logits (N, C) -> probabilities (N, C), a float64 array.

        Raises
        ------
        ConfigError
            If the task has none.
        """
        raise ConfigError(f"a model that {self.what} has no probabilities; expected one of "
                          "classes or labels")

    @abstractmethod
    def names(self, logits: Tensor, config: BertConfig) -> list[Any]:
        """Return the answer to each text as Python values."""

    @abstractmethod
    def cell_names(self, config: BertConfig, labelled: bool,
                   text_columns: Sequence[str]) -> list[str]:
        """Return the columns of a file of predictions."""

    @abstractmethod
    def cells(self, texts: Sequence[Any], logits: Tensor, config: BertConfig,
              labels: Any = None) -> list[list[Cell]]:
        """Return the cells of each row of a file of predictions."""

    def scaled(self, config: BertConfig, scale: np.ndarray, shift: np.ndarray) -> BertConfig:
        """Return a configuration under which scaled logits give the answers of those before."""
        return config

    @abstractmethod
    def logit_scores(self, logits: Tensor, labels: Any, config: BertConfig) -> Scores:
        """Return `loss` and every score of logits (N, C)."""

    def scores(self, answers: Tensor, part: Part, predictor: Any) -> Scores:
        check_finite(answers)
        return self.logit_scores(answers, part.labels, predictor.config)

    def logged(self, options: Any) -> Sequence[str] | None:
        return ["loss", str(options.metric), *(key for key, *_ in self.columns)]

    def text_baselines(self, parts: Parts[Part], held_out: Part) -> Iterator[tuple[str, Scores]]:
        """Yield (name, scores) of what has to be beaten on the rows that are held out."""
        yield from ()

    def vector_baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        """Yield what the weights to start from can do as they are, on the part called `name`."""
        yield from ()

    def baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        if name != "test":
            return
        try:
            yield from self.text_baselines(training.parts, training.parts.present()[name])
        except DataError as error:  # texts without words, for instance
            training.options.say(f"no TF-IDF baseline: {error}")
        yield from self.vector_baselines(training, name)

    def frozen_vectors(self, training: "Training",
                       name: str) -> tuple[Part, np.ndarray, np.ndarray] | None:
        """Return rows to fit a baseline on, their vectors, and those of the part called `name`.

        The vectors are those of the weights before the training. None of random weights, whose
        vectors know nothing, and where rows are windows or there are too many of them.
        """
        parts, options, predictor = training.parts, training.options, training.predictor
        held_out, started = training.datasets[name], time.perf_counter()
        if options.model is None or options.stride or len(held_out) > MOST_VECTORS:
            return None
        few = self.subset(parts.train, VECTORS_TO_FIT, options.seed)
        rows = self.dataset(few, "train", parts, predictor.tokenizer, options)
        vectors = predictor.vectors(rows), predictor.vectors(held_out)
        options.say(f"baseline  frozen vectors of {len(few):,} of {len(parts.train):,} training "
                    f"rows, {time.perf_counter() - started:.1f} s")
        return few, *vectors

    # ---- what a finished run leaves

    def facts(self, training: "Training") -> dict[str, Any]:
        return {"classifier": training.options.classifier,
                "classes": list(training.parts.classes)}

    def more_scores(self, rows: Mapping[str, tuple[Tensor, Any]], config: BertConfig) -> Scores:
        """Return further scores of the test rows; `rows` are (logits, labels) by part."""
        return {}

    def calibration(self, validation: tuple[Tensor, Any],
                    test: tuple[Tensor, Any]) -> tuple[dict, dict] | None:
        """Return what `calibrate` does, of rows (logits, labels)."""
        return None

    def table(self, scores: Scores, classes: Sequence[str]) -> str:
        """Return the scores of the test rows as text."""
        return "\n".join(f"{key:34}{value:.4f}" for key, value in scores.items()
                         if isinstance(value, float))

    def conclude(self, training: "Training", answers: Mapping[str, Tensor],
                 results: dict[str, Any]) -> dict | None:
        """Say and keep what `Task.conclude` does; return the curves of the calibration."""
        if "test" not in answers:
            return None
        predictor, say = training.predictor, training.options.say
        parts = training.parts.present()
        rows = {name: (logits, parts[name].labels) for name, logits in answers.items()}
        results["test"] |= self.more_scores(rows, predictor.config)
        say(f"\n{self.table(results['test'], predictor.classes)}")
        found = self.calibration(**rows) if "validation" in rows else None
        if found is None:
            return None
        results["calibration"], curves = found
        predictor.remember(**calibration_keys(results["calibration"]))
        say(format_calibration(results["calibration"]))
        return curves

    def leave(self, training: "Training", answers: Mapping[str, Tensor], results: dict[str, Any],
              folder: Path, plots: bool, concluded: dict | None) -> None:
        predictor, test = training.predictor, training.parts.test
        if test is not None:
            self.write_predictions(folder / "test_predictions.csv", test.texts, answers["test"],
                                   predictor.config, test.labels)
        if test is not None and plots:
            self.draw(folder, results["test"], answers["test"], test.labels, predictor.config)
        validation = training.parts.validation
        if validation is not None and plots and self.has_confidence:
            self.draw_confidence(folder / "validation_confidence.png", answers["validation"],
                                 validation.labels)
        if concluded is not None and plots:
            plot_reliability(concluded, folder / "reliability.png")

    def write_predictions(self, path: Path, texts: Sequence[Any], logits: Tensor,
                          config: BertConfig, labels: Any) -> None:
        """Write a CSV with the answers to texts whose labels are known."""
        columns = self.cell_names(config, True, text_names(list(texts)))
        with PredictionWriter(path, columns) as writer:
            self.write_cells(writer, texts, logits, config, labels)

    def write_cells(self, writer: PredictionWriter, texts: Sequence[Any], logits: Tensor,
                    config: BertConfig, labels: Any = None,
                    first: Sequence[Sequence[Cell]] | None = None) -> None:
        """Write the answers to texts, so many at a time that their cells fit into memory.

        `first` are cells of each row to write before them.
        """
        step = max(1, CELLS_AT_ONCE // config.num_labels)
        for start in range(0, len(texts), step):
            part = slice(start, start + step)
            cells = self.cells(texts[part], logits[part], config,
                               None if labels is None else labels[part])
            writer.write(cells if first is None else [
                [*own, *row] for own, row in zip(first[part], cells, strict=True)])

    def draw_confidence(self, path: Path, logits: Tensor, labels: Any) -> None:
        """Draw the probabilities of right answers and of wrong ones."""
        plot_confidence_histogram(self.probabilities(logits), labels, path)

    def draw(self, folder: Path, scores: Scores, logits: Tensor, labels: Any,
             config: BertConfig) -> None:
        """Draw scored rows into a folder."""

    # ---- the command `evaluate`

    def read_to_score(self, options: Any, predictor: Predictor, folder: Path) -> Part:
        """Return the rows of a file, read as in training where nothing else is said."""
        settings = {}
        if (folder / "manifest.json").is_file():
            settings = known_settings(self.options, stored_run(folder)[1])
        given = {"text_column": options.text_column, "label_column": options.label_column}
        settings |= {name: value for name, value in given.items() if value is not None}
        trained: Any = self.options(**settings)
        kind, classes = self.label_kind(trained), predictor.classes
        reading = options.reading()
        table = read_table(options.data_file, one_or_two(trained.text_column), kind, **reading)
        table = known_rows(table, classes, kind, reading["bad_rows"],
                           "{name!r:.40} is not a {word} of the model")
        tell_reading(reading, len(table.texts), options)
        return Part(table.texts, kind.encode(table.labels, classes))

    def dataset_for(self, predictor: Predictor, part: Part) -> ClassificationDataset:
        return ClassificationDataset(part.texts, part.labels, predictor.tokenizer,
                                     predictor.max_length,
                                     stride=predictor.config.window_stride)

    def compare(self, logits: Tensor, other: Tensor, labels: Any) -> Scores:
        """Return a test of logits against those of another model."""
        raise ConfigError("another model is compared by McNemar's test, which is for one class a "
                          "row; leave other out")

    def present(self, folder: Path, results: Scores, answers: Tensor, part: Part,
                predictor: Predictor) -> None:
        self.draw(folder, results, answers, part.labels, predictor.config)

