"""Optimizers with the parameter groups BERT uses, and learning rates that rise and then fall."""

import math
import re

import torch

from bert_kit.errors import TrainingError

SCHEDULES = ("linear", "cosine", "constant")


def parameter_groups(model, weight_decay, rate_of=None):
    """Split the parameters by whether they decay, and by learning rate.

    Matrices decay: linear and embedding weights. Vectors do not: biases and LayerNorm's weight
    and bias (Devlin et al. 2019's code, `exclude_from_weight_decay`). The number of axes tells
    them apart, whatever the module is called. A shared parameter is listed once. Frozen
    parameters are listed too, since they may be unfrozen later: an optimizer passes over what
    has no gradient, so neither decay nor momentum moves them.

    Parameters
    ----------
    model : Module
    weight_decay : float
    rate_of : callable, optional
        `rate_of(name)` -> the learning rate of the parameter of that name; see `layerwise_rates`.

    Returns
    -------
    list of dict
        One group for each rate and decay that occur, the highest rate first.

    Examples
    --------
    >>> groups = parameter_groups(torch.nn.Linear(3, 2), 0.1)
    >>> [(group["weight_decay"], len(group["params"])) for group in groups]
    [(0.1, 1), (0.0, 1)]
    """
    groups = {}
    for name, parameter in model.named_parameters():
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        rate = None if rate_of is None else rate_of(name)
        # Matrices and vectors stay apart even if the decay is 0 for both.
        groups.setdefault((rate, parameter.ndim >= 2, decay), []).append(parameter)
    return [{"params": groups[rate, matrices, decay], "weight_decay": decay,
             **({} if rate is None else {"lr": rate})}
            for rate, matrices, decay in sorted(groups, reverse=True)]


def _adamw(groups, learning_rate, betas, eps, momentum):
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=True)


def _adam(groups, learning_rate, betas, eps, momentum):
    return torch.optim.Adam(groups, lr=learning_rate, betas=betas, eps=eps, fused=True)


def _sgd(groups, learning_rate, betas, eps, momentum):
    # Not fused: torch's fused kernel fails when some parameters have moved and others, frozen
    # until now, have not.
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)


def _rmsprop(groups, learning_rate, betas, eps, momentum):
    return torch.optim.RMSprop(groups, lr=learning_rate, alpha=betas[1], eps=eps,
                               momentum=momentum)


OPTIMIZERS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd, "rmsprop": _rmsprop}


def make_optimizer(model, learning_rate, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8,
                   kind="adamw", momentum=0.9, rate_of=None):
    """Return an optimizer on `parameter_groups`.

    Parameters
    ----------
    model : Module
    learning_rate, weight_decay : float
    betas : (float, float)
        How much of the old mean of the gradient, and of its square, is kept in a step of "adamw"
        and "adam"; the second one also in "rmsprop" (its alpha).
    eps : float
        Added to the root of the mean square, except in "sgd".
    kind : str
        "adamw" (Loshchilov & Hutter 2019) takes the decay off the weights; unlike BERT's own
        optimizer it corrects the bias of the moments, without which short fine-tunings are
        unstable (Mosbach et al. 2021). "adam", "sgd" and "rmsprop" add the decay to the gradient.
    momentum : float
        Of "sgd" and "rmsprop".
    rate_of : callable, optional
        Each parameter's own rate instead of `learning_rate`; see `parameter_groups`.

    Raises
    ------
    TrainingError
        If the kind is unknown.
    """
    if kind not in OPTIMIZERS:
        raise TrainingError(f"optim is {kind!r}; expected one of {', '.join(OPTIMIZERS)}")
    groups = parameter_groups(model, weight_decay, rate_of)
    return OPTIMIZERS[kind](groups, learning_rate, tuple(betas), eps, momentum)


def encoder_layers(model):
    """Return {parameter name: layer}, counted from below.

    The embeddings are layer 0, block i is layer i + 1, and the pooler belongs to the last block.
    What is not part of the encoder, the head, is None. Names are those of the kit's task models,
    `bert.embeddings.`, `bert.blocks.<i>.` and `bert.pooler.`.
    """
    layers = {}
    for name, _ in model.named_parameters():
        block = re.match(r"bert\.blocks\.(\d+)\.", name)
        layers[name] = (int(block[1]) + 1 if block else
                        0 if name.startswith("bert.embeddings.") else None)
    top = max((layer for layer in layers.values() if layer is not None), default=0)
    return {name: top if name.startswith("bert.pooler.") else layer
            for name, layer in layers.items()}


def layerwise_rates(model, learning_rate, head_learning_rate=None, layer_decay=1.0):
    """Return the function that gives each parameter, by name, a learning rate of its own.

    A layer's rate is `learning_rate` * layer_decay^(L - layer), with the layers of
    `encoder_layers`: the last block and the pooler have `learning_rate` itself, the embeddings
    the lowest (Howard & Ruder 2018, section 3.2; Clark et al. 2020, appendix B). The head has
    `head_learning_rate`, by default `learning_rate`. A schedule keeps the ratios.

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

    def rate_of(name):
        layer = layers.get(name)
        return head if layer is None else learning_rate * layer_decay**(top - layer)

    return rate_of


def describe_groups(optimizer):
    """Return one line of text for each parameter group of an optimizer."""
    return [f"{len(group['params'])} tensors, {sum(p.numel() for p in group['params']):,} numbers, "
            f"{sum(p.numel() for p in group['params'] if not p.requires_grad):,} of them frozen; "
            f"learning rate {group.get('initial_lr', group['lr']):.2e}, "
            f"weight decay {group.get('weight_decay', 0):g}" for group in optimizer.param_groups]


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

    `warmup_steps` below 1 is a share of `total_steps`. Every parameter group keeps its ratio to
    the others.

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
