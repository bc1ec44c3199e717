"""Node Another Face (LivePortrait)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions
from .boxes import boxes_input, given
from .expression import EXPRESSION
from .host import CATEGORY, running
from .motion import MOTION
from .motion_options import OPTIONS
from .settings import SETTINGS

if TYPE_CHECKING:
    from ..liveportrait_v2v.expression import Expression
    from ..liveportrait_v2v.media import Clip
    from ..liveportrait_v2v.plan import MotionTemplate, Role

ROLES = io.Custom("LPV2V_ROLES")
_HIGHEST = 5


@dataclass(frozen=True)
class Face:
    """One more face of the source and what leads it: an item of LPV2V_ROLES, which is a tuple of them.

    Attributes:
        driving: VIDEO, IMAGE or LPV2V_MOTION, or None for a face that the expression alone edits.
    """

    driving: Any
    source_face: int
    drive_face: int
    settings: AnimationSettings
    options: MotionOptions
    boxes: Any = None
    expression: Expression | None = None

    def role(self, driving: Clip | MotionTemplate | None) -> Role:
        """Return the role, with the clip behind `driving`."""
        from ..liveportrait_v2v.plan import Role

        boxes = given(self.boxes, self.source_face)
        number = self.source_face if boxes is None else None
        return Role(driving, self.settings, self.options, number, self.drive_face, boxes, self.expression)


class AnotherFace(io.ComfyNode):
    """Gives one more face of the source a driving clip of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            category=CATEGORY,
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
                    [io.Video, io.Image, MOTION],
                    optional=True,
                    tooltip="Video or image with the motion of this face, or motion of Record Motion or Load Motion.",
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
                EXPRESSION.Input(
                    "expression",
                    optional=True,
                    tooltip="From Expression (LivePortrait): added to the driving motion of this face, or edits it "
                    "alone.",
                ),
            ],
            outputs=[
                ROLES.Output("more_faces", display_name="roles", tooltip="This face and those linked to it.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        driving=None,
        source_face: int = 1,
        drive_face: int = 0,
        settings=None,
        motion_options=None,
        roles=(),
        boxes=None,
        expression=None,
    ) -> io.NodeOutput:
        with running.run(cls):
            if driving is None and expression is None:
                raise SettingsError("link a clip to `driving`, or an expression to `expression`; got neither")
        face = Face(
            driving,
            source_face,
            drive_face,
            settings or AnimationSettings(),
            motion_options or MotionOptions(),
            boxes,
            expression,
        )
        return io.NodeOutput((*roles, face))
