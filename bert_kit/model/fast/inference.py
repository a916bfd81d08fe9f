"""A model made ready to answer: what every call would do to the weights is done once."""

import copy
from typing import TypeVar

import torch
from torch import nn

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
    that were laid out anew, the two models share their numbers, so `model` is not to be trained on
    while this one is in use; nothing done here changes it. Saved, it gives `model`'s weights.

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
    shared = {id(tensor): tensor.detach() for tensor in model.buffers()}
    shared |= {id(weight): nn.Parameter(weight.detach(), requires_grad=False)
               for weight in model.parameters()}
    ready = copy.deepcopy(model, shared).eval()
    blocks = [part for part in ready.modules() if isinstance(part, TransformerEncoderBlock)]
    if can_prepare(precision) and blocks and all(map(is_preparable, blocks)):
        for block in blocks:
            gives = torch.float32 if block is blocks[-1] else dtype
            block.prepared = PreparedBlock.of(block, dtype, gives)
    elif dtype != torch.float32:
        device = next(model.parameters()).device.type
        for part in ready.modules():  # also the encoder, which may be called by itself
            if part is ready or isinstance(part, BERTModel):
                part.forward = torch.autocast(device, dtype)(part.forward)
    return ready
