"""Every option of the training jobs: flag, config-file key and Python argument in one.

`RunSettings` is what they share; the class of a job adds its own, and says its own defaults anew.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bert_kit.errors import ConfigError
from bert_kit.files import numbered_folder
from bert_kit.recipes.options import check_fields, option

HEADS = ("standard", "mlp", "bilstm", "attention", "cnn", "fourier_kan", "wavelet_kan")
# Of each task: the columns that hold the label, and the metrics. The first is the default.
LABEL_COLUMNS = {"classification": "category", "multi_label": "labels", "regression": "label"}
METRICS = {
    "classification": ("f1_macro", "accuracy", "precision", "recall", "f1", "f1_micro",
                       "f1_weighted", "matthews_correlation", "loss"),
    "multi_label": ("f1_micro", "f1_macro", "f1_weighted", "f1_samples", "jaccard", "exact_match",
                    "label_ranking_average_precision", "loss"),
    "regression": ("spearman", "pearson", "loss"),
}

_data = partial(option, group="data")
_model = partial(option, group="model")
_head = partial(option, group="head")
_masking = partial(option, group="masking")
_training = partial(option, group="training")
_stopping = partial(option, group="early stopping")
_running = partial(option, group="running")


@dataclass(frozen=True)
class RunSettings:
    """What every training job asks: from which model, how to train, where everything goes."""

    job: ClassVar[str]  # its name on the command line

    model: str | None = _model(
        None, "folder or name of a BERT to start from; without it a small one is trained from "
        "nothing", "model_name", "model_path", "model_name_or_path", "weights")
    download: bool = _model(False, "allow the Hugging Face hub to be asked")
    from_scratch: str = _model("bert-mini", "size of a model without weights")
    max_length: int = _model(128, "tokens in a row; the rest of a text is cut off", "max_seq_len",
                             "max_seq_length")

    num_train_epochs: int | None = _training(
        None, "passes over the data; 3 with weights, 6 from scratch", "epochs", "num_epochs")
    max_steps: int = _training(-1, "optimizer steps instead of epochs, where above 0")
    batch_size: int = _training(32, "rows in a batch, of all processes together",
                                "per_device_train_batch_size")
    gradient_accumulation_steps: int = _training(1, "batches in a step")
    learning_rate: float | str | None = _training(
        None, "peak rate; 5e-5 with weights, 5e-4 from scratch; auto finds one by a range test",
        "lr", words=("auto",))
    weight_decay: float = _training(0.01, "of matrices; vectors do not decay")
    warmup_steps: float = _training(0.1, "steps of rising rate; below 1 a share", "warmup_ratio")
    lr_scheduler_type: str = _training("linear", "linear, cosine or constant")
    optim: str = _training("adamw", "which optimizer", "optimizer", "optimizer_choice",
                           choices=("adamw", "adam", "sgd", "rmsprop"))
    betas: tuple[float, float] = _training((0.9, 0.999), "moments of adam and adamw")
    adam_epsilon: float = _training(1e-8, "added to adam's denominator", "eps")
    momentum: float = _training(0.9, "of sgd and rmsprop")
    max_grad_norm: float = _training(1.0, "longest gradient")
    gradient_checkpointing: bool = _training(False, "less memory for about a third more time")
    precision: str | None = _training(None, "by default what the machine is fast in",
                                      choices=("float32", "bfloat16", "float16"))
    group_by_length: bool = _training(False, "put rows of similar length together")
    memory_threshold: float | None = _training(
        None, "cut batches into smaller pieces above this share of memory, as .85")

    output_dir: str | None = _running(
        "runs/NAME", "where everything goes; by default runs/NAME, runs/NAME-2 and so on",
        "output_root", "save_dir")
    seed: int = _running(0, "of everything random", "random_state")
    device: str = _running("auto", "auto, cpu, cuda or mps")
    time_limit: float | None = _running(None, "seconds of training at most")
    resume: str | None = _running(None, "go on with an interrupted run", choices=("auto",))
    logging_steps: int = _running(20, "a log row every so many steps")
    save_total_limit: int = _running(2, "newest checkpoints to keep, besides the best")
    plots: bool = _running(True, "draw pictures where matplotlib is installed")
    verbosity: int = _running(1, "0 warnings, 1 progress, 2 every detail", choices=(0, 1, 2))

    def __post_init__(self):
        check_fields(self)
        self._check_given("model", "output_dir")
        self._check_least(batch_size=1, max_length=3, seed=0)

    def _check_given(self, *paths):
        for name in paths:
            if getattr(self, name) in ("", (), ("",)):  # often a shell variable that is not set
                raise ConfigError(f"{name} is empty; expected a path, or leave it out")

    def _check_least(self, **limits):
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value < 2**32:
                raise ConfigError(f"{name} is {value}; expected a whole number from {least}, below "
                                  "2**32")

    def in_folder(self, name):
        """Return settings with a real output folder where none was chosen.

        That is runs/<name>, or with a number the first that is not there yet; a resumed run takes
        the last one that is.
        """
        if self.output_dir != type(self).output_dir:
            return self
        return self.replace(output_dir=str(numbered_folder("runs", name, self.resume is not None)))

    def training_options(self):
        """Return what TrainingArguments takes as it stands, whatever the job."""
        return {name: getattr(self, name) for name in (
            "output_dir", "max_steps", "weight_decay", "max_grad_norm", "warmup_steps",
            "lr_scheduler_type", "gradient_accumulation_steps", "logging_steps",
            "save_total_limit", "optim", "betas", "adam_epsilon", "momentum", "time_limit",
            "verbosity")}

    def say(self, text):
        """Print a line, unless only warnings are wanted."""
        if self.verbosity:
            print(text)

    def replace(self, **changes):
        """Return a copy with some fields changed, checked like any other."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """Return the settings as plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ClassificationSettings(RunSettings):
    """What to train a classifier on and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit train --help`.
    """

    job: ClassVar[str] = "train"

    task: str = _data("classification", "what a text has: one class, any number of labels, or a "
                      "number", choices=tuple(METRICS))
    data_file: str | None = _data(
        None, "file with the columns text,category, or a folder with train, dev and test files; "
        "without any file the docstring task is used", "data_path", "dataset_path")
    train_file: str | None = _data(None, "file to train on, used as it is")
    validation_file: str | None = _data(None, "file to choose the best epoch on", "val_file",
                                        "dev_file")
    test_file: str | None = _data(None, "file to score once, at the end")
    text_column: tuple[str, ...] = _data(
        ("text",), "name of the column with the texts; two of them for pairs")
    label_column: tuple[str, ...] | None = _data(
        None, "name of the column with the label; by default category, for multi_label labels, for "
        "regression label; several are columns of 0 and 1, a label each")
    label_separator: str = _data("|", "between the labels of a cell")
    delimiter: str | None = _data(None, "of CSV fields; a comma, or a tab for .tsv")
    encoding: str = _data("utf-8-sig", "of the files; never guessed")
    train_size: float | None = _data(None, "share of the rows to train on; the rest by default")
    val_size: float = _data(0.1, "share to choose the best epoch on")
    test_size: float = _data(0.1, "share to score at the end")
    max_train_samples: int | None = _data(None, "train on so many rows, stratified")

    stride: int = _model(0, "read a longer text in windows that begin so many tokens apart; 0 cuts "
                         "it off")
    window_pooling: str = _model("mean", "how the logits of windows become one",
                                 choices=("mean", "max"))
    bert_hidden_size: int | None = _model(None, "what the encoder's width must be, as a check")

    classifier: str | None = _head(
        None, "which head (custom is mlp); standard, or mlp where its widths are given",
        "classifier_type", choices=(*HEADS, "custom"))
    dropout: float | None = _head(None, "dropout in the head; the model's own by default",
                                  "dropout_rate", "classifier_dropout")
    pooling: str | None = _head(None, "how token vectors become one")
    last_layers: int | None = _head(None, "how many last layers the head sees")
    hidden_dims: tuple[int, ...] | None = _head(None, "widths of the mlp head", "hidden_dim")
    depth: int | None = _head(None, "layers of the mlp head, sizes falling evenly",
                              "num_hidden_layers")
    activation: str | None = _head(None, "relu, gelu, silu or tanh of the mlp head")
    kernel_sizes: tuple[int, ...] | None = _head(None, "tokens under each cnn filter")
    num_filters: int | None = _head(None, "cnn filters of each size")
    num_frequencies: int | None = _head(None, "of the fourier_kan head (wavelet_kan: wavelets)")
    num_wavelets: int | None = _head(None, "of the wavelet_kan head")
    wavelet_type: str | None = _head(None, "mixed, haar, mexican or morlet")

    head_learning_rate: float | None = _training(
        None, "rate of the head; with weights 10 times the other, but for the standard head",
        "classifier_learning_rate")
    layer_decay: float = _training(1.0, "factor on the rate for each layer further down")
    label_smoothing: float = _training(0.0, "share given to the other classes",
                                       "label_smoothing_factor")
    focal_gamma: float = _training(0.0, "focus on hard rows; 0 is cross-entropy")
    asymmetric: bool = _training(False, "the asymmetric loss of labels: easy absent ones hardly "
                                 "count")
    class_weight: str | None = _training(None, "balanced weighs rare classes or labels up",
                                         choices=("balanced",))
    freeze_layers: int = _training(0, "keep embeddings and so many blocks; -1 the whole encoder")
    gradual_unfreezing: bool = _training(False, "unfreeze one block more each epoch, from the top")

    early_stopping: int = _stopping(0, "evaluations without improvement to bear; 0 is off",
                                    "early_stopping_patience", "patience")
    min_delta: float = _stopping(0.0, "least change that is an improvement",
                                 "early_stopping_threshold", "improvement_threshold")
    min_epochs: int = _stopping(0, "never stop before")
    smoothing_window: int = _stopping(1, "evaluations to average over")
    trend_window: int | None = _stopping(None, "stop when the metric falls over so many")
    regression: float | None = _stopping(None, "stop when it lies so far below the best, as .2")
    metric: str | None = _stopping(
        None, "what decides which epoch is best; by default f1_macro, for multi_label f1_micro, "
        "for regression spearman", "metric_for_best_model")
    load_best_model_at_end: bool = _stopping(True, "keep the best epoch, not the last")

    output_dir: str | None = _running(
        "runs/HEAD", "where everything goes; by default runs/HEAD, runs/HEAD-2 and so on",
        "output_root", "save_dir")
    baselines: bool = _running(True, "score the majority class and TF-IDF beside BERT")
    threads: int | None = _running(None, "of torch on a CPU; the same number gives the same bits")
    fast_dev_run: bool = _running(False, "try everything on a few rows and keep nothing")
    overfit_batches: int | None = _running(None, "train and score on the same so many batches")

    def __post_init__(self):
        super().__post_init__()
        if self.classifier is None:
            mlp = self.hidden_dims is not None or self.depth is not None
            object.__setattr__(self, "classifier", "mlp" if mlp else "standard")
        elif self.classifier == "custom":
            object.__setattr__(self, "classifier", "mlp")
        self._set_by_task()
        self._check_given("data_file", "train_file", "validation_file", "test_file", "text_column",
                          "label_column")
        self._check_least(early_stopping=0, stride=0, max_train_samples=1, overfit_batches=1,
                          threads=1)

    def _set_by_task(self):
        """Fill in what depends on the task, and refuse what it does not have."""
        metrics = METRICS[self.task]
        if self.metric is None:
            object.__setattr__(self, "metric", metrics[0])
        if self.metric not in metrics:
            raise ConfigError(f"metric is {self.metric!r}; expected one of {', '.join(metrics)} "
                              f"for {self.task}")
        if self.label_column is None:
            object.__setattr__(self, "label_column", (LABEL_COLUMNS[self.task],))
        if len(self.text_column) > 2:
            raise ConfigError(f"text_column names {len(self.text_column)} columns; expected one, "
                              "or two for pairs")
        if len(self.label_column) > 1 and self.task != "multi_label":
            raise ConfigError(f"label_column names {len(self.label_column)} columns; expected one "
                              f"for {self.task}")


@dataclass(frozen=True)
class PretrainingSettings(RunSettings):
    """What to pre-train on and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit pretrain --help`.
    """

    job: ClassVar[str] = "pretrain"

    train_file: tuple[str, ...] | None = _data(
        None, "text (.txt: an empty line between documents, else a line each) or .jsonl (field "
        "text); by default the docstrings of the installed packages")
    validation_file: tuple[str, ...] | None = _data(
        None, "text to measure on; by default a share is held out")
    val_size: float | None = _data(
        None, "share of the documents held out; .05, of the docstrings .2 of the source files")
    max_eval_samples: int = _data(1_000, "measure on at most so many documents, evenly spread")
    store: str | None = _data(
        None, "folder for the tokens of train_file, made or used again; for text beyond memory")
    workers: int = _data(1, "processes that fill the store", "preprocessing_num_workers")
    tokenizer: str | None = _data(
        None, "folder or name of a tokenizer; by default the model's, else one is learned",
        "tokenizer_name")
    vocab_size: int = _data(
        8_000, "pieces of a tokenizer that is learned, from the first 20 MB of the text")

    max_length: int = _model(
        128, "tokens in a row, and positions of a new model; a longer text fills several rows",
        "max_seq_len", "max_seq_length")
    dropout: float | None = _model(None, "by default 0 from scratch, else the model's own")

    mask_probability: float = _masking(0.15, "share of the tokens to predict", "mlm_probability")
    whole_word: bool = _masking(False, "mask all pieces of a word or none", "whole_word_mask")
    nsp: bool = _masking(False, "predict next sentences too; a line of a file is a sentence")

    num_train_epochs: int = _training(1, "passes over the text", "epochs", "num_epochs")
    learning_rate: float | None = _training(
        None, "peak rate; 1e-4 with weights, 1e-3 from scratch", "lr")
    group_by_length: bool = _training(True, "put rows of similar length together")

    output_dir: str = _running(
        "runs/pretrained-N", "where everything goes; by default runs/pretrained, runs/pretrained-2 "
        "and so on", "output_root", "save_dir")
    eval_steps: int | None = _running(None, "measure every so many steps, not every epoch")
    save_steps: int | None = _running(
        1_000, "save every so many steps, at the end, and where the loss measured is the best yet")

    def __post_init__(self):
        super().__post_init__()
        self._check_given("train_file", "validation_file", "store", "tokenizer")
        self._check_least(max_eval_samples=1, workers=1, vocab_size=1, eval_steps=1, save_steps=1)
        if self.val_size is not None and not 0 <= self.val_size < 1:
            raise ConfigError(f"val_size is {self.val_size}; expected a share from 0, below 1")
        if self.dropout is not None and not 0 <= self.dropout <= 1:
            raise ConfigError(f"dropout is {self.dropout}; expected a share from 0 to 1")
        if self.nsp and self.max_length < 5:
            raise ConfigError(f"max_length is {self.max_length}; expected at least 5 with nsp, for "
                              "two sentences")
        if not 0 < self.mask_probability <= 1:
            raise ConfigError(f"mask_probability is {self.mask_probability}; expected a share "
                              "above 0, at most 1")


@dataclass(frozen=True)
class SimilaritySettings(RunSettings):
    """What to train a sentence encoder on and how; checked when it is made, before any work.

    The files are tables with the columns text_a, text_b and label, a number. The fields are
    described by their help texts: `python -m bert_kit embed --help`.
    """

    job: ClassVar[str] = "similarity"

    model: str | None = _model(None, "sentence encoder, or a BERT with a pooling: folder or name",
                               "model_name", "model_path", "model_name_or_path", "weights")

    train_file: str | None = _data(None, "pairs to train on: text_a, text_b and label, a number")
    validation_file: str | None = _data(None, "pairs to choose the best epoch on", "val_file",
                                        "dev_file")
    test_file: str | None = _data(None, "pairs to score at the end")
    delimiter: str | None = _data(None, "of CSV fields; a comma, or a tab for .tsv")
    encoding: str = _data("utf-8-sig", "of the files; never guessed")

    pooling: str | None = _model(None, "how token vectors become one, where the model's folder "
                                 "does not say", choices=("cls", "mean", "max"))
    max_length: int | None = _model(None, "tokens of a text; by default the model's own",
                                    "max_seq_len", "max_seq_length")

    num_train_epochs: int = _training(4, "passes over the pairs", "epochs", "num_epochs")
    learning_rate: float = _training(5e-5, "peak rate", "lr")

    output_dir: str = _running(
        "runs/similarity-N", "where everything goes; by default runs/similarity, "
        "runs/similarity-2 and so on", "output_root", "save_dir")

    def __post_init__(self):
        super().__post_init__()
        self._check_given("train_file", "validation_file", "test_file")
