"""Tiny runs with two options changed, and what the one leaves of the other."""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import random
from pathlib import Path

import torch
from tiny_jobs import table

from bert_kit import BERTForMaskedLM, BertConfig, BertKitError, save_pretrained, train_tokenizer
from bert_kit.jobs.train import train

REFUSED = "refused"
# What a run has in which two options are changed.
BASE = {"data_file": "rows.csv", "model": "bert", "num_train_epochs": 1, "batch_size": 8,
        "max_length": 16, "learning_rate": 5e-3, "eval_steps": 1, "device": "cpu",
        "precision": "float32", "plots": False, "baselines": False, "verbosity": 0}
# Values that are not those of the base; of a dict each entry is set.
VALUES = {
    "label_smoothing": [0.2], "focal_gamma": [2.0], "class_weight": ["balanced"],
    "classifier": ["mlp", "cnn", "wavelet_kan"], "pooling": ["mean"], "last_layers": [2],
    "hidden_dims": [(6,)], "depth": [2], "activation": ["tanh"], "kernel_sizes": [(2,)],
    "num_filters": [3], "num_frequencies": [2], "num_wavelets": [3], "wavelet_type": ["haar"],
    "bert_hidden_size": [16],
    "data_file": ["others.csv"], "train_file": [{"train_file": "others.csv", "data_file": None}],
    "validation_file": [{"validation_file": "dev.csv", "data_file": None}],
    "test_file": [{"test_file": "dev.csv", "data_file": None}], "val_size": [0.3],
    "encoding": ["latin-1"], "text_column": [("other text",), ("text", "other text")],
    "delimiter": [";"], "quotes": [False], "bad_rows": ["skip"],
    "columns": [("text", "other text", "category", "other")],
    "label_column": [("other",)], "train_size": [0.5], "test_size": [0.3],
    "max_train_samples": [20],
    "output_dir": [None], "seed": [1], "threads": [1], "time_limit": [1e-9], "resume": ["auto"],
    "logging_steps": [1], "eval_steps": [2], "save_steps": [3], "save_total_limit": [1],
    "baselines": [True], "fast_dev_run": [True], "overfit_batches": [1], "strict": [True],
    "verbosity": [1],
    "early_stopping": [1], "min_delta": [9.0], "min_epochs": [1], "smoothing_window": [2],
    "trend_window": [2], "regression": [1e-3], "metric": ["loss"],
    "load_best_model_at_end": [False],
    "num_train_epochs": [2], "max_steps": [3], "min_steps": [6], "minutes": [0.01],
    "batch_size": [16], "gradient_accumulation_steps": [2], "learning_rate": [1e-3, "auto"],
    "head_learning_rate": [1e-2], "muon_learning_rate": [1e-2], "layer_decay": [0.5],
    "scale_with_classes": [False],
    "weight_decay": [0.3], "warmup_steps": [2], "lr_scheduler_type": ["cosine"],
    "optim": ["muon", "sgd", "rmsprop"], "betas": [(0.5, 0.9)], "adam_epsilon": [1e-3],
    "momentum": [0.5], "max_grad_norm": [0.01], "freeze_layers": [1, -1],
    "gradual_unfreezing": [True], "gradient_checkpointing": [True], "precision": ["bfloat16"],
    "group_by_length": [True], "memory_threshold": [0.5],
    "model": [{"model": None, "from_scratch": "bert-tiny"}], "download": [True],
    "from_scratch": ["bert-mini"], "do_lower_case": [False], "strip_accents": [False],
    "max_length": [8],
    "dropout": [0.5], "hidden_dropout_prob": [0.4], "attention_probs_dropout_prob": [0.4],
    "stride": [4], "window_pooling": ["max"], "hyperparams_dir": ["."]}
# Options that are the same in every run here.
LEFT_ALONE = {"task", "device", "plots"}

# ---- what may change nothing beside another, and why

# Of five evaluations, of five rows each, the same is the best by the loss and by F1.
BY_CHANCE = {"classifier", "data_file", "train_file", "label_column", "max_train_samples",
             "eval_steps", "batch_size", "optim", "freeze_layers", "gradual_unfreezing",
             "group_by_length", "model"}
# They say what is run instead: a step or two, on a few rows.
INSTEAD = {"fast_dev_run", "overfit_batches", "time_limit"}
INDIFFERENT = {
    ("num_train_epochs", "max_steps"): "steps instead of epochs",
    ("min_steps", "num_train_epochs"): "there are enough steps",
    ("data_file", "train_file"): "the value of train_file here has no data_file",
    ("encoding", "text_column"): "the other column is plain ASCII",
    ("classifier", "hidden_dims"): "widths mean the head mlp",
    ("classifier", "depth"): "a depth means the head mlp",
    ("layer_decay", "gradual_unfreezing"): "in the first epoch only the head is trained",
    ("logging_steps", "output_dir"): "without a folder there is no log file",
    ("eval_steps", "output_dir"): "without a folder there is no log file",
    ("metric", "output_dir"): "without a folder there is no checkpoint to go back to, as it says",
    ("early_stopping", "val_size"): "each evaluation is better than the last",
    ("save_steps", "early_stopping"): "the run ends before",
    ("save_steps", "metric"): "the third step is the best and saved anyway",
    ("save_steps", "val_size"): "the third step is the best and saved anyway",
    ("save_steps", "max_train_samples"): "an epoch has three steps",
    ("save_steps", "batch_size"): "an epoch has three steps",
    ("save_steps", "gradient_accumulation_steps"): "an epoch has three steps",
    ("save_steps", "max_steps"): "there are three steps",
    ("save_steps", "save_total_limit"): "only the last checkpoint and the best are left"}


def may_change_nothing(name, other):
    return (other in INSTEAD or (name, other) in INDIFFERENT
            or name == "metric" and other in BY_CHANCE)


# ---- runs

def write_rows(path, count, seed):
    """Texts that two columns have, with two labels, of unequal classes, some letters not ASCII."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "other text", "category", "other"])
        for text, label in zip(*table(count, seed)):
            words = text.split()
            label = "cold" if label == "warm" and rng.random() < 0.5 else label
            writer.writerow([text + " é", " ".join(reversed(words)), label, f"is {len(words) % 2}"])


def write_place(folder):
    """Write the files that a run names and a BERT of two layers, 16 wide."""
    for seed, (name, count) in enumerate((("rows", 50), ("others", 44), ("dev", 18))):
        write_rows(folder / f"{name}.csv", count, seed)
    tokenizer = train_tokenizer([*table()[0], "é Ã ©"], vocab_size=120, min_frequency=1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BERTForMaskedLM(BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=24, max_position_embeddings=40,
            initializer_range=0.2))
    save_pretrained(model, folder / "bert", tokenizer)
    return folder


class Runs:
    """Runs with some options changed, in a folder, each done once."""

    def __init__(self, folder):
        self.folder, self.done, self.number = write_place(folder), {}, itertools.count()

    def outcome(self, *options):
        """Return what a run with some (option, value) has left, or the line that refused it.

        No other error is caught.
        """
        changes = {}
        for name, value in options:
            changes |= value if isinstance(value, dict) else {name: value}
        key = json.dumps(changes, sort_keys=True)
        if key not in self.done:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as out:
                settings = {**BASE, "output_dir": f"run-{next(self.number)}", **changes}
                try:
                    results = train("classification", settings)
                    self.done[key] = left(settings["output_dir"], results, bool(out.getvalue()))
                except BertKitError as error:
                    self.done[key] = REFUSED, str(error)
        return self.done[key]

    def complaint(self, first, second):
        """Return what is wrong with two (option, value) together, or None."""
        both = self.outcome(first, second)
        if both[0] == REFUSED:
            return f"{first}, {second}: {both[1]!r} is not a line" if "\n" in both[1] else None
        for (name, value), (other, given) in ((first, second), (second, first)):
            if may_change_nothing(name, other) or both != self.outcome((other, given)):
                continue
            alone = self.outcome((name, value))
            if alone[0] != REFUSED and alone != self.outcome():
                return f"{name} {value} changes nothing beside {other} {given}"
        return None


def left(folder, results, spoke):
    """Return all in which two runs can differ but time, memory and where they are."""
    numbers = json.dumps({name: results.get(name) for name in (
        "validation", "test", "baselines", "steps", "parameters", "rows", "classes", "verdict")},
        default=str)
    if folder is None or not Path(folder).is_dir():
        return "done", numbers, spoke
    place = Path(folder)
    files = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    weights = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    return "done", numbers, spoke, files, weights, (place / "metrics.csv").read_text()


def pairs_of(names):
    """Return every two (option, value) of different options among some."""
    one = [(name, value) for name in names for value in VALUES[name]]
    return [pair for pair in itertools.combinations(one, 2) if pair[0][0] != pair[1][0]]
