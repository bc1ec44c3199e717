"""URLs and files of results: accepted, refused and retried ones."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
from pathlib import Path

import pytest
from faulty_server import Answer
from shades import make_clip, numbers_of

from liveportrait_v2v.media import Clip

pytestmark = pytest.mark.slow

SHAPES = {
    "string": lambda url: url,
    "list": lambda url: [url],
    "dict": lambda url: {"url": url},
    "dict of video_url": lambda url: {"video_url": url, "size": 3},
    "nested": lambda url: [{"video": {"url": url}}],
    "JSON string": lambda url: json.dumps([url]),
    "JSON dict string": lambda url: json.dumps({"url": url}),
    "spaces": lambda url: f"  {url}\n",
}


def completed(**values) -> Answer:
    return Answer(200, {"status": "COMPLETED", "request_id": "job-1", **values})


@pytest.mark.parametrize("shape", SHAPES)
def test_an_output_is_found_in_every_shape(bench, server, shape):
    server.always["result"] = completed(output=SHAPES[shape](server.result_url))
    assert bench.run().error is None
    assert (server.billed, bench.job.state) == (1, "SAVED")


def test_an_output_under_another_name_is_found(bench, server):
    server.always["result"] = completed(
        output=None, video={"url": server.result_url, "content_type": "video/mp4"}
    )
    assert bench.run().error is None


def test_a_data_uri_is_saved_and_not_kept_in_the_journal(bench, server):
    uri = f"data:video/mp4;base64,{base64.b64encode(server.video).decode()}"
    server.always["result"] = completed(output=uri)
    assert bench.run().error is None
    assert (bench.job.state, bench.job.url) == ("SAVED", None)
    Path(bench.job.file).unlink()
    assert bench.run().error is None
    assert server.count("submit") == 1


@pytest.mark.parametrize("uri", ["data:video/mp4;base64,####", "data:video/mp4,plain", "data:"])
def test_a_broken_data_uri_is_refused(bench, server, uri):
    server.always["result"] = completed(output=uri)
    assert "data URI" in bench.run().message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")


REFUSED = {
    "http": ("http://files.example/x.mp4", {"files.example": "93.184.216.34"}, "https"),
    "file": ("file:///etc/passwd", {}, "https"),
    "userinfo": ("https://me:secret@files.example/x.mp4", {"files.example": "93.184.216.34"}, "user name"),
    "127.1": ("https://127.1/x.mp4", {}, "four numbers"),
    "private": ("https://files.example/x", {"files.example": "10.0.0.8"}, "not a public address"),
    "v4-mapped": ("https://[::ffff:10.0.0.8]/x", {}, "not a public address"),
    "link-local": ("https://169.254.169.254/latest/meta-data", {}, "not a public address"),
    "unique local": ("https://files.example/x", {"files.example": "fd00::1"}, "not a public address"),
    "NAT64 of a private one": ("https://[64:ff9b::a00:8]/x", {}, "not a public address"),
    "loopback": ("https://localhost/x", {"localhost": "127.0.0.1"}, "not a public address"),
    "unknown name": ("https://files.example/x", {}, "no address"),
    "not a URL": ("https://[/x", {}, "URL"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_address_against_the_rules_is_refused_and_never_contacted(bench, server, name, monkeypatch):
    """Rules of Segmind's API, which is not on loopback, although requests go to the test's server."""
    url, addresses, message = REFUSED[name]
    _as_if_public(monkeypatch)
    server.always["result"] = completed(output=url)
    outcome = bench.run(resolver=lambda host, port: [addresses[host]] if host in addresses else [])
    assert message in outcome.message
    assert "paid and done" in outcome.message
    assert "orders" in outcome.message
    assert "secret" not in outcome.message
    assert (server.count("submit"), server.count("file"), bench.job.state) == (1, 0, "COMPLETED")


def _as_if_public(monkeypatch):
    """Apply the rules for an API on another machine to URLs of files."""
    from liveportrait_v2v.engines.segmind import http

    class Public(http.Http):
        async def __aenter__(self):
            pinned, http.PinnedTransport = (
                http.PinnedTransport,
                lambda **options: pinned(**{**options, **closed}),
            )
            try:
                return await super().__aenter__()
            finally:
                http.PinnedTransport = pinned

    closed = {"allow_loopback": False}
    monkeypatch.setattr("liveportrait_v2v.engines.segmind.engine.Http", Public)


def test_a_name_is_resolved_only_once_per_connection(bench, server):
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.8"]

    url = f"{server.files}/result.mp4".replace("127.0.0.1", "files.example")
    server.always["result"] = completed(output=url)
    assert bench.run(resolver=rebinding).error is None
    assert asked == ["files.example"]
    (got,) = [request for request in server.requests if request.path == "/result.mp4"]
    assert got.headers["host"].startswith("files.example")


def redirect(to: str) -> Answer:
    return Answer(302, b"", {"Location": to})


def test_three_redirects_are_followed_by_hand(bench, server):
    server.script["file"] = [redirect("/b"), redirect(f"{server.files}/c"), redirect("d")]
    assert bench.run().error is None
    assert [request.path for request in server.requests if request.origin == "files"] == [
        "/result.mp4",
        "/b",
        "/c",
        "/d",
    ]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([redirect(f"/{hop}") for hop in range(4)], "more than 3"),
        ([redirect("https://10.0.0.8/x")], "not a public address"),
        ([redirect("http://93.184.216.34/x")], "https"),
        ([redirect("ftp://files.example/x")], "https"),
        ([redirect("https://[/")], "URL"),
    ],
)
def test_a_redirect_against_the_rules_is_refused(bench, server, answers, message):
    server.script["file"] = answers
    outcome = bench.run()
    assert message in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")
    assert bench.run().error is None


def test_the_key_is_not_sent_where_a_file_redirects_to(bench, server):
    server.script["file"] = [redirect(f"{server.api}/steal")]
    bench.run()
    (request,) = [request for request in server.requests if request.path == "/steal"]
    assert "x-api-key" not in request.headers


def part(server, first: int, **options) -> Answer:
    total = len(server.video)
    place = {"Content-Range": f"bytes {first}-{total - 1}/{total}", "ETag": '"v1"'}
    options["headers"] = {**place, **options.get("headers", {})}
    return Answer(206, server.video[first:], **options)


FILES = {
    "truncated": lambda server: [Answer(200, server.video, {"ETag": '"v1"'}, cut=500)],
    "truncated twice": lambda server: [
        Answer(200, server.video, {"ETag": '"v1"'}, cut=500),
        part(server, 500, cut=100),
    ],
    "truncated without a tag": lambda server: [Answer(200, server.video, cut=500)],
    "truncated with a weak tag": lambda server: [Answer(200, server.video, {"ETag": 'W/"v1"'}, cut=500)],
    "range ignored": lambda server: [
        Answer(200, server.video, {"ETag": '"v1"'}, cut=500),
        Answer(200, server.video, {"ETag": '"v1"'}),
    ],
    "wrong range": lambda server: [Answer(200, server.video, {"ETag": '"v1"'}, cut=500), part(server, 400)],
    "range without a place": lambda server: [
        Answer(200, server.video, {"ETag": '"v1"'}, cut=500),
        part(server, 500, headers={"Content-Range": "bytes */*"}),
    ],
    "part that was not asked for": lambda server: [part(server, 0)],
    "changed tag": lambda server: [
        Answer(200, b"\0" * len(server.video), {"ETag": '"v0"'}, cut=500),
        part(server, 500, headers={"ETag": '"v1"'}),
    ],
    "changed, sent whole": lambda server: [Answer(200, b"\0" * len(server.video), {"ETag": '"v0"'}, cut=500)],
    "416": lambda server: [Answer(200, server.video, {"ETag": '"v1"'}, cut=500), Answer(416)],
    "slow head": lambda server: [Answer(200, server.video, drip_head=1.5)],
    "silent body": lambda server: [Answer(200, server.video, {"ETag": '"v1"'}, drip=1.5)],
    "storm": lambda server: [Answer(code) for code in (500, 502, 503, 429)],
    "reset": lambda server: [Answer(reset=True)],
    "octet-stream": lambda server: [Answer(200, server.video, {"Content-Type": "application/octet-stream"})],
    "identity": lambda server: [Answer(200, server.video, {"Content-Encoding": "identity"})],
}


@pytest.mark.parametrize("name", FILES)
def test_a_download_is_resumed_until_the_file_is_complete(bench, server, name):
    server.script["file"] = FILES[name](server)
    outcome = bench.run()
    assert outcome.error is None, outcome.error
    assert Path(bench.job.file).read_bytes() == server.video
    assert (server.billed, bench.job.state) == (1, "SAVED")
    assert len(os.listdir(Path(bench.job.file).parent)) == 1


def test_an_interrupted_download_requests_only_the_rest(bench, server):
    server.script["file"] = [Answer(200, server.video, {"ETag": '"v1"'}, cut=500)]
    assert bench.run().error is None
    first, second = [request for request in server.requests if request.path == "/result.mp4"]
    assert "range" not in first.headers
    assert first.headers["accept-encoding"] == "identity"
    assert (second.headers["range"], second.headers["if-range"]) == ("bytes=500-", '"v1"')


@pytest.mark.parametrize("tag", [{}, {"ETag": 'W/"v1"'}])
def test_a_download_without_a_strong_etag_starts_over(bench, server, tag):
    server.script["file"] = [Answer(200, server.video, tag, cut=500)]
    assert bench.run().error is None
    assert not [request for request in server.requests if "range" in request.headers]


BAD_FILES = {
    "compressed": (Answer(200, b"\x1f\x8b" * 99, {"Content-Encoding": "gzip"}), "compressed"),
    "bomb": (Answer(200, b"BZh9" * 99, {"Content-Encoding": "br, gzip"}), "compressed"),
    "HTML": (Answer(200, b"<html><h1>Sorry</h1> no file</html>"), 'not a video.*begins "Sorry no file"'),
    "zero bytes": (Answer(200, b""), "not a video.*empty"),
    "undecodable": (Answer(200, os.urandom(4000)), "not a video"),
    "too large by its head": (Answer(200, b"x", {"Content-Length": str(1 << 40)}), "larger than the limit"),
    "never whole": (Answer(200, b"x" * 1000, cut=10), "broke off 6 times"),
    "teapot": (Answer(418), "HTTP 418"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_reported_and_the_job_kept_for_the_next_run(bench, server, name):
    server.always["file"], message = BAD_FILES[name]
    outcome = bench.run()
    assert re.search(message, outcome.message), outcome.message
    assert "job-1 is paid and done" in outcome.message
    assert "orders anything" in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")
    assert not bench.output.exists()
    assert os.listdir(bench.folder / "data" / "results") == []
    del server.always["file"]
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


def test_a_body_past_the_limit_is_cut_off(bench, server, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.engines.segmind.download.download.__defaults__", (1000,))
    server.always["file"] = Answer(200, b"x" * 100_000, {"Content-Length": None})
    outcome = bench.run()
    assert "larger than the limit" in outcome.message
    assert bench.job.state == "COMPLETED"


def test_a_picture_is_not_a_video(bench, server, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    server.always["file"] = Answer(200, (tmp_path / "a.png").read_bytes())
    assert "it is a picture" in bench.run().message


@pytest.mark.parametrize("code", [403, 404])
def test_a_file_that_moved_is_found_again(bench, server, code):
    server.script["file"] = [Answer(code)]
    server.script["result"] = [
        completed(output=f"{server.files}/old.mp4"),
        completed(output=server.result_url),
    ]
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


@pytest.mark.parametrize("code", [403, 404])
def test_a_file_that_is_gone_is_reported_and_not_ordered_again(bench, server, code):
    server.always["file"] = Answer(code)
    outcome = bench.run()
    assert "gone" in outcome.message
    assert f"HTTP {code}" in outcome.message
    assert "gone" in bench.run().message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")


def test_a_trickle_ends_at_the_deadline(bench, server):
    def pass_most_time() -> None:
        bench.clock.passed += 895

    server.script["status"] = [Answer(200, {"status": "COMPLETED"})]
    server.always["result"] = Answer(200, server.done(), do=pass_most_time)
    server.always["file"] = Answer(200, server.video, {"ETag": '"v1"'}, drip=0.05)
    outcome = bench.run()
    assert "no result after" in outcome.message
    assert "paid and done" in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")


def test_a_full_disk_keeps_the_job(bench, server, monkeypatch):
    def full(file) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.engine().journal().close()
    monkeypatch.setattr(os, "fsync", full)
    outcome = bench.run()
    assert "No space left" in outcome.message
    assert "job-1 is paid and done" in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")
    monkeypatch.undo()
    os.environ["SEGMIND_API_KEY"] = bench.key
    try:
        assert bench.run().error is None
    finally:
        del os.environ["SEGMIND_API_KEY"]
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


def test_a_folder_of_results_that_can_not_be_written_keeps_the_job(bench, server):
    bench.engine().journal().close()
    results = bench.folder / "data" / "results"
    results.write_text("a file in the place of the folder")
    outcome = bench.run()
    assert "can't be written" in outcome.message
    assert str(results) in outcome.message
    assert "job-1 is paid and done" in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "COMPLETED")
    results.unlink()
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


def test_an_output_that_can_not_be_written_is_refused_before_anything_is_sent(bench, server):
    outcome = bench.run(given={"output": bench.folder / "nowhere" / "out.mp4"})
    assert "there is no directory" in outcome.message
    assert server.requests == []


def test_a_result_deleted_locally_is_fetched_again(bench, server):
    assert bench.run().error is None
    Path(bench.job.file).write_bytes(b"damaged")
    assert bench.run().error is None
    assert (server.count("submit"), server.count("file"), bench.job.state) == (1, 2, "SAVED")


@pytest.mark.parametrize(("frames", "note"), [(4, "2 frames short"), (9, "3 frames longer"), (6, None)])
def test_a_result_of_another_length_is_brought_to_the_right_one_and_reported(
    bench, server, tmp_path, frames, note
):
    made = make_clip(tmp_path / "made.mp4", frames=frames, shade=100)
    server.video = made.read_bytes()
    outcome = bench.run()
    assert numbers_of(Clip(bench.output), 100) == [min(number, frames - 1) for number in range(6)]
    assert [note in message for message in outcome.result.notes] == [True] * bool(note)


def test_a_result_of_another_size_and_rate_is_brought_to_the_sources(bench, server, tmp_path):
    server.video = make_clip(tmp_path / "made.mp4", frames=12, rate=50, size=(128, 96)).read_bytes()
    outcome = bench.run()
    info = Clip(bench.output).info
    assert (info.width, info.height, info.frame_count, info.rate) == (64, 48, 6, 25)
    assert numbers_of(Clip(bench.output)) == [0, 2, 4, 6, 8, 10]
    assert len(outcome.result.notes) == 2
