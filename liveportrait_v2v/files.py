"""Atomic writes, and digests of files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Context manager of a hidden file next to `path`, moved to `path` if the block succeeds, else deleted."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error is a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sha256_of(source: str | os.PathLike[str] | BinaryIO) -> str:
    """Return the hexadecimal SHA-256 of a file, or of the rest of an open one."""
    if not hasattr(source, "read"):
        with open(source, "rb") as file:
            return sha256_of(file)
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
