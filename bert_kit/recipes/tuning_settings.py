"""Every option of a search: those of training, and how to search.

What is given is fixed; what is left open is tuned, where the search space has it.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from bert_kit.errors import ConfigError, UsageError
from bert_kit.recipes.options import option
from bert_kit.recipes.settings import HEADS, ClassificationSettings

SAMPLERS = ("tpe", "random", "grid", "halving", "hyperband", "pbt")
BY_TRIALS = SAMPLERS[:3]
BY_LEGS = SAMPLERS[3:]  # they train some epochs, and then decide who goes on
PRUNERS = ("median", "percentile", "none")
# Options that only some samplers use, and what they are there when nothing is said.
ONLY_WITH = {"n_trials": (SAMPLERS[:4], 50), "pruner": (BY_TRIALS, "median"),
             "keep_top": (BY_TRIALS, 3), "population": (("pbt",), 4), "folds": (BY_TRIALS, 0),
             "adaptive_stopping": (BY_TRIALS, False), "timeout": (BY_TRIALS, None)}

_data = partial(option, group="data")
_head = partial(option, group="head")
_search = partial(option, group="search")
_training = partial(option, group="training")
_stopping = partial(option, group="early stopping")
_running = partial(option, group="running")


@dataclass(frozen=True)
class TuningSettings(ClassificationSettings):
    """What to search and how; checked when it is made, before any work.

    The fields are described by their help texts: `python -m bert_kit tune --help`.
    """

    job: ClassVar[str] = "tune"

    sampler: str = _search("tpe", "how parameters are drawn; halving and hyperband train many a "
                           "little and the best on, pbt changes them while a population trains",
                           "strategy", choices=SAMPLERS)
    n_trials: int | None = _search(None, "trials in all (default: 50); hyperband and pbt have "
                                   "their own numbers", "max_trials")
    study_name: str | None = _search(None, "folder of the search in output_dir; by default the "
                                     "head's name, with a number where it is taken")
    space: str | None = _search(None, "file with a search space of your own (.json, .toml, .yml)")
    pruner: str | None = _search(None, "end a trial that falls behind the others at the same "
                                 "epoch (default: median)", choices=PRUNERS)
    folds: int = _data(0, "score a trial by the mean over so many folds of the training and "
                       "validation rows", "cross_validation", "cv")
    population: int | None = _search(None, "members of pbt (default: 4)", "population_size")
    timeout: float | None = _search(None, "seconds after which no new trial begins")
    jobs: int = _running(1, "trials at a time, each in a process of its own", "n_jobs")
    keep_top: int | None = _running(None, "models of the best trials to keep (default: 3; with "
                                    "folds none)")
    train_best: bool = _running(True, "train once more with the best, and score the test rows")
    report: bool = _running(False, "draw the search on one page, report.html")

    classifier: str = _head("mlp", "which head (custom is mlp)", "classifier_type",
                            choices=(*HEADS, "custom"))
    num_train_epochs: int | None = _training(
        None, "passes over the data; 3 with weights, 6 from scratch", "epochs", "num_epochs",
        "tuning_epochs")
    batch_size: int | None = _training(None, "rows in a batch; tuned by default",
                                       "per_device_train_batch_size")
    learning_rate: float | str | None = _training(
        None, "peak rate; tuned by default; auto finds one by a range test", "lr",
        words=("auto",))
    weight_decay: float | None = _training(None, "of matrices; tuned by default")
    warmup_steps: float | None = _training(
        None, "steps of rising rate; below 1 a share; tuned by default", "warmup_ratio")
    adaptive_stopping: bool = _stopping(
        False, "stop early by several criteria, with more patience in later trials")

    output_dir: str = _running("hyperparams", "where everything goes", "output_root", "save_dir",
                               "hyperparams_dir")
    resume: bool | str | None = _running(None, "go on with an interrupted search", words=("auto",))

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "resume", "auto" if self.resume else None)
        self._check_given("study_name", "space")
        self._check_least(n_trials=1, population=2, jobs=1, keep_top=0)
        if self.task != "classification":
            raise ConfigError(f"a search is for one class a row, not {self.task}; try settings "
                              "with train")
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f"folds is {self.folds}; expected 0 for one validation part, or a "
                              "whole number from 2")
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"timeout is {self.timeout}; expected seconds above 0")
        for name in ("fast_dev_run", "overfit_batches"):
            if getattr(self, name):
                raise ConfigError(f"{name} has no meaning for a search; try it with train")
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
        if self.study_name is not None and (
                "/" in self.study_name or self.study_name in (".", "..")):
            raise ConfigError(f"study_name is {self.study_name!r}; expected the name of a folder")
