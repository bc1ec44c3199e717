"""The neutral face that motion starts from, found by itself."""

from __future__ import annotations

from collections import deque

import torch

from ..faces import topology
from ..neutral import ANGLES, MOUTH, deviations, measures
from ..tracking import TrackedChunk

STEADY_SECONDS = 0.6
"""Time for which a face holds still before it is taken."""
STEADY_FACE_WIDTHS = 0.02
"""Mean distance of its points from their mean over that time up to which a face holds still.

Measured on the real clips: 0.008 in the median of a woman who listens (at most 0.017), 0.017 and 0.021 of two men who
talk (0.003 and 0.008 at least), 0.048 of a small face that turns.
"""
FRONTAL_DEGREES = 15.0
"""Turn about each axis up to which a face is frontal."""
SHUT_MOUTH_OPENING = 0.12
"""Opening, height / width, below which a mouth counts as shut."""
PATIENCE_SECONDS = 3.0
"""Time after which the most neutral face so far is taken, although none held still."""


class NeutralFinder:
    """Search for the first steady frontal face with a shut mouth; takes the frames of a camera in order."""

    def __init__(self) -> None:
        self.interrupt()

    def interrupt(self) -> None:
        """Note a frame without the face: what was seen before it does not count."""
        self._since: float | None = None
        self._late: deque[tuple[float, torch.Tensor]] = deque()  # times and points in STEADY_SECONDS
        self._measures: list[torch.Tensor] = []
        self._best: TrackedChunk | None = None  # the most neutral, of all until its own time

    def take(self, face: TrackedChunk, seconds: float) -> TrackedChunk | None:
        """Take a frame that shows the face, and return the neutral one once it is found."""
        if self._since is None:
            self._since = seconds
        found = measures(face.landmarks, face.present)
        self._measures.append(found)
        if int(deviations(torch.cat(self._measures)).argmin()) == len(self._measures) - 1:
            self._best = face
        if self._holds_still(face.landmarks[0, :478, :2], seconds) and _is_neutral(found[0]):
            return face
        return self._best if seconds - self._since >= PATIENCE_SECONDS else None

    def _holds_still(self, points: torch.Tensor, seconds: float) -> bool:
        self._late.append((seconds, points))
        while self._late[0][0] < seconds - STEADY_SECONDS:
            self._late.popleft()
        assert self._since is not None  # a face was taken
        if seconds - self._since < STEADY_SECONDS:
            return False
        late = torch.stack([seen for _, seen in self._late])
        away = (late - late.mean(0)).norm(dim=-1).mean()
        return bool(away <= STEADY_FACE_WIDTHS * face_width(points))


def face_width(landmarks: torch.Tensor) -> torch.Tensor:
    """Return the width of a face [K, 2 or more] in pixels."""
    return (landmarks[topology.OVAL[8], :2] - landmarks[topology.OVAL[28], :2]).norm()


def _is_neutral(found: torch.Tensor) -> bool:
    return bool((found[ANGLES].abs() <= FRONTAL_DEGREES).all() and (found[MOUTH] < SHUT_MOUTH_OPENING).all())
