"""What each tensor is called: in the kit, in Hugging Face files, and in Google's checkpoints.

The table below is the only place that knows, but for the names of other families than BERT's,
which `bert_kit.families` turns into BERT's. The kit keeps the query, key and value projections
of a layer as one matrix; files keep three. In a task model the encoder's names start with
"bert."; in a bare encoder they do not.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from bert_kit.errors import WeightsError
from bert_kit.families import bert_names, family_names

# (kit, Hugging Face); # is the number of a layer, * is weight and bias.
ENCODER = (
    ("embeddings.word.weight", "embeddings.word_embeddings.weight"),
    ("embeddings.position.weight", "embeddings.position_embeddings.weight"),
    ("embeddings.segment.weight", "embeddings.token_type_embeddings.weight"),
    ("embeddings.norm.*", "embeddings.LayerNorm.*"),
    ("blocks.#.attention.query.*", "encoder.layer.#.attention.self.query.*"),
    ("blocks.#.attention.key.*", "encoder.layer.#.attention.self.key.*"),
    ("blocks.#.attention.value.*", "encoder.layer.#.attention.self.value.*"),
    ("blocks.#.attention.output.*", "encoder.layer.#.attention.output.dense.*"),
    ("blocks.#.attention_norm.*", "encoder.layer.#.attention.output.LayerNorm.*"),
    ("blocks.#.feed_forward.inner.*", "encoder.layer.#.intermediate.dense.*"),
    ("blocks.#.feed_forward.output.*", "encoder.layer.#.output.dense.*"),
    ("blocks.#.feed_forward_norm.*", "encoder.layer.#.output.LayerNorm.*"),
    ("pooler.dense.*", "pooler.dense.*"),
)
HEADS = (
    ("mlm_head.dense.*", "cls.predictions.transform.dense.*"),
    ("mlm_head.norm.*", "cls.predictions.transform.LayerNorm.*"),
    ("mlm_head.bias", "cls.predictions.bias"),
    ("nsp_head.output.*", "cls.seq_relationship.*"),
    ("classifier.output.*", "classifier.*"),
    ("span_head.*", "qa_outputs.*"),
)


def _expand(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {kit.replace("*", leaf): file.replace("*", leaf)
            for kit, file in rows for leaf in ("weight", "bias")}


_ENCODER_TO_FILE, _HEADS_TO_FILE = _expand(ENCODER), _expand(HEADS)
_ENCODER_NAMES, _HEAD_NAMES = set(_ENCODER_TO_FILE.values()), set(_HEADS_TO_FILE.values())
_OLD_NORM = re.compile(r"((?:bert\.)?(?:embeddings|encoder|cls)\..*LayerNorm)\.(gamma|beta)")
_QKV = ("query", "key", "value")  # in the order of the rows of the joined matrix
_QKV_NAME = re.compile(r"((?:bert\.)?blocks\.\d+\.attention)\.qkv\.(weight|bias)")


def _pattern(name: str) -> tuple[str, str | None]:
    """Return a name as the tables write it, and the number of its layer or None."""
    number = re.search(r"\.(\d+)\.", name)
    return (name.replace(number[0], ".#.", 1), number[1]) if number else (name, None)


def _is_encoder(name: str) -> bool:
    return _pattern(name)[0] in _ENCODER_NAMES


def is_published(name: str, model_type: str = "bert") -> bool:
    """Say whether a tensor of a Hugging Face file is of BERT or a head that was published with it.

    Of the other families the classifier has one layer more.

    Examples
    --------
    >>> is_published("bert.pooler.dense.bias"), is_published("classifier.convolutions.0.weight")
    (True, False)
    """
    return (_is_encoder(name.removeprefix("bert.")) or name in _HEAD_NAMES
            or model_type != "bert" and name.startswith("classifier.dense."))


def hugging_face_name(name: str) -> str:
    """Return the name that a Hugging Face file has for one of the kit's tensors.

    Examples
    --------
    >>> hugging_face_name("bert.blocks.3.attention_norm.bias")
    'bert.encoder.layer.3.attention.output.LayerNorm.bias'
    """
    base = name.removeprefix("bert.")
    pattern, number = _pattern(base)
    found = _ENCODER_TO_FILE.get(pattern)
    if found is not None:
        return name.removesuffix(base) + (found.replace("#", number) if number else found)
    return _HEADS_TO_FILE.get(name, name)


def to_hugging_face(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the kit's tensors as in Hugging Face files; no tensor is copied.

    They are those of a bare encoder or a task model; the names keep or lack "bert." accordingly.
    Query, key and value are views of the kit's one matrix, so writing into them fills it. Names
    that are not in the table, such as those of a head of your own, are unchanged.

    Raises
    ------
    WeightsError
        If two tensors would get the same name.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        match = _QKV_NAME.fullmatch(name)
        if match:
            pieces = {f"{match[1]}.{part}.{match[2]}": piece
                      for part, piece in zip(_QKV, tensor.chunk(3), strict=True)}
        else:
            pieces = {name: tensor}
        for piece_name, piece in pieces.items():
            _put(result, hugging_face_name(piece_name), piece)
    return result


def _put(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if name in tensors:
        raise WeightsError(f"two tensors would both be called {name!r}; rename one of them")
    tensors[name] = tensor


def from_family(tensors: Mapping[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """Rename the tensors of a family's file as in BERT's.

    Raises
    ------
    WeightsError
        If two tensors would get the same name.
    """
    return _rename(tensors, bert_names(tensors, model_type))


def to_family(tensors: Mapping[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """Rename tensors that have BERT's names as in a family's file; the inverse of `from_family`."""
    return _rename(tensors, family_names(tensors, model_type))


def _rename(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, tensor in zip(names, tensors.values(), strict=True):
        _put(result, name, tensor)
    return result


_WORDS = "embeddings.word_embeddings.weight"
# What programs put in front of a module's names when they wrap it, or call it so.
_WRAPPERS = {"module", "model", "_orig_mod", "_forward_module", "_fsdp_wrapped_module",
             "auto_model", "base_model", "backbone", "encoder", "bert_model", "bert_encoder",
             "text_encoder", "transformer", "pretrained", "net", "0", "bert"}


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take away what a wrapper of the whole model or of its encoder put in front of the names.

    DataParallel says "module.", torch.compile "_orig_mod.", Lightning "model.",
    sentence-transformers "0.auto_model.". The word embeddings tell; where there are none, or two,
    the names stay.

    Raises
    ------
    WeightsError
        If two tensors would get the same name.

    Examples
    --------
    >>> [*unwrapped({"module.bert.embeddings.word_embeddings.weight": torch.ones(1),
    ...              "module.classifier.bias": torch.ones(1)})]
    ['bert.embeddings.word_embeddings.weight', 'classifier.bias']
    """
    starts = [name.removesuffix(_WORDS) for name in tensors
              if name == _WORDS or name.endswith("." + _WORDS)]
    start = starts[0].removesuffix("bert.") if len(starts) == 1 else ""
    parts = start.split(".")[:-1]
    if not parts or not {*parts} <= _WRAPPERS:
        return dict(tensors)
    starts = [".".join(parts[:count]) + "." for count in range(len(parts), 0, -1)]  # longest first
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = next((start for start in starts if name.startswith(start)), "")
        _put(result, name.removeprefix(own), tensor)
    return result


def standard_names(tensors: Mapping[str, Tensor], prefixed: bool = True) -> dict[str, Tensor]:
    """Bring the variants among Hugging Face files to the names of today.

    The encoder's names get "bert." in front, or lose it unless `prefixed`; LayerNorm.gamma and
    beta become weight and bias; position_ids, a constant of older files, is dropped.

    Raises
    ------
    WeightsError
        If the file holds one tensor under two of these names.
    """
    result: dict[str, Tensor] = {}
    has_prefix = any(name.startswith("bert.") for name in tensors)
    for name, tensor in tensors.items():
        old = _OLD_NORM.fullmatch(name)
        if old:
            name = old[1] + (".weight" if old[2] == "gamma" else ".bias")
        if name.removeprefix("bert.") == "embeddings.position_ids":
            continue
        if has_prefix and not prefixed:
            name = name.removeprefix("bert.")
        elif prefixed and not has_prefix and _is_encoder(name):
            name = "bert." + name
        _put(result, name, tensor)
    old_bias = "cls.predictions.decoder.bias"  # the same vector under its second name
    if old_bias in result and "cls.predictions.bias" not in result:
        result["cls.predictions.bias"] = result.pop(old_bias)
    return result


_GOOGLE_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
                  "output_weights": "weight", "output_bias": "bias"}
_GOOGLE_HEADS = {"": "classifier", "cls.squad": "qa_outputs"}  # run_classifier.py, run_squad.py


def from_google(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Rename the arrays of Google's TensorFlow checkpoints as in Hugging Face files.

    Kernels are transposed: TensorFlow keeps (inputs, outputs), torch (outputs, inputs). The
    optimizer's adam_m and adam_v and the global_step are left out. Names as written by
    https://github.com/google-research/bert (modeling.py, run_pretraining.py).

    Parameters
    ----------
    arrays
        For instance {name: reader.get_tensor(name)} of `tf.train.load_checkpoint`.

    Returns
    -------
    What `write_safetensors` can write beside a config.json, for `load_pretrained`.

    Raises
    ------
    WeightsError
        If a name does not belong to BERT.

    Examples
    --------
    >>> kernel = {"bert/encoder/layer_0/intermediate/dense/kernel": np.zeros((4, 16))}
    >>> {name: tuple(tensor.shape) for name, tensor in from_google(kernel).items()}
    {'bert.encoder.layer.0.intermediate.dense.weight': (16, 4)}
    """
    result: dict[str, Tensor] = {}
    for name, array in arrays.items():
        *path, leaf = name.split("/")
        if leaf in ("adam_m", "adam_v", "global_step"):
            continue
        if leaf.endswith("_embeddings"):  # a table of rows is the parameter itself
            path, leaf = [*path, leaf], "output_weights"
        module = re.sub(r"layer_(\d+)", r"layer.\1", ".".join(path))
        new = f"{_GOOGLE_HEADS.get(module, module)}.{_GOOGLE_LEAVES.get(leaf)}"
        if not is_published(new):
            raise WeightsError(f"{name} is not a tensor of BERT")
        array = np.asarray(array)
        _put(result, new, torch.tensor(array.T if leaf == "kernel" else array))
    return result
