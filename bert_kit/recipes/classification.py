"""Training a text classifier, from files to a folder with weights, numbers and pictures.

`TextClassificationTrainer` is the job in steps, to stop between; `train_classifier` is all of it.
"""

import tempfile
from pathlib import Path

from bert_kit.data import ClassificationDataset, LabelledParts, Part
from bert_kit.errors import ConfigError, DataError, TrainingError
from bert_kit.evaluation import PredictionWriter, plot_learning_curves, plot_reliability
from bert_kit.files import write_json
from bert_kit.printing import results_table
from bert_kit.recipes.calibration import described, kept
from bert_kit.recipes.fine_tuning import (check_settings, make_model, make_tokenizer, make_trainer,
                                          seeded, threads, within_positions)
from bert_kit.recipes.options import make_settings, named
from bert_kit.recipes.pictures import can_draw
from bert_kit.recipes.prediction import Predictor, choose_device, text_names
from bert_kit.recipes.rows import present, read_rows, score_baselines
from bert_kit.recipes.run_folder import (check_folder, in_process, kept_to, model_card,
                                         most_memory, no_split_of_a_failed_start, open_folder,
                                         quoted, write_card, write_label_mapping)
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.recipes.tasks import TASKS
from bert_kit.training import ALONE, join_processes, peak_memory, reset_peak_memory
from bert_kit.weights import save_pretrained


# Settings of a job that reads files or keeps something; training on texts in memory has neither.
IN_FILES_ONLY = ("data_file", "train_file", "validation_file", "test_file", "max_train_samples",
                 "overfit_batches", "fast_dev_run", "early_stopping", "trend_window", "regression",
                 "resume", "output_dir", "task")


class TextClassificationTrainer:
    """The classification job in steps.

    Parameters
    ----------
    model_path : path, optional
        Folder or name of a BERT to start from; None trains a small one from nothing.
    num_labels : int, optional
        What the number of classes must be, as a check on the data.
    settings : ClassificationSettings, optional
        Instead of single settings.
    processes : Processes
        Those that do the job together, from `join_processes`; each calls the same methods.
    **changes
        Fields of ClassificationSettings, under any of their spellings.

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

    def __init__(self, model_path=None, num_labels=None, settings=None, processes=ALONE,
                 **changes):
        if settings is None:
            given = {} if model_path is None else {"model": model_path}
            settings = ClassificationSettings(**named(ClassificationSettings, given | changes))
            settings = within_positions(settings)
        elif changes or model_path is not None:
            raise ConfigError("settings and single settings are both given; expected one of them")
        self.settings = in_process(settings, settings.classifier, processes)
        self.num_labels, self.processes = num_labels, processes
        self.device = choose_device(settings.device)
        self.parts = self.tokenizer = self.model = self.trainer = None
        self.datasets = {}

    @property
    def task(self):
        """What is to be told of a text, from the setting `task`."""
        return TASKS[self.settings.task]

    def prepare_data(self, dataset_path=None, **changes):
        """Read, split and tokenize; return the datasets `train`, `validation` and `test`.

        Parameters
        ----------
        dataset_path : path, optional
            As the setting `data_file`.
        **changes
            Other settings of the data, such as `text_column`, `label_column`, `train_size`,
            `val_size`, `test_size`, `random_state`.
        """
        if dataset_path is not None:
            changes["data_file"] = dataset_path
        self.settings = self.settings.replace(**named(ClassificationSettings, changes))
        return self.use_parts(self.processes.from_first(lambda: read_rows(self.settings)))

    def use_parts(self, parts, sample_weights=None):
        """Tokenize LabelledParts; the same datasets as `prepare_data`."""
        if self.num_labels not in (None, len(parts.classes)):
            raise DataError(f"the data has {len(parts.classes)} classes; "
                            f"expected num_labels {self.num_labels}")
        self.parts = parts
        self.tokenizer = make_tokenizer(self.settings, parts.train.texts)
        return {name: ClassificationDataset(
                    part.texts, part.labels, self.tokenizer, self.settings.max_length,
                    sample_weights if name == "train" else None, self.settings.stride)
                for name, part in present(parts)}

    def setup_trainer(self, datasets, model_type=None):
        """Build the model and the Trainer; `model_type` is the setting `classifier`."""
        if model_type is not None:
            self.settings = self.settings.replace(classifier=model_type)
        self.datasets = datasets
        with seeded(self.settings.seed), threads(self.settings.threads):
            self.model = self.make_model()
            self.model.to(self.device)
            self.trainer = make_trainer(self.settings, self.model, self.tokenizer, datasets,
                                        self.evaluate, self.processes)

    def make_model(self):
        """Return the model that `setup_trainer` trains; draws from torch's generator."""
        return make_model(self.settings, self.parts.classes, self.tokenizer,
                          self.datasets["train"].labels)

    def train(self, datasets=None):
        """Train to the end and return the TrainerState; `datasets` are those of the set-up."""
        if self.trainer is None:
            self.setup_trainer(datasets)
        with threads(self.settings.threads), \
                seeded(self.settings.seed + 1 + self.processes.rank):  # each has its own dropout
            state = self.trainer.train(self.settings.resume)
        self.model.eval()
        if self.task.chooses and "validation" in self.datasets:
            self.evaluate(self.datasets["validation"])  # the best epoch may not be the last
        return state

    def logits(self, dataset):
        """Rows (N) -> logits (N, C)."""
        training = self.model.training
        with threads(self.settings.threads):
            logits = Predictor(self.model, self.tokenizer, self.device,
                               self.processes).dataset_logits(dataset)
        self.model.train(training)
        if not logits.isfinite().all():
            raise TrainingError("the model's scores are no longer numbers; a lower learning_rate "
                                "may help")
        return logits

    def evaluate(self, dataset):
        """Return `loss` and every score of the task on a dataset.

        What a task chooses by validation rows, the thresholds of labels, is chosen when those of
        the set-up are scored; it stays for all others, and is saved with the model.
        """
        logits = self.logits(dataset)
        if dataset is self.datasets.get("validation"):
            chosen = self.task.choose(logits, dataset.labels, self.settings)
            config = self.model.config
            self.model.config = config.replace(extra={**config.extra, **chosen})
        return self.task.scores(logits, dataset.labels, self.model.config)

    def save_model(self, path):
        """Write the model, its tokenizer and label_mapping.json into a folder."""
        if self.processes.first:
            save_pretrained(self.model, path, self.tokenizer)
            write_label_mapping(path, self.parts.classes)


def train_classifier(classifier_type=None, model_path=None, data_path=None, **settings):
    """Train one classifier and return its results, which results.json holds too.

    Parameters
    ----------
    classifier_type : str
        The head: standard, custom (mlp), bilstm, attention, cnn, fourier_kan or wavelet_kan.
    model_path : path, optional
        Folder or name of a BERT to start from.
    data_path : path, optional
        File or folder with labelled texts; without it the docstring task.
    **settings
        Fields of ClassificationSettings, under any of their spellings; for instance `num_epochs`,
        `batch_size`, `dropout_rate`, `early_stopping_patience`, `metric_for_best_model`,
        `num_frequencies`, `num_wavelets`, `wavelet_type`, `output_dir`.

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
    given = {"classifier": classifier_type, "model": model_path, "data_file": data_path}
    return run(make_settings(ClassificationSettings, given, settings))


def fit_texts(texts, labels, classes, settings, sample_weights=None):
    """Train on texts in memory, keeping nothing on disk, and return the Predictor.

    Parameters
    ----------
    texts : list of str
    labels : list of int
        Class numbers.
    classes : list of str
        Names of the classes.
    settings : dict
        Fields of ClassificationSettings.
    sample_weights : array (N,), optional
        Factor on each row's loss.
    """
    given = named(ClassificationSettings, settings)
    for name in IN_FILES_ONLY:
        if given.get(name):
            raise ConfigError(f"{name} has no meaning for texts in memory; leave it out")
    job = TextClassificationTrainer(**{"output_dir": None, **given})
    check_settings(job.settings)
    if len(classes) < 2:
        raise DataError(f"the labels hold {len(classes)} class; expected at least 2")
    parts = LabelledParts(Part(texts, labels), None, None, tuple(classes), fingerprint="",
                          in_train_too=0, description="")
    job.train(job.use_parts(parts, sample_weights))
    return Predictor(job.model, job.tokenizer, job.device)


def run(settings):
    """Do the whole job for ClassificationSettings; see `train_classifier`."""
    with join_processes(choose_device(settings.device)) as processes:
        if not settings.fast_dev_run:
            settings = in_process(settings, settings.classifier, processes)
            with kept_to(processes, settings.output_dir):
                return _run(settings, processes)
        with tempfile.TemporaryDirectory() as folder:
            results = _run(in_process(settings.replace(
                output_dir=f"{folder}/run", max_steps=2, resume=None), None, processes), processes)
        if processes.first:
            print("fast dev run: every step works; nothing was kept")
        return {**results, "output_dir": None}


def _run(settings, processes):
    settings = within_positions(settings)
    check_settings(settings)
    if settings.output_dir is not None:
        processes.from_first(lambda: check_folder(settings))
    job = TextClassificationTrainer(settings=settings, processes=processes)
    with no_split_of_a_failed_start(settings.output_dir if processes.first else None):
        datasets = job.prepare_data()
        settings.say(f"data      {job.parts.description}")
        baselines = {}
        if settings.baselines and processes.first:
            baselines = score_baselines(job.parts, settings.say, job.task)
        reset_peak_memory(job.device)
        job.setup_trainer(datasets)
        if settings.output_dir is not None:
            processes.from_first(lambda: open_folder(settings, job.parts.fingerprint))
    parameters = sum(p.numel() for p in job.model.parameters())
    origin = f"weights from {settings.model}" if settings.model else "random weights"
    settings.say(f"model     {settings.classifier} head, {parameters:,} parameters, {origin}, "
                 f"{job.device.type}, {job.trainer.args.precision}")
    state = job.train()
    peak = most_memory(settings, peak_memory(job.device))
    results = {
        "task": settings.task, "classifier": settings.classifier, "model": settings.model,
        "classes": list(job.parts.classes), "parameters": parameters,
        "rows": {name: len(part.texts) for name, part in present(job.parts)},
        "steps": state.step, "best_step": state.best_step, "stopped": state.stopped,
        "seconds": state.elapsed, "peak_memory_mb": None if peak is None else peak / 2**20,
        "learning_rate": job.trainer.args.learning_rate,
        "precision": job.trainer.args.precision, "baselines": baselines,
        "output_dir": settings.output_dir}
    logits = {name: job.logits(datasets[name]) for name in ("validation", "test")
              if name in datasets}  # the test rows are scored once, here
    return processes.from_first(lambda: _finish(job, datasets, logits, results))


def _finish(job, datasets, logits, results):
    """Save the model and measure it, write and say where everything is."""
    settings, task, config = job.settings, job.task, job.model.config
    rows = {name: (logits[name], datasets[name].labels) for name in logits}
    for name in rows:
        results[name] = task.scores(*rows[name], config)
    curves = None
    if "test" in rows:
        results["test"] |= task.more_scores(rows, config)
        settings.say(f"\n{task.table(results['test'], config.labels)}")
        if "validation" in rows and (found := task.calibration(rows)):
            results["calibration"], curves = found
            job.model.config = config.replace(extra={**config.extra, **kept(found[0])})
            settings.say(described(results["calibration"]))
    settings.say(results_table(results, task.columns))
    if settings.output_dir is None:
        return results
    folder = Path(settings.output_dir)
    job.save_model(folder)
    if "test" in rows:
        texts = job.parts.test.texts
        header = task.header(config.labels, True, text_names(texts))
        with PredictionWriter(folder / "test_predictions.csv", header) as writer:
            writer.write(task.cells(texts, logits["test"], config, rows["test"][1]))
    write_json(folder / "results.json", results)
    write_card(folder, model_card(folder, results, task.title(config.labels), task.columns))
    plots = can_draw(settings.plots, settings.say)
    task.leave(folder, results.get("test"), rows, config, plots)
    if plots:
        plot_learning_curves(job.trainer.state.log, folder / "learning_curves.png")
    if plots and curves:
        plot_reliability(curves, folder / "reliability.png")
    if settings.fast_dev_run:
        return results
    settings.say(f"\nsaved in {folder}: model, results.json, metrics.csv, README.md"
                 f"\npredict with: python -m bert_kit predict --model {quoted(folder)} --text \"…\""
                 + " --text_b \"…\"" * (len(settings.text_column) == 2))
    return results
