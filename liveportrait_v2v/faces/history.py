"""What became of a number in the course of a clip, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .boxes import Box

MESH = 478
"""Points of the tracker; an engine's own come after them."""
LISTED = 3
"""Events of one kind that a note lists."""


@dataclass(frozen=True)
class FirstSight:
    """A numbered face in the first frame that shows it.

    Attributes:
        number: of the face; None of one that a box gives.
        frame: counted from 0.
        box: left, top, right, bottom of its landmarks in that frame, in pixels.
    """

    number: int | None
    frame: int
    box: Box

    def __str__(self) -> str:
        return self.text()

    def text(self, clip: str = "") -> str:
        """Return a line about it; `clip` comes before "face"."""
        left, top, right, bottom = (round(value) for value in self.box)
        size, place = f"{right - left}x{bottom - top} pixels", f"{left}, {top} in frame {self.frame}"
        return f"{_name(self.number, clip)}: {size} at {place}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, the box in tenths of a pixel."""
        return {"number": self.number, "frame": self.frame, "box": [round(value, 1) for value in self.box]}


class FaceHistory:
    """Recorder of a number's first sight, its losses, its cuts and what is before it; takes frames in order.

    Attributes:
        first: None while no frame showed the face.
    """

    def __init__(self, number: int | None):
        """Take the number of the face; None for one that a box gives."""
        self._number = number
        self.first: FirstSight | None = None
        self._frames = 0  # that were taken
        self._seen = self._scene = 0  # the last frame that showed the face, and its scene
        self._gaps: list[str] = []
        self._cuts: list[str] = []
        self._covered: list[tuple[int, int]] = []  # first and last frames
        self._shut: list[tuple[int, int]] = []

    def add(self, index: int, landmarks: Tensor, present: Tensor, scenes: Tensor) -> None:
        """Take frames from `index` on, as `Tracks.face` gives them; those of an earlier pass are passed over."""
        if index < self._frames:
            return
        self._frames = index + len(present)
        for k in present.nonzero().flatten().tolist():
            frame, scene = index + k, int(scenes[k])
            if self.first is None:
                low, high = (part[:2].tolist() for part in landmarks[k, :MESH].aminmax(dim=0))
                self.first = FirstSight(self._number, frame, (*low, *high))
            elif scene != self._scene:
                self._cuts.append(str(frame))
            elif frame > self._seen + 1:
                self._gaps.append(_span(self._seen + 1, frame - 1))
            self._seen, self._scene = frame, scene

    def add_covered(self, frames: Iterable[int]) -> None:
        """Take numbers of frames in which something is before the mouth, so that it stays as it is."""
        _add(self._covered, frames)

    def add_shut(self, frames: Iterable[int]) -> None:
        """Take numbers of frames in which eyes stay shut, as no open ones were seen."""
        _add(self._shut, frames)

    def notes(self, clip: str = "") -> tuple[str, ...]:
        """Return a sentence each about cuts, losses, covered mouths and shut eyes; `clip` comes before "face"."""
        who = _name(self._number, clip)
        gaps, notes = list(self._gaps), []
        if self.first is not None and self._seen + 1 < self._frames:
            gaps.append(_span(self._seen + 1, self._frames - 1))
        if self._cuts:
            notes.append(f"{who} may be another person after the cut at frame {_listed(self._cuts)}")
        if gaps:
            notes.append(f"{who} is lost in frame {_listed(gaps)}")
        covered, shut = ([_span(*span) for span in spans] for spans in (self._covered, self._shut))
        if covered:
            notes.append(
                f"{who} has something before the mouth, which stays as it is, in frame {_listed(covered)}"
            )
        if shut:
            notes.append(
                f"{who} has eyes that stay shut, as no open ones were seen before, in frame {_listed(shut)}"
            )
        return tuple(notes)


def _name(number: int | None, clip: str) -> str:
    of_clip = f"{clip} " if clip else ""
    return f"{of_clip}face in the box" if number is None else f"{of_clip}face {number}"


def _add(spans: list[tuple[int, int]], frames: Iterable[int]) -> None:
    """Add numbers of frames, in order, to spans of those before; an earlier pass has added those up to its last."""
    for frame in frames:
        if not spans or frame > spans[-1][1] + 1:
            spans.append((frame, frame))
        elif frame > spans[-1][1]:
            spans[-1] = (spans[-1][0], frame)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _listed(events: Sequence[str]) -> str:
    more = len(events) - LISTED
    return ", ".join(events[:LISTED]) + (f" and {more} more" if more > 0 else "")
