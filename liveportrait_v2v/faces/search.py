"""Search for faces on one frame: detection, confirmation by their landmarks, and which way up they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .boxes import Box, iou, side
from .crops import square_of_detection
from .detect import Detection, detect, detect_in_tiles, detect_near, needs_tiles, tile_count
from .estimate import Estimate, Estimator
from .inference import MIN_PRESENCE
from .square import FaceSquare

SAME_IOU = 0.5
"""Intersection over union from which two boxes are one person."""
KNOWN_IOU = 0.3
"""Intersection over union from which a detection is a face that is already followed."""
COMB_FRAMES = 90
"""Frames from one search in tiles to the next while faces are in view, at least."""
DOUBTFUL, WRONG, WRONG_ALONE = 0.08, 0.125, 0.17
"""Disagreement of a face with itself, from which other turns are tried, and from which it is not believed: where
several turns show a face, and where only one does.

The network finds a face the wrong way up in most pictures of a face upside down, at a presence of 1, but it finds
another one where the square is turned a little. Mean shift of the landmarks by turns of 30 degrees, over the face's
side, of eight faces in twelve turns: up to 0.046 the right way up, from 0.140 the wrong way up. Of 14 clips, frame by
frame: median 0.035, 0.10 with a hand over the mouth, 0.12 at 14 pixels. A face in wide goggles has 0.09 to 0.158, and
no other turn of it shows a face; of 14 clips in five turns of 120 to 240 degrees, none is wrong and alone in between.
"""
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
        found = self._candidates(frame, self._detected(frame, known), known.boxes)
        if not found and not known.boxes:
            # Faces that only the short range sees are rare enough to search for them less often.
            if self._fruitless % 4 == 0:
                found = self._candidates(frame, self._detect(frame, "face_detector_short_range"), [])
            self._fruitless += 1
        if found:
            self._fruitless = 0
        return found

    def _detect(self, frame: Tensor, net: str) -> list[Detection]:
        return detect(frame, net, self._device)[0]

    def _detected(self, frame: Tensor, known: Known) -> list[Detection]:
        """Return the faces that a detector finds: in the whole picture, and in a large one in tiles at times."""
        found = self._detect(frame, "face_detector_full_range")
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

    def _candidates(self, frame: Tensor, detected: list[Detection], known: list[Box]) -> list[Estimate]:
        """Return detections outside of known boxes that the landmark network confirms twice, the right way up.

        The second inference is in the square around the first one's landmarks, in which tracking continues.
        """
        squares = [
            square_of_detection(d)
            for d in detected
            if side(d.box) > 0 and all(iou(d.box, box) < KNOWN_IOU for box in known)
        ]
        righted = [
            self._righted(frame, square, e)
            for square, e in zip(squares, self._confirmed(frame, squares), strict=True)
        ]
        kept: list[Estimate] = []
        for e in righted:
            if e is not None and all(iou(e.box, box) < SAME_IOU for box in known + [k.box for k in kept]):
                kept.append(e)
        return kept

    def _confirmed(self, frame: Tensor, squares: list[FaceSquare]) -> list[Estimate]:
        """Infer landmarks in each square, and where they are believed, again in the square around them."""
        first = self._estimator.on(frame, squares)
        again = iter(self._estimator.on(frame, [e.wanted for e in first if e.presence >= MIN_PRESENCE]))
        return [next(again) if e.presence >= MIN_PRESENCE else e for e in first]

    def _righted(self, frame: Tensor, square: FaceSquare, found: Estimate) -> Estimate | None:
        """Return the face of a detection's square that agrees best with itself, of all turns; None if none does."""
        faces = [found] if found.holds else []
        disagreements = self._disagreements(frame, faces)
        if not faces or disagreements[0] > DOUBTFUL:
            turns = (60, 120, 180, 240, 300) if faces else (180,)
            squares = [_turned(square, turn) for turn in turns]
            others = [e for e in self._confirmed(frame, squares) if e.holds]
            faces += others
            disagreements += self._disagreements(frame, others)
        limit = WRONG if len(faces) > 1 else WRONG_ALONE
        best = min(zip(disagreements, range(len(faces)), strict=True), default=(limit, 0))
        return faces[best[1]] if best[0] < limit else None

    def _disagreements(self, frame: Tensor, faces: list[Estimate]) -> list[float]:
        """Return by how much the landmarks of faces move where their squares are turned by 30 degrees, see WRONG."""
        squares = [_turned(e.wanted, turn) for e in faces for turn in (-30, 30)]
        turned = iter(self._estimator.on(frame, squares))
        return [
            max(_shift(e, other) for other in (next(turned), next(turned))) / max(side(e.box), 1e-6)
            for e in faces
        ]


def _turned(square: FaceSquare, degrees: float) -> FaceSquare:
    return FaceSquare.turned(square.center, square.side, square.angle + math.radians(degrees))


def _shift(one: Estimate, other: Estimate) -> float:
    """Return the mean distance of two faces' landmarks in pixels."""
    return (one.landmarks[:, :2] - other.landmarks[:, :2]).norm(dim=1).mean().item()
