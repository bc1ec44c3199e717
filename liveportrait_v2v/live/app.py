"""The live page's server: the page, one WebSocket with pictures both ways, uploads of another source."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import struct
import time
from importlib.resources import files
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from ..deadlines import OutOfTime
from ..engines.base import Engine
from ..errors import LivePortraitError, SettingsError
from ..media import Clip
from ..server.access import HOST, is_same_key
from ..server.connections import Handler
from ..server.uploads import PacedStream, TooLarge
from ..settings import AnimationSettings
from ..templates import record_template, template_bytes
from ..text import one_line
from .camera import MAX_PICTURE_BYTES, encoded
from .config import LiveConfig
from .controls import Controls, offered, offered_channels
from .looped import LoopedSource
from .tracking import CameraTracker, LocalTracker
from .worker import Answer, LiveWorker

_log = logging.getLogger(__name__)
PAGE = {
    "": ("index.html", "text/html"),
    "live.css": ("live.css", "text/css"),
    "live.js": ("live.js", "text/javascript"),
    "camera.js": ("camera.js", "text/javascript"),
    "link.js": ("link.js", "text/javascript"),
    "recorder.js": ("recorder.js", "text/javascript"),
    "controls.js": ("controls.js", "text/javascript"),
}
"""Files of the page by their name in its address, with their types."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), fullscreen=(self)",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FROM_PAGE = struct.Struct("<I")
"""What comes before a camera's picture: its number."""
TO_PAGE = struct.Struct("<IHH")
"""What comes before a result: the picture's number, milliseconds here, and flags."""
QUALITY = 90
"""JPEG quality of the result."""
SOURCE = 0
"""The number of no picture, with which the source itself is sent."""
FOUND, NEUTRAL = 1, 2
"""Flags: the picture shows the face; motion starts from a neutral face."""
TAKEN, REFUSED, FAILED = 4001, 4002, 4003
"""Close codes: another page has the engine; the page broke a rule; the session failed."""
TAKEN_TEXT = "The engine is taken by another tab or window. Close that one: this page goes on by itself then."
_MAX_TEXT = 1 << 16
_FACTS_SECONDS = 1.0
_GOODBYE_SECONDS = 0.5
_MIN_RATE = 4096  # bytes per second of an upload


WHOLE = AnimationSettings(video_frame_load_cap=0)
"""Settings by which a recording of the camera becomes a motion template: all of it."""


class LiveApp:
    """Handlers of the live page, and the one session that runs.

    Args:
        tracker: tracks the camera's face; None for one in a thread.
    """

    def __init__(
        self, config: LiveConfig, engine: Engine, source: LoopedSource, tracker: CameraTracker | None = None
    ):
        self._config, self._engine = config, engine
        self._tracker = tracker or LocalTracker(engine.device)
        self._source = source
        self._page: _Page | None = None
        self._reading = asyncio.Lock()  # one upload at a time
        self._pages: set[web.WebSocketResponse] = set()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.add_routes(
            [
                web.get("/live", self._live),
                web.post("/source", self._upload),
                web.post("/template", self._template),
                web.get("/{name:[a-z.]*}", self._file),
            ]
        )
        return app

    async def close(self) -> None:
        """End the session, with a word to the page."""
        for page in list(self._pages):
            await page.close(code=WSCloseCode.GOING_AWAY, message=b"the server ends")

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Admit requests that name this server, and of those that do something only its own page's."""
        host = request.headers.get("Host", "")
        if not HOST.fullmatch(host) or not self._config.knows_host(host):
            # DNS rebinding: a web page can let its own host name resolve to this machine.
            return _refusal(403, "this server answers only to its own name; open the address that it printed")
        acts = request.method == "POST" or request.path == "/live"
        if acts and not self._config.knows_origin(request.headers.get("Origin", ""), host):
            return _refusal(403, "only the page of this server may do that; open the address that it printed")
        key, given = self._config.key, request.headers.get("x-api-key", "")
        if request.method == "POST" and key is not None and not is_same_key(given, key):
            return _refusal(401, "the key is missing or wrong; open the page as https://HOST/#key=KEY")
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return _refusal(error.status, f"{error.reason}: {request.method} {request.path[:200]}")
        except TooLarge as error:
            return _refusal(413, str(error))
        except LivePortraitError as error:
            return _refusal(400, str(error))
        except OutOfTime:
            return _refusal(408, "the upload stopped; try again")
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in PAGE:
            raise web.HTTPNotFound
        file, kind = PAGE[name]
        return web.Response(
            body=(files(__package__) / "page" / file).read_bytes(), content_type=kind, charset="utf-8"
        )

    async def _upload(self, request: web.Request) -> web.Response:
        """Take another source: the file is the body, its name is in the query."""
        async with self._reading:
            clip = await self._clip(request)
            self._source = await asyncio.to_thread(LoopedSource.read, clip, self._engine, clip.name)
        if self._page is not None:
            self._page.worker.set_source(self._source)
            await self._page.show(self._source)
        return web.json_response({"source": _described(self._source)})

    async def _template(self, request: web.Request) -> web.Response:
        """Return the motion template of a recording of the camera, which is the body."""

        def made() -> bytes:
            # One after the other: the networks keep state of their own.
            with contextlib.nullcontext() if self._page is None else self._page.worker.drawing:
                return template_bytes(record_template(clip, self._engine, WHOLE))

        async with self._reading:
            clip = await self._clip(request)
            data = await asyncio.to_thread(made)
        return web.Response(body=data, content_type="application/octet-stream")

    async def _clip(self, request: web.Request) -> Clip:
        """Read the clip that is the body of a request, under the name in its query, into memory."""
        limit = self._config.upload_bytes
        if (request.content_length or 0) > limit:
            raise TooLarge(_too_large(limit))
        data = io.BytesIO()
        stream = PacedStream(request.content, self._config.request_seconds, _MIN_RATE)
        while block := await stream.readany():
            if data.tell() + len(block) > limit:
                raise TooLarge(_too_large(limit))
            data.write(block)
        data.name = one_line(request.query.get("name", "upload"), 200)
        return await asyncio.to_thread(Clip, data, max_bytes=limit)

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            max_msg_size=MAX_PICTURE_BYTES,
            heartbeat=self._config.silence_seconds,
            timeout=_GOODBYE_SECONDS,
            compress=False,
        )
        await socket.prepare(request)
        self._pages.add(socket)
        try:
            await self._serve(socket)
        finally:
            self._pages.discard(socket)
        return socket

    async def _serve(self, socket: web.WebSocketResponse) -> None:
        try:
            controls = await self._hello(socket)
        except _BrokenRule as error:
            await _refuse(socket, REFUSED, str(error))
            return
        while self._page is not None and self._page.left:
            await self._page.ended.wait()
        if self._page is not None:
            await _refuse(socket, TAKEN, TAKEN_TEXT)
            return
        self._page = page = _Page(self._config, self._engine, self._tracker, self._source, controls, socket)
        try:
            await socket.send_json(
                {
                    "type": "hello",
                    "engine": self._engine.name,
                    "parameters": offered(self._engine),
                    "channels": offered_channels(self._engine),
                    "source": _described(self._source),
                }
            )
            await page.show(self._source)
            await page.run()
        except ConnectionError:
            pass  # the page is gone
        finally:
            page.left = True
            await asyncio.shield(asyncio.ensure_future(self._end(page)))

    async def _end(self, page: _Page) -> None:
        await asyncio.to_thread(page.worker.close)
        self._page = None
        page.ended.set()

    async def _hello(self, socket: web.WebSocketResponse) -> Controls:
        """Wait for the page's first message, and return the controls that it sets."""
        try:
            message = await socket.receive(timeout=self._config.request_seconds)
        except asyncio.TimeoutError:
            raise _BrokenRule("the page has to say hello first") from None
        values = _parsed(message)
        key = self._config.key
        if key is not None and not is_same_key(str(values.get("key", "")), key):
            raise _BrokenRule("The key is missing or wrong: open the page as https://HOST/#key=KEY.")
        try:
            return Controls.of(values.get("controls", {}), self._engine)
        except SettingsError as error:
            raise _BrokenRule(f"{error}; reload the page") from None


class _BrokenRule(Exception):
    """A page's message that no page of ours sends."""


class _Page:
    """A page and its session: what comes from it, and what goes there.

    Attributes:
        left: the page is gone or has to go, and its threads end; the next one waits for that.
        ended: is set when they have.
    """

    def __init__(
        self,
        config: LiveConfig,
        engine: Engine,
        tracker: CameraTracker,
        source: LoopedSource,
        controls: Controls,
        socket: web.WebSocketResponse,
    ):
        self._engine, self._socket = engine, socket
        self._loop = asyncio.get_running_loop()
        self._wanted = 0  # pictures that the page was not asked for yet
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._budget = _Budget(config.messages_a_second)
        self.left, self.ended = False, asyncio.Event()
        self.worker = LiveWorker(engine, source, controls, tracker, self._ask, self._deliver, self._fail)

    async def show(self, source: LoopedSource) -> None:
        """Show the page a source before the camera moves it."""
        picture = await asyncio.to_thread(encoded, source.at(0, 0.0).tracked.frames[0].cpu(), QUALITY)
        if not self._socket.closed:
            await self._socket.send_bytes(TO_PAGE.pack(SOURCE, 0, 0) + picture)

    async def run(self) -> None:
        """Serve the page until it is gone or has to go."""
        sending = asyncio.ensure_future(self._send())
        reporting = asyncio.ensure_future(self._report())
        try:
            await self._receive()
        except _BrokenRule as error:
            await self._leave(REFUSED, str(error))
        finally:
            for task in (sending, reporting):
                task.cancel()
            await asyncio.gather(sending, reporting, return_exceptions=True)

    async def _receive(self) -> None:
        async for message in self._socket:
            self._budget.take()
            if message.type == WSMsgType.BINARY:
                if len(message.data) < FROM_PAGE.size:
                    raise _BrokenRule("a picture's message begins with its number")
                (index,) = FROM_PAGE.unpack_from(message.data)
                self.worker.camera.put(message.data[FROM_PAGE.size :], index)
            else:
                await self._obey(_parsed(message))

    async def _obey(self, values: dict[str, Any]) -> None:
        if "controls" in values:
            try:
                self.worker.set_controls(Controls.of(values["controls"], self._engine))
            except SettingsError as error:
                await self._socket.send_json({"type": "error", "text": str(error)})
        elif values.get("neutral"):
            self.worker.set_neutral()
        else:
            raise _BrokenRule("a page's message has controls, or asks for neutral")

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._error is not None:
                text = str(self._error) if isinstance(self._error, LivePortraitError) else ""
                await self._leave(FAILED, text or "The session failed; the server's log has more.")
                return
            wanted, self._wanted = self._wanted, 0
            for _ in range(wanted):
                await self._socket.send_json({"type": "want"})
            answer, self._answer = self._answer, None
            if answer is not None:
                # In a thread of its own, while the next frame is drawn.
                picture = await asyncio.to_thread(encoded, answer.frame, QUALITY)
                flags = FOUND * answer.found + NEUTRAL * answer.neutral
                head = TO_PAGE.pack(answer.index, min(round(1000 * answer.seconds), 65535), flags)
                await self._socket.send_bytes(head + picture)

    async def _leave(self, code: int, text: str) -> None:
        self.left = True
        await _refuse(self._socket, code, text)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_FACTS_SECONDS)
            await self._socket.send_json({"type": "facts", **self.worker.facts()})

    def _ask(self) -> None:
        self._loop.call_soon_threadsafe(self._want)

    def _want(self) -> None:
        self._wanted += 1
        self._news.set()

    def _deliver(self, answer: Answer) -> None:
        # A page that is slow to read gets the newest one.
        self._loop.call_soon_threadsafe(self._tell, answer, None)

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, LivePortraitError):
            _log.error("a live session failed", exc_info=error)
        self._loop.call_soon_threadsafe(self._tell, None, error)

    def _tell(self, answer: Answer | None, error: Exception | None) -> None:
        self._answer = answer or self._answer
        self._error = error or self._error
        self._news.set()


class _Budget:
    """Limit on the rate of messages, over two seconds."""

    def __init__(self, a_second: int):
        self._a_second = a_second
        self._left, self._at = 2.0 * a_second, time.monotonic()

    def take(self) -> None:
        """Count a message.

        Raises:
            _BrokenRule: there were too many.
        """
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._a_second, 2.0 * self._a_second) - 1
        self._at = now
        if self._left < 0:
            raise _BrokenRule(f"at most {self._a_second} messages a second are taken")


def _parsed(message: WSMessage) -> dict[str, Any]:
    """Return the object of a text message.

    Raises:
        _BrokenRule: it is none.
    """
    if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        raise _BrokenRule("the page is gone")
    if message.type != WSMsgType.TEXT or len(message.data) > _MAX_TEXT:
        raise _BrokenRule("the page's first message, and each that is no picture, is a small JSON object")
    try:
        values = json.loads(message.data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _BrokenRule("a page's message is a JSON object or a picture")
    return values


async def _refuse(socket: web.WebSocketResponse, code: int, text: str) -> None:
    """Close a page's connection with the reason."""
    if not socket.closed:
        await socket.send_json({"type": "refused", "code": code, "text": text})
        await socket.close(code=code, message=text.encode()[:120])


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=_HEADERS)


def _too_large(limit: int) -> str:
    return f"a source has at most {limit >> 20} MiB; shorten it or scale it down"


def _described(source: LoopedSource) -> dict[str, Any]:
    """Return what the page shows of a source."""
    width, height = source.size
    return {
        "name": source.name,
        "width": width,
        "height": height,
        "faces": source.faces,
        "still": source.rate is None,
        "notes": list(source.notes),
    }
