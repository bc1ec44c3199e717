"""The API key, from the environment or from a file that only its owner can read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import httpx

from ...files import atomic_write
from ...remedies import remedy
from ...text import hide
from .errors import ApiKeyError

VARIABLE = "SEGMIND_API_KEY"
FILE = "segmind.key"
_FORM = re.compile(r"[\x21-\x7e]{8,256}")


class ApiKey(httpx.Auth):
    """API key that appears in request headers and nowhere else: `text.redact` hides it where a server echoes it.

    Raises:
        ApiKeyError: not 8 to 256 printable ASCII characters without a space.
    """

    def __init__(self, text: str):
        if not _FORM.fullmatch(text):
            raise ApiKeyError(
                f"an API key is 8 to 256 printable ASCII characters without spaces, got {len(text)} "
                "characters that are not; copy it again from Segmind's console"
            )
        hide(text)
        self.__text = text

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKey) and self.__text == other.__text

    def __hash__(self) -> int:
        return hash(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key can't be pickled")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["x-api-key"] = self.__text
        yield request

    def save(self, folder: Path) -> Path:
        """Write the key to a file that only its owner can read, replacing an earlier one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / FILE
        with atomic_write(path, 0o600) as part:
            part.write_text(f"{self.__text}\n")
        return path


def default_folder() -> Path:
    """Return the default folder of the key, in the user's configuration."""
    if os.name == "nt":
        return Path(os.environ.get("APPDATA") or Path.home()) / "liveportrait-v2v"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "liveportrait-v2v"


def find_key(folder: Path) -> tuple[ApiKey, str] | None:
    """Return the key and its origin, None if none is set.

    Raises:
        ApiKeyError: the key is malformed, or others can read its file.
    """
    if text := os.environ.get(VARIABLE, "").strip():
        return ApiKey(text), VARIABLE
    path = folder / FILE
    kept = _read(path)
    return None if kept is None else (ApiKey(kept.strip()), str(path))


def require_key(folder: Path) -> ApiKey:
    """Return the key.

    Raises:
        ApiKeyError: there is no usable key.
    """
    found = find_key(folder)
    if found is None:
        raise ApiKeyError(f"the Segmind engine needs an API key, and there is none: {remedy('key')}")
    return found[0]


def remove_key(folder: Path) -> bool:
    """Delete the file of the key; return False if there was none."""
    with suppress(FileNotFoundError):
        (folder / FILE).unlink()
        return True
    return False


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ApiKeyError(f"{path}: the key's file can't be opened: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ApiKeyError(f"{path}: the key must be in a regular file")
        if os.name != "nt" and (status.st_mode & 0o077 or status.st_uid != os.getuid()):
            raise ApiKeyError(
                f"{path}: only its owner may read the key's file, and its mode is "
                f"{stat.S_IMODE(status.st_mode):04o}; run `chmod 600` on it, and change the key if others saw it"
            )
        return os.read(descriptor, 1024).decode("ascii", "replace")
    finally:
        os.close(descriptor)
