"""Jobs of a server and their SQLite store."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..deadlines import Clock, SteadyClock
from ..errors import LivePortraitError

QUEUED, PROCESSING, COMPLETED, FAILED = "QUEUED", "PROCESSING", "COMPLETED", "FAILED"
MAX_ATTEMPTS = 3


class QueueFull(LivePortraitError):
    """The queue has reached its maximum length."""


class StoreError(LivePortraitError):
    """Jobs can't be stored or read.

    Attributes:
        full: whether the disk is full.
    """

    def __init__(self, message: str, full: bool = False):
        super().__init__(message)
        self.full = full


@dataclass(frozen=True)
class Job:
    """Job of a client.

    Attributes:
        id: request id.
        model: slug that the job was sent to.
        request: parameters as they were sent.
        source, driving: https URLs, or names of the server's own files.
        settings: values for AnimationSettings.
        status: QUEUED, PROCESSING, COMPLETED or FAILED.
        error: reason of a failure.
        output: name of the result's file.
        created, started, finished: seconds since 1970, None if not yet.
        attempt: number of the latest attempt to compute it, from 1; 0 before the first.
    """

    id: str
    model: str
    request: dict[str, Any]
    source: str
    driving: str
    settings: dict[str, Any]
    status: str
    error: str | None
    output: str | None
    created: float
    started: float | None
    finished: float | None
    attempt: int = 0


@dataclass(frozen=True)
class HistoryQuery:
    """Filter, order and page of a list of jobs.

    Attributes:
        created_from, created_before: seconds since 1970.
        model: part of the model's name.
        statuses: accepted statuses; empty accepts all.
        oldest_first: whether the oldest job comes first, instead of the newest.
        offset, limit: page, in jobs.
    """

    created_from: float
    created_before: float
    model: str = ""
    statuses: tuple[str, ...] = ()
    oldest_first: bool = False
    offset: int = 0
    limit: int = 20


class JobStore(Protocol):
    """Store of the jobs. Its methods block, may be called from any thread, and raise StoreError."""

    def submit(
        self, model: str, request: dict[str, Any], source: str, driving: str, settings: dict[str, Any]
    ) -> Job:
        """Append a new job to the queue; raise QueueFull if it is full."""

    def get(self, job_id: str) -> Job | None: ...

    def finish(self, job: Job, *, output: str | None = None, error: str | None = None) -> bool:
        """Finish a running job: COMPLETED with an output, FAILED with an error.

        Returns:
            False if `job.attempt` is not the job's current attempt any more, or it is finished in another way; nothing
            is changed then.
        """

    def history(self, query: HistoryQuery) -> tuple[int, list[Job]]:
        """Return the number of all matching jobs, and the jobs of one page."""

    def forget(self, finished_before: float) -> None:
        """Delete jobs that finished before a time, in seconds since 1970."""


class SqliteJobs:
    """JobStore in one SQLite file, locked by one process at a time, which also takes the jobs from it.

    A job is on disk before `submit` returns. Jobs that were running when the process ended return to their place in
    the queue; a job during which it ended three times has failed.
    """

    def __init__(self, path: Path, capacity: int, clock: Clock | None = None):
        """Open the store.

        Args:
            capacity: maximum length of the queue.
            clock: dates the jobs; by default one that a change of the wall clock does not affect.

        Raises:
            StoreError: the file can't be opened, or another server has locked it.
        """
        self._capacity = capacity
        self._clock = clock or SteadyClock()
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
            self._base.row_factory = sqlite3.Row
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(_SCHEMA)
            self._recover()
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {_message(error)}") from error

    def close(self) -> None:
        with self._lock:
            self._base.close()

    def submit(
        self, model: str, request: dict[str, Any], source: str, driving: str, settings: dict[str, Any]
    ) -> Job:
        texts = json.dumps(request), json.dumps(settings)
        job_id, now = secrets.token_hex(16), self._clock.time()
        with self._transaction() as base:
            waiting = base.execute("SELECT count(*) FROM jobs WHERE status = ?", (QUEUED,)).fetchone()[0]
            if waiting >= self._capacity:
                raise QueueFull(f"the queue is full: {waiting} jobs wait; try again later")
            base.execute(
                "INSERT INTO jobs (id, model, request, source, driving, settings, status, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, model, texts[0], source, driving, texts[1], QUEUED, now),
            )
        return Job(job_id, model, request, source, driving, settings, QUEUED, None, None, now, None, None)

    def get(self, job_id: str) -> Job | None:
        with self._transaction() as base:
            row = base.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def claim(self) -> Job | None:
        """Set the oldest waiting job to PROCESSING and return it, None if none waits."""
        with self._transaction() as base:
            first = base.execute(
                "SELECT number FROM jobs WHERE status = ? ORDER BY number LIMIT 1", (QUEUED,)
            ).fetchone()
            if first is None:
                return None
            base.execute(
                "UPDATE jobs SET status = ?, started = ?, attempts = attempts + 1 WHERE number = ?",
                (PROCESSING, self._clock.time(), first["number"]),
            )
            row = base.execute("SELECT * FROM jobs WHERE number = ?", (first["number"],)).fetchone()
        return _job(row)

    def requeue(self, job: Job) -> None:
        """Return a claimed job to its place in the queue; the attempt does not count."""
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = ?, started = NULL, attempts = attempts - 1"
                " WHERE id = ? AND status = ? AND attempts = ?",
                (QUEUED, job.id, PROCESSING, job.attempt),
            )

    def finish(self, job: Job, *, output: str | None = None, error: str | None = None) -> bool:
        status = COMPLETED if error is None else FAILED
        with self._transaction() as base:
            changed = base.execute(
                "UPDATE jobs SET status = ?, output = ?, error = ?, finished = ?"
                " WHERE id = ? AND status = ? AND attempts = ?",
                (status, output, error, self._clock.time(), job.id, PROCESSING, job.attempt),
            )
        return changed.rowcount > 0

    def history(self, query: HistoryQuery) -> tuple[int, list[Job]]:
        where = "created >= ? AND created < ? AND instr(model, ?)"
        values: list[Any] = [query.created_from, query.created_before, query.model]
        if query.statuses:
            where += f" AND status IN ({', '.join('?' * len(query.statuses))})"
            values += query.statuses
        order = "ASC" if query.oldest_first else "DESC"
        with self._transaction() as base:
            total = base.execute(f"SELECT count(*) FROM jobs WHERE {where}", values).fetchone()[0]
            rows = base.execute(
                f"SELECT * FROM jobs WHERE {where} ORDER BY number {order} LIMIT ? OFFSET ?",
                [*values, query.limit, query.offset],
            ).fetchall()
        return total, [_job(row) for row in rows]

    def forget(self, finished_before: float) -> None:
        with self._transaction() as base:
            base.execute("DELETE FROM jobs WHERE finished < ?", (finished_before,))

    def _recover(self) -> None:
        reason = f"the server ended {MAX_ATTEMPTS} times during this job"
        with self._transaction() as base:
            base.execute(
                "UPDATE jobs SET status = ?, error = ?, finished = ? WHERE status = ? AND attempts >= ?",
                (FAILED, reason, self._clock.time(), PROCESSING, MAX_ATTEMPTS),
            )
            base.execute(
                "UPDATE jobs SET status = ?, started = NULL WHERE status = ?",
                (QUEUED, PROCESSING),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._base.execute("BEGIN IMMEDIATE")
                try:
                    yield self._base
                    self._base.execute("COMMIT")
                except BaseException:
                    # SQLite rolls back by itself after some errors, such as a full disk.
                    if self._base.in_transaction:
                        self._base.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"jobs can't be stored: {_message(error)}", _is_full(error)) from error


_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    source TEXT NOT NULL,
    driving TEXT NOT NULL,
    settings TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    output TEXT,
    created REAL NOT NULL,
    started REAL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created);
"""


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in row.keys() if name not in ("number", "attempts")}  # noqa: SIM118
    values["request"], values["settings"] = json.loads(row["request"]), json.loads(row["settings"])
    return Job(**values, attempt=row["attempts"])


def _message(error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return "another server uses this directory; stop it, or give this one another directory"
    return str(error)


def _is_full(error: sqlite3.Error) -> bool:
    return "full" in str(error)
