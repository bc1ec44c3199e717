"""A look at both clips before a run: whether they show the faces that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import Cancelled, FaceNotFoundError
from ..media import Clip
from ..plan import ALL, RunPlan
from ..tracking import track
from .missing import missing_face

LOOK_FRAMES = 300
"""Frames of each clip that are looked at, at most: ten seconds, longer than the driving clips of most runs."""


def first_look(
    plan: RunPlan,
    *,
    device: str = "cpu",
    on_progress: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[str, ...]:
    """Check, before a run, that its clips show the faces that it needs.

    A clip is tracked, as the run does it, until it has shown the face: most clips do in their first frame. Of a longer
    clip, 300 frames are looked at; the face may still come after them.

    Args:
        device: as of the engine.
        on_progress: called after each chunk, with the clip's role in the run: "source" or "driving".
        cancelled: polled after each chunk.

    Returns:
        a sentence for each face that a longer clip does not show so far.

    Raises:
        FaceNotFoundError: no frame that the run reads shows a face, or the one that is asked for.
        MediaError: a clip can't be decoded.
        Cancelled: `cancelled` returned True.
    """
    notes = []
    for need in _needs(plan):
        looked, found = min(need.frames, LOOK_FRAMES), 0
        for _, tracks in track(need.clip, device=device, order=need.order, cap=looked):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while looking for faces")
            if on_progress is not None:
                on_progress(need.side)
            found = tracks.present.shape[1]
            if found > need.number:
                break
        if found > need.number:
            continue
        if looked == need.frames:
            with plan.naming(need.place):
                raise need.error(found)
        notes.append(
            f"the {need.side} clip shows {_faces(found)} in its first {looked} frames, and {need.parameter} is "
            f"{need.number}"
        )
    return tuple(notes)


@dataclass(frozen=True)
class _Need:
    """A face that a run needs: its role's place, the clip and the frames read of it, its number and parameter.

    `cap` is `video_frame_load_cap` where it applies to the clip, else 0.
    """

    place: int
    side: str
    clip: Clip
    frames: int
    order: str
    number: int
    parameter: str
    cap: int = 0

    def error(self, found: int) -> FaceNotFoundError:
        """Return the error of a clip that shows `found` faces without this one among them."""
        return missing_face(
            self.side,
            self.number,
            self.parameter,
            faces=found,
            read=self.frames,
            total=self.clip.info.frame_count,
            cap=self.cap,
        )


def _needs(plan: RunPlan) -> Iterator[_Need]:
    order = plan.roles[0].options.face_order
    for place, (role, pairing) in enumerate(zip(plan.roles, plan.pairings, strict=True)):
        named = "input_face_index" if role.source_face is None else "source_face"
        number = 0 if role.source_face == ALL else role.settings.input_face_index
        frames = min(pairing.source_frames, pairing.frames) or 1
        if role.boxes is None:
            yield _Need(place, "source", plan.source, frames, order, number, named)
        if isinstance(role.driving, Clip):
            named = "drive_face_index" if role.drive_face is None else "drive_face"
            number, own = role.settings.drive_face_index, role.options.face_order
            cap = role.settings.video_frame_load_cap
            yield _Need(place, "driving", role.driving, pairing.led_frames or 1, own, number, named, cap)


def _faces(count: int) -> str:
    """Return a number of faces in words, with their numbers."""
    if not count:
        return "no face"
    return "1 face (number 0)" if count == 1 else f"{count} faces (numbers 0 to {count - 1})"
