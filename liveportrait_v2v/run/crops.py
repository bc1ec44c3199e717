"""Crops of a clip's faces, for other tools to work on; `paste` puts them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from .. import compose
from ..concurrency import Ahead
from ..errors import Cancelled, FaceNotFoundError
from ..faces import FaceSquare
from ..faces.given import FaceBoxes
from ..faces.smoothing import smooth_landmarks
from ..geometry import face_crop
from ..media import Clip
from ..placement import Placement
from ..plan.pairing import STILL_RATE
from ..remedies import remedy
from ..resampling import resize
from ..settings import AnimationSettings, MotionOptions
from ..tracking import TrackedClip
from .gaps import SourceChunk, mend_source
from .passes import fan_out

_PIXELS = 8 * 1024**2
"""Pixels of crops that are held at full size at a time."""


@dataclass(frozen=True)
class Crops:
    """Crops of some faces in consecutive frames.

    Attributes:
        pictures: uint8 [M, size, size, 3], of each face and frame that shows it, frame by frame.
        frames: number of frames.
    """

    pictures: torch.Tensor
    frames: int


class FaceCropper:
    """Cutter of the squares that an animation with the same settings would paste.

    Short gaps in a track are bridged as in a run. Memory does not grow with the clip.

    Attributes:
        placement: of what was cut so far.
    """

    def __init__(
        self,
        clip: Clip,
        settings: AnimationSettings | None = None,
        options: MotionOptions | None = None,
        *,
        faces: Sequence[int | FaceBoxes] | None = None,
        device: str = "cpu",
        chunk: int = 8,
    ):
        """Prepare the cutting; nothing is read yet.

        Args:
            settings: `dsize` is the crops' side; without `faces`, `input_face_index` is the face.
            faces: numbers of the faces, or boxes that give one.
            device: where the frames go and torch computes.
            chunk: frames at a time.
        """
        self._clip = clip
        self._settings, self._options = settings or AnimationSettings(), options or MotionOptions()
        self._faces = (self._settings.input_face_index,) if faces is None else tuple(faces)
        self._device, self._chunk = device, chunk
        self._cut: list[list[FaceSquare]] = []

    @property
    def placement(self) -> Placement:
        """The placement of what was cut so far.

        Raises:
            FaceNotFoundError: none of the faces was found.
        """
        if not any((face.side > 0).any() for faces in self._cut for face in faces):
            numbers = [str(face) for face in self._faces if isinstance(face, int)]
            who = f"face {', '.join(numbers)} was found" if numbers else "the boxes show a face"
            raise FaceNotFoundError(
                f"{who} nowhere in the clip's frames: {remedy('faces')}, then set input_face_index; or give a box"
            )
        return Placement.of(self._cut, self._clip.output_size(), self._clip.info.rate)

    def crops(self, cancelled: Callable[[], bool] | None = None) -> Iterator[Crops]:
        """Cut the faces out, chunk by chunk.

        Raises:
            MediaError: the clip can't be decoded.
            Cancelled: `cancelled` returned True.
        """
        self._cut.clear()
        rate = self._clip.info.rate
        smooth = partial(smooth_landmarks, variance=self._options.smoothing, rate=rate)
        with ExitStack() as stack:
            tracked = stack.enter_context(
                TrackedClip(
                    self._clip,
                    self._faces,
                    device=self._device,
                    order=self._options.face_order,
                    chunk=self._chunk,
                )
            )
            rows = iter(stack.enter_context(Ahead(tracked.chunks())))
            columns = fan_out(rows, len(self._faces))
            mended = [mend_source(column, smooth, rate or STILL_RATE) for column in columns]
            for faces in zip(*mended, strict=True):
                if cancelled is not None and cancelled():
                    raise Cancelled("stopped while cutting faces out")
                yield self._of(faces)

    def _of(self, faces: Sequence[SourceChunk]) -> Crops:
        count, own = len(faces[0]), []
        pictures: list[list[torch.Tensor]] = [[] for _ in range(count)]
        for face in faces:
            chunk = face.tracked
            square, shown = FaceSquare.none(count), chunk.present.nonzero().flatten()
            if len(shown):
                found = face_crop(chunk.landmarks[shown], self._settings)
                square.center[shown], square.axes[shown], square.side[shown] = (
                    found.center,
                    found.axes,
                    found.side,
                )
                cut = cut_squares(chunk.frames_with_face(), found, self._settings.dsize)
                for k, picture in zip(shown.tolist(), cut, strict=True):
                    pictures[k].append(picture)
            own.append(square)
        flat = [picture for frame in pictures for picture in frame]
        size = self._settings.dsize
        stacked = torch.stack(flat) if flat else torch.zeros(0, size, size, 3, dtype=torch.uint8)
        self._cut.append(own)
        return Crops(stacked, count)


def cut_squares(frames: torch.Tensor, squares: FaceSquare, size: int) -> torch.Tensor:
    """Cut each frame's square out, by means over areas where it is larger than the crop.

    Args:
        frames: uint8 [N, H, W, 3].
        size: side of the crops in pixels.

    Returns:
        uint8 [N, size, size, 3]; outside the frame its nearest pixels, so that nothing dark is pasted at its edges.
    """
    finer = max(1, -(-int(squares.side.max().item()) // size))  # samples a pixel, along each axis
    step = max(1, _PIXELS // (size * finer) ** 2)
    parts = []
    for k in range(0, len(frames), step):
        picture = compose.crop(frames[k : k + step], squares[k : k + step], size * finer, "bicubic", "border")
        picture = resize(picture, size, size) if finer > 1 else picture
        parts.append(picture.mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(parts)
