"""Search for faces on one frame: detection, confirmation by their landmarks, and which way up they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .boxes import Box, iou, side
from .crops import cut, square_of_detection
from .detect import (
    Detection,
    detect,
    detect_in_tiles,
    detect_near,
    detect_turned,
    needs_tiles,
    tile_count,
    upright_scores,
)
from .estimate import Estimate, Estimator
from .inference import MIN_PRESENCE
from .nets import load_net
from .square import FaceSquare

SAME_IOU = 0.5
"""Intersection over union from which two boxes are one person."""
KNOWN_IOU = 0.3
"""Intersection over union from which a detection is a face that is already followed."""
COMB_FRAMES = 90
"""Frames from one search in tiles to the next while faces are in view, at least."""
SHORT_RANGE_SEARCHES, TURNED_SEARCHES = 4, 16
"""Of searches in a row that find nothing, those that try the other detector and the picture turned: each so many."""
CLEAR, WRONG = 0.06, 0.17
"""Disagreement of a face with itself up to which a detection is believed, and from which no face is.

The network finds a face the wrong way up in most pictures of a face upside down, at a presence of 1, but it finds
another one where the square is turned a little: this is the mean shift of the landmarks by turns of 30 degrees, over
the face's side. 105 faces of 19 clips in twelve turns: median 0.034 the right way up, 0.08 in 95 %, up to 0.167 in wide
goggles; the wrong way up from 0.068, median 0.21.
"""
SURE, MARGIN = 1.0, 0.5
"""Support from which a face is believed, and by which another one has to exceed those of other turns.

Support is the score of both detectors in a crop that is level with the face, from 0 to 2, less four times the
disagreement. Of the same faces: median 1.6 the right way up, 0.02 to 1.0 in goggles; the wrong way up at most 0.94, and
always by 0.78 less than the same face the right way up.
"""
_FULL, _SHORT = "face_detector_full_range", "face_detector_short_range"
LEAST_SHARE = 0.25
"""Size of the smallest face that is found in tiles, in sizes of the largest one: a crowd far behind gets no numbers."""


@dataclass(frozen=True)
class Known:
    """What is known of the faces of a frame that is searched.

    Attributes:
        frame: number of the frame.
        boxes: of the faces in view.
        lost: where those are expected that were lost of late, x and y in pixels.
        cut: the whole picture was cut, and no face was found since.
    """

    frame: int
    boxes: list[Box]
    lost: list[tuple[float, float]]
    cut: bool


class FaceSearch:
    """Search for the faces of a clip that are not known yet; takes some of its frames, in order."""

    def __init__(self, device: str, estimator: Estimator):
        self._device, self._estimator = device, estimator
        self._combed: int | None = None  # frame of the last search in tiles
        self._fruitless = 0  # searches since the last one that found a face

    def find(self, frame: Tensor, known: Known) -> list[Estimate]:
        """Return the faces of a frame uint8 [1, H, W, 3] that are not known, each the right way up."""
        picture = _Picture(frame, self._device)
        found = self._faces(picture, self._detected(frame, known), known.boxes)
        if not found and not known.boxes:
            # Faces that only the short range sees are rare enough to search for them less often.
            if self._fruitless % SHORT_RANGE_SEARCHES == 0:
                found = self._faces(picture, self._detect(frame, _SHORT), [])
            if not found and self._fruitless % TURNED_SEARCHES == 0:
                found = self._turned_faces(picture)
            self._fruitless += 1
        if found:
            self._fruitless = 0
        return found

    def _detect(self, frame: Tensor, net: str) -> list[Detection]:
        return detect(frame, net, self._device)[0]

    def _detected(self, frame: Tensor, known: Known) -> list[Detection]:
        """Return the faces that a detector finds: in the whole picture, and in a large one in tiles at times."""
        found = self._detect(frame, _FULL)
        height, width = frame.shape[1:3]
        if not needs_tiles(height, width):
            return found
        small: list[Detection] = []
        if self._comb_due(tile_count(height, width), known):
            self._combed = known.frame
            small = detect_in_tiles(frame, self._device)
        else:
            for place in known.lost:
                small += detect_near(frame, self._device, *place)
        sizes = [side(d.box) for d in (*found, *small)] + [side(box) for box in known.boxes]
        least = LEAST_SHARE * max(sizes, default=0.0)
        # Those of the tiles first: their boxes are the more exact ones.
        distinct = [d for d in small if side(d.box) >= least]
        return distinct + [d for d in found if all(iou(d.box, other.box) < KNOWN_IOU for other in distinct)]

    def _comb_due(self, tiles: int, known: Known) -> bool:
        """Return whether to search in tiles: in the first frame, behind cuts, and at times.

        Without known faces in view that is one tile a frame on average, with them at most a quarter of one.
        """
        if self._combed is None:
            return True
        since = known.frame - self._combed
        if known.cut:
            return since >= tiles // 4
        return since >= (max(COMB_FRAMES, 4 * tiles) if known.boxes else max(10, tiles))

    def _faces(self, picture: _Picture, detected: list[Detection], known: list[Box]) -> list[Estimate]:
        """Return detections outside of known boxes that the landmark network confirms twice, the right way up.

        The second inference is in the square around the first one's landmarks, in which tracking continues.
        """
        squares = [
            square_of_detection(d)
            for d in detected
            if side(d.box) > 0 and all(iou(d.box, box) < KNOWN_IOU for box in known)
        ]
        confirmed = self._confirmed(picture.frame, squares)
        righted = [self._righted(picture, square, e) for square, e in zip(squares, confirmed, strict=True)]
        return _distinct([e for e in righted if e is not None], known)

    def _turned_faces(self, picture: _Picture) -> list[Estimate]:
        """Return the faces that are detected in the picture turned by 90, 180 and 270 degrees, beyond doubt."""
        squares = picture.turned_squares
        confirmed = zip(squares, self._confirmed(picture.frame, squares), strict=True)
        righted = [self._most_supported(picture, square, e) for square, e in confirmed if e.holds]
        return _distinct([e for e in righted if e is not None], [])

    def _confirmed(self, frame: Tensor, squares: list[FaceSquare]) -> list[Estimate]:
        """Infer landmarks in each square, and where they are believed, again in the square around them."""
        first = self._estimator.on(frame, squares)
        again = iter(self._estimator.on(frame, [e.wanted for e in first if e.presence >= MIN_PRESENCE]))
        return [next(again) if e.presence >= MIN_PRESENCE else e for e in first]

    def _righted(self, picture: _Picture, square: FaceSquare, found: Estimate) -> Estimate | None:
        """Return the face of a detection's square, the right way up; None if there is doubt."""
        if found.holds and self._disagreements(picture.frame, [found])[0] <= CLEAR:
            return found
        return self._most_supported(picture, square, found)

    def _most_supported(self, picture: _Picture, square: FaceSquare, found: Estimate) -> Estimate | None:
        """Return the face in a square for which most speaks, of all turns; None if that is not enough."""
        frame, reach = picture.frame, square.side.item() / 2
        turns = (60, 120, 180, 240, 300) if found.holds else (180,)
        others = self._confirmed(frame, [_turned(square, turn) for turn in turns])
        faces = [e for e in (found, *others) if e.holds]
        if not faces:
            return None
        there = [s for s in picture.turned_squares if (s.center - square.center).norm().item() < reach]
        faces += [e for e in self._confirmed(frame, there) if e.holds]
        ranked = sorted(zip(self._supports(frame, faces), range(len(faces)), strict=True), reverse=True)
        support, best = ranked[0][0], faces[ranked[0][1]]
        rivals = [s for s, k in ranked if _turn_between(best.wanted, faces[k].wanted) > 45]
        if support >= SURE:
            return best
        if rivals and support < max(rivals) + MARGIN:
            return None
        return best if self._disagreements(frame, [best])[0] < WRONG else None

    def _supports(self, frame: Tensor, faces: list[Estimate]) -> list[float]:
        """Return how much speaks for each face to be one, the right way up, see SURE."""
        scores = []
        for net, reach in ((_FULL, 1.6), (_SHORT, 1.0)):
            size = load_net(net, self._device).size
            crops = [cut(frame, _scaled(e.wanted, reach), size) for e in faces]
            scores.append(upright_scores(torch.cat(crops), net, self._device))
        return [
            full + short - 4 * disagreement
            for full, short, disagreement in zip(*scores, self._disagreements(frame, faces), strict=True)
        ]

    def _disagreements(self, frame: Tensor, faces: list[Estimate]) -> list[float]:
        """Return by how much the landmarks of faces move where their squares are turned by 30 degrees, see WRONG."""
        squares = [_turned(e.wanted, turn) for e in faces for turn in (-30, 30)]
        turned = iter(self._estimator.on(frame, squares))
        return [
            max(_shift(e, other) for other in (next(turned), next(turned))) / max(side(e.box), 1e-6)
            for e in faces
        ]


class _Picture:
    """One frame uint8 [1, H, W, 3] that is searched."""

    def __init__(self, frame: Tensor, device: str):
        self.frame, self._device = frame, device

    @cached_property
    def turned_squares(self) -> list[FaceSquare]:
        """The squares of what is detected in the picture turned by 90, 180 and 270 degrees."""
        found = [
            d for quarters in (1, 2, 3) for d in detect_turned(self.frame, _FULL, self._device, quarters)
        ]
        return [square_of_detection(d) for d in found if side(d.box) > 0]


def _distinct(faces: list[Estimate], known: list[Box]) -> list[Estimate]:
    """Return the faces without those of one person, and those of known boxes; the first one counts."""
    kept: list[Estimate] = []
    for e in faces:
        if all(iou(e.box, box) < SAME_IOU for box in known + [k.box for k in kept]):
            kept.append(e)
    return kept


def _scaled(square: FaceSquare, factor: float) -> FaceSquare:
    return FaceSquare(square.center, square.axes, square.side * factor)


def _turned(square: FaceSquare, degrees: float) -> FaceSquare:
    return FaceSquare.turned(square.center, square.side, square.angle + math.radians(degrees))


def _turn_between(one: FaceSquare, other: FaceSquare) -> float:
    """Return the angle between two squares, 0 to 180 degrees."""
    turn = math.degrees((one.angle - other.angle).item()) % 360
    return min(turn, 360 - turn)


def _shift(one: Estimate, other: Estimate) -> float:
    """Return the mean distance of two faces' landmarks in pixels."""
    return (one.landmarks[:, :2] - other.landmarks[:, :2]).norm(dim=1).mean().item()
