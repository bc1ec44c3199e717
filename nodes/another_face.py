"""Node Another Face (LivePortrait)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from . import host
from .boxes import boxes_input, given
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from ..liveportrait_v2v.media import Clip
    from ..liveportrait_v2v.plan import Role

ROLES = io.Custom("LPV2V_ROLES")
_HIGHEST = 5


@dataclass(frozen=True)
class Face:
    """One more face of the source and what leads it: an item of LPV2V_ROLES, which is a tuple of them.

    Attributes:
        driving: VIDEO or IMAGE.
    """

    driving: Any
    source_face: int
    drive_face: int
    settings: AnimationSettings
    options: MotionOptions
    boxes: Any = None

    def role(self, driving: Clip) -> Role:
        """Return the role, with the clip behind `driving`."""
        from ..liveportrait_v2v.plan import Role

        boxes = given(self.boxes, self.source_face)
        number = self.source_face if boxes is None else None
        return Role(driving, self.settings, self.options, number, self.drive_face, boxes)


class AnotherFace(io.ComfyNode):
    """Gives one more face of the source a driving clip of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=host.CATEGORY,
            node_id="LPV2V_AnotherFace",
            display_name="Another Face (LivePortrait)",
            description="Gives one more face of the source a driving clip and settings of its own, for Animate Draft "
            "and Animate Local: all faces are animated in one pass. Several of these nodes form a chain.",
            search_aliases=[
                "several faces",
                "multiple faces",
                "two faces",
                "second face",
                "多人",
                "複数の顔",
            ],
            inputs=[
                io.MultiType.Input(
                    "driving",
                    [io.Video, io.Image],
                    tooltip="Video or image with the motion of this face.",
                ),
                io.Int.Input(
                    "source_face",
                    default=1,
                    min=0,
                    max=_HIGHEST,
                    tooltip="Number of the source face to animate, in place of input_face_index. Each face can have "
                    "one driving clip; the Animate node itself leads face 0 unless its settings say otherwise.",
                ),
                io.Int.Input(
                    "drive_face",
                    default=0,
                    min=0,
                    max=_HIGHEST,
                    tooltip="Number of the driving face, in place of drive_face_index.",
                ),
                SETTINGS.Input(
                    "settings",
                    optional=True,
                    tooltip="For this face, from LivePortrait Settings; without it the defaults. Length and audio of "
                    "the result follow the settings of the Animate node.",
                ),
                OPTIONS.Input(
                    "motion_options",
                    optional=True,
                    tooltip="For this face, from LivePortrait Motion Options; without it the defaults. The source's "
                    "faces are numbered by the options of the Animate node.",
                ),
                ROLES.Input(
                    "roles",
                    optional=True,
                    tooltip="More faces, from another node of this kind.",
                ),
                boxes_input(
                    "Place of this face in the source where no detector finds it, for Animate Local; of several in a "
                    "frame, the one that source_face numbers."
                ),
            ],
            outputs=[
                ROLES.Output("more_faces", display_name="roles", tooltip="This face and those linked to it.")
            ],
        )

    @classmethod
    def execute(
        cls,
        driving,
        source_face: int,
        drive_face: int,
        settings=None,
        motion_options=None,
        roles=(),
        boxes=None,
    ) -> io.NodeOutput:
        face = Face(
            driving,
            source_face,
            drive_face,
            settings or AnimationSettings(),
            motion_options or MotionOptions(),
            boxes,
        )
        return io.NodeOutput((*roles, face))
