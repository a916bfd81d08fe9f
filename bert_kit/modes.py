"""How a model is run: where, for answers without gradients and dropout; what losses leave out."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bert_kit.errors import ConfigError, is_out_of_memory

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
IGNORE = -100  # label of a position that has no loss, as torch's cross-entropy has it
# On a CPU the packed tokens are filled up to a multiple of this. The library that multiplies
# matrices there compiles a kernel for each shape it meets, which takes longer than a product; so
# filled up, batches soon have shapes it knows.
ROUND = 32


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on a device; one that goes from the CPU to an accelerator makes nobody wait.

    From ordinary memory a GPU can only fetch what the system has copied elsewhere first, and for
    that copy the program waits until all earlier work is done. So it is pinned here, in memory
    that torch keeps for this. What is pinned already, and what stays, is not copied.
    """
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "cpu")


@contextlib.contextmanager
def evaluation_mode(model: nn.Module, device: torch.device | str | None = None) -> Iterator[None]:
    """Run a model without dropout and gradients inside; every part has its mode back afterwards.

    Parameters
    ----------
    model
        Also one of which only parts are in training mode, as with a frozen encoder.
    device
        Where to move the model first; it stays there.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    modes = {module: module.training for module in model.modules()}
    if device is not None:
        try:
            model.to(device)
        except (AssertionError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise ConfigError(f"device {str(device)!r} cannot be used here ({error!s:.100}); "
                              "expected one that this machine has, such as cpu") from None
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
