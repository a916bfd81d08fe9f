"""Files that are never half-written, and JSON that is never half-understood.

What the kit saves goes through `atomic_file` or `atomic_folder` (a log that grows by rows, such as
metrics.csv, is the exception): the bytes are written
under a temporary name beside the target, flushed to the disk, and only then renamed. A reader
(or the same run after a crash) sees the old version or the new one, never a mixture.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import reprlib
import secrets
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bert_kit.errors import (BertKitError, ConfigError, MachineError, is_out_of_memory,
                             machine_fault)
from bert_kit.parsing import parse_json

StrPath = str | os.PathLike[str]
T = TypeVar("T")

TEMPORARY, REPLACED = ".bert_kit_new", ".bert_kit_old"  # how unfinished work is named
JSON_LIMIT = 256 * 2**20  # bytes; the largest tokenizer.json in use is about 20 MB
_POINTER = b"version https://git-lfs"  # as Git LFS specifies
_WEB_PAGE = (b"<!doctype html", b"<html")


def _flush(path: StrPath) -> None:
    """Ask the operating system to put a file or a folder's entries on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _errors_named(target: StrPath) -> Iterator[None]:
    """Say in one line what could not be written: a full disk is not a fault of the program."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"{target}: cannot be written ({error.strerror or error})") from None
    except RuntimeError as error:  # torch.save says so of a full disk
        fault = machine_fault(error)
        if fault is None or is_out_of_memory(error):
            raise
        raise MachineError(f"{target}: {fault}") from None


def _prepare(target: StrPath, folder: bool = False) -> Path:
    """Return the target as a path, with its folder made."""
    target = Path(target)
    with _errors_named(target):
        if target.is_symlink():
            raise BertKitError(f"{target} is a symbolic link; refusing to write through it")
        if target.exists() and not (target.is_dir() if folder else target.is_file()):
            raise BertKitError(f"{target}: is not a {'folder' if folder else 'file'}; refusing to "
                               "replace it")
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextlib.contextmanager
def _beside(target: Path, make: Callable[[Path], object], suffix: str = TEMPORARY
            ) -> Iterator[Path]:
    """Make a file or a folder under a temporary name of its own beside the target; yield it.

    While the block lasts it is locked: see `remove_leftovers`. `Path.touch` and `Path.mkdir` leave
    its rights to the umask: those that tempfile gives would hide the result from colleagues, and
    to read the umask one has to set it, for all threads.
    """
    with contextlib.ExitStack() as stack:
        while True:
            work = target.parent / f".{target.name}.{secrets.token_hex(4)}{suffix}"
            try:
                make(work)
                stack.enter_context(held(work, wait=True))
            except FileExistsError:
                continue
            except BertKitError:
                if work.exists():
                    raise
            if work.exists():  # else who cleans up came before the lock
                break
        yield work


@contextlib.contextmanager
def atomic_file(target: StrPath) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `target`, on an error it is removed.

    Raises
    ------
    BertKitError
        If the system cannot write, inside the `with` or after it.
    """
    target = _prepare(target)
    with _errors_named(target), _beside(target, functools.partial(Path.touch, exist_ok=False)
                                        ) as work:
        try:
            yield work
            _flush(work)
            os.replace(work, target)
            _flush(target.parent)
        finally:
            work.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: StrPath) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes `target`, which it replaces if present.

    Raises
    ------
    BertKitError
        If the system cannot write, inside the `with` or after it.
    """
    target = _prepare(target, folder=True)
    with _errors_named(target), _beside(target, Path.mkdir) as work:
        try:
            yield work
            for path in work.rglob("*"):
                _flush(path)
            _flush(work)
            _put_in_place(work, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _put_in_place(work: Path, target: Path) -> None:
    """Rename a folder; one that it replaces cannot go in the same step, so it is set aside.

    Whatever interrupts this, and wherever, one of the two is there, under its name or in what
    `remove_leftovers` puts back.
    """
    if not target.exists():
        os.replace(work, target)
        return
    with _beside(target, Path.mkdir, REPLACED) as aside:
        try:
            os.replace(target, aside / "old")
            os.replace(work, target)
        finally:
            if not target.exists():
                os.replace(aside / "old", target)
            shutil.rmtree(aside, ignore_errors=True)  # not reached with the only copy in it


def remove_folder(folder: StrPath) -> None:
    """Remove a folder; killed half-way, it leaves nothing under the folder's own name."""
    folder = Path(folder)
    with _beside(folder, Path.mkdir) as work:
        os.replace(folder, work)
        shutil.rmtree(work)


def write_text(path: StrPath, text: str) -> None:
    r"""Write a text in UTF-8, atomically. What UTF-8 cannot hold, half a character, is \ud83d.

    File names that are no UTF-8 have such halves, and labels from broken JSON; JSON reads them
    back.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def file_name(name: str) -> str:
    """Return a name as that of a file on any system, the same each time, and another for another.

    Examples
    --------
    >>> file_name("wavelet_kan"), file_name("../a b")
    ('wavelet_kan', '_.._a_b-4bc9c733')
    """
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]
    clean = clean if re.match(r"\w", clean) else "_" + clean
    if clean == name and not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name, re.I):
        return name
    return f"{clean}-{hashlib.sha256(repr(name).encode()).hexdigest()[:8]}"


def write_json(path: StrPath, value: object) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def check_readable(path: StrPath, most: float) -> None:
    """Check that a file is one, and of at most so many bytes, before it is read as a whole.

    A link to a device has no end, and who opens a pipe waits for its other end.

    Raises
    ------
    BertKitError
        If it is something else, larger, a web page, or what Git LFS leaves where the file has not
        been fetched.
    OSError
        If there is none.
    """
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(about.st_mode):
        raise BertKitError(f"{path}: not a regular file; expected one")
    if about.st_size > most:
        raise BertKitError(f"{path}: {about.st_size:,} bytes; at most {most:,} are read")
    with open(path, "rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise BertKitError(f"{path}: a pointer of Git LFS, not the file itself; fetch it with git "
                           "lfs pull in the folder, or download it anew")
    if start.lower().startswith(_WEB_PAGE):
        raise BertKitError(f"{path}: a web page, not the file itself; download it anew, from the "
                           "link to the raw file")


def read_json(path: StrPath, kind: type[T] = dict) -> T:
    """Read a JSON file strictly (see `parse_json`) and check that its top level is a `kind`."""
    path = Path(path)
    try:
        check_readable(path, JSON_LIMIT)
        value = parse_json(path.read_bytes().decode("utf-8-sig"), path)
    except FileNotFoundError:
        raise BertKitError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise BertKitError(f"{path}: not UTF-8 text; expected JSON") from None
    except OSError as error:
        raise BertKitError(f"{path}: cannot be read ({error.strerror})") from None
    if not isinstance(value, kind):
        raise BertKitError(f"{path}: holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def check_kinds(values: object, kinds: Mapping[str, Any], name: object) -> None:
    """Check that an object of JSON has some keys, and values of their kinds.

    Parameters
    ----------
    kinds
        {key: type or union of types}; None among them lets a key be absent.
    name
        What the message calls the object.

    Raises
    ------
    BertKitError
        Names the first key with something else.

    Examples
    --------
    >>> check_kinds({"step": 3}, {"step": int, "best": float | None}, "state.json")
    >>> check_kinds({"step": "x"}, {"step": int}, "state.json")
    Traceback (most recent call last):
    bert_kit.errors.BertKitError: state.json: step is 'x'; expected int
    """
    if not isinstance(values, dict):
        raise BertKitError(f"{name}: is {reprlib.repr(values)}; expected {', '.join(kinds)}")
    for key, kind in kinds.items():
        value = values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
            raise BertKitError(f"{name}: {key} is {reprlib.repr(value)}; expected "
                               f"{getattr(kind, '__name__', kind)}")


def check_same(folder: StrPath, before: Mapping[str, object], now: Mapping[str, object],
               free: Collection[str] = (), error: type[BertKitError] = ConfigError) -> None:
    """Check that a run that goes on in a folder has the settings that it began with.

    Both as JSON has them. What was not stored counts as the same: an earlier version did not know
    it. The names in `free` may change.

    Examples
    --------
    >>> check_same("a", {"seed": 1}, {"seed": 2})
    Traceback (most recent call last):
    bert_kit.errors.ConfigError: a: seed was 1 and is now 2; a resumed run needs the same settings
    """
    for name, value in now.items():
        if name not in free and before.get(name, value) != value:
            raise error(f"{folder}: {name} was {before[name]!r} and is now {value!r}; "
                        "a resumed run needs the same settings")


def numbered_folder(parent: StrPath, name: str, latest: bool = False) -> Path:
    """Return parent/name, or with a number the first that is not there yet.

    With `latest` it is the last one that is there, if any is.
    """
    taken, number = Path(parent, name), 2
    while taken.exists():
        following = Path(parent, f"{name}-{number}")
        if latest and not following.exists():
            break
        taken, number = following, number + 1
    return taken


@contextlib.contextmanager
def held(folder: StrPath, wait: bool = False) -> Iterator[None]:
    """Keep a folder to this process and block of code, as long as both live.

    Others that ask for it meanwhile are told so, or wait for it; where there are no such locks
    (on Windows, on some network disks) nothing happens.

    Raises
    ------
    BertKitError
        If another process has it, unless `wait`, or this one may not read it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with _errors_named(folder):
        place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BertKitError(f"{folder}: another process works in it; expected one at a "
                               "time") from None
        except OSError:
            pass  # no locks on this disk
        yield
    finally:
        os.close(place)


@contextlib.contextmanager
def working_folder(folder: StrPath) -> Iterator[None]:
    """Make a folder and keep it to this process and block of code; one that stays empty goes again.

    Raises
    ------
    BertKitError
        If it is a file (a ConfigError) or cannot be made, or another process works in it.
    """
    folder = Path(folder)
    with _errors_named(folder):
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; expected a folder to write to")
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder):
            yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty, or gone already
                path.rmdir()


def remove_leftovers(folder: StrPath) -> None:
    """Remove what a killed `atomic_file` or `atomic_folder` left in a folder.

    A folder that was being replaced when the process died is put back under its name. What a
    living process still writes is left alone.
    """
    for path in list(Path(folder).iterdir()):
        match = re.fullmatch(rf"\.(.+)\.[a-z0-9_]{{8}}({TEMPORARY}|{REPLACED})", path.name)
        if match is None or path.is_symlink():
            continue
        # The error is that it is held, or finished since it was listed.
        with contextlib.suppress(BertKitError), held(path):
            target = path.parent / match[1]
            if (path / "old").exists() and not target.exists():
                os.replace(path / "old", target)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
