"""The safetensors file format: a JSON header that says where each tensor's bytes lie.

    8 bytes   N, the length of the header, little-endian
    N bytes   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, spaces
    the rest  the tensors' bytes, little-endian, rows first, without gaps or overlaps

Nothing in such a file is ever executed, and every number is checked against the size of the
file before it is believed. Format: https://github.com/huggingface/safetensors (README).
"""

import json
import math
import mmap
import os
import reprlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bert_kit.errors import BertKitError, WeightsError
from bert_kit.files import StrPath, atomic_file, check_readable
from bert_kit.parsing import parse_json

HEADER_LIMIT = 100_000_000  # bytes, the format's own limit
_LARGEST = 2**48  # elements; above every file, far below what torch's 64-bit strides can hold

# In the order of the reference, which lays a file out from the last type to the first: the
# widest come first, so every tensor starts at a multiple of its element size.
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16, "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16,
    "I32": torch.int32, "U32": torch.uint32, "F32": torch.float32,
    "F64": torch.float64, "I64": torch.int64, "U64": torch.uint64,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}


class Entry(NamedTuple):
    """One tensor of a header; `start` and `stop` count bytes from the beginning of the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: StrPath) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read and check the header of a safetensors file, without its tensors.

    Returns
    -------
    entries
        By tensor name, in the order of the bytes.
    metadata
        Free text stored with the tensors, usually {"format": "pt"}.

    Raises
    ------
    WeightsError
        If the file is not exactly what the format allows: also for names that appear twice or
        hold unprintable characters, and for bytes that belong to no tensor.
    """
    try:
        check_readable(path, math.inf)  # of any size: the rest is mapped
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(HEADER_LIMIT, size - 8):
                raise WeightsError(f"{path}: a header of {length:,} bytes in a file of {size:,}; "
                                   f"not a safetensors file, or a damaged one")
            header = file.read(length)
        if header[:1] != b"{":
            raise WeightsError(f"{path}: the header does not start with '{{'; "
                               f"not a safetensors file, or a damaged one")
        values = parse_json(header.decode("utf-8"), path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise WeightsError(f"{path}: the header is not UTF-8") from None
    except BertKitError as error:
        raise WeightsError(str(error)) from None
    metadata = values.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata  # null, as some writers have it, is none
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(f"{path}: __metadata__ does not map names to text")
    entries = [(name, _check_entry(path, name, value, 8 + length))
               for name, value in values.items()]
    entries.sort(key=lambda item: (item[1].start, item[1].stop))
    position = 8 + length
    for name, entry in entries:
        if entry.start != position:
            raise WeightsError(f"{path}: tensor {reprlib.repr(name)} starts at byte {entry.start}; "
                               f"the one before it ends at {position}")
        position = entry.stop
    if position != size:
        raise WeightsError(f"{path}: {size:,} bytes; the header describes {position:,}")
    return dict(entries), metadata


def _check_entry(path: StrPath, name: str, value: object, base: int) -> Entry:
    """Turn one value of the header into an Entry whose byte count fits its type and shape."""
    where = f"{path}: tensor {reprlib.repr(name)}"
    if not name.isprintable():
        raise WeightsError(f"{where}: unprintable characters in the name")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"{where}: {reprlib.repr(value)}; expected dtype, shape, data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WeightsError(f"{where}: dtype {reprlib.repr(dtype)}; expected one of "
                           f"{', '.join(DTYPES)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or len(numbers) > 64 or not all(
                type(number) is int and 0 <= number <= _LARGEST for number in numbers):
            raise WeightsError(f"{where}: {reprlib.repr(numbers)} is not a list of sizes")
    if math.prod(max(number, 1) for number in shape) > _LARGEST:
        raise WeightsError(f"{where}: shape {reprlib.repr(shape)} is too large for any file")
    expected = math.prod(shape) * DTYPES[dtype].itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != expected:
        raise WeightsError(f"{where}: data_offsets {reprlib.repr(offsets)}; expected two numbers "
                           f"{expected} apart ({dtype}, shape {reprlib.repr(shape)})")
    return Entry(DTYPES[dtype], tuple(shape), base + offsets[0], base + offsets[1])


def read_safetensors(path: StrPath) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file, on the CPU and in the order of the file.

    The file is mapped into memory, so a tensor costs nothing before it is used. The mapping is
    private: the tensors can be written to, and the file never changes. They share one storage,
    which stays in memory as long as any of them does: copy what you keep.

    Raises
    ------
    WeightsError
        As `read_header`, or if a truth value is stored as a byte other than 0 or 1.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_safetensors(folder + "/x.safetensors", {"x": torch.tensor([1.0, 2.5])})
    ...     read_safetensors(folder + "/x.safetensors")
    {'x': tensor([1.0000, 2.5000])}
    """
    entries, _ = read_header(path)
    try:
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be mapped ({error.strerror})") from None
    content = torch.frombuffer(content, dtype=torch.uint8)
    if len(content) < max((entry.stop for entry in entries.values()), default=0):
        raise WeightsError(f"{path}: was cut short while it was opened; expected a file that "
                           "nobody writes to")
    tensors = {}
    for name, entry in entries.items():
        flat = content[entry.start:entry.stop]
        if entry.dtype is torch.bool and bool((flat > 1).any()):
            raise WeightsError(f"{path}: tensor {name!r} holds bytes that are neither 0 nor 1")
        if entry.start % entry.dtype.itemsize:  # only other writers leave a tensor unaligned
            flat = flat.clone()
        tensors[name] = flat.view(entry.dtype).reshape(entry.shape)
    return tensors


def write_safetensors(path: StrPath, tensors: Mapping[str, Tensor],
                      metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as a safetensors file, atomically; the same tensors give the same bytes.

    Parameters
    ----------
    path
        An existing file is replaced.
    tensors
        Any layout and device; each is written out whole, also when two share their memory.
    metadata
        Stored with the tensors; {"format": "pt"} by default, which some readers insist on.

    Raises
    ------
    WeightsError
        If a name, a type or the metadata cannot be stored.
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name.isprintable() or name == "__metadata__":
            raise WeightsError(f"{path}: {name!r} cannot be the name of a tensor")
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _NAMES or (
                tensor.is_meta or tensor.layout != torch.strided):
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise WeightsError(f"{path}: {name!r} is a {kind}; expected a dense tensor of type "
                               f"{', '.join(DTYPES)}")
    metadata = {"format": "pt"} if metadata is None else dict(metadata)
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise WeightsError(f"{path}: metadata {metadata!r} does not map text to text")
    order = sorted(tensors, key=lambda name: (-_RANK[tensors[name].dtype], name))
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name in order:
        stop = position + tensors[name].numel() * tensors[name].element_size()
        header[name] = {"dtype": _NAMES[tensors[name].dtype], "shape": list(tensors[name].shape),
                        "data_offsets": [position, stop]}
        position = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise WeightsError(f"{path}: the header would be {len(text):,} bytes; "
                           f"at most {HEADER_LIMIT:,} are read")
    with atomic_file(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            whole = tensors[name].detach().cpu().contiguous().reshape(-1)
            file.write(whole.view(torch.uint8).numpy().data)
