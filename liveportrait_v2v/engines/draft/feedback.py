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
from .colours import BT709_LUMA
from .corners import corner_places, move_corners
from .motion import Target, angle_of, axis_of, rotation_about

FEEDBACK_GAIN, CORNER_GAINS = 0.9, (0.95, 1.8)
"""Share of what is missing that is added, and what is missing of the corners' way outwards and upwards counts that
much: of the latter, the landmark network finds less than what is drawn."""
OPENING_DEAD_BAND, TURN_DEAD_BAND_RADIANS, CORNER_DEAD_BAND_CM = 0.01, 0.002, 0.02
"""Noise of the landmark network between two inferences on the same face: smaller differences are ignored."""
EMA_WEIGHT = 0.8
"""Weight of a frame's own turn and corners in the exponential average over those that are inferred."""
MAX_MOUTH_CORRECTION, MAX_EYE_CORRECTION, MAX_TURN_CORRECTION_RADIANS = 0.15, 0.2, 0.4
MAX_WIDER_EYES = 0.04
"""Largest correction by which eyes open further: of wide ones, the network sees that they are, but not how wide."""
MAX_STRAY_CM = 0.1
"""Correction of corners that stay at rest; those that move get as much more as they go at most. Creases of a grin
whose lips have been shut make the landmark network see raised corners: to pull them down would make a frown."""
OPENING_DECAY = 0.1
"""Difference of openings over which a correction held from another frame falls to 1/e."""
MIN_MOUTH_SHARE = 0.2
"""Least share of a wanted mouth opening that a correction leaves."""


@dataclass(frozen=True)
class Missing(TensorStruct):
    """Motion that results lack of what is wanted, in N frames.

    Attributes:
        mouth: float32 [N], opening.
        eyes: float32 [N, 2], openings.
        turn: float32 [N, 3], rotation of the head about its axes, in radians.
        corners: float32 [N, 2], way of the mouth's corners, as `corner_places` has them.
        mouth_at, eyes_at: float32 [N] and [N, 2], the openings that were wanted there.
    """

    mouth: torch.Tensor
    eyes: torch.Tensor
    turn: torch.Tensor
    corners: torch.Tensor
    mouth_at: torch.Tensor
    eyes_at: torch.Tensor

    @classmethod
    def of(
        cls, wanted: torch.Tensor, seen: torch.Tensor, presence: torch.Tensor, rest: torch.Tensor
    ) -> Missing:
        """Compare landmarks [N, 478, 3], in pixels of any frame. Where no face is found, nothing is missing.

        Args:
            presence: float32 [N], the landmark net's confidence in what is seen.
            rest: float32 [478, 3], shape of the face at rest, in head coordinates.
        """
        believed = (presence >= MIN_PRESENCE).float()
        asked_pose, shown_pose = face.first_pose(wanted), face.first_pose(seen)
        turn = shown_pose.rotation.mT @ asked_pose.rotation
        asked, shown = asked_pose.undo(wanted), shown_pose.undo(seen)
        mouth, eyes = face.mouth_opening(asked), face.eye_openings(asked)
        places = corner_places(asked)
        # At most as far again as they go, and a little more.
        most = (places - corner_places(rest.unsqueeze(0))).abs() + MAX_STRAY_CM
        moved = asked.new_tensor(CORNER_GAINS) * (places - corner_places(shown))
        less_mouth, less_eyes = mouth - face.mouth_opening(shown), eyes - face.eye_openings(shown)
        turned = _added(angle_of(turn), TURN_DEAD_BAND_RADIANS, MAX_TURN_CORRECTION_RADIANS)
        each = believed.unsqueeze(1)
        return cls(
            believed * _added(less_mouth, OPENING_DEAD_BAND, MAX_MOUTH_CORRECTION),
            each * _added(less_eyes, OPENING_DEAD_BAND, MAX_EYE_CORRECTION),
            each * turned.unsqueeze(1) * axis_of(turn),
            each * _added(moved, CORNER_DEAD_BAND_CM, most),
            mouth,
            eyes,
        )

    def __add__(self, more: Missing) -> Missing:
        return self._with(more, 1)

    def less(self, usual: Missing) -> Missing:
        """Return what is missing beyond what is missing of a face that nothing moves."""
        return self._with(usual, -1)

    def _with(self, other: Missing, share: float) -> Missing:
        return replace(
            self,
            mouth=self.mouth + share * other.mouth,
            eyes=self.eyes + share * other.eyes,
            turn=self.turn + share * other.turn,
            corners=self.corners + share * other.corners,
        )

    def with_corners(self, outwards: bool, upwards: bool) -> Missing:
        """Return the same, with the ways of the mouth's corners that are to be corrected."""
        return replace(self, corners=self.corners * self.corners.new_tensor([outwards, upwards]))

    def smoothed(self, before: Missing | None) -> Missing:
        """Smooth turns and corners from the last ones before, if any: they are slow, but what is inferred trembles."""
        return replace(
            self,
            turn=_averaged(self.turn, None if before is None else before.turn[-1]),
            corners=_averaged(self.corners, None if before is None else before.corners[-1]),
        )

    def towards(self, later: Missing, share: torch.Tensor) -> Missing:
        """Return what is missing later, of turns and corners a share [N] of the way there: they would jump."""
        share = share.to(self.turn.device).unsqueeze(1)
        return replace(
            later,
            turn=torch.lerp(self.turn, later.turn, share),
            corners=torch.lerp(self.corners, later.corners, share),
        )

    def added_to(self, target: Target) -> Target:
        """Add what is missing to a target; of openings less, the more they differ from those at which it was found."""
        shape = target.shape
        mouth, eyes = face.mouth_opening(shape), face.eye_openings(shape)
        shape = move_corners(shape, self.corners)
        opening = torch.maximum(mouth + self.mouth * _likeness(mouth, self.mouth_at), MIN_MOUTH_SHARE * mouth)
        shape = face.open_mouth(shape, opening)
        lids = (self.eyes * _likeness(eyes, self.eyes_at)).clamp_max(MAX_WIDER_EYES)
        shape = face.move_lids(shape, lids)
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


def _averaged(found: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
    """Return the exponential averages of what was found [N, ...], from the one before on."""
    rows: list[torch.Tensor] = [] if before is None else [before]
    for row in found:
        rows.append(torch.lerp(rows[-1], row, EMA_WEIGHT) if rows else row)
    return torch.stack(rows[-len(found) :])


def _likeness(opening: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(opening - other).abs() / OPENING_DECAY)


def _added(lack: torch.Tensor, ignored: float, most: float | torch.Tensor) -> torch.Tensor:
    """Return what is added for what is lacking outside of its dead band."""
    most = torch.as_tensor(most, device=lack.device)
    return (FEEDBACK_GAIN * (lack - lack.clamp(-ignored, ignored))).clamp(-most, most)
