"""Folders of sentence encoders, as the sentence-transformers library has them.

Beside the encoder's own files (config.json, model.safetensors, vocabulary) stand

    modules.json                        what comes after what: Transformer, Pooling, Normalize
    sentence_bert_config.json           tokens of a text, and whether it is lower-cased first
    1_Pooling/config.json               how token vectors become one
    config_sentence_transformers.json   prompts, and how vectors are compared

A vector means nothing if it is made in another way than in training, so nothing is guessed:
whatever these files ask for that is not done here is an error. Keys that stand nowhere below say
which version wrote the file, how wide a vector is, or what models of other kinds need.
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
_FLAGS = {"cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens",
          "mean": "pooling_mode_mean_tokens"}
_SEQUENCES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
DOCUMENTS = ("document", "passage", "corpus")  # names of a prompt for texts to search, in order
# As the library looks for it: a folder may still have the name of what it was made from.
_ABOUT = tuple(f"sentence_{kind}_config.json" for kind in (
    "bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))
# Arguments for the library's loading that change no number.
_NO_MATTER = {"attn_implementation", "torch_dtype", "dtype", "add_pooling_layer", "use_safetensors",
              "trust_remote_code", "low_cpu_mem_usage", "device_map", "use_fast"}
# Keys that may be absent, and the only values that mean what is done here.
_NONE = ({}, None)
_TRANSFORMER = {
    **dict.fromkeys(("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs",
                     "config_args", "config_kwargs", "processing_kwargs"), _NONE),
    "query_length": (None,), "document_length": (None,), "query_expansion": (None,),
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "modality_config": ({"text": {"method": "forward",
                                  "method_output_name": "last_hidden_state"}},),
}
_NORMALIZE = {"module_input_name": ("sentence_embedding",),
              "module_output_name": ("sentence_embedding",)}
_WHOLE = {"model_type": ("SentenceTransformer", None),
          "similarity_fn_name": (*SIMILARITIES, None), "truncate_dim": (None,)}


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
    similarity
        How vectors are meant to be compared; the kit compares by "cosine" only.
    prompts
        What may stand before a text: pairs of a name and the prompt itself.
    default_prompt
        The name of the one that stands there if nothing else is said, if any.
    pools_prompt
        Whether the tokens of a prompt are pooled with the others.
    """

    pooling: tuple[str, ...]
    normalize: bool = False
    max_length: int | None = None
    lowercase: bool = False
    similarity: str = "cosine"
    prompts: tuple[tuple[str, str], ...] = ()
    default_prompt: str | None = None
    pools_prompt: bool = True

    def prompt(self, *names: str | None) -> str | None:
        """Return the prompt of the first of some names that has one, "" included, or None."""
        stored = dict(self.prompts)
        return next((stored[name] for name in names if name in stored), None)

    @property
    def query_prompt(self) -> str | None:
        """What stands before a query that is searched for; None if the folder does not say."""
        return self.prompt("query")

    @property
    def document_prompt(self) -> str | None:
        """What stands before a text that is searched; None if the folder does not say."""
        return self.prompt(*DOCUMENTS)

    def with_prompts(self, **prompts: str | None) -> "SentenceLayout":
        """Return a layout with some prompts instead of the stored ones; None leaves one out."""
        given = {name: prompt for name, prompt in prompts.items() if prompt is not None}
        return self._replace(prompts=tuple({**dict(self.prompts), **given}.items()))

    def check_comparable(self) -> None:
        """Refuse to compare vectors otherwise than the folder asks for.

        Raises
        ------
        WeightsError
            Names the key.
        """
        if self.similarity != "cosine":
            raise WeightsError(f"similarity_fn_name is {self.similarity!r}; the kit compares "
                               "vectors by 'cosine' only, and writes them with --output_file")


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
    compared = _read_comparison(folder / "config_sentence_transformers.json", len(kinds) == 3)
    if len(places) == 3:
        _read_values(places[2] / "config.json", _NORMALIZE)
    path = next((path for name in _ABOUT if (path := places[0] / name).exists()),
                places[0] / _ABOUT[0])
    about = _read_values(path, _TRANSFORMER)
    length, lowercase = about.get("max_seq_length"), about.get("do_lower_case", False)
    if length is not None:
        whole(f"{path}: max_seq_length", length, 3, error=WeightsError)
    if not isinstance(lowercase, bool):
        raise WeightsError(f"{path}: do_lower_case is {lowercase!r}; expected true or false")
    pooling, pools_prompt = _read_pooling(places[1] / "config.json")
    return places[0], SentenceLayout(pooling, len(kinds) == 3, length, lowercase,
                                     pools_prompt=pools_prompt, **compared)


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
        "word_embedding_dimension": config_of(model).hidden_size, **modes,
        **({} if layout.pools_prompt else {"include_prompt": False})})
    write_json(folder / "sentence_bert_config.json", {
        "max_seq_length": layout.max_length, "do_lower_case": layout.lowercase})
    write_json(folder / "config_sentence_transformers.json", {
        "prompts": dict(layout.prompts), "default_prompt_name": layout.default_prompt,
        "similarity_fn_name": layout.similarity})
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
        if choices is _NONE and isinstance(values.get(key), dict):
            values[key] = {name: value for name, value in values[key].items()
                           if name not in _NO_MATTER}
        if key in values and values[key] not in choices:
            raise WeightsError(f"{path}: {key} is {str(values[key])[:60]!r}; the kit does only "
                               f"{choices[0]!r}")
    return values


def _read_comparison(path: Path, normalize: bool) -> dict[str, Any]:
    """Return what config_sentence_transformers.json says of prompts and of comparing vectors."""
    values = read_json(path) if path.exists() else {}
    prompts = {} if values.get("prompts") is None else values["prompts"]
    if not isinstance(prompts, dict) or not all(
            isinstance(text, str | None) for text in prompts.values()):
        raise WeightsError(f"{path}: prompts is {str(prompts)[:60]!r}; expected texts by name")
    default = values.get("default_prompt_name")
    if default is not None and default not in [*prompts]:
        raise WeightsError(f"{path}: default_prompt_name is {default!r:.60}; expected one of the "
                           f"prompts ({', '.join(prompts)[:100] or 'there are none'})")
    _read_values(path, _WHOLE)
    similarity = values.get("similarity_fn_name") or "cosine"
    if similarity == "dot" and normalize:
        similarity = "cosine"  # of vectors of length 1 it is the same
    return {"similarity": similarity, "default_prompt": default,
            "prompts": tuple((name, text or "") for name, text in prompts.items())}


def _read_pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    """Return the modes that 1_Pooling/config.json declares, in order, and `pools_prompt`."""
    values = read_json(path)
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [name for name in POOLING_MODES if values.get(_FLAGS[name])]
        modes += [key.removeprefix("pooling_mode_") for key, value in values.items()
                  if key.startswith("pooling_mode_") and value and key not in _FLAGS.values()]
    modes = modes if isinstance(modes, list) else [modes]
    if not modes or not all(mode in POOLING_MODES for mode in modes):
        raise WeightsError(f"{path}: the pooling is {', '.join(map(str, modes)) or 'none'}; "
                           f"expected of {', '.join(POOLING_MODES)}")
    pools_prompt = values.get("include_prompt", True)
    if not isinstance(pools_prompt, bool):
        raise WeightsError(f"{path}: include_prompt is {pools_prompt!r:.60}; expected true or "
                           "false")
    return tuple(modes), pools_prompt
