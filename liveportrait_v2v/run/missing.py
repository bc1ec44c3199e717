"""The error of a face that is in no frame of its clip: what is the matter, and the remedy that helps."""

from __future__ import annotations

from ..errors import FaceNotFoundError
from ..remedies import remedy


def missing_face(
    clip: str, number: int, parameter: str, *, faces: int, read: int, total: int, cap: int = 0
) -> FaceNotFoundError:
    """Return the error of a face that was found nowhere.

    Args:
        clip: "source" or "driving".
        number: of the face.
        parameter: what chooses the number.
        faces: that were found in the frames read, whatever their numbers.
        read, total: frames that were read, and all frames of the clip; 1 of 1 for a still.
        cap: `video_frame_load_cap` where it applies to the clip, 0 for none.
    """
    part = f"the first {read} of the {total} frames" if read < total else "the frames read"
    if faces:
        shown = "1 face, number 0" if faces == 1 else f"{faces} faces, numbered from 0"
        return FaceNotFoundError(
            f"face {number} was found nowhere in {part} of the {clip} clip, but {shown}: {remedy('faces')}, then set "
            f"{parameter}"
        )
    if read < total:
        capped = f"raise video_frame_load_cap, now {cap} (0 = all), or " if read == cap else ""
        advice = f"{capped}trim the clip so that it begins with the face"
    else:
        advice = "give a clip with a face that is turned to the camera, upright, and no smaller than about 40 pixels"
    if clip == "source":
        advice = f"{advice}; or {remedy('box')}"
    return FaceNotFoundError(f"no face was found in {part} of the {clip} clip; {advice}")
