"""Painting of parts that a warp cannot show: lids that come down and small lips that shut.

The tuned numbers are in the parameter objects below; docs/draft.md lists their origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...compose import PixelRect
from ...faces import topology
from ...tensors import taken
from . import face
from .colours import color_at, pixels_at, skin_around_eyes
from .curves import curves_along, heights_at, line, surroundings
from .face import Frame, Ramp, smoothstep
from .motion import Target

# The middles of the lips, away from teeth and skin.
UPPER_LIP, LOWER_LIP = (72, 11, 302), (85, 16, 315)

SMALL_MOUTH_PX = 20
"""Width of a mouth whose lips the light of the teeth spreads over."""
SMALL_MOUTH = Ramp(1, 0.5)
"""End of a small mouth, in shares of that."""
ENDS = Ramp(0.5, 0.12)
"""Along an eye or mouth, in its widths from the middle: where what is painted ends."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class LidPaint:
    """An upper lid that comes down over an open eye. Distances are in widths of the eye.

    Attributes:
        reach: half width and half height of what is painted of a lid, with the lashes above it.
        narrowing: new opening over the source's own, above which nothing is painted.
        open_eye: the source's own opening from which an eye has a lid to bring down.
        upper_edge, lower_edge: distance from the open and from the shut lid's margin at which the painted lid ends.
        lash_width: distances above and below the line of a shut lid's lashes at which it falls to 1 / e.
        lash_ends: distance from the middle at which it ends.
        lash_light: light on it at most, in shares of the skin's: it is as dark as the open eye's lashes.
        lash_tint: power of the skin's tint in it, beyond that of skin: what gets out between lashes came from skin.
        lash_reach: distances above and below the open lid's margin between which its own lashes are looked for.
        crease_width, crease_depth: the fold that stays at the open lid's margin.
        lashes_above, lashes_below: distances between which the open eye's own lashes are removed.
        lashes_ends_exponent: power of the fade towards the eye's corners, where lashes stay.
        spike_width: what is dark and narrower than twice this is a lash.
        outer_shut: new opening over the source's own, above which the lashes at the outer corner stay.
        outer: distances from the middle towards the outer corner between which lashes end in a clump.
        outer_height: distances above and below the corner at which that clump ends.
        outer_around: distance from which the colour of skin is taken for it.
        outer_px: width of an eye in pixels from which that colour is taken of a smaller picture.
        outer_light, outer_opacity: least light there, in shares of that skin's, and how far it takes the clump's place.
    """

    reach: tuple[float, float] = (0.88, 0.55)
    narrowing: Ramp = Ramp(0.5, 0.3)
    open_eye: Ramp = Ramp(0.1, 0.1)
    upper_edge: Ramp = Ramp(-0.12, 0.12)
    lower_edge: Ramp = Ramp(0.03, 0.04)
    lash_width: tuple[float, float] = (0.06, 0.09)
    lash_ends: Ramp = Ramp(0.62, 0.32)
    lash_light: float = 0.55
    lash_tint: float = 0.6
    lash_reach: tuple[float, float] = (0.06, 0.04)
    crease_width: float = 0.06
    crease_depth: float = 0.12
    lashes_above: Ramp = Ramp(-0.45, 0.1)
    lashes_below: float = 0.05
    lashes_ends_exponent: int = 3
    spike_width: float = 0.07
    outer_shut: Ramp = Ramp(0.1, 0.2)
    outer: tuple[Ramp, Ramp] = (Ramp(0.3, 0.12), Ramp(0.84, 0.2))
    outer_height: tuple[Ramp, Ramp] = (Ramp(0.5, 0.3), Ramp(0.3, 0.12))
    outer_around: float = 0.18
    outer_px: int = 64
    outer_light: float = 0.95
    outer_opacity: float = 0.7


@dataclass(frozen=True)
class LipPaint:
    """The lips of a small open mouth that shuts. Distances are in widths of the mouth.

    Attributes:
        reach: half width and half height of what is painted.
        own: the source's own opening from which lips carry the light of the teeth.
        closing: new opening over the source's own, above which nothing is painted.
        widest: opening that counts for wider ones of the source: half shut, these are still open.
        edge: place from the seam, 0, to the lip's outer margin, 1, at which the painted lip ends.
        blend: distance over which the upper lip's colour turns into the lower one's.
        seam_width, seam_opacity, seam_colour: the line between the lips; colour as a share of the upper lip's.
    """

    reach: tuple[float, float] = (0.6, 0.5)
    own: Ramp = Ramp(0.06, 0.1)
    closing: Ramp = Ramp(0.2, 0.4)
    widest: float = 0.2
    edge: Ramp = Ramp(0.4, 0.4)
    blend: float = 0.08
    seam_width: float = 0.02
    seam_opacity: float = 0.4
    seam_colour: float = 0.45


@dataclass(frozen=True)
class CornerPaint:
    """The corners of a mouth that gets narrower: of a wider one, they were dark. Distances are in widths of the mouth.

    Attributes:
        reach: half width and half height of what is looked at.
        around: half width and half height of the bell around a corner in which dark places are lightened.
        skin: distance up to which the lightest skin is taken for that.
        px: width of a mouth in pixels from which that is taken of a smaller picture.
        light: light there at least, in shares of that skin's.
        narrower: share of its width that a mouth loses, from which its corners are lightened.
        inner, meet: distance from the middle from which that goes for what is between the lips too, and their distance
            up to which it does.
    """

    reach: tuple[float, float] = (0.85, 0.3)
    around: tuple[float, float] = (0.16, 0.14)
    skin: float = 0.1
    px: int = 40
    light: float = 0.8
    narrower: Ramp = Ramp(0.02, 0.15)
    inner: Ramp = Ramp(0.4, 0.05)
    meet: Ramp = Ramp(0.12, 0.08)


LIDS, LIPS, CORNERS = LidPaint(), LipPaint(), CornerPaint()


def paint_lids(
    pictures: torch.Tensor, frames: torch.Tensor, target: Target, region: PixelRect, blur: torch.Tensor
) -> None:
    """Paint upper lids that come down over an open eye, with a line of lashes.

    An open eye shows hardly any of its lid: stretched, the rest is a smear of lashes and shade.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        blur: float32 [N], of the source, as `blur_of` has it.
    """
    before, after = target.before, target.after
    ratio = after.eye_openings / target.eyes.clamp_min(face.MIN_OPENING)
    seen = LIDS.open_eye(target.eyes) * after.eyes_in_view
    share, shut = ((1 - ramp(ratio)) * seen for ramp in (LIDS.narrowing, LIDS.outer_shut))
    around = skin_around_eyes(frames, before.points)
    for eye in (0, 1):
        which = share[:, eye].nonzero().flatten()
        if not len(which):
            continue
        frame = after.eye(eye)[which]
        rows, columns, x, y = surroundings(frame, LIDS.reach, region)
        if not x.numel():  # outside the frame
            continue
        own = which + eye * len(frames)
        lids = torch.stack((before.lids[0, own], after.lids[0, own]))
        open_lid, shut_lid = y - heights_at(lids, x)
        ends = share[which, eye].view(-1, 1, 1) * ENDS.down(x.abs())
        lid = ends * LIDS.upper_edge(open_lid) * LIDS.lower_edge.down(shut_lid)
        crease = 1 - LIDS.crease_depth * torch.exp(-((open_lid / LIDS.crease_width) ** 2))
        skin = around[eye, which]
        lash_color = _own_lashes(frames, which, before.points[which], eye, skin).view(-1, 3, 1, 1)
        lashes = line(shut_lid, frame, torch.where(shut_lid < 0, *LIDS.lash_width), blur[which])
        lashes = share[which, eye].view(-1, 1, 1) * LIDS.lash_ends.down(x.abs()) * lashes
        skin = skin.view(-1, 3, 1, 1)
        part = pictures[which, :, rows, columns]
        # Only above lids that are nearly shut: the lashes of others are right where they are.
        above = (
            ends**LIDS.lashes_ends_exponent
            * LIDS.lashes_above(open_lid)
            * smoothstep(0.5 - open_lid / LIDS.lashes_below)
        )
        part = torch.lerp(part, _without_spikes(part, frame), above.unsqueeze(1))
        part = _without_clump(part, frame, x if eye else -x, y, shut[which, eye])
        part = torch.lerp(part, skin * crease.unsqueeze(1), lid.unsqueeze(1))
        pictures[which, :, rows, columns] = torch.lerp(part, lash_color, lashes.unsqueeze(1))


def _own_lashes(
    frames: torch.Tensor, which: torch.Tensor, points: torch.Tensor, eye: int, skin: torch.Tensor
) -> torch.Tensor:
    """Return the colour [K, 3] of shut lids' lashes: as dark as those of the open eyes.

    Args:
        which: int64 [K], the frames whose eyes are meant.
        points: float32 [K, 478, 2], their landmarks.
        skin: float32 [K, 3], colour around their eyes.
    """
    lid = face.EYES[eye][0]
    margin, ends = taken(points, lid[1:-1]), taken(points, (lid[0], lid[-1]))
    size = (ends[:, 1] - ends[:, 0]).norm(dim=-1)
    up, down = LIDS.lash_reach
    steps = torch.linspace(-up, down, 6, device=points.device).view(1, -1, 1) * size.view(-1, 1, 1)
    places = torch.stack(
        torch.broadcast_tensors(margin[:, None, :, 0], margin[:, None, :, 1] + steps), dim=-1
    )
    seen = pixels_at(frames, which, places).mean(-1)
    skin_light = skin.mean(1, keepdim=True).clamp_min(1)
    light = (seen.amin(1).mean(1, keepdim=True) / skin_light).clamp_max(LIDS.lash_light)
    return light * skin * (skin / skin_light) ** LIDS.lash_tint


def paint_lips(
    pictures: torch.Tensor, frames: torch.Tensor, target: Target, region: PixelRect, blur: torch.Tensor
) -> None:
    """Paint the lips of small open mouths that shut: drawn together, they would carry the light of the teeth.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
        blur: float32 [N], of the source, as `blur_of` has it.
    """
    own, opening = target.before.mouth_opening, target.after.mouth_opening
    share = LIPS.own(own) * (1 - LIPS.closing(opening / own.clamp(face.MIN_OPENING, LIPS.widest)))
    share = share * smallness(target.source)
    which = share.nonzero().flatten()
    if not len(which):
        return
    frame = target.after.mouth[which]
    rows, columns, x, y = surroundings(frame, LIPS.reach, region)
    rows_of_lips = (*face.UPPER, *topology.LIP_OUTER_UPPER, *topology.LIP_OUTER_LOWER)
    places = (
        frame.local(taken(target.after.points[which], rows_of_lips)).unflatten(1, (3, -1)).transpose(0, 1)
    )
    seam, top, bottom = heights_at(curves_along(places), x)
    below = y - seam
    out = torch.where(
        below > 0, below / (bottom - seam).clamp_min(0.02), below / (top - seam).clamp_max(-0.02)
    )
    ends = share[which].view(-1, 1, 1) * ENDS.down(x.abs())
    lips = ends * (1 - LIPS.edge(out))
    upper, lower = (
        color_at(frames, which, target.source[which], lip).view(-1, 3, 1, 1) for lip in (UPPER_LIP, LOWER_LIP)
    )
    color = torch.lerp(upper, lower, smoothstep(below / LIPS.blend + 0.5).unsqueeze(1))
    part = torch.lerp(pictures[which, :, rows, columns], color, lips.unsqueeze(1))
    seam_line = LIPS.seam_opacity * ends * line(below, frame, LIPS.seam_width, blur[which])
    pictures[which, :, rows, columns] = torch.lerp(part, LIPS.seam_colour * upper, seam_line.unsqueeze(1))


def paint_corners(pictures: torch.Tensor, target: Target, region: PixelRect) -> None:
    """Lighten the skin around the corners of mouths that get narrower, outside of the opening.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
    """
    own = target.pose.undo(target.source)
    share = CORNERS.narrower(1 - face.mouth_width(target.shape) / face.mouth_width(own).clamp_min(1e-3))
    which = share.nonzero().flatten()
    if not len(which):
        return
    frame = target.after.mouth[which]
    rows, columns, x, y = surroundings(frame, CORNERS.reach, region)
    if not x.numel():  # outside the frame
        return
    upper, lower = heights_at(target.after.lips[:, which], x)
    # Beside the margins, and between them where they meet.
    meet = CORNERS.meet.down(lower - upper) * CORNERS.inner(x.abs())
    outside = (torch.maximum(upper - y, y - lower) / frame.pixel).clamp(0, 1).maximum(meet)
    across, down = CORNERS.around
    near = torch.exp(-(((x.abs() - 0.5) / across) ** 2 + (y / down) ** 2)) * outside
    part = pictures[which, :, rows, columns]
    light = part.maximum(CORNERS.light * _skin_around(part, frame, CORNERS.skin, CORNERS.px))
    pictures[which, :, rows, columns] = torch.lerp(
        part, light, (near * share[which].view(-1, 1, 1)).unsqueeze(1)
    )


def smallness(landmarks: torch.Tensor) -> torch.Tensor:
    """Return 1 for small mouths, 0 for others, [N], of landmarks [N, 478, 3] in pixels."""
    return 1 - SMALL_MOUTH(face.mouth_width(landmarks) / SMALL_MOUTH_PX)


def _without_spikes(pictures: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Remove upright lashes from pictures [N, 3, h, w] of eyes, by a morphological closing along the rows, smoothed.

    In eyes of few pixels nothing is that narrow.
    """
    reach = int(LIDS.spike_width * frame.axes[:, 0].norm(dim=-1).mean().item())
    closed = -_most_around(-_most_around(pictures, reach, 3), reach, 3)
    # A closing alone leaves steps, of its width.
    return F.avg_pool2d(closed, (1, 2 * reach + 1), 1, (0, reach), count_include_pad=False)


def _without_clump(
    pictures: torch.Tensor, frame: Frame, out: torch.Tensor, y: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Let a share [N] of the lashes at the outer corner fade in pictures [N, 3, h, w] of eyes.

    Args:
        out, y: float32 [N, h, w], places in the frame: towards the outer corner, and downwards.
    """
    if not share.any():
        return pictures
    start, end = LIDS.outer
    top, bottom = LIDS.outer_height
    clump = start(out) * end.down(out) * top.down(-y) * bottom.down(y) * share.view(-1, 1, 1)
    skin = LIDS.outer_light * _skin_around(pictures, frame, LIDS.outer_around, LIDS.outer_px)
    # Without any, make-up around it would be a smudge.
    return torch.lerp(pictures, pictures.maximum(skin), (LIDS.outer_opacity * clump).unsqueeze(1))


def _skin_around(pictures: torch.Tensor, frame: Frame, around: float, px: int) -> torch.Tensor:
    """Return pictures [N, 3, h, w] of eyes or mouths by the lightest places around each pixel, smoothed.

    Args:
        around: distance up to which is looked, in widths of the eye or mouth.
        px: width of these in pixels from which a smaller picture is looked at.
    """
    width = frame.axes[:, 0].norm(dim=-1).mean().item()
    shrink = max(1, round(width / px))
    reach = max(1, round(around * width / shrink))
    small = F.avg_pool2d(pictures, shrink, ceil_mode=True) if shrink > 1 else pictures
    smooth = _most_around(_most_around(small, reach, 3), reach, 2)
    # Along rows, then along columns: with all around, this and the above are many times the work.
    for window, room in (((1, 2 * reach + 1), (0, reach)), ((2 * reach + 1, 1), (reach, 0))):
        smooth = F.avg_pool2d(smooth, window, 1, room, count_include_pad=False)
    if shrink == 1:
        return smooth
    return F.interpolate(smooth, pictures.shape[2:], mode="bilinear", align_corners=False)


def _most_around(values: torch.Tensor, reach: int, dim: int) -> torch.Tensor:
    """Return the largest of values [N, C, h, w] up to `reach` pixels away along an axis: quicker than a pooling."""
    room = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
    values = F.pad(values, room, value=-torch.inf)
    width = 1
    while left := 2 * reach + 1 - width:
        step = min(width, left)
        size = values.shape[dim] - step
        values = torch.maximum(values.narrow(dim, 0, size), values.narrow(dim, step, size))
        width += step
    return values
