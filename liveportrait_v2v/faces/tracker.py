"""Follow several faces through a clip, chunk by chunk, each under a number that stays its own."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from ..concurrency import torch_thread
from ..errors import SettingsError
from .boxes import ORDERS, Box, centre, distance, iou, shifted, side
from .crops import Region, cut, region_of_detection, regions_of_landmarks
from .detect import detect
from .inference import PRESENT, infer
from .nets import load_net
from .scenes import CutFinder

STEADY, TOO_FAR = 0.35, 0.5  # drift below which a square is kept, and above which its landmarks are not taken
SAME = 0.5  # two boxes that overlap more than this are one person
FORGET = 30  # frames after which a lost face may come back anywhere
# On a CPU all trackings together leave one core to those who wait for the faces.
_AT_ONCE = threading.BoundedSemaphore(max(1, torch.get_num_threads() - 1))


@dataclass(frozen=True)
class Tracks:
    """What FaceTracker.track found in N frames, for F faces numbered so far. All tensors are on the CPU.

    landmarks: float32 [N, F, 478, 3], x and y in continuous frame pixels (x right, y down), z in the same
        unit, negative towards the camera; zeros where the face is not present.
    present: bool [N, F].
    presence: float32 [N, F], the landmark net's confidence 0..1; 0 where the face is not present.
    """

    landmarks: Tensor
    present: Tensor
    presence: Tensor

    def face(self, number: int) -> tuple[Tensor, Tensor]:
        """Landmarks [N, 478, 3] and `present` [N] of one face: all absent if nobody has that number yet."""
        if number < self.present.shape[1]:
            return self.landmarks[:, number], self.present[:, number]
        count = len(self.present)
        return torch.zeros(count, 478, 3), torch.zeros(count, dtype=torch.bool)


@dataclass
class _Estimate:
    """One face as the landmark net sees it on one frame."""

    landmarks: Tensor  # [478, 3] in frame pixels
    presence: float
    box: Box
    seen_in: Region  # the square that the net was shown
    wanted: Region  # the square that these landmarks ask for

    @property
    def holds(self) -> bool:
        return self.presence >= PRESENT and self.drift <= TOO_FAR

    @property
    def drift(self) -> float:
        """How far the face is from the middle of the square it was seen in, upright and in its usual size.

        The net's error, measured on real clips against its answer in the wanted square: 0.5 % of the face
        at a drift of 0.25, where any two squares differ by 0.3 %; 0.8 % at 0.5, and wrong altogether at 1.
        """
        side, turn = self.seen_in.side, math.remainder(self.wanted.angle - self.seen_in.angle, math.tau)
        return max(
            math.hypot(self.wanted.x - self.seen_in.x, self.wanted.y - self.seen_in.y) / (0.20 * side),
            abs(math.log2(max(self.wanted.side, 1e-6) / side)) / 0.40,
            abs(turn) / math.radians(20),
        )


@dataclass
class _Face:
    """One number. `region` is the square it is looked for in, None while it is lost or not followed."""

    followed: bool
    box: Box
    region: Region | None = None
    velocity: tuple[float, float] = (0.0, 0.0)
    lost: int = 0  # frames since it was last seen
    ahead: int = 1  # frames to look at in one batch: more while nothing happens

    def expected(self) -> Box:
        """Where it should be on the next frame, were it to move on for up to ten frames."""
        steps = min(self.lost + 1, 10)
        return shifted(self.box, self.velocity[0] * steps, self.velocity[1] * steps)

    def seen(self, box: Box, again: bool) -> None:
        if again:
            (x, y), (last_x, last_y) = centre(box), centre(self.box)
            self.velocity = (self.velocity[0] + x - last_x) / 2, (self.velocity[1] + y - last_y) / 2
        else:
            self.velocity = 0.0, 0.0
        self.box, self.lost = box, 0


def _keep_buffers() -> None:
    """glibc holds on to twice the largest block that was ever freed. With this one freed, the nets' buffers aren't
    given back to the system after each frame and fetched anew, page by page, for the next.
    """
    torch.empty(16 << 20, dtype=torch.uint8)


class FaceTracker:
    """Finds, follows and numbers the faces of a clip.

    track() is called chunk after chunk; the result does not depend on where the chunks end. reset() before
    another clip. Faces get numbers on the first frame that has any, in the chosen order, and keep them:

    - A number follows its face from frame to frame by the landmarks themselves.
    - A lost face gets its number back where continuity of place and size allows it: at first near where it
      was expected, the further off the longer it has been away, and anywhere after FORGET frames. Where there
      is but one number and one face, that face has it at once.
    - A new number is given only while none is missing.
    - After a scene cut nothing is near anything: the numbers are given anew in the chosen order. Only if just
      as many faces are in the very same places was it no cut, but a flash.

    Faces are told apart by place and size, not by who the person is: somebody who enters while a number is
    missing can take it, and after a cut to another person that one has number 0.

    device: torch device string.
    order: "large-small", "small-large", "left-right", "right-left", "top-bottom" or "bottom-top".
    only: number all faces of the first frame, but follow this one alone. Where the others are is looked up
        now and then, and they keep their numbers as above, so that a lost face takes over nobody else.
    max_faces: how many numbers are given at most.

    Raises SettingsError for an unknown order or a number out of range.
    """

    def __init__(
        self, device: str = "cpu", order: str = "large-small", only: int | None = None, max_faces: int = 6
    ):
        if order not in ORDERS:
            raise SettingsError(f"order must be one of {', '.join(ORDERS)}, not {order!r}")
        if max_faces < 1:
            raise SettingsError(f"max_faces must be at least 1, not {max_faces}")
        if only is not None and not 0 <= only < max_faces:
            raise SettingsError(f"only must be from 0 to max_faces - 1 = {max_faces - 1}, not {only}")
        self.device, self.order, self.only, self.max_faces = str(device), order, only, max_faces
        cpu = torch.device(device).type == "cpu"
        self._batch = 4 if cpu else 16
        self._one_core = torch_thread(1, _keep_buffers) if cpu else None
        self._net = load_net("face_landmarks", self.device)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of another clip."""
        self._faces: list[_Face] = []
        self._frame = 0
        self._searched = -FORGET
        self._barren = 0  # searches since one found anything
        self._renumber = False  # a scene cut has come, and no face since
        self._before_cut: dict[int, Box] = {}
        self._cuts = CutFinder()

    def track(self, frames: Tensor) -> Tracks:
        """Faces of the next frames of the clip. frames: uint8 [N, H, W, 3], on any device; not changed."""
        if self._one_core is None:
            return self._track(frames)
        with _AT_ONCE:
            return self._one_core.submit(self._track, frames).result()

    @torch.no_grad()
    def _track(self, frames: Tensor) -> Tracks:
        frames = frames.to(self.device)
        cuts = self._cuts.find(frames)
        rows: list[dict[int, _Estimate]] = []
        # For each face its estimates on the next frames, made in one batch on the guess that its square
        # stays.
        ahead: dict[int, list[_Estimate]] = {}
        for at, scene_cut in enumerate(cuts):
            following_cut = cuts.index(True, at + 1) if True in cuts[at + 1 :] else len(frames)
            self._look_ahead(frames[at:following_cut], ahead)
            row = {number: queue.pop(0) for number, queue in ahead.items()}
            squares = {number: self._faces[number].region for number in ahead}
            self._settle(frames[at : at + 1], row, scene_cut)
            for number, square in squares.items():
                face = self._faces[number]
                if face.region != square:
                    face.ahead = 1
                    del ahead[number]
                elif not ahead[number]:
                    face.ahead = min(face.ahead * 2, self._batch)
                    del ahead[number]
            rows.append(row)
            self._frame += 1
        return self._pack(rows)

    def _pack(self, rows: list[dict[int, _Estimate]]) -> Tracks:
        shape = len(rows), len(self._faces)
        landmarks, presence = torch.zeros(*shape, 478, 3), torch.zeros(shape)
        for at, row in enumerate(rows):
            for number, estimate in row.items():
                landmarks[at, number] = estimate.landmarks
                presence[at, number] = estimate.presence
        return Tracks(landmarks, presence > 0, presence)

    def _estimates(self, crops: list[Tensor], regions: list[Region]) -> list[_Estimate]:
        """Run the landmark net on crops [*, 256, 256, 3] that were cut from these B regions, B in all."""
        points, presence = infer(self._net, crops, regions)
        low, high = points[..., :2].aminmax(dim=1)
        boxes = torch.cat((low, high), 1).tolist()
        wanted = regions_of_landmarks(points)
        return [
            _Estimate(*e)
            for e in zip(points, presence.tolist(), map(tuple, boxes), regions, wanted, strict=True)
        ]

    def _look(self, frame: Tensor, regions: list[Region]) -> list[_Estimate]:
        """Landmarks in several squares of one frame [1, H, W, 3]."""
        if not regions:
            return []
        crops = [cut(frame, region, self._net.size) for region in regions]
        return self._estimates(crops, regions)

    def _look_ahead(self, frames: Tensor, ahead: dict[int, list[_Estimate]]) -> None:
        """Fill the queues of the followed faces that have none, with as many of these frames as each looks
        ahead."""
        held = {n: face for n, face in enumerate(self._faces) if face.region and n not in ahead}
        if not held:
            return
        crops = [cut(frames[: face.ahead], face.region, self._net.size) for face in held.values()]
        regions = [face.region for face, seen in zip(held.values(), crops, strict=True) for _ in seen]
        flat = self._estimates(crops, regions)
        for number, seen in zip(held, crops, strict=True):
            ahead[number], flat = flat[: len(seen)], flat[len(seen) :]

    def _search_due(self) -> bool:
        """Whether the detectors are to run on this frame, though nothing has happened."""
        faces = self._faces
        away = [face.lost for face in faces if face.followed and not face.region]
        if not any(face.region for face in faces):
            # Nobody is followed. Others who are there make a search dear, so that it is done less often.
            others = any(face.lost < FORGET for face in faces if not face.followed)
            period = 1 if not others else 3 if away else 10
        elif away:
            period = 3 if min(away) < FORGET else 10
        elif self.only is not None:
            period = 15 if len(faces) > 1 else math.inf
        else:
            period = 30 if len(faces) < self.max_faces else math.inf
        return self._frame - self._searched >= period

    def _settle(self, frame: Tensor, row: dict[int, _Estimate], scene_cut: bool) -> None:
        """Bring one frame's estimates and the faces to agree: row is changed to what holds."""
        faces = self._faces
        for _ in range(3):
            far = [n for n, e in row.items() if e.presence >= PRESENT and e.drift > TOO_FAR]
            row.update(zip(far, self._look(frame, [row[n].wanted for n in far]), strict=True))
        before = set(row)
        unmoved = [n for n, e in row.items() if e.holds and iou(e.box, faces[n].box) > SAME]
        if scene_cut and not (row and len(unmoved) == len(row)):
            self._renumber = True
            self._before_cut = {n: faces[n].box for n in row}
            row.clear()
        for number in [n for n, e in row.items() if not e.holds or self._jumped(n, e)]:
            del row[number]
        self._drop_duplicates(row)
        kept = set(row)
        dropped = before - kept
        for number in dropped:
            faces[number].region = None
        if dropped or scene_cut or self._search_due():
            self._search(frame, row)
        for number, face in enumerate(faces):
            if number not in row:
                face.lost += 1
                continue
            estimate = row[number]
            face.region = estimate.seen_in if estimate.drift < STEADY else estimate.wanted
            face.seen(estimate.box, again=number in kept)

    def _jumped(self, number: int, estimate: _Estimate) -> bool:
        return distance(self._faces[number].box, estimate.box) > 1

    def _drop_duplicates(self, row: dict[int, _Estimate]) -> None:
        """Two numbers on one person: the one that had to leave its path for it is lost."""
        strayed = {n: distance(self._faces[n].expected(), e.box) for n, e in row.items()}
        for a in sorted(row):
            for b in sorted(row):
                if a < b and a in row and b in row and iou(row[a].box, row[b].box) > SAME:
                    del row[a if strayed[a] > strayed[b] else b]

    def _search(self, frame: Tensor, row: dict[int, _Estimate]) -> None:
        """Run the detectors on one frame and give the faces that they find, beyond those in row, their
        numbers."""
        self._searched = self._frame
        found = self._candidates(frame, "face_detector_full_range", row)
        if not found and not row:
            # What only the short range sees is rare enough to look for it less often where there is no face.
            if self._barren % 4 == 0:
                found = self._candidates(frame, "face_detector_short_range", row)
            self._barren += 1
        if not found:
            return
        self._barren = 0
        found.sort(key=lambda e: ORDERS[self.order](e.box))
        faces = self._faces
        taken: dict[int, _Estimate] = {}
        if self._renumber:
            self._renumber = False
            taken = dict(zip(range(len(faces)), found, strict=False))
            stayed = {n: e for n, box in self._before_cut.items() for e in found if iou(box, e.box) > SAME}
            if len(stayed) == len(found) == len(self._before_cut):
                taken = stayed  # a flash rather than a cut
            for face in faces:
                face.lost = FORGET
        elif len(faces) == len(found) == 1 and not row:
            taken = {0: found[0]}
        else:
            pairs = [
                (distance(face.expected(), e.box), number, i)
                for number, face in enumerate(faces)
                if number not in row
                for i, e in enumerate(found)
                if face.lost >= FORGET or distance(face.expected(), e.box) < 1 + 0.1 * face.lost
            ]
            used = set()
            for _, number, i in sorted(pairs):
                if number not in taken and i not in used:
                    taken[number] = found[i]
                    used.add(i)
        rest = [e for e in found if not any(e is t for t in taken.values())]
        missing = [n for n, face in enumerate(faces) if face.followed and n not in row and n not in taken]
        if not missing:
            for e in rest[: self.max_faces - len(faces)]:
                taken[len(faces)] = e
                faces.append(_Face(self.only in (None, len(faces)), e.box))
        for number, estimate in taken.items():
            if faces[number].followed:
                row[number] = estimate
            else:
                faces[number].box, faces[number].lost = estimate.box, -1  # _settle counts this frame

    def _candidates(self, frame: Tensor, net: str, row: dict[int, _Estimate]) -> list[_Estimate]:
        """Detections that are in no face of row and that the landmark net confirms, twice: the second time in
        the square that its own landmarks ask for, which is what tracking goes on with."""
        known = [e.box for e in row.values()]
        regions = [
            region_of_detection(d)
            for d in detect(frame, net, self.device)[0]
            if side(d.box) > 0 and all(iou(d.box, box) < 0.3 for box in known)
        ]
        for _ in range(2):
            looked = self._look(frame, regions)
            regions = [e.wanted for e in looked if e.presence >= PRESENT]
        kept: list[_Estimate] = []
        for e in looked:
            if e.holds and all(iou(e.box, box) < SAME for box in known + [k.box for k in kept]):
                kept.append(e)
        return kept
