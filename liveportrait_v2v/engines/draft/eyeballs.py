"""Eyeballs between lids: the white stays with the eye, the iris moves over it with the gaze, and lids cover both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ...compose import PixelRect
from ...faces import FaceSquare
from .colours import BT709_LUMA, skin_around_eyes
from .curves import Opening, Patch, height_at, heights_at
from .face import Frame, Ramp, smoothstep
from .motion import Target
from .openings import margin_px, skin_at


@dataclass(frozen=True)
class EyeballParameters:
    """An eyeball. Distances are in widths of the eye unless said otherwise.

    Attributes:
        iris: least and largest radius of an iris.
        rim: radius of what moves with the iris, in radii of the iris, and the width over which it ends.
        rim_blur: least of that width, in widths of the source's edges.
        around: radius from which inwards the white is made from both sides of the iris, in radii of the iris.
        corners: largest distance from the middle at which the white is taken.
        lighter: power of its light by which the lighter of both sides counts for more.
        core: radius from which inwards made white is as light as the lightest of both sides and of a usual eye, in
            radii of the iris.
        gone: motion of the iris from which it is.
        white: light of a usual eye's white, in shares of that of the skin around the eye.
        white_tint: power of that skin's tint in it.
        lid_shade: depth below a lid in which the source's eyeball is darker; kept at a lid that opens further.
        lid_shade_px: least of that depth, in pixels of the source: a lid's lashes and shade are blurred by as much.
        covered: distance under the source's lids over which the sides of the iris take the place of what they cover.
        moved: motion of the iris from which the white behind it has to be made.
        cast: reach and depth of the shade below a lid that comes down, and the way down at which it is full.
    """

    iris: tuple[float, float] = (0.15, 0.26)
    rim: Ramp = Ramp(1.2, 0.25)
    rim_blur: float = 0.7
    around: Ramp = Ramp(1.45, 0.35)
    corners: float = 0.44
    lighter: float = 4.0
    core: Ramp = Ramp(1.2, 0.5)
    gone: Ramp = Ramp(0.02, 0.08)
    white: float = 1.0
    white_tint: float = 0.6
    lid_shade: float = 0.04
    lid_shade_px: float = 2.0
    covered: float = 0.04
    moved: Ramp = Ramp(0.0, 0.02)
    cast: tuple[float, float, float] = (0.06, 0.35, 0.1)


EYEBALLS = EyeballParameters()


@dataclass(frozen=True)
class Eyes:
    """K eyes as a picture shows them.

    Attributes:
        patch: the picture around them.
        frame: of the eyes in it.
        lids: float32 [2, K, CURVE_SAMPLES], curves along the upper and the lower lids.
        irises: float32 [K, 5, 2], landmarks of the irises in the frames, the middle first.
        skin: float32 [K, 3] in 0..255, colour around them.
    """

    patch: Patch
    frame: Frame
    lids: torch.Tensor
    irises: torch.Tensor
    skin: torch.Tensor

    @cached_property
    def center(self) -> torch.Tensor:
        """Middles of the irises, float32 [K, 2, 1, 1]."""
        return self.irises[:, 0].view(-1, 2, 1, 1)

    @cached_property
    def radius(self) -> torch.Tensor:
        """Radii of the irises, float32 [K, 1, 1]."""
        around = torch.linalg.vector_norm(self.irises[:, 1:] - self.irises[:, :1], dim=-1)
        return around.mean(1).clamp_(*EYEBALLS.iris).view(-1, 1, 1)

    @cached_property
    def white(self) -> torch.Tensor:
        """Colours of usual eyes' whites beside that skin, float32 [K, 3, 1, 1]."""
        light = self.skin @ self.skin.new_tensor(BT709_LUMA).unsqueeze(1)
        tint = (self.skin / light.clamp_min(1)) ** EYEBALLS.white_tint
        return (EYEBALLS.white * light * tint).view(-1, 3, 1, 1)

    def at(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the colours at places [K, h, w], float32 [K, 3, h, w]."""
        return self.patch.at(self.frame, x, y)

    def shades(self, opening: Opening) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the depth of the upper and the lower lid's shade that is left out at an opening's pixels, [K, h, w].

        Near the margins it is shown.
        """
        depth = (EYEBALLS.lid_shade_px * self.frame.pixel).clamp_min(EYEBALLS.lid_shade)
        below, above = opening.y - opening.upper, opening.lower - opening.y
        return torch.minimum(below, depth), torch.minimum(above, depth)

    def shown(
        self, x: torch.Tensor, shades: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the highest and the lowest y at which lids show the eyeball at x [K, h, w], beyond their shades."""
        top, bottom = heights_at(self.lids, x)
        top, bottom = top + shades[0], bottom - shades[1]
        middle = (top + bottom) / 2
        return torch.minimum(top, middle), torch.maximum(bottom, middle)


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
    around = skin_around_eyes(frames, before.points)[eyes].flatten(0, 1)
    shown = Eyes(patch, before.eyes[rows], before.lids[:, rows], before.irises[rows], around)
    scale = (target.pose.scale / target.moved_pose.scale).repeat(len(points)).view(-1, 1, 1)
    eyeball = _eyeball(opening, shown, target.glance.transpose(0, 1)[eyes].flatten(0, 1), scale)
    view = (after.eyes_in_view * before.eyes_in_view).mT.reshape(-1, 1, 1, 1)[rows]
    opening.put(pictures, torch.lerp(skin, eyeball, opening.inside.unsqueeze(1) * view), region)
    return True


def with_glance(eyes: Eyes, glance: torch.Tensor, blur: torch.Tensor) -> torch.Tensor:
    """Return the picture of eyes, which is theirs alone, with irises moved: float32 [K, 3, h, w].

    Args:
        glance: float32 [K, 2], ways of the irises in widths of the eye.
        blur: float32 [K], of the picture in its pixels, as `blur_of` has it.
    """
    (rect,) = eyes.patch.rects
    corners = torch.tensor([[rect.left, rect.top], [rect.right, rect.bottom]], device=glance.device)
    corners = corners.expand(1, len(glance), 2, 2)
    opening = Opening.between(corners, eyes.lids, eyes.frame, rect, 0, blur)
    eyeball = _eyeball(opening, eyes, glance, torch.ones_like(eyes.radius))
    return torch.lerp(eyes.patch.pixels, eyeball, opening.inside.unsqueeze(1))


def _eyeball(opening: Opening, eyes: Eyes, glance: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the eyeballs at the pixels of K openings, float32 [K, 3, h, w] in 0..255.

    Args:
        eyes: where they are taken from.
        glance: float32 [K, 2], ways of the irises in widths of the eye.
        scale: float32 [K, 1, 1], size of the head in `eyes`, over that at the openings.
    """
    glance = glance.view(-1, 2, 1, 1)
    # The eye's width in the picture changes with the head's turn and with expressions; the iris's size does not.
    unit = eyes.frame.pixel / opening.frame.pixel * scale
    at_rest = eyes.center + glance
    x, y = (opening.x - at_rest[:, 0]) * unit, (opening.y - at_rest[:, 1]) * unit
    distance, shades = _length(x, y), eyes.shades(opening)
    iris = _iris(eyes, x, y, distance, shades)
    white = _white(eyes, opening.x, opening.y * unit, glance.norm(dim=1), shades)
    # No sharper than the source's own edges.
    width = (EYEBALLS.rim.width * eyes.radius).maximum(EYEBALLS.rim_blur * opening.edge)
    middle = (EYEBALLS.rim.start - EYEBALLS.rim.width / 2) * eyes.radius
    share = smoothstep(0.5 + (middle - distance) / width)
    picture = torch.lerp(white, iris, share.unsqueeze(1))
    reach, depth, full = EYEBALLS.cast
    down = (opening.upper - height_at(eyes.lids[0], opening.x)).clamp_min(0) / full
    shade = 1 - depth * down.clamp_max(1) * torch.exp(-(((opening.y - opening.upper) / reach) ** 2))
    return picture * shade.unsqueeze(1)


def _iris(
    eyes: Eyes,
    x: torch.Tensor,
    y: torch.Tensor,
    distance: torch.Tensor,
    shades: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return the colours of irises, in their own size, at places x and y [K, h, w] from their middles.

    Args:
        distance: float32 [K, h, w], from there.
        shades: as `Eyes.shades` has them.

    Returns:
        float32 [K, 3, h, w] in 0..255.
    """
    place, wanted = eyes.center[:, 0] + x, eyes.center[:, 1] + y
    shown = wanted.clamp(*eyes.shown(place, shades))
    picture = eyes.at(place, shown)
    covered = (wanted - shown).abs_()
    if covered.amax() > 0:
        # An iris is the same all around: what lids cover is taken from both sides, as far from its middle.
        away = (
            (distance.square() - (shown - eyes.center[:, 1]).square()).clamp_min_(0).sqrt_().maximum(x.abs())
        )
        sides = [eyes.center[:, 0] + side * away for side in (-1, 1)]
        left, right = (eyes.at(side, shown.clamp(*eyes.shown(side, shades))) for side in sides)
        beside = torch.lerp(left, right, (0.5 + x / (2 * eyes.radius)).clamp_(0, 1).unsqueeze(1))
        picture = torch.lerp(picture, beside, smoothstep(covered / EYEBALLS.covered).unsqueeze(1))
    return picture


def _white(
    eyes: Eyes,
    x: torch.Tensor,
    y: torch.Tensor,
    way: torch.Tensor,
    shades: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return the colours of whites at places x and y [K, h, w].

    They are made from what is beside the iris where that has gone, and where the lids cut it.

    Args:
        way: float32 [K, 1, 1], how far the irises have gone, in widths of the eye.
        shades: as `Eyes.shades` has them.

    Returns:
        float32 [K, 3, h, w] in 0..255.
    """
    center = eyes.center
    away = _length(x - center[:, 0], y - center[:, 1]) / eyes.radius
    shown = y.clamp(*eyes.shown(x, shades))
    white = eyes.at(x, shown)
    edge, width = EYEBALLS.corners, EYEBALLS.around.start * eyes.radius
    left, right = center[:, 0] - width, center[:, 0] + width
    covered = smoothstep((y - shown).abs_() / EYEBALLS.covered) * ((x > left) & (x < right))
    hidden = torch.maximum(covered, EYEBALLS.around.down(away) * EYEBALLS.moved(way))
    if not hidden.any():
        return white
    part = ((x - left) / (2 * width)).clamp(0, 1)
    part = torch.where(left < -edge, 1.0, torch.where(right > edge, 0.0, part))
    places = [side.expand_as(y).clamp(-edge, edge) for side in (left, right)]
    one, other = (eyes.at(side, y.clamp(*eyes.shown(side, shades))) for side in places)
    # What is darker there is the shade of a lid, or skin.
    one_share, other_share = (
        share * side.mean(1) ** EYEBALLS.lighter for share, side in ((1 - part, one), (part, other))
    )
    part = other_share / (one_share + other_share).clamp_min(1e-3)
    made = torch.lerp(one, other, part.unsqueeze(1))
    # Both sides may be skin, or the iris's blur: then a usual eye's white is lighter.
    lightest = eyes.white
    for side in (left.clamp(-edge, edge), right.clamp(-edge, edge)):
        lightest = lightest.maximum(eyes.at(side, heights_at(eyes.lids, side).mean(0)))
    core = EYEBALLS.core.down(away) * EYEBALLS.gone(way)
    made = torch.lerp(made, made.maximum(lightest), core.unsqueeze(1))
    return torch.lerp(white, made, hidden.unsqueeze(1))


def _length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the lengths of vectors; of short ones, this is quicker than `torch.hypot`."""
    return torch.addcmul(x.square(), y, y).sqrt_()
