"""Files in an S3-compatible object store, with their sizes and lifetimes in PostgreSQL.

A file has a row before its object can exist, and is found once the row is complete. So what a killed process left is
known and expires; only multipart uploads that were never completed need a lifecycle rule of the bucket.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ...deadlines import Clock, Deadline, OutOfTime
from ...errors import SettingsError
from ...text import one_line, quoted
from ..files import MEDIA_TYPES, FilesAway, LocalFiles, NoSpace, Upload, is_name, new_name
from ..jobs import PROCESSING
from ..work import stored
from .database import Connection, Database, first

if TYPE_CHECKING:
    from obstore import AsyncWritableFile

_log = logging.getLogger(__name__)
_QUOTA_LOCK = 0x4C50_0004
_PART_BYTES = 5 << 20  # S3's smallest
_BLOCK_BYTES = 4 << 20
_BATCH = 1000
# An upload reserves this part of the quota at a time.
_STEPS = 1 << 10
# How long a store may be away without a caller noticing.
_PATIENCE = timedelta(seconds=45)
_RETRIES = 30
# Added to the time limit of a transfer: no row is deleted while its object may still come.
_MARGIN_SECONDS = 3600


class S3Files:
    """FileStore in a bucket, for any number of servers and workers."""

    def __init__(
        self,
        url: str,
        database: Database,
        *,
        scratch: LocalFiles | None,
        quota: int,
        lifetime: float,
        result_bytes: int,
        transfer_seconds: float,
        link_seconds: float,
        clock: Clock,
    ):
        """Open the store; credentials, region and endpoint are in the environment: AWS_ACCESS_KEY_ID and so on.

        Args:
            url: s3://BUCKET/PREFIX.
            scratch: directory for working places and copies; None for a server without workers, which needs none.
            quota: maximum number of bytes of all files.
            lifetime: seconds until a file expires.
            result_bytes: space that a running job reserves.
            transfer_seconds: time limit of a transfer.
            link_seconds: time for which clients may download by a link; 0 gives out none.

        Raises:
            SettingsError: URL or environment are malformed.
        """
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        try:
            self._store = S3Store.from_url(
                url,
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "timeout": timedelta(seconds=transfer_seconds),
                    # Of a store that has gone without a word.
                    "connect_timeout": timedelta(seconds=10),
                    "read_timeout": timedelta(seconds=60),
                },
                retry_config={
                    "max_retries": _RETRIES,
                    "backoff": {"max_backoff": timedelta(seconds=3)},
                    "retry_timeout": _PATIENCE,
                },
            )
        except (BaseError, ValueError) as error:
            raise SettingsError(
                f"--files must be s3://BUCKET/PREFIX, got {quoted(url)}: {_line(error)}"
            ) from None
        self._database, self._scratch, self._clock = database, scratch, clock
        self._quota, self._lifetime, self._result_bytes = quota, lifetime, result_bytes
        self._transfer_seconds, self._link_seconds = transfer_seconds, link_seconds

    def try_out(self) -> None:
        """Write, read and delete an object, so that no job meets a wrong key or bucket.

        Raises:
            FilesAway: one of that fails.
        """
        name = f"trial-{new_name('')}"
        try:
            with _store_errors():
                obstore.put(self._store, name, b"trial")
                obstore.get(self._store, name).bytes()
                obstore.delete(self._store, name)
        except (FilesAway, FileNotFoundError) as error:
            raise FilesAway(
                f"{error}; check the bucket of --files, and AWS_ENDPOINT_URL, AWS_REGION and the key in the environment"
            ) from None

    def size(self, name: str) -> int | None:
        if not is_name(name):
            return None
        with self._database.transaction() as base:
            row = base.execute(
                "SELECT size FROM files WHERE name = %s AND complete AND until > %s",
                [name, self._clock.time()],
            ).fetchone()
        return None if row is None else row["size"]

    def path(self, name: str) -> None:
        return None

    def link(self, name: str) -> str | None:
        if not self._link_seconds:
            return None
        with _store_errors():
            return obstore.sign(self._store, "GET", name, timedelta(seconds=self._link_seconds))

    @asynccontextmanager
    async def find(self, name: str) -> AsyncIterator[Path | None]:
        size = await stored(lambda: self.size(name))
        if size is None:
            yield None
            return
        # Its space has been reserved with the job's working place.
        with self.workplace(0) as place:
            path = place / name
            yield path if await self._fetched(name, path) else None

    async def _fetched(self, name: str, path: Path) -> bool:
        """Copy an object to a path, and return whether there is one."""
        try:
            with _store_errors():
                found = await obstore.get_async(self._store, name)
                with path.open("xb") as file:
                    async for block in found.stream(min_chunk_size=_BLOCK_BYTES):
                        file.write(block)
        except FileNotFoundError:
            return False
        if path.stat().st_size != found.meta["size"]:
            raise FilesAway("the object store sent too little of a file")
        return True

    async def blocks(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, _BLOCK_BYTES):
            with _store_errors():
                block = await obstore.get_range_async(
                    self._store, name, start=at, end=min(at + _BLOCK_BYTES, end)
                )
            yield bytes(block)

    async def add(self, path: Path, suffix: str) -> str:
        name = new_name(suffix)
        size = path.stat().st_size
        # Reserved with the job: no question of space. The end of the job makes it visible.
        await stored(lambda: self._reserve(name, size, checked=False))
        try:
            with _store_errors():
                put = obstore.put_async(
                    self._store, name, path, attributes=_attributes(suffix), max_concurrency=4
                )
                await Deadline(self._transfer_seconds).wait(put)
        except BaseException as error:
            await asyncio.shield(asyncio.to_thread(self._try_to_remove, [name]))
            if isinstance(error, OutOfTime):
                raise FilesAway("the object store takes a result too slowly") from None
            raise
        return name

    def publish(self, base: Connection, name: str) -> bool:
        """Make a file visible that `add` stored, in a transaction of the caller's; return whether it is there."""
        changed = base.execute(
            "UPDATE files SET complete = true, until = %s WHERE name = %s",
            [self._clock.time() + self._lifetime, name],
        )
        return changed.rowcount > 0

    def remove(self, name: str) -> None:
        self._remove([name])

    @contextmanager
    def workplace(self, expected: int) -> Iterator[Path]:
        assert self._scratch is not None  # a worker's
        with self._scratch.workplace(expected) as place:
            yield place

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        upload = _S3Upload(self)
        try:
            yield upload
        except BaseException as error:
            await upload.abort(error)
            raise
        finally:
            if upload.names and not upload.finished:
                await asyncio.shield(asyncio.to_thread(self._try_to_remove, upload.names))

    def check_space(self, expected: int) -> None:
        with self._database.transaction() as base:
            self._check_space(base, expected)

    def expire(self) -> None:
        while True:
            with self._database.transaction() as base:
                rows = base.execute(
                    "SELECT name FROM files WHERE until <= %s ORDER BY until LIMIT %s",
                    [self._clock.time(), _BATCH],
                ).fetchall()
            if not rows:
                return
            self._remove([row["name"] for row in rows])

    def open_writer(self, name: str, suffix: str) -> AsyncWritableFile:
        return obstore.open_writer_async(
            self._store, name, attributes=_attributes(suffix), buffer_size=_PART_BYTES, max_concurrency=2
        )

    def reserve(self, name: str, size: int) -> int:
        """Reserve space for a file that grows to a size in bytes; return how much it has now.

        Raises:
            NoSpace: the quota has too little.
        """
        size += self._quota // _STEPS
        self._reserve(name, size, checked=True)
        return size

    def complete(self, sizes: dict[str, int]) -> None:
        """Make uploaded files visible together."""
        until = self._clock.time() + self._lifetime
        with self._database.transaction() as base:
            for name, size in sizes.items():
                base.execute(
                    "UPDATE files SET complete = true, size = %s, until = %s WHERE name = %s",
                    [size, until, name],
                )

    def _reserve(self, name: str, size: int, *, checked: bool) -> None:
        until = self._clock.time() + self._transfer_seconds + _MARGIN_SECONDS
        with self._database.transaction() as base:
            if checked:
                base.execute("SELECT pg_advisory_xact_lock(%s)", [_QUOTA_LOCK])
                row = base.execute("SELECT size FROM files WHERE name = %s", [name]).fetchone()
                self._check_space(base, size - (row["size"] if row else 0))
            base.execute(
                "INSERT INTO files (name, size, until) VALUES (%s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET size = excluded.size",
                [name, size, until],
            )

    def _check_space(self, base: Connection, expected: int) -> None:
        used = first(
            base.execute(
                "SELECT (SELECT coalesce(sum(size), 0) FROM files)"
                " + %s * (SELECT count(*) FROM jobs WHERE status = %s AND finished IS NULL) AS bytes",
                [self._result_bytes, PROCESSING],
            )
        )["bytes"]
        if used + expected > self._quota:
            raise NoSpace("the server's files have reached their quota; try again later")

    def _remove(self, names: list[str]) -> None:
        with _store_errors():
            obstore.delete(self._store, names)
        with self._database.transaction() as base:
            base.execute("DELETE FROM files WHERE name = ANY(%s)", [names])

    def _try_to_remove(self, names: list[str]) -> None:
        try:
            self._remove(names)
        except Exception as error:  # the rows expire
            _log.warning("files are left until they expire: %s", one_line(str(error)))


class _S3Upload:
    """Upload as multipart uploads: an object appears whole or not at all."""

    def __init__(self, files: S3Files):
        self._files = files
        self.names: list[str] = []
        self.finished = False
        self._sizes: dict[str, int] = {}
        self._reserved = 0
        self._writer: AsyncWritableFile | None = None

    async def begin(self, suffix: str) -> None:
        await self._close()
        name = new_name(suffix)
        self._reserved = await asyncio.to_thread(self._files.reserve, name, 0)
        self.names.append(name)
        self._sizes[name] = 0
        self._writer = await self._files.open_writer(name, suffix).__aenter__()

    async def write(self, data: bytes) -> None:
        name = self.names[-1]
        self._sizes[name] += len(data)
        if self._sizes[name] > self._reserved:
            self._reserved = await asyncio.to_thread(self._files.reserve, name, self._sizes[name])
        assert self._writer is not None  # begin() comes first
        with _store_errors():
            await self._writer.write(data)

    async def finish(self) -> list[str]:
        await self._close()
        await asyncio.to_thread(self._files.complete, self._sizes)
        self.finished = True
        return self.names

    async def abort(self, error: BaseException) -> None:
        """End the multipart upload that is under way, so that the store forgets its parts."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(BaseError, OSError):
                await writer.__aexit__(type(error), error, error.__traceback__)

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with _store_errors():
                await writer.__aexit__(None, None, None)


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        # Writers of obstore's raise OSError without a number; this machine's own files have one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FilesAway(f"the object store fails: {_line(error)}") from error


def _attributes(suffix: str) -> dict[str, str]:
    return {"Content-Type": MEDIA_TYPES[suffix]}


def _line(error: Exception) -> str:
    """Return the sentence of an error of obstore's, without its dump of structures."""
    return one_line(str(error).split("\n\n")[0])
