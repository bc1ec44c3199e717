"""Files of a server: uploaded clips, results, and working folders."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


class NoSpace(LivePortraitError):
    """The server's directory has no space left for a file."""


class Files:
    """Files with unguessable names in a directory with a quota.

    `files/` has the files, which expire, and `work/` a directory for each running job or upload. Only the owner can
    read them. Names and links never lead outside.
    """

    def __init__(self, root: Path, *, quota: int, lifetime: float, clock: Clock | None = None):
        """Open or create the directory.

        Args:
            quota: maximum number of bytes of all files.
            lifetime: seconds until a file expires.
            clock: measures lifetimes; by default one that a change of the wall clock does not affect.

        Raises:
            SettingsError: others can write to the directory, or parts of it are links.
            OSError: it can't be created.
        """
        self._quota, self._lifetime = quota, lifetime
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

    def find(self, name: str) -> Path | None:
        """Return the path of a file, None if there is none or it has expired."""
        parts = _NAME.fullmatch(name)
        if not parts or parts[1] not in MEDIA_TYPES:
            return None
        path = self._files / name
        try:
            status = path.lstat()
        except OSError:
            return None
        alive = self._clock.time() - status.st_mtime < self._lifetime
        return path if alive and stat.S_ISREG(status.st_mode) else None

    def add(self, path: Path, suffix: str) -> str:
        """Move a finished file in from a working directory and return its new name."""
        name = secrets.token_urlsafe(32) + suffix
        os.utime(path, (self._clock.time(),) * 2)
        os.replace(path, self._files / name)
        return name

    @contextmanager
    def workplace(self, expected: int) -> Iterator[Path]:
        """Context manager of a temporary working directory with space reserved in the quota.

        Args:
            expected: maximum number of bytes that are written there or added from there.

        Raises:
            NoSpace: quota or disk have too little space.
        """
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

    def check_space(self, expected: int) -> None:
        """Check that there is space for a number of bytes.

        Raises:
            NoSpace: quota or disk have too little space.
        """
        with self._lock:
            self._check_space(expected)

    def expire(self) -> None:
        """Delete expired files."""
        with self._lock:
            for entry in os.scandir(self._files):
                if self._clock.time() - entry.stat(follow_symlinks=False).st_mtime >= self._lifetime:
                    _remove(Path(entry.path))

    def _check_space(self, expected: int) -> None:
        used = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self._files))
        if used + self._reserved + expected > self._quota:
            raise NoSpace("the server's files have reached their quota; try again later")
        if shutil.disk_usage(self._files).free < self._reserved + expected + _FREE_BYTES:
            raise NoSpace("the server's disk is full; try again later")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
