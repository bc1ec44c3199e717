"""Correction of the result by re-tracking it.

A warp moves landmarks, but the landmark network judges by the picture: on small, blurred or turned faces it finds
less motion than was drawn, and some of the source's own. What it misses in a sketch of the result is added to the
target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import torch
import torch.nn.functional as F

from ...compose import to_float
from ...faces.inference import MIN_PRESENCE
from ...geometry import Pose
from ...tensors import TensorStruct
from . import face
from .colours import BT709_LUMA
from .corners import corner_places, move_corners
from .motion import WINK, Target, angle_of, axis_of, rotation_about
from .response import Response

FEEDBACK_GAIN = 0.9
"""Share of what is missing that is added."""
FOUND_LIFT_SHARE = 0.91
"""Share of the lift that is found in a sketch which is found in a larger result."""
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
"""Difference of openings over which a correction held from another frame falls to 1/e: of eyes to nothing, of mouths to
what was learned of those before."""
MIN_MOUTH_SHARE = 0.2
"""Least share of a wanted mouth opening that a correction leaves."""


@dataclass(frozen=True)
class Missing(TensorStruct):
    """Motion that results lack of what is wanted, in N frames.

    Attributes:
        mouth: float32 [N], opening.
        eyes: float32 [N, 2], openings.
        turn: float32 [N, 3], rotation of the head about its axes, in radians.
        outwards: float32 [N], way of the mouth's corners, in cm.
        lift_found, mouth_found: what is found of their lift, in cm, and of the mouth's opening, where nothing is
            added to what is wanted.
        mouth_at, eyes_at: float32 [N] and [N, 2], the openings that were wanted there.
    """

    mouth: torch.Tensor
    eyes: torch.Tensor
    turn: torch.Tensor
    outwards: torch.Tensor
    lift_found: Response
    mouth_found: Response
    mouth_at: torch.Tensor
    eyes_at: torch.Tensor

    @classmethod
    def of(
        cls, wanted: torch.Tensor, seen: torch.Tensor, presence: torch.Tensor, rest_corners: torch.Tensor
    ) -> Missing:
        """Compare landmarks [N, 478, 3], in pixels of any frame. Where no face is found, nothing is missing.

        Args:
            presence: float32 [N], the landmark net's confidence in what is seen.
            rest_corners: float32 [2], places of the mouth's corners at rest, as `corner_places` has them.
        """
        believed = (presence >= MIN_PRESENCE).float()
        asked_pose, shown_pose = face.first_pose(wanted), face.first_pose(seen)
        turn = shown_pose.rotation.mT @ asked_pose.rotation
        asked, shown = asked_pose.undo(wanted), shown_pose.undo(seen)
        mouth, eyes = face.mouth_opening(asked), face.eye_openings(asked)
        corners = corner_places(asked)
        outwards, lift = (corners - rest_corners).unbind(1)
        less_outwards, less_lift = (corners - corner_places(shown)).unbind(1)
        less_mouth, less_eyes = mouth - face.mouth_opening(shown), eyes - face.eye_openings(shown)
        turned = _added(angle_of(turn), TURN_DEAD_BAND_RADIANS, MAX_TURN_CORRECTION_RADIANS)
        each = believed.unsqueeze(1)
        return cls(
            believed * _added(less_mouth, OPENING_DEAD_BAND, MAX_MOUTH_CORRECTION),
            each * _added(less_eyes, OPENING_DEAD_BAND, MAX_EYE_CORRECTION),
            each * turned.unsqueeze(1) * axis_of(turn),
            believed * _added(less_outwards, CORNER_DEAD_BAND_CM, _most(outwards)),
            Response.of(lift, less_lift, believed),
            Response.of(mouth, less_mouth, believed),
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
            outwards=self.outwards + share * other.outwards,
        )

    def of_edit(self) -> Missing:
        """Return the same without corners of mouths, which an edit moves as far as it says, and nothing learned."""
        return replace(
            self,
            outwards=torch.zeros_like(self.outwards),
            lift_found=self.lift_found.none(),
            mouth_found=self.mouth_found.none(),
        )

    def after(self, before: Missing | None) -> Missing:
        """Continue those before, if any; turns and corners, slow but inferred with a tremble, are smoothed."""
        last = None if before is None else before[-1:]
        return replace(
            self,
            turn=_averaged(self.turn, None if last is None else last.turn[0]),
            outwards=_averaged(self.outwards, None if last is None else last.outwards[0]),
            lift_found=self.lift_found.after(None if last is None else last.lift_found),
            mouth_found=self.mouth_found.after(None if last is None else last.mouth_found),
        )

    def towards(self, later: Missing, share: torch.Tensor) -> Missing:
        """Return what is missing later, of turns and corners a share [N] of the way there: they would jump."""
        share = share.to(self.turn.device).unsqueeze(1)
        return replace(
            later,
            turn=torch.lerp(self.turn, later.turn, share),
            outwards=torch.lerp(self.outwards, later.outwards, share[:, 0]),
            lift_found=self.lift_found.towards(later.lift_found, share),
            mouth_found=self.mouth_found.towards(later.mouth_found, share),
        )

    def added_to(self, target: Target, shrink: int) -> Target:
        """Add what is missing to a target; of openings less, the more they differ from those at which it was found.

        Args:
            shrink: how much smaller the sketches are than the result.
        """
        shape = target.shape
        mouth, eyes = face.mouth_opening(shape), face.eye_openings(shape)
        lift = corner_places(shape)[:, 1] - target.rest_corners[1]
        found_share = FOUND_LIFT_SHARE if shrink > 1 else 1.0
        more = self.lift_found.correction(lift, found_share).clamp(-_most(lift), _most(lift))
        shape = move_corners(shape, torch.stack((self.outwards, more), dim=1))
        learned = self.mouth_found.correction(mouth).clamp(-MAX_MOUTH_CORRECTION, MAX_MOUTH_CORRECTION)
        opening = mouth + torch.lerp(learned, self.mouth, _likeness(mouth, self.mouth_at))
        opening = torch.maximum(opening, MIN_MOUTH_SHARE * mouth)
        shape = face.open_mouth(shape, opening)
        lids = (self.eyes * _likeness(eyes, self.eyes_at)).clamp_max(MAX_WIDER_EYES)
        # What is found of one eye alone is noise, unless it winks.
        apart = WINK(eyes.diff(dim=1).abs() / target.rest_eyes.mean())
        lids = torch.lerp(lids.mean(1, keepdim=True), lids, apart)
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
    rows = accumulate(found, lambda last, row: torch.lerp(last, row, EMA_WEIGHT), initial=before)
    return torch.stack(list(rows)[-len(found) :])


def _most(way: torch.Tensor) -> torch.Tensor:
    """Return the largest correction of corners that go some way [N] from rest: as far again, and a little more."""
    return way.abs() + MAX_STRAY_CM


def _likeness(opening: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.exp(-(opening - other).abs() / OPENING_DECAY)


def _added(lack: torch.Tensor, ignored: float, most: float | torch.Tensor) -> torch.Tensor:
    """Return what is added for what is lacking outside of its dead band."""
    most = torch.as_tensor(most, device=lack.device)
    return (FEEDBACK_GAIN * (lack - lack.clamp(-ignored, ignored))).clamp(-most, most)
