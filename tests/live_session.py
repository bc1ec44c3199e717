"""An engine that remembers its live sessions, a made source, and a page that speaks to a live server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import aiohttp
import torch
from aiohttp import test_utils
from recording_engine import Recorder

from liveportrait_v2v.engines import RenderedFrames
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.live.app import FROM_PAGE, SOURCE, TO_PAGE, LiveApp
from liveportrait_v2v.live.camera import encoded
from liveportrait_v2v.live.config import LiveConfig
from liveportrait_v2v.live.looped import LoopedSource
from liveportrait_v2v.run.gaps import SourceChunk
from liveportrait_v2v.tracking import TrackedChunk

PATIENCE = 60  # seconds


class Engine(Recorder):
    """A recorder whose motion is the place of the face, and that remembers the sessions it started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple] = []
        self.surveyed: list[int] = []
        self.edits: list = []
        self.shown: list[int] = []

    def session(self, settings, options, source_rate, driving_rate, live=False):
        self.started.append((settings, options, source_rate, driving_rate))
        self.live = live
        return self

    def survey(self, chunks):
        self.surveyed += [chunk.index for chunk in chunks]

    def motions(self, chunks):
        for chunk in chunks:
            yield chunk.landmarks[0, 0, :1].clone() if chunk.present[0] else None

    def render(self, chunk, driving, masks=False, edits=None) -> RenderedFrames:
        self.edits.append(edits)
        self.shown.append(chunk.index)
        self.driving += driving[:, 0].tolist()
        square = FaceSquare(torch.full((1, 2), 100.0), torch.eye(2)[None], torch.full((1,), 150.0))
        return RenderedFrames(chunk.frames.clamp(max=254) + 1, None, (square,))


def source(frames: int = 1, rate: Fraction | None = None, faces: int = 1) -> LoopedSource:
    """A black source of 200x200 with a number of faces in each of its frames."""
    pictures = torch.zeros(frames, 200, 200, 3, dtype=torch.uint8)
    one = torch.ones(frames, dtype=torch.bool)
    tracked = TrackedChunk(pictures, torch.zeros(frames, 478, 3), one, held=rate is None)
    return LoopedSource("made", rate, (SourceChunk(tracked, one, torch.ones(frames)),) * faces)


def jpeg(level: int = 128, size: tuple[int, int] = (64, 48)) -> bytes:
    """A flat picture as a JPEG file."""
    return encoded(torch.full((size[1], size[0], 3), level, dtype=torch.uint8), 90)


class Page:
    """What a page does: its connection, and what came over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self.socket = socket

    async def say(self, **values: Any) -> None:
        await self.socket.send_str(json.dumps(values))

    async def show(self, picture: bytes, number: int) -> None:
        await self.socket.send_bytes(FROM_PAGE.pack(number) + picture)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds; of an "answer" or the "source", what comes with the picture."""
        while True:
            message = await self.socket.receive(PATIENCE)
            if message.type == aiohttp.WSMsgType.BINARY:
                number, milliseconds, flags = TO_PAGE.unpack_from(message.data)
                values = {
                    "type": "source" if number == SOURCE else "answer",
                    "number": number,
                    "seconds": milliseconds / 1000,
                    "flags": flags,
                    "picture": message.data[TO_PAGE.size :],
                }
            elif message.type == aiohttp.WSMsgType.TEXT:
                values = json.loads(message.data)
            else:
                values = {"type": "closed", "code": self.socket.close_code}
            if values["type"] in (*kinds, "closed"):
                assert values["type"] in kinds, values
                return values


class Live:
    """A live server with a client in one event loop."""

    def __init__(self, client: test_utils.TestClient, app: LiveApp):
        self.client, self.app = client, app
        self.host = f"127.0.0.1:{client.port}"
        self.origin = {"Origin": f"http://{self.host}"}

    async def page(self, **hello: Any) -> Page:
        """A page that said hello, and was admitted."""
        page = await self.silent_page()
        await page.say(**({"controls": {}} | hello))
        await page.next("hello")
        return page

    async def silent_page(self) -> Page:
        return Page(await self.client.ws_connect("/live", headers=self.origin))


@asynccontextmanager
async def live(
    engine: Recorder | None = None, looped: LoopedSource | None = None, **config: Any
) -> AsyncIterator[Live]:
    app = LiveApp(LiveConfig(**config), engine or Engine(), looped or source())
    async with test_utils.TestClient(test_utils.TestServer(app.app())) as client:
        yield Live(client, app)
        await app.close()


def run(work: Callable[[Live], Awaitable[None]], **kind: Any) -> None:
    """Do something with a live server."""

    async def whole() -> None:
        async with live(**kind) as server:
            await work(server)

    asyncio.run(whole())
