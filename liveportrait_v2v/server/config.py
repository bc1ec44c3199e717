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
# With the engine and Procrastinate's prefix it is the name of a channel, of which PostgreSQL takes 63 characters.
_LABEL = re.compile(r"[a-z0-9-]{1,24}")
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+")


@dataclass(frozen=True)
class ClusterConfig:
    """What several machines share.

    Attributes:
        database: URL of the PostgreSQL database with the jobs.
        files: s3://BUCKET/PREFIX, or a directory that all machines see under this path.
        shared_files: whether a directory is declared as shared.
        roles: "api" answers requests, "worker" computes jobs.
        labels: jobs that are submitted here wait for a worker with the first one; workers here take those of all.
        priority: of the jobs that are submitted here; higher ones come first.
        heartbeat_seconds: time between a worker's signs of life.
        stalled_seconds: silence after which a worker's job is given to another one.
        poll_seconds: time between looks for what PostgreSQL has failed to announce.
        drain_seconds: time that running jobs have to end in when a worker is stopped.
        link_seconds: lifetime of links by which clients download from the object store; 0 sends files through here.
    """

    database: str = field(repr=False)
    files: str
    shared_files: bool = False
    roles: frozenset[str] = frozenset(("api", "worker"))
    labels: tuple[str, ...] = ()
    priority: int = 0
    heartbeat_seconds: float = 10
    stalled_seconds: float = 30
    poll_seconds: float = 5
    drain_seconds: float = 0
    link_seconds: float = 0

    def __post_init__(self):
        """Validate the values.

        Raises:
            SettingsError: a value is invalid, or machines would not see the same files.
        """
        if not self.roles or not self.roles <= {"api", "worker"}:
            raise SettingsError(
                f"--role must be api, worker or api,worker, got {quoted(','.join(self.roles))}"
            )
        for label in self.labels:
            if not _LABEL.fullmatch(label):
                raise SettingsError(
                    f"--label must be up to 24 lowercase letters, digits and hyphens, got {quoted(label)}"
                )
        if "api" in self.roles and len(self.labels) > 1:
            raise SettingsError("a server that takes requests gives its jobs one --label; got several")
        if not self.in_bucket and not self.shared_files:
            raise SettingsError(
                f"with --database, --files must be s3://BUCKET/PREFIX, or a directory that all machines see under the "
                f"same path; got {quoted(self.files)}; if that is such a directory, add --shared-files"
            )
        if not -1000 <= self.priority <= 1000:
            raise SettingsError(f"--priority must be from -1000 to 1000, got {self.priority}")
        for name in ("drain_seconds", "link_seconds"):
            if not 0 <= getattr(self, name) <= 7 * 86400:
                raise SettingsError(f"{name} must be from 0 to 604800, got {getattr(self, name)}")
        if not 0 < 2 * self.heartbeat_seconds < self.stalled_seconds:
            raise SettingsError(
                f"stalled_seconds must be more than twice heartbeat_seconds, got {self.stalled_seconds:g} and "
                f"{self.heartbeat_seconds:g}"
            )

    @property
    def in_bucket(self) -> bool:
        return self.files.startswith("s3://")

    def queues(self, engine: str) -> list[str]:
        """Return the queues of a worker: the engine's, and one for each label."""
        return [engine, *(f"{engine}-{label}" for label in self.labels)]


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
        cluster: what is shared with other machines; None keeps jobs and files in `data`.
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
    cluster: ClusterConfig | None = None

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
