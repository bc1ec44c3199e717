"""Batches of pictures that fill as frames come, for the outputs of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import sockets

if TYPE_CHECKING:
    from fractions import Fraction

    import torch

    from ..liveportrait_v2v.engines import RenderedFrames
    from ..liveportrait_v2v.faces import FaceSquare
    from ..liveportrait_v2v.placement import Placement

_SHORTER = "use the video output instead of images, or shorten the clip"


class Batch:
    """An IMAGE of frames."""

    def __init__(self, count: int, size: tuple[int, int], channels: int = 3, remedy: str = _SHORTER):
        """Allocate the batch for this many pictures at most, of this width and height.

        Raises:
            SettingsError: it doesn't fit into memory; the message ends with the remedy.
        """
        self._images = sockets.empty_images(count, size[1], size[0], remedy, channels)
        self._filled = 0

    @property
    def images(self) -> torch.Tensor:
        """The pictures so far, float32 [N, H, W, C] in 0..1."""
        return self._images[: self._filled]

    def add(self, chunk: torch.Tensor) -> None:
        """Append frames uint8 [N, H, W, C]; alpha that the batch doesn't take is put over black."""
        images = self._next(len(chunk))
        images.copy_(chunk[..., : images.shape[3]]).div_(255)
        if chunk.shape[3] > images.shape[3]:
            images.mul_(chunk[..., 3:].float() / 255)

    def add_exact(self, pictures: torch.Tensor) -> None:
        """Append pictures float [N, C, H, W] in 0..1."""
        self._next(len(pictures)).copy_(pictures.permute(0, 2, 3, 1))

    def _next(self, count: int) -> torch.Tensor:
        images = self._images[self._filled : self._filled + count]
        self._filled += count
        return images


class Details:
    """What a local engine's run gives beside its frames: mask, squares, and crops, as far as they are asked for."""

    def __init__(self, count: int, size: tuple[int, int], masks: bool, crops: int):
        """Allocate the batches.

        Args:
            count: frames of the result.
            size: their width and height.
            masks: the mask is asked for.
            crops: how many crops a frame are asked for, 0 for none.

        Raises:
            SettingsError: they don't fit into memory.
        """
        remedy = "unlink the {} output, or shorten the clip"
        self._masks = Batch(count, size, 1, remedy.format("mask")) if masks else None
        self._crops = Batch(count * crops, (512, 512), remedy=remedy.format("crops")) if crops else None
        self._squares: list[tuple[FaceSquare, ...]] = []

    @property
    def mask(self) -> torch.Tensor | None:
        """MASK of all frames, float32 [N, H, W]; None if it isn't asked for."""
        return None if self._masks is None else self._masks.images[..., 0]

    @property
    def crops(self) -> torch.Tensor | None:
        """IMAGE of all crops; None if it isn't asked for."""
        return None if self._crops is None else self._crops.images

    def placement(self, size: tuple[int, int], rate: Fraction, feather: float) -> Placement:
        """Return where the faces are in the frames so far, which have this size and rate, pasted with this feather."""
        from ..liveportrait_v2v.placement import Placement

        return Placement.of(self._squares, size, rate, feather)

    def add(self, rendered: RenderedFrames) -> None:
        """Append a chunk of the result."""
        self._squares.append(rendered.squares)
        if self._masks is not None and rendered.mask is not None:
            self._masks.add_exact(rendered.mask[:, None])
        if self._crops is not None:
            self._crops.add_exact(rendered.crops_by_frame())
