"""From options to the parts of a training: model, arguments and trainer."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from bert_kit.config import BertConfig
from bert_kit.data import make_loader
from bert_kit.errors import ConfigError, UsageError
from bert_kit.jobs.options.groups import TrainOptions, stops_early
from bert_kit.jobs.run.defaults import (chosen_dropout, default_dropout, highest_rate,
                                        planned_epochs, starting_config, usual_epochs, usual_rate)
from bert_kit.jobs.run.task import Task
from bert_kit.training import (EarlyStopping, Loss, MemoryManager, OnLog, Processes,
                               TrainingArguments, Trainer, best_precision, find_learning_rate,
                               freeze, gradual_unfreezing, layerwise_rates, make_optimizer,
                               planned_steps)
from bert_kit.training.optim import MUON_FACTOR
from bert_kit.weights import ReadWeights, load_pretrained, load_weights, read_weights

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows


def check_options(task: Task, options: TrainOptions, any_rate: bool = False) -> None:
    """Find what does not go together before any row is read.

    With `any_rate` a learning rate may be one that no weights survive, as in a search for it.

    Raises
    ------
    BertKitError
        One line that names the option.
    """
    options.check_use()
    config = starting_config(task, options)
    if not -1 <= options.freeze_layers <= config.num_hidden_layers:
        raise ConfigError(f"freeze_layers is {options.freeze_layers}; the encoder has "
                          f"{config.num_hidden_layers} layers (-1 freezes it all)")
    # The top block and the pooler have the peak rate; only blocks below have less.
    lowest = config.num_hidden_layers if options.freeze_layers == -1 else options.freeze_layers
    if (options.resume is None and options.layer_decay != 1  # a run goes on as it began
            and lowest >= config.num_hidden_layers - 1 > 0):
        raise UsageError(f"layer_decay is {options.layer_decay:g}, which changes nothing where "
                         f"freeze_layers {options.freeze_layers} leaves one block or none to "
                         "train; leave it out")
    if options.freeze_layers and options.gradual_unfreezing:
        raise ConfigError("freeze_layers and gradual_unfreezing are both set; expected one of them")
    if options.metric is not None and options.metric not in task.metrics:
        raise ConfigError(f"metric is {options.metric!r}; expected one of "
                          f"{', '.join(task.metrics)} for {task.name}")
    training_arguments(task, options)
    if not any_rate:
        _check_rate(task, options, config)
    early_stopping(options)
    if options.memory_threshold is not None:
        MemoryManager(options.memory_threshold)
    task.loss(options)
    task.check(options, config)
    task.check_tokenizer(options, config)


def _check_rate(task: Task, options: TrainOptions, config: BertConfig) -> None:
    """Refuse a rate that no encoder with weights survives, unless the head has one of its own.

    A rate for a new head, meant for all, is the usual mistake; who gives both knows what he does.
    """
    rate, begun = options.learning_rate, Path(str(options.output_dir)) / "manifest.json"
    highest = highest_rate(task, options, config)
    if (isinstance(rate, float) and rate > highest and task.has_head
            and options.head_learning_rate is None
            and not (options.resume is not None and begun.is_file())):
        usual = usual_rate(task, options, config.hidden_size)
        raise ConfigError(
            f"learning_rate is {rate:g}, which no pre-trained encoder of this width survives (the "
            f"highest that did is {highest:.2g}); expected two numbers, learning_rate {usual:.2g} "
            f"for the encoder and head_learning_rate {rate:g} for what is new")


def make_model(task: Task, options: TrainOptions, rows: "Rows",
               read: ReadWeights = read_weights) -> Any:
    """Return the model, from weights or from nothing; draws from torch's generator.

    `read` is as in `load_pretrained`.
    """
    before = starting_config(task, options)
    changes = {**default_dropout(task, options, before), **task.config(options, rows.parts, before),
               **chosen_dropout(options)}

    def begin(config: BertConfig) -> nn.Module:
        model = task.model_class(options)(config)
        task.start(model, rows, options)  # before weights are read: a stored head stays if kept
        return model

    if options.model is not None:
        model: Any = load_pretrained(begin, task.start_folder(options), report=options.say,
                                     read=read, **changes)
    else:
        model = begin(before.replace(vocab_size=rows.tokenizer.vocab_size,
                                     pad_token_id=rows.tokenizer.pad_id, **changes))
    getattr(model, "bert", model).gradient_checkpointing = options.gradient_checkpointing
    if options.freeze_layers:
        unused = [parameter for parameter in model.parameters() if not parameter.requires_grad]
        freeze(model, options.freeze_layers)
        for parameter in unused:  # a pooler that nothing asks for
            parameter.requires_grad_(False)
    return model


# For a process that trains many models on the same weights: a `read` of `make_model`.
read_weights_once = functools.lru_cache(maxsize=1)(read_weights)


def training_arguments(task: Task, options: TrainOptions, rate: float = 0.0,
                       precision: str = "float32", metric: str = "loss",
                       evaluates: bool = False, steps_per_epoch: int | None = None,
                       classes: Sequence[str] = (),
                       head_factor: float | None = None) -> TrainingArguments:
    """Return the TrainingArguments of the options.

    Parameters
    ----------
    rate, precision, metric
        What the options leave open.
    evaluates
        Whether there are validation rows.
    steps_per_epoch
        Optimizer steps of a pass; None only to check the options. Where `min_steps` makes more
        passes than usual, the run is measured and saved as often as in the usual ones.
    classes
        That the rows have: many want more steps.
    head_factor
        What `Task.head_factor` says.
    """
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    values = {name: value for name, value in vars(options).items()
              if name in known and value is not None}
    usual = usual_epochs(task, options)
    epochs = usual if steps_per_epoch is None else planned_epochs(
        task, options, steps_per_epoch, classes)
    every = None  # epoch
    if steps_per_epoch is not None and epochs > usual and options.max_steps < 1:
        every = math.ceil(epochs * steps_per_epoch / usual)
    eval_steps, save_steps = options.eval_steps or every, options.save_steps or every
    values |= {
        "output_dir": options.output_dir, "precision": precision,
        "learning_rate": rate if options.learning_rate in (None, "auto") else options.learning_rate,
        "num_train_epochs": epochs,
        "eval_strategy": _strategy(eval_steps) if evaluates else "no",
        "save_strategy": _strategy(save_steps), "metric_for_best_model": metric,
        "load_best_model_at_end": (options.load_best_model_at_end and evaluates
                                   and options.output_dir is not None)}
    if head_factor is not None:
        values["head_learning_rate"] = head_factor * values["learning_rate"]
    steps = {"eval_steps": eval_steps if evaluates else None, "save_steps": save_steps}
    return TrainingArguments(**{**values, **{
        name: number for name, number in steps.items() if number is not None}})


def more_is_better(metric: str) -> bool:
    """Say whether a greater value of a score is the better one."""
    return TrainingArguments(metric_for_best_model=metric).more_is_better


def _strategy(steps: int | None) -> str:
    return "epoch" if steps is None else "steps"


def early_stopping(options: TrainOptions) -> EarlyStopping | None:
    """Return the EarlyStopping of the options, or None."""
    if not stops_early(options):
        return None
    return EarlyStopping(
        patience=options.early_stopping or None, min_delta=options.min_delta,
        min_epochs=options.min_epochs, smoothing_window=options.smoothing_window,
        trend_window=options.trend_window, regression=options.regression)


def check_unmeasured(options: TrainOptions) -> None:
    """Refuse, of a run without validation rows, what looks at their scores.

    Raises
    ------
    ConfigError
        Names the option.
    """
    if stops_early(options):
        raise ConfigError("early stopping needs validation rows; give a val_size above 0 or a "
                          "validation_file")
    if options.eval_steps is not None:
        raise ConfigError("eval_steps is set, but there are no rows to measure on; give a "
                          "val_size above 0 or a validation_file")


def make_trainer(training: Any, processes: Processes, on_log: OnLog | None = None) -> Trainer:
    """Return the Trainer of a `Training`, which scores `validation` where there is such a part."""
    task, options, predictor = training.task, training.options, training.predictor
    model, datasets, parts = predictor.model, training.datasets, training.parts
    loader = make_loader(datasets["train"], options.batch_size, seed=options.seed,
                         group_by_length=options.group_by_length, share=processes.share,
                         pin_memory=predictor.device.type == "cuda")
    loss = task.loss(options, training)
    evaluates, stopping = "validation" in datasets, early_stopping(options)
    if not evaluates:
        check_unmeasured(options)
    precision = options.precision or best_precision(predictor.device)
    factor = (task.head_factor(options, parts.classes) if options.head_learning_rate is None
              else None)
    rate = _learning_rate(task, options, model, loss, loader, precision, processes, factor)
    per_epoch = math.ceil(len(loader) / options.gradient_accumulation_steps)
    arguments = training_arguments(task, options, rate, precision, task.metric(options, parts),
                                   evaluates, per_epoch, parts.classes, factor)
    if options.minutes is not None:
        steps = planned_steps(options.minutes, model, arguments, loss, loader, options.resume,
                              processes)
        options.say(f"plan      {steps:,} steps in {options.minutes:g} minutes")
        arguments = dataclasses.replace(arguments, max_steps=steps)
    _say_plan(task, options, arguments, per_epoch, model.config, factor)
    return Trainer(
        model, arguments, loss, loader, evaluate=training.validate if evaluates else None,
        save_model=predictor.save, load_model=functools.partial(load_weights, model),
        stopping=stopping,
        before_epoch=gradual_unfreezing(model) if options.gradual_unfreezing else None,
        memory=MemoryManager(1.0 if options.memory_threshold is None
                             else options.memory_threshold, 1, options.batch_size),
        processes=processes, on_log=on_log)


def _say_plan(task: Task, options: TrainOptions, arguments: TrainingArguments,
              per_epoch: int, config: BertConfig, head_factor: float | None) -> None:
    """Say what a user did not ask for: more passes, a faster head, a rate that is too high."""
    epochs = arguments.num_train_epochs
    if arguments.max_steps < 1 and epochs > usual_epochs(task, options):
        options.say(f"steps     {epochs * per_epoch:,}, which is {epochs} epochs: fewer teach "
                    "nothing (--min_steps, --num_train_epochs)")
    if head_factor is not None:
        options.say(f"head      of {len(config.labels)} output{'s' * (config.num_labels != 1)}: it "
                    f"learns {head_factor:g} times as fast as the encoder (--head_learning_rate)")
    highest = highest_rate(task, options, config)
    # Matrices that move by Muon bear about three times as much.
    rates = {"learning_rate": arguments.learning_rate,
             "muon_learning_rate": (arguments.muon_rate or 0) / 3}
    for name, rate in rates.items():
        if rate > highest:
            options.say(f"warning   {name} is {getattr(arguments, name)}: no pre-trained encoder "
                        f"of this width has been seen to survive it with {options.optim}; usual "
                        f"is {usual_rate(task, options, config.hidden_size):.2g}")


def _learning_rate(task: Task, options: TrainOptions, model: nn.Module, loss: Loss, loader: Any,
                   precision: str, processes: Processes, head_factor: float | None) -> float:
    """Return the peak rate: as set, as found by a range test, or the task's default."""
    if options.learning_rate == "auto":
        optimizer = make_optimizer(  # that of the run, in multiples of the rate to be found
            model, 1.0, options.weight_decay, options.betas, options.adam_epsilon,
            options.optim, options.momentum, layerwise_rates(
                model, 1.0, head_factor, options.layer_decay,
                MUON_FACTOR if options.optim == "muon" else None))
        found = find_learning_rate(model, loss, loader, precision=precision, optimizer=optimizer,
                                   processes=processes)
        if found.suggestion is None:
            raise ConfigError("no learning rate makes the loss fall; give a learning_rate")
        options.say(f"learning rate {found.suggestion:.2e}, where the loss falls fastest")
        return found.suggestion
    if options.learning_rate is None:
        return task.rates[options.model is None]
    return float(options.learning_rate)
