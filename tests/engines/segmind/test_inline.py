"""Results as base64 text: found in an answer of any shape, decoded as it arrives, checked like files."""

from __future__ import annotations

import base64
import io
import json
import secrets
from pathlib import Path

import pytest
from faulty_server import Answer

from liveportrait_v2v.engines.segmind import client, download
from liveportrait_v2v.engines.segmind.errors import VideoDownloadError
from liveportrait_v2v.engines.segmind.inline import MARK, InlineVideo
from liveportrait_v2v.settings import AnimationSettings

VIDEO = secrets.token_bytes(2000) + b"\xff\xff\xff"
TEXT = base64.b64encode(VIDEO).decode()


def split(body: bytes, piece: int = 1 << 16, limit: int = 1 << 20, **options) -> tuple[bytes, bytes]:
    file = io.BytesIO()
    inline = InlineVideo(file, limit, **options)
    rest = b"".join(inline.feed(body[at : at + piece]) for at in range(0, len(body), piece))
    rest += inline.close()
    return file.getvalue(), rest


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 511, 513, 1 << 16])
@pytest.mark.parametrize("length", [2000, 2001, 2002])
@pytest.mark.parametrize("head", ["", "data:video/mp4;base64,"])
def test_a_video_is_taken_out_of_an_answer_however_it_is_cut(piece, length, head):
    text = base64.b64encode(VIDEO[:length]).decode()
    body = {
        "status": "COMPLETED",
        'odd "\\name': 'an "odd\\" text',
        "output": [{"video": head + text}],
        "n": 1,
    }
    video, rest = split(json.dumps(body).replace("/", "\\/").encode(), piece)
    assert video == VIDEO[:length]
    assert json.loads(rest) == {**body, "output": [{"video": MARK}]}


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_bare_text_is_a_video_too(piece):
    assert split(f"\n{TEXT[:760]}\r\n{TEXT[760:]}\n".encode(), piece, bare=True) == (VIDEO, MARK.encode())


@pytest.mark.parametrize(
    "text", ["https://x.example/" + "a" * 2000, "why " * 500, "AAAA" * 100, "a_b-" * 500, "data:" + "x" * 600]
)
@pytest.mark.parametrize("piece", [1, 1 << 16])
def test_what_is_no_video_stays(text, piece):
    body = json.dumps({"output": text}).encode()
    assert split(body, piece) == (b"", body)


def test_a_message_is_no_video():
    body = json.dumps({"error": TEXT, "detail": [{"msg": TEXT}], "output": "x"}).encode()
    assert split(body, 7) == (b"", body)


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "=A" * 4,
        TEXT[:-1] + "#",
        TEXT[:-1],
        TEXT[:1000] + "====" + TEXT[1000:],
        TEXT[:1000] + "\\u0041",
    ],
)
def test_a_text_that_is_not_base64_to_its_end_is_refused(text):
    with pytest.raises(VideoDownloadError, match="base64"):
        split(f'{{"output": "{text}"}}'.encode(), 100)


def test_a_video_above_the_limit_is_refused_before_its_end():
    inline = InlineVideo(io.BytesIO(), 3000)
    inline.feed(b'{"output": "')
    with pytest.raises(VideoDownloadError, match="larger than the limit"):
        for _ in range(10):
            inline.feed(b"A" * 1000)


def test_a_video_that_breaks_off_is_refused():
    with pytest.raises(VideoDownloadError, match="breaks off"):
        split(b'{"output": "' + TEXT.encode()[:1000])


AS_TEXT = {"settings": AnimationSettings(base64=True)}


def result(server, **values) -> Answer:
    text = base64.b64encode(server.video).decode()
    return Answer(200, server.done(**{"output": text, **values}))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["", "data:video/mp4;base64,"])
def test_a_result_as_text_is_the_file_and_no_host_is_asked(bench, server, head):
    server.always["result"] = result(server, output=head + base64.b64encode(server.video).decode())
    outcome = bench.run(given=AS_TEXT)
    assert outcome.error is None
    assert server.jobs["job-1"]["base64"] is True
    assert Path(bench.job.file).read_bytes() == server.video
    assert server.count("file") == 0
    assert bench.job.url is None


@pytest.mark.slow
def test_a_result_as_text_and_as_a_file_are_one_job(bench, server):
    assert bench.run(given=AS_TEXT).error is None
    assert bench.run().error is None
    assert server.billed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("application/json", '{"output": "TEXT"}'),
        ("application/json", '{"video": {"data": "data:video/mp4;base64,TEXT"}}'),
        ("text/plain", "TEXT"),
    ],
)
def test_v1_takes_a_result_as_text(bench, server, kind, form):
    body = form.replace("TEXT", base64.b64encode(server.video).decode()).encode()
    server.script["v1"] = [Answer(200, body, {"Content-Type": kind, "x-request-id": "job-1"}, billed=True)]
    assert bench.run(given=AS_TEXT, version="v1").error is None
    assert Path(bench.job.file).read_bytes() == server.video
    assert server.count("file") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (base64.b64encode(b"no video" * 100).decode(), "not a video"),
        ("A" * 1001, "base64"),
        ("A" * 200_000, "limit"),
    ],
)
def test_a_text_that_is_no_video_is_reported_and_the_job_fetched_later(
    bench, server, monkeypatch, text, message
):
    monkeypatch.setattr(client, "MAX_BYTES", 100_000)
    server.always["result"] = result(server, output=text)
    outcome = bench.run(given=AS_TEXT)
    assert "paid and done" in outcome.message
    assert message in outcome.message
    assert list((bench.folder / "data" / "results").iterdir()) == []
    server.always["result"] = result(server)
    assert bench.run(given=AS_TEXT).error is None
    assert server.billed == 1


@pytest.mark.slow
def test_a_stopped_run_picks_a_result_as_text_up(bench, server, monkeypatch):
    server.always["result"] = result(server)

    async def failing(part):
        raise OSError(28, "No space left on device", str(part.path))

    kept = download.keep_inline
    monkeypatch.setattr("liveportrait_v2v.engines.segmind.job.keep_inline", failing)
    assert "is paid and done" in bench.run(given=AS_TEXT).message
    monkeypatch.setattr("liveportrait_v2v.engines.segmind.job.keep_inline", kept)
    assert bench.run(given=AS_TEXT).error is None
    assert server.billed == 1
