"""Atomic writes, temporary folders, and digests of files.

What a killed process leaves behind, a later one removes: each unfinished file and temporary folder is locked by its
process, and the system releases the lock when that ends.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import MediaError

if sys.platform != "win32":
    import fcntl

TEMPLATES = (".safetensors", ".pkl")
"""Extensions of motion templates: files with a driving clip's motion instead of its frames."""
_WINDOWS = os.name == "nt"
_BLOCK = 1 << 20
_PART = re.compile(r"\..*\.[0-9a-f]{16}\.lpv2v\.part", re.DOTALL)
_FOLDER_PREFIX = "liveportrait-v2v-"
_FOLDER_LOCK = ".lock"
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
_WINDOWS_PATH = 259
"""Characters of a path on Windows, unless long ones are switched on."""
_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
}


class PartFile:
    """Hidden file next to its target, moved over it once it is complete and on the disk.

    Its name can't be foretold, and it follows no link. A target that is a link is written where the link leads, and
    keeps its mode bits.

    Attributes:
        path: of the hidden file; it exists and is empty.
    """

    def __init__(self, target: str | os.PathLike[str], mode: int | None = None, keep: bool = False):
        """Create the file.

        Args:
            mode: mode bits of the target, which then replaces a link of its name; None keeps those of an existing one.
            keep: where the target can't be replaced, `commit` keeps the file beside it, under a name that is free.

        Raises:
            MediaError: the target exists and is no regular file, or its name is a device's, or its path too long.
            OSError: the file can't be created.
        """
        if _WINDOWS and Path(target).stem.split(".")[0].strip().upper() in _DEVICES:
            raise MediaError(target, "is the name of a device on Windows; choose another name for the output")
        self._keep = keep
        self._target = Path(os.path.realpath(target) if mode is None else target)
        self._mode = mode
        with suppress(FileNotFoundError):
            status = self._target.lstat()
            if not stat.S_ISREG(status.st_mode) and (mode is None or not stat.S_ISLNK(status.st_mode)):
                kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
                raise MediaError(target, f"is {kind} and no regular file; choose another name for the output")
            if mode is None:
                self._mode = stat.S_IMODE(status.st_mode) & 0o777
        _remove_dead_parts(self._target.parent)
        while True:
            # Of four bytes a letter, 20 fit in the 255 bytes that a name may have.
            name = f".{self._target.name[:20]}.{secrets.token_hex(8)}.lpv2v.part"
            self.path = self._target.with_name(name)
            try:
                self._lock = _locked(self.path, 0o666 if self._mode is None else self._mode)
            except OSError as error:
                if _WINDOWS and len(str(self.path)) > _WINDOWS_PATH:
                    raise _too_long(target) from error
                raise
            if self._lock is not None:
                break

    def commit(self) -> None:
        """Move the file to its target.

        Raises:
            OSError: it can't be moved there; a file that is kept is beside it, and the message names it.
        """
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        if self._mode is not None:
            self.path.chmod(self._mode)
        if _WINDOWS:  # an open file can't be moved there
            self._close()
        try:
            _replace(self.path, self._target)
        except PermissionError as error:
            if not self._keep:
                raise
            kept = _free_name(self._target)
            os.replace(self.path, kept)
            self._close()
            text = (
                f"it is open in another program and can't be replaced; the result is {kept.name}, beside it"
            )
            raise PermissionError(error.errno, text, str(self._target)) from error
        self._close()
        _sync_folder(self._target.parent)

    def abandon(self) -> None:
        """Delete the file, unless it was moved."""
        if self._lock is not None:
            if _WINDOWS:
                self._close()
            self.path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None


def _too_long(target: str | os.PathLike[str]) -> MediaError:
    return MediaError(
        target,
        f"can't be written: Windows takes paths of {_WINDOWS_PATH} characters, and an unfinished file's is up to 49 "
        "longer than its folder's; choose a folder nearer to the drive's root, or switch long paths on in Windows",
    )


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: int | None = None) -> Iterator[Path]:
    """Context manager of a hidden file next to `path`, moved to `path` if the block succeeds, else deleted.

    Args and errors as `PartFile`.
    """
    part = PartFile(path, mode)
    try:
        yield part.path
        part.commit()
    finally:
        part.abandon()


class TemporaryFolder:
    """Temporary folder, deleted on `close`, at the end of the block, or with this object.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        """Create the folder; raises OSError."""
        _remove_dead_folders(Path(tempfile.gettempdir()))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
            lock = _locked(self.path / _FOLDER_LOCK, 0o600)
            if lock is not None:
                break
        self.close = weakref.finalize(self, _remove_folder, self.path, lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def _replace(path: Path, target: Path) -> None:
    """Move a file over another one, which on Windows may be open for a moment, as by a virus scanner."""
    for pause in _PAUSES_SECONDS if _WINDOWS else ():
        try:
            os.replace(path, target)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(path, target)


def _free_name(path: Path) -> Path:
    """Return the first path of the form "name (2).mp4" that doesn't exist."""
    names = (path.with_name(f"{path.stem} ({number}){path.suffix}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())


def _locked(path: Path, mode: int) -> int | None:
    """Create and lock a file and return its descriptor, None if another process has taken it for a dead one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, mode)
    if _lock(descriptor) is not False and (_WINDOWS or os.fstat(descriptor).st_nlink):
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool | None:
    """Lock an open file and return whether that succeeded, None where the system can't lock it."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_dead_parts(folder: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), _dead(Path(entry.path)):
                    os.unlink(entry.path)


def _remove_dead_folders(folder: Path) -> None:
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(_FOLDER_PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError), _dead(Path(entry.path) / _FOLDER_LOCK):
                    shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def _dead(path: Path) -> Iterator[None]:
    """Context manager that holds the lock of an own file whose process has ended; raises OSError for another one.

    Windows has no such lock: there the file of a process that runs can't be opened for deletion.
    """
    if sys.platform == "win32":
        os.unlink(path)
        yield
        return
    descriptor = os.open(path, os.O_RDWR | _NO_FOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.getuid() or not _lock(descriptor):
            raise PermissionError(errno.EPERM, "in use", str(path))
        yield
    finally:
        os.close(descriptor)


def _remove_folder(path: Path, lock: int) -> None:
    if _WINDOWS:  # an open file can't be deleted there
        os.close(lock)
    shutil.rmtree(path, ignore_errors=True)
    if not _WINDOWS:
        os.close(lock)


def _sync_folder(folder: Path) -> None:
    """Have the system write a folder's entries to the disk, where it can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_unlinked(path: str, flags: int) -> int:
    """Open a file as `open` does by default, but no link; an `opener`. Raises OSError."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


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
