"""Locks between threads and processes, based on `filelock`. The system releases them when a process ends."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout


def take(path: Path) -> FileLock | None:
    """Take the lock of a file without waiting; return None if it is held.

    Raises:
        OSError: the file can't be created.
    """
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def release(lock: FileLock) -> None:
    """Release a lock and remove its file.

    The file is unlinked first. filelock takes no lock on an unlinked file (since 3.21), so no two holders can meet; on
    Windows, where an open file can't be unlinked, it removes the file itself.
    """
    if os.name != "nt":
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
