"""Validation of untrusted URLs, and downloads from exactly the addresses that were validated."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from .deadlines import Deadline, OutOfTime
from .errors import LivePortraitError
from .text import one_line, quoted

MAX_URL = 2048
MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 30.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]
"""Return the addresses of a host and port as text; raise OSError if there are none."""


class UrlError(LivePortraitError, ValueError):
    """A URL violates a rule; no connection was made."""


class FetchError(LivePortraitError):
    """A file can't be fetched from its URL.

    Attributes:
        status: the HTTP status if it is the reason, else None.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class CheckedUrl:
    """Validated URL with the only addresses that it may be fetched from."""

    url: httpx.URL
    addresses: tuple[str, ...]


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host from the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def parse_url(url: object, *, allow_loopback: bool = False) -> httpx.URL:
    """Validate a URL without a DNS lookup.

    It must be https, without user name and password, and its host a name or a public address.

    Args:
        allow_loopback: also allow http, and addresses of this machine.

    Raises:
        UrlError: with the violated rule, and the URL without its query.
    """
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL:
        raise UrlError(f"a URL must be text of 1 to {MAX_URL} characters")
    if not re.fullmatch(r"[!-\[\]-~]+", url):
        raise UrlError(
            "a URL must be printable ASCII without spaces and backslashes; percent-encode the rest"
        )
    try:
        parsed, authority = httpx.URL(url), urlsplit(url).netloc
    except (httpx.InvalidURL, ValueError):
        raise UrlError(f"not a URL: {quoted(url)}") from None
    name = redact_url(url)
    if parsed.scheme not in ("https", "http") or (parsed.scheme == "http" and not allow_loopback):
        raise UrlError(f"{name}: a URL must begin with https://")
    if "@" in authority:
        raise UrlError(f"{name}: a URL must not carry a user name or password")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise UrlError(f"{name}: a port must be from 1 to 65535")
    host = _host(parsed)
    if not host or "%" in host:
        raise UrlError(f"{name}: a URL needs a host name or an address")
    if (address := _address(host)) is not None:
        _check_address(address, parsed, allow_loopback)
    # Some resolvers take 127.1, 2130706433 and 0x7f.1 for addresses, others for names.
    elif re.fullmatch(r"0[xX][0-9a-fA-F]*|[0-9]+", host.rstrip(".").rpartition(".")[2]):
        raise UrlError(f"{name}: an address must be four numbers, or an IPv6 address in brackets")
    return parsed


def check_url(url: object, *, allow_loopback: bool = False, resolver: Resolver = resolve) -> CheckedUrl:
    """Validate a URL as `parse_url` does, and the addresses of its host. Blocks on DNS.

    Every address must be allowed: a name with a public and a private address is refused.

    Args:
        allow_loopback: also allow addresses of this machine, and http for them only.

    Raises:
        UrlError: with the violated rule, and the URL without its query.
    """
    parsed = parse_url(url, allow_loopback=allow_loopback)
    host = _host(parsed)
    if (address := _address(host)) is not None:
        return CheckedUrl(parsed, (str(address),))
    try:
        addresses = resolver(host, parsed.port or (443 if parsed.scheme == "https" else 80))
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise UrlError(f"{redact_url(url)}: its host has no address; check the name")
    for text in addresses:
        _check_address(ipaddress.ip_address(text), parsed, allow_loopback)
    return CheckedUrl(parsed, tuple(addresses))


def is_trusted_host(header: str, allowed: Iterable[str] = ()) -> bool:
    """Return whether a Host header is localhost, an IP address or an allowed name.

    DNS can lead any other name here: a web page's own name, whose scripts then count as those of this server.
    """
    name = re.sub(r":[0-9]*$", "", header.strip()).strip("[]").lower()
    return (
        name == "localhost"
        or _address(name) is not None
        or name in {n.strip().lower() for n in allowed if n.strip()}
    )


def is_public(address: Address) -> bool:
    """Return whether an address is public and embeds no other address."""
    if address.version == 6 and (address.ipv4_mapped or address.sixtofour or address.teredo):
        return False
    if address.version == 6 and address.is_site_local:
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not special


def redact_url(url: object) -> str:
    """Return scheme, host and path of a URL, for messages.

    A query may contain a signature, and a user name does not belong in logs.
    """
    try:
        parsed = url if isinstance(url, httpx.URL) else httpx.URL(str(url))
        text = f"{parsed.scheme}://{parsed.netloc.decode()}{parsed.path}"
    except (httpx.InvalidURL, TypeError, ValueError):
        return "the URL"
    return one_line(ascii(text[:MAX_URL])[1:-1], 200)


async def keep_location(response: httpx.Response) -> None:
    """Take the location of an answer away from httpx; a response hook.

    httpx builds the next request even where no redirect is followed, and fails for locations such as data: or mailto:.
    """
    if "location" in response.headers:
        response.extensions["location"] = response.headers.pop("location")


def location_of(response: httpx.Response) -> str:
    """Return the location that `keep_location` took from an answer, "" if it had none."""
    return response.extensions.get("location", "")


def join_url(base: httpx.URL, location: str) -> str:
    """Return the URL that a location leads to; what is not a URL comes back as it is, and no check accepts it."""
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError):
        return location


class PinnedTransport(httpx.AsyncBaseTransport):
    """Transport for httpx.AsyncClient that validates URLs and connects to the validated addresses only.

    The name is not resolved a second time, because it could resolve to another address. Host header, SNI and
    certificate check keep the name. Connections are not reused, because a pool identifies them by address alone.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        resolver: Resolver = resolve,
        verify: ssl.SSLContext | bool = True,
    ):
        self._allow_loopback, self._resolver = allow_loopback, resolver
        limits = httpx.Limits(max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Validate the request's URL and send the request to its address.

        Raises:
            UrlError: the URL violates a rule.
            httpx.TransportError: the connection failed.
        """
        checked = await asyncio.to_thread(
            check_url, str(request.url), allow_loopback=self._allow_loopback, resolver=self._resolver
        )
        for address in checked.addresses[:-1]:
            try:
                return await self._inner.handle_async_request(_at(request, checked, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._inner.handle_async_request(_at(request, checked, checked.addresses[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()


async def fetch_to_file(
    url: str,
    path: str | os.PathLike[str],
    *,
    max_bytes: int,
    deadline: Deadline,
    allow_loopback: bool = False,
    resolver: Resolver = resolve,
    verify: ssl.SSLContext | bool = True,
) -> int:
    """Download a URL to a new file and return its size in bytes. Cancellation and errors leave no file.

    At most three redirects are followed, each validated like the first URL. Encoded bodies are refused, so that no
    small answer becomes a large file.

    Args:
        max_bytes: maximum size of the file.
        deadline: of the complete file.
        allow_loopback, resolver: as in `check_url`.

    Raises:
        UrlError: the URL, or one that it redirects to, violates a rule.
        FetchError: there is no file, it is too large or too slow, or the connection broke.
        OSError: the file can't be written.
    """
    transport = PinnedTransport(allow_loopback=allow_loopback, resolver=resolver, verify=verify)
    limits = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
    try:
        async with httpx.AsyncClient(
            transport=transport,
            timeout=limits,
            trust_env=False,
            event_hooks={"response": [keep_location]},
        ) as client:
            return await deadline.wait(_fetch(client, url, Path(path), max_bytes))
    except OutOfTime:
        raise FetchError(f"{redact_url(url)}: did not arrive in time") from None
    except httpx.InvalidURL as error:
        raise UrlError(f"{redact_url(url)}: leads to what is not a URL ({error})") from None
    except httpx.HTTPError as error:
        raise FetchError(f"{redact_url(url)}: {_reason(error)}") from None


async def _fetch(client: httpx.AsyncClient, url: str, path: Path, max_bytes: int) -> int:
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            if response.status_code in _REDIRECTS and location_of(response):
                url = join_url(response.url, location_of(response))
                continue
            return await _save(response, redact_url(url), path, max_bytes)
    raise FetchError(f"{redact_url(url)}: more than {MAX_REDIRECTS} redirects")


async def _save(response: httpx.Response, name: str, path: Path, max_bytes: int) -> int:
    if response.status_code != 200:
        raise FetchError(f"{name}: answered {response.status_code}", response.status_code)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchError(f"{name}: is sent compressed, which was not asked for")
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise FetchError(f"{name}: is larger than the limit of {max_bytes} bytes")
    size = 0
    with path.open("xb") as file:
        try:
            async for data in response.aiter_raw():
                size += len(data)
                if size > max_bytes:
                    raise FetchError(f"{name}: is larger than the limit of {max_bytes} bytes")
                file.write(data)
            if not size:
                raise FetchError(f"{name}: is an empty file")
            file.flush()
        except BaseException:
            path.unlink()
            raise
    return size


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode().strip("[]")


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_address(address: Address, url: httpx.URL, allow_loopback: bool) -> None:
    loopback = allow_loopback and address.is_loopback
    if not loopback and not is_public(address):
        raise UrlError(f"{redact_url(url)}: its host is at {address}, which is not a public address")
    if not loopback and url.scheme == "http":
        raise UrlError(f"{redact_url(url)}: a URL must begin with https://")


def _at(request: httpx.Request, checked: CheckedUrl, address: str) -> httpx.Request:
    """Return the request with an address for its host; Host header and SNI keep the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": _host(checked.url)},
    )


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return f"the connection failed ({one_line(ascii(str(error))[1:-1]) or type(error).__name__})"
