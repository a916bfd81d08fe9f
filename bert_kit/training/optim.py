"""Optimizers with the parameter groups BERT uses, and learning rates that rise and then fall."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from bert_kit.checks import one_of
from bert_kit.errors import TrainingError
from bert_kit.training.muon import MATRICES, Muon

OPTIMIZERS = ("adamw", "muon", "adam", "sgd", "rmsprop")
SCHEDULES = ("linear", "cosine", "constant", "wsd")
FALL = 0.3  # of a run, the share in which the rate of "wsd" falls
MUON_FACTOR = 2.0  # a matrix that moves by Muon has so many times the rate of the rest
RateOf = Callable[[str], float]  # the learning rate of the parameter of a name


def parameter_groups(model: nn.Module, weight_decay: float, rate_of: RateOf | None = None,
                     muon: bool = False) -> list[dict[str, Any]]:
    """Split the parameters by whether they decay, and by learning rate.

    Matrices decay: linear and embedding weights. Vectors do not: biases and LayerNorm's weight
    and bias (Devlin et al. 2019's code, `exclude_from_weight_decay`). The number of axes tells
    them apart, whatever the module is called. A shared parameter is listed once. Frozen
    parameters are listed too, since they may be unfrozen later: an optimizer passes over what
    has no gradient, so neither decay nor momentum moves them.

    `rate_of(name)` gives each parameter a learning rate; see `layerwise_rates`. There is one group
    for each rate and decay that occur, the highest rate first. Its `part` is "head" if nothing of
    the encoder is in it, else "encoder". With `muon` the matrices of the blocks are in groups of
    their own, whose part is "matrices"; `joined` says how many stand above one another in each.

    Examples
    --------
    >>> groups = parameter_groups(torch.nn.Linear(3, 2), 0.1)
    >>> [(group["weight_decay"], len(group["params"])) for group in groups]
    [(0.1, 1), (0.0, 1)]
    """
    groups: dict[tuple, list[str]] = {}
    parameters, layers = dict(model.named_parameters()), encoder_layers(model)
    for name, parameter in parameters.items():
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        rate = None if rate_of is None else rate_of(name)
        joined = (3 if ".qkv." in name else 1) if muon and is_block_matrix(name, parameter) else 0
        # Matrices and vectors stay apart even if the decay is 0 for both.
        groups.setdefault((rate, parameter.ndim >= 2, decay, joined), []).append(name)
    found = []
    for rate, matrices, decay, joined in sorted(groups, reverse=True):
        names = groups[rate, matrices, decay, joined]
        head = any(layers.values()) and all(layers[name] is None for name in names)
        found.append({"params": [parameters[name] for name in names], "weight_decay": decay,
                      "part": MATRICES if joined else "head" if head else "encoder",
                      **({"joined": joined} if joined else {}),
                      **({} if rate is None else {"lr": rate})})
    return found


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float = 0.01,
                   betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8, kind: str = "adamw",
                   momentum: float = 0.9, rate_of: RateOf | None = None) -> torch.optim.Optimizer:
    """Return an optimizer on `parameter_groups`.

    Parameters
    ----------
    betas
        How much of the old mean of the gradient, and of its square, is kept in a step of "adamw"
        and "adam"; the second one also in "rmsprop" (its alpha).
    eps
        Added to the root of the mean square, except in "sgd".
    kind
        "adamw" (Loshchilov & Hutter 2019) takes the decay off the weights; unlike BERT's own
        optimizer it corrects the bias of the moments, without which short fine-tunings are
        unstable (Mosbach et al. 2021). "muon" is `Muon` for the matrices of the blocks and "adamw"
        for all else. "adam", "sgd" and "rmsprop" add the decay to the gradient.
    momentum
        Of "sgd" and "rmsprop".
    rate_of
        Each parameter's own rate instead of `learning_rate`; see `parameter_groups`.

    Raises
    ------
    TrainingError
        If the kind is unknown.
    """
    one_of("optim", kind, OPTIMIZERS, TrainingError)
    groups = parameter_groups(model, weight_decay, rate_of, kind == "muon")
    first, second = betas
    if kind == "sgd":
        # Not fused: torch's fused kernel fails when some parameters have moved and others, frozen
        # until now, have not.
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, learning_rate, second, eps, momentum=momentum)
    if kind == "muon":
        return Muon(groups, learning_rate, (first, second), eps)
    adam = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return adam(groups, learning_rate, (first, second), eps, fused=True)


def is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Say whether a parameter is a matrix of an encoder block, by its name and its axes."""
    return parameter.ndim == 2 and re.match(r"(bert\.)?blocks\.", name) is not None


def encoder_layers(model: nn.Module) -> dict[str, int | None]:
    """Return {parameter name: layer}, counted from below.

    The embeddings are layer 0, block i is layer i + 1, and the pooler belongs to the last block.
    What is not part of the encoder, the head, is None. Names are those of the kit's task models,
    `bert.embeddings.`, `bert.blocks.<i>.` and `bert.pooler.`, or of an encoder alone.
    """
    layers: dict[str, int | None] = {}
    for name, _ in model.named_parameters():
        block = re.match(r"(bert\.)?blocks\.(\d+)\.", name)
        layers[name] = (int(block[2]) + 1 if block else
                        0 if re.match(r"(bert\.)?embeddings\.", name) else None)
    top = max((layer for layer in layers.values() if layer is not None), default=0)
    return {name: top if re.match(r"(bert\.)?pooler\.", name) else layer
            for name, layer in layers.items()}


def layerwise_rates(model: nn.Module, learning_rate: float, head_learning_rate: float | None = None,
                    layer_decay: float = 1.0,
                    muon_learning_rate: float | None = None) -> RateOf:
    """Return the function that gives each parameter, by name, a learning rate of its own.

    A layer's rate is `learning_rate` * layer_decay^(L - layer), with the layers of
    `encoder_layers`: the last block and the pooler have `learning_rate` itself, the embeddings
    the lowest (Howard & Ruder 2018, section 3.2; Clark et al. 2020, appendix B). The head has
    `head_learning_rate`, by default `learning_rate`. The matrices of the blocks have, with a
    `muon_learning_rate`, that instead of `learning_rate`. A schedule keeps the ratios.

    Examples
    --------
    >>> from bert_kit import BERTForSequenceClassification, create_model_config
    >>> model = BERTForSequenceClassification(create_model_config("bert-tiny", vocab_size=9))
    >>> rate_of = layerwise_rates(model, 8e-5, head_learning_rate=1e-3, layer_decay=0.5)
    >>> [rate_of(name) for name in ("bert.embeddings.word.weight", "bert.blocks.0.attention.qkv."
    ...                             "bias", "bert.pooler.dense.bias", "classifier.output.bias")]
    [2e-05, 4e-05, 8e-05, 0.001]
    """
    layers = encoder_layers(model)
    top = max((layer for layer in layers.values() if layer is not None), default=0)
    head = learning_rate if head_learning_rate is None else head_learning_rate
    peak = dict.fromkeys(layers, learning_rate)
    if muon_learning_rate is not None:
        peak |= {name: muon_learning_rate for name, parameter in model.named_parameters()
                 if is_block_matrix(name, parameter)}

    def rate_of(name: str) -> float:
        layer = layers.get(name)
        return head if layer is None else peak[name] * layer_decay**(top - layer)

    return rate_of


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the rates of an optimizer as a log names them; of several in a part, the highest.

    `learning_rate` is the encoder's; where other parts have rates of their own there are also
    `head_learning_rate` and, of the matrices that move by Muon, `muon_learning_rate`.
    """
    names = {"head": "head_learning_rate", MATRICES: "muon_learning_rate"}
    rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        name = names.get(group.get("part", ""), "learning_rate")
        rates[name] = max(rates.get(name, 0.0), float(group["lr"]))
    return {"learning_rate": max(rates.values()), **rates}


def describe_groups(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return one line of text for each parameter group of an optimizer."""
    return [f"{len(group['params'])} tensors, {sum(p.numel() for p in group['params']):,} numbers, "
            f"{sum(p.numel() for p in group['params'] if not p.requires_grad):,} of them frozen; "
            f"learning rate {group.get('initial_lr', group['lr']):.2e}, "
            f"weight decay {group.get('weight_decay', 0):g}" for group in optimizer.param_groups]


def schedule_factor(step: int, kind: str, warmup_steps: int, total_steps: int) -> float:
    """Return the factor on the learning rate at one optimizer step.

    Parameters
    ----------
    step
        Number of steps done, from 0.
    kind
        "linear" falls to 0 at `total_steps`, "cosine" does so along half a cosine, "constant"
        stays at 1, and "wsd" stays there until it falls in a line over the last `FALL` of all
        steps (warm-up, stable, decay: Hu et al. 2024, "MiniCPM", section 4.2).
    warmup_steps
        The factor climbs in equal strides over so many steps; the very first is not lost to a
        rate of zero, and the peak of 1 is reached at `step == warmup_steps`.

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
        "wsd": min(1.0, max(0, total_steps - step) / max(1.0, min(
            FALL * total_steps, total_steps - warmup_steps))),
    }[kind]


class StepSchedule(LambdaLR):
    """A schedule that follows from the number of steps alone: nothing of it need be stored."""

    def go_to(self, steps: int) -> None:
        """Stand where `steps` calls of `step()` lead to, counted from the start."""
        self.last_epoch, self._step_count = steps, steps + 1
        for group, rate, factor in zip(self.optimizer.param_groups, self.base_lrs,
                                       self.lr_lambdas, strict=True):
            group["lr"] = rate * factor(steps)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def make_schedule(optimizer: torch.optim.Optimizer, kind: str, warmup_steps: float,
                  total_steps: int) -> StepSchedule:
    """Return a scheduler that applies `schedule_factor` after each `step()`.

    `warmup_steps` below 1 is a share of `total_steps`. Every parameter group keeps its ratio to
    the others.

    Raises
    ------
    TrainingError
        If the kind is unknown or the warm-up is longer than the run.
    """
    one_of("lr_scheduler_type", kind, SCHEDULES, TrainingError)
    warmup = round(warmup_steps * total_steps) if 0 <= warmup_steps < 1 else warmup_steps
    if warmup != int(warmup) or not 0 <= warmup <= total_steps:
        raise TrainingError(f"warmup_steps is {warmup_steps}; expected a share below 1 or a whole "
                            f"number up to the {total_steps} steps of the run")
    return StepSchedule(
        optimizer, lambda step: schedule_factor(step, kind, int(warmup), total_steps))
