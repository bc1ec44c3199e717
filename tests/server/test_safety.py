"""Attacks on keys, names, addresses and time limits."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from urllib.parse import quote

import pytest
from serving import PATIENCE, FakeWorker, serving, wait_for

from liveportrait_v2v.cli import main
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.server.config import MODEL, ServerConfig, read_key
from liveportrait_v2v.server.files import LocalFiles

pytestmark = pytest.mark.slow

KEY = "SG_0123456789abcdef"


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """Server with a key."""
    with serving(tmp_path_factory.mktemp("locked") / "data", [FakeWorker()], key=KEY) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": KEY + "0"},
        {"x-api-key": KEY.lower()},
        {"x-api-key": "\xff\xfe"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": KEY},
    ],
)
def test_without_the_right_key_in_its_header_everything_is_a_401(headers, locked):
    with locked.new_client() as client:
        del client.headers["x-api-key"]
        for method, path in [
            ("POST", f"/v2/{MODEL}"),
            ("POST", f"/v1/{MODEL}"),
            ("POST", "/upload-asset"),
            ("GET", "/v1/get-user-credits"),
            ("GET", "/v2/requests/x"),
            ("GET", "/v2/requests/x/status"),
            ("GET", "/inference-request/request-history"),
            ("GET", "/inference-request/request-history/x"),
            ("GET", "/nothing"),
        ]:
            given = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = client.request(method, path, headers=given, json={} if method == "POST" else None)
            assert answer.status_code == 401
            assert KEY not in answer.text


def test_with_the_key_everything_works_and_a_result_needs_none(locked):
    result = locked.client.result(locked.client.job())
    with locked.new_client() as client:
        del client.headers["x-api-key"]
        assert client.get(result["output"]).status_code == 200


def test_a_server_that_others_can_reach_needs_a_key(data, capsys):
    for host in ("0.0.0.0", "::", "192.168.1.1", "", "gpu.invalid"):
        with pytest.raises(SettingsError, match="a key is needed"):
            ServerConfig(data=data, host=host)
    assert main(["serve", "--host", "0.0.0.0", "--data", str(data)]) == 2
    assert "--api-key-file" in capsys.readouterr().err
    assert not data.exists()
    for host in ("127.0.0.1", "127.0.0.2", "localhost"):
        ServerConfig(data=data, host=host)
    ServerConfig(data=data, host="0.0.0.0", key=KEY)


@pytest.mark.parametrize(
    "values",
    [
        {"port": 65536},
        {"port": -1},
        {"queue": 0},
        {"clip_bytes": 0},
        {"result_seconds": float("nan")},
        {"public_url": "https://gpu.example/path"},
        {"public_url": "gpu.example"},
        {"devices": ()},
    ],
)
def test_a_server_with_an_invalid_setting_does_not_start(values, data):
    with pytest.raises(SettingsError):
        ServerConfig(data=data, **values)


def test_a_quota_too_small_for_any_job_is_refused(data):
    with pytest.raises(SettingsError, match="--quota-mb"):
        ServerConfig(data=data, devices=("cuda:0", "cuda:1"), clip_bytes=100, quota_bytes=599)
    ServerConfig(data=data, devices=("cuda:0", "cuda:1"), clip_bytes=100, quota_bytes=600)


def test_a_key_file_is_one_line_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    assert read_key(path) == KEY
    for mode in (0o644, 0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(SettingsError, match="chmod 600"):
            read_key(path)
    path.chmod(0o600)
    for text in ("", "\n", "short", "two words are no key", f"{KEY}\n{KEY}", "ä" * 20, "a" * 300):
        path.write_text(text)
        with pytest.raises(SettingsError, match="one line"):
            read_key(path)


def test_a_missing_key_file_is_reported_in_one_line(tmp_path, capsys):
    assert main(["serve", "--api-key-file", str(tmp_path / "none"), "--data", str(tmp_path / "data")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.1.1"])
def test_without_a_key_a_name_that_dns_could_point_here_is_refused(host, shared):
    answer = shared.client.get("/v1/get-user-credits", headers={"Host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8189"])
def test_names_of_this_machine_are_served(host, shared):
    assert shared.client.get("/v1/get-user-credits", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "a/../b", "a'><script>", "user@host", "[::1", "a:b"])
def test_an_invalid_host_is_a_400(host, locked):
    assert locked.client.get("/v1/get-user-credits", headers={"Host": host}).status_code == 400


def test_no_answer_is_readable_by_pages_of_other_origins(shared):
    answer = shared.client.options("/v1/get-user-credits", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    answer = shared.client.get("/v1/get-user-credits", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


TRICKS = [
    "../jobs.sqlite3",
    "..%2fjobs.sqlite3",
    "%2e%2e/jobs.sqlite3",
    "..\\jobs.sqlite3",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "....//jobs.sqlite3",
    "jobs.sqlite3",
    ".",
    "..",
    "%00",
    "a%00.mp4",
    "x.mp4%0d%0aSet-Cookie:%20a=b",
    "C:%5cboot.ini",
    "~root",
    "%F0%9F%98%80.mp4",
    "A" * 43 + ".html",
    "A" * 42 + "%0a.mp4",
    "A" * 43 + ".mp4%0a",
    "A" * 5000,
]


def raw_get(server, path: str) -> bytes:
    """GET a path unchanged; clients would normalize it."""
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize("name", TRICKS)
def test_no_name_of_a_file_or_job_leads_anywhere_else(name, shared):
    for path in (f"/files/{name}", f"/v2/requests/{name}", f"/inference-request/request-history/{name}"):
        head = raw_get(shared, path).split(b"\r\n\r\n")[0]
        assert head.split()[1] in (b"404", b"400"), head
        assert b"Set-Cookie" not in head


@pytest.mark.parametrize("name", TRICKS)
def test_no_name_of_an_own_file_leads_anywhere_else_as_a_clip(name, shared):
    answer = shared.client.submit(input_video=f"{shared.url}/files/{name}", driving_video="https://8.8.8.8/a")
    assert answer.status_code == 400
    assert "no file of this server" in answer.json()["error"] or "input_video" in answer.json()["error"]


@pytest.mark.parametrize(
    "slug", [f"..%2f{MODEL}", f"{MODEL}%00", f"{MODEL}/", f"./{MODEL}", MODEL.upper(), quote("é")]
)
def test_only_the_models_own_name_is_its_name(slug, shared):
    answer = shared.client.post(f"/v2/{slug}", json={})
    assert answer.status_code == 404 or answer.json()["error"].startswith("input_video is missing")


def test_links_in_the_data_directory_are_not_followed(server, data, tmp_path):
    (tmp_path / "secret").write_text("secret")
    name = "A" * 43 + ".mp4"
    (data / "files" / name).symlink_to(tmp_path / "secret")
    assert server.client.get(f"/files/{name}").status_code == 404
    url = f"{server.url}/files/{name}"
    assert server.client.submit(input_video=url, driving_video=url).status_code == 400


def test_a_data_directory_with_links_or_open_to_others_is_refused(tmp_path):
    (tmp_path / "a").mkdir(mode=0o700)
    (tmp_path / "a" / "files").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="no link"):
        LocalFiles(tmp_path / "a", quota=1 << 30, lifetime=10)
    (tmp_path / "b").mkdir()
    (tmp_path / "b").chmod(0o777)
    with pytest.raises(SettingsError, match="chmod 700"):
        LocalFiles(tmp_path / "b", quota=1 << 30, lifetime=10)


def test_what_is_cleared_away_is_never_followed_outside(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    work = tmp_path / "data" / "work"
    work.mkdir(parents=True, mode=0o700)
    (tmp_path / "data").chmod(0o700)
    (work / "link").symlink_to(outside)
    (work / "left").mkdir()
    (work / "left" / "link").symlink_to(outside)
    LocalFiles(tmp_path / "data", quota=1 << 30, lifetime=10).clear_work()
    assert not list(work.iterdir())
    assert (outside / "mine").read_text() == "mine"


def test_only_the_owner_can_read_the_files(server, data):
    server.client.result(server.client.job())
    for path in (data / "files", data / "work"):
        assert path.stat().st_mode & 0o077 == 0


def test_names_of_files_cannot_be_guessed(server, data):
    urls = {server.client.upload(b"same") for _ in range(20)}
    assert len(urls) == 20
    assert min(len(url.rsplit("/", 1)[1]) for url in urls) >= 43


def test_a_file_is_never_a_page_in_a_browser(shared):
    answer = shared.client.get(shared.client.upload(b"<script>alert(1)</script>", "image/png"))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("sent", [b"", b"GET /v1/get-user-credits HTTP/1.1\r\nHost: loc"])
def test_a_connection_that_never_sends_a_whole_head_is_closed(sent, data, worker):
    with (
        serving(data, [worker], request_seconds=0.5) as server,
        socket.create_connection((server.host, server.port)) as connection,
    ):
        connection.settimeout(PATIENCE)
        connection.sendall(sent)
        assert connection.recv(100) == b""


def test_a_request_that_waits_for_its_job_is_not_taken_for_a_slow_one(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker], request_seconds=1) as server:
        url = server.client.upload(b"clip")
        threading.Timer(2.5, worker.gate.set).start()
        answer = server.client.post(f"/v1/{MODEL}", json={"input_video": url, "driving_video": url})
        assert answer.status_code == 200


def test_a_body_that_never_comes_is_a_408(data, worker):
    with serving(data, [worker], request_seconds=0.5, transfer_seconds=0.5) as server:
        for path in (f"/v2/{MODEL}", "/upload-asset"):
            with socket.create_connection((server.host, server.port)) as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(
                    f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    'Content-Length: 50\r\n\r\n{"'.encode()
                )
                assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert not list((data / "work").iterdir())


def test_the_number_of_connections_with_a_request_is_limited(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker], connections=4) as server:
        url = server.client.upload(b"clip")
        body = json.dumps({"input_video": url, "driving_video": url})
        server.client.close()
        held = [socket.create_connection((server.host, server.port)) for _ in range(4)]
        for connection in held:
            connection.sendall(
                f"POST /v1/{MODEL} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
        wait_for(lambda: worker.tasks, "the job")
        time.sleep(1)
        with socket.create_connection((server.host, server.port)) as another:
            another.settimeout(PATIENCE)
            with pytest.raises(ConnectionResetError):
                another.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if another.recv(100) == b"":
                    raise ConnectionResetError
        worker.gate.set()
        for connection in held:
            connection.settimeout(PATIENCE)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.close()


@pytest.mark.parametrize(
    "head", [b"", b"GET / HT", b"GET /v1/get-user-credits HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_idle_connections_shut_nobody_out(data, worker, head):
    with serving(data, [worker], connections=8, request_seconds=PATIENCE) as server:
        held = []
        for _ in range(30):
            held.append(socket.create_connection((server.host, server.port)))
            held[-1].sendall(head)
            if head.endswith(b"\r\n\r\n"):
                held[-1].recv(1000)
            with server.new_client() as client:
                assert client.get("/v1/get-user-credits").status_code == 200
        for connection in held:
            connection.close()


def test_the_key_is_in_no_log_and_no_file(data, worker, caplog):
    caplog.set_level(0)
    with serving(data, [worker], key=KEY) as server:
        server.client.result(server.client.job())
        server.client.get("/nothing")
    assert KEY not in caplog.text + repr(server.config)
    for folder, _, names in os.walk(data):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert KEY.encode() not in file.read()
