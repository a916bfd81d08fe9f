"""The training loop, in one visible piece."""

import itertools
import math
from time import monotonic

import torch

from bert_kit.errors import TrainingError
from bert_kit.training.amp import AMPTrainer
from bert_kit.training.distributed import ALONE
from bert_kit.training.interrupts import finish_step_first
from bert_kit.training.losses import count_rows
from bert_kit.training.memory import keep_freed_memory
from bert_kit.training.optim import (describe_groups, layerwise_rates, make_optimizer,
                                     make_schedule)
from bert_kit.training.progress import Progress
from bert_kit.training.state import (TrainerState, append_metrics, finite_numbers,
                                     load_checkpoint, open_run, random_state,
                                     restore_random_state, rotate_checkpoints, save_checkpoint,
                                     write_metrics)


class Trainer:
    """Trains a model on any loss.

    What the loop needs from elsewhere is handed in as plain functions, so that it knows neither
    models nor data nor file formats.

    Parameters
    ----------
    model : Module
    args : TrainingArguments
    loss : callable
        `loss(model, batch, counts)` -> sum of the batch's losses over `counts`, the label counts
        of the whole accumulation window; see `bert_kit.training.losses`.
    train_loader : iterable of dict
        Has a length in batches and a `batch_sampler` whose `start_at(epoch, batch)` sets where
        the next pass begins.
    evaluate : callable, optional
        `evaluate()` -> dict of numbers, for instance {"loss": 0.3, "accuracy": 0.9}. It runs
        outside autocast, so in float32, and leaves the model in the mode it found.
    save_model, load_model : callable, optional
        `save_model(folder)` writes the model into a folder, `load_model(folder)` reads it back
        in place. Needed when `args.output_dir` is set.
    optimizer : torch.optim.Optimizer, optional
        Instead of the one that `args` describe.
    scheduler : callable, optional
        `scheduler(optimizer, total_steps)` -> an object with `step()`, `get_last_lr()` and a
        state dict, instead of `args.lr_scheduler_type`.
    stopping : EarlyStopping, optional
        Asked after each evaluation whether the run should end; it judges
        `args.metric_for_best_model`.
    memory : MemoryManager, optional
        Cuts batches into pieces that fit into memory.
    before_epoch : callable, optional
        `before_epoch(epoch)` is called whenever a pass over the data begins, also in the middle
        of an epoch that is resumed; it may freeze and unfreeze parameters. It must depend on
        nothing but the epoch. See `gradual_unfreezing`.
    processes : Processes
        Those that train together, each with a Trainer of the same and with its `share` of the
        loader's batches. They evaluate together too; the result of the first one counts.

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

    def __init__(self, model, args, loss, train_loader, evaluate=None, save_model=None,
                 load_model=None, optimizer=None, scheduler=None, stopping=None, memory=None,
                 before_epoch=None, processes=ALONE):
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
                    model, args.learning_rate, args.head_learning_rate, args.layer_decay))
        if scheduler is None:
            scheduler = make_schedule(optimizer, args.lr_scheduler_type, args.warmup_steps,
                                      self.total_steps)
        else:
            scheduler = scheduler(optimizer, self.total_steps)
        self.amp = AMPTrainer(model, optimizer, scheduler, args.precision, args.max_grad_norm,
                              processes=processes)
        self.processes = processes
        self.state, self._clock = TrainerState(), monotonic()

    def train(self, resume=None):
        """Run to the end and return the TrainerState, which says if and why it ended early.

        Parameters
        ----------
        resume : None, "auto" or path
            Go on from a checkpoint; "auto" takes the newest one in the output folder, if any.
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
        self._clock = monotonic()
        keep_freed_memory()
        self._open(resume)
        state, loader = self.state, self.train_loader
        # What has ended stays so if the reason still holds; a run that was killed when its time was
        # nearly up takes one more step, and with it has its last evaluation.
        state.stopped = self._stopping_reason() or (state.stopped and self._time_is_up())
        ended = self._is_over()
        if self.memory is not None:
            state.rows_at_a_time = self.memory.go_on_with(state.rows_at_a_time)
        self.model.train()
        verbosity = self.args.verbosity if self.processes.first else 0
        with (finish_step_first() as interrupt,
              Progress(self.total_steps, state.step, verbosity) as progress):
            self._describe(progress)
            while not ended:
                self._begin_pass()
                before = state.step
                for window in _windows(loader, self.args.gradient_accumulation_steps):
                    result = self._step(window, progress)
                    ended = self._after_step(result, progress, interrupt)
                    if ended:
                        break
                if state.step == before or (state.batch and not ended):
                    raise TrainingError(f"epoch {state.epoch} ended after {state.batch} batches; "
                                        f"the loader's length says {len(loader)}")
            if state.stopped:
                progress.note(f"stopped: {state.stopped}")
        if self.args.load_best_model_at_end and state.best_step is not None:
            self.processes.wait()  # for the one that writes
            self.load_model(f"{self.args.output_dir}/checkpoint-{state.best_step}")
        return state

    def _is_over(self):
        return self.state.step == self.total_steps or self.state.stopped is not None

    def _open(self, resume):
        """Start in an output folder, or go on from a checkpoint in it."""
        if self.args.output_dir is None:
            if resume is not None:
                raise TrainingError("resume needs an output_dir")
            return
        settings = {**self.args.to_dict(), "batches_per_epoch": len(self.train_loader),
                    "before_epoch": self.before_epoch is not None,
                    "stopping": repr(self.stopping), "memory": repr(self.memory)}
        checkpoint = self.processes.from_first(
            lambda: open_run(self.args.output_dir, settings, resume))
        if checkpoint is not None:
            self.state = load_checkpoint(checkpoint, self.amp, self.load_model)
            if self.processes.first:
                write_metrics(self.args.output_dir, self.state.log)

    def _describe(self, progress):
        """Say what is about to be trained, and how, to those who want to know it all."""
        if self.args.verbosity < 2 or not self.processes.first:
            return
        progress.say(f"steps        {self.total_steps:,}, {self.steps_per_epoch:,} an epoch, "
                     f"{self.args.gradient_accumulation_steps} batches each")
        for line in describe_groups(self.amp.optimizer):
            progress.say(f"parameters   {line}")

    def _begin_pass(self):
        """Set the loader to where the run stands, and let `before_epoch` do its part."""
        state = self.state
        self.train_loader.batch_sampler.start_at(state.epoch, state.batch)
        if self.before_epoch is not None:
            before = random_state()  # it is called once more in a resumed run
            self.before_epoch(state.epoch)
            restore_random_state(before)
            self._check_trainable()

    def _check_trainable(self):
        if not any(p.requires_grad for p in self.model.parameters()):
            raise TrainingError("every parameter of the model is frozen; nothing can be trained")

    def _step(self, window, progress):
        """Take one optimizer step and count it."""
        state, rows = self.state, self.state.rows_at_a_time
        if self.memory is None:
            result = self.amp.train_step(self.loss, window)
        else:
            result = self.memory.train_step(self.amp, self.loss, window)
            state.rows_at_a_time = self.memory.current
        progress.advance(self.processes.size * sum(map(count_rows, window)))
        if state.rows_at_a_time != rows:
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
        return result

    def _after_step(self, result, progress, interrupt):
        """Log, evaluate and save what is due after a step, and say whether it was the last one."""
        args, state = self.args, self.state
        epoch_ends = state.batch == 0
        state.stopped = self._time_is_up()
        last = self._is_over()
        if last or state.step % args.logging_steps == 0:
            self._log_step(result, progress)
        improved = False
        if self.evaluate is not None and _due(args.eval_strategy, args.eval_steps, state.step,
                                              epoch_ends, last):
            planned = _due(args.eval_strategy, args.eval_steps, state.step, epoch_ends,
                           state.step == self.total_steps)
            improved = self._evaluate(progress, extra=not planned)
            state.stopped = state.stopped or self._stopping_reason()
        # Looked up once: a signal from here on is for the next step, or else it would end the run
        # without its checkpoint.
        ended = self._is_over()
        if self.processes.any(interrupt.requested):
            interrupt.requested = ended = True
        if args.output_dir is not None and args.save_strategy != "no" and (
                improved or ended or _due(args.save_strategy, args.save_steps, state.step,
                                          epoch_ends, last)):
            self._save(result)
        return ended

    def _save(self, result):
        state = self.state
        state.loss_sum = float(state.loss_sum)
        self._check_finite(state.loss_sum, result)  # a checkpoint worth keeping, or none
        self._time_is_up()  # so that the checkpoint knows the seconds to this moment
        random_states = self.processes.gather(random_state())
        if self.processes.first:
            save_checkpoint(self.args.output_dir, state, self.amp, self.save_model, random_states)
            rotate_checkpoints(self.args.output_dir, self.args.save_total_limit, state.best_step)

    def _time_is_up(self):
        """Bring the time spent up to date, and say why the run ends here, or None."""
        state, limit, now = self.state, self.args.time_limit, monotonic()
        state.elapsed, self._clock = state.elapsed + now - self._clock, now
        if limit is None or state.step == self.total_steps:
            return None
        if not self.processes.any(state.elapsed >= limit):
            return None
        return f"the time limit of {limit:g} s is reached"

    def _stopping_reason(self):
        """Say why the evaluations so far are a reason to end before the last step, or None."""
        state, metric = self.state, self.args.best_metric
        if self.stopping is None or state.step == self.total_steps:
            return None
        # Extra evaluations do not count: a run resumed with more time ends as one never cut.
        return self.stopping.reason(
            [row[metric] for row in state.log if metric in row and not row.get("extra")],
            self.args.more_is_better)

    def _log_step(self, result, progress):
        """Write a row with the mean loss since the last one."""
        state = self.state
        loss = float(state.loss_sum) / state.loss_steps
        self._check_finite(loss, result)
        state.loss_sum, state.loss_steps = 0.0, 0
        row = {"step": state.step, "epoch": self._epochs_done(), "loss": loss,
               "learning_rate": result.learning_rate, "grad_norm": float(result.grad_norm)}
        if self.amp.precision == "float16":
            row["skipped_steps"] = state.skipped
        self._log(finite_numbers(row))
        progress.report(row)

    def _check_finite(self, loss, result):
        """Stop a run whose loss or gradient is no longer a number."""
        if not math.isfinite(loss) or (result.stepped and not math.isfinite(result.grad_norm)):
            raise TrainingError(f"the loss is {loss} and the gradient's norm "
                                f"{float(result.grad_norm)} at step {self.state.step}; a lower "
                                "learning_rate or precision 'float32' may help")

    def _evaluate(self, progress, extra):
        """Evaluate, log, and return whether it is the best so far.

        An `extra` one, due only because time is up, is marked in the log.
        """
        args, state = self.args, self.state
        before = random_state()  # whether and how one evaluates must not change the training
        with torch.inference_mode():
            metrics = {f"eval_{key}": value for key, value in self.evaluate().items()}
        restore_random_state(before)
        metrics = self.processes.from_first(lambda: finite_numbers(metrics))
        if args.best_metric not in metrics:
            raise TrainingError(f"metric_for_best_model is {args.metric_for_best_model!r}; "
                                f"the evaluation gives {', '.join(metrics)}")
        self._log({"step": state.step, "epoch": self._epochs_done(), **metrics,
                   **({"extra": 1} if extra else {})})
        shown = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items()
                          if isinstance(value, float))  # None: not a number
        progress.note(shown)
        value = metrics[args.best_metric]
        if value is None or not args.is_better(value, state.best_value):
            return False
        state.best_value, state.best_step = float(value), state.step
        return True

    def _epochs_done(self):
        return round(self.state.epoch + self.state.batch / len(self.train_loader), 4)

    def _log(self, row):
        self.state.log.append(row)
        if self.args.output_dir is not None and self.processes.first:
            append_metrics(self.args.output_dir, self.state.log)


def _windows(loader, size):
    """Yield lists of `size` batches; the last of a pass may be shorter."""
    with torch.random.fork_rng(devices=[]):  # a loader may draw a seed for its workers
        batches = iter(loader)
    while window := list(itertools.islice(batches, size)):
        yield window


def _due(strategy, every, step, epoch_ends, last):
    """Say whether an evaluation or a checkpoint is due after this step."""
    if strategy == "no":
        return False
    return last or (epoch_ends if strategy == "epoch" else step % every == 0)
