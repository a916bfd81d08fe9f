"""The training loop, in one visible piece."""

import itertools
import math

import torch
from tqdm import tqdm

from bert_kit.errors import TrainingError
from bert_kit.training.amp import AMPTrainer
from bert_kit.training.optim import make_optimizer, make_schedule
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
        Instead of AdamW with `args.learning_rate`.
    scheduler : callable, optional
        `scheduler(optimizer, total_steps)` -> an object with `step()`, `get_last_lr()` and a
        state dict, instead of `args.lr_scheduler_type`.

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
                 load_model=None, optimizer=None, scheduler=None):
        if not hasattr(getattr(train_loader, "batch_sampler", None), "start_at"):
            raise TrainingError("train_loader has no batch_sampler with start_at; make it with "
                                "bert_kit.data.make_loader")
        if len(train_loader) == 0:
            raise TrainingError("the training data has no batches")
        if not any(p.requires_grad for p in model.parameters()):
            raise TrainingError("every parameter of the model is frozen; nothing can be trained")
        if args.output_dir is not None and (save_model is None or load_model is None):
            raise TrainingError("an output_dir needs save_model and load_model")
        if evaluate is None and args.load_best_model_at_end:
            raise TrainingError("load_best_model_at_end needs an evaluate function")
        self.model, self.args, self.loss = model, args, loss
        self.train_loader, self.evaluate = train_loader, evaluate
        self.save_model, self.load_model = save_model, load_model
        self.steps_per_epoch = math.ceil(len(train_loader) / args.gradient_accumulation_steps)
        self.total_steps = (args.max_steps if args.max_steps > 0
                            else args.num_train_epochs * self.steps_per_epoch)
        if optimizer is None:
            optimizer = make_optimizer(model, args.learning_rate, args.weight_decay)
        if scheduler is None:
            scheduler = make_schedule(optimizer, args.lr_scheduler_type, args.warmup_steps,
                                      self.total_steps)
        else:
            scheduler = scheduler(optimizer, self.total_steps)
        self.amp = AMPTrainer(model, optimizer, scheduler, args.precision, args.max_grad_norm)
        self.state = TrainerState()

    def train(self, resume=None):
        """Run to the end and return the TrainerState.

        Parameters
        ----------
        resume : None, "auto" or path
            Go on from a checkpoint; "auto" takes the newest one in the output folder, if any.
            On a CPU the continued run ends in the same bits as an unbroken one.
        """
        self._open(resume)
        state, loader = self.state, self.train_loader
        self.model.train()
        with tqdm(total=self.total_steps, initial=state.step, unit="step", disable=None) as bar:
            while state.step < self.total_steps:
                loader.batch_sampler.start_at(state.epoch, state.batch)
                before = state.step
                for window in _windows(loader, self.args.gradient_accumulation_steps):
                    result = self.amp.train_step(self.loss, window)
                    state.step += 1
                    state.batch += len(window)
                    if state.batch >= len(loader):
                        state.epoch, state.batch = state.epoch + 1, 0
                    # Summed on the device: a float would wait for it in every step.
                    state.loss_sum = state.loss_sum + result.loss.double()
                    state.loss_steps += 1
                    state.skipped += not result.stepped
                    self._after_step(result, bar)
                    if state.step == self.total_steps:
                        break
                if state.step == before or (state.batch and state.step < self.total_steps):
                    raise TrainingError(f"epoch {state.epoch} ended after {state.batch} batches; "
                                        f"the loader's length says {len(loader)}")
        if self.args.load_best_model_at_end and state.best_step is not None:
            self.load_model(f"{self.args.output_dir}/checkpoint-{state.best_step}")
        return state

    def _open(self, resume):
        """Start in an output folder, or go on from a checkpoint in it."""
        if self.args.output_dir is None:
            if resume is not None:
                raise TrainingError("resume needs an output_dir")
            return
        settings = {**self.args.to_dict(), "batches_per_epoch": len(self.train_loader)}
        checkpoint = open_run(self.args.output_dir, settings, resume)
        if checkpoint is not None:
            self.state = load_checkpoint(checkpoint, self.amp, self.load_model)
            write_metrics(self.args.output_dir, self.state.log)

    def _after_step(self, result, bar):
        """Log, evaluate and save what is due after a step."""
        args, state = self.args, self.state
        last = state.step == self.total_steps
        epoch_ends = state.batch == 0
        bar.update()
        if last or state.step % args.logging_steps == 0:
            self._log_step(result, bar)
        improved = False
        if self.evaluate is not None and _due(args.eval_strategy, args.eval_steps, state.step,
                                              epoch_ends, last):
            improved = self._evaluate(bar)
        if args.output_dir is None:
            return
        due = _due(args.save_strategy, args.save_steps, state.step, epoch_ends, last)
        if due or (improved and args.save_strategy != "no"):
            state.loss_sum = float(state.loss_sum)
            self._check_finite(state.loss_sum, result)  # a checkpoint worth keeping, or none
            save_checkpoint(args.output_dir, state, self.amp, self.save_model)
            rotate_checkpoints(args.output_dir, args.save_total_limit, state.best_step)

    def _log_step(self, result, bar):
        """Write a row with the mean loss since the last one."""
        state = self.state
        loss = float(state.loss_sum) / state.loss_steps
        self._check_finite(loss, result)
        state.loss_sum, state.loss_steps = 0.0, 0
        row = {"step": state.step, "epoch": self._epochs_done(), "loss": loss,
               "learning_rate": result.learning_rate, "grad_norm": float(result.grad_norm)}
        if self.amp.precision == "float16":
            row["skipped_steps"] = state.skipped
        self._log(row)
        bar.set_postfix(loss=f"{loss:.3f}", lr=f"{row['learning_rate']:.1e}")
        if bar.disable:
            print(f"step {state.step}/{self.total_steps}  epoch {row['epoch']:.2f}  "
                  f"loss {loss:.4f}  lr {row['learning_rate']:.2e}", flush=True)

    def _check_finite(self, loss, result):
        """Stop a run whose loss or gradient is no longer a number."""
        if not math.isfinite(loss) or (result.stepped and not math.isfinite(result.grad_norm)):
            raise TrainingError(f"the loss is {loss} and the gradient's norm "
                                f"{float(result.grad_norm)} at step {self.state.step}; a lower "
                                "learning_rate or precision 'float32' may help")

    def _evaluate(self, bar):
        """Evaluate, log, and return whether it is the best so far."""
        args, state = self.args, self.state
        before = random_state()  # whether and how one evaluates must not change the training
        with torch.inference_mode():
            metrics = {f"eval_{key}": value for key, value in self.evaluate().items()}
        restore_random_state(before)
        metrics = finite_numbers(metrics)
        if args.best_metric not in metrics:
            raise TrainingError(f"metric_for_best_model is {args.metric_for_best_model!r}; "
                                f"the evaluation gives {', '.join(metrics)}")
        self._log({"step": state.step, "epoch": self._epochs_done(), **metrics})
        shown = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items()
                          if isinstance(value, float))  # None: not a number
        bar.write(f"step {state.step}/{self.total_steps}  {shown}")
        value = metrics[args.best_metric]
        if value is None or not args.is_better(value, state.best_value):
            return False
        state.best_value, state.best_step = float(value), state.step
        return True

    def _epochs_done(self):
        return round(self.state.epoch + self.state.batch / len(self.train_loader), 4)

    def _log(self, row):
        self.state.log.append(finite_numbers(row))
        if self.args.output_dir is not None:
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
