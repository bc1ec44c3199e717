"""Uploads of clips: streaming, reuse and faults."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_server import Answer
from shades import make_clip

from liveportrait_v2v.engines.segmind import upload


def test_a_clip_that_is_still_available_is_not_uploaded_again(bench, server):
    assert bench.run().error is None
    assert bench.run(seed=1).error is None
    assert (len(server.uploads), server.count("check"), server.billed) == (2, 2, 2)
    first, second = server.jobs.values()
    assert first["input_video"] == second["input_video"]


def test_an_uploaded_clip_that_has_gone_is_uploaded_again(bench, server):
    assert bench.run().error is None
    del server.uploads["/upload-1.mp4"]
    server.uploads["/upload-x.mp4"] = b""
    assert bench.run(seed=1).error is None
    assert server.count("upload") == 3


def test_an_upload_of_yesterday_is_not_counted_on(bench, server):
    assert bench.run().error is None
    bench.clock.jump += upload.KEPT_SECONDS
    assert bench.run(seed=1).error is None
    assert (server.count("upload"), server.count("check")) == (4, 0)


RECOVERED = {
    "reset in the body": Answer(reset=True),
    "silence": Answer(silent=True),
    "502": Answer(502, b"<h1>Bad gateway</h1>"),
    "429": Answer(429, headers={"Retry-After": "3"}),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_an_upload_that_breaks_is_tried_again(bench, server, name):
    server.script["upload"] = [RECOVERED[name]]
    assert bench.run().error is None
    assert (server.billed, bench.job.state) == (1, "SAVED")


REFUSED = {
    "413": (Answer(413, {"error": "too big"}), 'HTTP 413: "too big"; the clips are too large'),
    "401": (Answer(401, {"error": "who?"}), "who?.*SEGMIND_API_KEY"),
    "no URLs": (Answer(200, {"file_urls": [], "message": "partly"}), "without the URL.*partly"),
    "null": (Answer(200, {"file_urls": None}), "without the URL"),
    "two for one": (
        Answer(200, {"file_urls": ["https://a.example/1", "https://a.example/2"]}),
        "without the URL",
    ),
    "no text": (Answer(200, {"urls": [17]}), "without the URL"),
    "not a URL": (Answer(200, {"urls": ["ok"]}), "without the URL"),
    "HTML": (Answer(200, b"<html><p>Login</p></html>"), "without the URL.*Login"),
    "redirect": (Answer(307, b"", {"Location": "/elsewhere"}), "redirects"),
    "storm": (Answer(503, b"busy"), "no answer in 3 tries .HTTP 503 busy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_failed_upload_orders_nothing_and_gives_the_reason(bench, server, name):
    server.always["upload"], message = REFUSED[name]
    outcome = bench.run()
    assert re.search(message, outcome.message), outcome.message
    assert (server.count("submit"), server.billed, bench.job.state) == (0, 0, "FAILED")
    del server.always["upload"]
    assert bench.run().error is None


@pytest.mark.parametrize("name", ["urls", "file_urls"])
def test_both_shapes_of_an_uploads_answer_are_understood(bench, server, name):
    server.script["upload"] = [Answer(200, {name: [f"{server.files}/upload-{k}.mp4"]}) for k in (1, 2)]
    assert bench.run().error is None
    assert server.jobs["job-1"]["driving_video"] == f"{server.files}/upload-2.mp4"


@pytest.mark.parametrize("size", [0, 1, 2, 3, (3 << 18) - 1, 3 << 18, (3 << 18) + 1])
def test_what_is_streamed_is_the_file_in_base64_and_as_long_as_announced(tmp_path, size):
    import asyncio

    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(size))

    async def whole() -> bytes:
        return b"".join([block async for block in upload._body(path)])

    sent = asyncio.run(whole())
    assert len(sent) == len(upload._HEAD) + (size + 2) // 3 * 4 + len(upload._TAIL)
    (data,) = json.loads(sent)["data_urls"]
    assert base64.b64decode(data.removeprefix("data:video/mp4;base64,"), validate=True) == path.read_bytes()


MEASURE = r"""
import asyncio, re, sys
from pathlib import Path
from liveportrait_v2v.engines.segmind import upload
async def all_of(path):
    return sum([len(block) async for block in upload._body(path)])
def peak():  # kB; ru_maxrss would start from the memory of the parent process
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
small, large = map(Path, sys.argv[1:])
asyncio.run(all_of(small))
before = peak()
total = asyncio.run(all_of(large))
print(peak() - before, total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_clip(tmp_path):
    for name, size in (("small", 4 << 20), ("large", 256 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    command = [sys.executable, "-c", MEASURE, tmp_path / "small", tmp_path / "large"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    grown, total = map(
        int, subprocess.run(command, env=environment, capture_output=True, check=True).stdout.split()
    )
    assert total > 256 << 20
    assert grown < 16 << 10


def test_a_clip_above_the_limit_is_refused(bench, server, monkeypatch):
    monkeypatch.setattr(upload, "MAX_BYTES", 100)
    outcome = bench.run(given={"source": make_clip(bench.folder / "big.mp4", 6, shade=3)})
    assert "MB are uploaded" in outcome.message
    assert server.requests == []
