"""Pasting crops back into the clip that they were cut from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch

from .. import compose
from ..engines.base import RenderedFrames
from ..errors import Cancelled
from ..faces import FaceSquare
from ..media import AudioStream, Clip, VideoWriter
from ..placement import Placement, PlacementError
from ..plan.pairing import STILL_RATE


@dataclass(frozen=True)
class Pasted:
    """A clip with crops pasted back.

    Attributes:
        frames: number of frames.
        rate: frames per second; of a still, that of its one frame in a file.
        audio: the clip's, exactly as long as the frames; None if it has none.
        notes: what the result lacks, or changes of what the clip holds, a sentence each.
    """

    frames: int
    rate: Fraction
    audio: AudioStream | None
    notes: tuple[str, ...]


def paste(
    clip: Clip,
    placement: Placement,
    pictures: Iterable[torch.Tensor],
    masks: Iterable[torch.Tensor] | None = None,
    *,
    output: str | os.PathLike[str],
    sink: Callable[[RenderedFrames], None] | None = None,
    on_frames: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
) -> Pasted:
    """Paste crops back into a clip, and write it with its audio.

    Args:
        clip: that the crops were cut from.
        placement, pictures, masks: as in `paste_crops`.
        output: video file, replaced once the new one is complete.
        sink: called with each chunk of the result, in order.
        on_frames: called after each chunk with the number of frames so far.
        cancelled: asked before each chunk; True ends it.
        chunk: frames at a time.

    Raises:
        MediaError: the clip can't be read, or the output not written.
        PlacementError: as `paste_crops`.
        Cancelled: `cancelled` returned True.
    """
    rate, done = clip.info.rate or STILL_RATE, 0
    heard = clip.checked_audio(Fraction(len(placement)) / rate)
    frames = (part.frames for part in clip.chunks(chunk))
    with VideoWriter(output, rate, audio=heard.audio) as writer:
        for rendered in paste_crops(
            frames, placement, iter(pictures), None if masks is None else iter(masks)
        ):
            if cancelled is not None and cancelled():
                raise Cancelled(f"stopped after {done} of {len(placement)} frames")
            writer.write(rendered.frames)
            if sink is not None:
                sink(rendered)
            done += len(rendered)
            if on_frames is not None:
                on_frames(done)
    notes = [*clip.info.notes, *heard.notes, *clip.damage]
    if clip.info.has_alpha:
        notes.append("has an alpha channel; the result is over black")
    return Pasted(done, rate, heard.audio, tuple(f"the clip {note}" for note in notes))


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
                square = squares[face][k : k + 1]
                _paste(result[k : k + 1], mask[k : k + 1], square, picture, opacity, placement.feather)
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
    feather: float,
) -> None:
    """Paste one picture into one frame [1, H, W, 3], and add its mask [1, H, W], both in place."""
    device = frame.device
    crop = picture.to(device).permute(2, 0, 1)[None]
    crop = crop.float() / 255 if crop.dtype == torch.uint8 else crop.float()
    own = None if opacity is None else opacity.to(device).float()[None]
    pasted = compose.paste_back(frame, crop, square, own, "bicubic", feather)
    added = compose.pasted_mask(frame, square, own, feather)
    frame.copy_(pasted)
    mask.copy_(1 - (1 - mask) * (1 - added))
