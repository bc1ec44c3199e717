"""Faces that are shown while their expression is edited, and the route that draws them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..liveportrait_v2v.errors import LivePortraitError, SettingsError
from ..liveportrait_v2v.expression import CHANNELS
from ..liveportrait_v2v.expression import Expression as Value
from ..liveportrait_v2v.text import quoted
from .expression import Expression
from .expression_keyframes import SOCKETS, ExpressionKeyframes
from .host import language, paths, reports, routes, running
from .load_expression import LoadExpression

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from aiohttp import web

    from ..liveportrait_v2v.media import Clip
    from ..liveportrait_v2v.run.still import QuickEditor, StillFace
    from .host.models import Model

ROUTE = "/liveportrait-v2v/face"
MAX_BYTES = 1 << 20
"""Size of a request, at most."""
MAX_NODES = 64
"""Nodes of an expression in a request, at most."""
KEPT_FACES, KEPT_RUNS = 6, 64
"""Faces that are ready to be drawn, a few MB each, and runs whose clip or face is kept, up to 0.8 MB each."""
JPEG_QUALITY = 90
_THREADS = 1
"""Next to a run, several would wait for each other after each of thousands of small steps."""
_FACE_RULE = "face must be a whole number from 0 to 5"
_TIME_RULE = "time must be seconds from 0 to 86400"
_WORDS = {float: "a number", str: "text"}


class Gone(Exception):
    """What a handle meant is not kept any more."""


@dataclass(frozen=True)
class _Run:
    """What a node's run has shown: its clip, if that is a file, else the one face."""

    face: int
    time: float
    clip: Clip | None
    still: StillFace


class _Latest(OrderedDict[Hashable, Any]):
    """The values that were used last."""

    def __init__(self, most: int):
        super().__init__()
        self._most = most

    def used(self, key: Hashable) -> Any:
        """Return a value, or None."""
        if key in self:
            self.move_to_end(key)
        return self.get(key)

    def add(self, key: Hashable, value: Any) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)


# Both are only touched in the drawing thread.
_faces, _runs = _Latest(KEPT_FACES), _Latest(KEPT_RUNS)


@cache
def _drawing() -> ThreadPoolExecutor:
    """Return the one thread that draws: pictures come one after another, and take one core from a run."""
    import torch

    from ..liveportrait_v2v.concurrency import torch_thread

    return torch_thread(_THREADS, lambda: torch.set_grad_enabled(False))


def show(
    clip: Clip, face: int, time: float, expression: Value, model: Model | None
) -> tuple[str, torch.Tensor]:
    """Return a handle for the route, and the picture uint8 [H, W, 3], by the draft engine or a model.

    Raises:
        FaceNotFoundError: the face isn't there.
        MediaError: the clip can't be read.
        Cancelled: the user asked for the end of the run.
    """
    from ..liveportrait_v2v.run.still import StillFace

    still = StillFace.of(clip, face, time, running.interrupted)
    handle = uuid.uuid4().hex

    def keep() -> torch.Tensor:
        _runs.add(handle, _Run(face, time, clip if clip.path is not None else None, still))
        return _editor((handle, face, time), lambda: still).edited(expression, time)

    picture = _drawing().submit(keep).result()
    if model is not None:
        try:
            picture = still.edited(model.engine(), expression, time)
        finally:
            model.release()
    return handle, picture


def _editor(key: Hashable, find: Callable[[], StillFace]) -> QuickEditor:
    """Return what draws a face, prepared if need be from the face that `find` returns."""
    from ..liveportrait_v2v.run.still import QuickEditor

    editor = _faces.used(key)
    if editor is None:
        editor = QuickEditor(find())
        _faces.add(key, editor)
    return editor


def add_route() -> None:
    """Add the route that draws a face with an expression."""
    routes.add("post", ROUTE, draw)


async def draw(request: web.Request) -> web.Response:
    """Answer a POST request from one of the server's own pages with a face as JPEG.

    Its JSON is {"handle": ...} of a run, or {"file": ...} in ComfyUI's folders, with "face", "time" and "expression":
    {"type": node id, "values": {widget: value}, "inputs": {name: another one}}. What is wrong is said as JSON.
    """
    from aiohttp import web

    routes.check_sender(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON")
    body = await _body(request)
    try:
        picture = await asyncio.wrap_future(_drawing().submit(lambda: _Asked.of(body).picture()))
    except Gone as error:
        return web.json_response({"error": language.shown(str(error))}, status=410)
    except LivePortraitError as error:
        return web.json_response({"error": reports.message(error)}, status=400)
    return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _body(request: web.Request) -> Any:
    from aiohttp import web

    data = bytearray()
    async for part in request.content.iter_any():
        data += part
        if len(data) > MAX_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BYTES, len(data))
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="send JSON") from None


@dataclass(frozen=True)
class _Asked:
    """A request."""

    handle: str | None
    file: str | None
    face: int
    time: float
    expression: Value

    @classmethod
    def of(cls, body: Any) -> _Asked:
        """Return what a request's JSON asks for.

        Raises:
            SettingsError: it has another form.
        """
        if not isinstance(body, Mapping):
            raise SettingsError("a request must be an object")
        handle, file = body.get("handle"), body.get("file")
        if sum(isinstance(place, str) for place in (handle, file)) != 1:
            raise SettingsError("a request must have a handle or a file")
        face, time = body.get("face", 0), body.get("time", 0)
        if type(face) is not int or not 0 <= face <= 5:
            raise SettingsError(f"{_FACE_RULE}, got {quoted(face)}")
        if type(time) not in (int, float) or not 0 <= time <= 86400:
            raise SettingsError(f"{_TIME_RULE}, got {quoted(time)}")
        value = _value(body.get("expression"), [0])
        return cls(handle, file, face, float(time), value)

    def picture(self) -> bytes:
        """Return the JPEG.

        Raises:
            Gone: the handle is unknown.
            LivePortraitError: there is no such file or face.
        """
        import io

        from PIL import Image

        drawn = self._editor().edited(self.expression, self.time)
        written = io.BytesIO()
        Image.fromarray(drawn.numpy()).save(written, "JPEG", quality=JPEG_QUALITY)
        return written.getvalue()

    def _editor(self) -> QuickEditor:
        from ..liveportrait_v2v.media import Clip
        from ..liveportrait_v2v.run.still import StillFace

        if self.file is not None:
            path = paths.chosen_file(self.file, "there is no such file in ComfyUI's folders")
            key = str(path), paths.fingerprint(path), self.face, self.time
            return _editor(key, lambda: StillFace.of(Clip(path), self.face, self.time))
        run = _runs.used(self.handle)
        if run is None or (run.clip is None and (run.face, run.time) != (self.face, self.time)):
            raise Gone("run the node to see this face")
        if (run.face, run.time) == (self.face, self.time):
            return _editor((self.handle, self.face, self.time), lambda: run.still)
        return _editor(
            (self.handle, self.face, self.time), lambda: StillFace.of(run.clip, self.face, self.time)
        )


@dataclass(frozen=True)
class _Node:
    """A node of an expression: its widgets with their types, and its sockets for other expressions."""

    kind: type[Expression | ExpressionKeyframes | LoadExpression]
    widgets: Mapping[str, type]
    sockets: tuple[str, ...] = ("expression",)


_NODES = {
    "LPV2V_Expression": _Node(Expression, dict.fromkeys((*CHANNELS, "ratio"), float)),
    "LPV2V_ExpressionKeyframes": _Node(
        ExpressionKeyframes,
        {"table": str, **dict.fromkeys(("blend_in", "blend_out", "ratio"), float)},
        ("expression", *(f"expression_{number}" for number in range(1, SOCKETS + 1))),
    ),
    "LPV2V_LoadExpression": _Node(LoadExpression, {"file": str, "ratio": float}),
}


def _value(form: Any, count: list[int]) -> Value:
    """Return the expression that a node and those linked to it give, as they would in a run.

    Args:
        count: of nodes so far, which is counted up.

    Raises:
        SettingsError: it has another form, or a value is out of range.
    """
    count[0] += 1
    if count[0] > MAX_NODES:
        raise SettingsError(f"an expression must have {MAX_NODES} nodes at most")
    kind = form.get("type") if isinstance(form, Mapping) else None
    node = _NODES.get(kind) if isinstance(kind, str) else None
    values, inputs = (form.get("values", {}), form.get("inputs", {})) if node else (None, None)
    if node is None or not isinstance(values, Mapping) or not isinstance(inputs, Mapping):
        raise SettingsError("an expression must be one of our nodes with its type, values and inputs")
    known = (*node.widgets, *node.sockets)
    unknown = [name for name in values if name not in node.widgets]
    unknown += [name for name in inputs if name not in node.sockets]
    if unknown:
        raise SettingsError(f"unknown input {quoted(unknown[0])}; known are {', '.join(known)}")
    for name, value in values.items():
        if not isinstance(value, str if node.widgets[name] is str else (int, float)):
            raise SettingsError(f"{name} must be {_WORDS[node.widgets[name]]}, got {quoted(value)}")
    linked: dict[str, Any] = {name: _value(other, count) for name, other in inputs.items()}
    return node.kind.value(**values, **linked)
