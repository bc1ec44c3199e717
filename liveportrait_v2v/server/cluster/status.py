"""What a cluster is doing: queues, workers, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from ..jobs import PROCESSING, QUEUED
from .database import Database, first


@dataclass(frozen=True)
class Queue:
    """Queue of an engine, or of one of its labels.

    Attributes:
        waiting, running: jobs.
        oldest: seconds that the oldest waiting job has waited, None if none waits.
        workers: workers that take its jobs.
    """

    name: str
    waiting: int
    running: int
    oldest: float | None
    workers: int


@dataclass(frozen=True)
class WorkerStatus:
    """Worker with a heartbeat, or one that has fallen silent and is not yet given up.

    Attributes:
        silent: seconds since its last heartbeat.
        job: request id of the job that it computes, None if it is idle.
        progress: share of it that is done, None if unknown.
    """

    name: str
    queues: tuple[str, ...]
    silent: float
    job: str | None
    progress: float | None


@dataclass(frozen=True)
class ClusterStatus:
    """State of a cluster at one moment.

    Attributes:
        stalled: request ids of running jobs whose worker is gone.
        files, file_bytes: number and size of all files.
    """

    queues: tuple[Queue, ...]
    workers: tuple[WorkerStatus, ...]
    stalled: tuple[str, ...]
    files: int
    file_bytes: int


def read_status(database: Database) -> ClusterStatus:
    """Return what a cluster is doing."""
    with database.transaction() as base:
        base.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        queues = base.execute(
            "SELECT one.name, count(*) FILTER (WHERE status = %s) AS waiting,"
            " count(*) FILTER (WHERE status = %s) AS running,"
            " extract(epoch FROM now())::float8 - min(created) FILTER (WHERE status = %s) AS oldest,"
            " (SELECT count(*) FROM workers w WHERE one.name = ANY (w.queues)) AS workers"
            " FROM (SELECT queue AS name, status, created FROM jobs WHERE finished IS NULL"
            " UNION ALL SELECT DISTINCT unnest(queues), NULL, NULL::float8 FROM workers) one"
            " GROUP BY one.name ORDER BY one.name",
            [QUEUED, PROCESSING, QUEUED],
        ).fetchall()
        workers = base.execute(
            "SELECT w.name, w.queues, extract(epoch FROM now() - p.last_heartbeat)::float8 AS silent,"
            " j.id AS job, j.progress FROM workers w JOIN procrastinate_workers p USING (id)"
            " LEFT JOIN jobs j ON j.worker = w.id AND j.status = %s AND j.finished IS NULL ORDER BY w.name",
            [PROCESSING],
        ).fetchall()
        stalled = base.execute(
            "SELECT id FROM jobs WHERE status = %s AND finished IS NULL"
            " AND NOT EXISTS (SELECT FROM procrastinate_workers w WHERE w.id = jobs.worker) ORDER BY number",
            [PROCESSING],
        ).fetchall()
        files = first(
            base.execute("SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM files")
        )
    return ClusterStatus(
        tuple(Queue(**row) for row in queues),
        tuple(WorkerStatus(**{**row, "queues": tuple(row["queues"])}) for row in workers),
        tuple(row["id"] for row in stalled),
        files["files"],
        files["bytes"],
    )


def status_lines(status: ClusterStatus) -> list[str]:
    """Return a status as lines for people."""
    lines = ["queue                 waiting  running  oldest waits  workers"]
    for queue in status.queues:
        oldest = "-" if queue.oldest is None else f"{max(queue.oldest, 0):.0f} s"
        lines.append(
            f"{queue.name:<20}  {queue.waiting:>7}  {queue.running:>7}  {oldest:>12}  {queue.workers:>7}"
        )
        if queue.waiting and not queue.workers:
            lines.append(f"    no worker takes the jobs of {queue.name}")
    lines.append("")
    lines.append("worker                          last heartbeat  progress  job")
    for worker in status.workers:
        progress = "-" if worker.progress is None else f"{worker.progress:.0%}"
        lines.append(f"{worker.name:<30}  {worker.silent:>12.0f} s  {progress:>8}  {worker.job or 'idle'}")
    lines.append("")
    lines.append(f"stalled jobs: {', '.join(status.stalled) or 'none'}")
    lines.append(f"files: {status.files}, {status.file_bytes / (1 << 20):.0f} MiB")
    return lines
