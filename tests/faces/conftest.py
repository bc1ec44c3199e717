"""Frames of the real clips, and faces cut out of them to compose scenes from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from liveportrait_v2v.faces import FaceTracker, Tracks
from liveportrait_v2v.media import Clip


@pytest.fixture(autouse=True)
def one_thread():
    """Run the nets on one thread: they are small, and on a busy machine threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def frames(clips) -> Callable[[str, int, int], Tensor]:
    """Return frames(name, start, count) -> uint8 [count, H, W, 3] of a real clip; decoded frames are kept."""
    decoded: dict[str, Tensor] = {}

    def take(name: str, start: int = 0, count: int = 1) -> Tensor:
        if len(decoded.get(name, ())) < start + count:
            chunks = Clip(clips[name]).chunks(8, cap=start + count)
            decoded[name] = torch.cat([chunk.frames for chunk in chunks])
        return decoded[name][start : start + count].clone()

    return take


@pytest.fixture(scope="session")
def heads(frames) -> Callable[..., Tensor]:
    """Return heads(name, size, count) -> uint8 [count, size, size, 3]: a real head that fills most of a square."""
    corners = {"jwp_intro": (135, 70, 250), "single_face": (195, 30, 290), "cap12": (130, 60, 190)}

    def take(name: str, size: int, count: int = 1) -> Tensor:
        x, y, side = corners[name]
        square = frames(name, 0, count)[:, y : y + side, x : x + side]
        channels_first = square.permute(0, 3, 1, 2)
        interpolate = torch.nn.functional.interpolate
        scaled = interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
        return scaled.permute(0, 2, 3, 1).contiguous()

    return take


@pytest.fixture(scope="session")
def tracked() -> Callable[..., Tracks]:
    """Return tracked(frames, chunk=8, **options) -> Tracks of a whole clip, tracked chunk by chunk."""

    def track(clip: Tensor, chunk: int = 8, **options) -> Tracks:
        tracker = FaceTracker(**options)
        parts = [tracker.track(piece) for piece in clip.split(chunk)]
        numbers = range(max(part.present.shape[1] for part in parts))
        presence = torch.zeros(len(clip), len(numbers))
        at = 0
        for part in parts:
            presence[at : at + len(part.presence), : part.presence.shape[1]] = part.presence
            at += len(part.presence)
        landmarks = [torch.cat([part.face(k)[0] for part in parts]) for k in numbers]
        stacked = torch.stack(landmarks, 1) if landmarks else torch.zeros(len(clip), 0, 478, 3)
        scenes = [torch.cat([part.face(k)[2] for part in parts]) for k in numbers]
        numbered = torch.stack(scenes, 1) if scenes else torch.zeros(len(clip), 0, dtype=torch.int64)
        return Tracks(stacked, presence > 0, presence, numbered)

    return track
