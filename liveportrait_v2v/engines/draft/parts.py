"""Eyes and mouths of faces in a picture, with what is read off their landmarks, each of it once."""

from __future__ import annotations

from functools import cached_property

import torch

from ...tensors import taken
from . import face
from .curves import curves_along
from .face import Frame


class Parts:
    """Eyes and mouths of N faces.

    Attributes:
        points: float32 [N, 478, 2] in pixels.
    """

    def __init__(self, landmarks: torch.Tensor):
        """Take the faces of landmarks [N, 478, >=2]."""
        self.points = landmarks[..., :2]

    @cached_property
    def eyes(self) -> Frame:
        """Frames of the N left eyes, then of the N right ones."""
        return face.eye_frames(self.points)

    def eye(self, number: int) -> Frame:
        """Return the frames of the left eyes, 0, or the right ones, 1."""
        count = len(self.points)
        return self.eyes[number * count : (number + 1) * count]

    @cached_property
    def eye_openings(self) -> torch.Tensor:
        """As `face.eye_openings`, [N, 2]."""
        return face.eye_openings(self.points)

    @cached_property
    def eyes_in_view(self) -> torch.Tensor:
        """As `face.eyes_in_view`, [N, 2]."""
        return face.eyes_in_view(self.eyes)

    @cached_property
    def lid_points(self) -> torch.Tensor:
        """Landmarks along the upper and then the lower lid of the left and the right eye, float32 [2, N, K, 2]."""
        numbers = [number for upper, lower, _ in face.EYES for number in (*upper, *lower)]
        return taken(self.points, numbers).unflatten(1, (2, -1)).transpose(0, 1)

    @cached_property
    def lids(self) -> torch.Tensor:
        """Curves along the upper and the lower lids of N left, then N right eyes, float32 [2, 2 N, CURVE_SAMPLES]."""
        places = self.eyes.local(self.lid_points.flatten(0, 1))
        return curves_along(places.unflatten(1, (2, -1)).transpose(0, 1))

    @cached_property
    def irises(self) -> torch.Tensor:
        """Landmarks of the irises in the frames of their eyes, the middle first, float32 [2 N, 5, 2]."""
        numbers = [number for _, _, iris in face.EYES for number in iris]
        points = taken(self.points, numbers).unflatten(1, (2, -1)).transpose(0, 1)
        return self.eyes.local(points.flatten(0, 1))

    @cached_property
    def mouth(self) -> Frame:
        """The mouth's frame."""
        return face.mouth_frame(self.points)

    @cached_property
    def mouth_opening(self) -> torch.Tensor:
        """As `face.mouth_opening`, [N]."""
        return face.mouth_opening(self.points)

    @cached_property
    def lip_rows(self) -> torch.Tensor:
        """Landmarks of the upper and the lower lip's inner margin in the mouth's frame, float32 [2, N, 11, 2]."""
        places = self.mouth.local(taken(self.points, (*face.UPPER, *face.LOWER)))
        return places.unflatten(1, (2, -1)).transpose(0, 1)

    @cached_property
    def lips(self) -> torch.Tensor:
        """Curves along these margins, float32 [2, N, CURVE_SAMPLES]."""
        return curves_along(self.lip_rows)
