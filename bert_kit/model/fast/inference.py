"""A model made ready to answer: what every call would do to the weights is done once."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bert_kit.checks import one_of
from bert_kit.model.encoder import BERTModel, TransformerEncoderBlock
from bert_kit.model.fast.prepared import PreparedBlock, can_prepare, is_preparable
from bert_kit.modes import PRECISIONS

Model = TypeVar("Model", bound=nn.Module)


def prepare_for_inference(model: Model, precision: str = "float32") -> Model:
    """Return a model that gives the answers of `model`, faster, and is called like it.

    On a CPU with AVX-512 the weights of the encoder are cast, and laid out for the processor, once
    instead of in every call; in bfloat16 what runs between the products is bfloat16 as well, and
    heads are float32. Elsewhere, or if a part of the encoder is not the kit's own or has a hook, it
    computes as `model` does, in bfloat16 under autocast.

    It is in evaluation mode and stays out of training: it has no gradient. Apart from the weights
    that were laid out anew, the two models share their numbers and hooks, so `model` is not to be
    trained on while this one is in use; nothing done here changes it. Saved, it gives `model`'s
    weights. Weights are loaded into `model`, and moved or cast there, and it is prepared again. A
    function among the hooks that holds on to a part of `model` goes on speaking to that part.

    Parameters
    ----------
    model
        A task model or an encoder of the kit.
    precision
        "float32", "bfloat16", or for a GPU "float16".

    Raises
    ------
    ConfigError
        If the precision is unknown.

    Examples
    --------
    >>> from bert_kit import create_model_config
    >>> model = BERTModel(create_model_config("bert-tiny", vocab_size=100)).eval()
    >>> fast, ids = prepare_for_inference(model), torch.tensor([[2, 7, 9, 3]])
    >>> with torch.inference_mode():
    ...     difference = fast(ids).last_hidden_state - model(ids).last_hidden_state
    >>> bool(difference.abs().max() < 1e-5)
    True
    """
    dtype = PRECISIONS[one_of("precision", precision, PRECISIONS)] or torch.float32
    ready = copy.deepcopy(model, dict(_shared(model))).eval()
    blocks = [part for part in ready.modules() if isinstance(part, TransformerEncoderBlock)]
    if can_prepare(precision) and blocks and all(map(is_preparable, blocks)):
        for block in blocks:
            gives = torch.float32 if block is blocks[-1] else dtype
            block.prepared = PreparedBlock.of(block, dtype, gives)
    elif dtype != torch.float32:
        device = next(model.parameters()).device.type
        for part in ready.modules():  # also the encoder, which may be called by itself
            if part is ready or isinstance(part, BERTModel):
                part.forward = partial(_under_autocast, part.forward, device, dtype)
    return ready


def _shared(model: nn.Module) -> Iterator[tuple[int, Any]]:
    """Yield what a copy of a model holds instead of a copy, by the id of what it stands for.

    Its tensors, also those that a part has put by, and the hooks: who registered a method of some
    collector looks there for what it collects. Only a method of a part belongs to that part's copy.
    """
    parts = list(model.modules())
    for part in parts:
        for held in vars(part).values():
            several = list(held.values()) if isinstance(held, dict) else held
            for one in several if isinstance(several, list | tuple) else [several]:
                if isinstance(one, nn.Parameter):
                    yield id(one), nn.Parameter(one.detach(), requires_grad=False)
                elif isinstance(one, Tensor):
                    yield id(one), one.detach()
        for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values()):
            if not any(getattr(hook, "__self__", None) is own for own in parts):
                yield id(hook), hook


def _under_autocast(forward: Callable[..., Any], device: str, dtype: torch.dtype, *given: Any,
                    **named: Any) -> Any:
    # A context of its own each time: texts in windows make a model call itself.
    with torch.autocast(device, dtype):
        return forward(*given, **named)
