"""The live page's server: whom it admits, and what it does with what comes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
import torch
from live_session import Engine, Live, Page, jpeg, run, source
from made_networks import MadeNetworks
from PIL import Image

from liveportrait_v2v import Clip, create_engine
from liveportrait_v2v.cli import main
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.live import app as live_app
from liveportrait_v2v.live.app import FROM_PAGE, PAGE, TAKEN, TAKEN_TEXT
from liveportrait_v2v.live.camera import MAX_PICTURE_BYTES
from liveportrait_v2v.live.config import LiveConfig
from liveportrait_v2v.templates import read_template

KEY = "SG_0123456789abcdef"
FILES = Path(live_app.__file__).parent / "page"


def test_the_page_and_its_parts_are_served_and_may_load_nothing_from_elsewhere():
    async def work(server: Live):
        for name, (_, kind) in PAGE.items():
            answer = await server.client.get(f"/{name}")
            assert (answer.status, answer.content_type) == (200, kind)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"

    run(work)


def test_every_file_of_the_page_is_served_and_names_no_other_host():
    assert {file for file, _ in PAGE.values()} == {path.name for path in FILES.iterdir()}
    for path in FILES.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://\w", text), path.name
        assert "eval(" not in text
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../config.py", "/%2e%2e/app.py", "/page/live.js", "/app.py"]
)
def test_nothing_else_is_served(path):
    async def work(server: Live):
        assert (await server.client.get(path)).status == 404

    run(work)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8190", "[", "a b", ""]
)
def test_a_request_under_another_name_is_refused(host):
    async def work(server: Live):
        for path in ("/", "/live.js", "/live"):
            answer = await server.client.get(path, headers={**server.origin, "Host": host})
            assert answer.status in (400, 403)  # aiohttp itself refuses what is no name at all

    run(work)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "https://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost",
        "file://",
    ],
)
def test_pages_of_other_origins_get_neither_a_session_nor_an_upload(origin):
    async def work(server: Live):
        headers = {} if origin is None else {"Origin": origin}
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        for answer in (
            await server.client.get("/live", headers=headers | upgrade),
            await server.client.post("/source", headers=headers, data=b"x"),
        ):
            assert answer.status == 403
            assert "only the page of this server" in (await answer.json())["error"]
        assert (await server.page()) is not None

    run(work)


def test_a_page_is_told_what_the_engine_offers_and_what_the_source_is():
    async def work(server: Live):
        page = await server.silent_page()
        await page.say(controls={})
        hello = await page.next("hello")
        assert hello["engine"] == "recorder"
        assert hello["source"]["faces"] == 2
        assert (hello["source"]["width"], hello["source"]["still"]) == (200, True)
        assert hello["parameters"]["driving_multiplier"]["high"] == 3
        assert hello["channels"]["smile"]["high"] == 1.3

    run(work, looped=source(faces=2))


def test_the_source_is_shown_before_the_camera_moves_it():
    async def work(server: Live):
        page = await server.page()
        shown = await page.next("source")
        assert Image.open(io.BytesIO(shown["picture"])).size == (200, 200)

    run(work)


@pytest.mark.parametrize(
    "first",
    [
        b"\0" * 40,
        "no JSON",
        "[]",
        "[" * 10_000,
        json.dumps({"controls": {"region": "nose"}}),
        json.dumps({"controls": {"x" * 70_000: 1}}),
    ],
)
def test_a_page_that_begins_with_anything_but_hello_is_sent_away(first):
    async def work(server: Live):
        page = await server.silent_page()
        await (page.socket.send_bytes(first) if isinstance(first, bytes) else page.socket.send_str(first))
        assert (await page.next("refused"))["text"]
        assert (await page.socket.receive(10)).data == live_app.REFUSED
        await server.page()

    run(work)


def test_a_page_that_says_nothing_is_sent_away():
    async def work(server: Live):
        page = await server.silent_page()
        assert "hello" in (await page.next("refused"))["text"]

    run(work, request_seconds=0.2)


def test_a_picture_is_answered_with_the_result_under_its_number():
    async def work(server: Live):
        page = await server.page()
        await page.show(jpeg(), 77)
        answer = await page.next("answer")
        assert answer["number"] == 77
        assert Image.open(io.BytesIO(answer["picture"])).size == (200, 200)

    run(work)


class Slow(Engine):
    """An engine that finds points only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.tracked: list[int] = []

    def add_points(self, chunk):
        self.tracked.append(chunk.index)
        while not self.may.is_set():
            pass
        return chunk


def test_of_pictures_that_come_faster_than_they_are_drawn_the_newest_wins():
    engine = Slow()

    async def work(server: Live):
        page = await server.page()
        await page.show(jpeg(), 1)
        while not engine.tracked:
            await asyncio.sleep(0.01)
        for number in range(2, 12):
            await page.show(jpeg(), number)
        while server.app._page.worker.camera.received < 11:
            await asyncio.sleep(0.01)
        engine.may.set()
        while (answer := await page.next("answer"))["number"] == 1:
            pass
        assert answer["number"] == 11
        assert engine.tracked == [1, 11]
        assert (await page.next("facts"))["dropped"] >= 9

    run(work, engine=engine)


def test_a_page_is_asked_for_picture_after_picture_and_never_for_more_than_two_that_it_has_not_sent():
    async def work(server: Live):
        page = await server.page()
        for number in range(1, 6):
            await page.next("want")
            await page.show(jpeg(), number)
        while (await page.next("answer"))["number"] < 5:
            pass  # the newest is answered, whatever was left out before it
        worker = server.app._page.worker
        assert worker.camera.received == 5
        await asyncio.sleep(0.2)
        assert worker._asked in (6, 7)  # the second where the first ones were slow

    run(work)


class Drawing(Engine):
    """An engine that draws for a while."""

    SECONDS = 0.3

    def render(self, *values, **kind):
        time.sleep(self.SECONDS)
        return super().render(*values, **kind)


def test_a_picture_is_asked_for_so_late_that_it_hardly_waits_and_so_early_that_drawing_does_not():
    async def work(server: Live):
        page = await server.page()
        await page.say(neutral=True)
        seconds, times, shown = [], [], 0
        while len(times) < 8:
            message = await page.next("want", "answer")
            if message["type"] == "want":
                shown += 1
                await page.show(face, shown)
            else:
                seconds.append(message["seconds"])
                times.append(time.monotonic())
        assert median(seconds[3:]) < 1.5 * Drawing.SECONDS
        assert median(b - a for a, b in pairwise(times[3:])) < 1.3 * Drawing.SECONDS

    face = picture_of("examples/example_picture.jpg")
    run(work, engine=Drawing())


def test_a_picture_that_is_none_is_counted_and_the_session_goes_on():
    async def work(server: Live):
        page = await server.page()
        await page.next("want")
        await page.show(b"\xff\xd8garbage", 1)
        await page.next("want")
        while (await page.next("facts"))["damaged"] != 1:
            pass
        await page.show(jpeg(), 2)
        assert (await page.next("answer"))["number"] == 2

    run(work)


def test_a_picture_above_the_limit_ends_the_connection():
    async def work(server: Live):
        page = await server.page()
        await page.show(bytes(MAX_PICTURE_BYTES), 1)
        message = await page.socket.receive(30)
        while message.type.name in ("TEXT", "BINARY"):
            message = await page.socket.receive(30)
        assert page.socket.close_code == 1009
        await server.page()

    run(work)


@pytest.mark.parametrize("message", [b"", b"\1\2", "{}", "7", json.dumps({"path": "/etc/passwd"})])
def test_a_message_that_no_page_of_ours_sends_ends_the_session(message):
    async def work(server: Live):
        page = await server.page()
        await (
            page.socket.send_bytes(message) if isinstance(message, bytes) else page.socket.send_str(message)
        )
        assert (await page.next("refused"))["code"] == live_app.REFUSED
        await server.page()

    run(work)


def test_a_flood_of_messages_ends_the_session():
    async def work(server: Live):
        page = await server.page()
        for number in range(200):
            await page.show(b"", number + 1)
        assert "at most 20 messages a second" in (await page.next("refused"))["text"]

    run(work, messages_a_second=20)


def test_controls_out_of_range_are_an_error_that_the_page_shows_and_the_session_goes_on():
    async def work(server: Live):
        page = await server.page()
        await page.say(controls={"driving_multiplier": 99})
        assert "from 0 to 3, got 99" in (await page.next("error"))["text"]
        await page.show(jpeg(), 3)
        assert (await page.next("answer"))["number"] == 3

    run(work)


def test_a_second_page_is_told_that_the_engine_is_taken_and_gets_it_when_the_first_is_gone():
    async def work(server: Live):
        first, second = await server.page(), await server.silent_page()
        await second.say(controls={})
        refused = await second.next("refused")
        assert (refused["code"], refused["text"]) == (TAKEN, TAKEN_TEXT)
        assert (await second.socket.receive(10)).data == TAKEN
        await first.show(jpeg(), 1)
        assert (await first.next("answer"))["number"] == 1
        await first.socket.close()
        await server.page()

    run(work)


class Broken(Engine):
    """An engine that fails on every second frame."""

    def add_points(self, chunk):
        if chunk.index % 2:
            raise RuntimeError("out of paint")
        return chunk


def test_a_session_that_fails_ends_with_a_sentence_and_another_one_can_begin(caplog):
    async def work(server: Live):
        page = await server.page()
        await page.show(jpeg(), 1)
        refused = await page.next("refused")
        assert (refused["code"], "log has more" in refused["text"]) == (live_app.FAILED, True)
        again = await server.page()
        await again.show(jpeg(), 2)
        assert (await again.next("answer"))["number"] == 2

    run(work, engine=Broken())
    assert "out of paint" in caplog.text


def test_a_server_that_ends_says_so_to_its_page():
    async def work(server: Live):
        page = await server.page()
        await server.app.close()
        message = await page.socket.receive(10)
        while message.type.name in ("TEXT", "BINARY"):
            message = await page.socket.receive(10)
        assert page.socket.close_code == 1001

    run(work)


def picture_of(path: str | os.PathLike[str]) -> bytes:
    return Path(path).read_bytes()


def test_another_source_takes_the_place_of_the_first_one():
    async def work(server: Live):
        page = await server.page()
        data = picture_of("examples/example_picture.jpg")
        answer = await server.client.post("/source?name=me.jpg", headers=server.origin, data=data)
        assert answer.status == 200, await answer.text()
        described = (await answer.json())["source"]
        assert (described["name"], described["faces"]) == ("me.jpg", 1)
        await page.show(jpeg(), 1)
        picture = Image.open(io.BytesIO((await page.next("answer"))["picture"]))
        assert picture.size == (described["width"], described["height"])

    run(work, engine=create_engine("draft"))


def blank() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 300), "gray").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "told"),
    [
        (blank(), 400, "no face was found"),
        (b"", 400, "empty"),
        (b"#!/bin/sh\n" * 50, 400, "not a video or picture"),
        (bytes(3 << 20), 413, "at most 2 MiB"),
    ],
)
def test_a_source_that_cannot_be_taken_is_refused_with_the_reason_and_the_first_one_stays(data, status, told):
    async def work(server: Live):
        before = server.app._source
        answer = await server.client.post("/source?name=x", headers=server.origin, data=data)
        assert (answer.status, told in (await answer.json())["error"]) == (status, True)

        async def pieces():
            for start in range(0, len(data), 1 << 16):
                yield data[start : start + (1 << 16)]

        answer = await server.client.post("/source?name=x", headers=server.origin, data=pieces())
        assert answer.status == status
        assert server.app._source is before

    run(work, engine=create_engine("draft"), upload_bytes=2 << 20)


@pytest.mark.parametrize("name", ["draft", "liveportrait"])
def test_a_recording_of_the_camera_becomes_a_motion_template_of_the_engine(tmp_path, name):
    async def work(server: Live):
        await server.page()
        data = picture_of("examples/example_driving.mp4")
        answer = await server.client.post("/template", headers=server.origin, data=data)
        assert answer.status == 200, await answer.text()
        (tmp_path / "live.safetensors").write_bytes(await answer.read())

    run(work, engine=create_engine("draft") if name == "draft" else LivePortraitEngine(MadeNetworks()))
    template = read_template(tmp_path / "live.safetensors")
    assert template.engine == name
    assert len(template) == Clip("examples/example_driving.mp4").info.frame_count
    assert template.present.all()


def test_with_a_key_a_page_without_it_gets_nothing_but_the_page():
    async def work(server: Live):
        assert (await server.client.get("/")).status == 200
        page = await server.silent_page()
        await page.say(controls={}, key="wrong")
        assert "key is missing or wrong" in (await page.next("refused"))["text"]
        for headers in ({}, {"x-api-key": "wrong"}):
            answer = await server.client.post("/source", headers=server.origin | headers, data=b"x")
            assert answer.status == 401
        await server.page(key=KEY)

    run(work, key=KEY, public_url="https://gpu.example.org")


def test_behind_a_proxy_the_page_is_known_by_its_public_name():
    async def work(server: Live):
        public = {"Host": "gpu.example.org", "Origin": "https://gpu.example.org"}
        assert (await server.client.get("/", headers=public)).status == 200
        socket = await server.client.ws_connect("/live", headers=public)
        page = Page(socket)
        await page.say(controls={}, key=KEY)
        await page.next("hello")
        foreign = {"Host": "gpu.example.org", "Origin": "http://gpu.example.org"}
        assert (await server.client.post("/source", headers=foreign, data=b"x")).status in (401, 403)

    run(work, key=KEY, public_url="https://gpu.example.org")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"host": "0.0.0.0"}, "needs a key and TLS"),
        ({"host": "0.0.0.0", "key": KEY}, "--public-url https://HOST"),
        ({"public_url": "https://gpu.example.org"}, "give --api-key-file"),
        ({"public_url": "http://gpu.example.org", "key": KEY}, "must be https://HOST"),
        ({"port": 70000}, "--port must be from 0 to 65535"),
    ],
)
def test_a_server_that_others_could_reach_without_a_key_or_tls_does_not_start(kind, told):
    with pytest.raises(SettingsError, match=re.escape(told)):
        LiveConfig(**kind)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing.jpg"], "nothing.jpg: no such file"),
        (["examples/example_picture.jpg", "--host", "0.0.0.0"], "needs a key and TLS"),
        (["examples/example_picture.jpg", "--model", "animals"], "--model needs --engine liveportrait"),
    ],
)
def test_the_command_refuses_what_cannot_work_with_one_line(words, told, capsys):
    assert main(["live", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


_watched: list[str] | None = None


def _watch(event: str, values: tuple) -> None:
    if _watched is not None and event == "open" and isinstance(values[2], int):
        writes = values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(values[0]) != os.devnull:
            _watched.append(str(values[0]))


def test_a_session_writes_no_file():
    global _watched
    sys.addaudithook(_watch)
    _watched = []

    async def work(server: Live):
        page = await server.page()
        for number in range(1, 4):
            await page.show(jpeg(40 * number), number)
            await page.next("answer")
        data = picture_of("examples/example_picture.jpg")
        assert (await server.client.post("/source", headers=server.origin, data=data)).status == 200

    try:
        run(work)
        assert _watched == []
        (Path(os.devnull).parent / "null").open("w").close()
    finally:
        _watched = None


def test_a_message_holds_a_number_of_four_bytes_before_the_picture():
    assert FROM_PAGE.pack(258) == b"\x02\x01\0\0"
    assert live_app.TO_PAGE.size == 8


def test_a_frame_that_shows_no_face_says_so():
    async def work(server: Live):
        page = await server.page()
        await page.show(jpeg(), 1)
        assert not (await page.next("answer"))["flags"] & live_app.FOUND

    run(work)


@pytest.mark.slow
def test_a_face_is_found_lost_and_found_again(clips):
    from liveportrait_v2v.live.camera import encoded

    chunk = next(iter(Clip(clips["single_face"]).chunks(1)))
    face, nobody = encoded(chunk.frames[0], 90), encoded(torch.zeros(360, 640, 3, dtype=torch.uint8), 90)

    async def work(server: Live):
        page, flags = await server.page(), []
        await page.say(neutral=True)
        for number, picture in enumerate((face, nobody, nobody, face), 1):
            await page.show(picture, number)
            flags.append((await page.next("answer"))["flags"])
        assert [bool(flag & live_app.FOUND) for flag in flags] == [True, False, False, True]
        assert all(flag & live_app.NEUTRAL for flag in flags)

    run(work)
