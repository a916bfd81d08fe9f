"""How long a step takes, to plan a run by the clock."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

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
    end, and the loader's next pass is that of epoch 0. Their time counts. A step takes time in
    proportion to its tokens, and where rows are grouped by length the first batches may be long
    or short ones: a loader of the kit says how many tokens its batches have on average.

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
    begin, taken = monotonic(), 0
    started = begin
    try:
        with put_back(model, optimizer):
            model.train()
            batches = endless(loader)
            for step in itertools.count():
                amp.train_step(loss, itertools.islice(batches, args.gradient_accumulation_steps))
                if step + 1 == WARM_UP:
                    started = monotonic()
                taken = step + 1 - WARM_UP
                if taken > 0 and processes.any(monotonic() - begin > SHARE * seconds):
                    break
    finally:
        to_the_start(loader)
    now = monotonic()
    first, last = (count * args.gradient_accumulation_steps for count in (WARM_UP, WARM_UP + taken))
    seconds_of_a_step = (now - started) / taken * _usual_length(loader, first, last)
    steps = max(1, int((seconds - (now - begin)) / seconds_of_a_step))
    return processes.from_first(lambda: steps)


def _usual_length(loader: Iterable[Batch], first: int, last: int) -> float:
    """Return the tokens of a batch, on average, by those of the batches `first` to `last`.

    1 for a loader that is not the kit's, and where so many batches are a pass or more.
    """
    sampler = getattr(loader, "batch_sampler", None)
    if not hasattr(sampler, "batches") or last > len(sampler):
        return 1.0
    timed = sum(float(np.sum(sampler.lengths[rows]))
                for rows in itertools.islice(sampler.batches(0), first, last))
    whole = sampler.lengths.mean() * len(sampler.lengths)
    return whole / len(sampler) / (timed / (last - first))
