"""Motion as a value of the graph: a motion template on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..liveportrait_v2v.plan import MotionTemplate

MOTION = io.Custom("LPV2V_MOTION")


def motion_output() -> io.Output:
    """Return the output of a node that gives motion."""
    return MOTION.Output(
        "motion",
        display_name="motion",
        tooltip="For `driving` of Animate Draft, Animate Local or Another Face, in place of the clip.",
    )


def motion_line(template: MotionTemplate) -> str:
    """Describe motion in a line."""
    info, of_engine = template.info, f"motion for the {template.engine} engine"
    if info.rate is None or info.duration is None:
        return f"{of_engine}: a still"
    missing = len(template) - int(template.present.sum())
    return (
        f"{of_engine}: {len(template)} frames, {float(info.rate):.5g} fps, {float(info.duration):.2f} s, "
        f"{missing} without a face"
    )
