"""A trained classifier put to use: texts in, classes and probabilities out."""

import contextlib
import io
import itertools
import os
import sys

import torch

from bert_kit.config import BertConfig
from bert_kit.data import ClassificationDataset, make_loader, read_table
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import PredictionWriter, predict_logits
from bert_kit.lookup import find_folder
from bert_kit.recipes.calibration import read_calibration
from bert_kit.recipes.run_folder import stored_settings
from bert_kit.recipes.tasks import task_of
from bert_kit.tokenization import get_tokenizer
from bert_kit.training import ALONE, autocast, choose_device, join_processes, keep_freed_memory
from bert_kit.weights import WEIGHT_FILES, load_pretrained

# What the architectures of config.json are, and the job that uses such a model.
KINDS = {"BertForSequenceClassification": ("a text classifier", "predict"),
         "BERTForSequenceClassification": ("a text classifier", "predict"),
         "BERTForMultiLabel": ("a text classifier", "predict"),
         "BertForTokenClassification": ("a tagger", "tag"),
         "BertForQuestionAnswering": ("an answerer", "answer")}

BATCH = 64  # rows scored together, everywhere: the same rows then give the same bits
WINDOW_BATCH = 8  # the same for texts in windows, of which each may have many
CHUNK = 64 * BATCH  # rows of a file held at a time


def check_kind(folder, config, job):
    """Refuse a folder whose config.json says that it holds a model for another job.

    Raises
    ------
    ConfigError
        Says which job.
    """
    stored = config.extra.get("architectures")
    for name in stored if isinstance(stored, list) else ():
        what, use = KINDS.get(str(name), ("", job))
        if use != job:
            raise ConfigError(f"{folder}: is {what}; use {use}")


class Predictor:
    """A model, its tokenizer and the names of its classes.

    Parameters
    ----------
    model : BERTForSequenceClassification or BERTForMultiLabel
        Its configuration says what it tells of a text, see `task_of`, and how long texts are read.
    tokenizer : Tokenizer
        Its `max_length` is where texts are cut off.
    device : torch.device
    processes : Processes
        Those that share the rows; all have the same ones, and are given all the results.
    precision : str
        "float32", or "bfloat16", which is faster on most machines and off in the third digit.
    calibrated : bool
        Scale the logits as the configuration says that training found to be right. No answer
        changes, for the thresholds of labels move along.

    Examples
    --------
    ::

        predictor = Predictor.load("runs/classifier")
        predictor.predict(["What is the longest river?"])
    """

    def __init__(self, model, tokenizer, device="cpu", processes=ALONE, precision="float32",
                 calibrated=False):
        self.model, self.tokenizer = model.to(device).eval(), tokenizer
        self.device, self.processes = torch.device(device), processes
        autocast(precision)  # or an error, before any work
        self.precision, self.task = precision, task_of(model.config)
        self.scaling = read_calibration(model.config) if calibrated else None
        longest = model.config.max_position_embeddings
        self.max_length = min(tokenizer.max_length or longest, longest)

    @classmethod
    def load(cls, folder, device="auto", download=False, processes=ALONE, precision="float32",
             calibrated=False):
        """Read what `train` wrote.

        Raises
        ------
        BertKitError
            If there is no such folder, a file in it is damaged, or it holds no classifier.
        """
        folder = find_folder(folder, WEIGHT_FILES, download)
        device = choose_device(device)
        config = BertConfig.load(folder)
        check_kind(folder, config, "predict")
        task = task_of(config)
        model = load_pretrained(task.model_class, folder, strict=True, report=_warn)
        return cls(model, get_tokenizer(folder), device, processes, precision, calibrated)

    @property
    def classes(self):
        """Names of the classes, in the order of the logits."""
        return self.model.config.labels

    @property
    def config(self):
        """The model's configuration, for the logits as they are given here."""
        config = self.model.config
        return config if self.scaling is None else self.task.scaled(config, *self.scaling)

    def logits(self, texts):
        """Texts or pairs of texts (N) -> logits (N, C) on the CPU, in float32.

        Calibrated ones are in float64, so that no order is lost.
        """
        dataset = ClassificationDataset(texts, [0] * len(texts), self.tokenizer, self.max_length,
                                        stride=self.model.config.window_stride)
        return self.dataset_logits(dataset)

    def dataset_logits(self, dataset):
        """The rows of a ClassificationDataset -> logits (N, C); the same bits as `logits`."""
        rows = WINDOW_BATCH if dataset.stride else BATCH

        def score(batches):  # cloned: what is sent is not the whole for every part
            with autocast(self.precision, self.device.type):
                logits, _ = predict_logits(self.model, batches, self.device)
            return [part.clone() for part in logits.split(rows)]

        keep_freed_memory()
        logits = torch.cat(self.processes.share_out(
            make_loader(dataset, rows, shuffle=False), score))
        if self.scaling is None:
            return logits
        scale, shift = map(torch.from_numpy, self.scaling)
        return logits.double() * scale + shift

    def probabilities(self, texts):
        """Texts (N) -> probabilities (N, C) as a float64 array; of classes a row adds up to 1.

        Raises
        ------
        ConfigError
            If the model tells numbers.
        """
        return self.task.probabilities(self.logits(texts))

    def predict(self, texts):
        """Texts (N) -> list of N class names, tuples of label names, or numbers."""
        return self.task.names(self.logits(texts), self.config)


def _standard_input(encoding):
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


def _warn(line):
    print(line, file=sys.stderr)  # standard output may be the CSV


def text_names(texts):
    """Return the names of a table's columns for texts, or for pairs of them."""
    return ("text",) if isinstance(texts[0], str) else ("text_a", "text_b")


def text_columns(folder, chosen=None):
    """Return the columns that hold the texts: as chosen, or as the run was given them."""
    if chosen is None:
        stored = (folder / "manifest.json").is_file()
        return stored_settings(folder).text_column if stored else ("text",)
    return (chosen,) if isinstance(chosen, str) else tuple(chosen)


def predict(model, texts=None, data_file=None, output_file=None, text_column=None,
            delimiter=None, encoding="utf-8-sig", device="auto", download=False,
            guard_formulas=True, precision="float32", texts_b=None, calibrated=False):
    """Classify texts, a file's rows or the lines of standard input; return how many were written.

    Parameters
    ----------
    model : path
        Folder that `train` wrote.
    texts : list of str, optional
    data_file : path, optional
        CSV or JSON lines with the column `text_column`, two of them for pairs, by default that of
        the training rows; "-" is standard input, a text a line.
    output_file : path, optional
        CSV to write; by default it goes to standard output.
    guard_formulas : bool
        Put an apostrophe before cells that a spreadsheet would run.
    precision : str
        As of `Predictor`.
    texts_b : list of str, optional
        The second texts, for a model of pairs.
    calibrated : bool
        As of `Predictor`.
    """
    if (texts is None) == (data_file is None):
        raise ConfigError("predict needs texts (--text) or a file (--data_file, - is standard "
                          "input); expected one of the two")
    if output_file is not None and data_file is not None and os.path.exists(output_file) \
            and os.path.exists(data_file) and os.path.samefile(output_file, data_file):
        raise ConfigError(f"{output_file}: is the file to read; expected another to write")
    if texts_b is not None:
        if texts is None or len(texts) != len(texts_b):
            raise ConfigError(f"{len(texts_b)} second texts (--text_b); expected one for each text")
        texts = list(zip(texts, texts_b))
    device = choose_device(device)
    with join_processes(device) as processes:
        predictor = Predictor.load(model, device, download, processes, precision, calibrated)
        columns = text_columns(find_folder(model, WEIGHT_FILES, download), text_column)
        if texts and len(text_names(texts)) < len(columns):
            raise ConfigError(f"{model}: was trained on pairs; give the second text too (--text_b)")
        if texts:
            columns = text_names(texts)
        if texts is None and str(data_file) == "-":
            texts = _standard_input(encoding)
        elif texts is None:
            texts = processes.from_first(
                lambda: read_table(data_file, columns, None, delimiter, encoding).texts)
        rows, count = iter(texts), 0
        names = ("text_a", "text_b") if len(columns) == 2 else ("text",)
        header = predictor.task.header(predictor.classes, text_columns=names)
        with (PredictionWriter(sys.stdout if output_file is None else output_file, header,
                               guard_formulas)
              if processes.first else contextlib.nullcontext()) as writer:
            while chunk := processes.from_first(lambda: list(itertools.islice(rows, CHUNK))):
                logits, count = predictor.logits(chunk), count + len(chunk)
                if processes.first:
                    writer.write(predictor.task.cells(chunk, logits, predictor.config))
            if not count:
                raise DataError("no text to classify; expected at least one line")
        return count if processes.first else 0
