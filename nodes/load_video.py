"""Node Load Video (LivePortrait)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from comfy_api.latest import io

from ..liveportrait_v2v.errors import Cancelled, MediaError
from . import host

_CRF = 12
"""Near-lossless, because the face is cropped from this file."""


class LoadVideo(io.ComfyNode):
    """Loads a video from the input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=host.CATEGORY,
            node_id="LPV2V_LoadVideo",
            display_name="Load Video (LivePortrait)",
            description="Loads a video with its audio from the input folder, optionally shortened, resampled to "
            "another frame rate or scaled down. Never holds all frames in memory.",
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
                    tooltip="A video in ComfyUI's input folder. Add one with the button, or drop a file on the node.",
                ),
                io.Int.Input(
                    "frame_load_cap",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Maximum number of frames to load; 0 = all. Applied after the three options below.",
                ),
                io.Int.Input(
                    "skip_first_frames",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Number of frames to skip at the start, along with their audio.",
                ),
                io.Int.Input(
                    "select_every_nth",
                    default=1,
                    min=1,
                    max=1000,
                    advanced=True,
                    tooltip="Keep the first of every n frames. The duration stays the same; the frame rate is divided "
                    "by n.",
                ),
                io.Float.Input(
                    "force_rate",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frame rate to resample the video to, by timestamps, at unchanged speed. 0 keeps its own "
                    "rate.",
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
        from ..liveportrait_v2v.media import Clip

        try:
            is_still = Clip(_path(file)).info.is_still
        except MediaError as error:
            return str(error)
        return f"{file}: is a still picture; load it with the node Load Image" if is_still else True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> str:
        status = _path(file).stat()
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
        from ..liveportrait_v2v.media import Clip, VideoWriter

        path = _path(file)
        clip = Clip(path)
        # Through its decimal text, so that 29.97 is exactly 2997/100.
        force = Fraction(str(force_rate)) or None
        count = clip.output_count(
            skip=skip_first_frames, cap=frame_load_cap, every_nth=select_every_nth, rate=force
        )
        own_rate, rate = clip.info.rate, clip.output_rate(select_every_nth, force)
        # Only stills have no rate, and `validate_inputs` refuses them.
        assert own_rate is not None
        assert rate is not None
        heard = clip.checked_audio(count / rate, start=skip_first_frames / own_rate)
        audio, notes, report = heard.audio, heard.notes, host.Report(cls.hidden.unique_id)
        size, own_size = clip.output_size(max_side), clip.output_size()
        if (count, rate, size) != (clip.info.frame_count, own_rate, own_size):
            alpha = clip.info.has_alpha
            target = host.temp_file(".webm" if alpha else ".mp4")
            with host.run(report), VideoWriter(target, rate, audio=audio, crf=_CRF) as writer:
                for chunk in clip.chunks(
                    8,
                    skip=skip_first_frames,
                    cap=frame_load_cap,
                    every_nth=select_every_nth,
                    rate=force,
                    max_side=max_side,
                    alpha=alpha,
                ):
                    if host.interrupted():
                        raise Cancelled(f"stopped loading {file}")
                    writer.write(chunk.frames)
                    done = chunk.index + len(chunk.frames)
                    report.count(done, count, f"loading: {done} of {count} frames")
            path, notes = target, (*clip.info.notes, *notes)
        if notes:
            report.text("; ".join(f"the clip {note}" for note in notes))
        return io.NodeOutput(host.video_value(path), host.audio_value(audio), float(rate), count)


def _path(file: str) -> Path:
    """Return the path of a file in ComfyUI's input folder.

    Raises:
        MediaError: there is no such file.
    """
    path = host.input_path(file)
    if path is None:
        raise MediaError(
            file, "there is no such file in ComfyUI's input folder; upload it with the node's button"
        )
    return path
