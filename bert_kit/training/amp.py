"""One optimizer step in mixed precision: forward and backward in 16 bits, weights in 32.

bfloat16 has float32's range and needs nothing else. float16 does not: small gradients vanish, so
the loss is scaled up before backward and the gradients down before anything looks at them
(Micikevicius et al. 2018, section 3.2).
"""

import contextlib
from typing import NamedTuple

import torch
from torch.nn.parallel import DistributedDataParallel

from bert_kit.errors import TrainingError
from bert_kit.training.distributed import ALONE
from bert_kit.training.losses import (compute_classification_loss, compute_mlm_loss, count_labels)

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def best_precision(device="cpu"):
    """Return "bfloat16" where the machine multiplies in it natively, else "float32"."""
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if torch.device(device).type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if native else "float32"


class StepResult(NamedTuple):
    """What one optimizer step reports; the tensors are left on the device.

    Attributes
    ----------
    loss : Tensor ()
        Mean over all labels of the step.
    grad_norm : Tensor ()
        Length of the gradient before clipping.
    learning_rate : float
        The rate of this step; the highest one where parameter groups have rates of their own.
    stepped : bool
        False if float16 gradients overflowed and the step was skipped.
    """

    loss: torch.Tensor
    grad_norm: torch.Tensor
    learning_rate: float
    stepped: bool


class AMPTrainer:
    """Runs training steps of any loss in one precision.

    Parameters
    ----------
    model : Module
    optimizer : torch.optim.Optimizer
    scheduler : optional
        Its `step()` is called after each step that was not skipped.
    precision : str
        "float32", "bfloat16" or "float16".
    max_grad_norm : float or None
        Longest gradient; a longer one is scaled back to it.
    init_scale, growth_factor, backoff_factor, growth_interval
        How float16's loss scale starts and moves; see `torch.amp.GradScaler`.
    processes : Processes
        Those that take each step together, every one with its rows of the batches; see
        `join_processes`. They all report the same.

    Raises
    ------
    TrainingError
        If the precision is unknown.
    """

    def __init__(self, model, optimizer, scheduler=None, precision="bfloat16", max_grad_norm=1.0,
                 init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000,
                 processes=ALONE):
        if precision not in PRECISIONS:
            raise TrainingError(f"precision is {precision!r}; "
                                f"expected one of {', '.join(PRECISIONS)}")
        if any(p.dtype != torch.float32 for p in model.parameters() if p.requires_grad):
            raise TrainingError("the model has trainable weights that are not float32; mixed "
                                "precision keeps the weights in float32")
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.precision, self.max_grad_norm = precision, max_grad_norm
        self.processes, self._parallel, self._trained = processes, model, None
        self.device_type = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(
            self.device_type, init_scale, growth_factor, backoff_factor, growth_interval,
            enabled=precision == "float16")

    def autocast(self):
        """Return the context in which forward passes of this precision run."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device_type, dtype, enabled=dtype is not None)

    def train_step(self, loss, batches):
        """Take one optimizer step over a window of batches and return its StepResult.

        `loss(model, batch, counts)` is divided by the label counts of the whole window in all
        processes, so the result is that of one batch holding all the rows. With several of them
        the `model` that the loss is given is the DistributedDataParallel around it.
        """
        return self.update(self.accumulate(loss, batches))

    def accumulate(self, loss, batches):
        """Add up the gradient of a window of batches and return its loss; the first half of a step.

        The parameters' `grad` must be None before it, as they are after `update`.
        """
        batches = list(batches)
        if not batches:
            raise TrainingError("a training step needs at least one batch")
        counts = {}
        for batch in batches:
            for key, count in count_labels(batch).items():
                counts[key] = counts.get(key, 0) + count
        counts, model, size = self.processes.sum_counts(counts), self._model(), self.processes.size
        total = 0.0
        for i, batch in enumerate(batches, 1):
            # The gradients are added up over the processes in the last backward pass.
            with (contextlib.nullcontext() if size == 1 or i == len(batches)
                  else model.no_sync()):
                with self.autocast():
                    value = loss(model, batch, counts)
                self.scaler.scale(value * size).backward()  # DDP takes the mean, not the sum
            total = total + value.detach()
        return self.processes.sum(total)

    def _model(self):
        """Return the model as the loss is to call it: one that adds gradients up when it must.

        What DistributedDataParallel adds up is settled when it is made, so one is made anew
        whenever other parameters are trained.
        """
        trained = [p.requires_grad for p in self.model.parameters()]
        if self.processes.size > 1 and trained != self._trained:
            self._parallel = DistributedDataParallel(self.model, gradient_as_bucket_view=True)
            self._trained = trained
        return self._parallel

    def update(self, total):
        """Take the optimizer step on the gradient at hand; the second half of a step.

        The gradient is unscaled before it is clipped: its norm must be the true one. `total` is
        the loss to report.
        """
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        stepped = not self.scaler.is_enabled() or self.scaler.get_scale() >= scale
        if stepped and self.scheduler is not None:
            self.scheduler.step()
        return StepResult(total, norm, rate, stepped)

    def train_mlm_step(self, *batches):
        """One step of masked-language modelling; see `train_step`."""
        return self.train_step(compute_mlm_loss, batches)

    def train_classification_step(self, *batches):
        """One step of classification; see `train_step`."""
        return self.train_step(compute_classification_loss, batches)

    def state_dict(self):
        """Return the precision and the scaler's state, for a checkpoint."""
        return {"precision": self.precision, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state):
        """Restore `state_dict`; another precision than the stored one is a TrainingError."""
        if state["precision"] != self.precision:
            raise TrainingError(f"the checkpoint was trained in {state['precision']}, "
                                f"this run is in {self.precision}")
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
