"""A corpus as numbers on the disk, of which only what is read is in memory.

A store is a folder that `build_token_store` makes (see `building`):

    manifest.json              what it was made of, and the sizes of its shards
    shard-00000.tokens.npy     the piece ids of some documents one after the other, no specials
    shard-00000.ends.npy       where each of these documents ends
    rows-126.npy               where rows of up to 126 pieces begin; made when first asked for

Reading maps these files into memory: the operating system loads the page that a row stands on and
may take it back at any time. It is in no hurry, though, and counts such pages as the program's
own; so after some hundred rows all of them are handed back, and a pass over any number of
gigabytes keeps to some megabytes.

The rows could be worked out from the ends, but not without a number for each document in every
process. As a file they cost eight bytes a row, 3% of what it holds, and opening takes no time.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bert_kit.data.store.array_files import MappedArray, header
from bert_kit.errors import BertKitError, DataError
from bert_kit.files import atomic_file, read_json
from bert_kit.tokenization import Tokenizer

VERSION = 1
MANIFEST, PLAN = "manifest.json", "plan.json"
INDEX = np.dtype("<i8")
READS = 512  # rows read before their pages are handed back; each may bring 64 kB of neighbours


def token_type(vocab_size: int) -> np.dtype:
    """Return the smallest numpy type that holds every id.

    >>> token_type(30_522).str, token_type(250_002).str
    ('<u2', '<u4')
    """
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def shard_files(folder: str | Path, number: int) -> tuple[Path, Path]:
    """Return the paths of a shard's tokens and of its ends."""
    return (Path(folder) / f"shard-{number:05}.tokens.npy",
            Path(folder) / f"shard-{number:05}.ends.npy")


class TokenStore:
    """The documents of a corpus as piece ids; see the top of this file.

    Parameters
    ----------
    folder
        A store that `build_token_store` finished.

    Attributes
    ----------
    documents, tokens
        How many it holds.
    fingerprint
        That of its tokenizer.

    Raises
    ------
    DataError
        If the folder is not a finished store, or a file of it is missing or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if (self.folder / PLAN).exists() and not path.exists():
            raise DataError(f"{self.folder}: a token store that is not finished; expected "
                            "build_token_store to be called again, which goes on with it")
        try:
            self._take(read_json(path))
        except BertKitError as error:
            raise DataError(str(error)) from None
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DataError(f"{path}: not as a token store of version {VERSION} has it; expected "
                            "one that build_token_store made") from None
        self._shards = [MappedArray(shard_files(self.folder, number)[0],
                                    token_type(self.vocab_size), size)
                        for number, size in enumerate(np.diff(self.bounds))]

    @classmethod
    def open(cls, folder: str | Path) -> "TokenStore":
        """Return the store in a folder."""
        return cls(folder)

    def _take(self, manifest: dict[str, Any]) -> None:
        """Set the sizes from what the manifest says."""
        if manifest["version"] != VERSION:
            raise ValueError
        self.fingerprint, self.vocab_size = manifest["tokenizer"], int(manifest["vocab_size"])
        sizes = np.array(manifest["shards"], dtype=np.int64).reshape(-1, 2)  # documents, tokens
        if (sizes < 0).any() or not isinstance(self.fingerprint, str):
            raise ValueError
        self.sizes, self.bounds = sizes, np.append(0, sizes[:, 1].cumsum())
        self.documents, self.tokens = sizes.sum(0).tolist()

    def __reduce__(self) -> tuple:  # a copy in another process maps the files itself
        return TokenStore, (self.folder,)

    def __repr__(self) -> str:
        return (f"TokenStore({str(self.folder)!r}: {self.documents:,} documents, "
                f"{self.tokens:,} tokens)")

    def rows(self, tokenizer: Tokenizer, room: int) -> "StoreRows":
        """Return the documents as rows of at most `room` pieces, see `StoreRows`.

        Raises
        ------
        DataError
            If the store is another tokenizer's.
        """
        if tokenizer.fingerprint() != self.fingerprint:
            raise DataError(f"{self.folder}: made with another tokenizer (fingerprint "
                            f"{self.fingerprint[:8]}…); expected this one's, "
                            f"{tokenizer.fingerprint()[:8]}…")
        return StoreRows(self, room, tokenizer.cls_id, tokenizer.sep_id)

    def read(self, start: int, end: int) -> np.ndarray:
        """Return the piece ids from token `start` to `end`, which are those of one shard."""
        shard = int(self.bounds.searchsorted(start, side="right")) - 1
        ids = self._shards[shard].values[start - self.bounds[shard]:end - self.bounds[shard]]
        if len(ids) != end - start or ids.max(initial=0) >= self.vocab_size:
            raise DataError(f"{shard_files(self.folder, shard)[0]}: damaged at token "
                            f"{start - self.bounds[shard]}; expected ids below {self.vocab_size}")
        return ids

    def ends(self, shard: int) -> np.ndarray:
        """Return where each document of a shard ends, an array of int64."""
        path, (documents, tokens) = shard_files(self.folder, shard)[1], self.sizes[shard]
        ends = MappedArray(path, INDEX, documents).values
        if (np.diff(ends, prepend=0) < 0).any() or (ends[-1] if documents else 0) != tokens:
            raise DataError(f"{path}: damaged; expected ascending numbers up to {tokens}")
        return ends

    def drop(self) -> None:
        """Hand the pages that were read back to the operating system."""
        for shard in self._shards:
            shard.drop()


class StoreRows:
    """The rows [CLS] … [SEP] of a store: what `Ragged` is for texts in memory.

    A document longer than a row is cut into several, an empty one gives none.

    Attributes
    ----------
    lengths
        Tokens of each row, [CLS] and [SEP] included.
    """

    def __init__(self, store: TokenStore, room: int, cls_id: int, sep_id: int) -> None:
        self.store, self.room, self.cls_id, self.sep_id = store, room, cls_id, sep_id
        self.path = store.folder / f"rows-{room}.npy"
        if not self.path.exists():
            write_rows(store, room, self.path)
        self.bounds = MappedArray(self.path, INDEX)
        edges = self.bounds.values[[0, -1]].tolist() if len(self.bounds.values) else None
        if edges != [0, store.tokens]:
            raise DataError(f"{self.path}: not made for this store; expected numbers from 0 to "
                            f"{store.tokens} (delete it to have it made again)")
        self.lengths = StoreLengths(self)
        self._reads = 0

    def __reduce__(self) -> tuple:
        return StoreRows, (self.store, self.room, self.cls_id, self.sep_id)

    def __len__(self) -> int:
        return len(self.bounds.values) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the ids of a row, an array (S,) of int64."""
        self._reads += 1
        if self._reads % READS == 0:
            self.store.drop()
            self.bounds.drop()
        start, end = self.bounds.values[row:row + 2].tolist()
        if not 0 < end - start <= self.room:
            raise DataError(f"{self.path}: damaged at row {row}; expected 1 to {self.room} tokens "
                            "(delete it to have it made again)")
        ids = np.empty(end - start + 2, dtype=np.int64)
        ids[0], ids[1:-1], ids[-1] = self.cls_id, self.store.read(start, end), self.sep_id
        return ids


class StoreLengths:
    """The lengths of a store's rows, read when they are asked for, [CLS] and [SEP] included.

    Indexed with an array of row numbers; `mean()` is that of all rows.
    """

    def __init__(self, rows: StoreRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        bounds = self.rows.bounds.values
        lengths = bounds[rows + 1] - bounds[rows] + 2
        self.rows.bounds.drop()
        return lengths

    def mean(self) -> float:
        return self.rows.store.tokens / len(self) + 2


def write_rows(store: TokenStore, room: int, path: Path) -> None:
    """Write where the rows of at most `room` pieces begin, and the end of the last one.

    They are numbers of tokens counted from the first of the store, ascending. One shard is in
    memory at a time.
    """
    def starts(shard: int) -> np.ndarray:
        ends = store.ends(shard)
        lengths = np.diff(ends, prepend=0)
        counts = -(-lengths // room)  # rows of each document
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return np.repeat(ends - lengths, counts) + within * room + store.bounds[shard]

    shards = range(len(store.sizes))
    total = sum(int((-(-np.diff(store.ends(shard), prepend=0) // room)).sum()) for shard in shards)
    with atomic_file(path) as temporary, open(temporary, "wb") as handle:
        handle.write(header(INDEX, total + 1))
        for shard in shards:
            handle.write(starts(shard).astype(INDEX).tobytes())
        handle.write(np.array([store.tokens], INDEX).tobytes())
