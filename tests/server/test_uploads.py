"""Uploads in JSON, in any split of the bytes."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from liveportrait_v2v.server.uploads import BadUpload, TooLarge, save_data_urls


class Pieces:
    def __init__(self, data: bytes, size: int):
        self._pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class Kept:
    """Upload in memory."""

    def __init__(self) -> None:
        self.clips: list[tuple[bytes, str]] = []

    async def begin(self, suffix: str) -> None:
        self.clips.append((b"", suffix))

    async def write(self, data: bytes) -> None:
        before, suffix = self.clips[-1]
        self.clips[-1] = before + data, suffix


def save(body: bytes, *, piece: int = 1 << 16, limit: int = 1000) -> list[tuple[bytes, str]]:
    upload = Kept()
    asyncio.run(save_data_urls(Pieces(body, piece), upload, limit))
    return upload.clips


def url(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1 << 16])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 100])
def test_clips_come_out_however_the_body_is_cut(piece, length):
    clips = [bytes(range(length)), bytes(range(100, 100 + length))]
    body = json.dumps({"data_urls": [url(clips[0]), url(clips[1], "image/png")]}).encode()
    assert save(body, piece=piece) == [(clips[0], ".mp4"), (clips[1], ".png")]


@pytest.mark.parametrize("piece", [1, 5, 1 << 16])
def test_slashes_may_be_escaped_and_white_space_is_allowed(piece):
    data = b"\xff" * 60
    text = url(data).replace("/", "\\/")
    body = f' \n{{ "data_urls" :\t[ "{text}" ]\r\n}} \n'.encode()
    assert save(body, piece=piece) == [(data, ".mp4")]


def test_a_media_type_may_have_parameters():
    text = url(b"clip").replace("video/mp4", "video/WebM;codecs=vp9")
    assert save(json.dumps({"data_urls": [text]}).encode()) == [(b"clip", ".webm")]


GOOD = url(b"clip")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"data_urls": []}',
        b'{"data_urls": "x"}',
        b'{"data_urls": [1]}',
        b'{"data_urls": [null]}',
        b'{"other": ["' + GOOD.encode() + b'"]}',
        b'{"data_urls": ["' + GOOD.encode() + b'"]',
        b'{"data_urls": ["' + GOOD.encode() + b'"], "more": 1}',
        b'{"data_urls": ["' + GOOD.encode() + b'"]} {}',
        b'{"data_urls": ["' + GOOD.encode() + b'" "' + GOOD.encode() + b'"]}',
        b'{"data_urls": ["' + GOOD.encode(),
        b'{"data_urls": ["data:video/mp4;base64,"]}',
        b'{"data_urls": ["data:video/mp4;base64,Y2xpcA="]}',
        b'{"data_urls": ["data:video/mp4;base64,Y2xp\\ncA=="]}',
        b'{"data_urls": ["data:video/mp4;base64,Y2x_cA=="]}',
        b'{"data_urls": ["data:video/mp4;base64,Y2xpcA==Y2xpcA=="]}',
        b'{"data_urls": ["data:video/mp4,clip"]}',
        b'{"data_urls": ["data:text/html;base64,Y2xpcA=="]}',
        b'{"data_urls": ["data:image/svg+xml;base64,Y2xpcA=="]}',
        b'{"data_urls": ["data:' + b"a" * 10_000 + b'"]}',
        b'{"data_urls": ["https://clips.example/a.mp4"]}',
        b'{"' + b"a" * 10_000,
    ],
)
@pytest.mark.parametrize("piece", [1, 13, 1 << 16])
def test_a_malformed_upload_is_refused(body, piece):
    with pytest.raises(BadUpload):
        save(body, piece=piece)


def test_a_clip_of_the_limit_is_taken_and_one_above_it_is_not():
    for length in (1000, 1001):
        body = json.dumps({"data_urls": [url(bytes(length))]}).encode()
        if length == 1000:
            assert len(save(body)[0][0]) == 1000
        else:
            with pytest.raises(TooLarge, match="limit of 1000 bytes"):
                save(body)


def test_an_endless_clip_is_refused_before_its_end():
    class Endless:
        read = 0

        async def readany(self) -> bytes:
            self.read += 1
            assert self.read < 20, "it is read on and on"
            return b"A" * 1000 if self.read > 1 else b'{"data_urls": ["data:video/mp4;base64,'

    with pytest.raises(TooLarge):
        asyncio.run(save_data_urls(Endless(), Kept(), 10_000))


def test_no_more_than_ten_clips_go_into_one_upload():
    assert len(save(json.dumps({"data_urls": [GOOD] * 10}).encode())) == 10
    with pytest.raises(TooLarge, match="10"):
        save(json.dumps({"data_urls": [GOOD] * 11}).encode())
