"""Node Crop Faces (LivePortrait)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.settings import AnimationSettings
from . import schemas
from .batches import Batch
from .boxes import boxes_input, given
from .host import CATEGORY, language, reports, running, sockets
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from ..liveportrait_v2v.placement import Placement

_REMEDY = "set a smaller dsize, or shorten the clip"


class CropFaces(io.ComfyNode):
    """Cuts a face out of each frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
            node_id="LPV2V_CropFaces",
            display_name="Crop Faces (LivePortrait)",
            description="Cuts a face out of each frame of a clip, for other nodes to restore, upscale or repaint. "
            "Paste Back puts it where it was. Frames without the face are left out.",
            search_aliases=[
                "crop face",
                "face crop",
                "cut out face",
                "face restore",
                "face detailer",
                "bounding box",
                "人脸裁剪",
                "顔切り抜き",
            ],
            inputs=[
                io.MultiType.Input(
                    "clip", [io.Video, io.Image], tooltip="Video or image with the face to cut out."
                ),
                SETTINGS.Input(
                    "settings",
                    optional=True,
                    tooltip="For the face and its crop: input_face_index, dsize, scale, vx_ratio, vy_ratio; without it "
                    "the defaults.",
                ),
                OPTIONS.Input(
                    "motion_options",
                    optional=True,
                    tooltip="For the order of the numbers and the smoothing of the crops; without it the defaults.",
                ),
                boxes_input(
                    "Place of the face where no detector finds it: one box for the first frame, which is followed, or "
                    "one for each frame; of several in a frame, the one that input_face_index numbers."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "crops", display_name="crops", tooltip="One picture for each frame with the face."
                ),
                io.Mask.Output(
                    "mask",
                    display_name="mask",
                    tooltip="The part of a crop that Paste Back shows, soft at the border: one mask for all crops.",
                ),
                schemas.PLACEMENT.Output(
                    "placement",
                    display_name="placement",
                    tooltip="Where the crops lie in the frames, for Paste Back (LivePortrait).",
                ),
                io.BoundingBox.Output(
                    "bboxes",
                    display_name="bboxes",
                    tooltip="Upright boxes around the crops in pixels, a list for each frame; empty without the face.",
                ),
                schemas.report_output(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip, settings=None, motion_options=None, boxes=None) -> io.NodeOutput:
        from ..liveportrait_v2v.compose import square_mask
        from ..liveportrait_v2v.run.crops import FaceCropper

        with running.run(cls) as report:
            (clip,) = sockets.clips(clip)
            settings = settings or AnimationSettings()
            size, total, done = settings.dsize, clip.info.frame_count, 0
            batch = Batch(total, (size, size), remedy=_REMEDY)
            face = given(boxes, settings.input_face_index)
            cropper = FaceCropper(clip, settings, motion_options, faces=None if face is None else (face,))
            for part in cropper.crops(cancelled=running.interrupted):
                batch.add(part.pictures)
                if len(part.pictures):
                    report.see(part.pictures)
                done += part.frames
                report.count(done, total, f"{done}/{total}")
            placement = cropper.placement
            lines = [f"{placement.crop_count} crops of {size}x{size} from {len(placement)} frames"]
            lines += [f"the clip {note}" for note in (*clip.info.notes, *clip.damage)]
            report.text(lines[0])
        text = language.shown("\n".join(lines))
        return io.NodeOutput(
            batch.images,
            square_mask(size).unsqueeze(0),
            placement,
            _boxes(placement),
            text,
            ui=reports.ui(text),
        )


def _boxes(placement: Placement) -> list[list[dict[str, Any]]]:
    """Return the upright boxes around the squares, for each frame a list, in ComfyUI's form."""
    low, high = placement.squares.corners().aminmax(dim=1)
    boxes = [
        {"x": x, "y": y, "width": width, "height": height}
        for (x, y), (width, height) in zip(low.tolist(), (high - low).tolist(), strict=True)
    ]
    return [
        [boxes[frame * placement.faces + face] for face, there in enumerate(shown) if there]
        for frame, shown in enumerate(placement.shown.tolist())
    ]
