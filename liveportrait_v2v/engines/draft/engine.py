"""The draft engine and what it remembers of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F

from ... import compose
from ...geometry import face_crop
from ...settings import AnimationSettings, MotionOptions
from ...smoothing import FixedLagSmoother
from ..base import Cue, Shot
from . import face
from .motion import Reference, Target, transfer
from .paint import mouth_interior, skin_light
from .warp import Warp, make_warp


class DraftEngine:
    """Moves the source face's pixels to where the driving face's landmarks say, and paints what was hidden.

    A preview: timing, framing, choice of faces and motion are those of the result to come; light, wrinkles, hidden
    cheeks and teeth are not.
    """

    name = "draft"

    def __init__(self, device: str = "cpu"):
        self.device = device

    def session(self, settings: AnimationSettings, options: MotionOptions) -> DraftSession:
        return DraftSession(settings, options, self.device)


class DraftSession:
    """One run: the resting faces of both clips."""

    def __init__(self, settings: AnimationSettings, options: MotionOptions, device: str):
        self._settings = settings
        self._options = options
        self._device = device
        self._source_rest: Reference | None = None
        self._driving_rest: Reference | None = None

    def source(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        return _steady(shots, self._options.smoothing)

    def motions(self, shots: Iterable[Shot]) -> Iterator[torch.Tensor | None]:
        """Landmarks float32 [478, 3] of each driving frame."""
        for shot in _steady(shots, self._options.smoothing):
            for landmarks, present in zip(shot.landmarks, shot.present.tolist(), strict=True):
                if present and self._driving_rest is None:
                    self._driving_rest = Reference.of(landmarks)
                yield landmarks if present else None

    def render(self, shot: Shot, cues: list[Cue]) -> torch.Tensor:
        led = [_between(cue) for cue in cues]
        shown = [k for k, motion in enumerate(led) if motion is not None and shot.present[k]]
        if not shown:
            return shot.frames
        source = shot.landmarks[shown]
        if self._source_rest is None:
            self._source_rest = Reference.of(source[0])
        driving = torch.stack([led[k] for k in shown])
        target = transfer(source, driving, self._source_rest, self._driving_rest, self._settings, self._options)
        frames = shot.frames.clone()
        frames[shown] = self._draw(shot.frames[shown], target)
        return frames

    def _draw(self, frames: torch.Tensor, target: Target) -> torch.Tensor:
        square = face_crop(target.source, self._settings)
        region = compose.region_of(square, *frames.shape[1:3])
        if region.empty:
            return frames
        warp = make_warp(target, square, self._settings.dsize // 2, self._settings.stitching)
        place = region.to_square(square)
        grid = place * 2 - 1
        shift, mouth = (
            F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            for maps in (warp.shift, warp.mouth)
        )
        pictures = _shifted(compose.to_float(region.of(frames)), shift, square, region)
        pictures = self._open_mouths(pictures, mouth, frames, target)
        return compose.blend(frames, pictures, compose.border_mask(place), region)

    def _open_mouths(self, pictures: torch.Tensor, mouth: torch.Tensor, frames: torch.Tensor, target: Target) -> torch.Tensor:
        opening, own = face.mouth_opening(target.moved), face.mouth_opening(target.source)
        painted = mouth_interior(mouth, opening, skin_light(frames, target.source))
        # What the source itself shows between its lips serves as long as it need not be stretched far.
        shown = face.smoothstep((own / opening.clamp_min(1e-3) - 0.4) / 0.4).view(-1, 1, 1)
        return torch.lerp(pictures, painted, (mouth[:, 0] * (1 - shown)).unsqueeze(1))


def _shifted(pictures: torch.Tensor, shift: torch.Tensor, square, region: compose.Region) -> torch.Tensor:
    """Samples a region's pictures where the shift [N, 2, h, w], in sides of the square, says."""
    axes = square.axes * square.side.view(-1, 1, 1)
    height, width = pictures.shape[-2:]
    x = torch.arange(width, device=pictures.device) + 0.5
    y = torch.arange(height, device=pictures.device) + 0.5
    dx, dy = shift.unbind(1)
    a = axes.view(-1, 2, 2, 1, 1)
    grid_x = (dx * a[:, 0, 0] + dy * a[:, 1, 0] + x) * (2 / width) - 1
    grid_y = (dx * a[:, 0, 1] + dy * a[:, 1, 1] + y.unsqueeze(1)) * (2 / height) - 1
    grid = torch.stack((grid_x, grid_y), dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _between(cue: Cue) -> torch.Tensor | None:
    if cue.before is None or cue.after is None:
        return cue.before if cue.fraction < 0.5 else cue.after
    return torch.lerp(cue.before, cue.after, cue.fraction)


def _steady(shots: Iterable[Shot], variance: float) -> Iterator[Shot]:
    """Smooths landmarks over time, in units of the face's size; a gap in the track starts anew."""
    smoother, waiting = FixedLagSmoother(variance), deque()
    done: list[torch.Tensor] = []

    def ready() -> Iterator[Shot]:
        while waiting and len(done) >= int(waiting[0].present.sum()) and not (len(done) == 0 and waiting[0].present.any()):
            shot = waiting.popleft()
            count = int(shot.present.sum())
            landmarks = shot.landmarks.clone()
            if count:
                landmarks[shot.present] = torch.stack(done[:count])
                del done[:count]
            yield replace(shot, landmarks=landmarks)

    for shot in shots:
        waiting.append(shot)
        for landmarks, present in zip(shot.landmarks, shot.present.tolist(), strict=True):
            if present:
                done += smoother.push(landmarks)
            else:
                done += smoother.flush()
        yield from ready()
    done += smoother.flush()
    yield from ready()
