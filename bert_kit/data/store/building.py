"""From text files of any size to a `TokenStore`, by several processes, interrupted or not.

The files are cut into ranges of whole documents, and each range becomes one shard, whoever makes
it: the store is the same to the byte for any number of processes. `plan.json` is written first,
every shard under its own name when it is finished, and `manifest.json` at the end. So a build that
was killed goes on with the shards that are missing.
"""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat, zip_longest
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.checks import whole
from bert_kit.data.read.bad_rows import BadRow
from bert_kit.data.read.documents import ByteRange, cut_file, read_range
from bert_kit.data.read.text_lines import codec_name, find_data
from bert_kit.data.rows.pieces import Ragged
from bert_kit.data.store.array_files import MappedArray
from bert_kit.data.store.token_store import (
    INDEX, MANIFEST, PLAN, VERSION, TokenStore, shard_files, token_type)
from bert_kit.digests import file_digest
from bert_kit.errors import BertKitError, DataError
from bert_kit.files import atomic_file, read_json, remove_leftovers, working_folder, write_json
from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.words import word_pieces

SHARD_BYTES = 32 * 2**20  # of text, or more: seconds of work and some 15 MB of tokens
MOST_SHARDS = 200  # each is an open file of every reader, and some systems allow 256

Report = Callable[[int, int], object]  # told how many bytes of text are done, of how many


def build_token_store(files: str | Path | Sequence[str | Path], tokenizer: Tokenizer,
                      folder: str | Path, workers: int = 1,
                      report: Report | None = None, encoding: str = "utf-8",
                      bad_rows: list[BadRow] | None = None) -> TokenStore:
    """Encode text files into a folder, or go on with it, or only open what is there already.

    Each process has a shard in memory, of 32 MB of text or of a 200th of it all where that is more.

    Parameters
    ----------
    files
        As `read_documents` reads them.
    folder
        Where the store goes; one process builds it at a time.
    workers
        Processes that encode. More than one are new interpreters, so a script that asks for them
        needs `if __name__ == "__main__":`.
    report
        Called as `report(done, total)` at the beginning and after each shard.
    encoding
        Of the files. Each of another one than UTF-8 is a shard of its own.
    bad_rows
        As in `read_documents`. The store keeps the rows that it leaves out, so a list takes them
        whenever it is opened; without one it is another store.

    Raises
    ------
    DataError
        If a file is not as `read_documents` wants it, or changes meanwhile, or the folder holds
        something else or a store of other texts (files are compared by name, size and content;
        for a store that is not finished by the time they were changed) or of another tokenizer,
        or a process was killed.
    """
    whole("workers", workers, 1, error=DataError)
    folder = Path(folder)
    files = [find_data(file) for file in ([files] if isinstance(files, str | Path) else files)]
    made_of = {"version": VERSION, "tokenizer": tokenizer.fingerprint(),
               "vocab_size": tokenizer.vocab_size,
               "encoding": None if codec_name(encoding) == "utf-8-sig" else encoding,
               "bad_rows": None if bad_rows is None else "skip",
               "files": [{"name": path.name, "bytes": path.stat().st_size} for path in files]}
    if (folder / MANIFEST).exists() and (folder / PLAN).exists():
        plan = _stored(folder / PLAN)
        _check_same(plan, made_of, folder)
        if plan.get("seen") != _seen(files):  # else nobody has written to them since
            stored = _stored(folder / MANIFEST).get("sha256")
            if stored is not None and stored != _hashes(files):  # older stores have none
                raise DataError(f"{folder}: a token store of other texts: what the files hold has "
                                "changed, their names and sizes have not; expected the same, or "
                                "another folder")
        remove_leftovers(folder)
    else:
        with working_folder(folder):
            _build(files, made_of, tokenizer, folder, workers,
                   report or (lambda done, total: None))
    if bad_rows is not None:
        bad_rows += _left_out(folder)
    return TokenStore(folder)


def _build(files: list[Path], made_of: dict[str, Any], tokenizer: Tokenizer, folder: Path,
           workers: int, report: Report) -> None:
    remove_leftovers(folder)
    shards = _plan(files, made_of, folder)
    _build_shards(shards, tokenizer, folder, workers, report, made_of["bad_rows"] is not None)
    sizes = [_shard_sizes(folder, number, tokenizer) for number in range(len(shards))]
    hashes = _hashes(files)
    _check_same(_stored(folder / PLAN), {"modified": _modified(files)}, folder)
    write_json(folder / MANIFEST, {**made_of, "sha256": hashes, "shards": sizes})


def _modified(files: list[Path]) -> list[int]:
    return [path.stat().st_mtime_ns for path in files]


def _seen(files: list[Path]) -> list[list[int]]:
    """Return numbers that the system changes with every write to a file, for nobody to set."""
    return [[about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
            for about in (path.stat() for path in files)]


def _hashes(files: list[Path]) -> list[str]:
    """Return the SHA-256 of each file's bytes."""
    return [file_digest(path) for path in files]


def _plan(files: list[Path], made_of: dict[str, Any], folder: Path) -> list[list[ByteRange]]:
    """Return the ranges of each shard: those of the plan in the folder, else of a new one."""
    # A file that changes between two parts of a build would be in the store half old, half new.
    plan = {**made_of, "modified": _modified(files)}
    if (folder / PLAN).exists():
        stored = _stored(folder / PLAN)
        _check_same(stored, plan, folder)
        plan = stored
    elif folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: holds other files; expected a token store, or a new or empty "
                        "folder")
    else:
        plan["shards"] = _cut(files, plan["encoding"] or "utf-8")
        write_json(folder / PLAN, {**plan, "seen": _seen(files)})
    try:
        return [[ByteRange(files[number], int(start), int(end), bool(gaps),
                           plan.get("encoding") or "utf-8")
                 for number, start, end, gaps in parts] for parts in plan["shards"]]
    except (KeyError, TypeError, ValueError, IndexError):
        raise DataError(f"{folder / PLAN}: damaged; expected the ranges of each shard (delete the "
                        "folder to begin anew)") from None


def _left_out(folder: Path) -> list[BadRow]:
    """Return the rows that the shards of a store left out."""
    found = []
    for path in sorted(folder.glob("bad-*.json")):
        try:
            found += [BadRow(**row) for row in read_json(path, list)]
        except (BertKitError, TypeError) as error:
            raise DataError(f"{path}: damaged ({error}); expected the rows that were left out "
                            "(delete the folder to begin anew)") from None
    return found


def _stored(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except BertKitError as error:
        raise DataError(str(error)) from None


def _check_same(stored: Mapping[str, Any], plan: Mapping[str, Any], folder: Path) -> None:
    """Refuse a folder in which another store was begun."""
    for key, value in plan.items():
        if stored.get(key) != value:
            raise DataError(f"{folder}: a token store of {_difference(key, stored, plan)}; "
                            "expected the same, or another folder")


def _difference(key: str, stored: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return the first difference in one sentence's part."""
    old, new = stored.get(key), plan[key]
    if isinstance(old, list) and isinstance(new, list):  # of files
        old, new = next(pair for pair in zip_longest(old, new) if pair[0] != pair[1])
    return f"{key} {str(old)[:100]}, now given {str(new)[:100]}"


def _cut(files: list[Path], encoding: str) -> list[list[list]]:
    """Return for each shard its ranges, as lists: number of the file, first byte, end, gaps.

    Large files make several shards, small ones share one.
    """
    size = max(SHARD_BYTES, sum(path.stat().st_size for path in files) // MOST_SHARDS)
    shards: list[list[list]] = []
    free = 0
    for number, path in enumerate(files):
        for part in cut_file(path, size, encoding):
            if free <= 0:
                shards.append([])
                free = size
            shards[-1].append([number, part.start, part.end, part.gaps])
            free -= part.end - part.start
    return shards


def _build_shards(shards: list[list[ByteRange]], tokenizer: Tokenizer, folder: Path, workers: int,
                  report: Report, skip: bool) -> None:
    """Make the shards that are missing."""
    sizes = [sum(part.end - part.start for part in parts) for parts in shards]
    missing = [number for number in range(len(shards))
               if not all(path.exists() for path in shard_files(folder, number))]
    done = sum(sizes) - sum(sizes[number] for number in missing)
    report(done, sum(sizes))
    with _processes(min(workers, len(missing)), folder) as run:
        for number in run(_build_shard, missing, [shards[number] for number in missing],
                          repeat(tokenizer), repeat(folder), repeat(skip)):
            done += sizes[number]
            report(done, sum(sizes))


@contextlib.contextmanager
def _processes(count: int, folder: Path) -> Iterator[Callable]:
    """Yield a function like `map` that works with so many processes."""
    if count <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin_process)
    try:
        yield pool.map
    except BrokenProcessPool:
        raise DataError(f"{folder}: a process that encodes was killed (is memory short?); expected "
                        "it to live: call again to go on, with fewer workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """Make ready a process of its own: one thread of the tokenizers library, not one a core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when the one that started it does: killed, it cannot say so any more."""
    connection.wait([sentinel])
    os._exit(1)


def _build_shard(number: int, parts: list[ByteRange], tokenizer: Tokenizer, folder: Path,
                 skip: bool) -> int:
    """Encode some ranges of text into the files of a shard; return its number.

    With `skip` rows that cannot be used are left out, and stand in a file of their own.
    """
    bad: list[BadRow] | None = [] if skip else None
    texts = (" ".join(lines) for part in parts for lines in read_range(part, bad))
    documents = Ragged(word_pieces(texts, tokenizer))
    if bad:
        write_json(folder / f"bad-{number:04}.json", [row._asdict() for row in bad])
    tokens, ends = shard_files(folder, number)
    _save(tokens, documents.values.astype(token_type(tokenizer.vocab_size)))
    _save(ends, documents.bounds[1:].astype(INDEX))
    return number


def _save(path: Path, values: np.ndarray) -> None:
    with atomic_file(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, values, allow_pickle=False)


def _shard_sizes(folder: Path, number: int, tokenizer: Tokenizer) -> list[int]:
    """Return how many documents and tokens a finished shard holds."""
    tokens, ends = shard_files(folder, number)
    return [len(MappedArray(ends, INDEX).values),
            len(MappedArray(tokens, token_type(tokenizer.vocab_size)).values)]
