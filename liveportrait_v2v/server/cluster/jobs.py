"""Jobs in PostgreSQL, with a queue of Procrastinate's.

A job is a row of `jobs`, and until it is finished an entry in Procrastinate's queue. Both change in one transaction:
no row is without its entry, and an entry ends with its row. Procrastinate hands entries out and keeps the heartbeats of
workers; which attempt counts is decided here alone.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from procrastinate import App, SyncPsycopgConnector
from procrastinate.sql import queries

from ...deadlines import Clock
from ..jobs import COMPLETED, FAILED, MAX_ATTEMPTS, PROCESSING, QUEUED, HistoryQuery, Job, QueueFull
from .database import Connection, Database, first

TASK = "animate"
CANCELLED = "the job was cancelled"
_ENDED = f"the worker ended {MAX_ATTEMPTS} times during this job"
_LATE = "the result could not be stored in time"
_SUBMIT_LOCK, _SWEEP_LOCK = 0x4C50_0002, 0x4C50_0003
_ID = re.compile(r"[0-9a-f]{32}")
_ALIVE = """EXISTS (SELECT FROM procrastinate_workers w WHERE w.id = {}
    AND w.last_heartbeat > now() - make_interval(secs => %(seconds)s))"""
_STALLED = f"""
    SELECT j.* FROM jobs j LEFT JOIN procrastinate_jobs e ON e.id = j.entry
    WHERE j.status = '{PROCESSING}' AND NOT {_ALIVE.format("j.worker")}
    OR j.status = '{QUEUED}' AND (e.id IS NULL OR e.status = 'doing' AND NOT {_ALIVE.format("e.worker_id")})
    FOR UPDATE OF j SKIP LOCKED
"""
# Of cancelled jobs whose worker has ended since.
_LEFT_ENTRIES = f"""
    DELETE FROM procrastinate_jobs e WHERE e.status = 'doing' AND NOT {_ALIVE.format("e.worker_id")}
    AND NOT EXISTS (SELECT FROM jobs j WHERE j.entry = e.id AND j.finished IS NULL)
"""
_RUNNING = "id = %s AND attempt = %s AND status = %s"


class PostgresJobs:
    """JobStore that any number of servers and workers share."""

    def __init__(
        self,
        database: Database,
        *,
        capacity: int,
        queue: str,
        priority: int,
        clock: Clock,
        publish: Callable[[Connection, str], bool] = lambda base, name: True,
    ):
        """Open the store.

        Args:
            capacity: maximum number of waiting jobs, in all queues.
            queue, priority: where submitted jobs wait; higher priorities come first.
            clock: dates the jobs; the same one on all machines but for their drift.
            publish: makes a result's file visible in the transaction that finishes its job; returns whether the file
                is there.
        """
        self._database, self._capacity, self._clock = database, capacity, clock
        self._queue, self._priority, self._publish = queue, priority, publish
        # It only writes entries, on connections that it is given.
        self._app = App(connector=SyncPsycopgConnector())

    def submit(
        self, model: str, request: dict[str, Any], source: str, driving: str, settings: dict[str, Any]
    ) -> Job:
        texts = json.dumps(request), json.dumps(settings)
        job_id, now = secrets.token_hex(16), self._clock.time()
        with self._database.transaction() as base:
            # One submit at a time in the whole cluster, so that the capacity is exact.
            base.execute("SELECT pg_advisory_xact_lock(%s)", [_SUBMIT_LOCK])
            waiting = first(
                base.execute(
                    "SELECT count(*) AS jobs FROM (SELECT FROM jobs WHERE status = %s AND finished IS NULL LIMIT %s) w",
                    [QUEUED, self._capacity],
                )
            )["jobs"]
            if waiting >= self._capacity:
                raise QueueFull(f"the queue is full: {waiting} jobs wait; try again later")
            entry = self._enter(base, job_id, self._queue, self._priority)
            row = {
                "id": job_id,
                "model": model,
                "request": texts[0],
                "source": source,
                "driving": driving,
                "settings": texts[1],
                "queue": self._queue,
                "priority": self._priority,
                "entry": entry,
                "status": QUEUED,
                "created": now,
            }
            places = ", ".join(f"%({name})s" for name in row)
            base.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})".encode(), row)
        return Job(job_id, model, request, source, driving, settings, QUEUED, None, None, now, None, None)

    def get(self, job_id: str) -> Job | None:
        if not _ID.fullmatch(job_id):
            return None
        with self._database.transaction() as base:
            row = base.execute("SELECT * FROM jobs WHERE id = %s", [job_id]).fetchone()
        return None if row is None else _job(row)

    def history(self, query: HistoryQuery) -> tuple[int, list[Job]]:
        # Text in PostgreSQL has no NUL and no halves of surrogate pairs.
        model = query.model.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        where = "created >= %s AND created < %s AND strpos(model, %s) > 0"
        values: list[Any] = [query.created_from, query.created_before, model]
        if query.statuses:
            where += " AND status = ANY(%s)"
            values.append(list(query.statuses))
        order = "ASC" if query.oldest_first else "DESC"
        with self._database.transaction() as base:
            total = first(base.execute(f"SELECT count(*) AS jobs FROM jobs WHERE {where}".encode(), values))[
                "jobs"
            ]
            rows = base.execute(
                f"SELECT * FROM jobs WHERE {where} ORDER BY number {order} LIMIT %s OFFSET %s".encode(),
                [*values, query.limit, query.offset],
            ).fetchall()
        return total, [_job(row) for row in rows]

    def forget(self, finished_before: float) -> None:
        with self._database.transaction() as base:
            base.execute("DELETE FROM jobs WHERE finished < %s", [finished_before])

    def begin(self, job_id: str, entry: int, worker: int) -> Job | None:
        """Begin the next attempt at a job.

        Args:
            entry: delivered by Procrastinate.
            worker: number of the worker in `procrastinate_workers`.

        Returns:
            None where there is nothing to do: the job is finished, or the entry was delivered twice.
        """
        with self._database.transaction() as base:
            row = base.execute("SELECT * FROM jobs WHERE id = %s FOR UPDATE", [job_id]).fetchone()
            if row is None or row["finished"] is not None or row["entry"] != entry:
                base.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [entry])
                return None
            # A worker begins its own job again where it did not hear that it has begun it.
            if row["status"] != QUEUED and row["worker"] != worker:
                return None  # the entry waits for the end of the attempt
            row = first(
                base.execute(
                    "UPDATE jobs SET status = %s, attempt = attempt + 1, worker = %s, started = %s, progress = NULL"
                    " WHERE id = %s RETURNING *",
                    [PROCESSING, worker, self._clock.time(), job_id],
                )
            )
        return _job(row)

    def set_progress(self, job: Job, share: float) -> bool:
        """Note which share of a running job is done, from 0 to 1; return whether its attempt is the current one."""
        with self._database.transaction() as base:
            changed = base.execute(
                f"UPDATE jobs SET progress = %s WHERE {_RUNNING}", [share, job.id, job.attempt, PROCESSING]
            )
        return changed.rowcount > 0

    def finish(self, job: Job, *, output: str | None = None, error: str | None = None) -> bool:
        with self._database.transaction() as base:
            row = self._running(base, job)
            if row is None:
                # Finished by this very call before, whose answer was lost.
                return output is not None and self._has_output(base, job, output)
            if output is not None and not self._publish(base, output):
                output, error = None, _LATE
            self._end(base, row, output=output, error=error)
        return True

    def requeue(self, job: Job) -> None:
        """Return a running job to its place in the queue; the attempt does not count."""
        with self._database.transaction() as base:
            row = self._running(base, job)
            if row is not None:
                self._wait_again(base, row, row["lost"])

    def lose(self, job: Job, reason: str = _ENDED) -> None:
        """Return a running job to its place in the queue, or fail it with a reason if this was its last attempt."""
        with self._database.transaction() as base:
            row = self._running(base, job)
            if row is not None:
                self._lose(base, row, reason)

    def recover(self, seconds: float) -> int:
        """Give away jobs of workers without a heartbeat for a time, unless another server is about it.

        Nothing happens soon after a start of the database, when no heartbeat is recent.

        Returns:
            number of jobs.
        """
        with self._database.transaction() as base:
            ready = first(
                base.execute(
                    "SELECT now() - pg_postmaster_start_time() > make_interval(secs => %s)"
                    " AND pg_try_advisory_xact_lock(%s) AS ready",
                    [seconds, _SWEEP_LOCK],
                )
            )["ready"]
            if not ready:
                return 0
            rows = base.execute(_STALLED.encode(), {"seconds": seconds}).fetchall()
            for row in rows:
                if row["status"] == PROCESSING:
                    self._lose(base, row, _ENDED)
                else:
                    self._wait_again(base, row, row["lost"])
            base.execute(_LEFT_ENTRIES.encode(), {"seconds": seconds})
            base.execute(queries["prune_stalled_workers"], {"seconds_since_heartbeat": seconds})
        return len(rows)

    def release(self, worker: int) -> None:
        """Return entries to the queue that were delivered to an idle worker without its knowledge."""
        with self._database.transaction() as base:
            entries = base.execute(
                "SELECT id FROM procrastinate_jobs WHERE worker_id = %s AND status = 'doing' FOR UPDATE",
                [worker],
            ).fetchall()
            for entry in entries:
                _retry(base, entry["id"])

    def _running(self, base: Connection, job: Job) -> dict[str, Any] | None:
        """Return the row of a job if its attempt is the current one; else delete the entry of a cancelled job."""
        row = base.execute(
            f"SELECT * FROM jobs WHERE {_RUNNING} FOR UPDATE", [job.id, job.attempt, PROCESSING]
        ).fetchone()
        if row is None:
            base.execute(
                "DELETE FROM procrastinate_jobs e USING jobs j"
                " WHERE j.id = %s AND j.attempt = %s AND j.finished IS NOT NULL AND e.id = j.entry",
                [job.id, job.attempt],
            )
        return row

    def _has_output(self, base: Connection, job: Job, output: str) -> bool:
        row = base.execute(
            "SELECT FROM jobs WHERE id = %s AND attempt = %s AND output = %s", [job.id, job.attempt, output]
        ).fetchone()
        return row is not None

    def _lose(self, base: Connection, row: dict[str, Any], reason: str) -> None:
        if row["lost"] + 1 < MAX_ATTEMPTS:
            self._wait_again(base, row, row["lost"] + 1)
        else:
            self._end(base, row, error=reason)

    def _wait_again(self, base: Connection, row: dict[str, Any], lost: int) -> None:
        entry = row["entry"]
        found = base.execute(
            "SELECT status FROM procrastinate_jobs WHERE id = %s FOR UPDATE", [entry]
        ).fetchone()
        if found is None:
            entry = self._enter(base, row["id"], row["queue"], row["priority"])
        elif found["status"] == "doing":
            _retry(base, entry)
        base.execute(
            "UPDATE jobs SET status = %s, entry = %s, lost = %s, worker = NULL, started = NULL, progress = NULL"
            " WHERE id = %s",
            [QUEUED, entry, lost, row["id"]],
        )

    def _end(
        self, base: Connection, row: dict[str, Any], *, output: str | None = None, error: str | None = None
    ) -> None:
        base.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [row["entry"]])
        base.execute(
            "UPDATE jobs SET status = %s, output = %s, error = %s, finished = %s WHERE id = %s",
            [
                COMPLETED if error is None else FAILED,
                output,
                None if error is None else error.encode("utf-8", "replace").decode().replace("\0", "\ufffd"),
                self._clock.time(),
                row["id"],
            ],
        )

    def _enter(self, base: Connection, job_id: str, queue: str, priority: int) -> int:
        task = self._app.configure_task(TASK, queue=queue, priority=priority, connection=base)
        return task.defer(job_id=job_id)


def cancel(database: Database, job_id: str) -> Job | None:
    """Fail a job that is not finished, whatever is done for it at the moment.

    Returns:
        the job as it is now, None if there is none.
    """
    if not _ID.fullmatch(job_id):
        return None
    with database.transaction() as base:
        row = base.execute("SELECT * FROM jobs WHERE id = %s FOR UPDATE", [job_id]).fetchone()
        if row is None or row["finished"] is not None:
            return None if row is None else _job(row)
        # A worker that has the entry is told, and deletes it when it has stopped.
        base.execute(queries["cancel_job"], {"job_id": row["entry"], "abort": True, "delete_job": True})
        row = first(
            base.execute(
                "UPDATE jobs SET status = %s, error = %s,"
                " finished = greatest(created, started, extract(epoch FROM clock_timestamp())::float8)"
                " WHERE id = %s RETURNING *",
                [FAILED, CANCELLED, job_id],
            )
        )
        return _job(row)


def _retry(base: Connection, entry: int) -> None:
    unchanged = dict.fromkeys(("retry_at", "new_priority", "new_queue_name", "new_lock"))
    base.execute(queries["retry_job"], {"job_id": entry, **unchanged})
    # Procrastinate announces new entries alone.
    base.execute(
        "SELECT pg_notify('procrastinate_queue_v1#' || queue_name,"
        " json_build_object('type', 'job_inserted', 'job_id', id)::text) FROM procrastinate_jobs WHERE id = %s",
        [entry],
    )


def _job(row: dict[str, Any]) -> Job:
    names = (
        "id",
        "model",
        "source",
        "driving",
        "status",
        "error",
        "output",
        "created",
        "started",
        "finished",
        "attempt",
    )
    return Job(
        **{name: row[name] for name in names},
        request=json.loads(row["request"]),
        settings=json.loads(row["settings"]),
    )
