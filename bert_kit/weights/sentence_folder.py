"""Folders of sentence encoders, as the sentence-transformers library has them.

Beside the encoder's own files (config.json, model.safetensors, vocabulary) stand

    modules.json                        what comes after what: Transformer, Pooling, Normalize
    sentence_bert_config.json           tokens of a text, and whether it is lower-cased first
    1_Pooling/config.json               how token vectors become one
    config_sentence_transformers.json   prompts, and how vectors are compared

A vector means nothing if it is made in another way than in training, so nothing is guessed:
whatever these files ask for that is not done here is an error.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from bert_kit.checks import whole
from bert_kit.errors import WeightsError
from bert_kit.files import StrPath, read_json, write_json
from bert_kit.weights.folder import Saves, config_of, save_pretrained

POOLING_MODES = ("cls", "max", "mean")  # in the order in which flags that are all set are joined
# Flags of other ways; set, one of these is an error.
_OTHER_MODES = ("mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
_FLAGS = {"cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens",
          "mean": "pooling_mode_mean_tokens"}
_SEQUENCES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
# Keys that may be absent, and the only values that mean what is done here.
_TRANSFORMER = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "modality_config": ({"text": {"method": "forward",
                                  "method_output_name": "last_hidden_state"}},),
}
_NORMALIZE = {"module_input_name": ("sentence_embedding",),
              "module_output_name": ("sentence_embedding",)}
_WHOLE = {"default_prompt_name": (None,)}


class SentenceLayout(NamedTuple):
    """How the vector of a text is made of its token vectors.

    Attributes
    ----------
    pooling
        "cls", "mean" or "max"; several are put side by side.
    normalize
        Whether vectors get length 1.
    max_length
        Longest row of a text, [CLS] and [SEP] included; None leaves it to the tokenizer.
    lowercase
        Whether texts are lower-cased whatever the tokenizer does.
    """

    pooling: tuple[str, ...]
    normalize: bool = False
    max_length: int | None = None
    lowercase: bool = False


def read_sentence_folder(folder: StrPath) -> tuple[Path, SentenceLayout]:
    """Read the layout of a sentence encoder.

    Returns
    -------
    encoder
        The folder of the encoder itself, this one or one in it.
    layout
        How its vectors are made.

    Raises
    ------
    BertKitError
        If a file is missing or damaged, or asks for something that the kit does not do.
    """
    folder = Path(folder)
    path = folder / "modules.json"
    kinds, places = [], []
    for module in read_json(path, list):
        if not isinstance(module, dict) or not all(
                isinstance(module.get(key), str) for key in ("type", "path")):
            raise WeightsError(f"{path}: holds {str(module)[:60]}; expected modules with type and "
                               "path")
        library, _, kind = module["type"].partition(".")
        kinds.append(kind.rpartition(".")[2] if library == "sentence_transformers"
                     else module["type"])
        places.append(_inside(folder, module["path"], path))
    if kinds not in _SEQUENCES:
        raise WeightsError(f"{path}: the modules are {', '.join(kinds)[:100] or 'none'}; expected "
                           "Transformer, Pooling and possibly Normalize")
    _read_values(folder / "config_sentence_transformers.json", _WHOLE)
    if len(places) == 3:
        _read_values(places[2] / "config.json", _NORMALIZE)
    path = places[0] / "sentence_bert_config.json"
    about = _read_values(path, _TRANSFORMER)
    length, lowercase = about.get("max_seq_length"), about.get("do_lower_case", False)
    if length is not None:
        whole(f"{path}: max_seq_length", length, 3, error=WeightsError)
    if not isinstance(lowercase, bool):
        raise WeightsError(f"{path}: do_lower_case is {lowercase!r}; expected true or false")
    pooling = _read_pooling(places[1] / "config.json")
    return places[0], SentenceLayout(pooling, len(kinds) == 3, length, lowercase)


def save_sentence_folder(model: nn.Module, folder: StrPath, tokenizer: Saves,
                         layout: SentenceLayout) -> None:
    """Save a sentence encoder as a folder that this kit and sentence-transformers read.

    See `save_pretrained`.
    """
    folder = Path(folder)
    kinds = _SEQUENCES[layout.normalize]
    places = ["", "1_Pooling", "2_Normalize"][:len(kinds)]
    write_json(folder / "modules.json", [
        {"idx": number, "name": str(number), "path": place,
         "type": f"sentence_transformers.models.{kind}"}  # the name that all versions know
        for number, (kind, place) in enumerate(zip(kinds, places, strict=True))])
    modes: dict[str, object] = {_FLAGS[name]: name in layout.pooling for name in POOLING_MODES}
    if len(layout.pooling) > 1:  # flags have no order; versions before 6 know nothing else
        modes = {"pooling_mode": list(layout.pooling)}
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": config_of(model).hidden_size, **modes})
    write_json(folder / "sentence_bert_config.json", {
        "max_seq_length": layout.max_length, "do_lower_case": layout.lowercase})
    write_json(folder / "config_sentence_transformers.json", {
        "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})
    save_pretrained(model, folder, tokenizer)


def _inside(folder: Path, place: str, path: Path) -> Path:
    """Return a folder inside `folder`, or refuse what leads out of it."""
    parts = re.split(r"[/\\]", place) if place else []  # whichever system it was written on
    if not place.isprintable() or len(place) > 200 or any(
            part in ("", "..") or ":" in part for part in parts):
        raise WeightsError(f"{path}: the path {place!r} leads out of the folder, or nowhere; "
                           "expected one in it")
    return folder.joinpath(*parts)


def _read_values(path: Path, allowed: Mapping[str, tuple]) -> dict[str, Any]:
    """Return a JSON object, or {} where there is no file; refuse values that are not allowed."""
    values = read_json(path) if path.exists() else {}
    for key, choices in allowed.items():
        if key in values and values[key] not in choices:
            raise WeightsError(f"{path}: {key} is {str(values[key])[:60]!r}; the kit does only "
                               f"{choices[0]!r}")
    return values


def _read_pooling(path: Path) -> tuple[str, ...]:
    """Return the modes that 1_Pooling/config.json declares, in order."""
    values = read_json(path)
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [name for name in POOLING_MODES if values.get(_FLAGS[name])]
        modes += [name for name in _OTHER_MODES if values.get(f"pooling_mode_{name}")]
    modes = modes if isinstance(modes, list) else [modes]
    if not modes or not all(mode in POOLING_MODES for mode in modes):
        raise WeightsError(f"{path}: the pooling is {', '.join(map(str, modes)) or 'none'}; "
                           f"expected of {', '.join(POOLING_MODES)}")
    return tuple(modes)
