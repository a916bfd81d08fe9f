"""Numbers in a file, of which only what is looked at is in memory."""

import io
import mmap
import os
from pathlib import Path

import numpy as np

from bert_kit.errors import DataError


def header(dtype: np.dtype, count: int) -> bytes:
    """Return the bytes with which a .npy file of so many numbers begins."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": dtype.str, "fortran_order": False, "shape": (int(count),)})
    return buffer.getvalue()


class MappedArray:
    """The numbers of a .npy file, read from the disk when they are looked at.

    Parameters
    ----------
    count
        How many it must hold; None takes what there is.

    Raises
    ------
    DataError
        If the file is missing, cut short, or holds anything else.
    """

    def __init__(self, path: Path, dtype: np.dtype, count: int | None = None) -> None:
        start = len(header(dtype, 0))
        try:
            with open(path, "rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if count is None:
                    count = max(0, size - start) // dtype.itemsize
                if (size != start + count * dtype.itemsize
                        or handle.read(start) != header(dtype, count)):
                    raise DataError(f"{path}: damaged, or not of this store ({size:,} bytes); "
                                    f"expected a .npy file of {count:,} numbers of type {dtype}")
                self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_RANDOM)  # what follows a row is not what is read next
        self.values = np.frombuffer(self._map, dtype, count, start)

    def drop(self) -> None:
        """Hand the pages that were read back; they are read again when they are needed."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
