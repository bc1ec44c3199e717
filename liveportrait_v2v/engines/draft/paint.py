"""What a warp can't show, as the source frame hasn't got it: a mouth's inside, a lid that comes down, an open eye."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...compose import PixelRect, to_float
from ...faces import FaceSquare, topology
from . import face
from .face import smoothstep
from .motion import SHUT_EYE, Target

# Skin away from shadows of brows, nose and lips.
_SKIN = (50, 280, 101, 330, 205, 425, 4, 151)


def skin_color(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Colour of the face in its frame, float32 [N, 3] in 0..255, by a few places on cheeks, nose and forehead."""
    return _color_at(frames, torch.arange(len(frames), device=frames.device), landmarks, _SKIN)


def _color_at(
    frames: torch.Tensor, which: torch.Tensor, landmarks: torch.Tensor, indices: tuple[int, ...]
) -> torch.Tensor:
    """Mean colour at some landmarks [K, 478, >=2] of K of the frames."""
    height, width = frames.shape[1:3]
    points = landmarks[:, list(indices), :2].long()
    x, y = points[..., 0].clamp(0, width - 1), points[..., 1].clamp(0, height - 1)
    return frames[which.unsqueeze(1), y, x].float().mean(1)


def paint_mouths(
    pictures: torch.Tensor,
    square: FaceSquare,
    mouth: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    region: PixelRect,
) -> None:
    """Paints the inside of open mouths below what the source's own shows.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        square: the N crop squares.
        mouth: float32 [N, 4, S, S] over the squares, as `Warp` has it.
        frames: uint8 [N, H, W, 3], the source.
    """
    opening = face.mouth_opening(target.moved)
    rows, columns = region.box(target.moved[:, face.UPPER + face.LOWER, :2])
    side = square.side.max().item()
    if side < mouth.shape[-1]:
        mouth = F.adaptive_avg_pool2d(mouth, max(1, round(side)))
    place = region.part(rows, columns).to_square(square).mul_(2).sub_(1)
    mouth = F.grid_sample(mouth, place, align_corners=False)
    inside, mouth = mouth[:, :1], mouth[:, 1:] / mouth[:, :1].clamp_min(0.05)
    lacking = smoothstep((mouth[:, 2:] - 0.75) / 0.25)
    # Between lips that nearly touch there is shade, and no sliver of teeth.
    lacking = torch.maximum(lacking, 1 - smoothstep((opening.view(-1, 1, 1, 1) - 0.03) / 0.06))
    # In small ones teeth are told from lips by a dark gap below them, and painted ones not at all.
    small = _smallness(target.source).view(-1, 1, 1, 1)
    lacking = torch.maximum(lacking, small * smoothstep((mouth[:, 1:2] - 0.35) / 0.4))
    painted = mouth_interior(mouth, opening, skin_color(frames, target.source), 1 - small)
    pictures[:, :, rows, columns].lerp_(painted, inside * lacking)


def mouth_interior(
    mouth: torch.Tensor, opening: torch.Tensor, skin: torch.Tensor, bite: torch.Tensor
) -> torch.Tensor:
    """Paints the inside of an open mouth: dark, with the upper teeth behind the lip and a hint of the tongue.

    Args:
        mouth: float32 [N, >=2, h, w]: place along the mouth -1..1, place from the upper lip 0 to the lower 1.
        opening: float32 [N], height / width of the mouth.
        skin: float32 [N, 3], colour of the face, which tells the light.
        bite: float32 [N, 1, 1, 1], how much of the teeth is to be seen.

    Returns:
        float32 [N, 3, h, w] in the unit of `skin`.
    """
    opening = opening.view(-1, 1, 1)
    along = mouth[:, 0]
    below = mouth[:, 1] * opening  # distance from the upper lip, in widths of the mouth
    above = (1 - mouth[:, 1]) * opening

    def material(*share: float) -> torch.Tensor:
        """A colour by what it reflects of the light, as shares of what skin does."""
        return (torch.tensor(share, device=skin.device) * skin).view(-1, 3, 1, 1)

    sides = 1 - smoothstep((along.abs() - 0.2) / 0.6)
    teeth = smoothstep((0.13 - below) / 0.08) * sides * smoothstep(opening / 0.12)
    tongue = smoothstep((0.2 - above) / 0.2) * sides * smoothstep((opening - 0.1) / 0.2)
    shade = (0.45 + 0.55 * smoothstep(below / 0.09)).unsqueeze(1)  # the upper lip's shadow
    picture = torch.lerp(material(0.26, 0.15, 0.14), material(0.72, 0.48, 0.46), 0.6 * tongue.unsqueeze(1))
    return torch.lerp(picture, material(1.0, 1.15, 1.22) * shade, 0.7 * bite * teeth.unsqueeze(1))


# Skin above and below each eye, away from lashes: between lid and brow, and under the lower lid.
_AROUND_EYES = ((224, 223, 222, 230, 229, 231), (444, 443, 442, 450, 449, 451))
# Half width and half height of what is painted of a lid, with the lashes above it, in widths of the eye.
LID_REACH = (0.65, 0.55)
# The middles of the lips, away from teeth and skin.
_UPPER_LIP, _LOWER_LIP = (72, 11, 302), (85, 16, 315)
# Lips of mouths narrower than this many pixels are so thin that the teeth's light spreads over them.
SMALL_MOUTH = 20
# A curve along lids or lips is worked out from minus to plus so many widths of the eye or mouth, at so many places.
CURVE = 0.7, 128


def paint_lids(pictures: torch.Tensor, frames: torch.Tensor, target: Target, region: PixelRect) -> None:
    """Paints upper lids that come down over an open eye, with a line of lashes.

    An open eye shows hardly anything of its lid: drawn out, the rest is a smear of lashes and shade.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
    """
    share = 1 - smoothstep((face.eye_openings(target.moved) / target.eyes.clamp_min(0.02) - 0.35) / 0.4)
    share = share * smoothstep((target.eyes - 0.1) / 0.1) * face.eyes_in_view(target.moved[..., :2])
    for eye, (upper, _, _) in enumerate(face.EYES):
        which = share[:, eye].nonzero().flatten()
        if not len(which):
            continue
        source, moved = target.source[which, :, :2], target.moved[which, :, :2]
        frame = face.eye_frame(moved, eye)
        rows, columns, x, y = _surroundings(frame, LID_REACH, region)
        if not x.numel():  # outside the frame
            continue
        open_lid = y - _height(_local(source[:, list(upper)], face.eye_frame(source, eye)), x)
        shut_lid = y - _height(_local(moved[:, list(upper)], frame), x)
        ends = share[which, eye].view(-1, 1, 1) * smoothstep((0.5 - x.abs()) / 0.12)
        lid = ends * smoothstep((open_lid + 0.12) / 0.12) * smoothstep((0.03 - shut_lid) / 0.04)
        lashes = 0.75 * ends * _line(shut_lid, frame, 0.045)
        crease = 1 - 0.12 * torch.exp(-((open_lid / 0.06) ** 2))
        skin = _color_at(frames, which, source, _AROUND_EYES[eye]).view(-1, 3, 1, 1)
        part = pictures[which, :, rows, columns]
        # Only above lids that are all but shut: the lashes of others belong where they are.
        above = ends**3 * smoothstep((open_lid + 0.45) / 0.1) * smoothstep(0.5 - open_lid / 0.05)
        part = torch.lerp(part, _without_spikes(part, frame), above.unsqueeze(1))
        part = torch.lerp(part, skin * crease.unsqueeze(1), lid.unsqueeze(1))
        pictures[which, :, rows, columns] = torch.lerp(part, 0.3 * skin, lashes.unsqueeze(1))


def paint_lips(pictures: torch.Tensor, frames: torch.Tensor, target: Target, region: PixelRect) -> None:
    """Paints the lips of small open mouths that shut: drawn together, they would carry the light of the teeth.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, H, W, 3], the source.
    """
    own, opening = face.mouth_opening(target.source), face.mouth_opening(target.moved)
    share = smoothstep((own - 0.06) / 0.1) * (1 - smoothstep((opening / own.clamp_min(0.02) - 0.2) / 0.4))
    share = share * _smallness(target.source)
    which = share.nonzero().flatten()
    if not len(which):
        return
    moved = target.moved[which, :, :2]
    frame = face.mouth_frame(moved)
    rows, columns, x, y = _surroundings(frame, (0.6, 0.5), region)
    seam, top, bottom = (
        _height(_local(moved[:, list(row)], frame), x)
        for row in (face.UPPER, topology.LIP_OUTER_UPPER, topology.LIP_OUTER_LOWER)
    )
    below = y - seam
    out = torch.where(
        below > 0, below / (bottom - seam).clamp_min(0.02), below / (top - seam).clamp_max(-0.02)
    )
    ends = share[which].view(-1, 1, 1) * smoothstep((0.5 - x.abs()) / 0.12)
    lips = ends * (1 - smoothstep((out - 0.4) / 0.4))
    upper, lower = (
        _color_at(frames, which, target.source[which], lip).view(-1, 3, 1, 1)
        for lip in (_UPPER_LIP, _LOWER_LIP)
    )
    color = torch.lerp(upper, lower, smoothstep(below / 0.08 + 0.5).unsqueeze(1))
    part = torch.lerp(pictures[which, :, rows, columns], color, lips.unsqueeze(1))
    line = 0.7 * ends * _line(below, frame, 0.04)
    pictures[which, :, rows, columns] = torch.lerp(part, 0.45 * upper, line.unsqueeze(1))


def _smallness(landmarks: torch.Tensor) -> torch.Tensor:
    """1 for mouths that are small, 0 for others, [N], of landmarks [N, 478, 3] in pixels."""
    return 1 - smoothstep((face.mouth_width(landmarks) / SMALL_MOUTH - 1) / 0.5)


def _surroundings(
    frame: tuple[torch.Tensor, torch.Tensor], reach: tuple[float, float], region: PixelRect
) -> tuple[slice, slice, torch.Tensor, torch.Tensor]:
    """Rows and columns of the region that hold what is within `reach` in N eyes' or mouths' frames, and where those
    pixels lie in them: x and y [N, h, w].
    """
    center, axes = frame
    unit = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=center.device)
    corners = unit * torch.tensor(reach, device=center.device)
    rows, columns = region.box(center.unsqueeze(1) + corners @ axes)
    pixels = region.pixels(rows, columns, center.device)
    x, y = _local(pixels.view(1, -1, 2), frame).unflatten(1, pixels.shape[:2]).unbind(-1)
    return rows, columns, x, y


def _local(places: torch.Tensor, frame: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Places [N, K, 2] of the picture in N eyes' or mouths' frames."""
    center, axes = frame
    return (places - center.unsqueeze(1)) @ torch.linalg.inv(axes)


def _height(row: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """y of a smooth curve along points [N, K, 2], at x [N, h, w]; beyond CURVE's ends as it is there."""
    end, count = CURVE
    places = torch.linspace(-end, end, count, device=x.device).view(1, -1, 1)
    near = torch.exp(-(((places - row[:, None, :, 0]) / 0.08) ** 2))
    heights = (near * row[:, None, :, 1]).sum(-1) / near.sum(-1).clamp_min(1e-6)
    at = ((x.flatten(1) / end + 1) * ((count - 1) / 2)).clamp(0, count - 1)
    left = at.long().clamp_max(count - 2)
    return torch.lerp(heights.gather(1, left), heights.gather(1, left + 1), at - left).view_as(x)


def _line(distance: torch.Tensor, frame: tuple[torch.Tensor, torch.Tensor], width: float) -> torch.Tensor:
    """Opacity of a soft line at distances [N, h, w] from it, in the frame's unit; never thinner than a pixel."""
    pixel = 1 / frame[1][:, 0].norm(dim=-1).view(-1, 1, 1)
    return torch.exp(-((distance / (0.8 * pixel).clamp_min(width)) ** 2))


def _without_spikes(pictures: torch.Tensor, frame: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Pictures [N, 3, h, w] of eyes without what is dark and narrower than a seventh of the eye: upright lashes (a
    morphological closing along the rows). Of eyes of few pixels nothing is that narrow.
    """
    reach = int(0.07 * frame[1][:, 0].norm(dim=-1).mean().item())
    window, room = (1, 2 * reach + 1), (0, reach)
    wider = F.max_pool2d(pictures, window, 1, room)
    return -F.max_pool2d(-wider, window, 1, room)


class EyeMemory:
    """What the source's eyes look like when open, lids and lashes with them, for frames that show them shut."""

    # Half width and half height of what is kept, in widths of the eye, and its size in pixels.
    REACH = (0.65, 0.4)
    SIZE = (52, 84)

    def __init__(self) -> None:
        self._patches: torch.Tensor | None = None  # [2, 3, h, w], 0..255
        self._openings: torch.Tensor | None = None  # [2]

    def learn(self, frames: torch.Tensor, target: Target) -> None:
        """Keeps the eyes of the last frame in which both are about as open as at rest; until one comes, of the frame
        in which they are widest.
        """
        openness = target.eyes / target.rest_eyes
        wide = (openness >= 0.85).all(1).nonzero().flatten().tolist()
        if wide:
            k = wide[-1]
        else:
            widest, k = openness.amin(1).max(0)
            k = int(k)
            before = 0.0 if self._openings is None else (self._openings / target.rest_eyes).amin()
            if widest <= before or (target.eyes[k] < SHUT_EYE).any():
                return
        frame = frames[k : k + 1]
        whole = PixelRect(0, 0, *frame.shape[1:3])
        x = torch.linspace(-self.REACH[0], self.REACH[0], self.SIZE[1], device=frame.device)
        y = torch.linspace(-self.REACH[1], self.REACH[1], self.SIZE[0], device=frame.device)
        local = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        patches = []
        for eye in (0, 1):
            center, axes = face.eye_frame(target.source[k : k + 1, :, :2], eye)
            places = local.view(1, -1, 2) @ axes + center
            rows, columns = whole.box(places)
            part = whole.part(rows, columns)
            if part.empty:
                return
            grid = part.sample_at(places).view(1, *self.SIZE, 2)
            patches.append(
                F.grid_sample(to_float(part.of(frame)), grid, padding_mode="border", align_corners=False)
            )
        self._patches, self._openings = torch.cat(patches), face.eye_openings(target.source[k : k + 1])[0]

    def paint(self, pictures: torch.Tensor, target: Target, region: PixelRect) -> None:
        """Paints remembered eyes, with their lids, where the source's are shut and the target's are not.

        Args:
            pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        """
        if self._patches is None or self._openings is None:
            return
        shut = smoothstep((0.8 - target.eyes / target.rest_eyes) / 0.3)
        ratio = face.eye_openings(target.moved) / self._openings
        share = shut * smoothstep((ratio - 0.3) / 0.3) * face.eyes_in_view(target.moved[..., :2])
        reach = torch.tensor(self.REACH, device=pictures.device)
        for eye in (0, 1):
            which = share[:, eye].nonzero().flatten()
            if not len(which):
                continue
            frame = face.eye_frame(target.moved[which, :, :2], eye)
            rows, columns, x, y = _surroundings(frame, self.REACH, region)
            place = torch.stack((x, y), dim=-1) / reach
            soft = 1 - smoothstep((place.norm(dim=-1) - 0.6) / 0.35)
            stretch = torch.stack(
                (torch.ones(len(which), device=reach.device), 1 / ratio[which, eye].clamp(0.9, 1.6)), -1
            )
            patch = self._patches[eye].expand(len(which), -1, -1, -1)
            eyes = F.grid_sample(
                patch, place * stretch.view(-1, 1, 1, 2), padding_mode="border", align_corners=True
            )
            part = pictures[which, :, rows, columns]
            weight = (soft * share[which, eye].view(-1, 1, 1)).unsqueeze(1)
            pictures[which, :, rows, columns] = torch.lerp(part, eyes, weight)
