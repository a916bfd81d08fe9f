"""What a training does where nothing is said: length, dropout, learning rates and steps."""

import math
from collections.abc import Sequence
from typing import Any

from bert_kit.config import BertConfig, create_model_config
from bert_kit.errors import ConfigError
from bert_kit.jobs.options.groups import TrainOptions
from bert_kit.jobs.run.task import Task

MIN_STEPS = 200  # fewer leave a fine-tuned model at the commonest class, see docs/classification.md
DROPOUT = 0.1
ENCODER_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
# The highest learning rate times width at which an encoder with weights still learned when all of
# it was fine-tuned; see docs/classification.md.
SURVIVED = {"adamw": 0.4, "adam": 0.4, "rmsprop": 0.4, "muon": 0.4}
NARROW = 256  # a model of this width or less wants a higher rate than published ones


def default_length(task: Task, options: TrainOptions, default: int | None = None) -> int:
    """Return `max_length`, or the model's positions if they are fewer and it is the default.

    Any other `max_length` that is too long stays, and `starting_config` refuses it.
    """
    default = type(options).max_length if default is None else default
    if options.model is None or default is None or options.max_length != default:
        return options.max_length
    return min(default, BertConfig.load(task.start_folder(options)).max_position_embeddings)


def within_positions(task: Task, options: TrainOptions, default: int | None = None) -> TrainOptions:
    """Return options with their `default_length`; a job begins with it, and says so once."""
    length = default_length(task, options, default)
    if length == options.max_length:
        return options
    options.say(f"note      max_length is {length}: {options.model} has no more positions")
    return options.replace(max_length=length)


def starting_config(task: Task, options: TrainOptions) -> BertConfig:
    """Return the BertConfig that a run begins with; the vocabulary of a new model is not known yet.

    Raises
    ------
    BertKitError
        If there is no such model, or `max_length` is beyond its positions.
    """
    if options.model is None:
        length = {} if options.max_length is None else {
            "max_position_embeddings": options.max_length}
        return create_model_config(options.from_scratch, **length)
    config = BertConfig.load(task.start_folder(options))
    if options.max_length is not None and options.max_length > config.max_position_embeddings:
        raise ConfigError(f"max_length is {options.max_length}; {options.model} has "
                          f"{config.max_position_embeddings} positions")
    return config


def usual_rate(task: Task, options: TrainOptions, width: int) -> float:
    """Return the learning rate to advise: that of the task, or a narrow model's with weights.

    It is the default but for narrow models with weights, whose default is the same as of all.
    """
    rate = task.rates[options.model is None]
    if options.model is None or not task.fine_tunes or width > NARROW:
        return rate
    return narrow_rate(width)


def narrow_rate(width: int) -> float:
    """Return the rate of fine-tuning a small model that has seen little text: 5e-4 at 256."""
    return min(5e-4 * (NARROW / width)**2, SURVIVED["adamw"] / width / 2)


def highest_rate(task: Task, options: TrainOptions, config: BertConfig) -> float:
    """Return the highest learning rate at which the weights to start from keep what they know."""
    frozen = options.freeze_layers in (-1, config.num_hidden_layers)
    if not task.fine_tunes or options.model is None or frozen:
        return math.inf
    return SURVIVED.get(options.optim, math.inf) / config.hidden_size


def explicit_rates(task: Task, options: TrainOptions, classes: Sequence[str]) -> TrainOptions:
    """Return options that say the head's rate where the encoder's is one that a job refuses alone.

    A search may have found it; a training with what it found is to be the same.
    """
    rate = options.learning_rate
    if (isinstance(rate, float) and task.has_head and options.head_learning_rate is None
            and rate > highest_rate(task, options, starting_config(task, options))):
        factor = task.head_factor(options, classes) or 1.0
        return options.replace(head_learning_rate=rate * factor)
    return options


def default_dropout(task: Task, options: TrainOptions, before: BertConfig) -> dict[str, float]:
    """Return the encoder's dropout where weights to be fine-tuned come without any.

    A pre-training that sees its text once or twice needs none; a fine-tuning that goes over few
    rows many times does (Devlin et al. 2019, appendix A.2: .1).
    """
    given = options.dropout is not None and not task.drops_in_head
    if options.model is None or not task.fine_tunes or given:
        return {}
    return {name: DROPOUT for name in ENCODER_DROPOUT
            if getattr(before, name) == 0 and getattr(options, name) is None}


def chosen_dropout(options: TrainOptions) -> dict[str, Any]:
    """Return the encoder's dropout as far as the options say it."""
    return {name: getattr(options, name) for name in ENCODER_DROPOUT
            if getattr(options, name) not in (None, "own")}


def dropout_note(task: Task, options: TrainOptions) -> str | None:
    """Return a line on dropout that is not what the start's folder stores, or None."""
    changed = default_dropout(task, options, starting_config(task, options))
    if not changed:
        return None
    return (f"note      {options.model} stores dropout 0; this training has {DROPOUT} "
            f"({', '.join(f'--{name}' for name in changed)})")


def usual_epochs(task: Task, options: TrainOptions) -> int:
    """Return the passes over the data that are given, or else those of the task."""
    given = options.num_train_epochs
    return task.epochs[options.model is None] if given is None else given


def least_steps(task: Task, options: TrainOptions, classes: Sequence[str]) -> int:
    """Return the steps that a training has at least where nothing is said."""
    return max(MIN_STEPS, task.steps_for(options, classes))


def planned_epochs(task: Task, options: TrainOptions, steps_per_epoch: int,
                   classes: Sequence[str] = ()) -> int:
    """Return the passes over the data: as given or usual, and enough for `min_steps`.

    Without epochs, steps and `min_steps` there are `least_steps` for the `classes` of the rows.
    """
    least = options.min_steps
    if least is None:
        open_end = (options.num_train_epochs is None and options.max_steps < 1
                    and not options.fast_dev_run)
        least = least_steps(task, options, classes) if open_end else 0
    return max(usual_epochs(task, options), math.ceil(least / steps_per_epoch))
