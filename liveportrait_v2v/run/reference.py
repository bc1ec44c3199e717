"""The driving frame that relative motion starts from."""

from __future__ import annotations

import torch

from ..neutral import FAR_FROM_NEUTRAL, deviations, measures
from ..plan import MotionTemplate, Role
from ..settings import AUTO
from ..tracking import TrackedChunk


class ReferenceSearch:
    """Search for a role's most neutral driving frame; takes the frames of a clip in order, and a template as it is."""

    def __init__(self, role: Role, frames: int):
        """Take the role, and the number of driving frames that are read, 0 for a still."""
        self._role = role
        self._frames = 0  # that were taken
        self._measures: list[torch.Tensor] = []
        if isinstance(role.driving, MotionTemplate):
            self._measures.append(role.driving.measures()[: frames or None])

    def add(self, chunk: TrackedChunk) -> None:
        """Take a chunk; one of an earlier pass is passed over."""
        if chunk.index >= self._frames:
            self._frames = chunk.index + len(chunk)
            self._measures.append(measures(chunk.landmarks, chunk.present))

    def most_neutral(self) -> int:
        """Return the number of the most neutral frame so far; 0 if none shows a face."""
        return int(deviations(torch.cat(self._measures)).argmin())

    def note(self) -> str | None:
        """Return which frame was taken, or would be better than the first; None where it does not matter."""
        options, driving = self._role.options, self._role.driving
        if driving is None or driving.info.is_still or not self._measures:
            return None
        away = deviations(torch.cat(self._measures))
        if not away.isfinite().any():
            return None
        best = int(away.argmin())
        if options.reference_frame == AUTO:
            return f"reference_frame auto: took driving frame {best}, the most neutral of {len(away)}"
        first = away[away.isfinite()][0]
        chosen = options.reference_frame > 0 or not self._role.settings.relative
        if chosen or first < FAR_FROM_NEUTRAL or away[best] > first / 2:
            return None
        return (
            "the driving clip's first face is far from neutral, and relative motion starts from it; "
            f"reference_frame auto would take frame {best}"
        )
