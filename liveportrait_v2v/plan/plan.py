"""The plan of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

from ..errors import FaceNotFoundError, SettingsError
from ..faces.given import FaceBoxes
from ..media import AudioStream, Clip, ClipInfo
from .pairing import Pairing, pair
from .role import ALL, Role, name_of
from .soundtrack import soundtrack

# Of frames that come in chunks: eight of cinema's 4K are 230 MB as RGB. Larger ones come one by one.
_CHUNK_PIXELS = 4096 * 2304


@dataclass(frozen=True)
class RunPlan:
    """A run, before anything computes; `run.run_plan` makes it.

    Attributes:
        source: clip or still with the faces to animate.
        roles: the faces to animate and what leads them, one or more, in the order in which they are drawn; no face is
            in two of them.
        pairings: the timing of each role; rate and number of frames are the same in all.
        audio: of the result, exactly as long as it; None for none.
        audio_source: where it comes from: "source", "driving" or None.
        chunk: frames at a time.
        notes: what the result lacks or changes of what the clips hold; a sentence each.
    """

    source: Clip
    roles: tuple[Role, ...]
    pairings: tuple[Pairing, ...]
    audio: AudioStream | None
    audio_source: str | None
    chunk: int
    notes: tuple[str, ...] = ()

    @property
    def frame_count(self) -> int:
        """Number of frames of the result."""
        return self.pairings[0].frames

    @property
    def rate(self) -> Fraction:
        """Frames per second of the result."""
        return self.pairings[0].rate

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result's frames in pixels."""
        return self.source.output_size()

    @contextmanager
    def naming(self, place: int) -> Iterator[None]:
        """Context manager whose errors begin with a role's name where there are several roles.

        Args:
            place: of the role in `roles`.
        """
        try:
            yield
        except (SettingsError, FaceNotFoundError) as error:
            if len(self.roles) == 1:
                raise
            raise type(error)(f"{name_of(self.roles, place)}: {error}") from error

    def single(self) -> tuple[Role, Pairing]:
        """Return the role of a plan with one role, and its timing."""
        (role,), (pairing,) = self.roles, self.pairings
        return role, pairing


def make_plan(
    source: Clip | str | os.PathLike[str], roles: Role | Sequence[Role], *, chunk: int = 8
) -> RunPlan:
    """Plan a run: its length, rate, size and audio.

    Several roles share the source's frames, and the first one decides for all: its `mismatch_method` says whether the
    result is as long as the shortest or the longest of all clips, its `driving_audio` whether the source or its own
    driving clip is heard, its `face_order` how the source's faces are numbered.

    Args:
        source: clip or still with the faces to animate.
        roles: one role, or several in the order in which they are drawn.
        chunk: frames at a time; fewer where frames have more pixels than those of 4K.

    Raises:
        MediaError: a clip can't be read.
        SettingsError: there is no role, or two animate the same face.
    """
    source = source if isinstance(source, Clip) else Clip(source)
    roles = (roles,) if isinstance(roles, Role) else tuple(roles)
    _check_faces(roles)
    still_rate = next(filter(None, (role.driving_rate for role in roles)), None)
    driving = [None if role.driving is None else role.driving.info for role in roles]
    chunk = chunk_size((source.info, *filter(None, driving)), chunk)
    pairings = [
        pair(source.info, info, role.settings, role.options, still_rate, role.expression)
        for role, info in zip(roles, driving, strict=True)
    ]
    shortest = roles[0].settings.mismatch_method == "cut"
    lengths = [pairing.frames for pairing in pairings if pairing.has_length]
    frames = (min if shortest else max)(lengths or [1])
    pairings = [replace(pairing, frames=frames) for pairing in pairings]
    sound = soundtrack(source, roles[0], pairings[0])
    notes = tuple(f"the source clip {note}" for note in source.info.notes) + sound.notes
    return RunPlan(source, roles, tuple(pairings), sound.audio, sound.origin, chunk, notes)


def chunk_size(infos: Iterable[ClipInfo], most: int = 8) -> int:
    """Return how many frames of these clips go at a time: `most`, one where frames have more pixels than 4K's."""
    return most if max(info.width * info.height for info in infos) <= _CHUNK_PIXELS else 1


def _check_faces(roles: Sequence[Role]) -> None:
    if not roles:
        raise SettingsError("a run needs one role at least, got none; give each face that is to move a role")
    taken: dict[int | FaceBoxes, int] = {}
    for place, role in enumerate(roles):
        for number in role.source_faces:
            if number in taken:
                whole = ALL in (role.source_face, roles[taken[number]].source_face)
                which = "the same box" if isinstance(number, FaceBoxes) else f"face {number}"
                raise SettingsError(
                    f"{name_of(roles, place)}: {which} of the source is animated by "
                    f"{name_of(roles, taken[number])} already; give each role a source_face of its own"
                    + (', or leave "all" as the only role' if whole else "")
                )
            taken[number] = place
