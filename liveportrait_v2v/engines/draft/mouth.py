"""The inside of mouths: what the source shows of it and a made one elsewhere, with the skin of the lips around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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
from .paint import UPPER_LIP, Colour, color_at, skin_color, smallness


@dataclass(frozen=True)
class MouthParameters:
    """What the source's own mouth gives. Heights are in widths of the mouth unless said otherwise.

    Attributes:
        reach: half width and half height of what is taken of the source.
        upper_part, lower_part: place below the source's upper lip, and above its lower one, in heights of its mouth,
            at which the parts that go with the skull and with the jaw end.
        wider: height over that of the source's mouth from which these parts are apart.
        sides: distance from the middle, in widths, at which the source's own mouth ends.
        skull_reach: largest motion of the upper lip over the teeth.
        lip_shade: depth below the upper lip in which teeth are in its shade, also where the lip goes up.
        drawn_out: height of teeth that the source's lip covers, up to which those below are drawn out.
        same: mean change of the gap between the lips up to which the source's own inside stays as it is.
        parted: height of a source's mouth from which it shows an inside.
        light: least and largest change of the light since a mouth was kept.
        small_gap: place below the upper lip, 0 to 1, from which a small mouth is dark.
    """

    reach: tuple[float, float] = (0.8, 0.9)
    upper_part: Ramp = Ramp(0.55, 0.3)
    lower_part: Ramp = Ramp(0.15, 0.15)
    wider: Ramp = Ramp(1.3, 0.3)
    sides: Ramp = Ramp(0.43, 0.08)
    skull_reach: float = 0.1
    lip_shade: float = 0.04
    drawn_out: Ramp = Ramp(0.03, 0.06)
    same: float = 0.01
    parted: Ramp = Ramp(0.07, 0.1)
    light: tuple[float, float] = (0.5, 2.0)
    small_gap: Ramp = Ramp(0.35, 0.4)


@dataclass(frozen=True)
class InsideParameters:
    """A made inside of a mouth. Distances are in centimetres of the head, colours in shares of the skin's.

    Attributes:
        teeth: ends of the upper teeth, from the middle to a side.
        edge: way of the upper teeth's edge below the upper lip at rest.
        edge_rise: how much higher that edge is at the last tooth.
        teeth_height: least and largest visible height of the upper teeth.
        gap: half width and depth of the shade between teeth.
        gap_px: width of a tooth in pixels from which teeth are told apart.
        lower_teeth: height of the mouth from which lower teeth are seen, their height, half width and light.
        corners: distance from the middle at which teeth end before the corners, in widths of the mouth.
        sides: distance from the middle at which light ends, and what remains of it.
        tongue: half width, height in shares of the mouth's, and opacity of the tongue.
        tongue_from: height of the mouth from which it is seen.
        lip_shadow: distance to which the upper lip's shadow reaches, and the light in it at the lip.
        parted: height of the mouth from which an inside is seen, and not the shade between lips that touch.
        margin: distance from the lips over which that shade ends.
        seam_colour: colour of that shade, as a share of the upper lip's.
        cavity, tongue_colour, teeth_colour: colours.
    """

    teeth: tuple[float, ...] = (0.82, 1.45, 2.05, 2.5, 2.9)
    edge: float = 0.4
    edge_rise: float = 0.2
    teeth_height: tuple[float, float] = (0.12, 0.95)
    gap: tuple[float, float] = (0.05, 0.22)
    gap_px: Ramp = Ramp(4, 6)
    lower_teeth: tuple[Ramp, float, float, float] = (Ramp(0.7, 0.6), 0.35, 1.8, 0.7)
    corners: Ramp = Ramp(0.46, 0.12)
    sides: tuple[Ramp, float] = (Ramp(1.2, 1.2), 0.15)
    tongue: tuple[float, float, float] = (1.7, 0.5, 0.85)
    tongue_from: Ramp = Ramp(0.5, 0.8)
    lip_shadow: tuple[float, float] = (0.2, 0.6)
    parted: Ramp = Ramp(0.08, 0.22)
    margin: float = 0.12
    seam_colour: float = 0.6
    cavity: Colour = (0.32, 0.16, 0.15)
    tongue_colour: Colour = (0.72, 0.48, 0.46)
    teeth_colour: Colour = (1.0, 1.12, 1.16)


MOUTH, INSIDE = MouthParameters(), InsideParameters()


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
    patch = Patch.around(frames, own, MOUTH.reach, margin)
    if opening.empty or patch.rect.empty:
        return
    skin = skin_at(opening, patch, moved[:, face.UPPER + face.LOWER], shift, square, region)
    inside = (1 - opening.above - opening.below).clamp_min(0)
    if not inside.any():
        opening.put(pictures, skin)
        return
    view = _View.of_source(target, lambda x, y: patch.at(in_frame(own, x, y)))
    picture = _inside(opening, view, frames, target, remembered, region)
    opening.put(pictures, torch.lerp(skin, picture, inside.unsqueeze(1)))


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
    frames: torch.Tensor,
    target: Target,
    remembered: Remembered,
    region: PixelRect,
) -> torch.Tensor:
    """Return the inside of mouths at an opening's pixels, float32 [N, 3, h, w] in 0..255."""
    source, moved = target.source[..., :2], target.moved[..., :2]
    own_gaps, gaps = (
        (local(points[:, face.LOWER], frame)[..., 1] - local(points[:, face.UPPER], frame)[..., 1])
        for points, frame in ((source, face.mouth_frame(source)), (moved, opening.frame))
    )
    same = torch.exp(-(((gaps - own_gaps).abs().mean(1) / MOUTH.same) ** 2)).view(-1, 1, 1)
    skin = skin_color(frames, target.source)
    picture = made_inside(opening, own, frames, target, skin, region)
    # Where the source's own mouth is open enough, it is not remembered.
    needed = MOUTH.wider(remembered.mouth_opening / face.mouth_opening(source).clamp_min(face.MIN_OPENING))
    if needed.any():
        view = _View.of_memory(remembered, skin)
        view = replace(view, shown=view.shown * needed)
        picture = _over(picture, view, opening, target, torch.zeros_like(same), region)
    return _over(picture, own, opening, target, same, region)


def _over(
    picture: torch.Tensor,
    view: _View,
    opening: Opening,
    target: Target,
    same: torch.Tensor,
    region: PixelRect,
) -> torch.Tensor:
    """Lay what a view shows of a mouth over a picture [N, 3, h, w] of an opening's pixels.

    Args:
        same: float32 [N, 1, 1], share to which the mouth is open as in the view.
    """
    frame = view.frame_in(target)
    x, y = places_in(frame, region, opening.rows, opening.columns)
    unit = pixel_of(frame) / pixel_of(opening.frame)
    down, up = (opening.y - opening.upper) * unit, (opening.lower - opening.y) * unit
    upper, lower = (height_at(curve, x) for curve in view.curves)
    height, gap = (lower - upper).clamp_min(face.MIN_OPENING), down + up

    # Teeth go with the skull, as far as the lips leave them.
    reach = MOUTH.skull_reach
    below = torch.maximum(torch.minimum(y - upper, down + reach), down - reach)
    least = down.clamp_max(MOUTH.lip_shade)
    covered = (least - below).clamp_min(0)
    below = torch.lerp(torch.maximum(below, least), down, same)
    in_view = (1 - MOUTH.sides(x.abs())) * view.shown.view(-1, 1, 1)
    # In a small mouth, only a dark gap separates teeth from lips.
    small = smallness(target.source).view(-1, 1, 1)
    in_view = in_view * (1 - small * MOUTH.small_gap(down / gap.clamp_min(1e-3)))
    with_skull = (1 - MOUTH.upper_part(below / height)) * (1 - MOUTH.drawn_out(covered))
    # A mouth that is no wider open than in the view shows nothing that the view does not.
    with_jaw = torch.maximum(1 - MOUTH.lower_part(up / height), MOUTH.wider.down(gap / height))
    for place, share in ((lower - up, with_jaw), (upper + below, with_skull)):
        share = torch.maximum(share * in_view, same)
        if share.any():
            picture = torch.lerp(picture, view.at(x, place), share.unsqueeze(1))
    return picture


def made_inside(
    opening: Opening,
    own: _View,
    frames: torch.Tensor,
    target: Target,
    skin: torch.Tensor,
    region: PixelRect,
) -> torch.Tensor:
    """Return a made inside of mouths: two rows of teeth, the tongue and shade, in the light of the face.

    Args:
        own: the source's mouth, by which teeth have their place in the skull.
        skin: float32 [N, 3], the face's colour.

    Returns:
        float32 [N, 3, h, w] in 0..255.
    """
    which = torch.arange(len(frames), device=frames.device)
    seam = INSIDE.seam_colour * color_at(frames, which, target.source, UPPER_LIP).view(-1, 3, 1, 1)
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

    ramp, remains = INSIDE.sides
    light = 1 - (1 - remains) * ramp(across)
    last = INSIDE.teeth[-1]
    # The edge of the teeth is where the skull has it, as far as the lips leave teeth to be seen.
    end = INSIDE.edge - INSIDE.edge_rise * (across / last) ** 2 + below - lip
    end = end.clamp(*INSIDE.teeth_height)
    bite = (1 - smallness(target.source)).view(-1, 1, 1) * INSIDE.corners.down(opening.x.abs())
    teeth = edge(end - below) * edge(last - across) * bite
    apart = INSIDE.gap_px(INSIDE.teeth[0] * centimetre)
    half, depth = INSIDE.gap
    away = (across.unsqueeze(-1) - across.new_tensor((0.0, *INSIDE.teeth))).abs().amin(-1)
    gaps = torch.exp(-((away / pixel.clamp_min(half)) ** 2))
    # Teeth are narrower at their edge, and round.
    gaps = gaps * (0.4 + 0.6 * (below / end).clamp(0, 1) ** 2)
    reach, least = INSIDE.lip_shadow
    shadow = least + (1 - least) * face.smoothstep(below / reach)
    enamel = light * shadow * (1 - depth * apart * gaps)

    low_from, low_height, low_width, low_light = INSIDE.lower_teeth
    low_end = low_height * (1 - (across / low_width) ** 2).clamp_min(0)
    low = edge(low_end - above) * low_from(height) * bite
    low_enamel = low_light * light * (1 - depth * apart * gaps)

    half_width, share, opacity = INSIDE.tongue
    bulge = 1 - (across / half_width) ** 2 - (above / (share * height).clamp_min(0.05)) ** 2
    tongue = opacity * INSIDE.tongue_from(height) * face.smoothstep(bulge / 0.6)
    tongue = tongue * (0.6 + 0.4 * face.smoothstep(bulge))

    picture = torch.lerp(material(INSIDE.cavity), material(INSIDE.tongue_colour), tongue.unsqueeze(1))
    picture = torch.lerp(picture, material(INSIDE.teeth_colour) * low_enamel.unsqueeze(1), low.unsqueeze(1))
    picture = torch.lerp(picture, material(INSIDE.teeth_colour) * enamel.unsqueeze(1), teeth.unsqueeze(1))
    # Between lips and at their margins there is shade.
    shade = INSIDE.parted(height) * face.smoothstep(torch.minimum(above, below) / INSIDE.margin)
    return torch.lerp(seam, picture, shade.unsqueeze(1))
