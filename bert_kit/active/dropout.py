"""Monte Carlo dropout: each pass with its own dropout masks is a draw of the model.

Gal & Ghahramani 2016, "Dropout as a Bayesian Approximation".
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from bert_kit.errors import ConfigError
from bert_kit.modes import evaluation_mode


@contextlib.contextmanager
def dropout_on(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], seed: int
               ) -> Iterator[None]:
    """Let a model predict, but with dropout, inside the block.

    All else is in evaluation, without gradients; afterwards every module is in the mode it had,
    and torch's default generators are where they were. What runs in the block must leave the modes
    alone.

    Parameters
    ----------
    kinds
        The modules that are dropout, such as `bert_kit.model.Dropout`.
    seed
        Of the masks: the same seed and the same batches give the same pass.

    Raises
    ------
    ConfigError
        If there is no such module with a rate above 0: all passes would be the same.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Sequential(torch.nn.Dropout(0.5)).eval()
    >>> with dropout_on(layer, torch.nn.Dropout, seed=1):
    ...     sorted(set(layer(torch.ones(99)).tolist()))
    [0.0, 2.0]
    >>> sorted(set(layer(torch.ones(99)).tolist()))
    [1.0]
    """
    drops = [module for module in model.modules()
             if isinstance(module, kinds) and getattr(module, "p", 0) > 0]
    if not drops:
        raise ConfigError("the model has no dropout, so every pass would be the same; expected a "
                          "dropout rate above 0")
    with torch.random.fork_rng(range(torch.cuda.device_count())), evaluation_mode(model):
        for module in drops:
            module.training = True
        torch.manual_seed(seed)
        yield
