"""Inputs, outputs and the run that all nodes which animate share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from . import host
from .another_face import ROLES, Face
from .batches import Batch, Details
from .boxes import boxes_input, given
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from ..liveportrait_v2v.engines import Engine, HostedEngine, RenderedFrames
    from ..liveportrait_v2v.media import AudioStream
    from ..liveportrait_v2v.plan import RunPlan
    from ..liveportrait_v2v.run import Result

PLACEMENT = io.Custom("LPV2V_PLACEMENT")
HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt]
_FRAMES_OFF = "switch `frames` on in the LivePortrait node: with it off there are no images, only the video"


def inputs(clips_optional: bool) -> list[io.Input]:
    """Return the inputs of every node that animates; an engine's own come after them."""
    clip = [io.Video, io.Image]
    return [
        io.MultiType.Input(
            "source",
            clip,
            optional=clips_optional,
            tooltip="Video or image with the face to animate. A batch of images has the rate of source_fps, and the "
            "sound of source_audio.",
        ),
        io.MultiType.Input(
            "driving",
            clip,
            optional=clips_optional,
            tooltip="Video or image with the motion. For a batch of images with sound, link Create Video.",
        ),
        SETTINGS.Input(
            "settings", optional=True, tooltip="From LivePortrait Settings; without it the defaults."
        ),
        OPTIONS.Input(
            "motion_options",
            optional=True,
            tooltip="From LivePortrait Motion Options; without it the defaults.",
        ),
        frames_switch(),
    ]


def _roles() -> io.Input:
    """Return the input for more faces: the last one, as saved graphs have the others at their places."""
    return ROLES.Input(
        "roles",
        optional=True,
        tooltip="More faces, each with a driving clip of its own, from Another Face (LivePortrait).",
    )


def frames_switch() -> io.Input:
    """Return the switch of the images output."""
    return io.Boolean.Input(
        "frames",
        default=True,
        advanced=True,
        tooltip="Give the result as images where a node is linked to them: 12 bytes of memory a pixel, 0.8 GB for "
        "10 s of 640x360 at 30 frames a second. Off: never.",
    )


def _boxes() -> io.Input:
    return boxes_input(
        "Place of the source's face where no detector finds it, a cat's or a cartoon's: one box for the first frame, "
        "which is followed, or one for each frame; of several in a frame, the one that input_face_index numbers. For "
        "Animate Local; Animate Draft needs a face that is found."
    )


def _image_batch() -> list[io.Input]:
    """Return the inputs for what a source of images lacks: behind all others, as saved graphs have those."""
    return [
        io.Audio.Input(
            "source_audio",
            optional=True,
            tooltip="Sound of a source that is a batch of images; a video has its own.",
        ),
        io.Float.Input(
            "source_fps",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.001,
            optional=True,
            advanced=True,
            tooltip="Frame rate of a source that is a batch of images. 0 takes the driving video's.",
        ),
    ]


def outputs() -> list[io.Output]:
    """Return the outputs of every node that animates."""
    return [
        io.Image.Output("images", display_name="images", tooltip="The frames, built where this is linked."),
        io.Audio.Output(
            "audio", display_name="audio", tooltip="Exactly as long as the video; silence if it has none."
        ),
        io.Video.Output("video", display_name="video", tooltip="A file: keep it with Save Video."),
        io.Float.Output("fps", display_name="fps"),
        io.Int.Output("frame_count", display_name="frame_count"),
        report_output(),
    ]


def report_output() -> io.Output:
    """Return the output for the report: behind the others, as saved graphs have those at their places."""
    return io.String.Output(
        "report",
        display_name="report",
        tooltip="The result in a few lines. To read it, link Preview as Text.",
    )


def _local_outputs(crops: bool) -> list[io.Output]:
    """Return what local engines give besides, behind the report, as saved graphs have the others at their places."""
    made = [
        io.Mask.Output(
            "mask",
            display_name="mask",
            tooltip="What was pasted over the source, frame by frame, built where this is linked: 4 bytes of memory "
            "a pixel.",
        ),
        PLACEMENT.Output(
            "placement",
            display_name="placement",
            tooltip="Where the faces lie in the frames, for Paste Back (LivePortrait).",
        ),
    ]
    if crops:
        own = io.Image.Output(
            "crops",
            display_name="crops",
            tooltip="The networks' own pictures of 512x512 before they are pasted, built where this is linked. "
            "Restore or upscale them, then paste them into images with Paste Back (LivePortrait).",
        )
        made.append(own)
    return made


def schema(
    clips_optional: bool = False, local: bool = False, crops: bool = False, **options: Any
) -> io.Schema:
    """Return the schema of a node that animates.

    Args:
        clips_optional: source and driving clip need no link.
        local: the engine animates several faces, and gives mask and placement.
        crops: it gives its own crops.
        options: of the schema; `inputs` are the engine's own.
    """
    own = list(options.pop("inputs", []))
    if local:
        own = [*own, _roles()]
    own += _image_batch()
    if local:
        own.append(_boxes())
    return io.Schema(
        category=host.CATEGORY,
        inputs=[*inputs(clips_optional), *own],
        outputs=[*outputs(), *(_local_outputs(crops) if local else [])],
        hidden=HIDDEN,
        **options,
    )


def run(
    node: type[io.ComfyNode],
    engine: Callable[[], Engine | HostedEngine],
    *,
    source: Any,
    driving: Any,
    frames: bool,
    settings: AnimationSettings | None = None,
    motion_options: MotionOptions | None = None,
    roles: Sequence[Face] = (),
    boxes: Any = None,
    source_audio: dict[str, Any] | None = None,
    source_fps: float = 0.0,
    cancelled: Callable[[], bool] = host.interrupted,
) -> io.NodeOutput:
    """Animate, with progress and interrupt, and return the outputs.

    Args:
        engine: makes the engine.
        source, driving: VIDEO, IMAGE, or a URL for a hosted engine.
        frames: the images output is built where it is linked.
        settings, motion_options: defaults where left out.
        roles: more faces.
        boxes: give the source's face, in any form of `FaceBoxes.parse`.
        source_audio, source_fps: of a source that is a batch of images.

    Raises:
        NodeError: for whatever reason there is no result; before anything runs if the clips don't show the faces, or
            `frames` is off and something is linked to the images.
    """
    from ..liveportrait_v2v.engines import HostedEngine
    from ..liveportrait_v2v.plan import Role, make_plan
    from ..liveportrait_v2v.run import first_look, run_plan

    with host.run(node) as report:
        report.text("looking at the clips")
        builds_images = check_images(node, frames)
        made = engine()
        at_url = partial(made.clip, cancelled=cancelled) if isinstance(made, HostedEngine) else None
        settings = settings or AnimationSettings()
        face_given = given(boxes, settings.input_face_index)
        leading = [driving, *(face.driving for face in roles)]
        clip, first, *others = host.clips(
            source, *leading, at_url=at_url, audio=source_audio, rate=source_fps
        )
        plan = make_plan(
            clip,
            [
                Role(first, settings, motion_options or MotionOptions(), boxes=face_given),
                *(face.role(other) for face, other in zip(roles, others, strict=True)),
            ],
        )
        rgba = host.is_rgba(source)
        keeps_alpha = clip.info.has_alpha and not isinstance(made, HostedEngine)
        path = host.temp_file(".webm" if keeps_alpha else ".mp4")
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
            tracks=host.tracks(),
        )
        lines = describe(plan, result)
        report.text(lines[0])
        if result.job is not None:
            host.log(job_line(**result.job))
    more = [] if isinstance(made, HostedEngine) or details is None else _values_of(node, details, plan, made)
    return values(batch, result.audio, path, plan.rate, plan.frame_count, lines, more)


def _details(node: type[io.ComfyNode], plan: RunPlan) -> Details:
    """Return what collects the mask and the crops of a run, as far as they are linked, and its squares."""
    faces = sum(len(role.source_faces) for role in plan.roles)
    return Details(plan.frame_count, plan.size, is_taken(node, "mask"), faces * is_taken(node, "crops"))


def _values_of(node: type[io.ComfyNode], details: Details, plan: RunPlan, engine: Engine) -> list[Any]:
    """Return the values of `_local_outputs`."""
    made = {
        "mask": details.mask,
        "placement": details.placement(plan.size, plan.rate, engine.feather),
        "crops": details.crops,
    }
    names = [item.id for item in node.define_schema().outputs if item.id in made]
    return [_unless_missing(name, made[name]) for name in names]


def _unless_missing(name: str, value: Any) -> Any:
    return host.blocked(f"{name}: built where something is linked; run again") if value is None else value


async def beside(run: Callable[[Callable[[], bool]], io.NodeOutput]) -> io.NodeOutput:
    """Run in a thread, so that other nodes continue, and end the run where ComfyUI drops the node.

    Args:
        run: takes what says whether to stop.
    """
    dropped = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(run, lambda: dropped.is_set() or host.interrupted()))
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
    return bool(slots) and host.is_linked(node, slots[0]) is not False


def check_images(node: type[io.ComfyNode], frames: bool) -> bool:
    """Return whether the images output is to be built: it is linked.

    Raises:
        SettingsError: it is linked, and `frames` is off.
    """
    if host.is_linked(node, 0) and not frames:
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
    """Return the outputs of a node that animates, in the order of `outputs`, and `more` behind them."""
    images = _unless_missing("images", None if batch is None else batch.images)
    text = "\n".join(lines)
    sound = host.audio_value(audio, frames / rate)
    return io.NodeOutput(
        images, sound, host.video_value(path), float(rate), frames, text, *more, ui=host.reported(text)
    )


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
