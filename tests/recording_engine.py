"""An engine for tests that remembers what it was given, and runs of it."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace
from types import MappingProxyType

import torch

from liveportrait_v2v.compose import FEATHER
from liveportrait_v2v.engines import RenderedFrames
from liveportrait_v2v.engines.base import ALL_OPTIONS
from liveportrait_v2v.expression import ALL_CHANNELS
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.run import Result, animate
from liveportrait_v2v.settings import AnimationSettings
from liveportrait_v2v.tracking import TrackedChunk

SIZE = 200


class Recorder:
    """An engine that gives the source back brighter by one, and remembers what it was given."""

    name, device, render_threads, supports, takes_boxes = "recorder", "cpu", None, ALL_OPTIONS, True
    feather, fixed, channels = FEATHER, MappingProxyType({}), ALL_CHANNELS

    def __init__(self) -> None:
        self.driving: list[torch.Tensor] = []
        self.sources: list[int] = []
        self.alive: list[int] = []
        self._chunks: list[weakref.ref] = []

    def add_points(self, chunk):
        return chunk

    def session(self, settings, options, source_rate, driving_rate):
        return self

    def for_another_face(self):
        return self

    def survey(self, chunks):
        pass

    def source(self, chunks):
        yield from chunks

    def motions(self, chunks):
        for chunk in chunks:
            yield from (
                torch.tensor(float(code(frame))) if ok else None
                for frame, ok in zip(chunk.frames, chunk.present.tolist(), strict=True)
            )

    def render(self, chunk: TrackedChunk, driving: torch.Tensor, masks: bool = False) -> RenderedFrames:
        self._chunks.append(weakref.ref(chunk.frames))
        gc.collect()
        self.alive.append(sum(ref() is not None for ref in self._chunks))
        self.sources += [code(frame) for frame in chunk.frames]
        self.driving += driving.tolist()
        count = len(chunk)
        square = FaceSquare(
            torch.full((count, 2), 100.0), torch.eye(2).repeat(count, 1, 1), torch.full((count,), 150.0)
        )
        mask = torch.ones(chunk.frames.shape[:3]) if masks else None
        return RenderedFrames(chunk.frames.clamp(max=254) + 1, mask, (square,))


def mark(frame: torch.Tensor, number: int) -> torch.Tensor:
    """Writes a number into the frame's upper left corner, as eight black or white blocks."""
    frame = frame.clone()
    for bit in range(8):
        frame[:10, bit * 10 : bit * 10 + 10] = 255 if number >> bit & 1 else 0
    return frame


def code(frame: torch.Tensor) -> int:
    return sum(int(frame[5, bit * 10 + 5, 1] > 127) << bit for bit in range(8))


def run(source, driving, engine=None, **kinds) -> tuple[Result, torch.Tensor, Recorder]:
    """A run into memory; kinds holds settings by name, and `options`."""
    engine, got = engine or Recorder(), []
    options = kinds.pop("options", None)
    output = kinds.pop("output", None)
    settings = AnimationSettings(**{"video_frame_load_cap": 0, **kinds})
    result = animate(
        source, driving, engine=engine, settings=settings, options=options, sink=got.append, output=output
    )
    return result, torch.cat([rendered.frames for rendered in got]), engine


def none_more_than(threads: int) -> bool:
    """Whether all threads but so many end, within a minute."""
    end = time.monotonic() + 60
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= threads


class Unsettled(Recorder):
    """A recorder that hands out black frames, and finds the right ones when it is asked to settle them."""

    def render(self, chunk, driving, masks=False):
        rendered = super().render(chunk, driving, masks)
        return replace(rendered, frames=torch.zeros_like(rendered.frames), check=lambda: rendered)
