"""What a search of a classifier tries, head by head."""

import dataclasses

from bert_kit.errors import ConfigError
from bert_kit.recipes.options import named, read_config_file
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.tuner import SearchSpace, log

# Names are spellings of options, so that a found set can be given to `train_classifier` as it is.
OF_ALL = {
    "batch_size": [8, 16, 32, 64],
    "dropout_rate": (0.1, 0.6),
    "lr": log(1e-6, 5e-3),
    "weight_decay": log(1e-8, 1e-2),
    "warmup_ratio": (0.0, 0.3),
}
OF_HEAD = {
    "standard": {},
    "mlp": {"num_hidden_layers": (1, 4), "activation": ["relu", "gelu", "silu", "tanh"]},
    "bilstm": {"pooling": ["last", "max", "mean"]},
    "attention": {"last_layers": (1, 2)},
    "cnn": {"num_filters": log(32, 256), "kernel_sizes": [[3, 4, 5], [2, 3, 4], [2, 3, 4, 5]]},
    "fourier_kan": {"num_frequencies": log(4, 32), "pooling": ["cls", "mean", "max"]},
    "wavelet_kan": {"num_wavelets": log(4, 32), "pooling": ["cls", "mean", "max"],
                    "wavelet_type": ["mixed", "haar", "mexican", "morlet"]},
}
WHILE_TRAINING = ("lr", "weight_decay", "dropout_rate", "warmup_ratio")  # what pbt can change


def search_space(settings, space=None):
    """Return the SearchSpace of a search.

    Parameters
    ----------
    settings : TuningSettings
        What is set there is fixed and leaves the space.
    space : SearchSpace or dict, optional
        In place of the head's own, or of the file that the settings name.

    Raises
    ------
    ConfigError
        If a parameter is no option of training, or nothing is left to tune.
    """
    if space is None and settings.space is not None:
        space = read_config_file(settings.space)
    elif space is None:
        space = {**OF_ALL, **OF_HEAD[settings.classifier]}
        if settings.sampler == "pbt":
            space = {name: space[name] for name in WHILE_TRAINING}
    if not isinstance(space, SearchSpace):
        space = SearchSpace.from_dict(space)
    names = [parameter.name for parameter in space.parameters]
    fields = {name: next(iter(named(ClassificationSettings, {name: None}, "space")))
              for name in names}
    groups = {field.name: field.metadata["group"]
              for field in dataclasses.fields(ClassificationSettings)}
    for name, field in fields.items():  # another seed or split would score on other rows
        if groups[field] not in ("head", "training") and field != "max_length":
            raise ConfigError(f"{name} cannot be tuned; expected an option of training, of the "
                              "head, or max_length")
    free = [name for name, field in fields.items()
            if getattr(settings, field) == getattr(type(settings), field)]
    if not free:
        raise ConfigError(f"every parameter of the space is set already ({', '.join(names)}); "
                          "expected one to tune")
    changing = named(ClassificationSettings, dict.fromkeys(WHILE_TRAINING))
    other = next((name for name in free if fields[name] not in changing), None)
    if settings.sampler == "pbt" and other is not None:
        raise ConfigError(f"{other} cannot change while a model trains; expected "
                          f"{', '.join(WHILE_TRAINING)} with pbt")
    if len(free) < len(names):
        fixed = {name: getattr(settings, field)
                 for name, field in fields.items() if name not in free}
        space = _open_part(space, {name: list(value) if isinstance(value, tuple) else value
                                   for name, value in fixed.items()})
    if settings.sampler == "grid":
        next(space.grid())  # or an error that names what cannot be listed
    return space


def _open_part(space, fixed):
    """Return a space without what is fixed; a condition on that holds for good, or never."""
    entries = {}
    for name, entry in space.to_dict().items():
        when = entry.pop("when", {})
        held = all(fixed[parent] in values for parent, values in when.items() if parent in fixed)
        when = {parent: values for parent, values in when.items() if parent not in fixed}
        if name not in fixed and held and when.keys() <= entries.keys():
            entries[name] = entry | ({"when": when} if when else {})
    if not entries:
        raise ConfigError(f"nothing is left to tune where {', '.join(fixed)} are set")
    return SearchSpace.from_dict(entries)
