"""Where a study lives: one sqlite3 file that can be shared, and killed at any moment.

A trial that runs belongs to an owner, a process that renews its lease every few seconds. When the
owner is gone, someone else may take the trial over, and what the first owner still sends is
dropped. Of a process on this machine the system says whether it lives, whatever the clock does;
where it cannot be asked (another container, a system without /proc) a lease that has run out
counts. The write-ahead log needs these processes to be on one machine (workers on others never see
the file).
"""

import contextlib
import functools
import json
import os
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bert_kit.errors import TuningError
from bert_kit.files import JSON_LIMIT, check_kinds
from bert_kit.tuner.ask_tell import Trial

RENEWED, LOST = 5, 60  # seconds after which a lease is renewed, and after which it has run out
_MARK = "~"  # between the parts of an owner's own mark

# `knew` and `told` make every draw repeatable: a trial knew what came of those before it that were
# told as number `knew` or earlier; the others were running for it.
TABLES = (
    "study (number INTEGER PRIMARY KEY, settings TEXT)",
    "trial (number INTEGER PRIMARY KEY, attempt INTEGER, failures INTEGER, settings INTEGER, "
    "knew INTEGER, told INTEGER UNIQUE, owner TEXT, beat INTEGER, record TEXT)",
)
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master"
NOW = "CAST(strftime('%s', 'now') AS INTEGER)"
RECORD = {"params": dict, "seed": int, "state": str, "value": float | int | dict | None,
          "reports": dict, "cuts": dict, "error": str | None, "started": float | int | None,
          "finished": float | int | None, "device": str | None, "notes": dict}  # of a trial
SETTINGS = {"name": str, "directions": dict, "seed": int, "space": dict}
DAMAGE = (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError)


class Store:
    """The tables of a study. All that changes them belongs inside a `transaction`.

    Parameters
    ----------
    path
        The file; None keeps everything in memory.

    Raises
    ------
    TuningError
        If the file cannot be used, by any method.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self._process = os.getpid()
        self.owner = "/".join([socket.gethostname(), str(self._process), _MARK.join(
            [_place(), _begun(self._process) or "", uuid.uuid4().hex])])
        self._closed = threading.Event()
        with self._errors_named():
            self._db = sqlite3.connect(path or ":memory:", timeout=30, isolation_level=None,
                                       check_same_thread=False)
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, JSON_LIMIT)
            self._check_tables()
            self._db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing
            self._db.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            _make_tables(self._db)
        if path:
            threading.Thread(target=_renew, args=(path, self.owner, self._closed),
                             daemon=True).start()

    def _check_tables(self) -> None:
        """Refuse a file with more in it than a study's tables: a trigger or a view would be run."""
        with contextlib.closing(sqlite3.connect(":memory:")) as ours:
            _make_tables(ours)
            expected = {*ours.execute(_SCHEMA)}
        for row in self._db.execute(_SCHEMA):
            if row not in expected:
                raise TuningError(f"{self.path}: holds the {row[0]} {row[1]!r:.60}, which no study "
                                  "has as it is there; expected the file of a study")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what happens inside, and nobody else writes meanwhile."""
        with self._errors_named(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _errors_named(self, *damage: type[Exception]) -> Iterator[None]:
        """Say in one line what is wrong with the file; `damage` is what else is its fault."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, *damage) as error:
            raise TuningError(f"{self.path or 'study in memory'}: {error}; expected the file of a "
                              "study, readable and writable") from None

    def settings(self) -> list[dict[str, Any]]:
        """Return what the study was begun with and what it went on with, the latest last."""
        with self._errors_named(*DAMAGE):
            rows = self._db.execute("SELECT settings FROM study ORDER BY number").fetchall()
            return [_fields(text, SETTINGS) for text, in rows]

    def add_settings(self, settings: dict[str, Any]) -> None:
        """Begin with these settings, or go on with them."""
        self._db.execute("INSERT INTO study (settings) VALUES (?)", (json.dumps(settings),))

    def news(self, number: int, told: int) -> list[tuple[Any, ...]]:
        """Return what is stored of the trials from `number` on or told since."""
        with self._errors_named(*DAMAGE):
            rows = self._db.execute(
                "SELECT number, attempt, failures, told, record FROM trial WHERE number IN "
                "(SELECT number FROM trial WHERE number >= ? UNION SELECT number FROM trial "
                "WHERE told > ?) ORDER BY number", (number, told)).fetchall()
            return [(*row, _fields(record, RECORD)) for *row, record in rows]

    def insert(self, trial: Trial, knew: int) -> None:
        """Add a trial that begins now and is ours."""
        self._db.execute(
            "INSERT INTO trial VALUES (?, 1, 0, (SELECT MAX(number) FROM study), ?, NULL, ?, "
            f"{NOW}, ?)", (trial.number, knew, self.owner, _record(trial)))

    def update(self, trial: Trial, over: bool = False) -> bool:
        """Write down a trial that is ours and runs, perhaps for the last time; return if it did."""
        return self._db.execute(
            "UPDATE trial SET record = ?, told = "
            + ("(SELECT COALESCE(MAX(told), 0) + 1 FROM trial) " if over else "NULL ")
            + "WHERE number = ? AND told IS NULL AND owner = ? AND attempt = ?",
            (_record(trial), trial.number, self.owner, trial.attempt)).rowcount == 1

    def take(self, number: int, attempt: int, failed: bool) -> None:
        """Make a trial ours, for one attempt more, if the last was this one and is not over."""
        self._db.execute(f"UPDATE trial SET owner = ?, beat = {NOW}, attempt = attempt + 1, "
                         "failures = failures + ? WHERE number = ? AND attempt = ? "
                         "AND told IS NULL", (self.owner, failed, number, attempt))

    def release(self, numbers: Iterable[int], failed: bool) -> None:
        """Let anyone take these trials, if they are ours."""
        self._db.executemany("UPDATE trial SET owner = '', failures = failures + ? "
                             "WHERE number = ? AND owner = ?",
                             [(failed, number, self.owner) for number in numbers])

    def lost(self) -> list[tuple[int, int, bool]]:
        """Return (number, attempt, whether it died) of the trials that nobody runs.

        One that was released has not died.
        """
        with self._errors_named(*DAMAGE):
            rows = self._db.execute(f"SELECT number, attempt, owner, {NOW} - beat FROM trial "
                                    "WHERE told IS NULL AND owner != ? ORDER BY number",
                                    (self.owner,)).fetchall()
            found = [(number, attempt, owner, age > LOST, _lives(owner))
                     for number, attempt, owner, age in rows]
            return [(number, attempt, owner != "") for number, attempt, owner, late, lives in found
                    if lives is False or lives is None and late]

    def origin(self, number: int) -> tuple[dict[str, Any], set[int]]:
        """Return the settings of a trial, and the numbers of those whose results it knew."""
        with self._errors_named(*DAMAGE):
            settings, knew = self._db.execute(
                "SELECT study.settings, knew FROM trial JOIN study ON trial.settings = "
                "study.number WHERE trial.number = ?", (number,)).fetchone()
            rows = self._db.execute("SELECT number FROM trial WHERE number < ? AND told <= ?",
                                    (number, knew)).fetchall()
            return _fields(settings, SETTINGS), {known for known, in rows}

    def close(self) -> None:
        """Close the file; anyone may take what is ours and runs, for nothing more will come."""
        self._closed.set()
        if hasattr(self, "_db"):  # else the file could not be opened
            with contextlib.suppress(sqlite3.Error):
                if self._process == os.getpid():  # and not a fork of the owner
                    self._db.execute("UPDATE trial SET owner = '' WHERE told IS NULL AND owner = ?",
                                     (self.owner,))
            self._db.close()

    __del__ = close  # the thread that renews holds only `_closed`


def _make_tables(db: sqlite3.Connection) -> None:
    for table in TABLES:
        db.execute(f"CREATE TABLE IF NOT EXISTS {table}")


def _renew(path: str | Path, owner: str, closed: threading.Event) -> None:
    """Renew the leases of an owner until it says that it is done."""
    address = f"{Path(path).resolve().as_uri()}?mode=rw"  # a file that was removed stays so
    while not closed.wait(RENEWED):
        with (contextlib.suppress(sqlite3.Error),
              contextlib.closing(sqlite3.connect(address, timeout=30, uri=True)) as db, db):
            db.execute(f"UPDATE trial SET beat = {NOW} WHERE told IS NULL AND owner = ?", (owner,))


def _lives(owner: str) -> bool | None:
    """Say whether the owner of a trial is there; None if only the lease can tell."""
    if not owner:  # it released the trial
        return False
    machine, _, mark = owner.rpartition("/")
    host, _, process = machine.rpartition("/")
    place, _, begun = mark.rpartition(_MARK)[0].rpartition(_MARK)
    if os.name != "posix" or host != socket.gethostname():
        return None
    if place:
        return _begun(process) == begun if place == _place() else None
    try:  # stored by an older version, or where there is no /proc
        os.kill(int(process), 0)  # signal 0 only asks
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return None


@functools.cache
def _place() -> str:
    """Return where a process number means one process: a start of the system, and a container.

    It is "" where that cannot be told.
    """
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # the numbers of another container
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _begun(process: int | str) -> str | None:
    """Return when a process of this place began, in ticks since the system did; None if it ended.

    So a process is told from another that has got its number.
    """
    if not str(process).isdecimal():
        return None
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]  # proc(5): field 22, starttime


def _fields(text: str, kinds: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object in a column, which has fields of these kinds and no other."""
    values = json.loads(text)
    check_kinds(values, kinds, "a record")
    return {name: values[name] for name in kinds}


def _record(trial: Trial) -> str:
    return json.dumps({name: getattr(trial, name) for name in RECORD}, default=_plain)


def _plain(value: Any) -> Any:
    """Turn what an objective left in its notes into something that JSON can hold."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
