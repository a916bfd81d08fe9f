"""What a search tries: the options that every task has, and those of a head."""

import typing
from collections.abc import Mapping
from typing import Any

from bert_kit.checks import is_number
from bert_kit.errors import ConfigError
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.options.declare import Options, fields_of, group_of, kind_of, named, spellings
from bert_kit.jobs.run.task import Task
from bert_kit.tuner import SearchSpace, log

# Names are spellings of options, so that a found set can be given to `train` as it is.
OF_ALL = {
    "batch_size": [8, 16, 32, 64],
    "dropout_rate": (0.1, 0.6),
    "lr": log(1e-5, 3e-4),
    "weight_decay": log(1e-8, 1e-2),
    "warmup_ratio": (0.0, 0.3),
}
# A lower rate learns nothing in a few epochs, a higher one undoes what weights know.
FROM_SCRATCH = {"lr": log(1e-4, 2e-3)}
BEFORE = {"lr": log(1e-6, 5e-3)}  # until 0.2; a search that goes on has the space it began with
HEAD_RATE = {"head_learning_rate": log(5e-5, 5e-3)}
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
# What pbt can change.
WHILE_TRAINING = ("lr", "head_learning_rate", "weight_decay", "dropout_rate", "warmup_ratio")


def tunable(options: type[Options]) -> set[str]:
    """Return the options in which trials may differ; none but `max_length` changes a row."""
    also = ("dropout", "max_length", "from_scratch")
    return {field.name for field in fields_of(options) if field.name in also
            or group_of(options, field.name).title in ("training", "head")}


def search_space(task: Task, options: Any, space: SearchSpace | Mapping[str, Any] | None = None,
                 before: bool = False) -> SearchSpace:
    """Return the SearchSpace of a search.

    Parameters
    ----------
    options
        Of the search. What is set there is fixed and leaves the space.
    space
        In place of the task's own, or of the file that the options name.
    before
        Whether the search began when the task's own was wider, and had no rate of the head.

    Raises
    ------
    ConfigError
        If a parameter is no option of training, or nothing is left to tune.
    """
    if space is None and options.space is not None:
        space = read_config_file(options.space)
    elif space is None:
        space = {**OF_ALL, **(BEFORE if before else FROM_SCRATCH if options.model is None else {}),
                 **(HEAD_RATE if task.has_head and not before else {}),
                 **OF_HEAD[getattr(options, "classifier", "standard")]}
        if options.sampler == "pbt":
            space = {name: space[name] for name in WHILE_TRAINING if name in space}
    if not isinstance(space, SearchSpace):
        space = SearchSpace.from_dict(_with_real_rates(task.options, space))
    fields = {parameter.name: next(iter(named(task.options, {parameter.name: None}, "space")))
              for parameter in space.parameters}
    for name, field in fields.items():  # another seed or split would score on other rows
        if field not in tunable(task.options):
            raise ConfigError(f"{name} cannot be tuned; expected an option of training, of the "
                              "head, or max_length")
    if options.model is not None and "from_scratch" in fields.values():
        raise ConfigError("from_scratch is the size of a model without weights; leave it out "
                          "of the space, or the model")
    fixed = {name: getattr(options, field) for name, field in fields.items()
             if getattr(options, field) != getattr(type(options), field)}
    if len(fixed) == len(fields):
        raise ConfigError(f"every parameter of the space is set already ({', '.join(fields)}); "
                          "expected one to tune")
    changing = named(task.options, dict.fromkeys(WHILE_TRAINING))
    other = next((name for name, field in fields.items()
                  if name not in fixed and field not in changing), None)
    if options.sampler == "pbt" and other is not None:
        raise ConfigError(f"{other} cannot change while a model trains; expected "
                          f"{', '.join(WHILE_TRAINING)} with pbt")
    if fixed:
        space = _open_part(space, {name: list(value) if isinstance(value, tuple) else value
                                   for name, value in fixed.items()})
    if options.sampler == "grid":
        next(space.grid())  # or an error that names what cannot be listed
    return space


def _with_real_rates(options: type[Options], space: Any) -> Any:
    """Return entries in which a pair of whole numbers is a range, where the option is no count."""
    if not isinstance(space, Mapping):
        return space
    hints, known = typing.get_type_hints(options), spellings(options)
    return {name: tuple(map(float, entry)) if isinstance(entry, tuple) and len(entry) == 2
            and all(map(is_number, entry)) and name != "warmup_steps" and name in known
            and kind_of(hints[known[name]]) == (float, None) else entry
            for name, entry in space.items()}


def _open_part(space: SearchSpace, fixed: Mapping[str, Any]) -> SearchSpace:
    """Return a space without what is fixed; a condition on that holds for good, or never."""
    entries: dict[str, Any] = {}
    for name, entry in space.to_dict().items():
        when = entry.pop("when", {})
        held = all(fixed[parent] in values for parent, values in when.items() if parent in fixed)
        when = {parent: values for parent, values in when.items() if parent not in fixed}
        if name not in fixed and held and when.keys() <= entries.keys():
            entries[name] = entry | ({"when": when} if when else {})
    if not entries:
        raise ConfigError(f"nothing is left to tune where {', '.join(fixed)} are set")
    return SearchSpace.from_dict(entries)
