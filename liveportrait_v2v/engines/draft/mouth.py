"""The inside of mouths: what the source shows of it and a made one elsewhere, with the skin of the lips around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...compose import PixelRect
from ...faces import FaceSquare
from ...tensors import taken
from . import face
from .colours import BT709_LUMA, skin_color
from .curves import CURVE_SAMPLES, Opening, Patch, height_at, heights_at, places_in
from .face import Frame, Ramp
from .memory import MOUTHS, Remembered
from .motion import Target
from .openings import margin_px, skin_at
from .paint import Colour, smallness
from .teeth import TEETH


@dataclass(frozen=True)
class MouthParameters:
    """What the source's own mouth gives, in widths of the mouth unless said otherwise.

    Attributes:
        shown: place from the upper lip, 0, to the lower one, 1, at which what the source shows ends, in wider mouths.
        wider: height over that of the view from which a mouth is wider.
        lip_edge: height above the lower lip that already carries its colour.
        lip_way: largest motion of the upper lip over the teeth, upwards and downwards.
        lip_shade: depth below the upper lip in which teeth are in its shade, also where the lip goes up.
        same: mean change of the gap between the lips up to which the source's own inside stays as it is.
        both_rows: height of the widest mouth that the source has shown, from which it shows its lower teeth if ever.
        light: least and largest change of the light since a mouth was kept.
        teeth_missing: share that a view lacks of the height of the driving mouth's teeth, from which made ones take its
            place, and how much it lacks at least then, in centimetres of the head.
        teeth_excess: height by which a view's teeth exceed the driving mouth's, in centimetres of the head, from which
            they are in shade.
        teeth_end: distance below the end of the driving mouth's teeth over which that shade sets in, in centimetres.
        teeth_shade: its opacity there.
        teeth_gone: distance below that end over which nothing of them is left, in centimetres.
        small_gap: place below the upper lip, 0 to 1, from which a small mouth is dark.
        narrow: opening up to which a mouth is a slit.
        seam: gap between the lips up to which they touch: in slits, and in other mouths, whose corners it rounds.
        slit: gap between the lips up to which light is missing in slits, and the share of it.
        seam_light: light in the middle where they do, by colour, in shares of that on lips.
        margin_depth: share of that shade at their margins.
        lip_round: distance from the lower lip over which its shade ends.
        lip_depth: share of the seam's shade at the lower lip.
        lip_beside: distance from the margins of lips, in pixels, at which these have the colour of that shade.
    """

    shown: Ramp = Ramp(0.65, 0.33)
    wider: Ramp = Ramp(0.95, 0.2)
    lip_edge: float = 0.015
    lip_way: tuple[float, float] = (0.02, 0.06)
    lip_shade: float = 0.04
    same: float = 0.01
    both_rows: Ramp = Ramp(0.25, 0.1)
    light: tuple[float, float] = (0.5, 2.0)
    teeth_missing: tuple[Ramp, Ramp] = (Ramp(0.6, 0.2), Ramp(0.1, 0.1))
    teeth_excess: Ramp = Ramp(0.15, 0.3)
    teeth_end: Ramp = Ramp(0.05, 0.4)
    teeth_shade: float = 0.75
    teeth_gone: Ramp = Ramp(0.4, 0.3)
    small_gap: Ramp = Ramp(0.35, 0.4)
    narrow: Ramp = Ramp(0.08, 0.1)
    seam: tuple[Ramp, Ramp] = (Ramp(0.035, 0.035), Ramp(0.05, 0.06))
    slit: tuple[Ramp, float] = (Ramp(0.03, 0.08), 0.4)
    seam_light: Colour = (0.65, 0.45, 0.45)
    margin_depth: float = 0.25
    lip_round: float = 0.05
    lip_depth: float = 0.35
    lip_beside: float = 1.5


@dataclass(frozen=True)
class InsideParameters:
    """A made inside of a mouth. Distances are in centimetres of the head, colours in shares of the skin's.

    Attributes:
        teeth: ends of the upper teeth, from the middle to a side.
        edge: way of the upper teeth's edge below the upper lip at rest.
        edge_rise: how much higher that edge is at the last tooth.
        teeth_height: least and largest visible height of the upper teeth.
        teeth_share: share of a mouth's height that they have at least, up to a height of `edge`.
        small_gap: share of a small mouth's height that stays dark below them, by which it is seen to be open.
        full: share of the mouth's height with teeth in the driving face from which its mouth is full of them.
        full_gap: the same as `small_gap` then.
        small_dark: how much darker a small mouth is, so that it is seen to be open.
        lower_teeth: ends of the lower teeth, from the middle to a side.
        lower_height, lower_share: largest height of the lower teeth, and their share of a mouth's height up to it.
        lower_fall: how much lower their edge is at the last tooth.
        lower_from: height of the mouth from which they are seen.
        lower_light: light on them, in shares of that on the upper ones.
        gap: half width and depth of the shade between teeth.
        gap_px: width of a tooth in pixels from which teeth are told apart.
        corners: distance from the middle at which teeth end before the corners, in widths of the mouth.
        sides: distance from the middle at which light ends, in widths of the mouth, and what remains of it.
        tongue: half width of the tongue, and its height as a share of the mouth's.
        tongue_from: height of the mouth from which it is seen.
        lip_shadow: distance to which the upper lip's shadow reaches, and the light in it at the lip, which is red.
        cavity, tongue_colour, shade: colours, the last of teeth without light at the sides.
        enamel: light of teeth in shares of the skin's, and how much of the skin's tint they have.
        told: share of the mouth's height with teeth in the driving face from which there are upper ones.
        rest: height of the shown teeth, beyond that of the upper ones, from which lower ones stand for it.
    """

    teeth: tuple[float, ...] = (0.82, 1.45, 2.05, 2.5, 2.9)
    edge: float = 0.4
    edge_rise: float = 0.2
    teeth_height: tuple[float, float] = (0.12, 0.95)
    teeth_share: float = 0.2
    small_gap: float = 0.5
    full: Ramp = Ramp(0.5, 0.3)
    full_gap: float = 0.2
    small_dark: float = 0.5
    lower_teeth: tuple[float, ...] = (0.53, 1.12, 1.8, 2.5)
    lower_height: float = 0.45
    lower_share: float = 0.2
    lower_fall: float = 0.6
    lower_from: Ramp = Ramp(1.2, 0.8)
    lower_light: float = 0.7
    gap: tuple[float, float] = (0.05, 0.22)
    gap_px: Ramp = Ramp(4, 6)
    corners: Ramp = Ramp(0.5, 0.1)
    sides: tuple[Ramp, float] = (Ramp(0.2, 0.3), 0.15)
    tongue: tuple[float, float] = (2.6, 0.8)
    tongue_from: Ramp = Ramp(0.5, 0.8)
    lip_shadow: tuple[float, Colour] = (0.2, (0.8, 0.62, 0.6))
    cavity: Colour = (0.3, 0.16, 0.13)
    tongue_colour: Colour = (0.75, 0.54, 0.54)
    shade: Colour = (0.33, 0.19, 0.18)
    enamel: tuple[float, float] = (1.08, 0.7)
    told: Ramp = Ramp(0.0, 0.15)
    rest: Ramp = Ramp(0.1, 0.3)


MOUTH, INSIDE = MouthParameters(), InsideParameters()
# Landmarks of the upper lip, of 11 from corner to corner.
_MIDDLE = slice(3, 8)


def draw_mouths(
    pictures: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    remembered: Remembered,
    shift: torch.Tensor,
    square: FaceSquare,
    region: PixelRect,
    blur: torch.Tensor,
) -> None:
    """Draw what is between the lips and at their margins.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        shift: float32 [N, 2, S, S] over the N squares, as `warp.make_warp` has it.
        blur: float32 [N], of the source, as `blur_of` has it.
    """
    before, after = target.before, target.after
    margin = margin_px(square, shift.shape[-1])
    lips, own_lips = (taken(parts.points, face.UPPER + face.LOWER).unsqueeze(0) for parts in (after, before))
    opening = Opening.between(lips, after.lips, after.mouth, region, margin, blur)
    patch = Patch.around(frames, own_lips, margin)
    if opening.empty or patch.empty:
        return
    skin = skin_at(opening, patch, lips, shift, square)
    if opening.inside.amax() <= 0:
        opening.put(pictures, skin, region)
        return
    color = skin_color(frames, target.source)
    own_view = _View.of_source(target, remembered, patch)
    picture = _inside(opening, own_view, skin, color, target, remembered)
    opening.put(pictures, torch.lerp(skin, picture, opening.inside.unsqueeze(1)), region)


@dataclass(frozen=True)
class _View:
    """A mouth as a frame of the source shows it.

    Attributes:
        place: float32 [N, 3, 3], as `face.mouth_place` has it, in head coordinates.
        curves: float32 [2, N, CURVE_SAMPLES], its margins.
        shown: float32 [N], share of an inside that it shows.
        teeth: float32 [N], height of the teeth that it shows, in centimetres of the head.
        at: returns its colours at places x and y [N, h, w] of its frame.
    """

    place: torch.Tensor
    curves: torch.Tensor
    shown: torch.Tensor
    teeth: torch.Tensor
    at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @classmethod
    def of_source(cls, target: Target, remembered: Remembered, patch: Patch) -> _View:
        """Take the mouth of the source's frames."""
        before = target.before
        place = target.pose.undo(face.mouth_place(target.source))
        return cls(
            place,
            before.lips,
            TEETH.parted(before.mouth_opening),
            remembered.own_teeth * _height(place, before.lips),
            lambda x, y: patch.at(before.mouth, x, y),
        )

    @classmethod
    def of_memory(cls, remembered: Remembered, skin: torch.Tensor) -> _View:
        """Take the remembered mouth, in the light that the face has now; `skin` is its colour, [N, 3]."""
        light = (skin / remembered.skin.clamp_min(1)).clamp(*MOUTH.light).view(-1, 3, 1, 1)

        def at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            place = torch.stack(
                [
                    (value - low) / (high - low) * 2 - 1
                    for value, (low, high) in zip((x, y), (MOUTHS.x, MOUTHS.y), strict=True)
                ],
                dim=1,
            )
            picture = F.grid_sample(
                remembered.mouth, place.permute(0, 2, 3, 1), padding_mode="border", align_corners=True
            )
            return light * picture

        curves = remembered.mouth_curves.transpose(0, 1)
        teeth = remembered.mouth_teeth * _height(remembered.mouth_place, curves)
        return cls(remembered.mouth_place, curves, TEETH.parted(remembered.mouth_opening), teeth, at)

    def frame_in(self, target: Target) -> Frame:
        """Return its frame as the skull carries it to its new place."""
        places = target.placed(self.place)[..., :2]
        return Frame(places[:, 0], places[:, 1:] - places[:, :1])


def _height(place: torch.Tensor, curves: torch.Tensor) -> torch.Tensor:
    """Return the height of mouths in their middle, [N], in the unit of `place` [N, 3, 3].

    Args:
        curves: float32 [2, N, CURVE_SAMPLES], their margins.
    """
    width = (place[:, 1] - place[:, 0]).norm(dim=-1)
    return width * (curves[1] - curves[0])[:, CURVE_SAMPLES // 2].clamp_min(0)


def _inside(
    opening: Opening,
    own: _View,
    lips: torch.Tensor,
    color: torch.Tensor,
    target: Target,
    remembered: Remembered,
) -> torch.Tensor:
    """Return the inside of mouths at an opening's pixels, float32 [N, 3, h, w] in 0..255.

    Args:
        lips: float32 [N, 3, h, w], the skin on both sides of it.
        color: float32 [N, 3], the face's.
    """
    own_gaps, gaps = ((rows[1] - rows[0])[..., 1] for rows in (target.before.lip_rows, target.after.lip_rows))
    same = torch.exp(-(((gaps - own_gaps).abs().mean(1) / MOUTH.same) ** 2))
    kept = _View.of_memory(remembered, color)
    teeth = target.teeth.clamp_min(0) * face.lip_gaps(target.shape)[:, len(face.UPPER) // 2].clamp_min(0)
    own_share, kept_share = (view.shown * (1 - _missing(teeth, view.teeth)) for view in (own, kept))
    own_share = torch.maximum(own_share, same)
    unseen = (1 - own_share) * (1 - kept_share)
    widest = torch.maximum(target.before.mouth_opening, remembered.mouth_opening)
    lower = (1 - same) * (1 - MOUTH.both_rows(widest))
    picture = made_inside(opening, own, (unseen, lower), teeth, target, color)
    for view, share, still in (
        (kept, kept_share * (own_share < 1), torch.zeros_like(same)),
        (own, own_share, same),
    ):
        if share.any():
            picture = _over(picture, view, share, still, teeth, opening, target)
    still = same.view(-1, 1, 1)
    slit = 1 - MOUTH.narrow(target.after.mouth_opening).view(-1, 1, 1)
    gap = opening.lower - opening.upper
    in_slits, elsewhere = (seam(gap) for seam in MOUTH.seam)
    apart = torch.maximum(torch.lerp(elsewhere, in_slits, slit), still)
    # The lower lip is round: what is behind its edge is in shade.
    above = (opening.lower - opening.y) / opening.lengths[1]
    behind = MOUTH.lip_depth * (1 - face.smoothstep(above / MOUTH.lip_round)) * (1 - still)
    light, missing = MOUTH.slit
    picture *= (1 - missing * slit * (1 - light(gap)) * (1 - still)).unsqueeze(1)
    together, between = _lips(opening, lips)
    depth = torch.lerp(between, behind, apart).unsqueeze(1)
    # Lips light each other: the deeper, the redder.
    redder = torch.tensor(MOUTH.seam_light, device=depth.device).view(-1, 1, 1) - 1
    shade = torch.addcmul(torch.ones_like(depth), depth, redder)
    return torch.lerp(together, picture, apart.unsqueeze(1)).mul_(shade)


def _missing(teeth: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return how far made teeth have to stand for those of a view that shows less [N] than they are high [N]."""
    share, height = MOUTH.teeth_missing
    missing = teeth - shown
    return share(missing / teeth.clamp_min(1e-3)) * height(missing)


def _lips(opening: Opening, skin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lips that meet between the margins of an opening, float32 [N, 3, h, w], and the depth of shade [N, h, w].

    They have the colours of the skin [N, 3, h, w] beside these margins.
    """
    beside = MOUTH.lip_beside * opening.frame.pixel
    beside_it = Patch(skin, opening.rects)
    upper, lower = (
        beside_it.at(opening.frame, opening.x, y)
        for y in (opening.upper - beside * opening.lengths[0], opening.lower + beside * opening.lengths[1])
    )
    part = (opening.y - opening.upper) / (opening.lower - opening.upper).clamp_min(1e-3)
    part = part.clamp(0, 1)
    depth = MOUTH.margin_depth + 4 * (1 - MOUTH.margin_depth) * part * (1 - part)
    return torch.lerp(upper, lower, part.unsqueeze(1)), depth


def _over(
    picture: torch.Tensor,
    view: _View,
    share: torch.Tensor,
    same: torch.Tensor,
    teeth: torch.Tensor,
    opening: Opening,
    target: Target,
) -> torch.Tensor:
    """Lay what a view shows below its upper lip over a picture [N, 3, h, w] of an opening's pixels.

    It goes with the skull, and the new lips cut it.

    Args:
        share: float32 [N], opacity.
        same: float32 [N], share to which the mouth is open as in the view.
        teeth: float32 [N], height of the driving mouth's teeth, in centimetres of the head: in shade below that.
    """
    frame = view.frame_in(target)
    x, y = places_in(frame, opening.rects)
    lip_x, lip_y = frame.local(taken(target.after.points, face.UPPER)).unbind(-1)
    # In a mouth that is wider than the view's, its teeth reach the corners as well.
    narrower = (0.5 / lip_x.abs().amax(1).clamp_min(0.5)).view(-1, 1, 1)
    x = x * narrower
    lip_down = (lip_y - height_at(view.curves[0], lip_x * narrower[..., 0]))[:, _MIDDLE].mean(1)
    up, down = MOUTH.lip_way
    carried = (lip_down - lip_down.clamp(-up, down)).view(-1, 1, 1)
    upper, lower = heights_at(view.curves, x)
    lip = (opening.y - opening.upper) * (frame.pixel / opening.frame.pixel)
    below = torch.maximum(y - carried - upper, lip.clamp_max(MOUTH.lip_shade))
    place = (below + MOUTH.lip_edge) / (lower - upper).clamp_min(face.MIN_OPENING)
    # In a small mouth, only a dark gap separates teeth from lips.
    gap = (opening.lower - opening.upper).clamp_min(face.MIN_OPENING)
    small = smallness(target.source).view(-1, 1, 1) * MOUTH.small_gap((opening.y - opening.upper) / gap)
    own, new = (
        (curves[1] - curves[0]).clamp_min(0).mean(1).view(-1, 1, 1)
        for curves in (view.curves, opening.curves)
    )
    wider = MOUTH.wider(new * (frame.pixel / opening.frame.pixel) / own.clamp_min(1e-3))
    depth = (opening.y - opening.upper) / opening.frame.pixel / target.moved_pose.scale.view(-1, 1, 1)
    excess = (target.teeth >= 0) * MOUTH.teeth_excess(view.teeth - teeth)
    depth = depth - teeth.view(-1, 1, 1)
    shade = MOUTH.teeth_shade * MOUTH.teeth_end(depth) + (1 - MOUTH.teeth_shade) * MOUTH.teeth_gone(depth)
    shown = (1 - MOUTH.shown(place) * wider) * (1 - small) * (1 - excess.view(-1, 1, 1) * shade)
    shown = shown.maximum(same.view(-1, 1, 1))
    return torch.lerp(picture, view.at(x, upper + below), (shown * share.view(-1, 1, 1)).unsqueeze(1))


def made_inside(
    opening: Opening,
    own: _View,
    opacity: tuple[torch.Tensor, torch.Tensor],
    teeth: torch.Tensor,
    target: Target,
    skin: torch.Tensor,
) -> torch.Tensor:
    """Return a made inside of mouths: two rows of teeth, the tongue and shade, in the light of the face.

    Args:
        own: the source's mouth, by which upper teeth have their place in the skull.
        opacity: float32 [N] each, of the upper and the lower teeth.
        teeth: float32 [N], height in which they are seen at least, in centimetres of the head.
        skin: float32 [N, 3], the face's colour.

    Returns:
        float32 [N, 3, h, w] in 0..255.
    """
    frame = own.frame_in(target)
    x, y = places_in(frame, opening.rects)
    centimetre = target.moved_pose.scale.view(-1, 1, 1)  # in pixels
    pixel, soft = 1 / centimetre, opening.edge / opening.frame.pixel / centimetre
    own_width, width = (pixel / part.pixel for part in (frame, opening.frame))
    across, lip = (x * own_width).abs(), (y - height_at(own.curves[0], x)) * own_width
    below, above = (opening.y - opening.upper) * width, (opening.lower - opening.y) * width
    height = below + above

    def material(share: Colour) -> torch.Tensor:
        """Return a colour by what it reflects of the light, in shares of what skin does."""
        return (torch.tensor(share, device=skin.device) * skin).view(-1, 3, 1, 1)

    def edge(distance: torch.Tensor) -> torch.Tensor:
        """Return the coverage of what ends softly at distance 0."""
        return (0.5 + distance / soft.clamp_min(0.06)).clamp(0, 1)

    half_width, share = INSIDE.tongue
    bulge = 1 - (across / half_width) ** 2 - above / (share * height).clamp_min(0.05)
    tongue = INSIDE.tongue_from(height) * face.smoothstep(bulge)
    cavity, tongue_colour, shade = map(material, (INSIDE.cavity, INSIDE.tongue_colour, INSIDE.shade))
    picture = torch.lerp(cavity, tongue_colour, tongue.unsqueeze(1))
    small = smallness(target.source).view(-1, 1, 1)
    picture *= 1 - INSIDE.small_dark * small.unsqueeze(1)
    ramp, remains = INSIDE.sides
    side = (1 - (1 - remains) * ramp(opening.x.abs())).unsqueeze(1)
    corners = INSIDE.corners.down(opening.x.abs())
    luma = (skin * skin.new_tensor(BT709_LUMA)).sum(1, keepdim=True)
    brightness, tint = INSIDE.enamel
    white = (brightness * torch.lerp(luma, skin, tint)).view(-1, 3, 1, 1)

    def row(
        ends: tuple[float, ...],
        down: torch.Tensor,
        end: torch.Tensor,
        opacity: torch.Tensor,
        light: torch.Tensor | float,
    ) -> torch.Tensor:
        """Return the picture with a row of teeth over it: `down` from the lip, up to `end`."""
        cover = edge(end - down) * edge(ends[-1] - across) * corners * opacity
        apart = INSIDE.gap_px(ends[0] * centimetre)
        half, depth = INSIDE.gap
        away = (across - across.new_tensor((0.0, *ends)).view(-1, 1, 1, 1)).abs_().amin(0)
        gaps = torch.exp(-((away / soft.clamp_min(half)) ** 2))
        # Teeth are narrower at their edge, and round.
        gaps = gaps * (0.4 + 0.6 * (down / end.clamp_min(0.05)).clamp(0, 1) ** 2)
        enamel = white * light * (1 - depth * apart * gaps).unsqueeze(1)
        return torch.lerp(picture, torch.lerp(shade, enamel, side), cover.unsqueeze(1))

    upper, lower, least_height = (share.view(-1, 1, 1) for share in (*opacity, teeth))
    shortest, longest = INSIDE.teeth_height
    told = (target.teeth >= 0).view(-1, 1, 1)
    upper = torch.where(told, upper * INSIDE.told(target.teeth.view(-1, 1, 1)), upper)
    # What the upper teeth are too short for.
    rest = (least_height - longest).clamp_min(0) * upper
    seen = torch.maximum(lower * INSIDE.lower_from(height), INSIDE.rest(rest))
    if seen.amax() > 0:
        end = (INSIDE.lower_share * height).clamp_max(INSIDE.lower_height).maximum(rest)
        end = end - INSIDE.lower_fall * (across / INSIDE.lower_teeth[-1]) ** 2
        picture = row(INSIDE.lower_teeth, above, end, seen, INSIDE.lower_light)
    if upper.any():
        reach, least = INSIDE.lip_shadow
        missing = (1 - skin.new_tensor(least)).view(-1, 1, 1)
        shadow = 1 - missing * (1 - face.smoothstep(below / reach)).unsqueeze(1)
        # The edge of the teeth is where the skull has it, as far as the lips leave teeth to be seen.
        rise = INSIDE.edge_rise * (across / INSIDE.teeth[-1]) ** 2
        end = torch.where(told, 0.0, INSIDE.edge - rise + below - lip)
        seen = (INSIDE.teeth_share * height).clamp(shortest, INSIDE.edge).maximum(least_height - 2 * rise)
        end = torch.maximum(end, seen).clamp_max(longest)
        full = INSIDE.full(target.teeth.view(-1, 1, 1))
        gap = small * (INSIDE.small_gap + (INSIDE.full_gap - INSIDE.small_gap) * full)
        end = end.minimum((1 - gap) * height)
        picture = row(INSIDE.teeth, below, end, upper, shadow)
    return picture
