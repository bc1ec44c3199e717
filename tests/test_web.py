"""Validation of untrusted URLs, and downloads under attack."""

from __future__ import annotations

import asyncio

import pytest

from liveportrait_v2v.deadlines import Deadline
from liveportrait_v2v.web import FetchError, UrlError, check_url, fetch_to_file, redact_url

PUBLIC = "93.184.216.34"


def public(host: str, port: int) -> list[str]:
    return [PUBLIC]


def no_addresses(host: str, port: int) -> list[str]:
    raise OSError("no such host")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://clips.example/a.mp4", "https://"),
        ("file:///etc/passwd", "https://"),
        ("clips.example/a.mp4", "https://"),
        ("", "characters"),
        ("https://clips.example/" + "a" * 2048, "characters"),
        (None, "text"),
        ("https://clips.example/a b", "printable ASCII"),
        ("https://clips.example/a\r\nHost: x", "printable ASCII"),
        ("https://clips.example\\@127.0.0.1/", "printable ASCII"),
        ("https://user:word@clips.example/", "user name"),
        ("https://@clips.example/", "user name"),
        ("https:///a.mp4", "host name"),
        ("https://clips.example:0/", "port"),
        ("https://clips.example:70000/", "port"),
        ("https://127.1/", "four numbers"),
        ("https://2130706433/", "four numbers"),
        ("https://0x7f000001/", "four numbers"),
        ("https://127.0.0.1./", "four numbers"),
        ("https://0177.0.0.1/", "not a URL"),
        ("https://[fe80::1%25eth0]/", "host name"),
    ],
)
def test_a_url_against_a_rule_is_refused_with_that_rule(url, rule):
    with pytest.raises(UrlError, match=rule):
        check_url(url, resolver=public)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_only_public_addresses_are_allowed(address):
    for url, found in [
        ("https://clips.example/", [address]),
        ("https://clips.example/", [PUBLIC, address]),
        (f"https://[{address}]/" if ":" in address else f"https://{address}/", []),
    ]:
        with pytest.raises(UrlError, match="not a public address"):
            check_url(url, resolver=lambda host, port, found=found: found)


def test_a_public_host_is_allowed_with_the_addresses_that_were_checked():
    checked = check_url("https://clips.example:8443/a.mp4?x=1", resolver=public)
    assert checked.addresses == (PUBLIC,)


def test_an_unknown_host_is_refused():
    with pytest.raises(UrlError, match="no address"):
        check_url("https://clips.example/", resolver=no_addresses)


def test_loopback_is_allowed_on_request_and_http_only_there():
    assert check_url("http://127.0.0.1:81/", allow_loopback=True).addresses == ("127.0.0.1",)
    assert check_url("http://[::1]/", allow_loopback=True).addresses == ("::1",)
    for url in ("http://clips.example/", "https://10.0.0.1/"):
        with pytest.raises(UrlError):
            check_url(url, allow_loopback=True, resolver=public)


def test_messages_show_a_url_without_its_query_and_user():
    assert (
        redact_url("https://user:word@clips.example:81/a.mp4?signature=1#x")
        == "https://clips.example:81/a.mp4"
    )


class Host:
    """Host on loopback that reads each request and answers with fixed bytes."""

    def __init__(self, *answers: bytes, pause: float = 0.0):
        self._answers, self._pause = list(answers), pause
        self.requests: list[bytes] = []

    async def __aenter__(self) -> Host:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.read(4096))
        try:
            for part in self._answers.pop(0).replace(b"PORT", str(self.port).encode()).splitlines(True):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self._pause)
        except ConnectionError:
            pass
        writer.close()


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def redirect(to: bytes) -> bytes:
    return answer(b"", b"Location: " + to, status=b"302 Found")


def fetch(path, *answers: bytes, seconds: float = 20, url="http://127.0.0.1:{port}/a", pause=0.0, **options):
    """Fetch from a host with these answers; return the size and the requests that the host received."""

    async def run():
        async with Host(*answers, pause=pause) as host:
            options.setdefault("max_bytes", 1000)
            size = await fetch_to_file(
                url.format(port=host.port),
                path,
                deadline=Deadline(seconds),
                allow_loopback=True,
                **options,
            )
            return size, host.requests

    return asyncio.run(run())


def test_a_file_is_fetched_uncompressed(tmp_path):
    size, requests = fetch(tmp_path / "clip", answer(b"video"))
    assert size == 5
    assert (tmp_path / "clip").read_bytes() == b"video"
    assert b"accept-encoding: identity" in requests[0].lower()


def test_the_host_header_stays_the_names_while_the_checked_address_is_connected_to(tmp_path):
    looked_up = []

    def resolver(host, port):
        looked_up.append(host)
        return ["127.0.0.1"]

    _, requests = fetch(
        tmp_path / "clip", answer(b"video"), url="http://clips.example:{port}/a", resolver=resolver
    )
    assert b"host: clips.example:" in requests[0].lower()
    assert looked_up == ["clips.example"]


def test_tls_asks_for_the_name_and_not_for_the_address(tmp_path):
    async def run():
        async with Host(b"no TLS") as host:
            with pytest.raises(FetchError):
                await fetch_to_file(
                    f"https://clips.example:{host.port}/a",
                    tmp_path / "clip",
                    max_bytes=10,
                    deadline=Deadline(20),
                    allow_loopback=True,
                    resolver=lambda *_: ["127.0.0.1"],
                )
            return host.requests

    assert b"clips.example" in asyncio.run(run())[0]


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]])
def test_all_addresses_are_tried_until_one_answers(addresses, tmp_path):
    size, _ = fetch(
        tmp_path / "clip",
        answer(b"video"),
        url="http://clips.example:{port}/a",
        resolver=lambda *_: addresses,
    )
    assert size == 5


def test_a_name_that_changes_its_address_after_a_redirect_is_checked_again(tmp_path):
    addresses = iter([["127.0.0.1"], ["10.0.0.1"]])
    with pytest.raises(UrlError, match=r"10.0.0.1"):
        fetch(
            tmp_path / "clip",
            redirect(b"http://clips.example:PORT/b"),
            url="http://clips.example:{port}/a",
            resolver=lambda *_: next(addresses),
        )


def test_three_redirects_are_followed_and_a_fourth_is_not(tmp_path):
    assert fetch(tmp_path / "a", *[redirect(b"/b")] * 3, answer(b"video"))[0] == 5
    with pytest.raises(FetchError, match="redirects"):
        fetch(tmp_path / "b", *[redirect(b"/b")] * 4)


@pytest.mark.parametrize(
    "to", [b"http://192.168.0.1/", b"http://93.184.216.34/", b"file:///etc/passwd", b"http://[x/"]
)
def test_a_redirect_against_a_rule_is_refused(to, tmp_path):
    with pytest.raises(UrlError):
        fetch(tmp_path / "clip", redirect(to))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (answer(b"gone", status=b"404 Not Found"), "404"),
        (answer(b"part", status=b"206 Partial Content"), "206"),
        (answer(b""), "empty"),
        (answer(b"bomb", b"Content-Encoding: gzip"), "compressed"),
        (answer(b"a" * 1001), "larger than the limit of 1000"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1001, "larger than the limit of 1000"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\nshort", "larger than the limit of 1000"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "connection failed"),
        (b"nonsense\r\n\r\n", "connection failed"),
        (b"", "connection failed"),
    ],
)
def test_an_incomplete_or_oversized_file_is_refused_and_leaves_nothing(given, reason, tmp_path):
    with pytest.raises(FetchError, match=reason):
        fetch(tmp_path / "clip", given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given", [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 90, answer(b"\n" * 900)], ids=["headers", "body"]
)
def test_a_trickle_ends_at_the_deadline(given, tmp_path):
    with pytest.raises(FetchError, match="in time"):
        fetch(tmp_path / "clip", given, seconds=0.5, pause=0.05)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "clip").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        fetch(tmp_path / "clip", answer(b"video"))
    assert (tmp_path / "clip").read_bytes() == b"mine"
