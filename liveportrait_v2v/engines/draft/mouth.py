"""The inside of mouths: what the source shows of it and a made one elsewhere, with the skin of the lips around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...compose import PixelRect
from ...faces import FaceSquare
from . import face
from .curves import Frame, Opening, Patch, height_at, in_frame, local, margins_of, pixel_of, places_in
from .face import Ramp
from .memory import MOUTHS, Remembered
from .motion import Target
from .openings import margin_px, skin_at
from .paint import Colour, skin_color, smallness


@dataclass(frozen=True)
class MouthParameters:
    """What the source's own mouth gives, in widths of the mouth unless said otherwise.

    Attributes:
        shown: place from the upper lip, 0, to the lower one, 1, at which what the source shows ends.
        lip_edge: height above the lower lip that already carries its colour.
        lip_way: largest motion of the upper lip over the teeth, upwards and downwards.
        lip_shade: depth below the upper lip in which teeth are in its shade, also where the lip goes up.
        same: mean change of the gap between the lips up to which the source's own inside stays as it is.
        parted: height of a source's mouth from which it shows an inside.
        both_rows: height of the widest mouth that the source has shown, from which it shows its lower teeth if ever.
        light: least and largest change of the light since a mouth was kept.
        small_gap: place below the upper lip, 0 to 1, from which a small mouth is dark.
        seam: gap between the lips up to which they touch.
        seam_depth: depth of the shade in the middle where they do; half of it at their margins.
        lip_round: distance from the lower lip over which its shade ends.
        lip_beside: distance from the margins of lips, in pixels, at which these have the colour of that shade.
    """

    shown: Ramp = Ramp(0.65, 0.33)
    lip_edge: float = 0.015
    lip_way: tuple[float, float] = (0.02, 0.06)
    lip_shade: float = 0.04
    same: float = 0.01
    parted: Ramp = Ramp(0.07, 0.1)
    both_rows: Ramp = Ramp(0.25, 0.1)
    light: tuple[float, float] = (0.5, 2.0)
    small_gap: Ramp = Ramp(0.35, 0.4)
    seam: Ramp = Ramp(0.05, 0.06)
    seam_depth: float = 0.5
    lip_round: float = 0.05
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
        lower_teeth: ends of the lower teeth, from the middle to a side.
        lower_height, lower_share: largest height of the lower teeth, and their share of a mouth's height up to it.
        lower_fall: how much lower their edge is at the last tooth.
        lower_from: height of the mouth from which they are seen.
        lower_light: light on them, in shares of that on the upper ones.
        gap: half width and depth of the shade between teeth.
        gap_px: width of a tooth in pixels from which teeth are told apart.
        corners: distance from the middle at which teeth end before the corners, in widths of the mouth.
        sides: distance from the middle at which light ends, and what remains of it.
        tongue: half width of the tongue, and its height as a share of the mouth's.
        tongue_from: height of the mouth from which it is seen.
        lip_shadow: distance to which the upper lip's shadow reaches, and the light in it at the lip.
        cavity, tongue_colour, teeth_colour: colours.
    """

    teeth: tuple[float, ...] = (0.82, 1.45, 2.05, 2.5, 2.9)
    edge: float = 0.4
    edge_rise: float = 0.2
    teeth_height: tuple[float, float] = (0.12, 0.95)
    teeth_share: float = 0.2
    lower_teeth: tuple[float, ...] = (0.53, 1.12, 1.8, 2.5)
    lower_height: float = 0.45
    lower_share: float = 0.2
    lower_fall: float = 0.6
    lower_from: Ramp = Ramp(1.2, 0.8)
    lower_light: float = 0.7
    gap: tuple[float, float] = (0.05, 0.22)
    gap_px: Ramp = Ramp(4, 6)
    corners: Ramp = Ramp(0.46, 0.12)
    sides: tuple[Ramp, float] = (Ramp(1.2, 1.2), 0.15)
    tongue: tuple[float, float] = (2.2, 0.8)
    tongue_from: Ramp = Ramp(0.5, 0.8)
    lip_shadow: tuple[float, float] = (0.2, 0.6)
    cavity: Colour = (0.15, 0.085, 0.08)
    tongue_colour: Colour = (0.6, 0.37, 0.36)
    teeth_colour: Colour = (0.95, 1.1, 1.18)


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
) -> None:
    """Draw what is between the lips and at their margins.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        shift: float32 [N, 2, S, S] over the N squares, as `warp.make_warp` has it.
    """
    moved = target.moved[..., :2]
    margin = margin_px(square, shift.shape[-1])
    opening = Opening.between(moved, (face.UPPER, face.LOWER), face.mouth_frame(moved), region, margin)
    own = face.mouth_frame(target.source[..., :2])
    patch = Patch.around(frames, target.source[:, face.UPPER + face.LOWER, :2], margin)
    if opening.empty or patch.rect.empty:
        return
    skin = skin_at(opening, patch, moved[:, face.UPPER + face.LOWER], shift, square, region)
    if not opening.inside.any():
        opening.put(pictures, skin)
        return
    own_view = _View.of_source(target, lambda x, y: patch.at(in_frame(own, x, y)))
    picture = _inside(opening, own_view, skin, frames, target, remembered, region)
    opening.put(pictures, torch.lerp(skin, picture, opening.inside.unsqueeze(1)))


@dataclass(frozen=True)
class _View:
    """A mouth as a frame of the source shows it.

    Attributes:
        place: float32 [N, 3, 3], as `face.mouth_place` has it, in head coordinates.
        curves: float32 [2, N, CURVE_SAMPLES], its margins.
        shown: float32 [N], share of an inside that it shows.
        at: returns its colours at places x and y [N, h, w] of its frame.
    """

    place: torch.Tensor
    curves: torch.Tensor
    shown: torch.Tensor
    at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @classmethod
    def of_source(cls, target: Target, at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> _View:
        source = target.source
        frame = face.mouth_frame(source[..., :2])
        return cls(
            target.pose.undo(face.mouth_place(source)),
            margins_of(source[..., :2], (face.UPPER, face.LOWER), frame),
            MOUTH.parted(face.mouth_opening(source)),
            at,
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
                dim=-1,
            )
            return light * F.grid_sample(remembered.mouth, place, padding_mode="border", align_corners=True)

        shown = MOUTH.parted(remembered.mouth_opening)
        return cls(remembered.mouth_place, remembered.mouth_curves.transpose(0, 1), shown, at)

    def frame_in(self, target: Target) -> Frame:
        """Return its frame as the skull carries it to its new place."""
        places = target.placed(self.place)[..., :2]
        return places[:, 0], places[:, 1:] - places[:, :1]


def _inside(
    opening: Opening,
    own: _View,
    lips: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    remembered: Remembered,
    region: PixelRect,
) -> torch.Tensor:
    """Return the inside of mouths at an opening's pixels, float32 [N, 3, h, w] in 0..255.

    Args:
        lips: float32 [N, 3, h, w], the skin on both sides of it.
    """
    source, moved = target.source[..., :2], target.moved[..., :2]
    own_gaps, gaps = (
        (local(points[:, face.LOWER], frame)[..., 1] - local(points[:, face.UPPER], frame)[..., 1])
        for points, frame in ((source, face.mouth_frame(source)), (moved, opening.frame))
    )
    same = torch.exp(-(((gaps - own_gaps).abs().mean(1) / MOUTH.same) ** 2))
    own_share = torch.maximum(own.shown, same)
    color = skin_color(frames, target.source)
    kept = _View.of_memory(remembered, color)
    unseen = (1 - own_share) * (1 - kept.shown)
    widest = torch.maximum(face.mouth_opening(target.source), remembered.mouth_opening)
    lower = (1 - same) * (1 - MOUTH.both_rows(widest))
    picture = made_inside(opening, own, (unseen, lower), target, color, region)
    for view, share, still in (
        (kept, kept.shown * (own_share < 1), torch.zeros_like(same)),
        (own, own_share, same),
    ):
        if share.any():
            picture = _over(picture, view, share, still, opening, target, region)
    apart = MOUTH.seam(opening.lower - opening.upper)
    # The lower lip is round: its edge is in shade.
    above = (opening.lower - opening.y) / opening.lengths[1]
    apart = apart * face.smoothstep(above / MOUTH.lip_round)
    apart = torch.maximum(apart, same.view(-1, 1, 1))
    return torch.lerp(_lips(opening, lips, region), picture, apart.unsqueeze(1))


def _lips(opening: Opening, skin: torch.Tensor, region: PixelRect) -> torch.Tensor:
    """Return lips that meet between the margins of an opening, with soft shade there, float32 [N, 3, h, w].

    They have the colours of the skin [N, 3, h, w] beside these margins.
    """
    part_of = region.part(opening.rows, opening.columns)
    beside = MOUTH.lip_beside * pixel_of(opening.frame)
    upper, lower = (
        F.grid_sample(
            skin,
            part_of.sample_at(in_frame(opening.frame, opening.x, y)),
            padding_mode="border",
            align_corners=False,
        )
        for y in (opening.upper - beside * opening.lengths[0], opening.lower + beside * opening.lengths[1])
    )
    part = (opening.y - opening.upper) / (opening.lower - opening.upper).clamp_min(1e-3)
    part = part.clamp(0, 1).unsqueeze(1)
    return torch.lerp(upper, lower, part) * (1 - MOUTH.seam_depth * (0.5 + 2 * part * (1 - part)))


def _over(
    picture: torch.Tensor,
    view: _View,
    share: torch.Tensor,
    same: torch.Tensor,
    opening: Opening,
    target: Target,
    region: PixelRect,
) -> torch.Tensor:
    """Lay what a view shows below its upper lip over a picture [N, 3, h, w] of an opening's pixels.

    It goes with the skull, and the new lips cut it.

    Args:
        share: float32 [N], opacity.
        same: float32 [N], share to which the mouth is open as in the view.
    """
    frame = view.frame_in(target)
    x, y = places_in(frame, region, opening.rows, opening.columns)
    lip_x, lip_y = local(target.moved[:, face.UPPER, :2], frame).unbind(-1)
    # In a mouth that is wider than the view's, its teeth reach the corners as well.
    narrower = (0.5 / lip_x.abs().amax(1).clamp_min(0.5)).view(-1, 1, 1)
    x = x * narrower
    lip_down = (lip_y - height_at(view.curves[0], lip_x * narrower[..., 0]))[:, _MIDDLE].mean(1)
    up, down = MOUTH.lip_way
    carried = (lip_down - lip_down.clamp(-up, down)).view(-1, 1, 1)
    upper, lower = (height_at(curve, x) for curve in view.curves)
    lip = (opening.y - opening.upper) * (pixel_of(frame) / pixel_of(opening.frame))
    below = torch.maximum(y - carried - upper, lip.clamp_max(MOUTH.lip_shade))
    place = (below + MOUTH.lip_edge) / (lower - upper).clamp_min(face.MIN_OPENING)
    # In a small mouth, only a dark gap separates teeth from lips.
    gap = (opening.lower - opening.upper).clamp_min(face.MIN_OPENING)
    small = smallness(target.source).view(-1, 1, 1) * MOUTH.small_gap((opening.y - opening.upper) / gap)
    shown = torch.maximum((1 - MOUTH.shown(place)) * (1 - small), same.view(-1, 1, 1))
    return torch.lerp(picture, view.at(x, upper + below), (shown * share.view(-1, 1, 1)).unsqueeze(1))


def made_inside(
    opening: Opening,
    own: _View,
    teeth: tuple[torch.Tensor, torch.Tensor],
    target: Target,
    skin: torch.Tensor,
    region: PixelRect,
) -> torch.Tensor:
    """Return a made inside of mouths: two rows of teeth, the tongue and shade, in the light of the face.

    Args:
        own: the source's mouth, by which upper teeth have their place in the skull.
        teeth: float32 [N] each, opacity of the upper and the lower teeth.
        skin: float32 [N, 3], the face's colour.

    Returns:
        float32 [N, 3, h, w] in 0..255.
    """
    frame = own.frame_in(target)
    x, y = places_in(frame, region, opening.rows, opening.columns)
    centimetre = target.moved_pose.scale.view(-1, 1, 1)  # in pixels
    pixel = 1 / centimetre
    own_width, width = (pixel / pixel_of(part) for part in (frame, opening.frame))
    across, lip = (x * own_width).abs(), (y - height_at(own.curves[0], x)) * own_width
    below, above = (opening.y - opening.upper) * width, (opening.lower - opening.y) * width
    height = below + above

    def material(share: Colour) -> torch.Tensor:
        """Return a colour by what it reflects of the light, in shares of what skin does."""
        return (torch.tensor(share, device=skin.device) * skin).view(-1, 3, 1, 1)

    def edge(distance: torch.Tensor) -> torch.Tensor:
        """Return the coverage of what ends softly at distance 0."""
        return (0.5 + distance / (2 * pixel).clamp_min(0.06)).clamp(0, 1)

    half_width, share = INSIDE.tongue
    bulge = 1 - (across / half_width) ** 2 - above / (share * height).clamp_min(0.05)
    tongue = INSIDE.tongue_from(height) * face.smoothstep(bulge)
    picture = torch.lerp(material(INSIDE.cavity), material(INSIDE.tongue_colour), tongue.unsqueeze(1))
    ramp, remains = INSIDE.sides
    light = 1 - (1 - remains) * ramp(across)
    large = (1 - smallness(target.source)).view(-1, 1, 1)
    corners = large * INSIDE.corners.down(opening.x.abs())

    def row(
        ends: tuple[float, ...],
        down: torch.Tensor,
        end: torch.Tensor,
        opacity: torch.Tensor,
        light: torch.Tensor,
    ) -> torch.Tensor:
        """Return the picture with a row of teeth over it: `down` from the lip, up to `end`."""
        cover = edge(end - down) * edge(ends[-1] - across) * corners * opacity
        apart = INSIDE.gap_px(ends[0] * centimetre)
        half, depth = INSIDE.gap
        away = (across.unsqueeze(-1) - across.new_tensor((0.0, *ends))).abs().amin(-1)
        gaps = torch.exp(-((away / pixel.clamp_min(half)) ** 2))
        # Teeth are narrower at their edge, and round.
        gaps = gaps * (0.4 + 0.6 * (down / end.clamp_min(0.05)).clamp(0, 1) ** 2)
        enamel = light * (1 - depth * apart * gaps)
        return torch.lerp(picture, material(INSIDE.teeth_colour) * enamel.unsqueeze(1), cover.unsqueeze(1))

    upper, lower = (share.view(-1, 1, 1) for share in teeth)
    if lower.any():
        end = (INSIDE.lower_share * height).clamp_max(INSIDE.lower_height)
        end = end - INSIDE.lower_fall * (across / INSIDE.lower_teeth[-1]) ** 2
        seen = lower * INSIDE.lower_from(height)
        picture = row(INSIDE.lower_teeth, above, end, seen, INSIDE.lower_light * light)
    if upper.any():
        reach, least = INSIDE.lip_shadow
        shadow = least + (1 - least) * face.smoothstep(below / reach)
        # The edge of the teeth is where the skull has it, as far as the lips leave teeth to be seen.
        end = INSIDE.edge - INSIDE.edge_rise * (across / INSIDE.teeth[-1]) ** 2 + below - lip
        shortest, longest = INSIDE.teeth_height
        seen = (INSIDE.teeth_share * height).clamp(shortest, INSIDE.edge)
        picture = row(INSIDE.teeth, below, torch.maximum(end, seen).clamp_max(longest), upper, light * shadow)
    return picture
