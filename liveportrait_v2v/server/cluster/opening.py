"""Stores of a server in a cluster, opened as its configuration says."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout

from ...deadlines import SteadyClock
from ..config import ClusterConfig, ServerConfig
from ..files import FileStore, LocalFiles
from ..jobs import StoreError
from ..stores import Stores
from .database import Database
from .dispatch import ProcrastinateDispatch
from .jobs import PostgresJobs


def open_stores(config: ServerConfig, cluster: ClusterConfig, stack: contextlib.ExitStack) -> Stores:
    """Open the stores; `stack` closes them.

    Raises:
        SettingsError: the database's schema is of another version, or a setting is malformed.
        StoreError: the database can't be reached, or another worker uses the data directory.
        FilesAway: the object store can't be used.
    """
    database = Database(cluster.database)
    stack.callback(database.close)
    database.check_version()
    # One clock for all machines: the database's, as it was at the start.
    clock = SteadyClock(database.time())
    files: FileStore
    if cluster.in_bucket:
        from .files import S3Files

        files = S3Files(
            cluster.files,
            database,
            scratch=_scratch(config, stack, clock) if "worker" in cluster.roles else None,
            quota=config.quota_bytes,
            lifetime=config.file_seconds,
            result_bytes=config.clip_bytes,
            transfer_seconds=config.transfer_seconds,
            link_seconds=cluster.link_seconds,
            clock=clock,
        )
        files.try_out()
        publish = files.publish
    else:
        files = LocalFiles(
            Path(cluster.files),
            quota=config.quota_bytes,
            lifetime=config.file_seconds,
            clock=clock,
            shared=True,
        )
        publish = lambda base, name: files.size(name) is not None  # noqa: E731
    jobs = PostgresJobs(
        database,
        capacity=config.queue,
        queue=cluster.queues(config.engine)[-1],
        priority=cluster.priority,
        clock=clock,
        publish=publish,
    )
    return Stores(
        jobs,
        files,
        clock,
        lambda workers: ProcrastinateDispatch(config, cluster, database, jobs, files, workers, clock),
    )


def _scratch(config: ServerConfig, stack: contextlib.ExitStack, clock: SteadyClock) -> LocalFiles:
    """Return the directory for a worker's copies, which no other process may use."""
    scratch = LocalFiles(config.data, quota=config.quota_bytes, lifetime=config.file_seconds, clock=clock)
    lock = FileLock(config.data / "worker.lock", mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"{config.data}: another worker uses this directory; give this one another --data"
        ) from None
    stack.callback(lock.release)
    scratch.clear_work()
    return scratch
