"""Crops of a clip's faces, for other tools to work on, and pasting them back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from .. import compose
from ..concurrency import Ahead
from ..engines.base import RenderedFrames
from ..errors import Cancelled, FaceNotFoundError
from ..faces import FaceSquare
from ..faces.smoothing import smooth_landmarks
from ..geometry import face_crop
from ..media import Clip
from ..placement import Placement, PlacementError
from ..plan.pairing import STILL_RATE
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
        squares: N * K squares as `Placement` has them.
        frames: N.
    """

    pictures: torch.Tensor
    squares: FaceSquare
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
        numbers: Sequence[int] | None = None,
        device: str = "cpu",
        chunk: int = 8,
    ):
        """Prepare the cutting; nothing is read yet.

        Args:
            settings: `dsize` is the crops' side; without `numbers`, `input_face_index` is the face.
            numbers: of the faces.
            device: where the frames go and torch computes.
            chunk: frames at a time.
        """
        self._clip = clip
        self._settings, self._options = settings or AnimationSettings(), options or MotionOptions()
        self._numbers = (self._settings.input_face_index,) if numbers is None else tuple(numbers)
        self._device, self._chunk = device, chunk
        self._cut: list[FaceSquare] = []

    @property
    def placement(self) -> Placement:
        """The placement of what was cut so far.

        Raises:
            FaceNotFoundError: none of the faces was found.
        """
        squares = FaceSquare.cat(self._cut)
        if not (squares.side > 0).any():
            who = ", ".join(map(str, self._numbers))
            raise FaceNotFoundError(
                f"face {who} was found nowhere in the clip's frames; set input_face_index"
            )
        return Placement(squares, len(self._numbers), self._clip.output_size(), self._clip.info.rate)

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
                    self._numbers,
                    device=self._device,
                    order=self._options.face_order,
                    chunk=self._chunk,
                )
            )
            rows = iter(stack.enter_context(Ahead(tracked.chunks())))
            columns = fan_out(rows, len(self._numbers))
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
            square, shown = _no_squares(count), chunk.present.nonzero().flatten()
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
        squares = _by_frames(own)
        self._cut.append(squares)
        return Crops(stacked, squares, count)


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


def paste_crops(
    frames: Iterable[torch.Tensor],
    placement: Placement,
    pictures: Iterator[torch.Tensor],
    masks: Iterator[torch.Tensor] | None = None,
) -> Iterator[RenderedFrames]:
    """Paste crops back into the frames that they were cut from.

    Args:
        frames: chunks uint8 [N, H, W, 3] of the clip, in order.
        placement: as it came with the crops.
        pictures: one picture [h, w, 3] for each crop, in order; uint8, or float in 0..1. Of any size: each covers the
            whole of its square.
        masks: one opacity [h, w] in 0..1 for each crop, in crop space, in place of the usual ramp at its border.

    Yields:
        the frames, with the mask of what was pasted.

    Raises:
        PlacementError: frames of another size or number, or fewer pictures or masks than crops.
    """
    done = used = 0
    shown = placement.shown
    for part in frames:
        if done + len(part) > len(placement) or (part.shape[2], part.shape[1]) != placement.size:
            break
        result, mask = part, torch.zeros(part.shape[:3], device=part.device)
        squares = []
        for face in range(placement.faces):
            squares.append(placement.of_face(face)[done : done + len(part)])
        for k in range(len(part)):
            for face in shown[done + k].nonzero().flatten().tolist():
                picture, opacity = next(pictures, None), None if masks is None else next(masks, None)
                if picture is None or (masks is not None and opacity is None):
                    what = "pictures" if picture is None else "masks"
                    raise PlacementError(f"the placement has {placement.crop_count} crops, got {used} {what}")
                used += 1
                result = result.clone() if result is part else result
                _paste(result[k : k + 1], mask[k : k + 1], squares[face][k : k + 1], picture, opacity)
        done += len(part)
        yield RenderedFrames(result, mask, tuple(squares))
    if done != len(placement):
        raise PlacementError(
            f"the placement is of {len(placement)} frames of {placement.size[0]}x{placement.size[1]} pixels, and the "
            f"clip is not; paste into the clip that the crops were cut from"
        )
    if next(pictures, None) is not None:
        raise PlacementError(f"the placement has {placement.crop_count} crops, got more pictures")


def _paste(
    frame: torch.Tensor,
    mask: torch.Tensor,
    square: FaceSquare,
    picture: torch.Tensor,
    opacity: torch.Tensor | None,
) -> None:
    """Paste one picture into one frame [1, H, W, 3], and add its mask [1, H, W], both in place."""
    device = frame.device
    crop = picture.to(device).permute(2, 0, 1)[None]
    crop = crop.float() / 255 if crop.dtype == torch.uint8 else crop.float()
    own = None if opacity is None else opacity.to(device).float()[None]
    pasted = compose.paste_back(frame, crop, square, own, "bicubic")
    added = compose.pasted_mask(frame, square, own)
    frame.copy_(pasted)
    mask.copy_(1 - (1 - mask) * (1 - added))


def _no_squares(count: int) -> FaceSquare:
    return FaceSquare(torch.zeros(count, 2), torch.eye(2).repeat(count, 1, 1), torch.zeros(count))


def _by_frames(faces: Sequence[FaceSquare]) -> FaceSquare:
    """Return the squares of K faces in N frames as one list, frame by frame."""
    return FaceSquare(
        *(
            torch.stack([getattr(face, name) for face in faces], dim=1).flatten(0, 1)
            for name in ("center", "axes", "side")
        )
    )
