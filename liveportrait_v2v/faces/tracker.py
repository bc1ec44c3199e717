"""Tracking of a clip's numbered faces, chunk by chunk."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from ..concurrency import torch_thread
from ..errors import SettingsError
from .boxes import ORDERS, Box, centre, distance, iou, shifted
from .estimate import MAX_DRIFT, Estimate, Estimator
from .inference import MIN_PRESENCE
from .scenes import CutFinder, Glance
from .search import SAME_IOU, FaceSearch, Known
from .square import FaceSquare

KEPT_DRIFT = 0.35
"""Drift below which a square is kept."""
FORGET_FRAMES = 30
"""Frames after which a lost face may return anywhere."""
NEWCOMER_FRAMES = (15, 90)
"""Frames from one search for newcomers to the next: where the picture changed beside the known faces, and elsewhere.

A search takes as long as following a face for two and a half frames.
"""
NEWCOMER_PIXELS = 4
"""Pixels of a coarse picture that a newcomer changes: a face 40 pixels wide does in a frame of 640 x 360."""
# On a CPU, concurrent trackers together leave one core to the threads that wait for their results.
_AT_ONCE = threading.BoundedSemaphore(max(1, torch.get_num_threads() - 1))


@dataclass(frozen=True)
class Tracks:
    """The faces that `FaceTracker.track` found in N frames, for F faces numbered so far. All tensors are on the CPU.

    Attributes:
        landmarks: float32 [N, F, 478, 3], x and y in continuous frame pixels (x right, y down), z in the same
            unit, negative towards the camera; zeros where the face is not present.
        present: bool [N, F].
        presence: float32 [N, F], the landmark network's confidence 0..1; 0 where the face is not present.
        scenes: int64 [N, F], the scene that the face was last seen in, counted from 0: the next one begins where the
            number continues behind a cut, so that it may be another person's.
    """

    landmarks: Tensor
    present: Tensor
    presence: Tensor
    scenes: Tensor

    def face(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return landmarks [N, 478, 3], `present` and `scenes` [N] of one face: all absent before it has a number."""
        if number < self.present.shape[1]:
            return self.landmarks[:, number], self.present[:, number], self.scenes[:, number]
        count = len(self.present)
        absent = torch.zeros(count, dtype=torch.bool)
        return torch.zeros(count, 478, 3), absent, torch.zeros(count, dtype=torch.int64)


@dataclass
class _Face:
    """One numbered face.

    Attributes:
        box: where it was last seen, and `glance` the picture then.
        ahead: frames to infer in one batch; grows while the square is kept.
        square: where the face is looked for, None while it is lost.
        velocity: of the box's centre, in pixels a frame.
        lost: frames since it was last seen.
        cut: its surroundings changed since.
        scene: number of the scene.
    """

    box: Box
    glance: Glance
    ahead: int
    square: FaceSquare | None = None
    velocity: tuple[float, float] = (0.0, 0.0)
    lost: int = 0
    cut: bool = False
    scene: int = 0

    def expected(self) -> Box:
        """Return the box expected on the next frame, extrapolated over at most ten frames."""
        steps = min(self.lost + 1, 10)
        return shifted(self.box, self.velocity[0] * steps, self.velocity[1] * steps)

    def in_place(self, glance: Glance) -> bool:
        """Return whether a picture has the surroundings in which the face was last seen, at the same place."""
        return self.glance.shows_same(glance, self.box)

    def seen(self, box: Box, glance: Glance, again: bool) -> None:
        """Take a new box; the velocity continues if the face was seen on the frame before.

        Behind a cut another scene begins, unless the picture is again what it was before, as after a flash.
        """
        if self.cut and not (distance(self.box, box) < 1 and self.in_place(glance)):
            self.scene += 1
        self.cut = False
        if again:
            (x, y), (last_x, last_y) = centre(box), centre(self.box)
            self.velocity = (self.velocity[0] + x - last_x) / 2, (self.velocity[1] + y - last_y) / 2
        else:
            self.velocity = 0.0, 0.0
        self.box, self.glance, self.lost = box, glance, 0


def _without(found: list[Estimate], taken: dict[int, Estimate]) -> list[Estimate]:
    return [e for e in found if not any(e is other for other in taken.values())]


def _frames_ahead(device: torch.device) -> tuple[int, int]:
    """Return the frames to infer in one batch after a face's square has changed, and at most.

    A CPU takes as long as there are frames, and those behind the square's next change are inferred again. A GPU takes
    as long for one as for many: batches that begin large save it a third of the network's calls on lively faces.
    """
    return (1, 4) if device.type == "cpu" else (16, 16)


def _keep_buffers() -> None:
    """Have glibc keep the memory of the networks' buffers instead of returning it after every frame.

    glibc retains up to twice the largest block ever freed; this frees one of 16 MB.
    """
    torch.empty(16 << 20, dtype=torch.uint8)


class FaceTracker:
    """Tracker that finds, follows and numbers the faces of a clip.

    Call `track` with one chunk after another, and `reset` before another clip; the result does not depend on where
    the chunks end. Faces get numbers on the first frame that shows any, in the chosen order, and keep them:

    - A number follows its face from frame to frame by the landmarks themselves.
    - A lost face gets its number back where continuity of place and size allows it: at first near where it
      was expected, the further off the longer it has been away, and anywhere after `FORGET_FRAMES`. Where there
      is only one number and one face, that face has it at once.
    - A new number is given only while none is missing.
    - Where a part of the picture changes, faces elsewhere keep their numbers.
    - After a cut of the whole picture positions mean nothing: the numbers are given again in the chosen order. If
      exactly the faces from before are found in the same places, they keep their numbers, and so does each one whose
      surroundings are what they were, as after a flash.

    Faces are distinguished by position and size, not by identity: a person who enters while a number is missing can
    take it, and after a cut to another person, that person has number 0. `Tracks.scenes` has these cuts.

    Args:
        device: torch device string.
        order: "large-small", "small-large", "left-right", "right-left", "top-bottom" or "bottom-top".
        max_faces: maximum count of numbers.

    Raises:
        SettingsError: an unknown order or a number out of range.
    """

    def __init__(self, device: str = "cpu", order: str = "large-small", max_faces: int = 6):
        if order not in ORDERS:
            raise SettingsError(f"order must be one of {', '.join(ORDERS)}, not {order!r}")
        if max_faces < 1:
            raise SettingsError(f"max_faces must be at least 1, not {max_faces}")
        self.device, self.order, self.max_faces = str(device), order, max_faces
        cpu = torch.device(device).type == "cpu"
        self._least, self._batch = _frames_ahead(torch.device(device))
        self._one_core = torch_thread(1, _keep_buffers) if cpu else None
        self._estimator = Estimator(self.device)
        self.reset()

    def reset(self) -> None:
        """Start over: the next frame is the first of another clip."""
        self._faces: list[_Face] = []
        self._frame = 0
        self._searched = -FORGET_FRAMES
        self._compared: tuple[int, Glance] | None = None  # a searched frame, which newcomers would change
        self._renumber = False  # the whole picture was cut, and no face was found since
        self._before_cut: set[int] = set()  # numbers that were seen then
        self._cuts = CutFinder()
        self._finder = FaceSearch(self.device, self._estimator)

    def track(self, frames: Tensor) -> Tracks:
        """Track the faces of the next frames of the clip.

        Args:
            frames: uint8 [N, H, W, 3], on any device; not changed.
        """
        if self._one_core is None:
            return self._track(frames)
        with _AT_ONCE:
            return self._one_core.submit(self._track, frames).result()

    @torch.no_grad()
    def _track(self, frames: Tensor) -> Tracks:
        frames = frames.to(self.device)
        glances = self._cuts.find(frames)
        cuts = [glance.cut for glance in glances]
        rows: list[dict[int, Estimate]] = []
        scenes: list[list[int]] = []
        # Each face's estimates on the next frames, inferred in one batch on the assumption that its square stays.
        ahead: dict[int, list[Estimate]] = {}
        for at, glance in enumerate(glances):
            following_cut = cuts.index(True, at + 1) if True in cuts[at + 1 :] else len(frames)
            self._infer_ahead(frames[at:following_cut], ahead)
            row = {number: queue.pop(0) for number, queue in ahead.items()}
            squares = {number: self._faces[number].square for number in ahead}
            self._settle(frames[at : at + 1], row, glance)
            for number, square in squares.items():
                face = self._faces[number]
                if face.square is not square:
                    face.ahead = self._least
                    del ahead[number]
                elif not ahead[number]:
                    face.ahead = min(face.ahead * 2, self._batch)
                    del ahead[number]
            rows.append(row)
            scenes.append([face.scene for face in self._faces])
            self._frame += 1
        return self._pack(rows, scenes)

    def _pack(self, rows: list[dict[int, Estimate]], scenes: list[list[int]]) -> Tracks:
        shape = len(rows), len(self._faces)
        landmarks, presence = torch.zeros(*shape, 478, 3), torch.zeros(shape)
        numbered = torch.zeros(shape, dtype=torch.int64)
        for at, row in enumerate(rows):
            numbered[at, : len(scenes[at])] = torch.tensor(scenes[at], dtype=torch.int64)
            for number, estimate in row.items():
                landmarks[at, number] = estimate.landmarks
                presence[at, number] = estimate.presence
        return Tracks(landmarks, presence > 0, presence, numbered)

    def _infer_ahead(self, frames: Tensor, ahead: dict[int, list[Estimate]]) -> None:
        """Fill the empty queues of the faces in view, with as many of these frames as each infers ahead."""
        crops: dict[int, Tensor] = {}
        squares: list[FaceSquare] = []
        for number, face in enumerate(self._faces):
            if face.square is not None and number not in ahead:
                crops[number] = self._estimator.crops(frames[: face.ahead], face.square)
                squares += [face.square] * len(crops[number])
        if not crops:
            return
        # A CPU gains nothing by larger batches, and without them no face's last digits depend on the others.
        batches = [[number] for number in crops] if self._one_core else [list(crops)]
        for numbers in batches:
            count = sum(len(crops[n]) for n in numbers)
            flat = self._estimator.of_crops([crops[n] for n in numbers], squares[:count])
            squares = squares[count:]
            for number in numbers:
                ahead[number], flat = flat[: len(crops[number])], flat[len(crops[number]) :]

    def _search_due(self, glance: Glance) -> bool:
        """Return whether a periodic search is due on this frame."""
        faces = self._faces
        away = [face.lost for face in faces if face.square is None]
        if len(away) == len(faces):
            period = 1
        elif away:
            period = 3 if min(away) < FORGET_FRAMES else 10
        else:
            return len(faces) < self.max_faces and self._may_show_newcomer(glance)
        return self._frame - self._searched >= period

    def _may_show_newcomer(self, glance: Glance) -> bool:
        """Return whether the picture changed beside the known faces since a search of late, or none was of late."""
        if self._frame - self._searched < NEWCOMER_FRAMES[0]:
            return False
        # Kept for a while, for those who turn round only after they came.
        if self._compared is None or self._frame - self._compared[0] >= NEWCOMER_FRAMES[1]:
            self._compared = self._frame, glance
            return True
        return glance.changed(self._compared[1], [face.box for face in self._faces]) >= NEWCOMER_PIXELS

    def _settle(self, frame: Tensor, row: dict[int, Estimate], glance: Glance) -> None:
        """Reconcile one frame's estimates with the faces: drop wrong estimates from row, add detected faces."""
        faces = self._faces
        for _ in range(3):
            far = [n for n, e in row.items() if e.presence >= MIN_PRESENCE and e.drift > MAX_DRIFT]
            row.update(zip(far, self._estimator.on(frame, [row[n].wanted for n in far]), strict=True))
        before = set(row)
        self._cut(row, glance)
        for number in [n for n, e in row.items() if not e.holds or self._jumped(n, e)]:
            del row[number]
        self._drop_duplicates(row)
        kept = set(row)
        dropped = before - kept
        for number in dropped:
            faces[number].square = None
        if dropped or glance.cut or self._search_due(glance):
            self._search(frame, row, glance)
        for number, face in enumerate(faces):
            if number not in row:
                face.lost += 1
                continue
            estimate = row[number]
            face.square = estimate.seen_in if estimate.drift < KEPT_DRIFT else estimate.wanted
            face.seen(estimate.box, glance, again=number in kept)

    def _cut(self, row: dict[int, Estimate], glance: Glance) -> None:
        """Note which faces' surroundings changed, and drop those from row that a cut took away."""
        faces = self._faces
        changed = {n for n in row if not faces[n].in_place(glance)}
        for number in changed:
            faces[number].cut = True
        if not glance.cut:
            return
        for face in faces:
            face.cut |= face.square is None
        unmoved = {n for n, e in row.items() if e.holds and iou(e.box, faces[n].box) > SAME_IOU}
        if unmoved - changed or (row and len(unmoved) == len(row)):
            for number in changed - unmoved:
                del row[number]
            return
        self._renumber = True
        if row:
            self._before_cut = set(row)
        for face in faces:
            face.cut = True
        row.clear()

    def _jumped(self, number: int, estimate: Estimate) -> bool:
        return distance(self._faces[number].box, estimate.box) > 1

    def _drop_duplicates(self, row: dict[int, Estimate]) -> None:
        """Drop one of two numbers on the same person: the one further from its expected place."""
        strayed = {n: distance(self._faces[n].expected(), e.box) for n, e in row.items()}
        for a in sorted(row):
            for b in sorted(row):
                if a < b and a in row and b in row and iou(row[a].box, row[b].box) > SAME_IOU:
                    del row[a if strayed[a] > strayed[b] else b]

    def _search(self, frame: Tensor, row: dict[int, Estimate], glance: Glance) -> None:
        """Search one frame for faces that are not in row, and give them their numbers."""
        self._searched = self._frame
        lost = [f for n, f in enumerate(self._faces) if n not in row and f.lost < FORGET_FRAMES]
        places = [centre(face.expected()) for face in lost]
        known = Known(self._frame, [e.box for e in row.values()], places, self._renumber)
        found = self._finder.find(frame, known)
        if not found:
            return
        found.sort(key=lambda e: ORDERS[self.order](e.box))
        taken = self._renumbered(found, glance) if self._renumber else self._matches(found, row)
        self._admit(found, taken, row, glance)
        row.update(taken)

    def _renumbered(self, found: list[Estimate], glance: Glance) -> dict[int, Estimate]:
        """Return the faces found after a cut of the whole picture that get known numbers, by number."""
        self._renumber = False
        faces = self._faces
        for face in faces:
            face.lost = FORGET_FRAMES
        stayed = {n: e for n in self._before_cut for e in found if iou(faces[n].box, e.box) > SAME_IOU}
        if not len(stayed) == len(found) == len(self._before_cut):
            stayed = {n: e for n, e in stayed.items() if faces[n].in_place(glance)}
            if not stayed:
                return dict(zip(range(len(faces)), found, strict=False))
        return stayed | self._matches(_without(found, stayed), stayed)

    def _matches(self, found: list[Estimate], row: dict[int, Estimate]) -> dict[int, Estimate]:
        """Return the found faces that belong to known numbers which are not in row, by number."""
        faces = self._faces
        if len(faces) == len(found) == 1 and not row:
            return {0: found[0]}
        pairs = [
            (distance(face.expected(), e.box), number, i)
            for number, face in enumerate(faces)
            if number not in row
            for i, e in enumerate(found)
            if face.lost >= FORGET_FRAMES or distance(face.expected(), e.box) < 1 + 0.1 * face.lost
        ]
        taken: dict[int, Estimate] = {}
        used = set()
        for _, number, i in sorted(pairs):
            if number not in taken and i not in used:
                taken[number] = found[i]
                used.add(i)
        return taken

    def _admit(
        self, found: list[Estimate], taken: dict[int, Estimate], row: dict[int, Estimate], glance: Glance
    ) -> None:
        """Give the remaining faces new numbers, in `taken`, unless a number is missing."""
        faces = self._faces
        if any(n not in row and n not in taken for n in range(len(faces))):
            return
        for e in _without(found, taken)[: self.max_faces - len(faces)]:
            taken[len(faces)] = e
            faces.append(_Face(e.box, glance, self._least))
