"""Opening of a server's stores, as its configuration says: here, or shared with other machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..deadlines import SteadyClock
from ..errors import SettingsError
from .config import ServerConfig
from .dispatch import LocalDispatch
from .files import LocalFiles
from .jobs import SqliteJobs
from .stores import Stores

if TYPE_CHECKING:
    from .cluster.database import Database


def open_stores(config: ServerConfig, stack: contextlib.ExitStack) -> Stores:
    """Open the stores in the data directory, or those that are shared with other machines; `stack` closes them.

    Raises:
        SettingsError: the data directory is not safe, a setting is malformed, or a package is missing.
        StoreError: another server uses the data directory, or the database can't be reached.
        FilesAway: the object store can't be used.
        OSError: the data directory can't be used.
    """
    if config.cluster is not None:
        with _packages():
            from .cluster.opening import open_stores as open_cluster

        return open_cluster(config, config.cluster, stack)
    clock = SteadyClock()
    files = LocalFiles(config.data, quota=config.quota_bytes, lifetime=config.file_seconds, clock=clock)
    jobs = SqliteJobs(config.data / "jobs.sqlite3", config.queue, clock)
    stack.callback(jobs.close)
    # The store's lock is held: no other server uses this directory.
    files.clear_work()
    return Stores(jobs, files, clock, lambda workers: LocalDispatch(config, jobs, files, workers, clock))


def open_database(url: str) -> Database:
    """Return the database that machines share.

    Raises:
        SettingsError: the URL is malformed, or a package is missing.
    """
    with _packages():
        from .cluster.database import Database
    return Database(url)


@contextlib.contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("procrastinate", "psycopg", "psycopg_pool", "obstore"):
            raise
        raise SettingsError(
            f"--database needs {error.name}; run: pip install 'path/to/liveportrait-v2v[server,cluster]'"
        ) from None
