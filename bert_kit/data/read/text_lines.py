"""The lines of a text file, or one clear message about why it is not the text it should be.

The encoding is never guessed: as latin-1 every file can be read, and most are then read wrongly.
"""

import codecs
import os
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TypeGuard

from bert_kit.cells import FORBIDDEN
from bert_kit.errors import ConfigError, DataError

FIELD_LIMIT = 10_000_000  # characters; a longer field is a quote that is never closed
# How files begin that are often given by mistake. What follows the letters is part of the format,
# so that a header such as "PAR1,text" stays a header.
_SIGNATURES = {
    b"\x1f\x8b": "a gzip archive; expected the unpacked text",
    b"PK\x03\x04": "a zip archive or an Excel workbook (.xlsx); expected text, such as CSV",
    b"PAR1\x15": "a Parquet file; expected text, such as CSV, or in Python data="
                 "pandas.read_parquet(…) (its to_csv(…) writes one for the command line)",
    b"ARROW1\0": "an Arrow file; expected text, such as CSV, or in Python data="
                 "pandas.read_feather(…) (its to_csv(…) writes one for the command line)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls); expected text, such as CSV",
    b"BZh91AY&": "a bzip2 archive; expected the unpacked text",
    b"\xfd7zXZ\0": "an xz archive; expected the unpacked text",
    b"\x28\xb5\x2f\xfd": "a zstandard archive; expected the unpacked text",
    b"SQLite f": "an SQLite database; expected text, such as CSV",
    b"%PDF-1.": "a PDF document; expected text, such as CSV",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it with git lfs "
                                "pull in the folder, or download it anew",
}

# More lines than these that are not in an encoding say that the file is in another one.
FEW_LINES, LARGE_SHARE = 20, 0.05


def find_data(path: str | Path) -> Path:
    """Return where a file or folder is: as given, else below $DATADIR if the path is relative.

    Raises
    ------
    DataError
        If it is in neither place.
    """
    path = Path(path)
    tried = [path]
    if os.environ.get("DATADIR") and not path.is_absolute():
        tried.append(Path(os.environ["DATADIR"]) / path)
    for place in tried:
        try:
            if place.exists():
                return place
        except OSError as error:  # a name that is too long, a folder that may not be searched
            raise DataError(f"{place}: cannot be read ({error.strerror})") from None
    raise DataError(f"{' and '.join(map(str, tried))}: no such file; expected text, such as CSV "
                    "or JSONL")


def text_lines(path: Path, encoding: str = "utf-8", start: int = 0, limit: int = -1,
               unclean: dict[int, DataError] | None = None) -> Generator[str, None, None]:
    """Yield the lines of a file, line ends kept; refuse the first that is not clean text.

    Lines end with LF, CR LF or CR, also mixed. A byte order mark is no part of the text. Of UTF-8
    text the lines may be read from the byte `start` on, where a line must begin; then a message
    counts the lines from there. A line longer than `limit` characters comes in pieces of so many.

    Parameters
    ----------
    unclean
        Takes the error of each line that is not clean text, by the number of the line, which then
        is yielded like others, for its row to be left out. Where there are many of them, it is the
        file that has another encoding.

    Raises
    ------
    ConfigError
        If there is no such encoding.
    DataError
        If the file is not a regular one, cannot be read, is a well-known binary format, holds NUL
        or is not in the encoding; names the line.
    """
    codec = codec_name(encoding)
    number = 0
    try:
        check_file(path, codec)
        with open(path, encoding=codec, errors="surrogateescape", newline="") as handle:
            if start:
                handle.seek(start)
            for number, line in enumerate(iter(partial(handle.readline, limit), ""), 1):
                if ("\0" in line or not line.isascii()) and (bad := FORBIDDEN.search(line)):
                    wrong = not_clean(f"{path} line {number}", bad[0], encoding)
                    if unclean is None:
                        raise DataError(f"{wrong}, or for a few lines --bad_rows skip")
                    unclean[number] = wrong
                yield line
    except LookupError:
        raise _unknown(encoding) from None
    except UnicodeError:
        raise DataError(f"{path} from line {number + 1} on: not {encoding}; expected that, or "
                        "give another --encoding") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if unclean and len(unclean) > max(FEW_LINES, LARGE_SHARE * number):
        raise DataError(f"{path}: {len(unclean):,} of {number:,} lines are not {encoding}, first "
                        f"line {min(unclean)}; that is no row but the file: give another "
                        "--encoding (older files are often cp1252)")


def codec_name(encoding: str) -> str:
    """Return the name of the codec, UTF-8 as the one that skips a byte order mark.

    Raises
    ------
    ConfigError
        If there is no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, TypeError, ValueError):
        raise _unknown(encoding) from None
    return "utf-8-sig" if name == "utf-8" else name


def _unknown(encoding: str) -> ConfigError:
    return ConfigError(f"unknown encoding {encoding!r}; expected a name such as utf-8, "
                       "latin-1 or utf-16")


def check_file(path: Path, codec: str = "utf-8-sig") -> None:
    """Refuse what is no text by its kind or its first bytes, before anything waits for a pipe.

    Raises
    ------
    DataError
        If the file is not a regular one, or of a well-known binary format, or UTF-16.
    OSError
        If it cannot be opened.
    """
    if not path.is_file():
        raise DataError(f"{path}: not a regular file; expected text, such as CSV or JSONL")
    with open(path, "rb") as handle:
        start = handle.read(max(map(len, _SIGNATURES)))
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            raise DataError(f"{path}: {kind}")
    if codec == "utf-8-sig" and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} line 1: byte 0x{start[0]:02x} is not UTF-8; the file begins as "
                        "UTF-16 does: give --encoding utf-16")


def is_clean(text: object) -> TypeGuard[str]:
    """Say whether something is text, not only spaces, of which each character is one."""
    return isinstance(text, str) and bool(text) and not text.isspace() and (
        not FORBIDDEN.search(text))


def check_text(where: str, column: str, value: object) -> str:
    """Return a value of a JSON object; refuse what is no text, or holds what is no character.

    Raises
    ------
    DataError
        Names the row and the column.
    """
    if not isinstance(value, str):
        found = f"a {type(value).__name__}" if isinstance(value, list | dict) else str(value)[:50]
        raise DataError(f"{where}: {column!r} is {found}, expected text")
    if bad := FORBIDDEN.search(value):
        raise DataError(f"{where}: {column!r} holds U+{ord(bad[0]):04X}, which is not a character")
    return value


def not_clean(where: str, bad: str, encoding: str) -> DataError:
    """Return the error of a line that holds the character `bad`."""
    if bad == "\0":
        return DataError(f"{where}: holds a NUL character; expected text (for UTF-16, give "
                         "--encoding utf-16)")
    return DataError(f"{where}: byte 0x{ord(bad) & 0xff:02x} is not {encoding}; expected that, or "
                     "give another --encoding (older files are often cp1252)")
