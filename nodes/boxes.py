"""Faces that other nodes' boxes give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..liveportrait_v2v.faces.given import FaceBoxes


def boxes_input(tooltip: str) -> io.Input:
    """Return an optional socket for boxes: the last input, as saved graphs have the others at their places."""
    return io.BoundingBox.Input("boxes", optional=True, force_input=True, tooltip=tooltip)


def given(boxes: Any, number: int) -> FaceBoxes | None:
    """Return the face that boxes give; None without them.

    Args:
        number: of the face where a frame has a list of them.

    Raises:
        SettingsError: they have another form.
    """
    from ..liveportrait_v2v.faces.given import FaceBoxes

    return None if boxes is None else FaceBoxes.parse(boxes, number)
