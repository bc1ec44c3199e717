"""Locks between threads and processes that end with whoever holds them, even if it is killed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl


class FileLock:
    """A lock on a file of its own, which is there only while somebody holds it or looks at it."""

    def __init__(self, path: Path):
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Takes the lock unless somebody has it; never waits.

        Raises:
            OSError: the file can't be made.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if _lock(descriptor) and _same(descriptor, self._path):
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Gives the lock back. Its file goes first, so that nobody takes a lock on a file that is no more."""
        if os.name != "nt":
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        if os.name == "nt":
            with suppress(OSError):  # somebody else has it open
                self._path.unlink()


def _lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at the path, and not one that was just removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
