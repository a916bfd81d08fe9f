"""How a model is run: for answers, without gradients and dropout; and what all losses leave out."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

IGNORE = -100  # label of a position that has no loss, as torch's cross-entropy has it
# On a CPU the packed tokens are filled up to a multiple of this. The library that multiplies
# matrices there compiles a kernel for each shape it meets, which takes longer than a product; so
# filled up, batches soon have shapes it knows.
ROUND = 32


@contextlib.contextmanager
def evaluation_mode(model: nn.Module, device: torch.device | str | None = None) -> Iterator[None]:
    """Run a model without dropout and gradients inside; every part has its mode back afterwards.

    Parameters
    ----------
    model
        Also one of which only parts are in training mode, as with a frozen encoder.
    device
        Where to move the model first; it stays there.
    """
    modes = {module: module.training for module in model.modules()}
    if device is not None:
        model.to(device)
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
