"""What the nodes that animate have in common: their inputs, their outputs and the run between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import host
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    import torch

    from ..liveportrait_v2v.engines import Engine
    from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions

_FRAMES_OFF = "switch `frames` on in the LivePortrait node: with it off there are no images, only the video"


def inputs() -> list[io.Input]:
    """The inputs of every node that animates; an engine's own come after them."""
    clip = [io.Video, io.Image]
    return [
        io.MultiType.Input(
            "source",
            clip,
            tooltip="Video or image with the face to animate. A batch of images takes the driving video's frame rate.",
        ),
        io.MultiType.Input("driving", clip, tooltip="Video or image with the motion."),
        SETTINGS.Input(
            "settings", optional=True, tooltip="From LivePortrait Settings; without it the defaults."
        ),
        OPTIONS.Input(
            "motion_options",
            optional=True,
            tooltip="From LivePortrait Motion Options; without it the defaults.",
        ),
        io.Boolean.Input(
            "frames",
            default=True,
            tooltip="Give the result as images too: 12 bytes of memory a pixel, 0.8 GB for 10 s of 640x360 at 30 "
            "frames a second. Switch it off for long videos and use the video output.",
        ),
    ]


def outputs() -> list[io.Output]:
    """The outputs of every node that animates."""
    return [
        io.Image.Output("images", display_name="images", tooltip="The frames, if `frames` is on."),
        io.Audio.Output(
            "audio", display_name="audio", tooltip="Exactly as long as the video; none if silent."
        ),
        io.Video.Output("video", display_name="video", tooltip="A temporary file: save it with Save Video."),
        io.Float.Output("fps", display_name="fps"),
        io.Int.Output("frame_count", display_name="frame_count"),
    ]


def schema(**options: Any) -> io.Schema:
    """The schema of a node that animates; `inputs` in the options are the engine's own."""
    own = options.pop("inputs", [])
    return io.Schema(
        category=host.CATEGORY,
        inputs=[*inputs(), *own],
        outputs=outputs(),
        hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        **options,
    )


def run(
    engine: Engine,
    node: type[io.ComfyNode],
    source: Any,
    driving: Any,
    frames: bool,
    settings: AnimationSettings | None,
    motion_options: MotionOptions | None,
) -> io.NodeOutput:
    """Animates, with progress and interrupt, and gives the outputs.

    Raises:
        SettingsError: `frames` is off and something is linked to the images.
    """
    from ..liveportrait_v2v.animate import animate
    from ..liveportrait_v2v.errors import SettingsError

    if not frames and host.is_linked(node, 0):
        raise SettingsError(_FRAMES_OFF)
    report, path = host.Report(node.hidden.unique_id), host.temp_file(".mp4")
    report.text("looking at the clips")
    with host.run():
        source, driving = host.clips(source, driving)
        batch = _Batch(source, driving, settings, motion_options) if frames else None

        def sink(chunk: torch.Tensor) -> None:
            report.see(chunk)
            if batch is not None:
                batch.add(chunk)

        result = animate(
            source,
            driving,
            engine=engine,
            output=path,
            settings=settings,
            options=motion_options,
            sink=sink,
            on_progress=report.progress,
            cancelled=host.interrupted,
        )
    report.text(
        f"{result.frames} frames in {result.seconds['total']:.1f} s; without a face: "
        f"{result.frames_without_source_face} source, {result.frames_without_driving_face} driving frames"
    )
    return io.NodeOutput(
        batch.images if batch is not None else host.blocked(_FRAMES_OFF),
        host.audio_value(result.sound),
        host.video_value(path),
        float(result.rate),
        result.frames,
    )


class _Batch:
    """The IMAGE output, filled as frames come."""

    def __init__(self, source, driving, settings, options):
        from ..liveportrait_v2v.pairing import pair
        from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions

        pairing = pair(source.info, driving.info, settings or AnimationSettings(), options or MotionOptions())
        width, height = source.output_size()
        remedy = "switch `frames` off and use the video output, or shorten the clip"
        self.images = host.empty_images(pairing.frames, height, width, remedy)
        self._filled = 0

    def add(self, chunk: torch.Tensor) -> None:
        """Takes uint8 [N, H, W, 3]."""
        self.images[self._filled : self._filled + len(chunk)].copy_(chunk).div_(255)
        self._filled += len(chunk)
