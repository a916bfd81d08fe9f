"""The weight files that a model folder may hold, and how each is read without trusting it.

In order of preference: one safetensors file, the same in shards behind an index, one torch file,
the same in shards. A torch file is a pickle; it is opened with `weights_only=True`, which builds
tensors and plain containers and runs nothing (torch >= 2.10).
"""

import math
import os
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bert_kit.errors import WeightsError
from bert_kit.files import StrPath, check_readable, read_json
from bert_kit.foreign import ADAPTER, merge_command
from bert_kit.weights.names import unwrapped
from bert_kit.weights.safetensors import read_safetensors

_MOST_SHARDS = 1_000


def read_weights(folder: StrPath) -> tuple[Path, dict[str, Tensor]]:
    """Read the tensors of a model folder, from the best of the files in `WEIGHT_FILES`.

    Returns
    -------
    path
        The file that was read; of a sharded model, the index.
    tensors
        On the CPU, under the names that the file has, but for what `unwrapped` takes away.

    Raises
    ------
    BertKitError
        If there is no such file, or it is damaged or unsafe, or holds an adapter (LoRA).
    """
    for name, read in _READERS.items():
        path = Path(folder) / name
        if path.is_file():
            tensors = read(path)
            _refuse_adapter(path, tensors)
            return path, unwrapped(tensors)
    raise WeightsError(f"{folder}: holds none of {', '.join(WEIGHT_FILES)}")


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
        If torch is older than 2.10, or the file is damaged, holds anything but named tensors, or
        would unpack to more than its own size (compressed members, one number spread over a
        billion places).
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
        raise WeightsError(f"{path}: torch is {torch.__version__}; expected 2.10 or later, which "
                           "reads it safely, or safetensors")
    if not os.path.isfile(path):  # a pipe would be waited for
        raise WeightsError(f"{path}: no such file; expected one that torch.save wrote")
    try:
        size = os.path.getsize(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > size:
                raise WeightsError(f"{path}: {size:,} bytes that unpack to {unpacked:,}; "
                                   f"expected a file that torch.save wrote")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise WeightsError(f"{path}: not a readable file of plain tensors "
                           f"({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}; expected named tensors")
    content = _weights_of_training(content)
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{path}: {name!r} is a {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or (
                tensor.is_quantized or tensor.is_nested):
            raise WeightsError(f"{path}: {name!r} is not a dense tensor")
        needed = tensor.numel() * tensor.element_size()
        if needed > tensor.untyped_storage().nbytes():
            raise WeightsError(f"{path}: {name!r} has shape {tuple(tensor.shape)}, "
                               f"{needed:,} bytes, and stores fewer")
    return dict(content)


def _weights_of_training(content: dict[Any, Any]) -> dict[Any, Any]:
    """Return the model's part of what a program saved of its training, or all if it is the model.

    PyTorch's tutorials, Lightning and DeepSpeed put it under these keys.
    """
    for key in ("state_dict", "model_state_dict", "model", "module"):
        if isinstance(content.get(key), dict):
            return content[key]
    return content


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Read a torch file of a model folder; see `read_torch_file`."""
    try:
        check_readable(path, math.inf)  # says so of a pointer of Git LFS
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    return read_torch_file(path)


def _read_shards(index: Path, suffix: str,
                 read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Read the tensors that an index maps to the files beside it."""
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise WeightsError(f"{index}: weight_map does not map tensor names to file names")
    files = sorted(set(where.values()))
    if not 1 <= len(files) <= _MOST_SHARDS:
        raise WeightsError(f"{index}: {len(files):,} shards; expected 1 to {_MOST_SHARDS:,}")
    paths = [_shard_path(index, file, suffix) for file in files]
    tensors = {}
    for file, path in zip(files, paths, strict=True):
        content = read(path)
        for name in (name for name, place in where.items() if place == file):
            if name not in content:
                raise WeightsError(f"{path}: {name!r} is missing; {index.name} says it is here")
            tensors[name] = content[name]
    return tensors


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


_READERS = {
    "model.safetensors": read_safetensors,
    "model.safetensors.index.json": partial(_read_shards, suffix=".safetensors",
                                            read=read_safetensors),
    "pytorch_model.bin": _read_torch,
    "pytorch_model.bin.index.json": partial(_read_shards, suffix=".bin", read=_read_torch),
}
WEIGHT_FILES = tuple(_READERS)
