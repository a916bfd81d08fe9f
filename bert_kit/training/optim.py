"""AdamW with the parameter groups BERT uses, and learning rates that rise and then fall."""

import math

import torch

from bert_kit.errors import TrainingError

SCHEDULES = ("linear", "cosine", "constant")


def parameter_groups(model, weight_decay):
    """Split the trainable parameters into those that decay and those that do not.

    Matrices decay: linear and embedding weights. Vectors do not: biases and LayerNorm's weight
    and bias (Devlin et al. 2019's code, `exclude_from_weight_decay`). The number of axes tells
    them apart, whatever the module is called. A shared parameter is listed once.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def make_optimizer(model, learning_rate, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8):
    """Return AdamW (Loshchilov & Hutter 2019) on `parameter_groups`.

    Unlike BERT's own optimizer it corrects the bias of the moments, without which short
    fine-tunings are unstable (Mosbach et al. 2021).
    """
    return torch.optim.AdamW(parameter_groups(model, weight_decay), lr=learning_rate, betas=betas,
                             eps=eps, fused=True)


def schedule_factor(step, kind, warmup_steps, total_steps):
    """Return the factor on the learning rate at one optimizer step.

    Parameters
    ----------
    step : int
        Number of steps done, from 0.
    kind : str
        "linear" falls to 0 at `total_steps`, "cosine" does so along half a cosine, "constant"
        stays at 1.
    warmup_steps : int
        The factor climbs in equal strides over so many steps; the very first is not lost to a
        rate of zero, and the peak of 1 is reached at `step == warmup_steps`.
    total_steps : int

    Examples
    --------
    >>> [schedule_factor(s, "linear", 3, 7) for s in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return {
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
        "constant": 1.0,
    }[kind]


def make_schedule(optimizer, kind, warmup_steps, total_steps):
    """Return a scheduler that applies `schedule_factor` after each `step()`.

    `warmup_steps` below 1 is a share of `total_steps`.

    Raises
    ------
    TrainingError
        If the kind is unknown or the warm-up is longer than the run.
    """
    if kind not in SCHEDULES:
        raise TrainingError(f"lr_scheduler_type is {kind!r}; "
                            f"expected one of {', '.join(SCHEDULES)}")
    warmup = round(warmup_steps * total_steps) if 0 <= warmup_steps < 1 else warmup_steps
    if warmup != int(warmup) or not 0 <= warmup <= total_steps:
        raise TrainingError(f"warmup_steps is {warmup_steps}; expected a share below 1 or a whole "
                            f"number up to the {total_steps} steps of the run")
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule_factor(step, kind, int(warmup), total_steps))
