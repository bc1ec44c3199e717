"""Configuration of the live page's server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import SettingsError
from ..server.access import is_local_name
from ..server.config import is_loopback
from ..text import hide, quoted

_PUBLIC_URL = re.compile(r"https://([A-Za-z0-9.\-:\[\]]+)")


@dataclass(frozen=True)
class LiveConfig:
    """Configuration of the live page's server.

    Attributes:
        host, port: address to listen on; port 0 takes a free one.
        key: key that the page sends; None admits every page of this server's own.
        public_url: https://HOST of a proxy in front of the server; None for this machine alone.
        upload_bytes: maximum size of another source.
        messages_a_second: maximum rate of the page's messages, several times that of a camera.
        request_seconds: time limit for the head of a request, and for an upload without progress.
        silence_seconds: time after which a page that answers nothing is taken to be gone.
        connections: maximum number of open connections.

    Raises:
        SettingsError: other machines could reach the server without a key or TLS, or a value is invalid.
    """

    host: str = "127.0.0.1"
    port: int = 8190
    key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    upload_bytes: int = 128 << 20
    messages_a_second: int = 200
    request_seconds: float = 15
    silence_seconds: float = 10
    connections: int = 32

    def __post_init__(self) -> None:
        if self.key is not None:
            hide(self.key)
        if not 0 <= self.port < 65536:
            raise SettingsError(f"--port must be from 0 to 65535, got {self.port}")
        if self.public_url is not None and not _PUBLIC_URL.fullmatch(self.public_url):
            raise SettingsError(
                "--public-url must be https://HOST without a path, as browsers give a camera to such pages alone, got "
                f"{quoted(self.public_url)}"
            )
        elsewhere = not is_loopback(self.host) or self.public_url is not None
        if elsewhere and (self.key is None or self.public_url is None):
            raise SettingsError(
                f"to be reached by other machines, here at {self.public_url or self.host}, the page needs a key and "
                "TLS, without which browsers give it no camera: give --api-key-file, and --public-url https://HOST of "
                "a TLS proxy in front of it"
            )

    def knows_host(self, host: str) -> bool:
        """Return whether a Host header is one under which the page is served, which DNS can't change."""
        if self.public_url is not None and self.public_url == f"https://{host}":
            return True
        return is_local_name(host)

    def knows_origin(self, origin: str, host: str) -> bool:
        """Return whether an Origin header is this server's own page, at the Host of the request."""
        return origin in (f"http://{host}", self.public_url)
