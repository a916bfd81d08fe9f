"""Training a model for any task, from files to a folder; the functions, and the job `train`.

`TextClassificationTrainer` is the classification job in steps, to stop between.
"""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from bert_kit.data import ClassificationDataset, Part, check_names, stratified_split
from bert_kit.errors import ConfigError, DataError, UsageError
from bert_kit.jobs.options.declare import (Options, composed, given_options, named, option,
                                           with_defaults)
from bert_kit.jobs.options.groups import stops_early
from bert_kit.jobs.options.parser import config_value
from bert_kit.jobs.run.build import check_options
from bert_kit.jobs.run.defaults import within_positions
from bert_kit.jobs.run.folder import as_begun, known_settings, open_folder, share_folder
from bert_kit.jobs.run.job import Results, Rows, Training, TrainingJob
from bert_kit.jobs.run.predictor import warn
from bert_kit.jobs.run.randomness import threads
from bert_kit.jobs.run.task import Parts, Scores
from bert_kit.jobs.tasks.calibration import calibration_keys, read_calibration
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import Predictor, TextTask
from bert_kit.jobs.run.best_configs import best_settings
from bert_kit.training import ALONE, OnLog, Processes, TrainerState, choose_device

if TYPE_CHECKING:
    from typing import Unpack

    from bert_kit.jobs.options.keywords import (AnswerKeywords, MaskedKeywords,
                                                SimilarityKeywords, TagKeywords, TextKeywords)

FILES = ("data_file", "train_file", "validation_file", "test_file")
# Options of a job that reads files or keeps something; training on texts in memory has neither.
IN_FILES_ONLY = (*FILES, "max_train_samples", "overfit_batches", "fast_dev_run", "resume",
                 "output_dir", "task")


@dataclass(frozen=True)
class TunedOptions(Options):
    """What a search found, to begin with."""

    title: ClassVar[str] = "model"

    hyperparams_dir: str | None = option(
        None, "begin with the best that tune found for this head or task, in this folder; "
        "whatever else is given wins")

    @classmethod
    def from_names(cls, values: Mapping[str, Any], source: str = "settings") -> Self:
        """Return options from {name or alias: value} over the best that a search found.

        That is used up here: a run's manifest holds the values themselves.
        """
        given = named(cls, values, source)
        plain: Any = cls(**given)
        if given.pop("hyperparams_dir", None) is None:
            return plain
        name = getattr(plain, "classifier", task_named(plain.task).name)
        best = named(cls, known_settings(cls, best_settings(
            name, plain.task, plain.hyperparams_dir)))
        if given.keys() & {*FILES}:
            best = {name: value for name, value in best.items() if name not in FILES}
        defaults: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                    for name, value in best.items()}
        return composed(cls.__name__, (cls,), with_defaults(None, None, **defaults))(**given)


@functools.cache
def train_options(task: str) -> type[Any]:
    """Return the class of the options of `train`: those of the task, and a search's folder."""
    kind = task_named(task).options
    return composed(kind.__name__, (TunedOptions, kind))


def train(task: str, settings: Mapping[str, Any], data: Any = None,
          on_log: OnLog | None = None) -> Results:
    """Train a model for a task and return the results, which results.json holds too.

    Parameters
    ----------
    task
        Its name, or "package.module:Class" of one of your own.
    settings
        Options of the task, under any of their spellings.
    data
        Rows in memory, instead of files; see `with_rows`.
    on_log
        Called with every row of the log, see `Trainer`.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    check_paths(settings)
    options = train_options(task).from_names(settings)
    return TrainingJob(task_named(task), with_rows(options, data, settings), on_log=on_log).run()


def check_paths(settings: Mapping[str, Any]) -> None:
    """Refuse rows where the name of a file is expected, in one short line."""
    for name, value in settings.items():
        if not name.endswith(("_file", "_path")):
            continue
        for path in value if isinstance(value, list | tuple) else [value]:
            if path is not None and not isinstance(path, str | Path):
                raise UsageError(f"{name} is a {type(value).__name__}; expected the name of a file "
                                 "or folder (rows in memory are data=…)")


def with_rows(options: Any, data: Any, settings: Mapping[str, Any]) -> Any:
    """Return options that read their rows from memory, unless `data` is None.

    Parameters
    ----------
    data
        A dict of columns, a pandas or polars DataFrame, a Dataset, or a dict of such tables by
        part, train, validation and test; see `rows_in_memory`.
    settings
        What the options were made of: files beside data are refused, but not those of an earlier
        search.
    """
    if data is None:
        return options
    if not hasattr(options, "data"):
        raise UsageError(f"the task {options.task} reads files only; expected a file, and no data")
    given = named(type(options), settings)
    return options.replace(data=data, **{
        name: None for name in FILES if hasattr(options, name) and given.get(name) is None})


def options_class(arguments: Sequence[str]) -> type[Options]:
    """Return the class of the options that a command line of `train` has."""
    return train_options(str(config_value(arguments, "task") or "classification"))


def pretrain_options(arguments: Sequence[str]) -> type[Options]:
    """Return the class of the options of `pretrain`."""
    return train_options("masked")


def run(options: Any) -> Results:
    """Do the whole job for the options of a task."""
    return TrainingJob(task_named(options.task), options).run()


def train_classifier(classifier_type: str | None = None, model_path: str | Path | None = None,
                     data_path: str | Path | None = None, data: Any = None,
                     on_log: OnLog | None = None,
                     **settings: "Unpack[TextKeywords]") -> Results:
    """Train one classifier and return its results, which results.json holds too.

    Parameters
    ----------
    classifier_type
        The head: standard, custom (mlp), bilstm, attention, cnn, fourier_kan or wavelet_kan.
    model_path
        Folder or name of a BERT to start from.
    data_path
        File or folder with labelled texts; without it the docstring task.
    data
        Rows in memory instead, by their columns: {"text": […], "category": […]}, a DataFrame or a
        Dataset; or such tables by part, {"train": …, "validation": …, "test": …}. They are what
        the same rows in a CSV file would be.
    on_log
        Called with every row of the log, see `Trainer`.
    **settings
        Options of training, under any of their spellings; `task` may be multi_label or regression.

    Returns
    -------
    dict
        `classifier`, `model`, `classes`, `rows`, `parameters`, `test` and `validation` scores,
        `baselines`, `seconds`, `peak_memory_mb`, `output_dir` and more.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    return train(settings.get("task", "classification"), given_options(
        settings, classifier=classifier_type, model=model_path, data_file=data_path), data, on_log)


def train_tagger(model_path: str | Path | None = None, data_path: str | Path | None = None,
                 data: Any = None, on_log: OnLog | None = None,
                 **settings: "Unpack[TagKeywords]") -> Results:
    """Train a tagger and return the results, which results.json holds too.

    Parameters
    ----------
    model_path
        Folder or name of a BERT to start from; without it a small one is trained from nothing.
    data_path
        File with one word a line and its tag in the last column, or a folder with the files
        train, dev and test (.txt, .conll, .tsv, .bio or .iob).
    data
        Rows in memory instead, as in `train_classifier`; with the columns tokens and tags, a list
        of words and one of as many tags a row.
    on_log
        Called with every row of the log, see `Trainer`.
    **settings
        Options of training, under any of their spellings.

    Returns
    -------
    dict
        `classes`, `rows`, `validation` and `test` scores (see `entity_metrics`; only `accuracy`
        where tags are no entities), `baselines`, `seconds`, `output_dir` and more.
    """
    return train("tagging", given_options(settings, model=model_path, data_file=data_path), data,
                 on_log)


def train_answerer(model_path: str | Path | None = None, data_path: str | Path | None = None,
                   data: Any = None, on_log: OnLog | None = None,
                   **settings: "Unpack[AnswerKeywords]") -> Results:
    """Train on questions and return the results, which results.json holds too.

    Parameters
    ----------
    model_path
        Folder or name of a BERT to start from; without it a small one is trained from nothing.
    data_path
        JSON file in the format of SQuAD 1.1 or 2.0, or a folder with train.json and, where they
        exist, dev.json and test.json.
    data
        Rows in memory instead, as in `train_classifier`; with the columns question, context and
        answers (a dict of the lists text and answer_start a row), and id where there is one.
    on_log
        Called with every row of the log, see `Trainer`.
    **settings
        Options of training, under any of their spellings.

    Returns
    -------
    dict
        `rows`, `validation` and `test` scores (see `answer_metrics`), `null_threshold`, `seconds`,
        `output_dir` and more.
    """
    return train("answering", given_options(settings, model=model_path, data_file=data_path),
                 data, on_log)


def train_similarity(model_path: str | Path | None = None,
                     train_file: str | Path | None = None, data: Any = None,
                     on_log: OnLog | None = None,
                     **settings: "Unpack[SimilarityKeywords]") -> Results:
    """Train a sentence encoder on rated pairs and return the results, as in results.json.

    Parameters
    ----------
    model_path
        Folder or name of a sentence encoder, or of a BERT with `pooling`.
    train_file
        Table with the columns text_a, text_b and label. The lowest label is drawn to a cosine of
        0, the highest to 1.
    data
        Rows in memory instead, as in `train_classifier`.
    on_log
        Called with every row of the log, see `Trainer`.
    **settings
        Options of training, under any of their spellings.

    Returns
    -------
    dict
        `validation` and `test` scores, those `before training` under `baselines`, `seconds`,
        `output_dir` and more. The folder is one for SentenceEncoder.
    """
    return train("similarity", given_options(settings, model=model_path, train_file=train_file),
                 data, on_log)


def pretrain(model_path: str | Path | None = None,
             train_file: str | Path | Sequence[str | Path] | None = None, data: Any = None,
             on_log: OnLog | None = None, **settings: "Unpack[MaskedKeywords]") -> Results:
    """Pre-train a BERT and return the results, which results.json holds too.

    Parameters
    ----------
    model_path
        Folder or name of a BERT to go on from; without it a new one is made.
    train_file
        Text; by default the docstrings of the installed packages.
    data
        Text in memory instead, as in `train_classifier`: the column text, a document a row, each
        line of it a passage; by part train and validation.
    on_log
        Called with every row of the log, see `Trainer`.
    **settings
        Options of training, under any of their spellings; for instance `max_steps`, `store`,
        `nsp`, `whole_word`, `output_dir`.

    Returns
    -------
    dict
        `model`, `parameters`, `vocabulary`, `rows`, `validation` scores, `baselines`, `seconds`,
        `peak_memory_mb`, `output_dir` and more.
    """
    return train("masked", given_options(settings, model=model_path, train_file=train_file), data,
                 on_log)


class TextClassificationTrainer:
    """The classification job in steps.

    Parameters
    ----------
    model_path
        Folder or name of a BERT to start from; None trains a small one from nothing.
    num_labels
        What the number of classes must be, as a check on the data.
    settings
        The options, instead of single ones.
    processes
        Those that do the job together, from `join_processes`; each calls the same methods.
    on_log
        Called with every row of the log, see `Trainer`.
    **changes
        Options of training, under any of their spellings.

    Examples
    --------
    ::

        trainer = TextClassificationTrainer("minilm", output_dir="runs/reviews", num_epochs=3)
        datasets = trainer.prepare_data("reviews.csv", text_column="content")
        trainer.setup_trainer(datasets, model_type="bilstm")
        trainer.train(datasets)
        print(trainer.evaluate(datasets["test"])["accuracy"])
        trainer.save_model("models/reviews")
    """

    def __init__(self, model_path: str | Path | None = None, num_labels: int | None = None,
                 settings: Any = None, processes: Processes = ALONE,
                 on_log: OnLog | None = None, **changes: "Unpack[TextKeywords]") -> None:
        if settings is None:
            self.task: Any = task_named(changes.get("task", "classification"))
            settings = self.task.options.from_names(given_options(changes, model=model_path))
            settings = within_positions(self.task, settings)
        elif changes or model_path is not None:
            raise ConfigError("settings and single settings are both given; expected one of them")
        else:
            self.task = task_named(settings.task)
        self.named_by_head = settings.output_dir == type(settings).output_dir
        self.settings = share_folder(settings, str(settings.classifier), processes)
        self.num_labels, self.processes, self.on_log = num_labels, processes, on_log
        self.device = choose_device(self.settings.device)
        self.rows: Rows[Part] | None = None
        self.training: Training[Part] | None = None

    def _job(self) -> TrainingJob[Part]:
        return TrainingJob(self.task, self.settings, self.processes, on_log=self.on_log)

    def prepare_data(self, dataset_path: str | Path | None = None, data: Any = None,
                     **changes: "Unpack[TextKeywords]") -> dict[str, ClassificationDataset]:
        """Read, split and tokenize; return the datasets `train`, `validation` and `test`.

        Parameters
        ----------
        dataset_path
            As the option `data_file`.
        data
            Rows in memory instead, as in `train_classifier`.
        **changes
            Other options of the data, such as `text_column`, `label_column`, `train_size`,
            `val_size`, `test_size`, `random_state`.
        """
        given = given_options(changes, data_file=dataset_path)
        check_paths(given)
        self.settings = with_rows(self.settings.replace(**named(self.task.options, given)), data,
                                  given)
        return self.use_parts(self.processes.from_first(self._job().read))

    def use_parts(self, parts: Parts[Part]) -> dict[str, ClassificationDataset]:
        """Tokenize the parts; the same datasets as `prepare_data`."""
        if self.num_labels not in (None, len(parts.classes)):
            raise DataError(f"the data has {len(parts.classes)} classes; "
                            f"expected num_labels {self.num_labels}")
        self.rows = self._job().tokenize(parts)
        return dict(self.rows.datasets)

    def setup_trainer(self, datasets: Mapping[str, ClassificationDataset],
                      model_type: str | None = None) -> None:
        """Build the model and the Trainer; `model_type` is the option `classifier`."""
        if self.rows is None:
            raise ConfigError("there are no rows yet; call prepare_data first")
        if model_type is not None:
            self._change_head(model_type)
        self.settings = as_begun(self.settings)
        self.training = self._job().build(Rows(self.rows.parts, self.rows.tokenizer, datasets))

    def _change_head(self, model_type: str) -> None:
        """Have another head; a folder that is called after the one before is called after it."""
        before = self.settings
        self.settings = before.replace(classifier=model_type)
        if not self.named_by_head or self.settings.classifier == before.classifier:
            return
        self.settings = share_folder(
            self.settings.replace(output_dir=type(before).output_dir),
            str(self.settings.classifier), self.processes)
        if self.processes.first and Path(before.output_dir).is_dir():  # with the split
            Path(before.output_dir).rename(self.settings.output_dir)
        self.processes.wait()

    def train(self, datasets: Mapping[str, ClassificationDataset] | None = None) -> TrainerState:
        """Train to the end and return the TrainerState; `datasets` are those of the set-up."""
        if self.training is None:
            self.setup_trainer(datasets or {})
        training, folder = self._trained(), self.settings.output_dir
        if folder is not None and not (Path(folder) / "training_args.json").is_file():
            tokenizer = training.predictor.tokenizer
            made_of = self.task.made_of(
                self.settings, self.task.fingerprint(training.parts, tokenizer), tokenizer)
            self.processes.from_first(lambda: open_folder(self.settings, self.task.job, made_of,
                                                          bad_rows=training.parts.bad_rows))
        with training.at_work() as trainer:
            state = trainer.train(self.settings.resume)
        if self.task.chooses_thresholds and "validation" in training.datasets:
            self.evaluate(training.datasets["validation"])  # the best epoch may not be the last
        return state

    def evaluate(self, dataset: ClassificationDataset) -> Scores:
        """Return `loss` and every score of the task on a dataset.

        What a task chooses by validation rows, the thresholds of labels, is chosen when those of
        the set-up are scored; it stays for all others, and is saved with the model.
        """
        training = self._trained()
        with threads(self.settings.threads):
            if dataset is training.datasets.get("validation"):
                return training.score("validation")
            part = Part([""] * len(dataset), dataset.labels)  # the texts are not looked at
            return self.task.scores(training.predictor.answers(dataset), part, training.predictor)

    def save_model(self, path: str | Path) -> None:
        """Write the model, its tokenizer and label_mapping.json into a folder."""
        training = self._trained()
        if self.processes.first:
            training.save(path)

    def _trained(self) -> Training[Part]:
        if self.training is None:
            raise ConfigError("there is no model yet; call setup_trainer first")
        return self.training

    @property
    def model(self) -> Any:
        """The model; there is one after `setup_trainer`."""
        return self._trained().model

    @property
    def trainer(self) -> Any:
        """The Trainer; there is one after `setup_trainer`."""
        return self._trained().trainer

    @property
    def tokenizer(self) -> Any:
        """The tokenizer; there is one after `prepare_data`."""
        return None if self.rows is None else self.rows.tokenizer

    @property
    def parts(self) -> Any:
        """The parts; there are some after `prepare_data`."""
        return None if self.rows is None else self.rows.parts


def fit_texts(task: str, texts: Sequence[str], labels: Any, classes: Sequence[str],
              settings: Mapping[str, Any], sample_weights: np.ndarray | None = None,
              calibrated: bool = False, on_log: OnLog | None = None) -> Predictor:
    """Train on texts in memory, keeping nothing, and return the Predictor.

    With a `val_size` above 0 a share of the rows is held out. It chooses the best epoch, whose
    weights are kept, ends the training early where that is asked for, and chooses thresholds.

    Parameters
    ----------
    task
        classification, multi_label or regression.
    labels
        Class numbers; or float32, (N, C) of 0 and 1 for labels and (N,) for numbers.
    classes
        Names of the classes or labels; of numbers one name.
    settings
        Options of training.
    sample_weights
        Factor on each row's loss (N,).
    calibrated
        Scale the logits as the rows that are held out say.
    on_log
        Called with every row of the log, see `Trainer`.
    """
    kind: Any = task_named(task)
    given = {"val_size": 0.0, **named(kind.options, settings)}
    for name in IN_FILES_ONLY:
        if given.get(name):
            raise ConfigError(f"{name} has no meaning for texts in memory; leave it out")
    with tempfile.TemporaryDirectory() as place:  # of checkpoints, to end with the best one
        folder = str(Path(place) / "run") if given["val_size"] else None
        options: Any = within_positions(kind, kind.options(**{**given, "output_dir": folder}))
        check_options(kind, options)
        if not folder and (stops_early(options) or calibrated):
            raise ConfigError(f"{'calibrated' if calibrated else 'early stopping'} needs rows that "
                              "are held out; give a validation_fraction above 0")
        warn(check_names(classes))
        whole = Part(list(texts), labels)
        trained_on, held = _hold_out(labels, options.val_size, options.seed)
        train = _some_rows(whole, trained_on)
        parts = Parts(train, None if held is None else _some_rows(whole, held), None, "", "",
                      tuple(classes))
        job = TrainingJob(kind, options, on_log=on_log)
        data = job.tokenize(parts)
        if sample_weights is not None:
            data = Rows(parts, data.tokenizer, {**data.datasets, "train": kind.dataset(
                train, "train", parts, data.tokenizer, options, sample_weights[trained_on])})
        training = job.build(data)
        with training.at_work() as trainer:
            trainer.train()
        if parts.validation is not None:
            _choose(training, parts.validation, calibrated)
    return training.predictor


def _hold_out(labels: Any, size: float, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the numbers of the rows to train on, and of a share that is held out, if any.

    The shares of the classes stay; a row with several labels counts as one of its rarest.
    """
    if not size:
        return np.arange(len(labels)), None
    groups = np.asarray(labels)
    if groups.ndim == 2:  # (N, C) -> (N,)
        rarest = np.where(groups > 0, groups.sum(0), np.inf).argmin(1)
        groups = np.where(groups.any(1), rarest, -1)
    elif groups.dtype.kind == "f":  # numbers to be learned
        groups = np.zeros(len(groups), int)
    train, held = stratified_split(groups.tolist(), (1 - size, size), seed)
    return np.asarray(train), np.asarray(held)


def _some_rows(whole: Part, rows: np.ndarray) -> Part:
    labels, places = whole.labels, [int(row) for row in rows]
    return Part([whole.texts[row] for row in places],
                [labels[row] for row in places] if isinstance(labels, list) else labels[rows])


def _choose(training: Training[Part], held: Part, calibrated: bool) -> None:
    """Let the rows that were held out choose thresholds, and the scale of the probabilities."""
    predictor, task = training.predictor, cast(TextTask, training.task)
    with threads(training.options.threads):
        answers = predictor.answers(training.datasets["validation"])
    training.score("validation", answers)  # the best epoch may not be the last
    rows = answers, held.labels
    found = task.calibration(rows, rows) if calibrated else None
    if found is not None:
        fitted, _ = found
        if fitted["not_kept"] is not None:
            warn(f"calibration not kept: {fitted['not_kept']}")
        predictor.remember(**calibration_keys(fitted))
        predictor.scaling = read_calibration(predictor.model.config)
