"""Configuration of a server: address, storage, limits."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError

MODEL = "live-portrait-video-to-video"
_KEY = re.compile(r"[!-~]{16,256}")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+")


@dataclass(frozen=True)
class ServerConfig:
    """Configuration of a server.

    Attributes:
        data: directory for jobs and files.
        engine: name of an engine, see `create_engine`.
        devices: torch devices; each has a worker process of its own.
        host, port: where to listen; port 0 takes a free one.
        key: what clients send as x-api-key; None lets everyone in.
        public_url: scheme and host under which clients reach the server; None: taken from each request's Host.
        queue: the most jobs that wait.
        clip_bytes: the largest clip taken in, and the largest result.
        quota_bytes: the most that all files of the server take up together.
        result_seconds: how long a result stays available.
        file_seconds: how long files are kept.
        history_seconds: how long the history keeps a job after its end.
        job_seconds: the longest that one job computes.
        transfer_seconds: the longest that a clip takes to arrive.
        request_seconds: the longest that a request takes to arrive, uploads aside.
        grace_seconds: how long a worker may take to stop before it is killed.
        connections: the most at a time.
        allow_loopback: input URLs may lie on this machine, also at http.
    """

    data: Path
    engine: str = "draft"
    devices: tuple[str, ...] = ("cpu",)
    host: str = "127.0.0.1"
    port: int = 8189
    key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    queue: int = 100
    clip_bytes: int = 512 << 20
    quota_bytes: int = 20 << 30
    result_seconds: float = 3600
    file_seconds: float = 7 * 86400
    history_seconds: float = 90 * 86400
    job_seconds: float = 3600
    transfer_seconds: float = 600
    request_seconds: float = 15
    grace_seconds: float = 10
    connections: int = 256
    allow_loopback: bool = False

    def __post_init__(self):
        """Check the values together.

        Raises:
            SettingsError: other machines could reach the server without a key, or a value makes no sense.
        """
        if self.key is None and not is_loopback(self.host):
            raise SettingsError(
                f"to listen at {self.host}, which other machines can reach, a key is needed: give --api-key-file"
            )
        if self.public_url is not None and not _PUBLIC_URL.fullmatch(self.public_url):
            raise SettingsError(f"--public-url must be https://HOST without a path, got {self.public_url!r}")
        if not 0 <= self.port < 65536:
            raise SettingsError(f"--port must be from 0 to 65535, got {self.port}")
        for name in ("queue", "clip_bytes", "quota_bytes", "result_seconds", "file_seconds", "job_seconds"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0, got {getattr(self, name)}")
        # Two clips and a result for each.
        needed = 3 * self.clip_bytes * len(self.devices)
        if not self.devices or self.quota_bytes < needed:
            raise SettingsError(
                f"a server needs a device, and for each a quota of three of the largest clips: {needed} bytes in "
                f"all, got {self.quota_bytes}; raise --quota-mb or lower --clip-mb"
            )


def is_loopback(host: str) -> bool:
    """Return whether a host's addresses are reachable from this machine alone."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()
        return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
    except (OSError, UnicodeError, ValueError):
        return False


def read_key(path: str | os.PathLike[str]) -> str:
    """Read the key from a file that only its owner can read.

    Raises:
        SettingsError: others can read the file, or there is no usable key in it.
        OSError: it can't be read.
    """
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(1024)
    if os.name == "posix" and mode & 0o077:
        raise SettingsError(f"{path}: others can read this key file; run: chmod 600 {path}")
    key = text.decode("latin-1").strip()
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{path}: a key is one line of 16 to 256 letters, digits and signs, no spaces")
    return key
