"""Journal of paid jobs, written before money is spent, from which an interrupted run can resume."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...files import atomic_write
from ...remedies import remedy
from ...text import storable
from . import locks
from .errors import JournalError, SpendingLimitError

FILE = "jobs.sqlite"
INTENT, SENDING, SUBMITTED, COMPLETED, SAVED = "INTENT", "SENDING", "SUBMITTED", "COMPLETED", "SAVED"
AMBIGUOUS, FAILED, FORGOTTEN = "AMBIGUOUS", "FAILED", "FORGOTTEN"
OPEN = (INTENT, SENDING, SUBMITTED, COMPLETED, SAVED, AMBIGUOUS)
"""States in which the same inputs resume the job; in the others they order a new one."""
MAYBE_BILLED = (SENDING, SUBMITTED, COMPLETED, SAVED, AMBIGUOUS, FORGOTTEN)

USUAL_COST = 0.28
"""USD; average cost of a job, used until a server has reported one."""

_APPLICATION_ID = 0x4C505632
_VERSION = 2
_DAY = 24 * 3600.0
_SEAL = """
CREATE TABLE seal (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    digest TEXT NOT NULL
);
"""
_SCHEMA = f"""
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL,
    state TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    label TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    request_id TEXT,
    payload TEXT,
    url TEXT,
    file TEXT,
    sha256 TEXT,
    cost REAL,
    remaining REAL,
    error TEXT
);
CREATE UNIQUE INDEX one_open_job ON jobs (hash) WHERE state IN {OPEN};
CREATE TABLE uploads (
    sha256 TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    url TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (sha256, endpoint)
);
{_SEAL}
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class Job:
    """Entry of one job.

    Attributes:
        id: number in this journal.
        hash: hexadecimal, of the inputs' content and the settings.
        state: INTENT (nothing sent yet), SENDING (the order is on its way), SUBMITTED (it has a request id),
            COMPLETED (paid, the result's URL is known), SAVED (the file is here), AMBIGUOUS (it may have been
            accepted), FAILED (not billed), FORGOTTEN (set aside by the user).
        endpoint: origin of the API.
        label: the names of the clips, for users.
        created, changed: seconds since 1970.
        payload: as it was sent; None before, and if it can't be read.
        url: of the result.
        file: path of the saved result.
        sha256: of that file.
        cost, remaining: USD and credits as reported by the server, None if it reported none.
        error: description of the last problem.
    """

    id: int
    hash: str
    state: str
    endpoint: str
    label: str
    created: float
    changed: float
    request_id: str | None
    payload: dict[str, Any] | None
    url: str | None
    file: str | None
    sha256: str | None
    cost: float | None
    remaining: float | None
    error: str | None


_COLUMNS = tuple(field.name for field in fields(Job))


@dataclass(frozen=True)
class SpendingLimits:
    """Spending limits in USD; None is unlimited.

    Attributes:
        run: for one job, estimated from the last reported cost.
        day: within 24 hours, by the reported costs, or the usual cost where none was reported.
    """

    run: float | None = None
    day: float | None = None


class Journal:
    """Journal in a folder. Threads and processes may share it.

    It is one file: each transaction is in it, and on the disk, before the next step begins (`journal_mode=DELETE`,
    `synchronous=EXTRA`). The seal, a digest over all rows, is written in each transaction. A journal that does not
    match its seal has lost rows or was edited by hand: it can be read, and its jobs fetched, but it orders nothing.
    """

    def __init__(self, folder: Path, now: Callable[[], float], busy_seconds: float = 5.0):
        """Open the journal, or create it if there is none.

        Args:
            now: returns the time in seconds since 1970.
            busy_seconds: maximum wait for another process that writes.

        Raises:
            JournalError: the file is damaged, locked or another program's, or the folder is read-only.
        """
        self.path = folder / FILE
        self._folder = folder
        self._now = now
        self._lock = threading.RLock()
        with self._sqlite_errors_as_journal_errors():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "locks").mkdir(mode=0o700, exist_ok=True)
            self._create()
            lost = _has_lost_wal(self.path)
            self._connection = _connect(self.path, busy_seconds)
            self._check()
            self._leave_wal(lost)

    def close(self) -> None:
        """Close the journal."""
        self._connection.close()

    def lock_path(self, digest: str) -> Path:
        """Return the lock file of a job; the run that works on it holds the lock."""
        return self._folder / "locks" / digest[:32]

    def check_seal(self) -> None:
        """Check that the rows are those written last, so that no order is missing.

        Raises:
            JournalError: they are not.
        """
        with self._sqlite_errors_as_journal_errors():
            if not self._is_sealed() or not self._is_whole():
                raise JournalError(
                    f"{self.path}: the journal of paid jobs is not as it was written last: a part of it was lost, or "
                    "it was edited; nothing is ordered with it, as a job may have been paid for that it does not show; "
                    f"{remedy('unsealed')}, then restore it from a backup or move it away"
                )

    def open_job(self, digest: str) -> Job | None:
        """Return the job of these inputs that is running, done or unclear, None if there is none."""
        return self._one(f"hash = ? AND state IN {OPEN}", (digest,))

    def job(self, number: int | None) -> Job:
        """Return a job by its number."""
        job = self._one("id = ?", (number,))
        assert job is not None, number  # no job is ever deleted
        return job

    def find(self, text: str) -> Job | None:
        """Return a job by its number or its request id, None if there is none."""
        if (
            text.isascii()
            and text.isdigit()
            and len(text) < 10
            and (job := self._one("id = ?", (int(text),)))
        ):
            return job
        return self._one("request_id = ?", (text,))

    def jobs(self) -> list[Job]:
        """Return all jobs, newest first."""
        with self._sqlite_errors_as_journal_errors():
            rows = self._connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY id DESC"
            ).fetchall()
        return [_job(row) for row in rows]

    def begin(self, digest: str, endpoint: str, label: str, request_id: str | None = None) -> Job:
        """Return the open job of these inputs, or a new one: INTENT, or SUBMITTED if it has a request id."""
        with self._writing() as connection:
            job = self.open_job(digest)
            if job is None:
                now = self._now()
                state = INTENT if request_id is None else SUBMITTED
                values = (digest, state, endpoint, storable(label), now, now, request_id)
                names = "hash, state, endpoint, label, created, changed, request_id"
                cursor = connection.execute(
                    f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * len(values))})", values
                )
                job = self.job(cursor.lastrowid)
        return job

    def advance(self, job: Job, state: str, **values: Any) -> Job:
        """Move a job to another state and record `values`, attributes of `Job`, in the same transaction."""
        if "payload" in values:
            values["payload"] = json.dumps(values["payload"])
        values = {"state": state, "changed": self._now(), **values}
        values = {
            name: storable(value) if isinstance(value, str) else value for name, value in values.items()
        }
        with self._writing() as connection:
            connection.execute(
                f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
                (*values.values(), job.id),
            )
            return self.job(job.id)

    def send(self, job: Job, payload: dict[str, Any], limits: SpendingLimits) -> Job:
        """Move a job to SENDING if the spending limits allow it.

        Raises:
            SpendingLimitError: it would exceed a limit.
            JournalError: as `check_seal`.
        """
        with self._writing():
            self.check_seal()
            cost = self.expected_cost(job.endpoint)
            if limits.run is not None and cost > limits.run:
                raise SpendingLimitError(
                    f"one job may cost at most {limits.run:.2f} USD, and one costs about {cost:.2f} USD; "
                    "nothing was ordered; raise the limit to continue"
                )
            spent = self.spent(_DAY, without=job.id)
            if limits.day is not None and spent + cost > limits.day:
                raise SpendingLimitError(
                    f"at most {limits.day:.2f} USD may be spent in 24 hours, {spent:.2f} USD are, and one more job "
                    f"costs about {cost:.2f} USD; nothing was ordered; wait, or raise the limit"
                )
            return self.advance(job, SENDING, payload=payload)

    def forget(self, job: Job) -> Job:
        """Set a job aside and delete its file, so that the same inputs order a new one. Its cost stays on record.

        Raises:
            JournalError: another run works on it.
        """
        with self._sqlite_errors_as_journal_errors():
            lock = locks.take(self.lock_path(job.hash))
            if lock is None:
                raise JournalError(
                    f"job {job.id} is under way in another run; stop that one first", job.request_id
                )
            try:
                job = self.job(job.id)
                if job.file is not None:
                    Path(job.file).unlink(missing_ok=True)
                return self.advance(job, FORGOTTEN, file=None)
            finally:
                locks.release(lock)

    def expected_cost(self, endpoint: str) -> float:
        """Return the last cost in USD that this server reported, else the usual cost."""
        with self._sqlite_errors_as_journal_errors():
            row = self._connection.execute(
                "SELECT cost FROM jobs WHERE cost IS NOT NULL AND endpoint = ? ORDER BY id DESC LIMIT 1",
                (endpoint,),
            ).fetchone()
        cost = None if row is None else _number(row[0])
        return USUAL_COST if cost is None else cost

    def spent(self, seconds: float, without: int = -1) -> float:
        """Return the USD spent on orders of the last `seconds`, except those of job `without`.

        An unknown cost counts as the usual one.
        """
        with self._sqlite_errors_as_journal_errors():
            (spent,) = self._connection.execute(
                f"SELECT TOTAL(COALESCE(cost, ?)) FROM jobs WHERE state IN {MAYBE_BILLED} AND payload IS NOT NULL "
                "AND created > ? AND id <> ?",
                (USUAL_COST, self._now() - seconds, without),
            ).fetchone()
        return spent

    def request_ids(self) -> set[str]:
        with self._sqlite_errors_as_journal_errors():
            rows = self._connection.execute("SELECT request_id FROM jobs WHERE request_id IS NOT NULL")
            return {str(row[0]) for row in rows}

    def uploaded(self, sha256: str, endpoint: str) -> str | None:
        """Return the URL of an upload that should still be available, None if there is none."""
        with self._sqlite_errors_as_journal_errors():
            row = self._connection.execute(
                "SELECT url FROM uploads WHERE sha256 = ? AND endpoint = ? AND expires > ?",
                (sha256, endpoint, self._now()),
            ).fetchone()
        return None if row is None else row[0]

    def keep_upload(self, sha256: str, endpoint: str, url: str, seconds: float) -> None:
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)",
                (sha256, endpoint, url, self._now() + seconds),
            )

    def _one(self, condition: str, values: tuple) -> Job | None:
        with self._sqlite_errors_as_journal_errors():
            row = self._connection.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM jobs WHERE {condition} ORDER BY id DESC LIMIT 1", values
            ).fetchone()
        return None if row is None else _job(row)

    def _create(self) -> None:
        """Create the file atomically, so that an empty or unmarked one never passes for a new journal."""
        while not self.path.exists():
            lock = locks.take(self._folder / "locks" / "create")
            if lock is None:
                threading.Event().wait(0.01)
                continue
            try:
                if self.path.exists():
                    return
                with atomic_write(self.path, 0o600) as part:
                    connection = _connect(part, 1)
                    connection.executescript(_SCHEMA)
                    connection.execute("INSERT INTO seal VALUES (1, ?)", (_digest(connection),))
                    connection.close()
            finally:
                locks.release(lock)

    def _check(self) -> None:
        ((application,), (version,)) = (
            self._connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("application_id", "user_version")
        )
        if application != _APPLICATION_ID:
            raise sqlite3.DatabaseError("it is not a journal of this program")
        if version not in (1, _VERSION):
            raise sqlite3.DatabaseError(f"it is of version {version}, and this program reads {_VERSION}")
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _leave_wal(self, lost: bool) -> None:
        """Convert a journal of version 1, which is in WAL mode and has no seal.

        Args:
            lost: rows are missing; the journal then gets a seal that it does not match.
        """
        while self._connection.execute("PRAGMA user_version").fetchone() == (1,):
            lock = locks.take(self._folder / "locks" / "create")
            if lock is None:
                threading.Event().wait(0.01)
                continue
            try:
                connection = self._connection
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone() == (1,):
                    connection.execute(_SEAL)
                    digest = "" if lost else _digest(connection)
                    connection.execute("INSERT INTO seal VALUES (1, ?)", (digest,))
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("COMMIT")
            finally:
                locks.release(lock)

    def _is_sealed(self) -> bool:
        row = self._connection.execute("SELECT digest FROM seal").fetchone()
        return row is not None and row[0] == _digest(self._connection)

    def _is_whole(self) -> bool:
        """Return whether the indexes match the rows: the search for an earlier job relies on them."""
        return self._connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Context manager of a transaction; nested ones join the outer one."""
        with self._lock, self._sqlite_errors_as_journal_errors():
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                sealed = self._is_sealed()
                yield self._connection
                if sealed:  # else it stays in doubt
                    self._connection.execute("UPDATE seal SET digest = ?", (_digest(self._connection),))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _sqlite_errors_as_journal_errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                busy = "locked" in str(error) or "busy" in str(error)
                why = "another process keeps it locked; end that one" if busy else f"{error}; check the disk"
                raise JournalError(f"{self.path}: the journal of paid jobs can't be used: {why}") from error
            except sqlite3.DatabaseError as error:
                raise JournalError(
                    f"{self.path}: the journal of paid jobs is damaged ({error}), and nothing is ordered without one; "
                    "restore it from a backup, or move it away, and with it all knowledge of jobs that were paid for"
                ) from error
            except OSError as error:
                raise JournalError(
                    f"{error.filename or self.path}: the journal of paid jobs can't be written: {error.strerror}"
                ) from error


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    # mode=rw: SQLite would otherwise create an empty journal in place of a lost one.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    # EXTRA also syncs the folder once a transaction's rollback file is deleted.
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _has_lost_wal(path: Path) -> bool:
    """Return whether a run was killed and its file of latest transactions is gone: SQLite deletes both or none."""
    wal, index = (path.with_name(f"{FILE}-{name}") for name in ("wal", "shm"))
    return index.exists() and not wal.exists()


def _text(stored: bytes) -> str:
    r"""Return text of the file; bytes that are not UTF-8, of a row edited by hand, as \xXX."""
    return stored.decode("utf-8", "backslashreplace")


def _digest(connection: sqlite3.Connection) -> str:
    """Return the hexadecimal SHA-256 over all rows."""
    digest = hashlib.sha256()
    connection.text_factory = bytes
    try:
        for query in ("SELECT * FROM jobs ORDER BY id", "SELECT * FROM uploads ORDER BY sha256, endpoint"):
            for row in connection.execute(query):
                digest.update(repr(row).encode())
    finally:
        connection.text_factory = _text
    return digest.hexdigest()


def _job(row: tuple) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in ("created", "changed", "cost", "remaining"):
        values[name] = _number(values[name])
    for name in ("created", "changed"):
        values[name] = values[name] or 0.0
    for name in ("hash", "state", "endpoint", "label", "request_id", "url", "file", "sha256", "error"):
        values[name] = None if values[name] is None else str(values[name])
    values["payload"] = _payload(values["payload"])
    return Job(**values)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _payload(text: object) -> dict[str, Any] | None:
    """Return a stored payload, None if there is none, or none that can be read."""
    try:
        payload = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None
