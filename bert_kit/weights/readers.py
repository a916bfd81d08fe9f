"""The weight files that a model folder may hold, and how each is read without trusting it.

In order of preference: one safetensors file, the same in shards behind an index, one torch file,
the same in shards. A torch file is a pickle; see `bert_kit.torch_files`.
"""

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from bert_kit.digests import file_digest
from bert_kit.errors import WeightsError
from bert_kit.families import FAMILIES, family_of
from bert_kit.files import StrPath, read_json
from bert_kit.foreign import ADAPTER, merge_command
from bert_kit.torch_files import read_saved
from bert_kit.weights.names import from_family, unwrapped
from bert_kit.weights.safetensors import read_safetensors

_MOST_SHARDS = 1_000


def read_weights(folder: StrPath) -> tuple[Path, dict[str, Tensor]]:
    """Read the tensors of a model folder, from the best of the files in `WEIGHT_FILES`.

    Returns
    -------
    path
        The file that was read; of a sharded model, the index.
    tensors
        On the CPU, under the names that the file has, but for what `unwrapped` takes away, and
        under BERT's where the config.json beside it says that they are those of another family.

    Raises
    ------
    BertKitError
        If there is no such file, or it is damaged or unsafe, or holds an adapter (LoRA).
    """
    path = _weights_file(folder)
    tensors = _READERS[path.name](path)
    _refuse_adapter(path, tensors)
    return path, unwrapped(from_family(tensors, _family(path.parent)))


def _family(folder: Path) -> str:
    """Return the family that config.json names; that it is a known one, `BertConfig` sees to."""
    path = folder / "config.json"
    kind = family_of(read_json(path)) if path.is_file() else None
    return kind if isinstance(kind, str) and kind in FAMILIES else "bert"


def _refuse_adapter(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse weights that an adapter would change: without it they are another model's."""
    folder = path.parent
    found = next((name for name in tensors if ".lora_" in name), None)
    if found is None and (folder / ADAPTER).is_file():
        found = next((file.name for file in folder.glob("adapter_model.*")), None)
    if found is not None:
        raise WeightsError(f"{path}: comes with an adapter (LoRA, PEFT) that is not merged into it "
                           f"({found}); merge them first: {merge_command(folder)}")


def read_torch_file(path: StrPath) -> dict[str, Tensor]:
    """Read a dictionary of tensors that `torch.save` wrote.

    Raises
    ------
    WeightsError
        If it holds anything but named tensors, or `read_saved` refuses it.
    """
    content = read_saved(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}; expected named tensors")
    content = _weights_of_training(content)
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path}: {name!r} is a {type(tensor).__name__}, not a tensor")
    return dict(content)


def _weights_of_training(content: dict[Any, Any]) -> dict[Any, Any]:
    """Return the model's part of what a program saved of its training, or all if it is the model.

    PyTorch's tutorials, Lightning and DeepSpeed put it under these keys.
    """
    for key in ("state_dict", "model_state_dict", "model", "module"):
        if isinstance(content.get(key), dict):
            return content[key]
    return content


def weights_digest(folder: StrPath) -> str:
    """Return the SHA-256 of the files that `read_weights` reads, 64 hexadecimal digits.

    Raises
    ------
    BertKitError
        If there is no such file, or it cannot be read.
    """
    path = _weights_file(folder)
    digest = hashlib.sha256(file_digest(path).encode())
    for shard in sorted(set(_places(path).values())) if path.suffix == ".json" else ():
        digest.update(file_digest(shard).encode())
    return digest.hexdigest()


def _weights_file(folder: StrPath) -> Path:
    """Return the first file of `WEIGHT_FILES` in a folder."""
    for name in _READERS:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise WeightsError(f"{folder}: holds none of {', '.join(WEIGHT_FILES)}")


def _read_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Read the tensors that an index maps to the files beside it."""
    where, tensors = _places(index), {}
    for path in sorted(set(where.values())):
        content = read(path)
        for name in (name for name, place in where.items() if place == path):
            if name not in content:
                raise WeightsError(f"{path}: {name!r} is missing; {index.name} says it is here")
            tensors[name] = content[name]
    return tensors


def _places(index: Path) -> dict[str, Path]:
    """Return the file of each tensor that an index names."""
    where, suffix = read_json(index).get("weight_map"), Path(index.name.split(".index")[0]).suffix
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise WeightsError(f"{index}: weight_map does not map tensor names to file names")
    files = set(where.values())
    if not 1 <= len(files) <= _MOST_SHARDS:
        raise WeightsError(f"{index}: {len(files):,} shards; expected 1 to {_MOST_SHARDS:,}")
    paths = {file: _shard_path(index, file, suffix) for file in sorted(files)}
    return {name: paths[file] for name, file in where.items()}


def _shard_path(index: Path, file: str, suffix: str) -> Path:
    """Return the path of a shard, which must lie beside its index.

    The file's name is text from the folder's author: anything but a plain name could point at
    other files of this machine. The second check is for links; the Hugging Face cache keeps a
    model's files as links into its own `blobs` folders.
    """
    if not re.fullmatch(r"\w[\w.-]{0,200}", file, re.ASCII) or not file.endswith(suffix):
        raise WeightsError(f"{index}: shard {file!r} is not the plain name of a {suffix} file")
    folder = index.parent.resolve()
    allowed = [folder]
    if folder.parent.name == "snapshots":
        repository = folder.parent.parent
        allowed += [repository / "blobs", repository.parent / "blobs"]
    try:
        path = (folder / file).resolve()
    except (OSError, RuntimeError):  # links that lead to each other
        raise WeightsError(f"{index}: shard {file!r} is a link that leads nowhere") from None
    if not any(path.is_relative_to(place) for place in allowed):
        raise WeightsError(f"{index}: shard {file!r} is a link that leads out of the folder")
    return folder / file


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": partial(_read_shards, read=read_safetensors),
    "pytorch_model.bin": read_torch_file,
    "pytorch_model.bin.index.json": partial(_read_shards, read=read_torch_file),
}
WEIGHT_FILES = tuple(_READERS)
