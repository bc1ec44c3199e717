"""The node Load Video (LivePortrait)."""

from __future__ import annotations

from fractions import Fraction

from comfy_api.latest import io

from . import host

_CRF = 12
"""Hardly a difference to the original: the face is to be cut out of this file."""


class LoadVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=host.CATEGORY,
            node_id="LPV2V_LoadVideo",
            display_name="Load Video (LivePortrait)",
            description="A video of the input folder, shortened or brought to another frame rate or size as asked, "
            "with its sound. Frames are never all in memory.",
            search_aliases=[
                "source video",
                "driving video",
                "video loader",
                "vhs load video",
                "live portrait",
            ],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=host.input_videos(),
                    upload=io.UploadType.video,
                    tooltip="A video of ComfyUI's input folder. The button, or dropping a file on the node, adds one.",
                ),
                io.Int.Input(
                    "frame_load_cap",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Most frames to load; 0 = all. Counted after the three options below.",
                ),
                io.Int.Input(
                    "skip_first_frames",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Frames to leave out at the beginning, their sound as well.",
                ),
                io.Int.Input(
                    "select_every_nth",
                    default=1,
                    min=1,
                    max=1000,
                    advanced=True,
                    tooltip="Keep the first of every n frames. The video lasts as long as before, at an nth of its "
                    "frame rate.",
                ),
                io.Float.Input(
                    "force_rate",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frames per second to bring the video to, by its timestamps: it keeps its speed. "
                    "0 keeps its own.",
                ),
                io.Int.Input(
                    "max_side",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Longest side in pixels; larger videos are scaled down. 0 keeps the size.",
                ),
            ],
            outputs=[
                io.Video.Output("video", display_name="video"),
                io.Audio.Output(
                    "audio", display_name="audio", tooltip="Exactly as long as the video; none if silent."
                ),
                io.Float.Output("fps", display_name="fps"),
                io.Int.Output("frame_count", display_name="frame_count"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        from ..liveportrait_v2v.errors import MediaError
        from ..liveportrait_v2v.media import Clip

        path = host.input_path(file)
        if path is None:
            return (
                f"{file}: there is no such file in ComfyUI's input folder; upload it with the node's button"
            )
        try:
            info = Clip(path).info
        except MediaError as error:
            return str(error)
        return True if not info.is_still else f"{file}: is a still picture; load it with the node Load Image"

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> str:
        status = host.input_path(file).stat()
        return f"{status.st_mtime_ns} {status.st_size}"

    @classmethod
    def execute(
        cls,
        file: str,
        frame_load_cap: int,
        skip_first_frames: int,
        select_every_nth: int,
        force_rate: float,
        max_side: int,
    ) -> io.NodeOutput:
        from ..liveportrait_v2v.errors import Cancelled
        from ..liveportrait_v2v.media import Clip, VideoWriter

        path = host.input_path(file)
        clip = Clip(path)
        # As text: the nearest decimal, so that 29.97 is 2997/100.
        force = Fraction(str(force_rate)) or None
        options = {
            "skip": skip_first_frames,
            "cap": frame_load_cap,
            "every_nth": select_every_nth,
            "rate": force,
        }
        count = clip.output_count(**options)
        rate = clip.output_rate(select_every_nth, force)
        sound = clip.audio(count / rate, start=skip_first_frames / clip.info.rate)
        if (count, rate, clip.output_size(max_side)) != (
            clip.info.frame_count,
            clip.info.rate,
            clip.output_size(),
        ):
            report, target = host.Report(cls.hidden.unique_id), host.temp_file(".mp4")
            with host.run(report), VideoWriter(target, rate, audio=sound, crf=_CRF) as writer:
                for chunk in clip.chunks(8, max_side=max_side, **options):
                    if host.interrupted():
                        raise Cancelled(f"stopped loading {file}")
                    writer.write(chunk.frames)
                    done = chunk.index + len(chunk.frames)
                    report.count(done, count, f"loading: {done} of {count} frames")
            path = target
        return io.NodeOutput(host.video_value(path), host.audio_value(sound), float(rate), count)
