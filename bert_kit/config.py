"""The shape of a model: one frozen dataclass, the published presets, and config.json.

The field names and the file are those of the Hugging Face library, so that a folder written
by either side is read by the other; `families` has the names of models that are not called BERT.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_kit.checks import is_number, number, one_of, share, unique, whole
from bert_kit.config_keys import LABELS, followed
from bert_kit.errors import ConfigError
from bert_kit.families import FAMILIES
from bert_kit.files import StrPath, read_json, write_json

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "tanh")

# Smallest and largest value of each whole number: absurd sizes are refused before any allocation.
_WHOLE = {
    "vocab_size": (1, 10_000_000),
    "hidden_size": (1, 65_536),
    "num_hidden_layers": (0, 1_000),
    "num_attention_heads": (1, 65_536),
    "intermediate_size": (1, 1_000_000),
    "max_position_embeddings": (1, 1_000_000),
    "type_vocab_size": (0, 1_000),
    "pad_token_id": (0, 10_000_000),
    "window_stride": (0, 1_000_000),
}
_MOST_LABELS = 100_000
_PROBABILITIES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")

# What only this kit has, with its default: at the default the file is the reference's.
_OWN = {"classifier": {}, "window_stride": 0, "window_pooling": "mean"}


@dataclass(frozen=True)
class BertConfig:
    """Sizes and rates of a BERT (Devlin et al. 2019, section 3 and appendix A.2).

    Attributes
    ----------
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size,
    max_position_embeddings, type_vocab_size
        V, D, L, H, inner width of the feed-forward layer, longest S, number of segments. With one
        segment, or none as in DistilBERT, the two texts of a pair are not told apart.
    hidden_act
        One of "gelu" (exact), "gelu_new" (tanh form), "relu", "silu", "tanh".
    hidden_dropout_prob, attention_probs_dropout_prob
        Dropout after the embeddings and both sub-layers, and on the attention weights.
    classifier_dropout
        Dropout in front of a classifier; None takes `hidden_dropout_prob`.
    classifier
        Kind of classification head and its options, for instance
        ``{"type": "cnn", "kernel_sizes": [3, 4, 5]}``; `bert_kit.model.CLASSIFIERS` lists the
        kinds. Empty is the standard head, and so is ``{"type": "standard"}``. A copy is kept, in
        which tuples are lists, as in config.json.
    initializer_range
        Standard deviation of the initial weights.
    layer_norm_eps
        Added to the variance in every LayerNorm.
    window_stride
        Tokens from one window to the next of a text that is longer than a row; with 0 there are
        no windows, and such a text is cut off.
    window_pooling
        "mean" or "max" of the logits of a text's windows.
    pad_token_id
        Id written into padding. It never changes a result.
    labels
        Names of the C classes, in the order of the logits.
    model_type
        "bert", "distilbert", "roberta" or "xlm-roberta": whose names a folder has, and whose
        standard classifier the model; see `bert_kit.families`.
    fused
        True takes the fast paths, False runs each formula line by line. On a CPU the fast paths
        have first derivatives only, and are not for torch.func. A choice of this process: it is
        not stored in config.json.
    extra
        Keys of config.json that the kit does not use; they are written back.

    Examples
    --------
    >>> config = BertConfig(hidden_size=64, num_attention_heads=4)
    >>> config.head_size, config.id2label
    (16, {0: 'LABEL_0', 1: 'LABEL_1'})
    """

    vocab_size: int = 30_522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3_072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    classifier: Mapping[str, Any] = field(default_factory=dict, hash=False)
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    window_stride: int = 0
    window_pooling: str = "mean"
    pad_token_id: int = 0
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    model_type: str = "bert"
    fused: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, (low, high) in _WHOLE.items():
            object.__setattr__(self, name, whole(name, getattr(self, name), low, high))
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if value is not None or name != "classifier_dropout":
                share(name, value)
        number("initializer_range", self.initializer_range, 0, 1e3, above=True)
        number("layer_norm_eps", self.layer_norm_eps, 0, 1e3, above=True)
        one_of("hidden_act", self.hidden_act, ACTIVATIONS)
        one_of("window_pooling", self.window_pooling, ("mean", "max"))
        one_of("model_type", self.model_type, FAMILIES)
        for name, value in FAMILIES[self.model_type].only.items():
            if getattr(self, name) != value:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; every {self.model_type} has "
                                  f"{value!r}")
        if not isinstance(self.fused, bool):
            raise ConfigError(f"fused is {self.fused!r}; expected True or False")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(f"hidden_size {self.hidden_size} is not a multiple of "
                              f"num_attention_heads {self.num_attention_heads}")
        if self.pad_token_id >= self.vocab_size:
            raise ConfigError(f"pad_token_id {self.pad_token_id} is not below "
                              f"vocab_size {self.vocab_size}")
        self._check_classifier()
        self._check_labels()

    def _check_classifier(self) -> None:
        """Keep a plain copy; which options a kind of head has is the head's business."""
        if not isinstance(self.classifier, Mapping):
            raise ConfigError(f"classifier is {self.classifier!r}; "
                              f"expected a mapping with a type and options")
        plain = {}
        for name, value in self.classifier.items():
            if not isinstance(name, str):
                raise ConfigError(f"classifier has the key {name!r}; expected a string")
            try:
                plain[name] = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                raise ConfigError(f"classifier: {name} is {value!r}; expected a number, "
                                  f"a string, true, false, null or a list of these") from None
        if plain and not isinstance(plain.get("type"), str):
            raise ConfigError(f"classifier has the type {plain.get('type')!r}; "
                              f"expected the name of a kind of head")
        object.__setattr__(self, "classifier", {} if plain == {"type": "standard"} else plain)

    def _check_labels(self) -> None:
        if isinstance(self.labels, str) or not isinstance(self.labels, list | tuple) or not all(
                isinstance(name, str) for name in self.labels):
            raise ConfigError(f"labels is {self.labels!r}; expected a list of strings")
        whole("the number of labels", len(self.labels), 1, _MOST_LABELS)
        if len(set(self.labels)) != len(self.labels):
            unique("labels", self.labels)  # says which one
        object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def head_size(self) -> int:
        """Width W of one attention head, D / H."""
        return self.hidden_size // self.num_attention_heads

    @property
    def position_offset(self) -> int:
        """Position of the first token: 0, or of RoBERTa the one after the id of padding."""
        return self.pad_token_id + 1 if FAMILIES[self.model_type].counts_from_padding else 0

    @property
    def num_labels(self) -> int:
        """Number of classes C."""
        return len(self.labels)

    @property
    def id2label(self) -> dict[int, str]:
        """Class names by number."""
        return dict(enumerate(self.labels))

    @property
    def label2id(self) -> dict[str, int]:
        """Class numbers by name."""
        return {name: number for number, name in enumerate(self.labels)}

    def replace(self, num_labels: int | None = None, **changes: Any) -> "BertConfig":
        """Return a copy with some fields changed; the copy is checked like any other.

        Parameters
        ----------
        num_labels
            Number of classes; keeps the names when their number already fits, else names them
            LABEL_0, LABEL_1, …
        **changes
            New values by field name. An unknown name is a ConfigError that lists the fields.
        """
        fields = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in fields:
                raise ConfigError(f"unknown setting {name!r}; expected one of {', '.join(fields)}")
        if num_labels is not None and num_labels != len(changes.get("labels", self.labels)):
            whole("num_labels", num_labels, 1, _MOST_LABELS)
            if "labels" in changes:
                raise ConfigError(f"num_labels is {num_labels} but labels has "
                                  f"{len(changes['labels'])} names")
            changes["labels"] = tuple(f"LABEL_{i}" for i in range(num_labels))
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of config.json; unknown keys that were read come back."""
        known = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
                 if f.name not in ("labels", "fused", "extra")}
        known = {name: value.item() if hasattr(value, "item") else value  # of numpy
                 for name, value in known.items()}
        known = {name: value for name, value in known.items()
                 if name not in _OWN or value != _OWN[name]}
        # In the file these are positions of the table, of which the first ones have no token.
        known["max_position_embeddings"] += self.position_offset
        return {**self.extra, **_in_words_of(self.model_type, known),
                "id2label": {str(i): name for i, name in self.id2label.items()},
                "label2id": self.label2id}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "config") -> "BertConfig":
        """Build a configuration from the content of a config.json.

        Raises
        ------
        ConfigError
            If a value is impossible or the file describes something other than BERT.
        """
        values = followed(values, source)
        values["model_type"] = kind = values.get("model_type") or "bert"
        names = {f.name for f in dataclasses.fields(cls)} - {"labels", "fused", "extra"}
        known = {key: values.pop(key) for key in list(values) if key in names}
        for key in ("pad_token_id", "classifier"):
            if key in known and known[key] is None:
                del known[key]
        known = {**FAMILIES[kind].missing, **FAMILIES[kind].only, **known}
        if (labels := _read_labels(values, source)) is not None:
            known["labels"] = labels
        try:
            if FAMILIES[kind].counts_from_padding:
                known["max_position_embeddings"] = _usable_positions(**known)
            return cls(**known, extra=values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    def save(self, folder: StrPath) -> None:
        """Write config.json into an existing folder."""
        write_json(Path(folder) / "config.json", self.to_dict())

    @classmethod
    def load(cls, folder: StrPath) -> "BertConfig":
        """Read config.json from a model folder (or the file itself).

        Google's name for it, bert_config.json, will do where there is no other.
        """
        path = Path(folder)
        if path.is_dir():
            older = path / "bert_config.json"
            path = path / "config.json"
            path = older if older.is_file() and not path.is_file() else path
        return cls.from_dict(read_json(path), source=str(path))


def _usable_positions(pad_token_id: Any = 1, max_position_embeddings: Any = 512,
                      **others: Any) -> int:
    """Return how many tokens have a position where the first has the one after padding's id."""
    first = whole("pad_token_id", pad_token_id, *_WHOLE["pad_token_id"]) + 1
    return whole("max_position_embeddings", max_position_embeddings, first + 1,
                 _WHOLE["max_position_embeddings"][1]) - first


def _in_words_of(model_type: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields of BertConfig by the keys of a family."""
    keys = {field: key for key, field in FAMILIES[model_type].keys.items()}
    if "classifier_dropout" in keys and fields["classifier_dropout"] is None:
        fields["classifier_dropout"] = fields["hidden_dropout_prob"]  # there it is always a number
    return {keys.get(name, name): value for name, value in fields.items()}


def _read_labels(values: dict[str, Any], source: str) -> tuple[str, ...] | None:
    """Take the keys of the labels out of `values`; return the names, if there are any.

    Where there are names, their number counts, as in the Hugging Face library. A name that is a
    number is that number as text.
    """
    id2label, label2id, count, older = (values.pop(key, None) for key in LABELS)
    count = older if count is None else count
    if id2label is None and label2id is None:
        if count is None:
            return None
        whole(f"{source}: num_labels", count, 1, _MOST_LABELS)
        return tuple(f"LABEL_{i}" for i in range(count))
    if id2label is None and not isinstance(label2id, dict):
        raise ConfigError(f"{source}: label2id is not an object")
    try:
        pairs = id2label.items() if id2label is not None else [
            (number, name) for name, number in label2id.items()]
        named = [(int(number), name) for number, name in pairs]
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ConfigError(f"{source}: id2label does not map numbers to names") from None
    numbers = sorted(number for number, _ in named)
    if numbers != list(range(len(numbers))):
        raise ConfigError(f"{source}: id2label has the numbers {numbers[:9]}; "
                          f"expected each of 0 to {len(numbers) - 1} once")
    return tuple(str(name) if is_number(name) else name for _, name in sorted(
        named, key=lambda pair: pair[0]))


# (L, D, H) of the published models: BERT's base and large, and the miniatures of Turc et al. 2019.
_SIZES = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1_024, 16),
}
_VOCABULARIES = {"uncased": 30_522, "cased": 28_996}


def create_model_config(name: str, **changes: Any) -> BertConfig:
    """Return the configuration of a published BERT.

    Parameters
    ----------
    name
        "bert-<size>-<uncased|cased>" with size tiny, mini, small, medium, base or large;
        without a case, uncased. A size in parentheses, as in "bert-base-uncased (110M)", is
        accepted and ignored.
    **changes
        Fields to set differently, as in `BertConfig.replace`.

    Raises
    ------
    ConfigError
        If the name is none of these; the message lists them.

    Examples
    --------
    >>> create_model_config("bert-base-uncased (110M)").hidden_size
    768
    >>> create_model_config("bert-tiny", vocab_size=99).vocab_size
    99
    """
    match = re.fullmatch(r"bert-(\w+?)(?:-(uncased|cased))?(?: *\([^()]*\))?", str(name).strip())
    if match is None or match[1] not in _SIZES:
        raise ConfigError(f"unknown model {name!r}; expected bert-SIZE-uncased or bert-SIZE-cased "
                          f"with SIZE one of {', '.join(_SIZES)}")
    layers, width, heads = _SIZES[match[1]]
    config = BertConfig(vocab_size=_VOCABULARIES[match[2] or "uncased"], hidden_size=width,
                        num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=4 * width)
    return config.replace(**changes)
