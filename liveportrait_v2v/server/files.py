"""Files of a server: uploaded clips, results, and working folders; in a directory."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import BinaryIO, Protocol

from ..deadlines import Clock, SteadyClock
from ..errors import LivePortraitError, SettingsError

# Media types by extension; browsers run scripts in none of them.
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tiff": "image/tiff",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{43}(\.[a-z0-9]+)")
_FREE_BYTES = 256 << 20
# An upload reserves this part of the quota at a time: counting the files for each piece would take too long.
_STEPS = 1 << 14
_BLOCK_BYTES = 1 << 18


class NoSpace(LivePortraitError):
    """The server has no space left for a file."""


class FilesAway(LivePortraitError):
    """Files can't be stored or read at the moment."""


class Upload(Protocol):
    """Files that are stored while they arrive, one after the other, and found only once all of them are complete."""

    async def begin(self, suffix: str) -> None:
        """Begin the next file."""

    async def write(self, data: bytes) -> None:
        """Append bytes to the file that was begun last; raise NoSpace if there is no space for them."""

    async def finish(self) -> list[str]:
        """Complete all files and return their names."""


class FileStore(Protocol):
    """Store of files with unguessable names, which expire.

    Methods that are not asynchronous block and may be called from any thread. All of them raise OSError and FilesAway,
    and those of a store that needs the database StoreError.
    """

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, None if there is none or it has expired."""

    def path(self, name: str) -> Path | None:
        """Return the path of a file that is on this machine, None otherwise."""

    def link(self, name: str) -> str | None:
        """Return a URL from which clients get a file directly, None if they get it from the server."""

    def find(self, name: str) -> AbstractAsyncContextManager[Path | None]:
        """Context manager of a readable copy of a file on this machine, None if there is none or it has expired."""

    def blocks(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `end` of a file that is there."""

    async def add(self, path: Path, suffix: str) -> str:
        """Take a finished file over from a working directory and return its new name."""

    def remove(self, name: str) -> None:
        """Delete a file, if there is one."""

    def workplace(self, expected: int) -> AbstractContextManager[Path]:
        """Context manager of a temporary working directory with space reserved.

        Args:
            expected: maximum number of bytes that are written there or added from there.

        Raises:
            NoSpace: quota or disk have too little space.
        """

    def upload(self) -> AbstractAsyncContextManager[Upload]:
        """Context manager of an upload, which leaves nothing if it is not finished."""

    def check_space(self, expected: int) -> None:
        """Check that there is space for a number of bytes.

        Raises:
            NoSpace: quota or disk have too little space.
        """

    def expire(self) -> None:
        """Delete expired files."""


class LocalFiles:
    """FileStore in a directory with a quota.

    `files/` has the files, which expire, and `work/` a directory for each running job or upload. Only the owner can
    read them. Names and links never lead outside.
    """

    def __init__(
        self, root: Path, *, quota: int, lifetime: float, clock: Clock | None = None, shared: bool = False
    ):
        """Open or create the directory.

        Args:
            quota: maximum number of bytes of all files.
            lifetime: seconds until a file expires.
            clock: measures lifetimes; by default one that a change of the wall clock does not affect.
            shared: whether other machines use the directory, too: `expire` then deletes what they left of their work
                once it is as old as an expired file. Each of them knows only its own reservations.

        Raises:
            SettingsError: others can write to the directory, or parts of it are links.
            OSError: it can't be created.
        """
        self._quota, self._lifetime, self._shared = quota, lifetime, shared
        self._clock = clock or SteadyClock()
        self._lock = threading.Lock()
        self._reserved = 0
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
        if os.name == "posix" and (status.st_mode & 0o022 or status.st_uid != os.getuid()):
            raise SettingsError(
                f"{root}: the data directory must belong to the user who runs the server, and others must not write "
                f"to it; run: chmod 700 {root}"
            )
        self._files, self._work = root / "files", root / "work"
        for path in (self._files, self._work):
            path.mkdir(mode=0o700, exist_ok=True)
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise SettingsError(f"{path}: must be a directory and no link; remove it")
            path.chmod(0o700)

    def clear_work(self) -> None:
        """Delete the working directories that a killed server left behind."""
        for left in self._work.iterdir():
            _remove(left)

    def size(self, name: str) -> int | None:
        path = self.path(name)
        return None if path is None else path.stat().st_size

    def link(self, name: str) -> None:
        return None

    def path(self, name: str) -> Path | None:
        if not is_name(name):
            return None
        path = self._files / name
        try:
            status = path.lstat()
        except OSError:
            return None
        alive = self._clock.time() - status.st_mtime < self._lifetime
        return path if alive and stat.S_ISREG(status.st_mode) else None

    @asynccontextmanager
    async def find(self, name: str) -> AsyncIterator[Path | None]:
        yield self.path(name)

    async def blocks(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        with (self._files / name).open("rb") as file:
            file.seek(start)
            while start < end and (
                block := await asyncio.to_thread(file.read, min(_BLOCK_BYTES, end - start))
            ):
                yield block
                start += len(block)

    async def add(self, path: Path, suffix: str) -> str:
        return self._add(path, suffix)

    def _add(self, path: Path, suffix: str) -> str:
        name = new_name(suffix)
        os.utime(path, (self._clock.time(),) * 2)
        os.replace(path, self._files / name)
        return name

    def remove(self, name: str) -> None:
        (self._files / name).unlink(missing_ok=True)

    @contextmanager
    def workplace(self, expected: int) -> Iterator[Path]:
        with self._lock:
            self._check_space(expected)
            self._reserved += expected
        path = self._work / secrets.token_hex(8)
        try:
            path.mkdir(mode=0o700)
            yield path
        finally:
            with self._lock:
                self._reserved -= expected
            _remove(path)

    @contextmanager
    def growing_workplace(self) -> Iterator[tuple[Path, Callable[[int], None]]]:
        """Context manager of a temporary working directory whose space is reserved as it is needed.

        Yields:
            the directory, and a function that is called with a number of bytes before they are written; it raises
            NoSpace if quota or disk have too little space.
        """
        needed = reserved = 0

        def grow(size: int) -> None:
            nonlocal needed, reserved
            needed += size
            if needed > reserved:
                step = max(needed - reserved, self._quota // _STEPS)
                with self._lock:
                    self._check_space(step)
                    self._reserved += step
                reserved += step

        try:
            with self.workplace(0) as path:
                yield path, grow
        finally:
            with self._lock:
                self._reserved -= reserved

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        with self.growing_workplace() as (place, grow):
            upload = _LocalUpload(place, grow, self._add)
            try:
                yield upload
            finally:
                upload.close()

    def check_space(self, expected: int) -> None:
        with self._lock:
            self._check_space(expected)

    def expire(self) -> None:
        with self._lock:
            for folder in (self._files, self._work) if self._shared else (self._files,):
                for entry in os.scandir(folder):
                    if self._clock.time() - entry.stat(follow_symlinks=False).st_mtime >= self._lifetime:
                        _remove(Path(entry.path))

    def _check_space(self, expected: int) -> None:
        used = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self._files))
        if used + self._reserved + expected > self._quota:
            raise NoSpace("the server's files have reached their quota; try again later")
        if shutil.disk_usage(self._files).free < self._reserved + expected + _FREE_BYTES:
            raise NoSpace("the server's disk is full; try again later")


class _LocalUpload:
    def __init__(self, place: Path, grow: Callable[[int], None], add: Callable[[Path, str], str]):
        self._place, self._grow, self._add = place, grow, add
        self._saved: list[tuple[Path, str]] = []
        self._file: BinaryIO | None = None

    async def begin(self, suffix: str) -> None:
        self.close()
        path = self._place / str(len(self._saved))
        self._file = path.open("xb")
        self._saved.append((path, suffix))

    async def write(self, data: bytes) -> None:
        assert self._file is not None  # begin() comes first
        self._grow(len(data))
        self._file.write(data)

    async def finish(self) -> list[str]:
        self.close()
        return [self._add(path, suffix) for path, suffix in self._saved]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def new_name(suffix: str) -> str:
    """Return a name that can't be guessed."""
    return secrets.token_urlsafe(32) + suffix


def is_name(name: str) -> bool:
    """Return whether a file may have this name: one of `new_name`, of a known media type."""
    parts = _NAME.fullmatch(name)
    return parts is not None and parts[1] in MEDIA_TYPES


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
