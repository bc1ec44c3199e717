"""Where the crops of a clip's faces lie in its frames, so that they can be pasted back; kept in safetensors.

A file holds the tensors `center` [N, K, 2], `axes` [N, K, 2, 2] and `side` [N, K], and in its metadata the format's
name, the size of a frame as "640x360", the frame rate as a fraction, or "still", and the width of the ramp at a
square's edges, "0.25", where it is not the usual one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from .compose import FEATHER
from .errors import LivePortraitError
from .faces import FaceSquare
from .files import atomic_write

FORMAT = "liveportrait-v2v placement 1"
STILL = "still"
MAX_FACES = 64
_AXES_TOLERANCE = 1e-3  # of axes @ axes.T to the identity, per entry
_SHAPES = {"center": (2,), "axes": (2, 2), "side": ()}


class PlacementError(LivePortraitError):
    """A file that is not a placement, or one that does not fit what is pasted."""


@dataclass(frozen=True)
class Placement:
    """The squares of K faces in N frames.

    Attributes:
        squares: N * K squares, on the CPU, frame by frame and in each face by face; side 0 where a face is not shown.
        faces: K.
        size: width and height of the frames in pixels.
        rate: frames per second, None for a still.
        feather: as in `compose.border_mask`, for pasting.
    """

    squares: FaceSquare
    faces: int
    size: tuple[int, int]
    rate: Fraction | None
    feather: float = FEATHER

    @classmethod
    def of(
        cls,
        chunks: Sequence[Sequence[FaceSquare]],
        size: tuple[int, int],
        rate: Fraction | None,
        feather: float = FEATHER,
    ) -> Placement:
        """Return the placement of consecutive chunks of frames, with the squares of each face in each of them."""
        by_frame = [
            FaceSquare(
                *(
                    torch.stack([getattr(face, name).float().cpu() for face in faces], dim=1).flatten(0, 1)
                    for name in _SHAPES
                )
            )
            for faces in chunks
        ]
        return cls(FaceSquare.cat(by_frame), len(chunks[0]), size, rate, feather)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.squares) // self.faces

    @property
    def shown(self) -> torch.Tensor:
        """Whether each face is shown in each frame, bool [N, K]."""
        return (self.squares.side > 0).view(-1, self.faces)

    @property
    def crop_count(self) -> int:
        """Number of crops: one for each face and frame that shows it, in the order of `squares`."""
        return int(self.shown.sum())

    def of_face(self, face: int) -> FaceSquare:
        """Return one face's square in each frame."""
        return self.squares[face :: self.faces]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the placement as safetensors; the file appears complete or not at all.

        Raises:
            OSError: the file can't be written.
        """
        tensors = {name: getattr(self.squares, name).float() for name in _SHAPES}
        shaped = {
            name: tensor.reshape(-1, self.faces, *tensor.shape[1:]).contiguous()
            for name, tensor in tensors.items()
        }
        rate = STILL if self.rate is None else str(self.rate)
        about = {"format": FORMAT, "size": f"{self.size[0]}x{self.size[1]}", "rate": rate}
        if self.feather != FEATHER:
            about["feather"] = str(self.feather)
        with atomic_write(path) as part:
            part.write_bytes(save(shaped, about))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Placement:
        """Read a placement file.

        Raises:
            PlacementError: the file can't be read, or is not a placement.
        """
        path = Path(path)
        try:
            return cls._read(path)
        except OSError as error:
            raise PlacementError(f"{path}: can't be read: {error.strerror or error}") from error
        # Damaged bytes lead the reader to whatever it happens to raise.
        except Exception as error:
            raise PlacementError(
                f"{path}: is no placement of crops: {error or type(error).__name__}"
            ) from error

    @classmethod
    def _read(cls, path: Path) -> Placement:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise ValueError(f"its format is {about.get('format')!r}, not {FORMAT!r}")
            tensors = {name: file.get_tensor(name).float() for name in _SHAPES}
        count, faces = tensors["side"].shape
        if not count or not 0 < faces <= MAX_FACES:
            raise ValueError(f"it has {count} frames with {faces} faces")
        for name, shape in _SHAPES.items():
            if tensors[name].shape != (count, faces, *shape) or not tensors[name].isfinite().all():
                raise ValueError(f"{name} is not {count} x {faces} finite squares")
        squares = FaceSquare(*(tensors[name].flatten(0, 1) for name in _SHAPES))
        turned = squares.axes[squares.side > 0]
        if (squares.side < 0).any() or _error_of(turned) > _AXES_TOLERANCE:
            raise ValueError("a square in it is none")
        width, height = (int(length) for length in about["size"].split("x"))
        rate = None if about["rate"] == STILL else Fraction(about["rate"])
        if width < 1 or height < 1 or (rate is not None and rate <= 0):
            raise ValueError(f"its frames are {width}x{height} at {rate} a second")
        feather = float(about.get("feather", FEATHER))
        if not 0 < feather <= 0.5:
            raise ValueError(f"its feather is {feather}")
        return cls(squares, faces, (width, height), rate, feather)


def _error_of(axes: torch.Tensor) -> float:
    return (axes @ axes.mT - torch.eye(2)).abs().max().item() if len(axes) else 0.0
