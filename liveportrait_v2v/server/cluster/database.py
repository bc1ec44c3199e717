"""PostgreSQL database of a cluster: connections, transactions, and the schema with its versions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from ...errors import SettingsError
from ...text import hide, one_line
from ..jobs import StoreError

Connection: TypeAlias = "psycopg.Connection[dict[str, Any]]"
SCHEMA = "liveportrait"
# A link that is cut without a word is noticed in seconds, here and by the database; the systems' own limits are minutes
# to hours. A machine that freezes in a transaction keeps its locks from all others only as long as that.
_SERVER_OPTIONS = {
    "search_path": SCHEMA,
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": "20s",
}
OPTIONS: dict[str, Any] = {
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_OPTIONS.items()),
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_PATIENCE_SECONDS = 5.0
_MIGRATION_LOCK = 0x4C50_0001
_MIGRATIONS = (
    """
    CREATE TABLE jobs (
        number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        id text NOT NULL UNIQUE,
        model text NOT NULL,
        request text NOT NULL,
        source text NOT NULL,
        driving text NOT NULL,
        settings text NOT NULL,
        queue text NOT NULL,
        priority integer NOT NULL,
        entry bigint NOT NULL,            -- of procrastinate_jobs, while the job is unfinished
        status text NOT NULL,
        attempt integer NOT NULL DEFAULT 0,  -- only rises: who holds an older number changes nothing
        lost integer NOT NULL DEFAULT 0,  -- attempts whose process or machine ended
        worker bigint,                    -- of procrastinate_workers, of the latest attempt
        progress real,
        error text,
        output text,
        created double precision NOT NULL,
        started double precision,
        finished double precision
    );
    CREATE INDEX jobs_unfinished ON jobs (status, number) WHERE finished IS NULL;
    CREATE INDEX jobs_entry ON jobs (entry) WHERE finished IS NULL;
    CREATE INDEX jobs_created ON jobs (created);
    CREATE INDEX jobs_finished ON jobs (finished);
    CREATE TABLE files (
        name text PRIMARY KEY,
        size bigint NOT NULL,
        complete boolean NOT NULL DEFAULT false,  -- only then it is found
        until double precision NOT NULL   -- end of its life
    );
    CREATE INDEX files_until ON files (until);
    CREATE TABLE workers (
        id bigint PRIMARY KEY REFERENCES procrastinate_workers ON DELETE CASCADE,
        name text NOT NULL,
        queues text[] NOT NULL
    );
    """,
)


class Database:
    """Connections to one PostgreSQL database. Its methods block and may be called from any thread."""

    def __init__(self, url: str, connections: int = 8):
        """Prepare connections; they are made when they are needed.

        Args:
            url: libpq's connection string or URL.
            connections: maximum number of connections.

        Raises:
            SettingsError: the URL is malformed.
        """
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise SettingsError(
                f"--database must be postgresql://USER@HOST/NAME: {one_line(str(error))}"
            ) from None
        if parts.get("password"):
            hide(str(parts["password"]))
        self.url = url
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=psycopg.Connection[dict[str, Any]],
            min_size=0,
            max_size=connections,
            timeout=_PATIENCE_SECONDS,
            max_idle=60,
            reconnect_timeout=0,
            kwargs={**OPTIONS, "row_factory": dict_row},
            check=ConnectionPool.check_connection,
            open=True,
        )

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Context manager of a transaction, which is committed at its end and rolled back by an error.

        Raises:
            StoreError: the database can't be reached or refuses what was asked for.
        """
        try:
            with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, ConnectorException) as error:
            cause = error.__cause__ if isinstance(error, ConnectorException) else error
            full = isinstance(cause, psycopg.errors.DiskFull)
            raise StoreError(f"the database fails: {one_line(str(cause))}", full) from error

    def time(self) -> float:
        """Return the database's time, in seconds since 1970."""
        with self.transaction() as base:
            return first(base.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS time"))["time"]

    def check_version(self) -> None:
        """Check that the database's schema is of this program's version.

        Raises:
            SettingsError: it is not; the message says what to run.
        """
        self._try_connection()
        with self.transaction() as base:
            found = _version(base)
        migrate = "run: liveportrait-v2v serve --database URL --migrate"
        if found is None:
            raise SettingsError(f"the database has no tables of this server yet; {migrate}")
        if found < _wanted():
            raise SettingsError(f"the database's tables are of an older version ({_name(found)}); {migrate}")
        if found > _wanted():
            raise SettingsError(
                f"the database's tables are of version {_name(found)}, this program knows {_name(_wanted())}; "
                "install the version of liveportrait-v2v (and of procrastinate) that the other machines have"
            )

    def migrate(self) -> str:
        """Create or upgrade the schema in one transaction; return what was done, in a line."""
        self._try_connection()
        with self.transaction() as base:
            base.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            found, wanted = _version(base), _wanted()
            if found == wanted:
                return f"the tables are of version {_name(wanted)} already"
            if found is not None and found > wanted:
                raise SettingsError(
                    f"the database's tables are of version {_name(found)}, newer than {_name(wanted)}, which this "
                    "program knows; upgrade liveportrait-v2v"
                )
            if found is None:
                base.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                base.execute(SchemaManager.get_schema())
                base.execute("CREATE TABLE version (own integer NOT NULL, queue text NOT NULL)")
                base.execute("INSERT INTO version VALUES (0, '')")
                first_own = 0
            else:
                first_own, queue = found
                for path in _queue_migrations():
                    if path.name > queue:
                        base.execute(path.read_text(encoding="utf-8").encode())
            for own in _MIGRATIONS[first_own:]:
                base.execute(own.encode())
            base.execute("UPDATE version SET own = %s, queue = %s", wanted)
        return f"the tables are now of version {_name(wanted)}"

    def _try_connection(self) -> None:
        """Connect once, outside the pool, which does not tell why it can't."""
        try:
            psycopg.connect(self.url, **OPTIONS).close()
        except psycopg.Error as error:
            raise StoreError(f"the database can't be reached: {one_line(str(error))}") from error


def first(cursor: psycopg.Cursor[dict[str, Any]]) -> dict[str, Any]:
    """Return the only row of a query that always has one."""
    row = cursor.fetchone()
    assert row is not None
    return row


def _version(base: Connection) -> tuple[int, str] | None:
    if first(base.execute("SELECT to_regclass('version') AS found"))["found"] is None:
        return None
    row = first(base.execute("SELECT own, queue FROM version"))
    return row["own"], row["queue"]


def _wanted() -> tuple[int, str]:
    return len(_MIGRATIONS), _queue_migrations()[-1].name


def _queue_migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _name(version: tuple[int, str]) -> str:
    """Return a version as people read it, such as "1, procrastinate 03.04.00_50"."""
    own, queue = version
    return f"{own}, procrastinate {'_'.join(queue.split('_')[:2])}"


logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
