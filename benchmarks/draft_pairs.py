"""The real clips on which the draft engine is measured, and its results on pairs of them, tracked again."""

from __future__ import annotations

import functools
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import torch

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "scripts")]

import fetch_clips  # noqa: E402
from liveportrait_v2v.engines import Engine, create_engine  # noqa: E402
from liveportrait_v2v.faces import FaceTracker  # noqa: E402
from liveportrait_v2v.media import Clip  # noqa: E402
from liveportrait_v2v.settings import AnimationSettings, MotionOptions  # noqa: E402
from liveportrait_v2v.tracking import TrackedChunk, track  # noqa: E402

CLIPS = {
    "jwp_intro": 0,
    "test_movie": 0,
    "wolfgang": Fraction(260 * 1001, 24000),
    "single_face": 0,
    "face_noface": 0,
    "cap12": 0,
    "cap13": 0,
    "obama": 0,
    "carphone": 0,
}
"""Clip -> start in seconds: before it, hands cover the face."""
PAIRS = tuple((source, driving) for driving in CLIPS for source in CLIPS if source != driving)

T = TypeVar("T")


def open_clip(name: str) -> Clip:
    """Open a clip of the benchmark."""
    return Clip(fetch_clips.fetch([name])[name], start=CLIPS[name])


@dataclass(frozen=True)
class Shown:
    """Frames uint8 [N, H, W, 3] and the landmarks [N, 478, 3] of the face in them."""

    frames: torch.Tensor
    landmarks: torch.Tensor

    @classmethod
    def joined(cls, chunks: list[TrackedChunk]) -> Shown:
        """Return the chunks' frames and landmarks, one after the other."""
        return cls(
            torch.cat([chunk.frames for chunk in chunks]), torch.cat([chunk.landmarks for chunk in chunks])
        )


@dataclass(frozen=True)
class Pair:
    """Chunks of a source and a driving clip, of equal lengths, that all show the faces; the source's frame rate."""

    names: tuple[str, str]
    source: list[TrackedChunk]
    driving: list[TrackedChunk]
    rate: Fraction

    @classmethod
    def of(cls, names: tuple[str, str], frames: int) -> Pair:
        """Track up to so many of the first frames of both clips."""
        source, driving = (tracked(name, frames) for name in names)
        present = [bool(a.present.all() and b.present.all()) for a, b in zip(source, driving, strict=False)]
        count = present.index(False) if False in present else len(present)
        count -= len(source[count - 1]) != len(driving[count - 1])
        return cls(names, source[:count], driving[:count], open_clip(names[0]).info.rate)

    @property
    def own(self) -> Shown:
        return Shown.joined(self.source)

    @property
    def led(self) -> Shown:
        return Shown.joined(self.driving)

    @property
    def held(self) -> Pair:
        """The same, led by the first driving frame repeated."""
        return replace(self, driving=_held(self.driving))

    @property
    def of_still(self) -> Pair:
        """The same, of the first source frame repeated."""
        return replace(self, source=_held(self.source))

    def drawn(self, engine: Engine | None = None) -> list[torch.Tensor]:
        """Return an engine's result, the draft's by default, chunk by chunk: uint8 [N, H, W, 3]."""
        engine = engine or create_engine("draft")
        session = engine.session(AnimationSettings(), MotionOptions(), self.rate, self.rate)
        driving, source = (map(engine.add_points, chunks) for chunks in (self.driving, self.source))
        motions = [motion for motion in session.motions(driving) if motion is not None]
        frames, at = [], 0
        for chunk in session.source(source):
            frames.append(session.render(chunk, torch.stack(motions[at : at + len(chunk)])).frames)
            at += len(chunk)
        return frames

    def rendered(self, engine: Engine | None = None) -> Shown:
        """Return that result, tracked again."""
        frames, tracker = self.drawn(engine), FaceTracker()
        return Shown(torch.cat(frames), torch.cat([tracker.track(part).face(0)[0] for part in frames]))


@functools.cache
def tracked(name: str, frames: int) -> list[TrackedChunk]:
    """Return the first frames of a clip, with the track of its first face."""
    chunks = track(open_clip(name), cap=frames)
    return [
        TrackedChunk(part.frames, landmarks, present, part.index, scenes=scenes)
        for part, tracks in chunks
        for landmarks, present, scenes in [tracks.face(0)]
    ]


def _held(chunks: list[TrackedChunk]) -> list[TrackedChunk]:
    """Return chunks of the same lengths that all show the first frame."""
    return [chunks[0][:1].hold(len(chunk)) for chunk in chunks]


def over_pairs(
    measure: Callable[[tuple[str, str]], T], pairs: Sequence[tuple[str, str]], at_once: int | None = None
) -> Iterator[tuple[tuple[str, str], T]]:
    """Yield each pair of names and what `measure` returns of it, so many pairs at once: one on each core by default."""
    fetch_clips.fetch(list(dict.fromkeys(name for pair in pairs for name in pair)))
    with ProcessPoolExecutor(
        at_once or os.cpu_count(), multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        yield from zip(pairs, pool.map(measure, pairs), strict=True)


def spread(values: dict[tuple[str, str], float]) -> str:
    """Return the median of what was measured, and the pairs with the least and the most of it, as text."""
    ends = [(pair, values[pair]) for pair in sorted(values, key=values.__getitem__)]
    least, most = (f"{value:.3g} {pair[0]} by {pair[1]}" for pair, value in (ends[0], ends[-1]))
    return f"median {statistics.median(values.values()):.3g}, least {least}, most {most}"


def chosen_pairs(texts: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Return pairs of names SOURCE,DRIVING, or PAIRS if there are none."""
    return [tuple(text.split(",")) for text in texts] or PAIRS
