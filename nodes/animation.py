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
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    import torch

    from ..liveportrait_v2v.engines import Engine, HostedEngine, RenderedFrames
    from ..liveportrait_v2v.media import AudioStream
    from ..liveportrait_v2v.run import Result

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
            tooltip="Video or image with the face to animate. A batch of images takes the driving video's frame rate.",
        ),
        io.MultiType.Input(
            "driving", clip, optional=clips_optional, tooltip="Video or image with the motion."
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
        tooltip="Give the result as images too: 12 bytes of memory a pixel, 0.8 GB for 10 s of 640x360 at 30 "
        "frames a second. Switch it off for long videos and use the video output.",
    )


def outputs() -> list[io.Output]:
    """Return the outputs of every node that animates."""
    return [
        io.Image.Output("images", display_name="images", tooltip="The frames, if `frames` is on."),
        io.Audio.Output(
            "audio", display_name="audio", tooltip="Exactly as long as the video; none if silent."
        ),
        io.Video.Output("video", display_name="video", tooltip="A file: keep it with Save Video."),
        io.Float.Output("fps", display_name="fps"),
        io.Int.Output("frame_count", display_name="frame_count"),
    ]


def schema(clips_optional: bool = False, several: bool = False, **options: Any) -> io.Schema:
    """Return the schema of a node that animates.

    Args:
        clips_optional: source and driving clip need no link.
        several: the engine animates several faces.
        options: of the schema; `inputs` are the engine's own.
    """
    own = options.pop("inputs", [])
    if several:
        own = [*own, _roles()]
    return io.Schema(
        category=host.CATEGORY,
        inputs=[*inputs(clips_optional), *own],
        outputs=outputs(),
        hidden=HIDDEN,
        **options,
    )


def run(
    node: type[io.ComfyNode],
    engine: Engine | HostedEngine,
    *,
    source: Any,
    driving: Any,
    frames: bool,
    settings: AnimationSettings | None,
    motion_options: MotionOptions | None,
    roles: Sequence[Face] = (),
    cancelled: Callable[[], bool] = host.interrupted,
) -> io.NodeOutput:
    """Animate, with progress and interrupt, and return the outputs.

    Args:
        source, driving: VIDEO, IMAGE, or a URL for a hosted engine.
        roles: more faces.

    Raises:
        SettingsError: `frames` is off and something is linked to the images, or two roles animate the same face.
    """
    from ..liveportrait_v2v.engines import HostedEngine
    from ..liveportrait_v2v.plan import Role, make_plan
    from ..liveportrait_v2v.run import run_plan

    check_images(node, frames)
    report = host.Report(node.hidden.unique_id)
    report.text("looking at the clips")
    at_url = partial(engine.clip, cancelled=cancelled) if isinstance(engine, HostedEngine) else None
    with host.run(report):
        leading = [driving, *(face.driving for face in roles)]
        clip, first, *others = host.clips(source, *leading, at_url=at_url)
        plan = make_plan(
            clip,
            [
                Role(first, settings or AnimationSettings(), motion_options or MotionOptions()),
                *(face.role(other) for face, other in zip(roles, others, strict=True)),
            ],
        )
        rgba = host.is_rgba(source)
        keeps_alpha = clip.info.has_alpha and not isinstance(engine, HostedEngine)
        path = host.temp_file(".webm" if keeps_alpha else ".mp4")
        batch = Batch(plan.frame_count, plan.size, 4 if rgba and keeps_alpha else 3) if frames else None

        def sink(rendered: RenderedFrames) -> None:
            report.see(rendered.frames)
            if batch is not None:
                batch.add(rendered.frames)

        result = run_plan(
            plan, engine=engine, output=path, sink=sink, on_progress=report.progress, cancelled=cancelled
        )
    report.text(_summary(result))
    return values(batch, result.audio, path, result.rate, result.frames)


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


def check_images(node: type[io.ComfyNode], frames: bool) -> None:
    """Check that the images are computed if something is linked to them.

    Raises:
        SettingsError: `frames` is off and something is linked to the images.
    """
    if not frames and host.is_linked(node, 0):
        raise SettingsError(_FRAMES_OFF)


def values(
    batch: Batch | None, audio: AudioStream | None, path: Path, rate: Fraction, frames: int
) -> io.NodeOutput:
    """Return the outputs, in the order of `outputs`."""
    images = host.blocked(_FRAMES_OFF) if batch is None else batch.images
    return io.NodeOutput(images, host.audio_value(audio), host.video_value(path), float(rate), frames)


def _summary(result: Result) -> str:
    parts = [f"{result.frames} frames in {result.seconds['total']:.1f} s"]
    if result.frames_without_source_face is not None:
        parts.append(
            f"without a face: {result.frames_without_source_face} source, "
            f"{result.frames_without_driving_face} driving frames"
        )
    if result.job is not None:
        parts.append(job_summary(**result.job))
    return "; ".join([*parts, *result.notes])


def job_summary(request_id: str | None, cost: float | None, remaining_credits: float | None, **_) -> str:
    """Describe a paid job in a few words."""
    price = "cost unknown" if cost is None else f"{cost:.4g} USD"
    left = "" if remaining_credits is None else f", {remaining_credits:.4g} credits left"
    return f"job {request_id or 'without an id'}: {price}{left}"


class Batch:
    """The IMAGE output, filled as frames come."""

    def __init__(self, count: int, size: tuple[int, int], channels: int = 3):
        """Allocate the batch.

        Raises:
            SettingsError: it doesn't fit into memory.
        """
        remedy = "switch `frames` off and use the video output, or shorten the clip"
        self.images = host.empty_images(count, size[1], size[0], remedy, channels)
        self._filled = 0

    def add(self, chunk: torch.Tensor) -> None:
        """Append frames uint8 [N, H, W, C]; alpha that the batch doesn't take is put over black."""
        images = self.images[self._filled : self._filled + len(chunk)]
        images.copy_(chunk[..., : images.shape[3]]).div_(255)
        if chunk.shape[3] > images.shape[3]:
            images.mul_(chunk[..., 3:].float() / 255)
        self._filled += len(chunk)
