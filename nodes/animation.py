"""The run that all nodes which animate share, and their outputs' values."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from .another_face import Face
from .batches import Batch, Details
from .boxes import given
from .descriptions import describe, job_line
from .host import language, paths, reports, running, sockets

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from ..liveportrait_v2v.engines import Engine, HostedEngine, RenderedFrames
    from ..liveportrait_v2v.expression import Expression
    from ..liveportrait_v2v.media import AudioStream
    from ..liveportrait_v2v.plan import RunPlan

_FRAMES_OFF = "switch `frames` on in the LivePortrait node: with it off there are no images, only the video"


def run(
    node: type[io.ComfyNode],
    engine: Callable[[], Engine | HostedEngine],
    *,
    source: Any,
    driving: Any = None,
    frames: bool,
    settings: AnimationSettings | None = None,
    motion_options: MotionOptions | None = None,
    roles: Sequence[Face] = (),
    boxes: Any = None,
    expression: Expression | None = None,
    source_audio: dict[str, Any] | None = None,
    source_fps: float = 0.0,
    cancelled: Callable[[], bool] = running.interrupted,
) -> io.NodeOutput:
    """Animate, with progress and interrupt, and return the outputs.

    Args:
        engine: makes the engine.
        source, driving: VIDEO, IMAGE, or a URL for a hosted engine; `driving` also LPV2V_MOTION, or None where the
            expression alone edits.
        frames: the images output is built where it is linked.
        settings, motion_options: defaults where left out.
        roles: more faces.
        boxes: give the source's face, in any form of `FaceBoxes.parse`.
        expression: is added to the driving motion.
        source_audio, source_fps: of a source that is a batch of images.

    Raises:
        NodeError: for whatever reason there is no result; before anything runs if the clips don't show the faces, or
            `frames` is off and something is linked to the images.
    """
    from ..liveportrait_v2v.engines import HostedEngine
    from ..liveportrait_v2v.plan import Role, make_plan
    from ..liveportrait_v2v.run import first_look, run_plan

    with running.run(node) as report:
        report.text("looking at the clips")
        if driving is None and expression is None:
            raise SettingsError("link a clip to `driving`, or an expression to `expression`; got neither")
        builds_images = check_images(node, frames)
        made = engine()
        at_url = partial(made.clip, cancelled=cancelled) if isinstance(made, HostedEngine) else None
        settings = settings or AnimationSettings()
        face_given = given(boxes, settings.input_face_index)
        leading = [driving, *(face.driving for face in roles)]
        clip, first, *others = sockets.clips(
            source, *leading, at_url=at_url, audio=source_audio, rate=source_fps
        )
        plan = make_plan(
            clip,
            [
                Role(
                    first,
                    settings,
                    motion_options or MotionOptions(),
                    boxes=face_given,
                    expression=expression,
                ),
                *(face.role(other) for face, other in zip(roles, others, strict=True)),
            ],
        )
        rgba = sockets.is_rgba(source)
        keeps_alpha = clip.info.has_alpha and not isinstance(made, HostedEngine)
        path = paths.temp_file(".webm" if keeps_alpha else ".mp4")
        channels = 4 if rgba and keeps_alpha else 3
        batch = Batch(plan.frame_count, plan.size, channels) if builds_images else None
        details = None if isinstance(made, HostedEngine) else _details(node, plan)
        if not isinstance(made, HostedEngine):
            for note in first_look(plan, device=made.device, on_progress=report.looking, cancelled=cancelled):
                report.text(note)

        def sink(rendered: RenderedFrames) -> None:
            report.see(rendered.frames)
            if batch is not None:
                batch.add(rendered.frames)
            if details is not None:
                details.add(rendered)

        result = run_plan(
            plan,
            engine=made,
            output=path,
            sink=sink,
            masks=details is not None and details.mask is not None,
            crops=details is not None and details.crops is not None,
            on_progress=report.progress,
            cancelled=cancelled,
            tracks=running.tracks(),
        )
        lines = describe(plan, result)
        report.text(lines[0])
        if result.job is not None:
            reports.log(job_line(**result.job))
    more = [] if isinstance(made, HostedEngine) or details is None else _values_of(node, details, plan, made)
    return values(batch, result.audio, path, plan.rate, plan.frame_count, lines, more)


def _details(node: type[io.ComfyNode], plan: RunPlan) -> Details:
    """Return what collects the mask and the crops of a run, as far as they are linked, and its squares."""
    faces = sum(len(role.source_faces) for role in plan.roles)
    return Details(plan.frame_count, plan.size, is_taken(node, "mask"), faces * is_taken(node, "crops"))


def _values_of(node: type[io.ComfyNode], details: Details, plan: RunPlan, engine: Engine) -> list[Any]:
    """Return the values of what local engines give besides."""
    made = {
        "mask": details.mask,
        "placement": details.placement(plan.size, plan.rate, engine.feather),
        "crops": details.crops,
    }
    names = [item.id for item in node.define_schema().outputs if item.id in made]
    return [_unless_missing(name, made[name]) for name in names]


def _unless_missing(name: str, value: Any) -> Any:
    return sockets.blocked(f"{name}: built where something is linked; run again") if value is None else value


async def beside(run: Callable[[Callable[[], bool]], io.NodeOutput]) -> io.NodeOutput:
    """Run in a thread, so that other nodes continue, and end the run where ComfyUI drops the node.

    Args:
        run: takes what says whether to stop.
    """
    dropped = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(run, lambda: dropped.is_set() or running.interrupted()))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        dropped.set()
        await asyncio.wait({work})
        raise


def is_taken(node: type[io.ComfyNode], output: str) -> bool:
    """Return whether an output, by its id, is to be built: the node has it, and it is linked, as far as is known."""
    # ComfyUI's own GET_SCHEMA writes to the class, which is locked while it runs.
    slots = [slot for slot, item in enumerate(node.define_schema().outputs) if item.id == output]
    return bool(slots) and sockets.is_linked(node, slots[0]) is not False


def check_images(node: type[io.ComfyNode], frames: bool) -> bool:
    """Return whether the images output is to be built: it is linked.

    Raises:
        SettingsError: it is linked, and `frames` is off.
    """
    if sockets.is_linked(node, 0) and not frames:
        raise SettingsError(_FRAMES_OFF)
    return frames and is_taken(node, "images")


def fingerprint(node: type[io.ComfyNode]) -> list[bool]:
    """Return which of the large outputs are linked: once one is, a node that has run without it runs again."""
    return [is_taken(node, output) for output in ("images", "mask", "crops")]


def values(
    batch: Batch | None,
    audio: AudioStream | None,
    path: Path,
    rate: Fraction,
    frames: int,
    lines: list[str],
    more: Sequence[Any] = (),
) -> io.NodeOutput:
    """Return the outputs of a node that animates, in the order of `schemas.outputs`, and `more` behind them."""
    images = _unless_missing("images", None if batch is None else batch.images)
    text = language.shown("\n".join(lines))
    sound = sockets.audio_value(audio, frames / rate)
    return io.NodeOutput(
        images, sound, sockets.video_value(path), float(rate), frames, text, *more, ui=reports.ui(text)
    )
