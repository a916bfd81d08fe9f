"""How long a step takes, to plan a run by the clock."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from torch import nn

from bert_kit.checks import number
from bert_kit.errors import TrainingError
from bert_kit.files import StrPath, read_json
from bert_kit.training.distributed import ALONE, Processes
from bert_kit.training.arguments import TrainingArguments
from bert_kit.training.losses import Batch, Loss
from bert_kit.training.lr_finder import endless, put_back, to_the_start
from bert_kit.training.optim import layerwise_rates, make_optimizer
from bert_kit.training.trainer import AMPTrainer

WARM_UP = 3  # steps that do not count: memory is first asked for in them
SHARE = 0.03  # of the time that is planned, spent on measuring


def planned_steps(minutes: float, model: nn.Module, args: TrainingArguments, loss: Loss,
                  loader: Iterable[Batch], resume: StrPath | None = None,
                  processes: Processes = ALONE) -> int:
    """Return how many optimizer steps of a run fit into some minutes, at least one.

    A few steps are taken, and undone: weights, buffers and random numbers are as before at the
    end, and the loader's next pass is that of epoch 0. Their time counts. Where rows are grouped
    by length the first batches may be long or short ones: a loader of the kit says how many tokens
    its batches have on average, and the line through the steps taken how long those take.

    Parameters
    ----------
    args
        Of the run: optimizer, precision, and batches in a step.
    loss, loader
        As of `Trainer`.
    resume
        As of `Trainer.train`: a run that goes on keeps the number that it began with.
    processes
        As of `AMPTrainer`; all of them find the same number.

    Raises
    ------
    TrainingError
        If the time is not above 0, or the loader is empty.
    """
    number("minutes", minutes, 0, above=True, error=TrainingError)
    begun, seconds = Path(str(args.output_dir)) / "training_args.json", 60 * minutes
    if resume is not None and begun.is_file():
        return int(read_json(begun)["max_steps"])
    optimizer = make_optimizer(model, args.learning_rate, kind=args.optim,
                               rate_of=layerwise_rates(model, args.learning_rate))
    amp = AMPTrainer(model, optimizer, precision=args.precision, processes=processes)
    begin = monotonic()
    ends: list[float] = []
    try:
        with put_back(model, optimizer):
            model.train()
            batches = endless(loader)
            for step in itertools.count():
                amp.train_step(loss, itertools.islice(batches, args.gradient_accumulation_steps))
                if step + 1 >= WARM_UP:
                    ends.append(monotonic())
                if len(ends) > 1 and processes.any(ends[-1] - begin > SHARE * seconds):
                    break
    finally:
        to_the_start(loader)
    each = _usual_seconds(np.diff(ends), _tokens(loader, len(ends) - 1,
                                                 args.gradient_accumulation_steps))
    steps = max(1, int((seconds - (monotonic() - begin)) / each))
    return processes.from_first(lambda: steps)


def _tokens(loader: Iterable[Batch], steps: int, together: int) -> tuple[np.ndarray, float] | None:
    """Return the tokens of each step that was timed, and of one on average.

    None for a loader that is not the kit's, and where so many steps are a pass. A step has as many
    batches as go `together`.
    """
    sampler: Any = getattr(loader, "batch_sampler", None)
    first, count = WARM_UP * together, steps * together
    if not hasattr(sampler, "batches") or first + count > len(sampler):
        return None
    timed = [float(np.sum(sampler.lengths[rows]))
             for rows in itertools.islice(sampler.batches(0), first, first + count)]
    usual = sampler.lengths.mean() * len(sampler.lengths) / len(sampler) * together
    return np.reshape(timed, (steps, together)).sum(1), usual


def _usual_seconds(seconds: np.ndarray, tokens: tuple[np.ndarray, float] | None) -> float:
    """Return how long a step of usual length takes, by the steps that were timed.

    By the line of least squares, a + b tokens, with neither a nor b below 0; where all steps have
    as many tokens, a is 0.
    """
    mean = float(seconds.mean())
    if tokens is None:
        return mean
    timed, usual = tokens
    off = timed - timed.mean()
    most = mean / timed.mean()  # b where a is 0
    rise = float(off @ (seconds - mean) / (off @ off)) if off.any() else most
    return mean + min(max(rise, 0.0), most) * (usual - timed.mean())
