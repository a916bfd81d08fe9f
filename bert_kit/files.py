"""Files that are never half-written, and JSON that is never half-understood.

What the kit saves goes through `atomic_file` or `atomic_folder` (a log that grows by rows, such as
metrics.csv, is the exception): the bytes are written
under a temporary name beside the target, flushed to the disk, and only then renamed. A reader
(or the same run after a crash) sees the old version or the new one, never a mixture.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from bert_kit.errors import BertKitError, ConfigError

TEMPORARY, REPLACED = ".bert_kit_new", ".bert_kit_old"  # how unfinished work is named
JSON_LIMIT = 256 * 2**20  # bytes; the largest tokenizer.json in use is about 20 MB


def _flush(path):
    """Ask the operating system to put a file or a folder's entries on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _errors_named(target):
    """Say in one line what could not be written: a full disk is not a fault of the program."""
    try:
        yield
    except OSError as error:
        raise BertKitError(f"{target}: cannot be written ({error.strerror or error})") from None


def _prepare(target, folder=False):
    """Return the target as a path, with its folder made, and the bits that the umask allows."""
    target = Path(target)
    if target.is_symlink():
        raise BertKitError(f"{target} is a symbolic link; refusing to write through it")
    if target.exists() and not (target.is_dir() if folder else target.is_file()):
        raise BertKitError(f"{target}: is not a {'folder' if folder else 'file'}; refusing to "
                           "replace it")
    with _errors_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    umask = os.umask(0)  # the only way to read it is to set it
    os.umask(umask)
    return target, ~umask


@contextlib.contextmanager
def atomic_file(target):
    """Yield a temporary path; on success it replaces `target`, on an error it is removed.

    Raises
    ------
    BertKitError
        If the system cannot write, inside the `with` or after it.
    """
    target, allowed = _prepare(target)
    with _errors_named(target):
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=TEMPORARY,
                                        dir=target.parent)
        os.close(handle)
        try:
            os.chmod(name, 0o666 & allowed)  # mkstemp's 0600 would hide the result from colleagues
            yield Path(name)
            _flush(name)
            os.replace(name, target)
            _flush(target.parent)
        finally:
            Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target):
    """Yield a temporary folder; on success it becomes `target`, which it replaces if present.

    Raises
    ------
    BertKitError
        If the system cannot write, inside the `with` or after it.
    """
    target, allowed = _prepare(target, folder=True)
    with _errors_named(target):
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=TEMPORARY,
                                     dir=target.parent))
        try:
            work.chmod(0o777 & allowed)
            yield work
            for path in work.rglob("*"):
                _flush(path)
            _flush(work)
            _put_in_place(work, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _put_in_place(work, target):
    """Rename a folder; one that it replaces cannot go in the same step, so it is set aside."""
    if not target.exists():
        os.replace(work, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=REPLACED, dir=target.parent))
    os.replace(target, aside / "old")
    try:
        os.replace(work, target)
    except OSError:
        os.replace(aside / "old", target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_folder(folder):
    """Remove a folder; killed half-way, it leaves nothing under the folder's own name."""
    folder = Path(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=TEMPORARY, dir=folder.parent))
    os.replace(folder, work)
    shutil.rmtree(work)


def write_json(path, value):
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def parse_json(text, name):
    """Parse JSON strictly: no duplicate keys, no NaN, no endless nesting.

    Raises
    ------
    BertKitError
        Names `name` and what is wrong with the text.
    """
    def unique(pairs):
        result = {}
        for key, value in pairs:
            if key in result:
                raise BertKitError(f"{name}: key {key!r} appears twice; expected it once")
            result[key] = value
        return result

    def refuse(constant):
        raise BertKitError(f"{name}: {constant} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except BertKitError:
        raise
    except RecursionError:
        raise BertKitError(f"{name}: JSON is nested too deeply") from None
    except (UnicodeDecodeError, ValueError) as error:  # ValueError: also integers over 4,300 digits
        raise BertKitError(f"{name}: not valid JSON ({str(error).splitlines()[0]})") from None


def read_json(path, kind=dict):
    """Read a JSON file strictly (see `parse_json`) and check that its top level is a `kind`."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > JSON_LIMIT:
            raise BertKitError(f"{path}: {size:,} bytes of JSON; at most {JSON_LIMIT:,} are read")
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


@contextlib.contextmanager
def held(folder, wait=False):
    """Keep a folder to this process and block of code, as long as both live.

    Others that ask for it meanwhile are told so, or wait for it; where the system has no such
    locks (Windows) nothing happens.

    Raises
    ------
    BertKitError
        If another process has it, unless `wait`.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    except BlockingIOError:
        raise BertKitError(f"{folder}: another process works in it; expected one at a "
                           "time") from None
    finally:
        os.close(place)


@contextlib.contextmanager
def working_folder(folder):
    """Make a folder, and keep it to this process and block of code; remove it if it stays empty.

    Raises
    ------
    BertKitError
        If it is a file (a ConfigError) or cannot be made, or another process works in it.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; expected a folder to write to")
    with _errors_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder):
            yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def remove_leftovers(folder):
    """Remove what a killed `atomic_file` or `atomic_folder` left in a folder.

    A folder that was being replaced when the process died is put back under its name.
    """
    for path in list(Path(folder).iterdir()):
        match = re.fullmatch(rf"\.(.+)\.[a-z0-9_]{{8}}({TEMPORARY}|{REPLACED})", path.name)
        if match is None or path.is_symlink():
            continue
        target = path.parent / match[1]
        if (path / "old").exists() and not target.exists():
            os.replace(path / "old", target)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
