"""Which learning rate to begin with: raise it from step to step and watch the loss."""

import contextlib
import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bert_kit.checks import number, whole
from bert_kit.errors import TrainingError
from bert_kit.training.distributed import ALONE, Processes
from bert_kit.training.losses import Batch, Loss
from bert_kit.training.optim import make_optimizer
from bert_kit.training.state import random_state, restore_random_state
from bert_kit.training.trainer import AMPTrainer

SMOOTHING = 0.9  # share of the old mean that a new loss leaves; about ten steps count
DIVERGED = 4.0  # the sweep ends when the smoothed loss is so many times its least


class LearningRateSweep(NamedTuple):
    """What `find_learning_rate` saw.

    Attributes
    ----------
    suggestion
        The rate at which the loss fell fastest, by its smoothed curve, whose lag is taken off;
        None if it never fell.
    rates, losses, smoothed
        The curve: rate and loss of each step, and the smoothed loss.
    """

    suggestion: float | None
    rates: list[float]
    losses: list[float]
    smoothed: list[float]


def find_learning_rate(model: nn.Module, loss: Loss, loader: Iterable[Batch],
                       smallest: float = 1e-7, largest: float = 1.0, steps: int = 100,
                       precision: str = "float32", weight_decay: float = 0.01,
                       optimizer: torch.optim.Optimizer | None = None,
                       processes: Processes = ALONE) -> LearningRateSweep:
    """Train for a few steps at rates from `smallest` to `largest` and suggest one.

    The range test of Smith 2017, section 3.3, with rates in equal ratios: too low a rate leaves
    the loss where it is, a good one lets it fall, too high a one drives it up. Weights, buffers,
    random numbers, and which modules are in training mode are as before at the end, whatever
    happens; gradients are None, and the loader's next pass is that of epoch 0.

    Parameters
    ----------
    loss
        As of `Trainer`.
    loader
        As of `Trainer`; passed over again when it ends.
    steps
        Steps from the one rate to the other, at least 10. It stops early when the loss is no
        number or has risen to `DIVERGED` times its least.
    precision
        "float32", "bfloat16" or "float16".
    weight_decay
        Of AdamW, which is what is swept unless there is an `optimizer`.
    optimizer
        The run's own, on the model's parameters, with relative rates: made with a learning rate
        of 1, a group's `lr` says how many times the swept rate it has. Its rates and its state
        are as before at the end.
    processes
        As of `AMPTrainer`; all of them find the same.

    Raises
    ------
    TrainingError
        If the range makes no sense, or the loader is empty.
    """
    number("smallest learning rate", smallest, 0, above=True, error=TrainingError)
    number("largest learning rate", largest, smallest, above=True, error=TrainingError)
    whole("steps", steps, 10, error=TrainingError)
    if optimizer is None:
        optimizer = make_optimizer(model, 1.0, weight_decay)
    amp = AMPTrainer(model, optimizer, precision=precision, processes=processes)
    try:
        with put_back(model, optimizer):
            model.train()
            return _sweep(amp, loss, endless(loader),
                          np.geomspace(smallest, largest, steps).tolist())
    finally:
        to_the_start(loader)


@contextlib.contextmanager
def put_back(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Undo at the end what training inside did to the model, the optimizer and the numbers."""
    numbers, state = random_state(), copy.deepcopy(optimizer.state_dict())
    modes = [(module, module.training) for module in model.modules()]
    tensors = [(tensor, tensor.detach().clone())
               for tensor in (*model.parameters(), *model.buffers())]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in tensors:
                tensor.copy_(value)
        for module, training in modes:
            module.training = training
        optimizer.zero_grad(set_to_none=True)
        optimizer.load_state_dict(state)
        restore_random_state(numbers)


def _sweep(amp: AMPTrainer, loss: Loss, batches: Iterator[Batch],
           rates: list[float]) -> LearningRateSweep:
    """Take one step at each rate until the loss diverges."""
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    factors = [group["lr"] for group in amp.optimizer.param_groups]
    for i, (rate, batch) in enumerate(zip(rates, batches, strict=False)):  # batches have no end
        for group, factor in zip(amp.optimizer.param_groups, factors, strict=True):
            group["lr"] = factor * rate
        value = float(amp.train_step(loss, [batch]).loss)
        if not math.isfinite(value):
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        losses.append(value)
        smoothed.append(mean / (1 - SMOOTHING**(i + 1)))  # as if it had not begun at 0
        if smoothed[-1] > DIVERGED * min(smoothed):
            break
    rates = rates[:len(losses)]
    return LearningRateSweep(_steepest(rates, smoothed), rates, losses, smoothed)


def _steepest(rates: list[float], smoothed: list[float]) -> float | None:
    """Return the rate of the steepest descent against log rate, or None.

    The smoothed curve shows a slow descent later than it was, by its mean lag, and a sudden one
    by less: the rate is that of the loss itself, or a lower one.
    """
    if len(rates) < 2:
        return None
    slopes = np.gradient(smoothed, np.log(rates))
    i = int(slopes.argmin())
    return rates[round(i - _lag(i))] if slopes[i] < 0 else None


def _lag(i: int) -> float:
    """Return the mean age, in steps, of the losses in the smoothed loss of step i.

    >>> [round(_lag(i), 2) for i in (0, 1, 10, 99)]
    [0.0, 0.47, 3.97, 9.0]
    """
    left = SMOOTHING**(i + 1)  # the ages 0 to i have weights in proportion to SMOOTHING^age
    return SMOOTHING / (1 - SMOOTHING) - (i + 1) * left / (1 - left)


def endless(loader: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the loader's batches, pass after pass, from its first epoch on."""
    to_the_start(loader)
    for passes in itertools.count():
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise TrainingError(f"pass {passes + 1} over the training data gave no batches")


def to_the_start(loader: Iterable[Batch]) -> None:
    """Let the next pass of a loader of the kit be that of epoch 0; any other stays as it is."""
    start_at = getattr(getattr(loader, "batch_sampler", None), "start_at", None)
    if start_at is not None:
        start_at(0)
