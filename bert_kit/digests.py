"""Digests of files: what tells that a bit has flipped, or that a folder is no longer the same.

A folder that is written once and read when something has gone wrong, a checkpoint, has a file
digests.json: the SHA-256 of each of the other files, by name. A folder from before there were
digests has none, and is believed.
"""

import hashlib
from pathlib import Path

from bert_kit.errors import BertKitError
from bert_kit.files import StrPath, check_readable, read_json, write_json

DIGESTS = "digests.json"


def file_digest(path: StrPath) -> str:
    """Return the SHA-256 of a regular file, 64 hexadecimal digits.

    Raises
    ------
    BertKitError
        If it is something else, or cannot be read.
    """
    try:
        check_readable(path, float("inf"))
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BertKitError(f"{path}: cannot be read ({error.strerror})") from None


def write_digests(folder: StrPath) -> None:
    """Write the digests of the files of a folder, those of folders in it left out, into it."""
    folder = Path(folder)
    write_json(folder / DIGESTS, {path.name: file_digest(path) for path in sorted(folder.iterdir())
                                  if path.is_file() and path.name != DIGESTS})


def check_digests(folder: StrPath) -> None:
    """Check that the files of a folder are those that `write_digests` saw; others may be there.

    Raises
    ------
    BertKitError
        Names the first that is missing or has changed.
    """
    folder = Path(folder)
    if not (folder / DIGESTS).exists():
        return
    stored = read_json(folder / DIGESTS)
    for name, digest in stored.items():
        if Path(name).name != name or not isinstance(digest, str) or len(digest) != 64:
            raise BertKitError(f"{folder / DIGESTS}: damaged; expected the SHA-256 of each file")
        if not (folder / name).is_file():
            raise BertKitError(f"{folder / name}: no such file; {DIGESTS} beside it lists one")
        if file_digest(folder / name) != digest:
            raise BertKitError(f"{folder / name}: damaged: it is not what was saved ({DIGESTS} "
                               "beside it has the SHA-256)")
    if not stored:
        raise BertKitError(f"{folder / DIGESTS}: empty; expected the SHA-256 of each file")
