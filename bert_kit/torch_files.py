"""Files of `torch.save`, read without trusting them and written so that a full disk says so.

There is one reader for all of them: weights, the parts of checkpoints, the states of populations.
Such a file is a pickle, mostly inside a zip archive. It is opened with `weights_only=True`, which
builds tensors and plain containers and runs nothing (torch >= 2.10). Before that the archive has
to be what it seems to be: to every program the same, no larger than it is on the disk, and with
the bytes that its checksums were taken of, which torch itself does not look at.
"""

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

from bert_kit.errors import BertKitError, WeightsError
from bert_kit.files import StrPath, check_readable

_END, _END_64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct(
    "<4sLQL")  # the last records of an archive; PKWARE's APPNOTE 4.3.14 to 4.3.16


def read_saved(path: StrPath, error: type[BertKitError] = WeightsError) -> Any:
    """Return what `torch.save` wrote, with its tensors on the CPU.

    Raises
    ------
    BertKitError
        An `error`, if torch is older than 2.10, or the file is damaged, holds anything but plain
        values and dense tensors, or would unpack to more than its own size (compressed members,
        one number spread over a billion places).
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
        raise error(f"{path}: torch is {torch.__version__}; expected 2.10 or later, which "
                    "reads it safely, or safetensors")
    try:
        check_readable(path, math.inf)  # a pipe would be waited for
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                _check_archive(path, file)
        content = torch.load(path, map_location="cpu", weights_only=True)
        for tensor in tensors_in(content):
            _check_tensor(path, tensor)
    except BertKitError as problem:
        raise error(str(problem)) from None
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror or problem})") from None
    except Exception as problem:  # a damaged pickle may raise anything
        code = "Unsupported global" in str(problem)
        hint = "; an object saved whole is code, which is not run: save its state_dict()" * code
        raise error(f"{path}: cannot be read: not a readable file of plain tensors "
                    f"({type(problem).__name__}){hint}") from None
    return content


def write_saved(path: StrPath, value: object) -> None:
    """Write a value with `torch.save`; see `atomic_file` for what it should be written to.

    Raises
    ------
    OSError
        If the system cannot write: torch would say that a place in its archive is unexpected.
    """
    with open(path, "wb") as file:
        writer = _Writer(file)
        try:
            torch.save(value, writer)  # pyright: ignore[reportArgumentType]  it writes, no more
        except RuntimeError:
            if writer.error is not None:
                raise writer.error from None
            raise


class _Writer:
    """A file that remembers why it could not be written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.error = file, None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors inside plain containers; one that holds itself is walked through once."""
    level, seen = [value], set()
    while level:
        one = level.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, dict | list | tuple | set | frozenset) and id(one) not in seen:
            seen.add(id(one))
            level += [*one, *one.values()] if isinstance(one, dict) else one


def _check_archive(path: StrPath, file: BinaryIO) -> None:
    """Check that a file is one archive from its first byte to its last, and what is in it.

    Programs look for an archive's table of contents in different ways. Where it stands at the
    very end and nothing is before, behind or between, they all find the same one.
    """
    size = file.seek(0, os.SEEK_END)
    if not _ends_with_contents(file, size):
        raise BertKitError(f"{path}: begins as a zip archive and does not end as one; expected "
                           "a file that torch.save wrote")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > size:
            raise BertKitError(f"{path}: {size:,} bytes that unpack to {unpacked:,}; expected a "
                               "file that torch.save wrote")
        if len({member.filename for member in members}) < len(members) or min(
                (member.header_offset for member in members), default=1):
            raise BertKitError(f"{path}: an archive that does not begin with its first member, or "
                               "has two of a name; expected a file that torch.save wrote")
        # torch.serialization.set_crc32_options(False) leaves zeros in all of them.
        damaged = any(member.CRC for member in members) and archive.testzip()
        if damaged:
            raise BertKitError(f"{path}: damaged: {damaged!r} in it is not what its checksum says; "
                               "expected the file as it was written")


def _ends_with_contents(file: BinaryIO, size: int) -> bool:
    """Say whether an archive's table of contents is followed by its end records and no more."""
    place = size - _END.size
    file.seek(max(place, 0))
    record = file.read()
    if place < 0 or record[:4] != b"PK\5\6":
        return False
    *_, length, start, comment = _END.unpack(record)
    file.seek(max(place - _LOCATOR.size, 0))
    locator = file.read(_LOCATOR.size)
    if locator[:4] == b"PK\6\7":  # the long form, which holds for all readers if it is there
        place -= _LOCATOR.size + _END_64.size
        file.seek(max(place, 0))
        long = file.read(_END_64.size)
        if _LOCATOR.unpack(locator)[2] != place or long[:4] != b"PK\6\6":
            return False
        *_, length, start = _END_64.unpack(long)
    return not comment and start + length == place


def _check_tensor(path: StrPath, tensor: Tensor) -> None:
    """Check that a tensor is dense, on the CPU, and has as many numbers as it stores."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or (
            tensor.is_quantized or tensor.is_nested):
        raise BertKitError(f"{path}: a tensor in it ({tensor.layout}, {tensor.device.type}) "
                           "is not a dense tensor")
    needed = tensor.numel() * tensor.element_size()
    if needed > tensor.untyped_storage().nbytes():
        raise BertKitError(f"{path}: a tensor in it has shape {tuple(tensor.shape)}, "
                           f"{needed:,} bytes, and stores fewer")
