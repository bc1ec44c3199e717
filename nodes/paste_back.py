"""Node Paste Back (LivePortrait)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from . import animation, schemas
from .batches import Batch
from .descriptions import clip_line
from .host import CATEGORY, paths, running, sockets

if TYPE_CHECKING:
    import torch

    from ..liveportrait_v2v.engines import RenderedFrames
    from ..liveportrait_v2v.placement import Placement


class PasteBack(io.ComfyNode):
    """Pastes crops back where they were cut out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_PasteBack",
            display_name="Paste Back (LivePortrait)",
            description="Pastes crops of a face back into the frames that they were cut from, after other nodes "
            "restored, upscaled or repainted them.",
            search_aliases=[
                "paste face",
                "face restore",
                "face detailer",
                "uncrop",
                "composite",
                "blend face",
                "人脸贴回",
                "顔貼り付け",
            ],
            inputs=[
                io.MultiType.Input(
                    "clip",
                    [io.Video, io.Image],
                    tooltip="The clip that the crops were cut from, or what Animate made of it: images keeps full "
                    "quality.",
                ),
                io.Image.Input(
                    "crops", tooltip="Crops in their order, of any size: each covers the whole of its square."
                ),
                schemas.PLACEMENT.Input(
                    "placement", tooltip="As it came with the crops, from Crop Faces or Animate."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What is shown of a crop: one mask for all, or one for each. Without it a crop is shown "
                    "whole, with a soft border.",
                ),
                io.Audio.Input(
                    "source_audio",
                    optional=True,
                    tooltip="Sound of a clip that is a batch of images; a video has its own.",
                ),
            ],
            outputs=schemas.outputs(),
            hidden=schemas.HIDDEN,
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[bool]:
        return animation.fingerprint(cls)

    @classmethod
    def execute(cls, clip, crops, placement, mask=None, source_audio=None) -> io.NodeOutput:
        from ..liveportrait_v2v.run.paste import paste

        with running.run(cls) as report:
            pictures, masks = _checked(crops, mask, placement)
            (source,) = sockets.clips(clip, audio=source_audio, rate=placement.rate or 0)
            total, path = len(placement), paths.temp_file(".mp4")
            batch = Batch(total, placement.size) if animation.is_taken(cls, "images") else None

            def sink(rendered: RenderedFrames) -> None:
                report.see(rendered.frames)
                if batch is not None:
                    batch.add(rendered.frames)

            result = paste(
                source,
                placement,
                pictures,
                masks,
                output=path,
                sink=sink,
                on_frames=lambda done: report.count(done, total, f"{done}/{total}"),
                cancelled=running.interrupted,
            )
            lines = [
                clip_line(result.frames, placement.size, result.rate),
                f"{placement.crop_count} crops pasted",
                "with sound" if result.audio is not None else "no sound: the clip has none",
                *result.notes,
            ]
            report.text(lines[0])
        return animation.values(batch, result.audio, path, result.rate, result.frames, lines)


def _checked(
    crops: torch.Tensor, mask: torch.Tensor | None, placement: Placement
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return crops and a mask for each, if there is one.

    Raises:
        SettingsError: their numbers don't fit the placement, or crops have an alpha channel.
    """
    needed = placement.crop_count
    if len(crops) != needed:
        raise SettingsError(
            f"crops must be as many as the placement has, {needed}, got {len(crops)}; link the placement that came "
            "with these crops"
        )
    if crops.shape[3] != 3:
        raise SettingsError(
            f"crops must have 3 channels, got {crops.shape[3]}; split the alpha off, and link it to mask"
        )
    if mask is None:
        return crops, None
    mask = mask.reshape(-1, *mask.shape[-2:])
    if len(mask) not in (1, needed):
        raise SettingsError(f"mask must be one for all {needed} crops, or one for each, got {len(mask)}")
    return crops, mask.expand(needed, -1, -1)
