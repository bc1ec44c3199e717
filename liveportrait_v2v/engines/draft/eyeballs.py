"""Eyeballs between lids: the white stays with the eye, the iris moves over it with the gaze, and lids cover both."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...compose import PixelRect
from ...faces import FaceSquare
from .curves import Opening, Patch, height_at, heights_at
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
        lighter: power of its light by which the lighter of both sides counts for more.
        lid_shade: depth below a lid in which the source's eyeball is darker; kept at a lid that opens further.
        lid_shade_px: least of that depth, in pixels of the source: a lid's lashes and shade are blurred by as much.
        covered: distance under the source's lids over which the sides of the iris take the place of what they cover.
        moved: motion of the iris from which the white behind it has to be made.
        cast: reach and depth of the shade below a lid that comes down, and the way down at which it is full.
    """

    iris: tuple[float, float] = (0.15, 0.26)
    rim: Ramp = Ramp(1.2, 0.25)
    around: float = 1.35
    corners: float = 0.44
    lighter: float = 4.0
    lid_shade: float = 0.04
    lid_shade_px: float = 2.0
    covered: float = 0.04
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
    blur: torch.Tensor,
) -> None:
    """Draw what is between the lids and at their margins.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        shift: float32 [N, 2, S, S] over the N squares, as `warp.make_warp` has it.
        blur: float32 [N], of the source, as `blur_of` has it.
    """
    layers = pictures, frames, target, shift, square, region, blur
    # Both at once, unless one is outside the frame.
    if not _draw(slice(0, 2), *layers):
        _draw(slice(0, 1), *layers)
        _draw(slice(1, 2), *layers)


def _draw(
    eyes: slice,
    pictures: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    shift: torch.Tensor,
    square: FaceSquare,
    region: PixelRect,
    blur: torch.Tensor,
) -> bool:
    """Draw some of the two eyes; return whether all of them are in the frame, none is drawn otherwise."""
    before, after = target.before, target.after
    count, margin = len(frames), margin_px(square, shift.shape[-1])
    rows = slice(eyes.start * count, eyes.stop * count)
    points = after.lid_points[eyes]
    opening = Opening.between(points, after.lids[:, rows], after.eyes[rows], region, margin, blur)
    patch = Patch.around(frames, before.lid_points[eyes], margin)
    if opening.empty or patch.empty:
        return False
    skin = skin_at(opening, patch, points, shift, square)
    eyeball = _eyeball(opening, patch, target, rows)
    view = (after.eyes_in_view * before.eyes_in_view).mT.reshape(-1, 1, 1, 1)[rows]
    opening.put(pictures, torch.lerp(skin, eyeball, opening.inside.unsqueeze(1) * view), region)
    return True


def _eyeball(opening: Opening, patch: Patch, target: Target, rows: slice) -> torch.Tensor:
    """Return the eyeballs at an opening's pixels, float32 [M N, 3, h, w] in 0..255.

    Args:
        patch: the source's eyes.
        rows: of 2 N eyes, those that are drawn.
    """
    frame, lids, ring = target.before.eyes[rows], target.before.lids[:, rows], target.before.irises[rows]
    scale = (target.pose.scale / target.moved_pose.scale).repeat(len(ring) // len(target)).view(-1, 1, 1)
    center = ring[:, 0].view(-1, 2, 1, 1)
    around = torch.linalg.vector_norm(ring[:, 1:] - ring[:, :1], dim=-1)
    radius = around.mean(1).clamp_(*EYEBALLS.iris).view(-1, 1, 1)
    glance = (target.gaze - target.own_gaze).transpose(0, 1).reshape(-1, 2, 1, 1)[rows]
    # The eye's width in the picture changes with the head's turn and with expressions; the iris's size does not.
    unit = frame.pixel / opening.frame.pixel * scale
    shade_depth = (EYEBALLS.lid_shade_px * frame.pixel).clamp_min(EYEBALLS.lid_shade)
    below, above = opening.y - opening.upper, opening.lower - opening.y
    shade_below, shade_above = torch.minimum(below, shade_depth), torch.minimum(above, shade_depth)

    def at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return patch.at(frame, x, y)

    def shown_at(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the highest and the lowest y at which the source's lids show the eyeball."""
        top, bottom = heights_at(lids, x)
        top, bottom = top + shade_below, bottom - shade_above
        middle = (top + bottom) / 2
        return torch.minimum(top, middle), torch.maximum(bottom, middle)

    # The iris, in its own size.
    at_rest = center + glance
    x, y = (opening.x - at_rest[:, 0]) * unit, (opening.y - at_rest[:, 1]) * unit
    distance = _length(x, y)
    place, wanted = center[:, 0] + x, center[:, 1] + y
    shown = wanted.clamp(*shown_at(place))
    picture = at(place, shown)
    covered = (wanted - shown).abs_()
    if covered.amax() > 0:
        # It is the same all around: what the source's lids cover is taken from both sides, as far from its middle.
        away = (distance.square() - (shown - center[:, 1]).square()).clamp_min_(0).sqrt_().maximum(x.abs())
        sides = [center[:, 0] + side * away for side in (-1, 1)]
        left, right = (at(side, shown.clamp(*shown_at(side))) for side in sides)
        beside = torch.lerp(left, right, (0.5 + x / (2 * radius)).clamp_(0, 1).unsqueeze(1))
        picture = torch.lerp(picture, beside, smoothstep(covered / EYEBALLS.covered).unsqueeze(1))
    share = EYEBALLS.rim.down(distance / radius).unsqueeze(1)

    # The white, with that beside the iris in the iris's place, and above it where the source's lid cuts the iris.
    still, y = opening.x, opening.y * unit
    away = _length(still - center[:, 0], y - center[:, 1]) / radius
    shown = y.clamp(*shown_at(still))
    white = at(still, shown)
    edge, width = EYEBALLS.corners, EYEBALLS.around * radius
    left, right = center[:, 0] - width, center[:, 0] + width
    across = (still > left) & (still < right)
    covered = smoothstep((y - shown).abs_() / EYEBALLS.covered) * across
    hidden = torch.maximum(covered, (away < EYEBALLS.around) * EYEBALLS.moved(glance.norm(dim=1)))
    if hidden.any():
        part = ((still - left) / (2 * width)).clamp(0, 1)
        part = torch.where(left < -edge, 1.0, torch.where(right > edge, 0.0, part))
        places = [side.expand_as(y).clamp(-edge, edge) for side in (left, right)]
        one, other = (at(side, y.clamp(*shown_at(side))) for side in places)
        # What is darker there is the shade of a lid, or skin.
        one_share, other_share = (
            share * side.mean(1) ** EYEBALLS.lighter for share, side in ((1 - part, one), (part, other))
        )
        part = other_share / (one_share + other_share).clamp_min(1e-3)
        made = torch.lerp(one, other, part.unsqueeze(1))
        white = torch.lerp(white, made, hidden.unsqueeze(1))
    picture = torch.lerp(white, picture, share)
    reach, depth, full = EYEBALLS.cast
    down = (opening.upper - height_at(lids[0], opening.x)).clamp_min(0) / full
    shade = 1 - depth * down.clamp_max(1) * torch.exp(-((below / reach) ** 2))
    return picture * shade.unsqueeze(1)


def _length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the lengths of vectors; of short ones, this is quicker than `torch.hypot`."""
    return torch.addcmul(x.square(), y, y).sqrt_()
