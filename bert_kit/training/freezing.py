"""Training only a part of the encoder: lower layers are frozen, for good or for some epochs."""

from collections.abc import Callable

from torch import nn

from bert_kit.checks import whole
from bert_kit.errors import TrainingError
from bert_kit.training.optim import encoder_layers

ENCODER = "encoder"  # all of it


def freeze(model: nn.Module, layers: int | str | None) -> None:
    """Freeze the lower layers of the encoder and unfreeze the others; leave the head alone.

    A frozen parameter gets no gradient, so no optimizer moves it, and nothing is computed for it
    on the way back. Dropout goes on in frozen layers.

    Parameters
    ----------
    model
        A task model, with its encoder under the name `bert`, or an encoder alone.
    layers
        0 freezes the embeddings, k the embeddings and the first k blocks; "encoder" or -1 the
        whole encoder with its pooler; None nothing. All blocks and the whole encoder are the
        same: the pooler belongs to the last block.

    Raises
    ------
    TrainingError
        If the model has no encoder by that name, or fewer blocks, or nothing is left to train.

    Examples
    --------
    >>> from bert_kit import BERTForMaskedLM, create_model_config
    >>> model = BERTForMaskedLM(create_model_config("bert-tiny", vocab_size=9))
    >>> freeze(model, 1)
    >>> [name for name, p in model.named_parameters() if p.requires_grad][0]
    'bert.blocks.1.attention.qkv.weight'
    """
    layer_of = {name: layer for name, layer in encoder_layers(model).items() if layer is not None}
    top = max(layer_of.values(), default=0)
    if top == 0:
        raise TrainingError("the model has no parameters named bert.blocks.<i>.; "
                            "expected a task model with an encoder to freeze")
    if layers in (ENCODER, -1):
        frozen = top
    elif layers is None:
        frozen = -1
    else:
        frozen = whole(f"blocks to freeze (-1 and {ENCODER!r} are the whole encoder)", layers, 0,
                       top, TrainingError)
    for name, parameter in model.named_parameters():
        if name in layer_of:
            parameter.requires_grad_(layer_of[name] > frozen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("an encoder without a head that is frozen as a whole has nothing to "
                            "train; expected fewer blocks to freeze, and no gradual unfreezing")


def gradual_unfreezing(model: nn.Module) -> Callable[[int], None]:
    """Return the function of an epoch that unfreezes the encoder from the top, a block at a time.

    Epoch 0 trains the head alone, epoch 1 the last block and the pooler too, and so on; the
    embeddings come last (Howard & Ruder 2018, section 3.3). It is meant for `before_epoch` of
    the Trainer, and as a function of nothing but the epoch it needs nothing stored for a resumed
    run.
    """
    top = max((layer for layer in encoder_layers(model).values() if layer is not None), default=0)

    def before_epoch(epoch: int) -> None:
        left = top - epoch
        freeze(model, left if left >= 0 else None)

    before_epoch(0)  # a model that cannot be frozen is found now, not in the first epoch
    return before_epoch
