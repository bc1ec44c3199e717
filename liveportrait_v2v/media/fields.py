"""Deinterlacing of the frames that a decoder flags as interlaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import av.filter

from .pyav import rational


def deinterlaced(frames: Iterator[av.VideoFrame | None], tick: Fraction) -> Iterator[av.VideoFrame | None]:
    """Pass frames on, those flagged as interlaced as one frame of both fields, by FFmpeg's bwdif.

    Rate, number and times of the frames stay, and the decoder's flag gives the order of the fields. Frames that are
    not flagged, such as the whole ones of telecined film, are unchanged.

    Args:
        frames: in display order, None for a damaged one.
        tick: seconds, the unit of their timestamps.
    """
    graph: _Graph | None = None
    for frame in frames:
        if frame is not None and graph is not None and not graph.takes(frame):
            yield from graph.finish()
            graph = None
        if graph is None and frame is not None and frame.interlaced_frame:
            graph = _Graph(frame, tick)
        if graph is None:
            yield frame
        else:
            yield from graph.put(frame)
    if graph is not None:
        yield from graph.finish()


class _Graph:
    """A filter graph for frames of one size and format; each comes out once it has seen the next one."""

    def __init__(self, frame: av.VideoFrame, tick: Fraction):
        self._kind = _kind(frame)
        self._tick = tick
        self._waiting: deque[bool] = deque()  # of the frames inside: whether it is a frame, or a damaged one
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=tick
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        source.link_to(bwdif)
        bwdif.link_to(self._graph.add("buffersink"))
        self._graph.configure()

    def takes(self, frame: av.VideoFrame) -> bool:
        """Return whether a frame has the size and format of the first one."""
        return _kind(frame) == self._kind

    def put(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame | None]:
        """Add a frame, and yield those that are ready."""
        self._waiting.append(frame is not None)
        if frame is not None:
            self._graph.push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[av.VideoFrame | None]:
        """Yield the rest."""
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[av.VideoFrame | None]:
        while self._waiting:
            if not self._waiting[0]:
                self._waiting.popleft()
                yield None
                continue
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            self._waiting.popleft()
            tick = rational(frame.time_base)
            if frame.pts is not None and tick is not None:
                frame.pts = round(frame.pts * tick / self._tick)
            yield frame


def _kind(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
