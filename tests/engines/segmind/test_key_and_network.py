"""Sources and recipients of the key; proxies, certificates and configured addresses."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from faulty_server import Answer

from liveportrait_v2v.engines.segmind.endpoints import Endpoints, valid_request_id
from liveportrait_v2v.engines.segmind.errors import ApiKeyError
from liveportrait_v2v.engines.segmind.http import BrokenError, Http, NotSentError
from liveportrait_v2v.engines.segmind.keys import FILE, ApiKey, find_key, remove_key
from liveportrait_v2v.web import UrlError

pytestmark = pytest.mark.slow

KEY = "SG_0123456789abcdef"


@pytest.fixture
def no_variable(monkeypatch):
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)


def test_the_environments_key_goes_before_the_files(tmp_path, monkeypatch):
    ApiKey(KEY).save(tmp_path)
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_from_environment")
    assert find_key(tmp_path) == (ApiKey("SG_from_environment"), "SEGMIND_API_KEY")
    monkeypatch.setenv("SEGMIND_API_KEY", "")
    assert find_key(tmp_path) == (ApiKey(KEY), str(tmp_path / FILE))


def test_a_stored_key_is_its_owners_alone_and_can_be_replaced_and_removed(tmp_path, no_variable):
    folder = tmp_path / "config"
    ApiKey("SG_the_first_key").save(folder)
    path = ApiKey(KEY).save(folder)
    assert path.read_text() == f"{KEY}\n"
    assert os.listdir(folder) == [FILE]
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    assert remove_key(folder)
    assert not remove_key(folder)
    assert find_key(folder) is None


@pytest.mark.skipif(os.name == "nt", reason="no modes")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_key_file_that_others_can_read_is_refused(tmp_path, no_variable, mode):
    path = ApiKey(KEY).save(tmp_path)
    path.chmod(mode)
    with pytest.raises(ApiKeyError, match=f"{mode:04o}.*chmod 600") as error:
        find_key(tmp_path)
    assert KEY not in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="no O_NOFOLLOW")
def test_a_key_file_that_is_a_link_or_a_folder_is_refused(tmp_path, no_variable):
    real = ApiKey(KEY).save(tmp_path / "real")
    (tmp_path / FILE).symlink_to(real)
    with pytest.raises(ApiKeyError, match="can't be opened"):
        find_key(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(ApiKeyError):
        find_key(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "short", "SG_0123 456789", "SG_0123456789\r\nHost: x", "SG_schlüssel", "x" * 300]
)
def test_a_text_that_can_be_no_key_is_refused_and_not_repeated(text):
    with pytest.raises(ApiKeyError) as error:
        ApiKey(text)
    assert not text or text not in str(error.value)


def test_a_key_shows_itself_nowhere():
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r} {[key]}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_without_a_key_the_error_explains_how_to_set_one(bench, server, no_variable):
    outcome = bench.run()
    assert "SEGMIND_API_KEY" in outcome.message
    assert "key set" in outcome.message
    assert server.requests == []


def test_the_key_of_the_file_is_used(bench, server, no_variable):
    ApiKey(bench.key).save(bench.folder / "config")
    engine = bench.engine()
    assert engine.credits() == {"credits": 12.5, "free-credits": 0.0}
    assert server.requests[0].headers["x-api-key"] == bench.key
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("answer", [Answer(reset=True), None])
def test_an_error_of_the_network_does_not_hold_on_to_the_request(bench, server, answer):
    async def ask(base: str) -> None:
        async with Http(Endpoints.of(base), ApiKey(bench.key)) as http:
            await http.api("GET", f"{base}/v1/get-user-credits", seconds=5)

    server.script["credits"] = [answer]
    with pytest.raises((NotSentError, BrokenError)) as error:
        asyncio.run(ask(server.api if answer else "http://127.0.0.1:9"))
    assert error.value.__context__ is None
    assert error.value.__cause__ is None


def test_no_netrc_is_read(bench, server, monkeypatch):
    (bench.folder / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (bench.folder / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(bench.folder / ".netrc"))
    monkeypatch.setenv("HOME", str(bench.folder))
    assert bench.run().error is None
    assert not [request for request in server.requests if "authorization" in request.headers]


def test_a_server_on_this_machine_is_reached_without_a_proxy(bench, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert bench.run().error is None


@contextmanager
def recording_proxy():
    """Proxy that records requests and refuses them."""
    seen = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            seen.append((self.path, dict(self.headers)))
            self.send_error(403)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_configured_proxy_is_used_and_sees_no_key(bench, server, monkeypatch):
    with recording_proxy() as (url, seen):
        monkeypatch.setenv("HTTPS_PROXY", url)
        outcome = bench.run(base_url="https://api.example")
    assert {path for path, _ in seen} == {"api.example:443"}
    assert bench.key not in str(seen)
    assert "api.example" in outcome.message


def test_a_files_address_is_checked_before_the_proxy_is_asked_for_it(bench, server, monkeypatch):
    addresses = {"files.example": "93.184.216.34", "inside.example": "10.0.0.8"}

    async def fetch(url: str):
        key, endpoints = ApiKey(KEY), Endpoints.of("https://api.example")
        async with Http(endpoints, key, resolver=lambda host, port: [addresses[host]]) as http:
            return await http.open_file(url, {})

    with recording_proxy() as (url, seen):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(NotSentError):
            asyncio.run(fetch("https://files.example/x"))
        with pytest.raises(UrlError, match="not a public address"):
            asyncio.run(fetch("https://inside.example/x"))
    assert [path for path, _ in seen] == ["files.example:443"]


@pytest.mark.parametrize(
    "url",
    ["https://[/x", "", "x.mp4", "ftp://files.example/x", "http://93.184.216.34/x", "https://127.0.0.1/x"],
)
@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "ALL_PROXY", None])
def test_a_files_address_against_the_rules_is_refused_with_and_without_a_proxy(
    bench, monkeypatch, url, proxy
):
    async def fetch() -> None:
        async with Http(Endpoints.of("https://api.example"), ApiKey(KEY)) as http:
            await http.open_file(url, {})

    with recording_proxy() as (address, seen):
        if proxy:
            monkeypatch.setenv(proxy, address)
        with pytest.raises(UrlError):
            asyncio.run(fetch())
    assert seen == []


@pytest.fixture
def certificate(tmp_path) -> Path:
    """Return a self-signed certificate for files.example and 127.0.0.1, in one file with its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    path = tmp_path / "tls.pem"
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=test"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files]
    names = ["-addext", "subjectAltName=DNS:files.example,IP:127.0.0.1"]
    subprocess.run([*command, *names], cwd=tmp_path, check=True, capture_output=True)
    path.write_bytes((tmp_path / "cert.pem").read_bytes() + (tmp_path / "key.pem").read_bytes())
    return path


@contextmanager
def tls_file_host(certificate: Path, video: bytes):
    """TLS host of one file; yields its port and the requested host names."""
    called = []

    class File(BaseHTTPRequestHandler):
        def do_GET(self):
            called.append(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(video)))
            self.end_headers()
            self.wfile.write(video)

        def log_message(self, *arguments):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda socket, name, context: called.append(name)
    server = HTTPServer(("127.0.0.1", 0), File)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], called
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_is_fetched_from_the_checked_address_under_its_own_name(
    bench, server, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_file_host(certificate, server.video) as (port, called):
        url = f"https://files.example:{port}/x.mp4"
        server.always["result"] = Answer(200, {"status": "COMPLETED", "output": url})
        outcome = bench.run(resolver=lambda host, port: ["127.0.0.1"])
    assert outcome.error is None, outcome.error
    assert called == ["files.example", f"files.example:{port}"]


def test_an_untrusted_certificate_is_not_accepted(bench, server, certificate):
    with tls_file_host(certificate, server.video) as (port, _called):
        url = f"https://files.example:{port}/x.mp4"
        server.always["result"] = Answer(200, {"status": "COMPLETED", "output": url})
        outcome = bench.run(resolver=lambda host, port: ["127.0.0.1"])
    assert "certificate" in outcome.message
    assert bench.job.state == "COMPLETED"


def test_an_api_with_an_untrusted_certificate_gets_no_key(bench, server, certificate):
    with tls_file_host(certificate, server.video) as (port, called):
        outcome = bench.run(base_url=f"https://127.0.0.1:{port}")
    assert outcome.error is not None
    assert not [name for name in called if name and name.startswith("127.0.0.1")]
    assert bench.job.state == "FAILED"


def test_segminds_own_three_hosts_are_used_by_default(monkeypatch):
    monkeypatch.delenv("SEGMIND_BASE_URL", raising=False)
    known = Endpoints.of()
    assert known.submit("v2") == "https://api.segmind.com/v2/live-portrait-video-to-video"
    assert known.upload == "https://workflows-api.segmind.com/upload-asset"
    assert known.history_of("a-b") == "https://api.spotprod.segmind.com/inference-request/request-history/a-b"
    assert not known.loopback


def test_another_server_has_the_whole_api_at_one_origin(monkeypatch):
    monkeypatch.setenv("SEGMIND_BASE_URL", "http://127.0.0.1:8189/v1/")
    known = Endpoints.of()
    assert known.status("x") == "http://127.0.0.1:8189/v2/requests/x/status"
    assert known.upload == "http://127.0.0.1:8189/upload-asset"
    assert known.loopback


@pytest.mark.parametrize(
    "base",
    [
        "http://gpu.example",
        "http://10.0.0.8:80",
        "ftp://127.0.0.1",
        "gpu.example",
        "https://",
        "https://u:p@gpu.example",
        "https://gpu.example?x=1",
        "http://127.0.0.1.example",
        "http://[/",
        "file:///etc",
    ],
)  # fmt: skip
def test_a_base_url_that_would_show_the_key_is_refused(base):
    with pytest.raises(UrlError, match="SEGMIND_BASE_URL"):
        Endpoints.of(base)


@pytest.mark.parametrize("value", ["../x", "a/b", "", "a b", "ä", 17, None, "x" * 129, "a?b", "a.b", "a\n"])
def test_an_id_that_no_url_can_be_built_from_is_none(value):
    assert valid_request_id(value) is None
    assert valid_request_id("3f2a-B_9") == "3f2a-B_9"
