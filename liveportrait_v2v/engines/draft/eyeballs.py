"""Eyeballs between lids: the white stays with the eye, the iris moves over it with the gaze, and lids cover both."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...compose import PixelRect
from ...faces import FaceSquare
from . import face
from .curves import Frame, Opening, Patch, height_at, in_frame, local, margins_of, pixel_of
from .face import Ramp, smoothstep
from .motion import Target
from .openings import margin_px, skin_at


@dataclass(frozen=True)
class EyeballParameters:
    """An eyeball. Distances are in widths of the eye unless said otherwise.

    Attributes:
        iris: least and largest radius of an iris.
        rim: radius of what moves with the iris, in radii of the iris, and the width over which it ends.
        around: radius in which the white is made from both sides of the iris, in radii of the iris.
        corners: largest distance from the middle at which the white is taken.
        lid_shade: depth below a lid in which the source's eyeball is darker; kept at a lid that opens further.
        lid_shade_px: least of that depth, in pixels of the source: a lid's lashes and shade are blurred by as much.
        mirrored: distance over which the iris's lower half takes the place of an upper one under the lid.
        moved: motion of the iris from which the white behind it has to be made.
        cast: reach and depth of the shade below a lid that comes down, and the way down at which it is full.
    """

    iris: tuple[float, float] = (0.15, 0.26)
    rim: Ramp = Ramp(1.2, 0.25)
    around: float = 1.35
    corners: float = 0.44
    lid_shade: float = 0.04
    lid_shade_px: float = 2.0
    mirrored: float = 0.04
    moved: Ramp = Ramp(0.0, 0.02)
    cast: tuple[float, float, float] = (0.06, 0.35, 0.1)


EYEBALLS = EyeballParameters()


def draw_eyes(
    pictures: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    shift: torch.Tensor,
    square: FaceSquare,
    region: PixelRect,
) -> None:
    """Draw what is between the lids and at their margins.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        shift: float32 [N, 2, S, S] over the N squares, as `warp.make_warp` has it.
    """
    source, moved = target.source[..., :2], target.moved[..., :2]
    margin = margin_px(square, shift.shape[-1])
    view = face.eyes_in_view(moved) * face.eyes_in_view(source)
    scale = (target.pose.scale / target.moved_pose.scale).view(-1, 1, 1)
    for eye, (upper, lower, _) in enumerate(face.EYES):
        frame = face.eye_frame(moved, eye)
        opening = Opening.between(moved, (upper, lower), frame, region, margin)
        patch = Patch.around(frames, source[:, [*upper, *lower]], margin)
        if opening.empty or patch.rect.empty:
            continue
        skin = skin_at(opening, patch, moved[:, [*upper, *lower]], shift, square, region)
        inside = opening.inside * view[:, eye].view(-1, 1, 1)
        eyeball = _eyeball(opening, patch, face.eye_frame(source, eye), target, eye, scale)
        opening.put(pictures, torch.lerp(skin, eyeball, inside.unsqueeze(1)))


def _eyeball(
    opening: Opening, patch: Patch, frame: Frame, target: Target, eye: int, scale: torch.Tensor
) -> torch.Tensor:
    """Return the eyeball at an opening's pixels, float32 [N, 3, h, w] in 0..255.

    Args:
        patch, frame: the source's eye.
        scale: float32 [N, 1, 1], pixels of the source over pixels of the moved head.
    """
    source = target.source[..., :2]
    upper, lower, iris = face.EYES[eye]
    lids = margins_of(source, (upper, lower), frame)
    ring = local(source[:, list(iris)], frame)
    center = ring[:, 0].view(-1, 2, 1, 1)
    radius = (ring[:, 1:] - ring[:, :1]).norm(dim=-1).mean(1).clamp(*EYEBALLS.iris).view(-1, 1, 1)
    glance = (target.gaze - target.own_gaze)[:, eye].view(-1, 2, 1, 1)
    # The eye's width in the picture changes with the head's turn and with expressions; the iris's size does not.
    unit = pixel_of(frame) / pixel_of(opening.frame) * scale
    shade_depth = (EYEBALLS.lid_shade_px * pixel_of(frame)).clamp_min(EYEBALLS.lid_shade)
    below = opening.y - opening.upper
    above = opening.lower - opening.y

    def at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return patch.at(in_frame(frame, x, y))

    def between(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return y moved to where the source's lids show the eyeball, and how far it was covered."""
        top = height_at(lids[0], x) + torch.minimum(below, shade_depth)
        bottom = height_at(lids[1], x) - torch.minimum(above, shade_depth)
        middle = (top + bottom) / 2
        shown = torch.maximum(torch.minimum(y, torch.maximum(bottom, middle)), torch.minimum(top, middle))
        return shown, (y - shown).abs()

    # The iris, in its own size, with its lower half mirrored where the upper one is covered.
    x = (opening.x - center[:, 0] - glance[:, 0]) * unit
    y = (opening.y - center[:, 1] - glance[:, 1]) * unit
    distance = torch.hypot(x, y)
    shown, covered = between(center[:, 0] + x, center[:, 1] + y)
    other, other_covered = between(center[:, 0] + x, center[:, 1] - y)
    mirrored = smoothstep(covered / EYEBALLS.mirrored) * (other_covered < covered)
    picture = at(center[:, 0] + x, shown)
    if mirrored.any():
        picture = torch.lerp(picture, at(center[:, 0] + x, other), mirrored.unsqueeze(1))
    share = EYEBALLS.rim.down(distance / radius).unsqueeze(1)

    # The white, with that beside the iris in the iris's place.
    still, y = opening.x, opening.y * unit
    away = torch.hypot(still - center[:, 0], y - center[:, 1]) / radius
    white = at(still, between(still, y)[0])
    moved = EYEBALLS.moved(glance.norm(dim=1))
    if moved.any():
        edge, width = EYEBALLS.corners, EYEBALLS.around * radius
        left, right = center[:, 0] - width, center[:, 0] + width
        part = ((still - left) / (2 * width)).clamp(0, 1)
        part = torch.where(left < -edge, 1.0, torch.where(right > edge, 0.0, part))
        beside = [side.expand_as(y).clamp(-edge, edge) for side in (left, right)]
        one, other = (at(side, between(side, y)[0]) for side in beside)
        made = torch.lerp(one, other, part.unsqueeze(1))
        white = torch.lerp(white, made, ((away < EYEBALLS.around) * moved).unsqueeze(1))
    picture = torch.lerp(white, picture, share)
    reach, depth, full = EYEBALLS.cast
    down = (opening.upper - height_at(lids[0], opening.x)).clamp_min(0) / full
    shade = 1 - depth * down.clamp_max(1) * torch.exp(-((below / reach) ** 2))
    return picture * shade.unsqueeze(1)
