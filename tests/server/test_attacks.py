"""Attacks on the server: malformed requests, uploads that announce too much, silent clients, clocks that jump."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time

import pytest
from serving import PATIENCE, FakeWorker, serving, wait_for

from liveportrait_v2v.server import dispatch, work
from liveportrait_v2v.server.config import MODEL
from liveportrait_v2v.server.files import LocalFiles, NoSpace
from liveportrait_v2v.server.uploads import PacedStream
from liveportrait_v2v.server.worker import JobFailed, WorkerTrouble

KEY = "SG_0a1b2c3d4e5f6071"

MALFORMED = {
    "request line": "GET /KEY\x00 HTTP/1.1\r\nx-api-key: KEY\r\n\r\n",
    "method": "KEY / / / HTTP/1.1\r\n\r\n",
    "version": "GET / KEY\r\n\r\n",
    "header": "GET / HTTP/1.1\r\nHost: x\r\nx-api-key KEY\r\n\r\n",
    "header name": "GET / HTTP/1.1\r\nHost: x\r\nx api key: KEY\r\n\r\n",
    "header value": "GET / HTTP/1.1\r\nHost: x\r\nx-api-key: KEY\x00\r\n\r\n",
    "length": "POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: KEY\r\n\r\n",
    "encoding": "POST /v2/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: KEY\r\n\r\n",
    "long": "GET / HTTP/1.1\r\nx-api-key: " + "KEY" * 5000 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_and_its_key_are_not_in_the_log(tmp_path, caplog, name):
    caplog.set_level(logging.DEBUG)
    with (
        serving(tmp_path / "data", [FakeWorker()]) as server,
        socket.create_connection((server.host, server.port), timeout=10) as connection,
    ):
        connection.sendall(MALFORMED[name].replace("KEY", KEY).encode())
        assert b"400" in connection.recv(65536)
    assert KEY not in caplog.text


class Ailing(FakeWorker):
    """Worker with the server's own troubles in its first tries."""

    def __init__(self, *troubles: Exception):
        super().__init__()
        self.troubles = list(troubles)

    async def run(self, task) -> None:
        if self.troubles:
            self.tasks.append(task)
            raise self.troubles.pop(0)
        await super().run(task)


TROUBLES = [
    WorkerTrouble("the worker process ended before the job began"),
    OSError(errno.ENOSPC, "No space left on device"),
    NoSpace("the server's disk is full"),
]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(work, "_RETRY_WAITS_SECONDS", (0.0, 0.01, 0.01, 0.01))


def test_the_servers_own_troubles_fail_no_job(tmp_path, quick):
    worker = Ailing(*TROUBLES)
    with serving(tmp_path / "data", [worker]) as server:
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"
    assert len(worker.tasks) == 4


def test_the_servers_own_troubles_end_sometime(tmp_path, quick):
    worker = Ailing(*TROUBLES, *TROUBLES, *TROUBLES)
    with serving(tmp_path / "data", [worker]) as server:
        status = server.client.wait(server.client.job())
    assert status["status"] == "FAILED"
    assert len(worker.tasks) == 5


def test_a_clips_own_trouble_is_not_tried_again(tmp_path, quick):
    worker = Ailing(JobFailed("input_video: not a video"))
    with serving(tmp_path / "data", [worker]) as server:
        assert server.client.wait(server.client.job())["error"] == "input_video: not a video"
    assert len(worker.tasks) == 1


@pytest.mark.parametrize("days", [7.5, 400, -30, 10**6])
def test_a_wall_clock_that_jumps_takes_no_upload_and_no_result(tmp_path, monkeypatch, days):
    monkeypatch.setattr(dispatch, "_SWEEP_SECONDS", 0.05)
    wall = time.time
    with serving(tmp_path / "data", [FakeWorker()]) as server:
        upload, job = server.client.upload(b"clip"), server.client.job()
        url = server.client.result(job)["output"]
        monkeypatch.setattr(time, "time", lambda: wall() + days * 86400)
        time.sleep(0.5)
        assert [server.client.get(one).status_code for one in (upload, url)] == [200, 200]
        assert server.client.result(job)["status"] == "COMPLETED"
        later = server.client.job()
        assert server.client.wait(later)["status"] == "COMPLETED"
        assert server.client.result(later)["output"]


def announce(server, size: int) -> socket.socket:
    """Return a connection with an upload of which one byte of `size` has come."""
    connection = socket.create_connection((server.host, server.port), timeout=PATIENCE)
    connection.sendall(
        "POST /upload-asset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {size}\r\n\r\n{{".encode()
    )
    return connection


def test_uploads_that_only_announce_take_no_space(tmp_path):
    limits = {"clip_bytes": 1 << 20, "quota_bytes": 8 << 20}
    with serving(tmp_path / "data", [FakeWorker()], **limits, request_seconds=PATIENCE) as server:
        held = [announce(server, 13 << 20) for _ in range(6)]
        wait_for(lambda: len(list((tmp_path / "data" / "work").iterdir())) == 6, "six uploads")
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"
        for connection in held:
            connection.close()
        wait_for(lambda: not list((tmp_path / "data" / "work").iterdir()), "their end")


def test_uploads_that_come_take_their_space_and_give_it_back(tmp_path):
    files = LocalFiles(tmp_path / "data", quota=5 << 20, lifetime=100)
    with files.growing_workplace() as (_, grow):
        grow(1)
        grow((4 << 20) - 1)
        files.check_space(1023 << 10)
        with pytest.raises(NoSpace):
            files.check_space((1 << 20) + 1)
        with pytest.raises(NoSpace):
            grow((1 << 20) + 1)
    files.check_space(5 << 20)


def test_a_body_that_drips_is_dropped_by_its_rate(tmp_path):
    with serving(tmp_path / "data", [FakeWorker()], request_seconds=1) as server:
        connection = announce(server, 1 << 20)
        since = time.monotonic()
        connection.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - since < PATIENCE:
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408")
        connection.close()


def test_a_body_of_a_steady_rate_is_not_dropped():
    class Steady:
        async def readany(self) -> bytes:
            await asyncio.sleep(0.05)
            return bytes(100)

    async def read() -> int:
        stream = PacedStream(Steady(), 1.0, 1000)
        return sum([len(await stream.readany()) for _ in range(40)])

    assert asyncio.run(read()) == 4000


BODIES = {
    "beyond floats": b'{"scale": 1' + b"0" * 400 + b"}",
    "beyond Python": b'{"scale": ' + b"9" * 5000 + b"}",
    "deep": b'{"scale": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deeper": b'{"scale": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "long": b'{"mismatch_method": "' + b"x" * 50_000 + b'"}',
    "name": b'{"' + b"n" * 50_000 + b'": 1}',
    "escapes": b'{"mismatch_method": "\\u001b[2J\\r\\n"}',
    "surrogates": b'{"input_video": "https://8.8.8.8/\\ud800", "driving_video": "https://8.8.8.8/a"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_any_kind_is_a_400_with_one_short_line(server, name):
    answer = server.client.post(
        f"/v2/{MODEL}", content=BODIES[name], headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 2000
    assert answer.json()["error"].isprintable()
