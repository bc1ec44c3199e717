"""The two threads of a live session: one tracks the camera's face, the other draws."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from ..concurrency import torch_thread
from ..engines.base import Engine
from ..tracking import TrackedChunk
from .camera import RATE, LiveSource, Picture, PictureError
from .controls import Controls
from .looped import LoopedSource
from .newest import Newest
from .session import LiveSession
from .tracking import CameraTracker

_TIMES = 60
_FETCHES = 15
_MOST_UNDER_WAY = 2
_SPARE_SECONDS = 0.003
"""Time by which a face is to be found before it is needed: more makes results late, less leaves drawing to wait."""


@dataclass(frozen=True)
class Answer:
    """What comes of one picture of the camera.

    Attributes:
        frame: the result, uint8 [H, W, 3], on the CPU.
        index: the picture's number.
        seconds: from its arrival until the result was drawn.
        found, neutral: as in `Drawn`.
    """

    frame: torch.Tensor
    index: int
    seconds: float
    found: bool
    neutral: bool


class LiveWorker:
    """A live session in threads of its own; `close` ends them.

    A picture is asked for while one is drawn, so late that its face is found just before the drawing ends: none waits,
    and no face is tracked that nobody draws. Where pictures come from far away, two are under way. Of pictures that
    come unasked the newest wins.

    Attributes:
        camera: takes the pictures.
        drawing: is held while a frame is drawn; whoever else needs the engine's networks takes it, and frames wait.

    Args:
        tracker: tracks the faces; it is closed elsewhere.
        ask: called when another picture is wanted, in the tracking thread.
        deliver: called with each answer, in the drawing thread.
        fail: called once with an error that ends the session, in either thread.
    """

    def __init__(
        self,
        engine: Engine,
        source: LoopedSource,
        controls: Controls,
        tracker: CameraTracker,
        ask: Callable[[], None],
        deliver: Callable[[Answer], None],
        fail: Callable[[Exception], None],
    ):
        self.camera = LiveSource()
        self._engine, self._tracker = engine, tracker
        self._session = LiveSession(engine, source, controls)
        self._ask, self._deliver, self._fail = ask, deliver, fail
        self._tracked: Newest[tuple[float, TrackedChunk]] = Newest()
        self._changes: dict[str, Callable[[], None]] = {}
        self._changing = threading.Lock()
        self.drawing = threading.Lock()
        self._taken, self._closing = threading.Event(), threading.Event()
        self._began = 0.0  # when drawing the last face began
        self._asked = 0  # pictures that were asked for, or came unasked
        self._read = 0  # pictures that the tracker took
        self._ask_times: deque[float] = deque(maxlen=_MOST_UNDER_WAY)
        self._fetch_seconds: deque[float] = deque(maxlen=_FETCHES)  # from asking to arrival
        self._track_seconds: deque[float] = deque(maxlen=_TIMES)
        self._draw_seconds: deque[float] = deque(maxlen=_TIMES)
        self._thread = (
            ThreadPoolExecutor(1) if engine.render_threads is None else torch_thread(engine.render_threads)
        )
        self._tracking = torch_thread(1)
        self._tracking.submit(self._guarded, self._track)
        self._thread.submit(self._guarded, self._draw)

    def close(self) -> None:
        """End both threads, and wait for them."""
        self._end()
        self._tracking.shutdown()
        self._thread.shutdown()

    def set_source(self, source: LoopedSource) -> None:
        """Animate another source, from the next frame on."""
        self._change("source", lambda: self._session.set_source(source))

    def set_controls(self, controls: Controls) -> None:
        """Take what the page sets, from the next frame on."""
        self._change("controls", lambda: self._session.set_controls(controls))

    def set_neutral(self) -> None:
        """Let motion start from the next frame that shows the face."""
        self._change("neutral", self._session.set_neutral)

    def _change(self, kind: str, change: Callable[[], None]) -> None:
        with self._changing:
            self._changes[kind] = change  # the newest of a kind wins

    def facts(self) -> dict[str, Any]:
        """Return counts and times so far, as JSON values."""
        jitter = self._session.jitter.get()
        return {
            "received": self.camera.received,
            "dropped": self.camera.dropped,
            "damaged": self.camera.damaged,
            "fetch_ms": _milliseconds(self._fetch_seconds),
            "track_ms": _milliseconds(self._track_seconds),
            "draw_ms": _milliseconds(self._draw_seconds),
            "lag_ms": round(1000 * self._session.lag, 1),
            "jitter": None if jitter is None else [round(value, 2) for value in jitter],
        }

    def _track(self) -> None:
        self._tracker.begin()
        self._ask_for_pictures()
        for came, face in self.camera.read(self._face):
            self._taken.clear()
            self._tracked.put((came, face))
            if self._closing.is_set():
                return
            self._taken.wait()
            lead = _median(self._fetch_seconds) + _median(self._track_seconds) + _SPARE_SECONDS
            needed = self._began + _median(self._draw_seconds)
            self._closing.wait(max(0.0, needed - lead - self.camera.seconds))
            self._ask_for_pictures()

    def _ask_for_pictures(self) -> None:
        """Ask for a picture unless enough are under way, or wait."""
        self._asked = max(self._asked, self.camera.received)
        # The quickest, as others waited for the camera.
        one = min(self._fetch_seconds, default=0.0) + _median(self._track_seconds)
        enough = 1 if one <= max(_median(self._draw_seconds), 1 / float(RATE)) else _MOST_UNDER_WAY
        while self._asked - self._read - self.camera.dropped < enough:
            self._asked += 1
            self._ask_times.append(self.camera.seconds)
            self._ask()

    def _face(self, picture: Picture) -> tuple[float, TrackedChunk]:
        """Return a picture's arrival, and its face."""
        self._read += 1
        start, later = self.camera.seconds, self._asked - self.camera.received
        if 0 <= later < len(self._ask_times):
            self._fetch_seconds.append(picture.time - self._ask_times[-1 - later])
        try:
            face = self._engine.add_points(self._tracker.track(picture))
        except PictureError:
            self._ask_for_pictures()
            raise
        self._track_seconds.append(self.camera.seconds - start)
        return picture.time, face

    def _draw(self) -> None:
        for came, face in self._tracked:
            self._began = self.camera.seconds
            self._taken.set()
            with self._changing:
                changes, self._changes = self._changes, {}
            for change in changes.values():
                change()
            with self.drawing:
                start = self.camera.seconds
                drawn = self._session.draw(face, came)
            now = self.camera.seconds
            self._draw_seconds.append(now - start)
            self._deliver(Answer(drawn.frame, face.index, now - came, drawn.found, drawn.neutral))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._end()
            self._fail(error)

    def _end(self) -> None:
        """Let both threads come to their end."""
        self.camera.close()
        self._tracked.close()
        self._closing.set()
        self._taken.set()


def _median(times: deque[float]) -> float:
    return median(times) if times else 0.0


def _milliseconds(times: deque[float]) -> float:
    return round(1000 * _median(times), 1)
