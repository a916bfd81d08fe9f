"""The settings of a training run, under the names the field uses."""

import dataclasses
from dataclasses import dataclass

from bert_kit.errors import TrainingError
from bert_kit.training.amp import PRECISIONS
from bert_kit.training.optim import SCHEDULES

STRATEGIES = ("no", "steps", "epoch")
LOWER_IS_BETTER = ("loss", "perplexity", "error", "mae", "mse", "rmse", "brier", "ece", "nll")


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
    learning_rate, weight_decay, max_grad_norm : float
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
    """

    output_dir: str | None = None
    num_train_epochs: int = 3
    max_steps: int = -1
    learning_rate: float = 5e-5
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

    def __post_init__(self):
        choices = {"lr_scheduler_type": SCHEDULES, "precision": PRECISIONS,
                   "eval_strategy": STRATEGIES, "save_strategy": STRATEGIES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} is {getattr(self, name)!r}; "
                                    f"expected one of {', '.join(allowed)}")
        for name in ("num_train_epochs", "gradient_accumulation_steps", "logging_steps",
                     "eval_steps", "save_steps", "save_total_limit"):
            value = getattr(self, name)
            if not _is_number(value, int) or value < 1:
                raise TrainingError(f"{name} is {value!r}; expected a whole number from 1")
        if not _is_number(self.max_steps, int) or (self.max_steps < 1 and self.max_steps != -1):
            raise TrainingError(f"max_steps is {self.max_steps!r}; expected a whole number from "
                                "1, or -1 to leave it to the epochs")
        for name in ("learning_rate", "weight_decay", "warmup_steps"):
            value = getattr(self, name)
            if not _is_number(value, int | float) or not 0 <= value < float("inf"):
                raise TrainingError(f"{name} is {value!r}; expected a number from 0")
        limit = self.max_grad_norm
        if limit is not None and (not _is_number(limit, int | float)
                                  or not 0 < limit < float("inf")):
            raise TrainingError(f"max_grad_norm is {limit!r}; expected a number above 0, or None")
        if self.load_best_model_at_end and "no" in (self.eval_strategy, self.save_strategy):
            raise TrainingError("load_best_model_at_end needs eval_strategy and save_strategy "
                                "other than 'no'")
        if self.output_dir is None and self.load_best_model_at_end:
            raise TrainingError("load_best_model_at_end needs an output_dir to save to")

    @property
    def best_metric(self):
        """The metric that decides, as it stands in the log: "eval_<name>"."""
        return "eval_" + self.metric_for_best_model.removeprefix("eval_")

    def is_better(self, value, best):
        """Say whether `value` beats `best`. NaN beats nothing; anything else beats None."""
        if value != value:
            return False
        if best is None:
            return True
        greater = self.greater_is_better
        if greater is None:
            greater = not self.best_metric.endswith(LOWER_IS_BETTER)
        return value > best if greater else value < best

    def to_dict(self):
        """Return the settings as plain values."""
        return {**dataclasses.asdict(self),
                "output_dir": None if self.output_dir is None else str(self.output_dir)}


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)
