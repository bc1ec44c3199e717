"""What the result shows, held against what was asked for.

A warp moves landmarks, but the landmark net judges by the picture: of small, blurred or turned faces it sees less
motion than was drawn, and some of the source's own. So it looks at the result, and what is missing is asked for on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ...compose import to_float
from ...faces.look import PRESENT
from ...geometry import Pose
from . import face
from .motion import Target, angle_of, axis_of, rotation_about

# Share of what is missing that is added.
GAIN = 0.9
# What two looks at the same face differ by is not missing: openings, and the head's turn in radians.
OPENING, TURN = 0.01, 0.002
# Share of a frame's own turn; the rest is that of the frames before.
NEW = 0.8
# At most so much is added: of the mouth's opening and the eyes', and of the turn.
MOUTHS, EYES, TURNS = 0.15, 0.2, 0.4
HALF = 0.5  # of a mouth's opening is left at least
BT709 = (0.2126, 0.7152, 0.0722)  # light of red, green and blue


@dataclass(frozen=True)
class Missing:
    """What results lack of what is wanted, in N frames.

    Attributes:
        mouth: float32 [N], opening.
        eyes: float32 [N, 2], openings.
        turn: float32 [N, 3], rotation of the head about its axes, in radians.
    """

    mouth: torch.Tensor
    eyes: torch.Tensor
    turn: torch.Tensor

    @classmethod
    def of(cls, wanted: torch.Tensor, seen: torch.Tensor, presence: torch.Tensor) -> Missing:
        """From landmarks [N, 478, 3], in pixels of any frame. Where no face is seen, nothing is missing.

        Args:
            presence: float32 [N], the landmark net's confidence in what is seen.
        """
        believed = (presence >= PRESENT).float()
        asked, shown = face.first_pose(wanted), face.first_pose(seen)
        turn = shown.rotation.mT @ asked.rotation
        asked, shown = asked.undo(wanted), shown.undo(seen)
        mouth = face.mouth_opening(asked) - face.mouth_opening(shown)
        eyes = face.eye_openings(asked) - face.eye_openings(shown)
        return cls(
            believed * _added(mouth, OPENING, MOUTHS),
            believed.unsqueeze(-1) * _added(eyes, OPENING, EYES),
            axis_of(turn) * (believed * _added(angle_of(turn), TURN, TURNS)).unsqueeze(-1),
        )

    def __getitem__(self, index) -> Missing:
        return Missing(self.mouth[index], self.eyes[index], self.turn[index])

    def __add__(self, more: Missing) -> Missing:
        return Missing(self.mouth + more.mouth, self.eyes + more.eyes, self.turn + more.turn)

    def and_then(self, later: Missing) -> Missing:
        """The same of these frames and of those that follow."""
        parts = ((self.mouth, later.mouth), (self.eyes, later.eyes), (self.turn, later.turn))
        return Missing(*(torch.cat(part) for part in parts))

    def calmed(self, before: Missing | None) -> Missing:
        """With turns that go on from the last one before, if any: heads are slow, but looks tremble."""
        turns = [] if before is None else [before.turn[-1]]
        for turn in self.turn:
            turns.append(torch.lerp(turns[-1], turn, NEW) if turns else turn)
        return replace(self, turn=torch.stack(turns[-len(self.turn) :]))

    def added_to(self, target: Target) -> Target:
        shape = target.moved_pose.undo(target.moved)
        opening = face.mouth_opening(shape)
        shape = face.open_mouth(shape, torch.maximum(opening + self.mouth, HALF * opening))
        shape = face.move_lids(shape, self.eyes)
        pose = target.moved_pose
        pose = Pose(pose.rotation @ rotation_about(self.turn), pose.scale, pose.translation)
        return replace(target, moved=pose.apply(shape), moved_pose=pose)


def with_halved_colors(frames: torch.Tensor) -> torch.Tensor:
    """Frames uint8 [N, H, W, 3] as a video file shows them: light by pixels, colours by squares of four (4:2:0)."""
    pictures = to_float(frames)
    light = (pictures * pictures.new_tensor(BT709).view(3, 1, 1)).sum(1, keepdim=True)
    tints = F.avg_pool2d(pictures - light, 2, ceil_mode=True)
    tints = F.interpolate(tints, scale_factor=2, mode="bilinear", align_corners=False)
    shown = light + tints[..., : frames.shape[1], : frames.shape[2]]
    return shown.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _added(difference: torch.Tensor, ignored: float, most: float) -> torch.Tensor:
    """What is added for a difference, less what is ignored of it."""
    return (GAIN * (difference - difference.clamp(-ignored, ignored))).clamp(-most, most)
