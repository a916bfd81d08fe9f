"""The settings of a training run, under the names the field uses."""

import dataclasses
from dataclasses import dataclass

from bert_kit.checks import number, one_of, share, whole
from bert_kit.errors import TrainingError
from bert_kit.files import StrPath
from bert_kit.training.amp import PRECISIONS
from bert_kit.training.optim import MUON_FACTOR, OPTIMIZERS, SCHEDULES

STRATEGIES = ("no", "steps", "epoch")
CHOICES = {"lr_scheduler_type": SCHEDULES, "precision": PRECISIONS, "optim": OPTIMIZERS,
           "eval_strategy": STRATEGIES, "save_strategy": STRATEGIES, "verbosity": (0, 1, 2),
           "greater_is_better": (None, False, True), "load_best_model_at_end": (False, True)}
COUNTS = ("num_train_epochs", "gradient_accumulation_steps", "logging_steps", "eval_steps",
          "save_steps", "save_total_limit")
FROM_0 = ("learning_rate", "head_learning_rate", "muon_learning_rate", "weight_decay",
          "warmup_steps")
ABOVE_0 = ("max_grad_norm", "adam_epsilon", "time_limit")
MAY_BE_NONE = ("head_learning_rate", "muon_learning_rate", "max_grad_norm", "time_limit")
LOWER_IS_BETTER = ("loss", "perplexity", "error", "mae", "mse", "rmse", "brier", "brier_score",
                   "ece", "nll")


@dataclass(frozen=True)
class TrainingArguments:
    """How to train; checked when it is made, before any work.

    Attributes
    ----------
    output_dir
        Folder for checkpoints and logs; None saves nothing.
    num_train_epochs
        Passes over the data, unless `max_steps` is positive.
    max_steps
        Optimizer steps to take instead; -1 leaves it to the epochs.
    time_limit
        Seconds after which the run ends, with the step that passes it and an evaluation and a
        checkpoint as at any end. Earlier parts of a resumed run count.
    head_learning_rate
        Learning rate of what is not the encoder; None takes `learning_rate`.
    muon_learning_rate
        Learning rate of the matrices that move by Muon; None takes `MUON_FACTOR` times
        `learning_rate`.
    layer_decay
        Factor on the learning rate from one encoder layer to the one below; see
        `layerwise_rates`.
    optim
        "adamw", "muon", "adam", "sgd" or "rmsprop"; see `make_optimizer` for what they take of
        `betas`, `adam_epsilon` and `momentum`.
    warmup_steps
        Steps of rising learning rate; below 1 a share of all steps.
    lr_scheduler_type
        "linear", "cosine", "constant" or "wsd".
    gradient_accumulation_steps
        Batches that make one optimizer step.
    precision
        "float32", "bfloat16" or "float16".
    logging_steps
        A log row every so many steps.
    eval_strategy, save_strategy
        "no", "steps" or "epoch"; with "steps" every `eval_steps` and `save_steps`. The end of
        the run is always evaluated and saved unless the strategy is "no", and so is, unless
        `save_strategy` is "no", every evaluation that is the best so far.
    save_total_limit
        Newest checkpoints to keep; the best one is kept besides.
    metric_for_best_model
        Key of the evaluation's result, with or without "eval_".
    greater_is_better
        None takes False for names that end in `LOWER_IS_BETTER`, else True.
    load_best_model_at_end
        Put the best checkpoint's weights back when the run ends.
    verbosity
        0 shows only warnings, 1 progress, 2 the parameter groups and sizes at the start as well.
    """

    output_dir: StrPath | None = None
    num_train_epochs: int = 3
    max_steps: int = -1
    time_limit: float | None = None
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    muon_learning_rate: float | None = None
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

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            one_of(name, getattr(self, name), allowed, TrainingError)
        for name in COUNTS:
            whole(name, getattr(self, name), 1, error=TrainingError)
        if whole("max_steps", self.max_steps, -1, error=TrainingError) == 0:
            raise TrainingError("max_steps is 0; expected a whole number from 1, or -1 to leave it "
                                "to the epochs")
        for name in FROM_0 + ABOVE_0:
            value = getattr(self, name)
            if value is not None or name not in MAY_BE_NONE:
                number(name, value, 0, above=name in ABOVE_0, error=TrainingError,
                       also=", or None" if name in MAY_BE_NONE else "")
        share("layer_decay", self.layer_decay, above=True, error=TrainingError)
        share("momentum", self.momentum, below=True, error=TrainingError)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise TrainingError(f"betas is {self.betas!r}; expected two numbers from 0, below 1")
        for beta in self.betas:
            share("betas", beta, below=True, error=TrainingError)
        object.__setattr__(self, "betas", tuple(self.betas))  # a file of settings gives a list
        if self.load_best_model_at_end and "no" in (self.eval_strategy, self.save_strategy):
            raise TrainingError("load_best_model_at_end needs eval_strategy and save_strategy "
                                "other than 'no'")
        if self.output_dir is None and self.load_best_model_at_end:
            raise TrainingError("load_best_model_at_end needs an output_dir to save to")

    @property
    def muon_rate(self) -> float | None:
        """The rate of the matrices that move by Muon; None with another optimizer."""
        if self.optim != "muon":
            return None
        return (MUON_FACTOR * self.learning_rate if self.muon_learning_rate is None
                else self.muon_learning_rate)

    @property
    def best_metric(self) -> str:
        """The metric that decides, as it stands in the log: "eval_<name>"."""
        return "eval_" + self.metric_for_best_model.removeprefix("eval_")

    @property
    def more_is_better(self) -> bool:
        """Whether a greater value of the best metric is the better one."""
        if self.greater_is_better is None:
            return not self.best_metric.endswith(LOWER_IS_BETTER)
        return self.greater_is_better

    def is_better(self, value: float, best: float | None) -> bool:
        """Say whether `value` beats `best`. NaN beats nothing; anything else beats None."""
        if value != value:
            return False
        if best is None:
            return True
        return value > best if self.more_is_better else value < best

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain values, those of JSON."""
        plain = {name: value.item() if hasattr(value, "item") else value  # of numpy
                 for name, value in dataclasses.asdict(self).items()}
        return {**plain, "betas": list(self.betas),
                "output_dir": None if self.output_dir is None else str(self.output_dir)}
