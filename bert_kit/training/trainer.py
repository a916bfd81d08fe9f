"""The training loop, in one visible piece: the step (`AMPTrainer`) and what is around it."""

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler

from bert_kit.errors import TrainingError
from bert_kit.files import StrPath, check_kinds
from bert_kit.training.amp import autocast, loss_scaler
from bert_kit.training.arguments import TrainingArguments
from bert_kit.training.distributed import ALONE, Processes
from bert_kit.training.interrupts import Interrupt, finish_step_first
from bert_kit.training.losses import (Batch, Loss, compute_classification_loss, compute_mlm_loss,
                                      count_labels, count_rows)
from bert_kit.training.memory import MemoryManager, keep_freed_memory
from bert_kit.training.optim import (describe_groups, layerwise_rates,
                                     learning_rates, make_optimizer, make_schedule)
from bert_kit.training.progress import Progress
from bert_kit.training.restoring import scaler_state
from bert_kit.training.state import (LogRow, OnLog, Stateful, TrainerState, append_metrics,
                                     check_best, finite_numbers, load_checkpoint, open_run,
                                     random_state, restore_random_state, rotate_checkpoints,
                                     save_checkpoint, write_metrics)
from bert_kit.training.stopping import EarlyStopping


class Loader(Protocol):
    """Batches, pass after pass; `batch_sampler.start_at(epoch, batch)` sets where one begins."""

    @property
    def batch_sampler(self) -> Any: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class StepResult(NamedTuple):
    """What one optimizer step reports; the tensors are left on the device.

    Attributes
    ----------
    loss
        Mean over all labels of the step, ().
    grad_norm
        Length of the gradient before clipping, ().
    learning_rates
        The rates of this step by the names of the log, see `learning_rates`.
    stepped
        False if float16 gradients overflowed and the step was skipped.
    """

    loss: Tensor
    grad_norm: Tensor
    learning_rates: Mapping[str, float]
    stepped: bool

    @property
    def learning_rate(self) -> float:
        """The encoder's rate; the highest one where its groups have rates of their own."""
        return self.learning_rates["learning_rate"]


class AMPTrainer:
    """Takes optimizer steps on any loss, in one precision.

    Parameters
    ----------
    scheduler
        Its `step()` is called after each step that was not skipped.
    precision
        "float32", "bfloat16" or "float16".
    max_grad_norm
        Longest gradient; a longer one is scaled back to it.
    init_scale, growth_factor, backoff_factor, growth_interval
        How float16's loss scale starts and moves; see `torch.amp.GradScaler`.
    processes
        Those that take each step together, every one with its rows of the batches; see
        `join_processes`. They all report the same.

    Raises
    ------
    TrainingError
        If the precision is unknown, or a weight to be trained is not float32.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer,
                 scheduler: LRScheduler | None = None, precision: str = "bfloat16",
                 max_grad_norm: float | None = 1.0, init_scale: float = 2.0**16,
                 growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, processes: Processes = ALONE) -> None:
        autocast(precision)  # or an error, before any work
        if any(p.dtype != torch.float32 for p in model.parameters() if p.requires_grad):
            raise TrainingError("the model has trainable weights that are not float32; mixed "
                                "precision keeps the weights in float32")
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.precision, self.max_grad_norm = precision, max_grad_norm
        self.processes = processes
        self._parallel: nn.Module = model
        self._trained: list[bool] | None = None
        self.device_type = next(model.parameters()).device.type
        self.scaler = loss_scaler(precision, self.device_type, init_scale, growth_factor,
                                  backoff_factor, growth_interval)
        self._scale = self.scaler.get_scale()

    def autocast(self) -> torch.autocast:
        """Return the context in which forward passes of this precision run."""
        return autocast(self.precision, self.device_type)

    def train_step(self, loss: Loss, batches: Iterable[Batch]) -> StepResult:
        """Take one optimizer step over a window of batches and return its StepResult.

        `loss(model, batch, counts)` is divided by the label counts of the whole window in all
        processes, so the result is that of one batch holding all the rows. With several of them
        the `model` that the loss is given is the DistributedDataParallel around it.
        """
        return self.update(self.accumulate(loss, batches))

    def accumulate(self, loss: Loss, batches: Iterable[Batch],
                   after_forward: Callable[[Tensor], object] | None = None) -> Tensor:
        """Add up the gradient of a window of batches and return its loss; the first half of a step.

        The parameters' `grad` must be None before it, as they are after `update`. What is called
        `after_forward` is given the loss of each batch.
        """
        batches = list(batches)
        if not batches:
            raise TrainingError("a training step needs at least one batch")
        counts: dict[str, int] = {}
        for batch in batches:
            for key, count in count_labels(batch).items():
                counts[key] = counts.get(key, 0) + count
        counts, model, size = self.processes.sum_counts(counts), self._model(), self.processes.size
        total = torch.zeros(())  # a number: the first loss brings the device
        for i, batch in enumerate(batches, 1):
            with self._exchange_gradients(last=i == len(batches)):
                with self.autocast():
                    value = loss(model, batch, counts)
                if after_forward is not None:
                    after_forward(value)
                self.scaler.scale(value * size).backward()  # DDP takes the mean, not the sum
            total = total + value.detach()
        return self.processes.sum(total)

    def update(self, total: Tensor) -> StepResult:
        """Take the optimizer step on the gradient at hand; the second half of a step.

        The gradient is unscaled before it is clipped: its norm must be the true one. `total` is
        the loss to report.
        """
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)
        rates = learning_rates(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        # In float16 the one wait of a step for the device: the schedule must know what it did.
        before, self._scale = self._scale, self.scaler.get_scale()
        stepped = self._scale >= before
        if stepped and self.scheduler is not None:
            self.scheduler.step()
        return StepResult(total, norm, rates, stepped)

    def train_mlm_step(self, *batches: Batch) -> StepResult:
        """One step of masked-language modelling; see `train_step`."""
        return self.train_step(compute_mlm_loss, batches)

    def train_classification_step(self, *batches: Batch) -> StepResult:
        """One step of classification; see `train_step`."""
        return self.train_step(compute_classification_loss, batches)

    def _model(self) -> nn.Module:
        """Return the model as the loss is to call it: one that adds gradients up when it must.

        What DistributedDataParallel adds up is settled when it is made, so one is made anew
        whenever other parameters are trained.
        """
        trained = [p.requires_grad for p in self.model.parameters()]
        if self.processes.size > 1 and trained != self._trained:
            self._parallel = DistributedDataParallel(self.model, gradient_as_bucket_view=True)
            self._trained = trained
        return self._parallel

    def _exchange_gradients(self, last: bool) -> contextlib.AbstractContextManager:
        """Add gradients up over the processes in the last backward pass inside, and only there."""
        if isinstance(self._parallel, DistributedDataParallel) and not last:
            return self._parallel.no_sync()
        return contextlib.nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """Return the precision and the scaler's state, for a checkpoint."""
        return {"precision": self.precision, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`; another precision than the stored one is a TrainingError."""
        check_kinds(state_dict, {"precision": str, "scaler": dict}, "the precision's state")
        if state_dict["precision"] != self.precision:
            raise TrainingError(f"the checkpoint was trained in {state_dict['precision']}, "
                                f"this run is in {self.precision}")
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler_state(self.scaler.state_dict(),
                                                     state_dict["scaler"], "the loss scale"))
            self._scale = self.scaler.get_scale()

    def parts(self) -> dict[str, Stateful]:
        """Return what a run is made of beside the model, by the name of its file."""
        schedule = {} if self.scheduler is None else {"scheduler.pt": self.scheduler}
        return {"optimizer.pt": self.optimizer, **schedule, "scaler.pt": self}


class Trainer:
    """Trains a model on any loss.

    What the loop needs from elsewhere is handed in as plain functions, so that it knows neither
    models nor data nor file formats.

    Parameters
    ----------
    loss
        `loss(model, batch, counts)` -> sum of the batch's losses over `counts`, the label counts
        of the whole accumulation window; see `bert_kit.training.losses`.
    train_loader
        Has a length in batches and a `batch_sampler` whose `start_at(epoch, batch)` sets where
        the next pass begins.
    evaluate
        `evaluate()` -> dict of numbers, for instance {"loss": 0.3, "accuracy": 0.9}. It runs
        outside autocast, so in float32, and leaves the model in the mode it found.
    save_model, load_model
        `save_model(folder)` writes the model into a folder, `load_model(folder)` reads it back
        in place. Needed when `args.output_dir` is set.
    optimizer
        Instead of the one that `args` describe.
    scheduler
        `scheduler(optimizer, total_steps)` -> an object with `step()`, `get_last_lr()` and a
        state dict, instead of `args.lr_scheduler_type`.
    stopping
        Asked after each evaluation whether the run should end; it judges
        `args.metric_for_best_model`.
    memory
        Cuts batches into pieces that fit into memory; without it they are whole.
    before_epoch
        `before_epoch(epoch)` is called whenever a pass over the data begins, also in the middle
        of an epoch that is resumed; it may freeze and unfreeze parameters. It must depend on
        nothing but the epoch. See `gradual_unfreezing`.
    processes
        Those that train together, each with a Trainer of the same and with its `share` of the
        loader's batches. They evaluate together too; the result of the first one counts.
    on_log
        `on_log(row)` is called with every row of the log, {name: number, or None for NaN}, when
        metrics.csv has it; of several processes in the first one. It draws no random numbers from
        the run. An error in it ends the run, which goes on from its last checkpoint; the rows
        behind that are then told again.

    Raises
    ------
    TrainingError
        If the pieces do not fit together; before any work.

    Examples
    --------
    ::

        trainer = Trainer(model, TrainingArguments(num_train_epochs=2), compute_mlm_loss, loader)
        trainer.train()
    """

    def __init__(self, model: nn.Module, args: TrainingArguments, loss: Loss, train_loader: Loader,
                 evaluate: Callable[[], Mapping[str, Any]] | None = None,
                 save_model: Callable[[StrPath], object] | None = None,
                 load_model: Callable[[StrPath], object] | None = None,
                 optimizer: torch.optim.Optimizer | None = None,
                 scheduler: Callable[[torch.optim.Optimizer, int], LRScheduler] | None = None,
                 stopping: EarlyStopping | None = None, memory: MemoryManager | None = None,
                 before_epoch: Callable[[int], object] | None = None,
                 processes: Processes = ALONE,
                 on_log: OnLog | None = None) -> None:
        if not hasattr(getattr(train_loader, "batch_sampler", None), "start_at"):
            raise TrainingError("train_loader has no batch_sampler with start_at; make it with "
                                "bert_kit.data.make_loader")
        if len(train_loader) == 0:
            raise TrainingError("the training data has no batches")
        if args.output_dir is not None and (save_model is None or load_model is None):
            raise TrainingError("an output_dir needs save_model and load_model")
        if evaluate is None and args.load_best_model_at_end:
            raise TrainingError("load_best_model_at_end needs an evaluate function")
        if stopping is not None and (evaluate is None or args.eval_strategy == "no"):
            raise TrainingError("early stopping needs an evaluate function and an eval_strategy "
                                "other than 'no'")
        if on_log is not None and not callable(on_log):
            raise TrainingError(f"on_log is {on_log!r:.40}; expected a function that takes a row")
        self.model, self.args, self.loss = model, args, loss
        self.train_loader, self.evaluate = train_loader, evaluate
        self.save_model, self.load_model = save_model, load_model
        self.stopping, self.memory, self.before_epoch = stopping, memory, before_epoch
        if before_epoch is None:
            self._check_trainable()
        self.steps_per_epoch = math.ceil(len(train_loader) / args.gradient_accumulation_steps)
        self.total_steps = (args.max_steps if args.max_steps > 0
                            else args.num_train_epochs * self.steps_per_epoch)
        if optimizer is None:
            optimizer = make_optimizer(
                model, args.learning_rate, args.weight_decay, args.betas, args.adam_epsilon,
                args.optim, args.momentum, layerwise_rates(
                    model, args.learning_rate, args.head_learning_rate, args.layer_decay,
                    args.muon_rate))
        schedule = (make_schedule(optimizer, args.lr_scheduler_type, args.warmup_steps,
                                  self.total_steps)
                    if scheduler is None else scheduler(optimizer, self.total_steps))
        self.amp = AMPTrainer(model, optimizer, schedule, args.precision, args.max_grad_norm,
                              processes=processes)
        self.processes, self.on_log = processes, on_log
        self.state, self._clock = TrainerState(), monotonic()

    def train(self, resume: StrPath | None = None) -> TrainerState:
        """Run to the end and return the TrainerState, which says if and why it ended early.

        Parameters
        ----------
        resume
            Go on from this checkpoint; "auto" takes the newest one in the output folder, if any.
            On a CPU the continued run ends in the same bits as an unbroken one, if there are as
            many processes as before; with another number sums are rounded otherwise, and dropout
            draws other numbers. A run that ended early stays ended, unless it is resumed with
            more patience or time.

        Raises
        ------
        TrainingError
            If the run cannot be resumed, diverges, or does not fit into memory.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, when the step in progress is done and a checkpoint written
            (if there is an `output_dir` and `save_strategy` is not "no").
        """
        memory = self._open(resume)
        state, ended = self.state, self._is_over()
        self.model.train()
        with (finish_step_first() as interrupt,
              Progress(self.total_steps, state.step,
                       self.args.verbosity if self.processes.first else 0) as progress):
            self._describe(progress)
            while not ended:
                self._begin_pass()
                before = state.step
                for window in _windows(self.train_loader, self.args.gradient_accumulation_steps):
                    total = None
                    while total is None:  # once more, in smaller pieces, if memory has run out
                        with memory.attempt(self.amp, window):
                            total = self.amp.accumulate(self.loss, memory.cut(window), memory.watch)
                    with memory.no_second_attempt():
                        result = self.amp.update(total)
                    memory.halve_if_short(self.amp)
                    self._count(window, result, progress)
                    ended = self._after_step(result, progress, interrupt)
                    if ended:
                        break
                self._check_length(before, ended)
            if state.stopped:
                progress.note(f"stopped: {state.stopped}")
        self._load_best()
        return state

    def _is_over(self) -> bool:
        return self.state.step == self.total_steps or self.state.stopped is not None

    def _open(self, resume: StrPath | None) -> MemoryManager:
        """Start in an output folder, or go on from a checkpoint in it; return what cuts batches."""
        self._clock = monotonic()
        keep_freed_memory()
        args = self.args
        if args.output_dir is None and resume is not None:
            raise TrainingError("resume needs an output_dir")
        if args.output_dir is not None and self.load_model is not None:
            folder = args.output_dir
            settings = {**args.to_dict(), "batches_per_epoch": len(self.train_loader),
                        "before_epoch": self.before_epoch is not None,
                        "stopping": repr(self.stopping), "memory": repr(self.memory)}
            checkpoint = self.processes.from_first(lambda: open_run(folder, settings, resume))
            if checkpoint is not None:
                self.state = load_checkpoint(checkpoint, self.amp, self.load_model)
                self._check_place(checkpoint)
                self._best_folder()  # now, not when all is trained
                if self.processes.first:
                    write_metrics(folder, self.state.log)
        # What has ended stays so if the reason still holds; a run that was killed when its time was
        # nearly up takes one more step, and with it has its last evaluation.
        state = self.state
        state.stopped = self._stopping_reason() or (state.stopped and self._time_is_up())
        if self.memory is None:
            return MemoryManager(1.0, sys.maxsize, sys.maxsize)  # never cuts, never looks
        state.rows_at_a_time = self.memory.go_on_with(state.rows_at_a_time)
        return self.memory

    def _check_place(self, checkpoint: Path) -> None:
        """Check that the step of a checkpoint is one of this run, and its place in the data too."""
        state = self.state
        epoch, window = divmod(state.step, self.steps_per_epoch)
        place = (epoch, window * self.args.gradient_accumulation_steps)
        skips = self.amp.precision == "float16"
        if state.step > self.total_steps or (state.epoch, state.batch) != place or (
                state.skipped and not skips):
            raise TrainingError(
                f"{checkpoint}/trainer_state.json: step {state.step}, epoch {state.epoch}, batch "
                f"{state.batch}, {state.skipped} steps skipped; this run of {self.total_steps} "
                f"steps is at epoch {place[0]}, batch {place[1]} then")

    def _load_best(self) -> None:
        self.processes.wait()  # for the one that writes
        folder = self._best_folder()
        if folder is not None and self.load_model is not None:
            self.load_model(folder)

    def _best_folder(self) -> Path | None:
        """Return the checkpoint that the run is to end with, if one is the best so far, whole."""
        best = self.state.best_step
        if self.load_model is None or best is None or not self.args.load_best_model_at_end:
            return None
        folder = Path(f"{self.args.output_dir}/checkpoint-{best}")
        self.processes.from_first(lambda: check_best(folder))
        return folder

    def _describe(self, progress: Progress) -> None:
        """Say what is about to be trained, and how, to those who want to know it all."""
        if self.args.verbosity < 2 or not self.processes.first:
            return
        progress.say(f"steps        {self.total_steps:,}, {self.steps_per_epoch:,} an epoch, "
                     f"{self.args.gradient_accumulation_steps} batches each")
        for line in describe_groups(self.amp.optimizer):
            progress.say(f"parameters   {line}")

    def _begin_pass(self) -> None:
        """Set the loader to where the run stands, and let `before_epoch` do its part."""
        state = self.state
        self.train_loader.batch_sampler.start_at(state.epoch, state.batch)
        if self.before_epoch is not None:
            before = random_state()  # it is called once more in a resumed run
            self.before_epoch(state.epoch)
            restore_random_state(before)
            self._check_trainable()

    def _check_length(self, step_before: int, ended: bool) -> None:
        """Check, after a pass, that the loader gave as many batches as its length says."""
        state = self.state
        if state.step == step_before or (state.batch and not ended):
            raise TrainingError(f"epoch {state.epoch} ended after {state.batch} batches; "
                                f"the loader's length says {len(self.train_loader)}")

    def _check_trainable(self) -> None:
        if not any(p.requires_grad for p in self.model.parameters()):
            raise TrainingError("every parameter of the model is frozen; nothing can be trained")

    def _count(self, window: list[Batch], result: StepResult, progress: Progress) -> None:
        """Count the step just taken."""
        state = self.state
        progress.advance(self.processes.size * sum(map(count_rows, window)))
        if self.memory is not None and state.rows_at_a_time != self.memory.current:
            state.rows_at_a_time = self.memory.current
            progress.warn(f"memory is short: {state.rows_at_a_time} rows at a time from now on")
        state.step += 1
        state.batch += len(window)
        if state.batch >= len(self.train_loader):
            state.epoch, state.batch = state.epoch + 1, 0
        # Summed on the device: a float would wait for it in every step. (MPS has no float64.)
        mps = result.loss.device.type == "mps"
        state.loss_sum = state.loss_sum + (result.loss if mps else result.loss.double())
        state.loss_steps += 1
        state.skipped += not result.stepped

    def _after_step(self, result: StepResult, progress: Progress, interrupt: Interrupt) -> bool:
        """Log, evaluate and save what is due after a step, and say whether it was the last one."""
        args, state = self.args, self.state
        state.stopped = self._time_is_up()
        last = self._is_over()
        if last or state.step % args.logging_steps == 0:
            self._log_step(result, progress)
        improved = False
        if self.evaluate is not None and self._due(args.eval_strategy, args.eval_steps, last):
            planned = self._due(args.eval_strategy, args.eval_steps,
                                state.step == self.total_steps)
            improved = self._evaluate(self.evaluate, progress, extra=not planned)
            state.stopped = state.stopped or self._stopping_reason()
        if state.stopped and state.loss_steps:  # the last steps of a run that stops early
            self._log_step(result, progress)
        # Looked up once: a signal from here on is for the next step, or else it would end the run
        # without its checkpoint.
        ended = self._is_over()
        if self.processes.any(interrupt.requested):
            interrupt.requested = ended = True
        if self._due(args.save_strategy, args.save_steps, last or improved or ended):
            self._save(result)
        return ended

    def _due(self, strategy: str, every: int, anyway: bool) -> bool:
        """Say whether an evaluation or a checkpoint is due after this step."""
        if strategy == "no":
            return False
        return anyway or (self.state.batch == 0 if strategy == "epoch"
                          else self.state.step % every == 0)

    def _save(self, result: StepResult) -> None:
        """Write a checkpoint, if there is a folder for it."""
        state, folder = self.state, self.args.output_dir
        if folder is None or self.save_model is None:
            return
        state.loss_sum = float(state.loss_sum)
        self._check_finite(state.loss_sum, result)  # a checkpoint worth keeping, or none
        self._time_is_up()  # so that the checkpoint knows the seconds to this moment
        random_states = self.processes.gather(random_state())
        if self.processes.first:
            save_checkpoint(folder, state, self.amp, self.save_model, random_states)
            rotate_checkpoints(folder, self.args.save_total_limit, state.best_step)

    def _time_is_up(self) -> str | None:
        """Bring the time spent up to date, and say why the run ends here, or None."""
        state, limit, now = self.state, self.args.time_limit, monotonic()
        state.elapsed, self._clock = state.elapsed + now - self._clock, now
        if limit is None or state.step == self.total_steps:
            return None
        if not self.processes.any(state.elapsed >= limit):
            return None
        return f"the time limit of {limit:g} s is reached"

    def _stopping_reason(self) -> str | None:
        """Say why the evaluations so far are a reason to end before the last step, or None."""
        state, metric = self.state, self.args.best_metric
        if self.stopping is None or state.step == self.total_steps:
            return None
        return self.stopping.reason(
            [row[metric] for row in state.log if metric in row and not row.get("extra")],
            self.args.more_is_better)

    def _log_step(self, result: StepResult, progress: Progress) -> None:
        """Write a row with the mean loss since the last one."""
        state = self.state
        loss = float(state.loss_sum) / state.loss_steps
        self._check_finite(loss, result)
        state.loss_sum, state.loss_steps = 0.0, 0
        row = {"step": state.step, "epoch": self._epochs_done(), "loss": loss,
               **result.learning_rates, "grad_norm": float(result.grad_norm)}
        if self.amp.precision == "float16":
            row["skipped_steps"] = state.skipped
        self._log(finite_numbers(row))
        progress.report(row)

    def _check_finite(self, loss: float, result: StepResult) -> None:
        """Stop a run whose loss or gradient is no longer a number."""
        if not math.isfinite(loss) or (result.stepped and not math.isfinite(result.grad_norm)):
            raise TrainingError(f"the loss is {loss} and the gradient's norm "
                                f"{float(result.grad_norm)} at step {self.state.step}; a lower "
                                "learning_rate or precision 'float32' may help")

    def _evaluate(self, evaluate: Callable[[], Mapping[str, Any]], progress: Progress,
                  extra: bool) -> bool:
        """Evaluate, log, and return whether it is the best so far.

        An `extra` one, due only because time is up, is marked in the log and counts nowhere: a run
        that goes on with more time ends as one never cut.
        """
        args, state = self.args, self.state
        before = random_state()  # whether and how one evaluates must not change the training
        with torch.inference_mode():
            found = {f"eval_{key}": value for key, value in evaluate().items()}
        restore_random_state(before)
        metrics = self.processes.from_first(lambda: finite_numbers(found))
        if args.best_metric not in metrics:
            raise TrainingError(f"metric_for_best_model is {args.metric_for_best_model!r}; "
                                f"the evaluation gives {', '.join(metrics)}")
        self._log({"step": state.step, "epoch": self._epochs_done(), **metrics,
                   **({"extra": 1} if extra else {})})
        shown = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items()
                          if isinstance(value, float))  # None: not a number
        progress.note(shown)
        value = metrics[args.best_metric]
        if extra or value is None or not args.is_better(value, state.best_value):
            return False
        state.best_value, state.best_step = float(value), state.step
        return True

    def _epochs_done(self) -> float:
        return round(self.state.epoch + self.state.batch / len(self.train_loader), 4)

    def _log(self, row: LogRow) -> None:
        self.state.log.append(row)
        if self.args.output_dir is not None and self.processes.first:
            append_metrics(self.args.output_dir, self.state.log)
        if self.on_log is not None and self.processes.first:
            before = random_state()  # what a hook draws must not change the training
            self.on_log(dict(row))
            restore_random_state(before)


def _windows(loader: Loader, size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches; the last of a pass may be shorter."""
    with torch.random.fork_rng(devices=[]):  # a loader may draw a seed for its workers
        batches = iter(loader)
    while window := list(itertools.islice(batches, size)):
        yield window
