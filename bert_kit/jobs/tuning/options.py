"""What a search is asked, besides what the training of its task is."""

import functools
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from bert_kit.errors import ConfigError, UsageError
from bert_kit.jobs.options.declare import Options, composed, option, with_defaults
from bert_kit.jobs.tasks.table import task_named
from bert_kit.jobs.tasks.texts import HEADS

SAMPLERS = ("tpe", "random", "grid", "halving", "hyperband", "pbt")
BY_TRIALS = SAMPLERS[:3]
BY_LEGS = SAMPLERS[3:]  # they train some epochs, and then decide who goes on
SCHEME = "dask://"  # of an executor
PRUNERS = ("median", "percentile", "none")
# Options that only some samplers use, and what they are there when nothing is said.
ONLY_WITH: dict[str, tuple[tuple[str, ...], Any]] = {
    "n_trials": (SAMPLERS[:4], 50), "pruner": (BY_TRIALS, "median"), "keep_top": (BY_TRIALS, 3),
    "folds": (BY_TRIALS, 0), "adaptive_stopping": (BY_TRIALS, False), "timeout": (BY_TRIALS, None),
    "population": (("pbt",), 4), "exploit": (("pbt",), 0.5), "quantile": (("pbt",), 0.2),
    "factors": (("pbt",), (0.8, 1.2))}


@dataclass(frozen=True)
class SearchOptions(Options):
    """What to search and how; what is given of a training is fixed, and what is left open tuned."""

    title: ClassVar[str] = "search"
    examples = ("bert-kit tune --data_file reviews.csv --model minilm --classifier bilstm",
                "bert-kit tune --task tagging --data_file folder --model minilm --n_trials 20")
    main = ("task", "model", "sampler", "n_trials", "space", "output_dir")

    sampler: str = option("tpe", "how parameters are drawn; halving and hyperband train many a "
                          "little and the best on, pbt changes them while a population trains",
                          "strategy", choices=SAMPLERS)
    n_trials: int | None = option(None, "trials in all (default: 50); hyperband and pbt have "
                                  "their own numbers", "max_trials", least=1, may_change=True)
    study_name: str | None = option(None, "folder of the search in output_dir; by default the "
                                    "name of the head or task, with a number where it is taken")
    space: str | None = option(None, "file with a search space of your own (.json, .toml, .yml)",
                               may_change=True)
    pruner: str | None = option(None, "end a trial that falls behind the others at the same "
                                "epoch (default: median)", choices=PRUNERS, may_change=True)
    folds: int = option(0, "score a trial by the mean over so many folds of the training and "
                        "validation rows", "cross_validation", "cv")
    population: int | None = option(None, "members of pbt (default: 4)", "population_size",
                                    least=2, may_change=True)
    exploit: float | None = option(
        None, "how likely one of the worst of pbt copies one of the best, not only changes its own "
        "(default: 0.5)", may_change=True)
    quantile: float | None = option(None, "share of pbt's members that changes, and that is copied "
                                    "(default: 0.2)", may_change=True)
    factors: tuple[float, ...] | None = option(
        None, "what pbt multiplies by in a change (default: 0.8 1.2)", may_change=True)
    timeout: float | None = option(None, "seconds after which no new trial begins",
                                   may_change=True)
    jobs: int | None = option(None, "trials at a time, each in a process of its own (default: 1; "
                              "with executor as many as it has workers)", "n_jobs", least=1,
                              most=1_024, may_change=True)
    executor: str | None = option(None, "scheduler of a Dask cluster whose workers run the trials, "
                                  "as dask://HOST:PORT", may_change=True)
    keep_top: int | None = option(None, "models of the best trials to keep (default: 3; with "
                                  "folds none)", least=0, may_change=True)
    train_best: bool = option(True, "train once more with the best, and score the test rows",
                              may_change=True)
    report: bool = option(False, "draw the search on one page, report.html", may_change=True)
    adaptive_stopping: bool = option(False, "stop early by several criteria, with more patience "
                                     "in later trials")
    resume: bool | str | None = option(None, "go on with an interrupted search", words=("auto",),
                                       may_change=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "resume", "auto" if self.resume else None)
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f"folds is {self.folds}; expected 0 for one validation part, or a "
                              "whole number from 2")
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"timeout is {self.timeout}; expected seconds above 0")
        for name in ("fast_dev_run", "overfit_batches", "minutes"):
            if getattr(self, name):
                raise UsageError(f"{name} has no meaning for a search; try it with train")
        if self.folds and self.sampler in BY_TRIALS:
            if self.keep_top:
                raise UsageError(f"keep_top is {self.keep_top}, but with folds no trial has one "
                                 "model to keep; leave keep_top or folds out")
            object.__setattr__(self, "keep_top", 0)
        for name, (samplers, default) in ONLY_WITH.items():
            value = getattr(self, name)
            if self.sampler in samplers and value is None:
                object.__setattr__(self, name, default)
            elif self.sampler not in samplers and value != getattr(type(self), name):
                raise UsageError(f"{name} is {value}, which {self.sampler} does not use; leave it "
                                 f"out, or choose {' or '.join(samplers)}")
        if self.executor is not None and not re.fullmatch(rf"{SCHEME}[^/\s]+:\d+", self.executor):
            raise ConfigError(f"executor is {self.executor!r}; expected {SCHEME}HOST:PORT, the "
                              "address of a Dask scheduler")
        if self.study_name is not None and (
                "/" in self.study_name or self.study_name in (".", "..")):
            raise ConfigError(f"study_name is {self.study_name!r}; expected the name of a folder")


@dataclass(frozen=True)
class HeadsOptions(Options):
    """For which heads of a text task to search, where it is for several."""

    title: ClassVar[str] = "search"

    all: bool = option(False, "search for every head, one after the other", "tune_all")
    classifiers: tuple[str, ...] | None = option(None, "search for these heads, one after the "
                                                 "other", "classifier_types",
                                                 choices=(*HEADS, "custom"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.all and self.classifiers:
            raise UsageError("all and classifiers are both set; expected one of them")
        if (self.all or self.classifiers) and getattr(self, "classifier", "mlp") != "mlp":
            raise UsageError("classifier is one head to search; leave it out beside all or "
                             "classifiers")


@functools.cache
def search_options(task: str) -> type[Any]:
    """Return the class of the options of a search: its own, and those of a task's training."""
    trained = task_named(task).options
    has_heads = hasattr(trained, "classifier")
    head: dict[str, Any] = {"classifier": "mlp"} if has_heads else {}
    return composed(f"Search{trained.__name__}", (
        SearchOptions, *[HeadsOptions] * has_heads, trained), with_defaults(
        {"batch_size": "rows in a batch; tuned by default",
         "learning_rate": "peak rate; tuned by default; auto finds one by a range test",
         "weight_decay": "of matrices; tuned by default",
         "warmup_steps": "steps of rising rate; below 1 a share; tuned by default",
         "output_dir": "where everything goes",
         **({"classifier": "which head (custom is mlp)"} if has_heads else {})},
        {"num_train_epochs": ("tuning_epochs",), "output_dir": ("hyperparams_dir",)},
        batch_size=None, learning_rate=None, weight_decay=None, warmup_steps=None,
        output_dir="hyperparams", **head))
