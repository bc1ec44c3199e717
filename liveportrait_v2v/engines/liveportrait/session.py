"""One role of one run of the LivePortrait engine, and what it keeps of the two clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain

import torch

from ... import compose
from ...errors import SettingsError
from ...faces import FaceSquare
from ...faces.people import People
from ...faces.smoothing import Continuity, smooth_landmarks, variance_at
from ...media import ClipInfo
from ...plan import MotionTemplate
from ...settings import AnimationSettings, MotionOptions
from ...smoothing import ChunkSmoother
from ...tensors import TensorStruct
from ...tracking import TrackedChunk
from ..base import Edits, RenderedFrames, reference_chunk
from . import crops
from .edit import kept
from .landmarks203 import eye_openings, lip_opening
from .model import LivePortraitModel, Rescue
from .motion import ROW, SMOOTHED, Faces, Motion, Transfer, led_from, neutral
from .template import LivePortraitTemplate

_DrivingFrame = tuple[torch.Tensor | None, bool]
"""A row of `Motion.pack`, None without the face, and whether the face does not continue from the last one seen."""
_TEMPLATE_CHUNK = 16
"""Frames of a template that are smoothed together."""


@dataclass(frozen=True)
class _SourceFaces(TensorStruct):
    """The networks' reading of N source frames.

    Attributes:
        square: the crops' squares.
        crops: float32 [N, 3, 256, 256] in 0..1.
        volume: feature volumes, [N, 32, 16, 64, 64].
        kp: canonical keypoints, [N, 21, 3].
        motion: of the faces.
    """

    square: FaceSquare
    crops: torch.Tensor
    volume: torch.Tensor
    kp: torch.Tensor
    motion: Motion

    def last(self) -> _SourceFaces:
        """Return the last frame, in memory of its own."""
        last = self[-1:]
        return replace(last, crops=last.crops.clone(), volume=last.volume.clone())


@dataclass(frozen=True)
class _Check:
    """Looks whether pictures are finite, and pastes others back where half precision gave some that aren't."""

    frames: torch.Tensor
    square: FaceSquare
    feather: float
    rescue: Rescue
    stream: torch.cuda.Stream | None
    """The one that all of these were computed in, on CUDA."""

    @torch.no_grad()
    def __call__(self) -> RenderedFrames | None:
        with torch.cuda.stream(self.stream):  # None leaves everything as it is
            pictures = self.rescue()
            if pictures is None:
                return None
            frames = compose.paste_back(self.frames, pictures, self.square, feather=self.feather)
        if self.stream is not None:
            self.stream.synchronize()
        return RenderedFrames(frames, crops=(pictures,))


class LivePortraitSession:
    """One role of one run: the driving clip's square and reference, the source's resting face."""

    def __init__(
        self,
        model: LivePortraitModel,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ):
        self._model = model
        self._settings = settings
        self._options = options = model.options_for(options)
        self._source_rate = source_rate
        self._driving_rate = driving_rate
        self._transfer = Transfer(settings, options, source_rate is None, driving_rate is None)
        # Without a driving clip nothing of the face is changed but what is edited.
        own = replace(settings, eye_retargeting=False, lip_retargeting=False, lip_zero=False)
        self._unled = Transfer(own, MotionOptions(), source_is_still=True, driving_is_still=True)
        self._square: FaceSquare | None = None
        self._reference: Motion | None = None  # of one frame, as the next one
        self._people: People[Motion] = People()  # of the driving clip, with a reference each
        self._begin_source()

    def _begin_source(self) -> None:
        """Keep nothing of the source's face: its next frame is the first."""
        self._rest: Motion | None = None
        self._ratio: torch.Tensor | None = None  # of the scene
        self._continuity = Continuity()
        # The last frame that was read, and its number.
        self._read: tuple[int, _SourceFaces] | None = None

    def for_another_face(self) -> LivePortraitSession:
        other = copy(self)
        other._begin_source()
        return other

    def survey(self, chunks: Iterable[TrackedChunk]) -> None:
        """Find the driving clip's square, if it is to be cut, and its reference frame, if it isn't the first."""
        chunks = iter(chunks)
        first = next(chunks, None)
        if first is None:
            return
        height, width = first.frames.shape[1:3]
        cut = self._settings.crop_drive_face or height != width
        if not cut and not self._options.reference_frame:
            return
        mean = crops.MeanSquare()

        def watched() -> Iterator[TrackedChunk]:
            for chunk in chain((first,), chunks):
                mean.add(chunk.landmarks[chunk.present])
                yield chunk

        passing = watched()
        reference = reference_chunk(passing, self._options.reference_frame)
        if cut:
            deque(passing, maxlen=0)
            self._square = mean.get()
        if reference is not None:
            self._reference = Motion.unpack(self._read_driving(reference))
            self._people.add(int(reference.scenes[0]), reference.landmarks[0], self._reference)

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        return smooth_landmarks(chunks, self._options.smoothing, self._source_rate)

    def motions(self, chunks: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """Yield a row of `Motion.pack` for each driving frame, its rotation and expression smoothed.

        Behind a cut to another person, relative motion starts from that one's first frame.
        """
        return self._smoothed(self._led(chunks) if self._settings.relative else self._unsmoothed(chunks))

    def _led(self, chunks: Iterable[TrackedChunk]) -> Iterator[list[_DrivingFrame]]:
        """Yield the driving frames of `_unsmoothed`, those of all persons as motion since one reference."""
        passed: deque[TrackedChunk] = deque()

        def watched() -> Iterator[TrackedChunk]:
            for chunk in chunks:
                passed.append(chunk)
                yield chunk

        for frames in self._unsmoothed(watched()):
            chunk = passed.popleft()
            yield [
                (
                    row
                    if row is None
                    else self._since_reference(row, int(chunk.scenes[k]), chunk.landmarks[k]),
                    begins,
                )
                for k, (row, begins) in enumerate(frames)
            ]

    def _since_reference(self, row: torch.Tensor, scene: int, landmarks: torch.Tensor) -> torch.Tensor:
        """Return a row of any person as motion since the one reference."""
        own = self._people.at(scene, landmarks, lambda: Motion.unpack(row[None]))
        if self._reference is None:
            self._reference = own
        if own is self._reference:
            return row
        return led_from(Motion.of_rows(row[None]), own, self._reference).pack()[0]

    def record(self, chunks: Iterable[TrackedChunk], info: ClipInfo) -> LivePortraitTemplate:
        """Return the template of a driving clip: its motion, not smoothed."""
        rows, begins = zip(*chain.from_iterable(self._unsmoothed(chunks)), strict=True)
        motion = torch.stack([torch.zeros(ROW) if row is None else row.cpu() for row in rows])
        present = torch.tensor([row is not None for row in rows])
        return LivePortraitTemplate(Motion.unpack(motion), present, torch.tensor(begins), info.rate)

    def _unsmoothed(self, chunks: Iterable[TrackedChunk]) -> Iterator[list[_DrivingFrame]]:
        """Yield the driving frames of each chunk."""
        continuity = Continuity()
        for chunk in chunks:
            rows = iter(self._read_driving(chunk))
            frames: list[_DrivingFrame] = []
            for k, present in enumerate(chunk.present.tolist()):
                begins = not present or continuity.begins(chunk, k)
                frames.append((next(rows) if present else None, begins))
            yield frames

    def motions_of(self, template: MotionTemplate, count: int) -> Iterator[torch.Tensor | None]:
        """Yield the rows of a template's first frames, smoothed: stands for `survey` and `motions`.

        Raises:
            SettingsError: the template lacks the openings that retargeting needs, or the reference frame.
        """
        assert isinstance(template, LivePortraitTemplate)  # the run checked whose it is
        motion = template.motion
        for name, wanted, openings in (
            ("eye", self._settings.eye_retargeting, motion.eyes),
            ("lip", self._settings.lip_retargeting, motion.lips),
        ):
            if wanted and openings.isnan().any():
                raise SettingsError(
                    f"{name}_retargeting needs the {name} openings, which this template lacks; turn it off"
                )
        start, cap = self._options.reference_frame, self._settings.video_frame_load_cap
        shown = template.present[: cap or None].tolist()
        if True not in shown[start:]:
            raise SettingsError(
                f"reference_frame must be a frame of the template that shows the face, or have one after it, "
                f"got {start} of {len(shown)}"
            )
        rows = motion.pack().to(self._model.device)
        self._reference = Motion.unpack(rows[shown.index(True, start)][None])
        frames = [
            (row if seen else None, begin)
            for row, seen, begin in zip(
                rows[:count], shown[:count], template.begins[:count].tolist(), strict=True
            )
        ]
        return self._smoothed(frames[k : k + _TEMPLATE_CHUNK] for k in range(0, len(frames), _TEMPLATE_CHUNK))

    def _smoothed(self, chunks: Iterable[list[_DrivingFrame]]) -> Iterator[torch.Tensor | None]:
        """Smooth rows, those of a chunk together."""
        smoother = ChunkSmoother(variance_at(self._options.smoothing, self._driving_rate))
        missing: deque[bool] = deque()  # of each frame that was not yielded yet
        raw: deque[torch.Tensor] = deque()  # rows that are not final yet
        run: list[torch.Tensor] = []  # of these, the ones that the smoother has yet to take
        done: deque[torch.Tensor] = deque()

        def finish(smooth: torch.Tensor | None) -> None:
            if smooth is not None and len(smooth):
                rest = torch.stack([raw.popleft() for _ in range(len(smooth))])[:, SMOOTHED:]
                done.extend(torch.cat((smooth, rest), dim=1))

        def push() -> None:
            if run:
                finish(smoother.push(torch.stack(run)[:, :SMOOTHED]))
                run.clear()

        def ready() -> Iterator[torch.Tensor | None]:
            while missing and (missing[0] or done):
                yield None if missing.popleft() else done.popleft()

        for chunk in chunks:
            for row, begins in chunk:
                if begins:
                    push()
                    finish(smoother.flush())
                missing.append(row is None)
                if row is not None:
                    if self._reference is None:
                        self._reference = Motion.unpack(row[None])
                    run.append(row)
                    raw.append(row)
            push()
            yield from ready()
        finish(smoother.flush())
        yield from ready()

    @torch.no_grad()
    def render(
        self,
        chunk: TrackedChunk,
        driving: torch.Tensor | None,
        masks: bool = False,
        edits: Edits | None = None,
    ) -> RenderedFrames:
        source = self._source_faces(chunk)
        if driving is None:
            kp_source, kp_target = self._edited(source, edits)
        else:
            kp_source, kp_target = self._keypoints(source, chunk, Motion.unpack(driving), edits)
        pictures, rescue = self._model.render(source.crops, source.volume, kp_source, kp_target)
        feather = self._model.feather
        paste = partial(compose.paste_back, feather=feather)
        frames = self._model.batches(paste, chunk.frames, pictures, source.square)
        mask = compose.pasted_mask(chunk.frames, source.square, feather=feather) if masks else None
        device = self._model.device
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        check = _Check(chunk.frames, source.square, feather, rescue, stream)
        rendered = RenderedFrames(frames, mask, (source.square,), (pictures,), check=check)
        # Nothing is gained by waiting later for what a CPU has computed already.
        return rendered.settled() if device.type == "cpu" else rendered

    def _source_faces(self, chunk: TrackedChunk) -> _SourceFaces:
        """Read the source's faces; those of a held frame once."""
        if not chunk.held:
            self._read = None
            faces = self._read_source(chunk.frames, chunk.landmarks)
            self._read = chunk.index + len(chunk) - 1, faces.last()
            return faces
        if self._read is None or self._read[0] != chunk.index:
            self._read = chunk.index, self._read_source(chunk.frames[:1], chunk.landmarks[:1])
        return self._read[1].expand(len(chunk))

    def _read_source(self, frames: torch.Tensor, landmarks: torch.Tensor) -> _SourceFaces:
        square = crops.source_squares(landmarks, self._settings)
        pictures = crops.source_crops(frames, square, self._settings)
        rows, kp = self._read_crops(pictures, landmarks)
        return _SourceFaces(square, pictures, self._model.appearance(pictures), kp, Motion.of_rows(rows))

    def _read_driving(self, chunk: TrackedChunk) -> torch.Tensor:
        """Return rows of `Motion.pack`, one for each frame of a driving chunk that shows the face."""
        frames = chunk.frames_with_face()
        if not len(frames):
            return torch.empty(0)
        pictures = crops.driving_crops(frames, self._square)
        return self._read_crops(pictures, chunk.landmarks[chunk.present])[0]

    def _read_crops(
        self, pictures: torch.Tensor, landmarks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the motion network on crops, as `LivePortraitModel.read`."""
        device = pictures.device
        eyes, lips = (
            opening(landmarks).to(device, non_blocking=device.type == "cuda")
            for opening in (eye_openings, lip_opening)
        )
        return self._model.read(pictures, eyes, lips)

    def _edited(self, source: _SourceFaces, edits: Edits | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keypoints [N, 21, 3] of the source frames, and of these with an expression alone."""
        own = source.motion
        base = own if edits is None else kept(own, edits.to(self._model.device))
        faces = Faces(source.kp, own, own, base, base, base)
        return faces.kp_source, self._model.target_keypoints(self._unled, faces, own[:1], None, edits)

    def _keypoints(
        self, source: _SourceFaces, chunk: TrackedChunk, driving: Motion, edits: Edits | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keypoints [N, 21, 3] of the source frames and of the target."""
        if self._driving_rate is None:
            reference = neutral(driving[:1])
        else:
            assert self._reference is not None  # set by the first motion
            reference = self._reference
        begins, rest = self._scenes(chunk, source.motion)
        sides = source.kp, source.motion, rest, driving, reference
        if edits is None:
            faces = self._transfer.faces(*sides)
        else:
            faces = self._transfer.faces(*sides, partial(kept, edits=edits.to(self._model.device)))
        ratios = self._ratios(begins, faces, reference) if self._transfer.by_volume else None
        target = self._model.target_keypoints(self._transfer, faces, reference, ratios, edits)
        return faces.kp_source, target

    def _scenes(self, chunk: TrackedChunk, source: Motion) -> tuple[list[bool], Motion]:
        """Return whether each frame begins a scene of the source, and the resting face of each one's scene."""
        begins, rests = [], []
        for k in range(len(chunk)):
            begins.append(self._continuity.begins(chunk, k))
            if begins[-1] or self._rest is None:
                self._rest = source[k : k + 1]
            rests.append(self._rest)
        if rests[0] is rests[-1]:
            return begins, rests[0].expand(len(rests))
        return begins, Motion.cat(rests)

    def _ratios(self, begins: list[bool], faces: Faces, reference: Motion) -> torch.Tensor:
        """Return the volume ratio of each frame's scene, [N, 1, 1], taken where the scene begins."""
        ratios = []
        for k, begin in enumerate(begins):
            if begin or self._ratio is None:
                self._ratio = self._transfer.volume_ratio(faces[k : k + 1], reference)
            ratios.append(self._ratio)
        return torch.stack(ratios).view(-1, 1, 1)
