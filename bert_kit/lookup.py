"""Where a model's files are: a folder, $LLM_MODELS_PATH/NAME, or the local Hugging Face cache.

Nothing here touches the network unless `download=True`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from bert_kit.errors import BertKitError, WeightsError
from bert_kit.files import StrPath
from bert_kit.foreign import what_it_is

# Small files that go with any wanted one: the configuration and the vocabulary.
_SMALL_FILES = ("*config*.json", "tokenizer.json", "special_tokens_map.json", "vocab.txt",
                "modules.json")


def find_folder(name: StrPath, wanted: Sequence[str], download: bool = False,
                error: type[BertKitError] = WeightsError) -> Path:
    """Find the local folder of a model.

    The places, in this order: the folder `name` itself; `name` under the folder that the
    environment variable LLM_MODELS_PATH names; the local Hugging Face cache (HF_HUB_CACHE,
    HF_HOME); and, only with `download=True`, the Hugging Face hub. The first folder that exists
    decides.

    Parameters
    ----------
    name
        A folder, or a name such as "bert-base-uncased".
    wanted
        File names, the best first; the folder must hold at least one of them.
    download
        Fetch the files from the hub when they are not on this machine.
    error
        What to raise if no folder is found, it holds none of `wanted`, or the download fails.
    """
    if not str(name).strip():
        raise error("the model's name is empty; expected a folder or a name")
    places = [os.path.expanduser(name)]
    if os.environ.get("LLM_MODELS_PATH"):
        places.append(os.path.join(os.path.expanduser(os.environ["LLM_MODELS_PATH"]), name))
    for place in places:
        if os.path.isfile(place):
            raise error(f"{place}: is a file; expected the folder that holds it")
        if os.path.isdir(place):
            if not any(os.path.isfile(os.path.join(place, file)) for file in wanted):
                what = what_it_is(place, wanted) or f"holds none of {', '.join(wanted)}"
                raise error(f"{place}: {what}")
            return Path(place)
    folder = _find_cached(str(name), wanted)
    if folder is None and download:
        folder = _download(str(name), wanted, error)
    if folder is None:
        raise error(f"{name}: not a folder, not under $LLM_MODELS_PATH and not in the local "
                    f"Hugging Face cache; check the name, or allow the download")
    return folder


def _find_cached(name: str, wanted: Sequence[str]) -> Path | None:
    """Return the folder of a model in the local Hugging Face cache, or None."""
    try:
        import huggingface_hub  # arrives with tokenizers; imported only when it is needed
    except ImportError:
        return None
    try:
        found = [huggingface_hub.try_to_load_from_cache(name, file) for file in wanted]
    except ValueError:  # not a name that the hub could have
        return None
    paths = [path for path in found if isinstance(path, str)]
    return Path(paths[0]).parent if paths else None


def _download(name: str, wanted: Sequence[str], error: type[BertKitError]) -> Path:
    """Fetch the first of the wanted files that the hub has, with the small files beside it."""
    try:
        import huggingface_hub
        for file in wanted:
            patterns = [*_SMALL_FILES, file]
            if file.endswith(".index.json"):  # the index of model.safetensors lists model-*
                stem, suffix = file.removesuffix(".index.json").rsplit(".", 1)
                patterns.append(f"{stem}-*.{suffix}")
            folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
            if (folder / file).is_file():
                return folder
    except Exception as problem:  # the hub's own, its HTTP client's, or the system's errors
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise error(f"{name}: cannot be downloaded ({reason})") from None
    raise error(f"{name}: the hub's folder holds none of {', '.join(wanted)}")
