"""Eyes and mouths in frames of their own, and smooth curves along lids and lips at the picture's own pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F

from ...compose import PixelRect, to_float

Frame = tuple[torch.Tensor, torch.Tensor]
"""Centre [N, 2] and axes [N, 2, 2] of N eyes or mouths, as `face.eye_frame` has them; its unit is their width."""

Margins = tuple[Sequence[int], Sequence[int]]
"""Landmarks along an upper and a lower margin of lids or lips, as many of each."""

CURVE_REACH_WIDTHS, CURVE_SAMPLES = 0.75, 128
"""Reach and number of samples of a curve along lids or lips, to both sides in widths of the eye or mouth."""
CURVE_SIGMA_WIDTHS = 0.03
"""Standard deviation of the Gaussian that smooths it, in widths of the eye or mouth."""
CURVE_CONTINUED_POINTS = 4
"""Landmarks that are mirrored about each end, so that the curve runs through it and on beyond."""
PATCH_MARGINS = 3
"""Pixels that are taken of the source around an opening, in margins that are drawn with it."""
MIN_LINE_WIDTH_PX = 0.8
"""Least half width, at 1/e, of a painted line."""
EDGE_PX = 1.5
"""Width over which the margin of a lid or lip turns into what is between: that of an edge in a compressed video."""


def local(places: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Turn places [N, K, 2] of the picture into N eyes' or mouths' frames."""
    center, axes = frame
    return (places - center.unsqueeze(1)) @ torch.linalg.inv(axes)


def pixel_of(frame: Frame) -> torch.Tensor:
    """Return the size of the picture's pixels in N frames' units, [N, 1, 1]."""
    return 1 / frame[1][:, 0].norm(dim=-1).clamp_min(1e-3).view(-1, 1, 1)


def curve_along(row: torch.Tensor) -> torch.Tensor:
    """Return the heights y of a smooth curve through points [N, K, 2] of a frame, from left to right or right to left.

    Beyond its ends the curve goes on as its mirror image, so that two curves that meet in a corner cross there.

    Returns:
        float32 [N, CURVE_SAMPLES], at x from -CURVE_REACH_WIDTHS to CURVE_REACH_WIDTHS.
    """
    row = torch.where((row[:, :1, 0] > row[:, -1:, 0]).unsqueeze(-1), row.flip(1), row)
    more = slice(1, CURVE_CONTINUED_POINTS + 1)
    row = torch.cat(
        (2 * row[:, :1] - row[:, more].flip(1), row, 2 * row[:, -1:] - row.flip(1)[:, more]), dim=1
    )
    x, y = row.unbind(-1)
    # On a head in profile, lips fold over themselves.
    x = x.cummax(1).values.contiguous()
    places = torch.linspace(-CURVE_REACH_WIDTHS, CURVE_REACH_WIDTHS, CURVE_SAMPLES, device=x.device)
    places = places.expand(len(x), -1).contiguous()
    right = torch.searchsorted(x, places).clamp(1, x.shape[1] - 1)
    x_left, x_right = x.gather(1, right - 1), x.gather(1, right)
    part = ((places - x_left) / (x_right - x_left).clamp_min(1e-6)).clamp(0, 1)
    heights = torch.lerp(y.gather(1, right - 1), y.gather(1, right), part)
    return heights @ _smoothing(x.device)


@lru_cache
def _smoothing(device: torch.device) -> torch.Tensor:
    """Return the matrix [CURVE_SAMPLES, CURVE_SAMPLES] that smooths curves' heights; beyond its ends a curve is even.

    A small product of matrices is several times faster than a convolution.
    """
    step = 2 * CURVE_REACH_WIDTHS / (CURVE_SAMPLES - 1)
    reach = round(3 * CURVE_SIGMA_WIDTHS / step)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) * step / CURVE_SIGMA_WIDTHS) ** 2) / 2)
    padded = F.pad(torch.eye(CURVE_SAMPLES).unsqueeze(1), (reach, reach), mode="replicate")
    return F.conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).to(device)


def margins_of(points: torch.Tensor, margins: Margins, frame: Frame) -> torch.Tensor:
    """Return the curves [2, N, CURVE_SAMPLES] along the upper and the lower margin of landmarks [N, K, 2]."""
    places = local(points[:, [*margins[0], *margins[1]]], frame).unflatten(1, (2, -1)).transpose(0, 1)
    return curve_along(places.flatten(0, 1)).unflatten(0, (2, -1))


def height_at(curve: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return y of curves [N, CURVE_SAMPLES] at x [N, ...]; beyond their reach that of the end."""
    before, after, part = _samples_around(curve, x)
    return torch.lerp(before, after, part).view_as(x)


def _samples_around(curve: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the curve's samples before and after x, and how far x is from one to the other, each [N, K]."""
    per_unit = (CURVE_SAMPLES - 1) / (2 * CURVE_REACH_WIDTHS)
    at = ((x.flatten(1) + CURVE_REACH_WIDTHS) * per_unit).clamp(0, CURVE_SAMPLES - 1)
    left = at.long().clamp_max(CURVE_SAMPLES - 2)
    return curve.gather(1, left), curve.gather(1, left + 1), at - left


def _height_and_length(curve: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y of curves at x, as `height_at` does, and the curves' length per unit of x there, >= 1."""
    before, after, part = _samples_around(curve, x)
    step = 2 * CURVE_REACH_WIDTHS / (CURVE_SAMPLES - 1)
    length = ((after - before) / step).square_().add_(1).sqrt_()
    return torch.lerp(before, after, part).view_as(x), length.view_as(x)


def line(distance: torch.Tensor, frame: Frame, width: float) -> torch.Tensor:
    """Return the opacity of a soft line at distances [N, h, w], in the frame's unit; never thinner than a pixel."""
    return torch.exp(-((distance / (MIN_LINE_WIDTH_PX * pixel_of(frame)).clamp_min(width)) ** 2))


def corners_of(frame: Frame, reach: tuple[float, float]) -> torch.Tensor:
    """Return the corners of what is within `reach` in N frames, in pixels: [N, 4, 2]."""
    center, axes = frame
    unit = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=center.device)
    return center.unsqueeze(1) + (unit * torch.tensor(reach, device=center.device)) @ axes


def surroundings(
    frame: Frame, reach: tuple[float, float], region: PixelRect
) -> tuple[slice, slice, torch.Tensor, torch.Tensor]:
    """Return the region's pixels within `reach` in N eyes' or mouths' frames.

    Returns:
        rows and columns of the region, and the pixels' places in those frames: x and y [N, h, w].
    """
    rows, columns = region.box(corners_of(frame, reach))
    return rows, columns, *places_in(frame, region, rows, columns)


def places_in(
    frame: Frame, region: PixelRect, rows: slice, columns: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and y [N, h, w] of some of the region's pixels in N frames."""
    pixels = region.pixels(rows, columns, frame[0].device)
    x, y = local(pixels.view(1, -1, 2), frame).unflatten(1, pixels.shape[:2]).unbind(-1)
    return x, y


@dataclass(frozen=True)
class Patch:
    """The surroundings of an eye or mouth in N source frames.

    Attributes:
        pixels: float32 [N, 3, h, w] in 0..255.
        rect: their rows and columns.
    """

    pixels: torch.Tensor
    rect: PixelRect

    @classmethod
    def around(cls, frames: torch.Tensor, points: torch.Tensor, margin_px: float) -> Patch:
        """Cut out what is around an eye's or mouth's landmarks [N, K, 2], and a margin; empty outside the frames.

        Args:
            frames: uint8 [N, H, W, 3].
        """
        whole = PixelRect(0, 0, *frames.shape[1:3])
        rect = whole.part(*whole.box(points, math.ceil(PATCH_MARGINS * margin_px)))
        return cls(to_float(rect.of(frames)), rect)

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """Return the colours at places [N, h, w, 2] in pixels, float32 [N, 3, h, w]; outside, those of the border."""
        grid = self.rect.sample_at(places)
        return F.grid_sample(self.pixels, grid, padding_mode="border", align_corners=False)


def in_frame(frame: Frame, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Turn places x and y [N, h, w] of N frames into places of the picture, [N, h, w, 2]."""
    center, axes = frame
    places = torch.stack((x, y), dim=-1).flatten(1, 2) @ axes + center.unsqueeze(1)
    return places.view(*x.shape, 2)


@dataclass(frozen=True)
class Opening:
    """An eye or mouth of N moved faces at the picture's own pixels.

    Attributes:
        frame: of the eye or mouth.
        curves: float32 [2, N, CURVE_SAMPLES], its upper and lower margin there.
        rows, columns: of the region, around it.
        x, y: float32 [N, h, w], places of these pixels in the frame.
        upper, lower: float32 [N, h, w], heights of the margins of lids or lips there; upper <= lower.
        lengths: float32 [2, N, h, w], length of the upper and the lower margin per unit of x, >= 1: pixels above or
            below a margin are nearer to it by this factor.
        near: bool [N, h, w], whether a pixel is inside or near a margin.
    """

    frame: Frame
    curves: torch.Tensor
    rows: slice
    columns: slice
    x: torch.Tensor
    y: torch.Tensor
    upper: torch.Tensor
    lower: torch.Tensor
    lengths: torch.Tensor
    near: torch.Tensor

    @classmethod
    def between(
        cls, points: torch.Tensor, margins: Margins, frame: Frame, region: PixelRect, margin_px: float
    ) -> Opening:
        """Take the opening between margins of landmarks [N, K, 2] in pixels of the frame.

        Args:
            margin_px: pixels around these landmarks that belong to it.
        """
        rows, columns = region.box(points[:, [*margins[0], *margins[1]]], math.ceil(margin_px))
        x, y = places_in(frame, region, rows, columns)
        curves = margins_of(points, margins, frame)
        (top, top_length), (bottom, bottom_length) = (_height_and_length(curve, x) for curve in curves)
        seam = (top + bottom) / 2
        upper, lower = torch.minimum(top, seam), torch.maximum(bottom, seam)
        margin = margin_px * pixel_of(frame)
        near = (y > upper - margin) & (y < lower + margin) & (x.abs() < 0.5 + margin)
        lengths = torch.stack((top_length, bottom_length))
        return cls(frame, curves, rows, columns, x, y, upper, lower, lengths, near)

    @property
    def empty(self) -> bool:
        """Whether it is outside the frame."""
        return not self.x.numel()

    def put(self, pictures: torch.Tensor, drawn: torch.Tensor) -> None:
        """Put what was drawn, [N, 3, h, w], into the region's pictures, which are modified."""
        part = pictures[:, :, self.rows, self.columns]
        pictures[:, :, self.rows, self.columns] = torch.where(self.near.unsqueeze(1), drawn, part)

    @cached_property
    def above(self) -> torch.Tensor:
        """Share of each pixel above the upper margin, [N, h, w]."""
        return self._shares[0]

    @cached_property
    def below(self) -> torch.Tensor:
        """Share of each pixel below the lower margin, [N, h, w]."""
        return self._shares[1]

    @cached_property
    def inside(self) -> torch.Tensor:
        """Share of each pixel between the margins, [N, h, w]."""
        # Beyond the corners nothing is between.
        gap = (self.lower - self.upper) / (EDGE_PX * pixel_of(self.frame))
        return torch.minimum((1 - self.above - self.below).clamp_min(0), gap)

    @cached_property
    def _shares(self) -> tuple[torch.Tensor, torch.Tensor]:
        edge = EDGE_PX * pixel_of(self.frame)
        above = (0.5 + (self.upper - self.y) / (edge * self.lengths[0])).clamp(0, 1)
        below = (0.5 + (self.y - self.lower) / (edge * self.lengths[1])).clamp(0, 1)
        # Where both margins run through a pixel, the nearer one comes first.
        over = self.y < (self.upper + self.lower) / 2
        return (
            torch.where(over, above, torch.minimum(above, 1 - below)),
            torch.where(over, torch.minimum(below, 1 - above), below),
        )
