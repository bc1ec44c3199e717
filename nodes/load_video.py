"""Node Load Video (LivePortrait)."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import Cancelled, LivePortraitError, MediaError
from . import schemas
from .descriptions import clip_line
from .host import CATEGORY, language, paths, reports, routes, running, sockets
from .video_edit import Edit, edit_input

if TYPE_CHECKING:
    from ..liveportrait_v2v.media import Clip

ROUTE = "/liveportrait-v2v/clip"


class LoadVideo(io.ComfyNode):
    """Loads a video from the input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_LoadVideo",
            display_name="Load Video (LivePortrait)",
            description="Loads a video with its audio from the input folder, optionally shortened, resampled to "
            "another frame rate or scaled down. Never holds all frames in memory.",
            search_aliases=[
                "source video",
                "driving video",
                "video loader",
                "vhs load video",
                "视频",
                "動画",
            ],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=paths.input_clips(),
                    upload=io.UploadType.video,
                    tooltip="A video or picture in ComfyUI's input folder. Add one with the button, or drop a file on "
                    "the node. Those named example_… come with the pack.",
                ),
                io.Int.Input(
                    "frame_load_cap",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Maximum number of frames to load; 0 = all. Applied after skip_first_frames, "
                    "select_every_nth and force_rate.",
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
                *edit_input(),
            ],
            outputs=[
                io.Video.Output("video", display_name="video"),
                io.Audio.Output(
                    "audio",
                    display_name="audio",
                    tooltip="Exactly as long as the video; silence if it has none.",
                ),
                io.Float.Output("fps", display_name="fps"),
                io.Int.Output("frame_count", display_name="frame_count"),
                schemas.report_output(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        from ..liveportrait_v2v.media import Clip

        if not file:
            return language.shown("choose a video, or upload one with the node's button")
        try:
            Clip(_path(file)).info  # noqa: B018 - probed for its errors
        except MediaError as error:
            return reports.message(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_) -> str:
        return paths.fingerprint(_path(file))

    @classmethod
    def execute(
        cls,
        file: str,
        frame_load_cap: int,
        skip_first_frames: int,
        select_every_nth: int,
        force_rate: float,
        max_side: int,
        edit: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        from ..liveportrait_v2v.media import VideoWriter

        with running.run(cls) as report:
            edits = Edit.read(edit)
            clip = _clip(file, edits)
            if clip.info.is_still:
                return _still(clip, edits, report)
            options, count, rate = _selection(
                clip, frame_load_cap, skip_first_frames, select_every_nth, force_rate
            )
            own_rate = clip.info.rate
            assert own_rate is not None  # only stills have none
            heard = clip.checked_audio(count / rate, start=skip_first_frames / own_rate)
            audio, notes = heard.audio, heard.notes
            decoded_side, (left, top, *sides) = edits.place(clip, max_side)
            size = (sides[0], sides[1])
            path = clip.path
            assert path is not None  # a node's clips are files
            unchanged = (clip.info.frame_count, own_rate, clip.output_size())
            if (count, rate, size) != unchanged or edits.start or edits.duration:
                notes = (*clip.info.notes, *notes)
                alpha = clip.info.has_alpha
                made = paths.temp_file(".webm" if alpha else ".mp4")
                with VideoWriter(made, rate, audio=audio, crf=sockets.NEAR_LOSSLESS) as writer:
                    for chunk in clip.chunks(8, max_side=decoded_side, alpha=alpha, **options):
                        if running.interrupted():
                            raise Cancelled(f"stopped loading {file}")
                        writer.write(chunk.frames[:, top : top + size[1], left : left + size[0]])
                        done = chunk.index + len(chunk.frames)
                        report.count(done, count, f"{done}/{count}")
                path = paths.with_stem(made, path.stem)
            facts = clip_line(count, size, rate)
            report.text(facts)
        sounds = "with sound" if audio is not None else "no sound: the file has none that can be decoded"
        text = language.shown("\n".join((facts, sounds, *(f"the clip {note}" for note in notes))))
        sound = sockets.audio_value(audio, count / rate)
        return io.NodeOutput(sockets.video_value(path), sound, float(rate), count, text, ui=reports.ui(text))


def add_route() -> None:
    """Add the route that describes what a node will load: a GET request with its widgets' values as the query."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        try:
            text = await asyncio.to_thread(_preview, dict(request.query))
        except LivePortraitError as error:
            return web.json_response({"text": reports.message(error), "error": True})
        except (KeyError, ValueError, RecursionError):  # the latter two of JSON, too
            raise web.HTTPBadRequest(text="send the node's widgets") from None
        return web.json_response({"text": language.shown(text), "error": False})

    routes.add("get", ROUTE, handle)


def _preview(asked: dict[str, str]) -> str:
    """Describe what a node with these widgets loads."""
    edits = Edit.read(json.loads(asked.get("edit", "null")))
    clip = _clip(asked["file"], edits)
    if clip.info.is_still:
        return _picture_line(edits.place(clip, 0)[1][2:])
    _, count, rate = _selection(
        clip,
        int(asked["frame_load_cap"]),
        int(asked["skip_first_frames"]),
        int(asked["select_every_nth"]),
        float(asked["force_rate"]),
    )
    line = clip_line(count, edits.place(clip, int(asked["max_side"]))[1][2:], rate)
    file = _clip(asked["file"], Edit()).info
    whole, duration = file.frame_count, file.duration
    assert duration is not None  # only stills have none
    return line if count == whole else f"{line} of {whole} frames in {float(duration):.2f} s"


def _selection(
    clip: Clip, cap: int, skip: int, every_nth: int, rate: float
) -> tuple[dict[str, Any], int, Fraction]:
    """Return the options of `Clip.chunks`, and the number of frames and the rate that they give."""
    # Through its decimal text, so that 29.97 is exactly 2997/100.
    force = Fraction(str(rate)) or None
    options: dict[str, Any] = {"cap": cap, "skip": skip, "every_nth": every_nth, "rate": force}
    made = clip.output_rate(every_nth, force)
    assert made is not None  # only stills have none
    return options, clip.output_count(**options), made


def _clip(file: str, edits: Edit) -> Clip:
    """Return the clip of a file inside the trim."""
    from ..liveportrait_v2v.media import Clip

    return Clip(_path(file), start=edits.start, duration=edits.duration or None)


def _picture_line(size: tuple[int, ...]) -> str:
    return f"a picture, {size[0]}x{size[1]}: loaded as one frame, without sound"


def _still(clip: Clip, edits: Edit, report: reports.Report) -> io.NodeOutput:
    """Return the outputs of a still: nodes that take the video animate it as a picture."""
    from ..liveportrait_v2v.plan.pairing import STILL_RATE

    path = clip.path
    assert path is not None  # a node's clips are files
    _, (left, top, width, height) = edits.place(clip, 0)
    if edits.crop is not None:
        from PIL import Image

        (chunk,) = clip.chunks(1, alpha=clip.info.has_alpha)
        path = paths.temp_file(".png")
        cut = chunk.frames[0, top : top + height, left : left + width]
        Image.fromarray(cut.numpy()).save(path)
    text = _picture_line((width, height))
    report.text(text)
    text = language.shown(text)
    sound = sockets.audio_value(None, 1 / STILL_RATE)
    return io.NodeOutput(sockets.video_value(path), sound, float(STILL_RATE), 1, text, ui=reports.ui(text))


def _path(file: str) -> Path:
    """Return the path of a file in ComfyUI's input folder.

    Raises:
        MediaError: there is no such file.
    """
    return paths.chosen_file(
        file, "there is no such file in ComfyUI's input folder; upload it with the node's button"
    )
