"""Configuration of a server: address, storage, limits."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError
from ..text import hide, quoted

MODEL = "live-portrait-video-to-video"
_KEY = re.compile(r"[!-~]{16,256}")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+")


@dataclass(frozen=True)
class ServerConfig:
    """Configuration of a server.

    Attributes:
        data: directory for jobs and files.
        engine: name of an engine, see `create_engine`.
        devices: torch devices, each with its own worker process.
        host, port: address to listen on; port 0 takes a free one.
        key: key that clients send as x-api-key; None admits everyone.
        public_url: scheme and host under which clients reach the server; None takes them from each request.
        queue: maximum number of waiting jobs.
        clip_bytes: maximum size of a clip and of a result.
        quota_bytes: maximum size of all files together.
        result_seconds: time for which a result stays available after its job.
        file_seconds: lifetime of files.
        history_seconds: time for which the history keeps a finished job.
        start_seconds: time limit of a worker's start, in which it loads the engine.
        job_seconds: time limit of a job.
        transfer_seconds: time limit for receiving a clip.
        request_seconds: time limit for receiving a request, except uploads.
        grace_seconds: time in which a worker has to stop before it is killed.
        connections: maximum number of open connections.
        allow_loopback: allow input URLs on this machine, with http, too.
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
    start_seconds: float = 300
    job_seconds: float = 3600
    transfer_seconds: float = 600
    request_seconds: float = 15
    grace_seconds: float = 10
    connections: int = 256
    allow_loopback: bool = False

    def __post_init__(self):
        """Validate the values.

        Raises:
            SettingsError: other machines could reach the server without a key, or a value is invalid.
        """
        if self.key is not None:
            hide(self.key)
        if self.key is None and not is_loopback(self.host):
            raise SettingsError(
                f"to listen at {self.host}, which other machines can reach, a key is needed: give --api-key-file"
            )
        if self.public_url is not None and not _PUBLIC_URL.fullmatch(self.public_url):
            raise SettingsError(
                f"--public-url must be https://HOST without a path, got {quoted(self.public_url)}"
            )
        if not 0 <= self.port < 65536:
            raise SettingsError(f"--port must be from 0 to 65535, got {self.port}")
        for name in ("queue", "clip_bytes", "quota_bytes", "result_seconds", "file_seconds", "job_seconds"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0, got {getattr(self, name)}")
        # Two clips and a result per device.
        needed = 3 * self.clip_bytes * len(self.devices)
        if not self.devices or self.quota_bytes < needed:
            raise SettingsError(
                f"a server needs a device, and for each a quota of three of the largest clips: {needed} bytes in "
                f"all, got {self.quota_bytes}; raise --quota-mb or lower --clip-mb"
            )


def is_loopback(host: str) -> bool:
    """Return whether all addresses of a host are loopback addresses."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()
        return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
    except (OSError, UnicodeError, ValueError):
        return False


def read_key(path: str | os.PathLike[str]) -> str:
    """Read the key from a file that only its owner can read.

    Raises:
        SettingsError: others can read the file, or it has no usable key.
        OSError: the file can't be read.
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
