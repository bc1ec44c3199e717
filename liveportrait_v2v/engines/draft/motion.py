"""Motion transfer: the driving face's motion, carried over to the source face's shape and pose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import torch

from ...faces.history import MESH
from ...geometry import Pose
from ...settings import AnimationSettings, MotionOptions
from ...tensors import SHARED, TensorStruct, put, taken
from . import face
from .corners import corner_places
from .parts import Parts

SHUT_EYE_OPENING, USUAL_EYE_OPENING = 0.18, 0.32
"""Opening below which an eye at rest counts as shut (LivePortrait's constant), and the one that it then gets."""
WIDEST_EYES, LEAST_WIDENING = 0.5, 0.05
"""Opening to which eyes are widened at most, approached softly, and how far those may open that are as wide at rest."""
SHUT_EYE_FLOOR_OPENING, CLOSING_EXPONENT = 0.08, 1.1
"""Opening that counts as shut (the landmarks of shut eyes leave 0.04 to 0.13), and the power of a closing's share."""
GAZE_LIMITS_EYE_WIDTHS, GAZE_FREE_SHARE = (0.25, 0.1), 0.6
"""Limit of the irises' motion sideways and up or down, beyond which the lids would hide them, and the share of it from
which it is approached softly."""
HEAD_SHIFT_LIMIT_FACE_WIDTHS = 0.35
"""Limit of the head's shift with the driving head, approached softly."""
HEAD_SCALE_LIMITS = (0.85, 1.15)
"""Least and largest change of the head's size with the driving head's."""
MOUTH_WIDTH_RATIO_LIMITS = (0.5, 1.3)
"""Least and largest factor by which openings of mouths of different widths are converted."""
MIN_BLINK_RANGE_OPENING = 0.05
"""Least difference between the reference eye's opening and the shut eye's that counts as a whole blink."""
WINK, WINK_PX = face.Ramp(0.35, 0.3), 1.0
"""Difference between the two eyes' openings, in shares of those at rest, from which they move apart, and the least one
in pixels. What is less is the landmark network's: in nine clips without a wink in them, it is 0.05 to 0.44 at most."""
LOWER_LID_SHARE = 0.15
"""Share of the closing that the lower lid does."""
MIN_REOPENING_FACTOR = 1.2
"""Change of a shut eye's opening from which its lids take the resting eye's direction."""
BROWS_MORE, BROWS_REACH_CM = 0.4, (1.6, 0.75)
"""Share by which brows are moved further than landmarks say, and how far above and below them skin goes along: of a
brow's motion, the landmark network finds about three quarters, in the driving clip as in the result."""


@dataclass(frozen=True)
class RestingFace:
    """A face without motion, by one frame: a source's resting face, or the driving reference of relative motion.

    Attributes:
        shape: float32 [478, 3] in head coordinates, with eyes that are shut in that frame opened as usual.
        pose: of that frame, batch of 1.
        eyes: float32 [2], opening of the left and the right eye.
        gaze: float32 [2, 2].
        level_gaze: float32 [2, 2], as `face.level_gaze` has it, of the eyes as they are in that frame.
    """

    shape: torch.Tensor
    pose: Pose
    eyes: torch.Tensor
    gaze: torch.Tensor
    level_gaze: torch.Tensor

    @classmethod
    def of(cls, landmarks: torch.Tensor) -> RestingFace:
        """Take the face from one frame's landmarks, float32 [478, 3] in pixels."""
        pose = face.first_pose(landmarks.unsqueeze(0))
        shape = pose.undo(landmarks.unsqueeze(0))
        eyes = face.eye_openings(shape)[0]
        usual = torch.where(eyes < SHUT_EYE_OPENING, torch.full_like(eyes, USUAL_EYE_OPENING), eyes)
        opened = face.open_eyes(shape, usual, eyes < SHUT_EYE_OPENING)[0]
        return cls(opened, pose, usual, face.gaze(shape)[0], face.level_gaze(shape)[0])

    @cached_property
    def size(self) -> torch.Tensor:
        """Width and height of the face in head coordinates, [2]."""
        points = self.shape[list(face.topology.OVAL), :2]
        return points.amax(0) - points.amin(0)

    @cached_property
    def with_closed_lips(self) -> RestingFace:
        """The same face with its mouth shut."""
        return replace(self, shape=face.close_lips(self.shape.unsqueeze(0), 0.0)[0])

    @cached_property
    def mouth_opening(self) -> torch.Tensor:
        """As `face.mouth_opening`, [1]."""
        return face.mouth_opening(self.shape.unsqueeze(0))

    @cached_property
    def corners(self) -> torch.Tensor:
        """As `corner_places`, [2]."""
        return corner_places(self.shape.unsqueeze(0))[0]

    @cached_property
    def mouth_width(self) -> torch.Tensor:
        """As `face.mouth_width`, [1]."""
        return face.mouth_width(self.shape.unsqueeze(0))


@dataclass(frozen=True)
class Target(TensorStruct):
    """The source face's vertices before and after, for a chunk of frames.

    Attributes:
        source: float32 [N, 478, 3] in pixels.
        moved: float32 [N, 478, 3] in pixels.
        pose, moved_pose: the head before and after.
        strength: float32 [N], share of the head's motion that is carried out.
        gaze: float32 [N, 2, 2], where each iris goes, as `face.gaze` has it.
        own_gaze: float32 [N, 2, 2], where it is in the source frame.
        eyes: float32 [N, 2], opening of the source's eyes in the frame itself.
        teeth: float32 [N], share of the mouth's height in which the driving face shows its teeth; `face.UNTOLD` where
            no driving face tells.
        rest_eyes: float32 [2], opening of the source's eyes at rest.
        rest_corners: float32 [2], places of the corners of its mouth at rest, as `corner_places` has them.
    """

    source: torch.Tensor
    moved: torch.Tensor
    pose: Pose
    moved_pose: Pose
    strength: torch.Tensor
    gaze: torch.Tensor
    own_gaze: torch.Tensor
    eyes: torch.Tensor
    teeth: torch.Tensor
    rest_eyes: torch.Tensor = field(metadata=SHARED)
    rest_corners: torch.Tensor = field(metadata=SHARED)

    @cached_property
    def shape(self) -> torch.Tensor:
        """The moved faces in head coordinates, float32 [N, 478, 3]."""
        return self.moved_pose.undo(self.moved)

    @property
    def glance(self) -> torch.Tensor:
        """Ways of the irises in widths of the eye, float32 [N, 2, 2]."""
        return self.gaze - self.own_gaze

    @cached_property
    def before(self) -> Parts:
        """Eyes and mouths of the source."""
        return _parts(self.source)

    @cached_property
    def after(self) -> Parts:
        """Those of the moved faces."""
        return Parts(self.moved)

    def with_skull(self, points: torch.Tensor) -> torch.Tensor:
        """Move points [N, K, 3] of the frame, in pixels, with the skull."""
        return self.placed(self.pose.undo(points))

    def placed(self, points: torch.Tensor) -> torch.Tensor:
        """Turn points [N, K, 3] of the skull, in head coordinates, into their new places in pixels."""
        before, after = self.pose.apply(points), self.moved_pose.apply(points)
        return torch.lerp(before, after, self.strength.view(-1, 1, 1))

    def with_own_lids(self, share: torch.Tensor) -> Target:
        """Keep a share [N, 2] of the source's own lids, as the head carries them."""
        if not share.any():
            return self
        own, shape = self.pose.undo(self.source), self.shape.clone()
        for eye, (upper, lower, _) in enumerate(face.EYES):
            lids, corners = [*upper[1:-1], *lower[1:-1]], [upper[0], upper[-1]]
            kept = own[:, lids] + (shape[:, corners] - own[:, corners]).mean(1, keepdim=True)
            shape[:, lids] = torch.lerp(shape[:, lids], kept, share[:, eye].view(-1, 1, 1))
        return replace(self, moved=self.moved_pose.apply(shape))

    def with_own_mouth(self, share: torch.Tensor) -> Target:
        """Keep a share [N] of the source's own mouth and what is around it, as the head carries them."""
        if not share.any():
            return self
        own, shape = self.pose.undo(self.source), self.shape.clone()
        weights = share.unsqueeze(1) * face.region_weights("lip").to(share.device)
        shape[:, :468] = torch.lerp(shape[:, :468], own[:, :468], weights.unsqueeze(-1))
        return replace(self, moved=self.moved_pose.apply(shape))

    def within(self, corner: torch.Tensor, shrink: int) -> Target:
        """Return the target in a part of the frame that begins at `corner` [3] and was made `shrink` times smaller."""

        def pose(pose: Pose) -> Pose:
            return Pose(pose.rotation, pose.scale / shrink, (pose.translation - corner) / shrink)

        return replace(
            self,
            source=(self.source - corner) / shrink,
            moved=(self.moved - corner) / shrink,
            pose=pose(self.pose),
            moved_pose=pose(self.moved_pose),
        )

    def held_back(self, strength: torch.Tensor) -> Target:
        """Keep the expression, with a share [N] of the head's motion."""
        less = (self.with_skull(self.source) - self.source) * (1 - strength).view(-1, 1, 1)
        return replace(self, moved=self.moved - less, strength=self.strength * strength)


@lru_cache(maxsize=4)
def _parts(source: torch.Tensor) -> Parts:
    """Return the parts of a source's faces: a still's landmarks are the same tensor in each frame."""
    return Parts(source)


@lru_cache(maxsize=4)
def _own_motion(
    source: torch.Tensor, rest: RestingFace
) -> tuple[Pose, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pose, shape in head coordinates, gaze and eyes' openings of a source's faces, as `_parts` does."""
    pose = face.pose_of(source, rest.shape)
    shape = pose.undo(source)
    return pose, shape, face.gaze(shape), face.eye_openings(shape)


@lru_cache(maxsize=4)
def _with_closed_lips(shape: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return what `face.close_lips` does of a source's shapes, as `_parts` does."""
    return face.close_lips(shape, threshold)


def led_from(
    landmarks: torch.Tensor, own: RestingFace, reference: RestingFace, settings: AnimationSettings
) -> torch.Tensor:
    """Return landmarks [478, 3] of a face that moved since its own rest as those of another face that moved as far."""
    points = landmarks.unsqueeze(0).to(own.shape.device)
    pose = face.pose_of(points, own.shape)
    start, end = own.shape.unsqueeze(0), reference.shape.unsqueeze(0)
    if settings.lip_zero:
        # The opening of the mouth is the driving face's own.
        start, end = face.close_lips(start, 0.0), face.close_lips(end, 0.0)
    ratio = reference.size / own.size
    shape = end + (pose.undo(points) - start) * torch.stack((ratio[0], ratio[1], ratio[0]))
    rotation = pose.rotation
    if settings.relative:
        rotation = rotation @ own.pose.rotation.mT @ reference.pose.rotation
    scale = reference.pose.scale / own.pose.scale
    place = reference.pose.translation + (pose.translation - own.pose.translation) * scale.view(-1, 1)
    return Pose(rotation, pose.scale * scale, place).apply(shape)[0].to(landmarks.device)


def transfer(
    source: torch.Tensor,
    driving: torch.Tensor,
    rest: RestingFace,
    reference: RestingFace,
    settings: AnimationSettings,
    options: MotionOptions,
    source_is_still: bool,
    driving_is_still: bool,
) -> Target:
    """Carry the driving face's motion over to the source face.

    Args:
        source, driving: float32 [N, 478, 3], landmarks of paired frames in pixels of their own clips; driving ones
            may tell of teeth, as `face.with_teeth` has them.
        rest: the source's resting face.
        reference: the driving face that relative motion starts from.
        source_is_still: the source is one picture, whose head takes the change of the driving head's place and size;
            in a video they stay the source's own, as its body goes with them.
        driving_is_still: the driving clip is one picture, which has an expression but no motion: the source's eyes
            and mouth open as far as its own, and the head moves as before.
    """
    if driving_is_still:
        settings = replace(settings, relative=False)
    teeth, driving = face.teeth_share(driving), driving[:, :MESH]
    if options.region not in ("all", "exp", "lip"):
        teeth = torch.full_like(teeth, face.UNTOLD)
    source_pose, own, own_gaze, own_eyes = _own_motion(source, rest)
    driving_pose = face.pose_of(driving, reference.shape)
    drive = driving_pose.undo(driving)
    replaces = options.source_motion == "replace"

    base = rest.shape.expand_as(own) if replaces else own
    eyes = face.eye_frames(driving[..., :2])
    shape = _expression(base, drive, eyes, rest, reference, settings, options)
    weights = face.region_weights(options.region).to(own.device).view(1, -1, 1)
    moves = weights * (shape - own)[:, :468]
    moves[..., 1] *= 1 + BROWS_MORE * face.brow_weights(*BROWS_REACH_CM).to(own.device)
    shape = torch.cat((own[:, :468] + moves, own[:, 468:]), dim=1)
    gaze = own_gaze
    if options.region in ("all", "exp", "eyes"):
        start = rest.gaze if replaces else own_gaze
        # Eyes look the same way, but what is measured of each moves apart as the head turns: their ways sideways had a
        # correlation of -0.77 and -0.92 in two of five clips.
        glance = (face.level_gaze(drive) - reference.level_gaze).mean(1, keepdim=True)
        gaze = start + limited_gaze(options.driving_multiplier * glance)

    pose = source_pose
    if options.region in ("all", "pose") and not driving_is_still:
        start = rest.pose.rotation.expand_as(source_pose.rotation) if replaces else source_pose.rotation
        pose = replace(
            source_pose,
            rotation=_turned(start, driving_pose, reference, settings, options.driving_multiplier),
        )
        if source_is_still:
            pose = _shifted(pose, driving_pose, reference, options.driving_multiplier)
    moved = pose.apply(shape)
    full = torch.ones_like(pose.scale)
    return Target(
        source, moved, source_pose, pose, full, gaze, own_gaze, own_eyes, teeth, rest.eyes, rest.corners
    )


def limited_gaze(way: torch.Tensor) -> torch.Tensor:
    """Return the irises' ways [N, K, 2] in widths of the eye, softly limited."""
    limit = way.new_tensor(GAZE_LIMITS_EYE_WIDTHS)
    free, rest = GAZE_FREE_SHARE * limit, (1 - GAZE_FREE_SHARE) * limit
    far = (way.abs() - free).clamp_min(0)
    return way.clamp(-free, free) + way.sign() * rest * torch.tanh(far / rest)


def _turned(
    start: torch.Tensor,
    driving: Pose,
    reference: RestingFace,
    settings: AnimationSettings,
    strength: float,
) -> torch.Tensor:
    """Return the head's new rotation, [N, 3, 3], from `start`."""
    turned = driving.rotation
    if settings.relative:
        # LivePortrait's formula: the turn since the reference, about the head's own axes.
        turned = driving.rotation @ reference.pose.rotation.mT @ start
    return _scale_rotation(start, turned, strength)


def _shifted(source: Pose, driving: Pose, reference: RestingFace, strength: float) -> Pose:
    """Return the source's pose at the place and in the size that the driving head's change gives it."""
    # Both clips' motion is measured in their own face's width.
    unit = source.scale / reference.pose.scale
    width = (reference.size[0] * source.scale).unsqueeze(-1)
    moved = (driving.translation - reference.pose.translation) * unit.unsqueeze(-1) * strength
    moved = torch.tanh(moved / (width * HEAD_SHIFT_LIMIT_FACE_WIDTHS)) * width * HEAD_SHIFT_LIMIT_FACE_WIDTHS
    moved[:, 2] = 0
    grown = (driving.scale / reference.pose.scale).clamp(*HEAD_SCALE_LIMITS) ** strength
    return replace(source, scale=source.scale * grown, translation=source.translation + moved)


def _scale_rotation(start: torch.Tensor, end: torch.Tensor, strength: float) -> torch.Tensor:
    """Go `strength` of the way from one rotation [N, 3, 3] to another."""
    if strength == 1:
        return end
    turn = start.mT @ end
    return start @ rotation_about(axis_of(turn) * (angle_of(turn) * strength).unsqueeze(-1))


def angle_of(turn: torch.Tensor) -> torch.Tensor:
    """Return the angles of rotations [N, 3, 3] in radians, [N]."""
    return torch.acos(((turn.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(-1, 1))


def axis_of(turn: torch.Tensor) -> torch.Tensor:
    """Return the unit vectors [N, 3] about which rotations [N, 3, 3] turn; zero where they don't."""
    axis = torch.stack(
        (turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]), -1
    )
    return axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-8)


def rotation_about(vector: torch.Tensor) -> torch.Tensor:
    """Return rotations [N, 3, 3] about vectors [N, 3] as long as the angle in radians (Rodrigues)."""
    angle = vector.norm(dim=-1, keepdim=True)
    k = vector.new_zeros(len(vector), 3, 3)
    k[:, 2, 1], k[:, 0, 2], k[:, 1, 0] = (vector / angle.clamp_min(1e-8)).unbind(-1)
    k = k - k.mT
    angle = angle.unsqueeze(-1)
    return torch.eye(3, device=k.device) + torch.sin(angle) * k + (1 - torch.cos(angle)) * (k @ k)


def _expression(
    base: torch.Tensor,
    drive: torch.Tensor,
    eyes: face.Frame,
    rest: RestingFace,
    reference: RestingFace,
    settings: AnimationSettings,
    options: MotionOptions,
) -> torch.Tensor:
    """Return shapes [N, 478, 3] in head coordinates: the base with the driving face's change since its reference.

    Args:
        eyes: frames of the driving eyes in their picture, as `face.eye_frames` has them.
    """
    start = reference
    if settings.lip_zero:
        # Closed lips of the driving face mean closed lips of the source.
        base = _with_closed_lips(base, settings.lip_zero_threshold)
        start = reference.with_closed_lips
    ratio = rest.size / reference.size
    change = (drive - start.shape) * torch.stack((ratio[0], ratio[1], ratio[0]))
    change[:, :468] *= face.expression_weights().to(change.device).view(1, -1, 1)
    shape = base + options.driving_multiplier * change
    # The opening is relative to the size of the face: the width of a broad smile does not add to it.
    width = start.mouth_width * ratio[0] / rest.mouth_width
    width = width.clamp(*MOUTH_WIDTH_RATIO_LIMITS)
    shape = _set_mouth(shape, base, drive, start, settings, options.driving_multiplier, width)
    return _set_eyes(shape, base, drive, eyes, rest, reference, settings, options.driving_multiplier)


def _set_mouth(
    shape: torch.Tensor,
    base: torch.Tensor,
    drive: torch.Tensor,
    start: RestingFace,
    settings: AnimationSettings,
    strength: float,
    width_ratio: torch.Tensor,
) -> torch.Tensor:
    """Give the mouth the driving mouth's opening, which was that of `start` at first; the lips never cross."""
    wanted = face.mouth_opening(drive)
    if settings.lip_retargeting:
        wanted = wanted * settings.lip_retargeting_multiplier
    elif settings.relative:
        wanted = face.mouth_opening(base) + strength * width_ratio * (wanted - start.mouth_opening)
    return face.open_mouth(shape, wanted.clamp_min(0))


def _set_eyes(
    shape: torch.Tensor,
    base: torch.Tensor,
    drive: torch.Tensor,
    eyes: face.Frame,
    rest: RestingFace,
    reference: RestingFace,
    settings: AnimationSettings,
    strength: float,
) -> torch.Tensor:
    """Set the lids by the driving eyes' openings, as shares of the source eyes' own opening."""
    openings, now = face.eye_openings(drive), face.eye_openings(base)
    if settings.eye_retargeting or not settings.relative:
        wanted = openings * (settings.eyes_retargeting_multiplier if settings.eye_retargeting else 1.0)
    else:
        usual = (reference.eyes - SHUT_EYE_FLOOR_OPENING).clamp_min(MIN_BLINK_RANGE_OPENING)
        share = (openings - SHUT_EYE_FLOOR_OPENING).clamp_min(0) / usual
        pixel = eyes.pixel.view(2, -1).T / usual
        share = 1 + strength * (_in_step(share, face.eyes_in_view(eyes), pixel) - 1)
        room = (WIDEST_EYES - now).clamp_min(LEAST_WIDENING)
        wider = now + room * torch.tanh((share - 1) * now / room)
        wanted = torch.where(share > 1, wider, now * share.clamp_min(0) ** CLOSING_EXPONENT)
    shape, rest_shape = shape.clone(), rest.shape.unsqueeze(0)
    factors = wanted / now.clamp_min(face.MIN_OPENING)
    opens = (now < SHUT_EYE_OPENING) & (factors > MIN_REOPENING_FACTOR)
    for eye, (upper_lid, lower_lid, _) in enumerate(face.EYES):
        upper, lower = upper_lid[1:-1], lower_lid[1:-1]
        factor, lower_rows = factors[:, eye].view(-1, 1, 1), taken(base, lower)
        gap = lower_rows - taken(base, upper)
        # The gap of a shut eye has no usable direction: an eye that opens takes the resting eye's.
        rest_gap = taken(rest_shape, lower) - taken(rest_shape, upper)
        rest_gap = rest_gap * (now[:, eye] / rest.eyes[eye]).view(-1, 1, 1)
        gap = torch.where(opens[:, eye].view(-1, 1, 1), rest_gap, gap)
        # The upper lid does most of the motion.
        lowered = lower_rows - LOWER_LID_SHARE * (1 - factor).clamp(0, 1) * gap
        put(shape, lower, lowered)
        face.put_upper_lid(shape, base, eye, lowered - factor * gap)
    return shape


def _in_step(share: torch.Tensor, in_view: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
    """Return openings [N, 2] of both eyes, in shares of those at rest, alike unless one winks.

    Args:
        in_view: visible shares of the eyes, float32 [N, 2]: what is not seen of one follows the other.
        pixel: an opening by a pixel of their picture, float32 [N, 2].
    """
    both = (share * in_view).sum(1, keepdim=True) / in_view.sum(1, keepdim=True).clamp_min(1e-6)
    less = (WINK_PX * pixel.amax(1, keepdim=True) - WINK.start).clamp_min(0)
    return torch.lerp(both, share, WINK(share.diff(dim=1).abs() - less) * in_view)
