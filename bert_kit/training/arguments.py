"""The settings of a training run, under the names the field uses."""

import dataclasses
from dataclasses import dataclass

from bert_kit.errors import TrainingError
from bert_kit.training.amp import PRECISIONS
from bert_kit.training.optim import OPTIMIZERS, SCHEDULES

STRATEGIES = ("no", "steps", "epoch")
CHOICES = {"lr_scheduler_type": SCHEDULES, "precision": PRECISIONS, "optim": OPTIMIZERS,
           "eval_strategy": STRATEGIES, "save_strategy": STRATEGIES, "verbosity": (0, 1, 2)}
COUNTS = ("num_train_epochs", "gradient_accumulation_steps", "logging_steps", "eval_steps",
          "save_steps", "save_total_limit")
FROM_0 = (lambda value: value >= 0, "from 0")
ABOVE_0 = (lambda value: value > 0, "above 0")
RANGES = {"learning_rate": FROM_0, "head_learning_rate": FROM_0, "weight_decay": FROM_0,
          "warmup_steps": FROM_0, "max_grad_norm": ABOVE_0, "adam_epsilon": ABOVE_0,
          "time_limit": ABOVE_0,
          "layer_decay": (lambda value: 0 < value <= 1, "above 0, at most 1"),
          "momentum": (lambda value: 0 <= value < 1, "from 0, below 1")}
MAY_BE_NONE = ("head_learning_rate", "max_grad_norm", "time_limit")
LOWER_IS_BETTER = ("loss", "perplexity", "error", "mae", "mse", "rmse", "brier", "brier_score",
                   "ece", "nll")


@dataclass(frozen=True)
class TrainingArguments:
    """How to train; checked when it is made, before any work.

    Attributes
    ----------
    output_dir : str or None
        Folder for checkpoints and logs; None saves nothing.
    num_train_epochs : int
        Passes over the data, unless `max_steps` is positive.
    max_steps : int
        Optimizer steps to take instead; -1 leaves it to the epochs.
    time_limit : float or None
        Seconds after which the run ends, with the step that passes it and an evaluation and a
        checkpoint as at any end. Earlier parts of a resumed run count.
    learning_rate, weight_decay, max_grad_norm : float
    head_learning_rate : float or None
        Learning rate of what is not the encoder; None takes `learning_rate`.
    layer_decay : float
        Factor on the learning rate from one encoder layer to the one below; see
        `layerwise_rates`.
    optim : str
        "adamw", "adam", "sgd" or "rmsprop"; see `make_optimizer` for what they take of the next
        three.
    betas : (float, float)
    adam_epsilon : float
    momentum : float
    warmup_steps : float
        Steps of rising learning rate; below 1 a share of all steps.
    lr_scheduler_type : str
        "linear", "cosine" or "constant".
    gradient_accumulation_steps : int
        Batches that make one optimizer step.
    precision : str
        "float32", "bfloat16" or "float16".
    logging_steps : int
        A log row every so many steps.
    eval_strategy, save_strategy : str
        "no", "steps" or "epoch"; with "steps" every `eval_steps` and `save_steps`. The end of
        the run is always evaluated and saved unless the strategy is "no", and so is, unless
        `save_strategy` is "no", every evaluation that is the best so far.
    save_total_limit : int
        Newest checkpoints to keep; the best one is kept besides.
    metric_for_best_model : str
        Key of the evaluation's result, with or without "eval_".
    greater_is_better : bool or None
        None takes False for names that end in `LOWER_IS_BETTER`, else True.
    load_best_model_at_end : bool
        Put the best checkpoint's weights back when the run ends.
    verbosity : int
        0 shows only warnings, 1 progress, 2 the parameter groups and sizes at the start as well.
    """

    output_dir: str | None = None
    num_train_epochs: int = 3
    max_steps: int = -1
    time_limit: float | None = None
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    layer_decay: float = 1.0
    optim: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-8
    momentum: float = 0.9
    weight_decay: float = 0.01
    max_grad_norm: float | None = 1.0
    warmup_steps: float = 0.1
    lr_scheduler_type: str = "linear"
    gradient_accumulation_steps: int = 1
    precision: str = "float32"
    logging_steps: int = 10
    eval_strategy: str = "epoch"
    eval_steps: int = 100
    save_strategy: str = "epoch"
    save_steps: int = 100
    save_total_limit: int = 2
    metric_for_best_model: str = "loss"
    greater_is_better: bool | None = None
    load_best_model_at_end: bool = False
    verbosity: int = 1

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} is {getattr(self, name)!r}; "
                                    f"expected one of {', '.join(map(str, allowed))}")
        for name in COUNTS:
            value = getattr(self, name)
            if not _is_number(value, int) or value < 1:
                raise TrainingError(f"{name} is {value!r}; expected a whole number from 1")
        if not _is_number(self.max_steps, int) or (self.max_steps < 1 and self.max_steps != -1):
            raise TrainingError(f"max_steps is {self.max_steps!r}; expected a whole number from "
                                "1, or -1 to leave it to the epochs")
        for name, (fits, expected) in RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in MAY_BE_NONE) and not (
                    _is_number(value, int | float) and fits(value) and value < float("inf")):
                none = ", or None" if name in MAY_BE_NONE else ""
                raise TrainingError(f"{name} is {value!r}; expected a number {expected}{none}")
        if not (isinstance(self.betas, tuple | list) and len(self.betas) == 2 and all(
                _is_number(beta, int | float) and 0 <= beta < 1 for beta in self.betas)):
            raise TrainingError(f"betas is {self.betas!r}; expected two numbers from 0, below 1")
        object.__setattr__(self, "betas", tuple(self.betas))  # a file of settings gives a list
        if self.load_best_model_at_end and "no" in (self.eval_strategy, self.save_strategy):
            raise TrainingError("load_best_model_at_end needs eval_strategy and save_strategy "
                                "other than 'no'")
        if self.output_dir is None and self.load_best_model_at_end:
            raise TrainingError("load_best_model_at_end needs an output_dir to save to")

    @property
    def best_metric(self):
        """The metric that decides, as it stands in the log: "eval_<name>"."""
        return "eval_" + self.metric_for_best_model.removeprefix("eval_")

    @property
    def more_is_better(self):
        """Whether a greater value of the best metric is the better one."""
        if self.greater_is_better is None:
            return not self.best_metric.endswith(LOWER_IS_BETTER)
        return self.greater_is_better

    def is_better(self, value, best):
        """Say whether `value` beats `best`. NaN beats nothing; anything else beats None."""
        if value != value:
            return False
        if best is None:
            return True
        return value > best if self.more_is_better else value < best

    def to_dict(self):
        """Return the settings as plain values, those of JSON."""
        return {**dataclasses.asdict(self), "betas": list(self.betas),
                "output_dir": None if self.output_dir is None else str(self.output_dir)}


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)
