"""Where and how precisely to compute: the device, and forward and backward in 16 bits.

In mixed precision the weights stay in 32 bits.

bfloat16 has float32's range and needs nothing else. float16 does not: small gradients vanish, so
the loss is scaled up before backward and the gradients down before anything looks at them
(Micikevicius et al. 2018, section 3.2).
"""

import torch

from bert_kit.checks import one_of
from bert_kit.errors import ConfigError, TrainingError
from bert_kit.modes import PRECISIONS


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device called "auto", "cpu", "cuda", "cuda:1" or "mps"; auto takes the fastest.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    here = [kind for kind, there in (("cuda", torch.cuda.is_available()),
                                     ("mps", torch.backends.mps.is_available()),
                                     ("cpu", True)) if there]
    if name == "auto":
        return torch.device(here[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device is {name!r}; expected auto, cpu, cuda or mps") from None
    if device.type not in here:
        raise ConfigError(f"device {name!r} is not on this machine; expected {', '.join(here)}")
    return torch.device("cpu") if device.type == "cpu" else device  # "cpu:0" is the same


def best_precision(device: str | torch.device = "cpu") -> str:
    """Return "bfloat16" where the machine multiplies in it natively, else "float32"."""
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if torch.device(device).type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if native else "float32"


def autocast(precision: str, device_type: str = "cpu") -> torch.autocast:
    """Return the context in which forward passes run in "float32", "bfloat16" or "float16".

    Raises
    ------
    TrainingError
        If the precision is unknown.
    """
    dtype = PRECISIONS[one_of("precision", precision, PRECISIONS, TrainingError)]
    return torch.autocast(device_type, dtype, enabled=dtype is not None)


def loss_scaler(precision: str, device_type: str, init_scale: float = 2.0**16,
                growth_factor: float = 2.0, backoff_factor: float = 0.5,
                growth_interval: int = 2000) -> torch.amp.GradScaler:
    """Return what scales the loss up and the gradient down: by 1, except in float16."""
    return torch.amp.GradScaler(device_type, init_scale, growth_factor, backoff_factor,
                                growth_interval, enabled=precision == "float16")
