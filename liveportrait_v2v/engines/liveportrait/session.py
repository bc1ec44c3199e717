"""One run of the LivePortrait engine, and what it remembers of the two clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import torch

from ... import compose
from ...errors import SettingsError
from ...faces.smoothing import is_continuous, smooth_landmarks, variance_at
from ...geometry import FaceSquare
from ...settings import AnimationSettings, MotionOptions
from ...smoothing import FixedLagSmoother
from ..base import DrivingMotion, TrackedChunk, reference_shot
from . import crops
from .landmarks203 import eye_openings, lip_opening
from .motion import ROW, SMOOTHED, Faces, Motion, Transfer, neutral, place
from .retarget import refine

if TYPE_CHECKING:
    from .engine import LivePortraitEngine
    from .template import LivePortraitTemplate


@dataclass(frozen=True)
class _Look:
    """What the networks see in N source frames.

    Attributes:
        square: the crops' squares.
        crops: float32 [N, 3, 256, 256] in 0..1.
        volume: feature volumes, [N, 32, 16, 64, 64].
        kp: canonical keypoints, [N, 21, 3].
        motion: what the faces do.
    """

    square: FaceSquare
    crops: torch.Tensor
    volume: torch.Tensor
    kp: torch.Tensor
    motion: Motion

    def last(self) -> _Look:
        """The last frame, in memory of its own."""
        crops, volume = self.crops[-1:].clone(), self.volume[-1:].clone()
        return _Look(self.square[-1:], crops, volume, self.kp[-1:], self.motion[-1:])

    def expand(self, count: int) -> _Look:
        square = FaceSquare(
            self.square.center.expand(count, 2),
            self.square.axes.expand(count, 2, 2),
            self.square.side.expand(count),
        )
        parts = (part.expand(count, *part.shape[1:]) for part in (self.crops, self.volume, self.kp))
        return _Look(square, *parts, self.motion.expand(count))


class LivePortraitSession:
    """One run: the driving clip's square and reference, the source's resting face."""

    def __init__(
        self,
        engine: LivePortraitEngine,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ):
        self._engine = engine
        self._settings = settings
        self._options = options
        self._source_rate = source_rate
        self._driving_rate = driving_rate
        self._transfer = Transfer(settings, options, source_rate is None, driving_rate is None)
        self._square: FaceSquare | None = None
        self._reference: torch.Tensor | None = None  # a row of `Motion.pack`, as the next one
        self._rest: torch.Tensor | None = None
        self._ratio: torch.Tensor | None = None  # of the scene
        self._last: torch.Tensor | None = None  # landmarks
        self._held: _Look | None = None  # the last source frame

    def survey(self, shots: Iterable[TrackedChunk]) -> None:
        """Finds the driving clip's square, if it is to be cut, and its reference frame, if it isn't the first."""
        shots = self._marked(shots)
        first = next(shots, None)
        if first is None:
            return
        height, width = first.frames.shape[1:3]
        cut = self._settings.crop_drive_face or height != width
        if not cut and not self._options.reference_frame:
            return
        mean = crops.MeanSquare()

        def watched() -> Iterator[TrackedChunk]:
            for shot in chain((first,), shots):
                mean.add(shot.landmarks[shot.present])
                yield shot

        passing = watched()
        reference = reference_shot(passing, self._options.reference_frame)
        if cut:
            deque(passing, maxlen=0)
            self._square = mean.get()
        if reference is not None:
            self._reference = self._read_driving(reference)[0]

    def source(self, shots: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        return smooth_landmarks(self._marked(shots), self._options.smoothing, self._source_rate)

    def motions(self, shots: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """A row of `Motion.pack` for each driving frame: its rotation and expression smoothed."""
        return self._calm(self.read(shots))

    def read(self, shots: Iterable[TrackedChunk]) -> Iterator[tuple[torch.Tensor | None, bool]]:
        """The same as the frames have it, and whether the face does not go on from the frame before."""
        last: torch.Tensor | None = None
        for shot in self._marked(shots):
            rows = iter(self._read_driving(shot))
            for landmarks, present in zip(shot.landmarks, shot.present.tolist(), strict=True):
                yield (
                    next(rows) if present else None,
                    not present or last is None or not is_continuous(last, landmarks),
                )
                last = landmarks if present else None

    def recall(self, template: LivePortraitTemplate, count: int) -> Iterator[torch.Tensor | None]:
        """As `motions`, of the first frames of a template.

        Raises:
            SettingsError: the template lacks the openings that retargeting needs, or the reference frame.
        """
        for name in ("eye", "lip"):
            openings = template.motion.eyes if name == "eye" else template.motion.lips
            if getattr(self._settings, f"{name}_retargeting") and openings.isnan().any():
                raise SettingsError(
                    f"{name}_retargeting needs the {name} openings, which this template lacks; turn it off"
                )
        present, begins = template.present[:count].tolist(), template.begins[:count].tolist()
        start = self._options.reference_frame
        if True not in present[start:]:
            raise SettingsError(
                f"reference_frame must be a frame of the template that shows the face, or have one after it, "
                f"got {start} of {len(present)}"
            )
        rows = template.motion[:count].pack().to(self._engine.networks.device)
        self._reference = rows[present.index(True, start)]
        return self._calm(
            (row if seen else None, begin) for row, seen, begin in zip(rows, present, begins, strict=True)
        )

    def _calm(self, frames: Iterable[tuple[torch.Tensor | None, bool]]) -> Iterator[torch.Tensor | None]:
        """Smooths rows; None is a frame without the face, and True begins anew."""
        smoother = FixedLagSmoother(variance_at(self._options.smoothing, self._driving_rate))
        waiting: deque[torch.Tensor | None] = deque()
        calm: deque[torch.Tensor] = deque()

        def ready() -> Iterator[torch.Tensor | None]:
            while waiting and (waiting[0] is None or calm):
                row = waiting.popleft()
                yield None if row is None else torch.cat((calm.popleft(), row[SMOOTHED:]))

        for row, begins in frames:
            if begins:
                calm += smoother.flush()
            waiting.append(row)
            if row is not None:
                if self._reference is None:
                    self._reference = row
                calm += smoother.push(row[:SMOOTHED])
            yield from ready()
        calm += smoother.flush()
        yield from ready()

    @torch.no_grad()
    def render(self, shot: TrackedChunk, cues: list[DrivingMotion]) -> torch.Tensor:
        if not shot.held:
            self._held = None
        led = [cue.motion() for cue in cues]
        shown = [k for k, motion in enumerate(led) if motion is not None and shot.present[k]]
        if not shown:
            return shot.frames
        driving = Motion.unpack(torch.stack([led[k] for k in shown]))
        look = self._look(shot, shown)
        kp_source, kp_target = self._keypoints(look, shot.landmarks[shown], driving)
        pictures = self._engine.render(look.crops, look.volume, kp_source, kp_target)
        if len(shown) == len(shot):
            return compose.paste_back(shot.frames, pictures, look.square)
        frames = shot.frames.clone()
        frames[shown] = compose.paste_back(shot.frames[shown], pictures, look.square)
        return frames

    def _marked(self, shots: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        """The shots with the 203 points, where their network is there."""
        network = self._engine.landmarks
        return iter(shots) if network is None else network.extend(shots)

    def _look(self, shot: TrackedChunk, shown: list[int]) -> _Look:
        if shot.held:
            if self._held is None:
                self._held = self._look_at(shot.frames[:1], shot.landmarks[:1])
            return self._held.expand(len(shown))
        frames = shot.frames if len(shown) == len(shot) else shot.frames[shown]
        look = self._look_at(frames, shot.landmarks[shown])
        if shown[-1] == len(shot) - 1:
            self._held = look.last()
        return look

    def _look_at(self, frames: torch.Tensor, landmarks: torch.Tensor) -> _Look:
        square = crops.source_squares(landmarks, self._settings)
        pictures = crops.source_crops(frames, square, self._settings)
        rows = self._read(pictures, landmarks)
        kp = rows[:, ROW:].unflatten(1, (21, 3))
        volume = self._engine.batches(self._engine.networks.appearance, pictures)
        return _Look(square, pictures, volume, kp, Motion.unpack(rows[:, :ROW]))

    def _read_driving(self, shot: TrackedChunk) -> torch.Tensor:
        """Rows of `Motion.pack`, one for each frame of a driving shot that shows the face."""
        if not shot.present.any():
            return torch.empty(0, ROW)
        frames = shot.frames if shot.present.all() else shot.frames[shot.present.to(shot.frames.device)]
        pictures = crops.driving_crops(frames, self._square)
        return self._read(pictures, shot.landmarks[shot.present])[:, :ROW]

    def _read(self, pictures: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """What the motion network says of crops, as `LivePortraitEngine.read`."""
        device = pictures.device
        eyes, lips = (
            opening(landmarks).to(device, non_blocking=device.type == "cuda")
            for opening in (eye_openings, lip_opening)
        )
        return self._engine.read(pictures, eyes, lips)

    def _keypoints(
        self, look: _Look, landmarks: torch.Tensor, driving: Motion
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keypoints [N, 21, 3] of the source frames and of the target."""
        still = self._driving_rate is None
        reference = neutral(driving[:1]) if still else Motion.unpack(self._reference[None])
        begins, rest = self._scenes(landmarks, look.motion)
        faces = self._transfer.faces(look.kp, look.motion, rest, driving, reference)
        ratios = self._ratios(begins, faces, reference) if self._transfer.by_volume else None
        x = self._transfer.keypoints(faces, reference, ratios)
        return place(look.kp, look.motion), refine(self._engine.networks, self._transfer, faces, x)

    def _scenes(self, landmarks: torch.Tensor, source: Motion) -> tuple[list[bool], Motion]:
        """Whether each frame begins a scene: the source goes on with another face, or the same at another place; and
        the resting face of each one's scene."""
        begins, rests = [], []
        for marks, row in zip(landmarks, source.pack(), strict=True):
            begins.append(self._last is None or not is_continuous(self._last, marks))
            if begins[-1]:
                self._rest = row
            self._last = marks
            rests.append(self._rest)
        return begins, Motion.unpack(torch.stack(rests))

    def _ratios(self, begins: list[bool], faces: Faces, reference: Motion) -> torch.Tensor:
        """The volume ratio of each frame's scene, [N, 1, 1], taken where the scene begins."""
        ratios = []
        for k, begin in enumerate(begins):
            if begin:
                self._ratio = self._transfer.volume_ratio(faces[k : k + 1], reference)
            ratios.append(self._ratio)
        return torch.stack(ratios).view(-1, 1, 1)
