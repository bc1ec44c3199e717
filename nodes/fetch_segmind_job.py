"""Node Fetch Segmind Job (LivePortrait)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from comfy_api.latest import io

from ..liveportrait_v2v.errors import Cancelled
from . import animation, schemas, segmind
from .batches import Batch
from .descriptions import clip_line, job_line
from .host import CATEGORY, language, reports, running


class FetchSegmindJob(io.ComfyNode):
    """Fetches the result of an earlier job."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LPV2V_FetchSegmindJob",
            display_name="Fetch Segmind Job (LivePortrait)",
            category=CATEGORY,
            description="Fetches the result of an earlier job by its request id, as the model made it. Waits if the "
            "job is still running. Orders nothing, so it costs nothing.",
            search_aliases=[
                "segmind result",
                "request id",
                "resume job",
            ],
            inputs=[
                io.String.Input(
                    "request_id",
                    default="",
                    tooltip="The id in the report of Animate Segmind, in ComfyUI's log, or in Segmind's console.",
                ),
                schemas.frames_switch(),
                segmind.deadline(),
            ],
            outputs=schemas.outputs(),
            hidden=schemas.HIDDEN,
        )

    @classmethod
    def validate_inputs(cls, request_id: str | None = None) -> bool | str:
        if request_id == "":
            return language.shown("request_id is empty: paste the id from the report of Animate Segmind")
        return True

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[bool]:
        return animation.fingerprint(cls)

    @classmethod
    async def execute(cls, request_id: str, frames: bool, deadline: float) -> io.NodeOutput:
        return await animation.beside(
            lambda cancelled: cls._fetch(request_id.strip(), frames, deadline, cancelled)
        )

    @classmethod
    def _fetch(
        cls, request_id: str, frames: bool, deadline: float, cancelled: Callable[[], bool]
    ) -> io.NodeOutput:
        with running.run(cls) as report:
            builds_images = animation.check_images(cls, frames)
            engine = segmind.make_engine(deadline=deadline)
            from ..liveportrait_v2v.engines.segmind import file_of, report_of
            from ..liveportrait_v2v.media import Clip

            job = engine.fetch(
                request_id, on_state=lambda state: report.text(state.text), cancelled=cancelled
            )
            path = Path(file_of(job))
            clip = Clip(path)
            info, size = clip.info, clip.output_size()
            assert info.rate is not None  # the model's results are videos
            assert info.duration is not None
            batch = Batch(info.frame_count, size) if builds_images else None
            if batch is not None:
                for chunk in clip.chunks():
                    if cancelled():
                        raise Cancelled("stopped while reading the frames")
                    batch.add(chunk.frames)
                    report.see(chunk.frames)
                    report.count(chunk.index + len(chunk.frames), info.frame_count, "reading frames")
            audio = clip.stream_audio(info.duration)
            paid = job_line(**report_of(job))
            sound = "with sound" if audio is not None else "no sound: the model's video has none"
            lines = [clip_line(info.frame_count, size, info.rate), sound, paid]
            report.text(paid)
            reports.log(paid)
        return animation.values(batch, audio, path, info.rate, info.frame_count, lines)
