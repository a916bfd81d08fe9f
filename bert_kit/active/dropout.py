"""Monte Carlo dropout: each pass with its own dropout masks is a draw of the model.

Gal & Ghahramani 2016, "Dropout as a Bayesian Approximation".
"""

import contextlib

from bert_kit.errors import ConfigError


@contextlib.contextmanager
def dropout_on(model, kinds, seed):
    """Let a model predict, but with dropout, inside the block.

    All else is in evaluation; afterwards every module is in the mode it had, and torch's default
    generators are where they were. What runs in the block must leave the modes alone.

    Parameters
    ----------
    model : torch.nn.Module
    kinds : type or tuple of types
        The modules that are dropout, such as `bert_kit.model.Dropout`.
    seed : int
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
    import torch  # here, because the rest of the room does without
    drops = [module for module in model.modules() if isinstance(module, kinds) and module.p > 0]
    if not drops:
        raise ConfigError("the model has no dropout, so every pass would be the same; expected a "
                          "dropout rate above 0")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for module in drops:
        module.training = True
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield
    finally:
        for module, training in modes.items():
            module.training = training
