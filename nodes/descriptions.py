"""Lines of reports: clips, results and paid jobs in words."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..liveportrait_v2v.plan import RunPlan
    from ..liveportrait_v2v.run import Result


def describe(plan: RunPlan, result: Result) -> list[str]:
    """Describe a result: what it is, its sound, faces, frames without one, notes, the paid job, the time taken."""
    lines = [clip_line(result.frames, result.size, result.rate), _sound(plan), *map(str, result.faces)]
    if result.frames_without_source_face or result.frames_without_driving_face:
        lines.append(
            f"without a face: {result.frames_without_source_face} source frames, "
            f"{result.frames_without_driving_face} driving frames; gaps of up to 0.2 s are bridged, longer ones show "
            "the source"
        )
    lines += result.notes
    if result.job is not None:
        lines.append(job_line(**result.job))
    return [*lines, f"took {result.seconds['total']:.1f} s"]


def clip_line(frames: int, size: tuple[int, int], rate: Fraction) -> str:
    """Describe a clip in a line."""
    many = "1 frame" if frames == 1 else f"{frames} frames"
    return f"{many}, {size[0]}x{size[1]}, {float(rate):.5g} fps, {float(frames / rate):.2f} s"


def _sound(plan: RunPlan) -> str:
    """Describe the result's audio, or why it has none."""
    if plan.audio_source is not None:
        return f"sound of the {plan.audio_source} clip"
    source, role = plan.source.info, plan.roles[0]
    if role.driving is None:
        return "no sound: the source has none"
    driving = role.driving.info
    if role.settings.driving_audio:
        return "no sound: driving_audio is on, and the driving clip has none"
    if source.is_still and driving.audio is None:
        return "no sound: the source is a picture, and the driving clip has none"
    why = "the source is a picture, and still_audio is off" if source.is_still else "the source clip has none"
    remedy = "" if driving.audio is None else "; switch driving_audio on for the driving clip's"
    return f"no sound: {why}{remedy}"


def job_line(request_id: str | None, cost: float | None, remaining_credits: float | None, **_) -> str:
    """Describe a paid job in a line."""
    price = "cost unknown" if cost is None else f"{cost:.4g} USD"
    left = "" if remaining_credits is None else f", {remaining_credits:.4g} credits left"
    return f"Segmind job {request_id or 'without an id'}: {price}{left}"
