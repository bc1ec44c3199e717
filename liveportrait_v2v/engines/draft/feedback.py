"""Correction of the result by re-tracking it.

A warp moves landmarks, but the landmark network judges by the picture: on small, blurred or turned faces it finds
less motion than was drawn, and some of the source's own. What it misses in a sketch of the result is added to the
target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ...compose import to_float
from ...faces.inference import MIN_PRESENCE
from ...geometry import Pose
from ...tensors import TensorStruct
from . import face
from .motion import Target, angle_of, axis_of, rotation_about

FEEDBACK_GAIN = 0.9
"""Share of what is missing that is added."""
OPENING_DEAD_BAND, TURN_DEAD_BAND_RADIANS = 0.01, 0.002
"""Noise of the landmark network between two inferences on the same face: smaller differences are ignored."""
TURN_EMA_WEIGHT = 0.8
"""Weight of a frame's own turn in the exponential average over frames."""
MAX_MOUTH_CORRECTION, MAX_EYE_CORRECTION, MAX_TURN_CORRECTION_RADIANS = 0.15, 0.2, 0.4
OPENING_DECAY = 0.1
"""Difference of openings over which a correction held from another frame falls to 1/e."""
MIN_MOUTH_SHARE = 0.5
"""Least share of a wanted mouth opening that a correction leaves."""
BT709_LUMA = (0.2126, 0.7152, 0.0722)
"""Luma of red, green and blue."""


@dataclass(frozen=True)
class Missing(TensorStruct):
    """Motion that results lack of what is wanted, in N frames.

    Attributes:
        mouth: float32 [N], opening.
        eyes: float32 [N, 2], openings.
        turn: float32 [N, 3], rotation of the head about its axes, in radians.
        mouth_at, eyes_at: float32 [N] and [N, 2], the openings that were wanted there.
    """

    mouth: torch.Tensor
    eyes: torch.Tensor
    turn: torch.Tensor
    mouth_at: torch.Tensor
    eyes_at: torch.Tensor

    @classmethod
    def of(cls, wanted: torch.Tensor, seen: torch.Tensor, presence: torch.Tensor) -> Missing:
        """Compare landmarks [N, 478, 3], in pixels of any frame. Where no face is found, nothing is missing.

        Args:
            presence: float32 [N], the landmark net's confidence in what is seen.
        """
        believed = (presence >= MIN_PRESENCE).float()
        asked_pose, shown_pose = face.first_pose(wanted), face.first_pose(seen)
        turn = shown_pose.rotation.mT @ asked_pose.rotation
        asked, shown = asked_pose.undo(wanted), shown_pose.undo(seen)
        mouth, eyes = face.mouth_opening(asked), face.eye_openings(asked)
        return cls(
            believed * _added(mouth - face.mouth_opening(shown), OPENING_DEAD_BAND, MAX_MOUTH_CORRECTION),
            believed.unsqueeze(-1)
            * _added(eyes - face.eye_openings(shown), OPENING_DEAD_BAND, MAX_EYE_CORRECTION),
            axis_of(turn)
            * (
                believed * _added(angle_of(turn), TURN_DEAD_BAND_RADIANS, MAX_TURN_CORRECTION_RADIANS)
            ).unsqueeze(-1),
            mouth,
            eyes,
        )

    def __add__(self, more: Missing) -> Missing:
        return replace(
            self, mouth=self.mouth + more.mouth, eyes=self.eyes + more.eyes, turn=self.turn + more.turn
        )

    def less(self, usual: Missing) -> Missing:
        """Return what is missing beyond what is missing of a face that nothing moves."""
        return replace(
            self, mouth=self.mouth - usual.mouth, eyes=self.eyes - usual.eyes, turn=self.turn - usual.turn
        )

    def smoothed(self, before: Missing | None) -> Missing:
        """Smooth turns from the last one before, if any: heads are slow, but inferred poses tremble."""
        turns = [] if before is None else [before.turn[-1]]
        for turn in self.turn:
            turns.append(torch.lerp(turns[-1], turn, TURN_EMA_WEIGHT) if turns else turn)
        return replace(self, turn=torch.stack(turns[-len(self.turn) :]))

    def added_to(self, target: Target) -> Target:
        """Add what is missing to a target; of openings less, the more they differ from those at which it was found."""
        shape = target.moved_pose.undo(target.moved)
        mouth, eyes = face.mouth_opening(shape), face.eye_openings(shape)
        opening = torch.maximum(mouth + self.mouth * _likeness(mouth, self.mouth_at), MIN_MOUTH_SHARE * mouth)
        shape = face.open_mouth(shape, opening)
        shape = face.move_lids(shape, self.eyes * _likeness(eyes, self.eyes_at))
        pose = target.moved_pose
        pose = Pose(pose.rotation @ rotation_about(self.turn), pose.scale, pose.translation)
        return replace(target, moved=pose.apply(shape), moved_pose=pose)


def with_halved_colors(frames: torch.Tensor) -> torch.Tensor:
    """Give frames uint8 [N, H, W, 3] the colours of a video file: those of four pixels together (4:2:0)."""
    pictures = to_float(frames)
    light = (pictures * pictures.new_tensor(BT709_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    tints = F.avg_pool2d(pictures - light, 2, ceil_mode=True)
    tints = F.interpolate(tints, scale_factor=2, mode="bilinear", align_corners=False)
    shown = light + tints[..., : frames.shape[1], : frames.shape[2]]
    return shown.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _likeness(opening: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(opening - other).abs() / OPENING_DECAY)


def _added(difference: torch.Tensor, ignored: float, most: float) -> torch.Tensor:
    """Return what is added for a difference outside of its dead band."""
    return (FEEDBACK_GAIN * (difference - difference.clamp(-ignored, ignored))).clamp(-most, most)
