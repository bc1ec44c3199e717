"""Faces that are given by a box instead of found by a detector, and followed through a clip.

A cat, a cartoon or a statue has no landmarks. Those of the canonical face stand for them, fitted into the box: whatever
places a square around a face takes them as it takes others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingsError
from . import topology
from .boxes import Box
from .canonical import canonical_face

FORMS = (
    "a box is x, y, width, height: numbers, or an object of that form; boxes are one for the first frame, or one for "
    "each frame, or for each frame a list with one for each face"
)
LEAST_CORRELATION = 0.55
"""Correlation of a followed picture with what is expected, from -1 to 1, below which it is lost."""
FOUND_CORRELATION = 0.65
"""Correlation from which a lost one is found again."""
_TEMPLATE = 40  # pixels of the pictures that are compared, along each axis of the box
_SEARCH = 2.0  # width of what is searched in boxes, and of a lost one
_SEARCH_LOST = 3.0
_STEP = 1.05  # between two sizes that are compared
_LEARNING = 0.1  # share of a frame's picture in what is expected of the next ones


@dataclass(frozen=True)
class FaceBoxes:
    """A face that boxes give.

    Attributes:
        boxes: of each frame x, y, width and height, or None where it does not show the face; the last one holds for all
            frames that follow. A single one is that of the first frame, and followed from there on.
        shares: they are in shares of the frame's size, else in pixels.
    """

    boxes: tuple[tuple[float, float, float, float] | None, ...]
    shares: bool = False

    @classmethod
    def parse(cls, value: Any, number: int = 0) -> FaceBoxes:
        """Return the face that boxes of any of these forms give.

        Args:
            value: x, y, width, height, in pixels, or shares of the frame where none is above 1; as four numbers, or as
                a mapping with these names; one of them, one for each frame, or a list with those of all faces for each
                frame; as lists, arrays or tensors.
            number: which one of the faces, where a frame has a list of them; a frame with fewer has none.

        Raises:
            SettingsError: another form, or a box without an area.
        """
        value = value.tolist() if hasattr(value, "tolist") else value
        rows = [value] if _is_box(value) else value
        if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
            raise SettingsError(f"{FORMS}; got {_shown(value)}")
        if all(isinstance(row, Sequence) and not _is_box(row) for row in rows):
            rows = [row[number] if number < len(row) else None for row in rows]
        boxes = tuple(None if row is None or row == [] else _box(row) for row in rows)
        if not any(boxes):
            raise SettingsError(f"boxes must hold face {number} in one frame at least, got none of it")
        return cls(boxes, max(max(box) for box in boxes if box) <= 1)

    @property
    def followed(self) -> bool:
        """Whether the one box is followed from the first frame on."""
        return len(self.boxes) == 1

    def at(self, frame: int, size: tuple[int, int]) -> Box | None:
        """Return left, top, right, bottom in pixels in a frame of this width and height."""
        box = self.boxes[min(frame, len(self.boxes) - 1)]
        if box is None:
            return None
        width, height = size if self.shares else (1, 1)
        x, y, w, h = box
        return x * width, y * height, (x + w) * width, (y + h) * height


def _is_box(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, Sequence) and len(value) == 4 and all(_is_number(part) for part in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _box(value: Any) -> tuple[float, float, float, float]:
    names = ("x", "y", "width", "height")
    if isinstance(value, Mapping) and all(_is_number(value.get(name)) for name in names):
        value = [value[name] for name in names]
    if not _is_box(value) or isinstance(value, Mapping):
        raise SettingsError(f"{FORMS}; got {_shown(value)}")
    x, y, width, height = (float(part) for part in value)
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise SettingsError(f"a box must have a width and a height above 0, got {_shown(value)}")
    return x, y, width, height


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@lru_cache(maxsize=1)
def _shape() -> Tensor:
    """Return the canonical face's landmarks [478, 3], those of `CROP_POINTS` from 0 to 1 along both axes.

    The forehead, which a box leaves out, is drawn in.
    """
    vertices = canonical_face().vertices
    points = torch.zeros(478, 3)
    points[:468] = vertices
    for upper, lower, iris in (
        (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, topology.LEFT_IRIS),
        (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, topology.RIGHT_IRIS),
    ):
        points[list(iris)] = vertices[[*upper, *lower]].mean(0)
    low, high = points[list(topology.CROP_POINTS), :2].aminmax(dim=0)
    size = high - low
    return torch.cat((((points[:, :2] - low) / size).clamp(0, 1), points[:, 2:] / size[0]), dim=1)


def landmarks_in(box: Box) -> Tensor:
    """Return landmarks float32 [478, 3] of a face that looks into the camera and fills a box from brow to chin."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return _shape() * torch.tensor([width, height, width]) + torch.tensor([left, top, 0.0])


class BoxTracker:
    """Tracker of a face that boxes give; takes the frames of one clip in order, as `FaceTracker` does."""

    def __init__(self, given: FaceBoxes):
        self._given = given
        self._frame = 0
        self._follower: _Follower | None = None

    def track(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the landmarks [N, 478, 3] of `landmarks_in` for frames uint8 [N, H, W, 3], and `present` [N]."""
        landmarks, present = torch.zeros(len(frames), 478, 3), torch.zeros(len(frames), dtype=torch.bool)
        for k, frame in enumerate(frames):
            box = self._box(frame)
            if box is not None:
                landmarks[k], present[k] = landmarks_in(box), True
            self._frame += 1
        return landmarks, present

    def _box(self, frame: Tensor) -> Box | None:
        height, width = frame.shape[:2]
        if not self._given.followed or self._frame == 0:
            box = self._given.at(self._frame, (width, height))
            if box is not None and self._given.followed:
                self._follower = _Follower(frame, box)
            return box
        assert self._follower is not None  # a single box is not None, and was there in the first frame
        return self._follower.next(frame)


class _Follower:
    """Follower of what is in a box, by normalized correlation of pictures at three sizes.

    What is expected is the mean of the first picture, which keeps it from drifting, and of those seen since.
    """

    def __init__(self, frame: Tensor, box: Box):
        self._box, self._lost = box, False
        window = _Window(frame, box, 1.0)
        self._first = window.picture
        self._since = window.picture

    def next(self, frame: Tensor) -> Box | None:
        """Return the box in the next frame uint8 [H, W, 3], None where it is lost."""
        expected = _normalized(self._first + self._since)
        reach = _SEARCH_LOST if self._lost else _SEARCH
        best, matches = None, []
        for step in (-1, 0, 1):
            match = _Window(frame, _scaled(self._box, _STEP**step), reach).match(expected)
            matches.append(match)
            if best is None or match[0] > best[0]:
                best = match
        assert best is not None
        correlation, box = best
        if correlation < (FOUND_CORRELATION if self._lost else LEAST_CORRELATION):
            self._lost = True
            return None
        self._lost = False
        shift = _peak(*(score for score, _ in matches)) if box is matches[1][1] else 0.0
        self._box = _scaled(box, _STEP**shift)
        seen = _Window(frame, self._box, 1.0).picture
        self._since = torch.lerp(self._since, seen, _LEARNING)
        return self._box


class _Window:
    """The surroundings of a box, in which the box is `_TEMPLATE` pixels wide and high."""

    def __init__(self, frame: Tensor, box: Box, reach: float):
        """Cut them out.

        Args:
            frame: uint8 [H, W, 3].
            reach: width of the surroundings, in boxes.
        """
        left, top, right, bottom = box
        self._width, self._height = max(right - left, 2.0), max(bottom - top, 2.0)
        across, down = self._width * reach / 2, self._height * reach / 2
        middle = (left + right) / 2, (top + bottom) / 2
        self._left, self._top = middle[0] - across, middle[1] - down
        count = round(_TEMPLATE * reach)
        self.picture = _cut(frame, (self._left, self._top, middle[0] + across, middle[1] + down), count)

    def match(self, expected: Tensor) -> tuple[float, Box]:
        """Return the highest correlation with a normalized picture, and the box there."""
        picture = self.picture[None]
        area = expected.numel()
        product = F.conv2d(picture, expected[None])
        mean = F.avg_pool2d(picture, _TEMPLATE, 1).mean(1, keepdim=True)
        square = F.avg_pool2d(picture.square(), _TEMPLATE, 1).mean(1, keepdim=True)
        spread = ((square - mean.square()).clamp(min=1e-6) * area).sqrt()
        scores = (product / spread)[0, 0]
        at = int(scores.argmax())
        row, column = divmod(at, scores.shape[1])
        y = row + _peak_at(scores[:, column], row)
        x = column + _peak_at(scores[row], column)
        left = self._left + x * self._width / _TEMPLATE
        top = self._top + y * self._height / _TEMPLATE
        return float(scores[row, column]), (left, top, left + self._width, top + self._height)


def _cut(frame: Tensor, box: Box, count: int) -> Tensor:
    """Return a part of a frame as float32 [3, count, count] in 0..1, averaged over areas, on the CPU."""
    height, width = frame.shape[:2]
    left, top, right, bottom = box
    columns = torch.arange(count, device=frame.device) + 0.5
    shrink = max(1, int((right - left) / count), int((bottom - top) / count))
    x0, y0 = max(math.floor(left) - shrink, 0), max(math.floor(top) - shrink, 0)
    x1, y1 = min(math.ceil(right) + shrink, width), min(math.ceil(bottom) + shrink, height)
    if x1 - x0 < shrink or y1 - y0 < shrink:
        return torch.zeros(3, count, count)
    part = frame[y0:y1, x0:x1].permute(2, 0, 1)[None].float() / 255
    part = F.avg_pool2d(part, shrink) if shrink > 1 else part
    wide, high = part.shape[3] * shrink, part.shape[2] * shrink
    x = (left + columns * (right - left) / count - x0) / wide * 2 - 1
    y = (top + columns * (bottom - top) / count - y0) / high * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    return F.grid_sample(part, grid, mode="bilinear", padding_mode="border", align_corners=False)[0].cpu()


def _normalized(picture: Tensor) -> Tensor:
    """Return a picture [3, T, T] with mean 0 and norm 1."""
    centred = picture - picture.mean()
    return centred / centred.norm().clamp(min=1e-6)


def _scaled(box: Box, factor: float) -> Box:
    left, top, right, bottom = box
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    across, down = width * factor / 2, height * factor / 2
    return x - across, y - down, x + across, y + down


def _peak(before: float, at: float, after: float) -> float:
    """Return where the parabola through three values at -1, 0 and 1 is highest, -0.5 to 0.5."""
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (before - after) / (2 * bend)))


def _peak_at(values: Tensor, at: int) -> float:
    """Return the place of the peak around an index, relative to it; 0 at an end."""
    if not 0 < at < len(values) - 1:
        return 0.0
    return _peak(*values[at - 1 : at + 2].tolist())
