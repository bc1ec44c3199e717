"""Eyes and mouths in frames of their own, and smooth curves along lids and lips at the picture's own pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F

from ...compose import PixelRect, to_float
from .affine import Affine, to_sampling
from .face import Frame

CURVE_REACH_WIDTHS, CURVE_SAMPLES = 0.75, 128
"""Reach and number of samples of a curve along lids or lips, to both sides in widths of the eye or mouth."""
CURVE_SIGMA_WIDTHS = 0.03
"""Standard deviation of the Gaussian that smooths it, in widths of the eye or mouth."""
CURVE_CONTINUED_POINTS = 4
"""Landmarks that are mirrored about each end, so that the curve runs through it and on beyond."""
PATCH_MARGINS = 3
"""Pixels that are taken of the source around an opening, in margins that are drawn with it."""
EDGE_BLURS = 2.5
"""Width over which the margin of a lid or lip turns into what is between, in blurs of the source: as its own edges."""


def curves_along(rows: torch.Tensor) -> torch.Tensor:
    """Return the heights y of smooth curves through points [..., K, 2] of frames, from left to right or back.

    Beyond its ends a curve goes on as its mirror image, so that two curves that meet in a corner cross there.

    Returns:
        float32 [..., CURVE_SAMPLES], at x from -CURVE_REACH_WIDTHS to CURVE_REACH_WIDTHS.
    """
    row = rows.flatten(0, -3)
    row = torch.where((row[:, :1, 0] > row[:, -1:, 0]).unsqueeze(-1), row.flip(1), row)
    more = slice(1, CURVE_CONTINUED_POINTS + 1)
    row = torch.cat(
        (2 * row[:, :1] - row[:, more].flip(1), row, 2 * row[:, -1:] - row.flip(1)[:, more]), dim=1
    )
    x, y = row.unbind(-1)
    # On a head in profile, lips fold over themselves.
    x = x.cummax(1).values.contiguous()
    places = _places(x.device).expand(len(x), -1).contiguous()
    right = torch.searchsorted(x, places).clamp(1, x.shape[1] - 1)
    left = right - 1
    x_left = x.gather(1, left)
    part = ((places - x_left) / (x.gather(1, right) - x_left).clamp_min(1e-6)).clamp(0, 1)
    heights = torch.lerp(y.gather(1, left), y.gather(1, right), part)
    return (heights @ _smoothing(x.device)).view(*rows.shape[:-2], -1)


@lru_cache
def _places(device: torch.device) -> torch.Tensor:
    """Return x of a curve's samples, [CURVE_SAMPLES]."""
    return torch.linspace(-CURVE_REACH_WIDTHS, CURVE_REACH_WIDTHS, CURVE_SAMPLES, device=device)


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


def heights_at(curves: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return y of curves [M, N, CURVE_SAMPLES], M for each frame, at x [N, ...], as [M, N, ...].

    Beyond their reach it is that of the end.
    """
    # As a picture of one row: quicker than to look samples up. Its one y is there at any y, so x serves as well.
    places = (x.flatten(1) / CURVE_REACH_WIDTHS).view(len(x), 1, -1, 1).expand(-1, -1, -1, 2)
    rows = curves.transpose(0, 1).unsqueeze(2)
    heights = F.grid_sample(rows, places, padding_mode="border", align_corners=True)
    return heights.transpose(0, 1).reshape(len(curves), *x.shape)


def height_at(curve: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return y of curves [N, CURVE_SAMPLES] at x [N, ...], as `heights_at` does."""
    return heights_at(curve.unsqueeze(0), x)[0]


def _heights_and_lengths(curves: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return y of curves at x, as `heights_at` does, and the curves' lengths per unit of x there, >= 1."""
    step = 2 * CURVE_REACH_WIDTHS / (CURVE_SAMPLES - 1)
    slopes = F.pad((curves[..., 2:] - curves[..., :-2]) / (2 * step), (1, 1), mode="replicate")
    heights, slopes = heights_at(torch.cat((curves, slopes)), x).chunk(2)
    return heights, slopes.square().add_(1).sqrt_()


def line(
    distance: torch.Tensor, frame: Frame, width: float | torch.Tensor, blur: torch.Tensor
) -> torch.Tensor:
    """Return the opacity of a soft line at distances [N, h, w] in the frame's unit.

    Args:
        width: distance at which it would fall to 1 / e in a sharp picture.
        blur: float32 [N], of the picture, as `blur_of` has it.
    """
    spread = width**2 + 2 * (blur.view(-1, 1, 1) * frame.pixel) ** 2
    return torch.exp(-distance.square() / spread)


def corners_of(frame: Frame, reach: tuple[float, float]) -> torch.Tensor:
    """Return the corners of what is within `reach` in N frames, in pixels: [N, 4, 2]."""
    unit = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=frame.center.device)
    return frame.center.unsqueeze(1) + (unit * unit.new_tensor(reach)) @ frame.axes


def surroundings(
    frame: Frame, reach: tuple[float, float], region: PixelRect
) -> tuple[slice, slice, torch.Tensor, torch.Tensor]:
    """Return the region's pixels within `reach` in N eyes' or mouths' frames.

    Returns:
        rows and columns of the region, and the pixels' places in those frames: x and y [N, h, w].
    """
    rows, columns = region.box(corners_of(frame, reach))
    return rows, columns, *places_in(frame, [region.part(rows, columns)])


def places_in(frame: Frame, rects: Sequence[PixelRect]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and y [M N, h, w] of pixels of M rectangles of one size in M N frames, N for each rectangle."""
    x, y = frame.inverse.over(rects).unbind(1)
    return x, y


@dataclass(frozen=True)
class Patch:
    """The surroundings of M eyes or mouths in N source frames.

    Attributes:
        pixels: float32 [M N, 3, h, w] in 0..255.
        rects: their M rows and columns, of one size.
    """

    pixels: torch.Tensor
    rects: Sequence[PixelRect]

    @classmethod
    def around(cls, frames: torch.Tensor, points: torch.Tensor, margin_px: float) -> Patch:
        """Cut out what is around eyes' or mouths' landmarks [M, N, K, 2], and a margin; empty outside the frames.

        Args:
            frames: uint8 [N, H, W, 3].
        """
        whole = PixelRect(0, 0, *frames.shape[1:3])
        rects = whole.boxes(points, math.ceil(PATCH_MARGINS * margin_px))
        return cls(torch.cat([to_float(rect.of(frames)) for rect in rects]), rects)

    @property
    def empty(self) -> bool:
        """Whether one is outside the frame."""
        return self.rects[0].empty

    @cached_property
    def sampling(self) -> Affine:
        """The maps from the picture's pixels to places in its own, as `sampled` takes them."""
        return to_sampling(self.rects, len(self.pixels) // len(self.rects), self.pixels.device)

    def at(self, frame: Affine, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the colours at places x and y [M N, h, w] of frames, float32 [M N, 3, h, w]; outside, the border's."""
        return sampled(self.pixels, frame.then(self.sampling).of(x, y))


def sampled(pixels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return pixels [N, C, H, W] at grid_sample's places [N, 2, h, w], float32 [N, C, h, w]; outside, the border's."""
    return F.grid_sample(pixels, places.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Opening:
    """M eyes or mouths of N moved faces at the picture's own pixels: N rows of the first one, N of the second.

    Attributes:
        frame: M N of the eyes or mouths.
        curves: float32 [2, M N, CURVE_SAMPLES], their upper and lower margins there.
        rects: the M rectangles around them, of one size.
        x, y: float32 [M N, h, w], places of these pixels in the frame.
        upper, lower: float32 [M N, h, w], heights of the margins of lids or lips there; upper <= lower.
        lengths: float32 [2, M N, h, w], length of the upper and the lower margin per unit of x, >= 1: pixels above or
            below a margin are nearer to it by this factor.
        near: float32 [M N, h, w], 1 for a pixel that is inside or near a margin, 0 for others.
        edge: float32 [M N, 1, 1], width over which a margin turns into what is between.
    """

    frame: Frame
    curves: torch.Tensor
    rects: Sequence[PixelRect]
    x: torch.Tensor
    y: torch.Tensor
    upper: torch.Tensor
    lower: torch.Tensor
    lengths: torch.Tensor
    near: torch.Tensor
    edge: torch.Tensor

    @classmethod
    def between(
        cls,
        points: torch.Tensor,
        curves: torch.Tensor,
        frame: Frame,
        region: PixelRect,
        margin_px: float,
        blur: torch.Tensor,
    ) -> Opening:
        """Take the opening between margins.

        Args:
            points: landmarks along them [M, N, K, 2], in pixels of the frame.
            curves: along them in the eyes' or mouths' frames, float32 [2, M N, CURVE_SAMPLES].
            margin_px: pixels around these landmarks that belong to it.
            blur: float32 [N], of the source, as `blur_of` has it.
        """
        rects = region.boxes(points, math.ceil(margin_px))
        x, y = places_in(frame, rects)
        (top, bottom), lengths = _heights_and_lengths(curves, x)
        seam = (top + bottom) / 2
        upper, lower = torch.minimum(top, seam), torch.maximum(bottom, seam)
        margin = margin_px * frame.pixel
        near = (y > upper - margin) & (y < lower + margin) & (x.abs() < 0.5 + margin)
        edge = EDGE_BLURS * blur.repeat(len(points)).view(-1, 1, 1) * frame.pixel
        return cls(frame, curves, rects, x, y, upper, lower, lengths, near.float(), edge)

    @property
    def empty(self) -> bool:
        """Whether one is outside the frame."""
        return self.rects[0].empty

    def put(self, pictures: torch.Tensor, drawn: torch.Tensor, region: PixelRect) -> None:
        """Put what was drawn, [M N, 3, h, w], into the region's pictures [N, 3, H, W], which are modified."""
        count = len(pictures)
        for rect, near, new in zip(self.rects, self.near.split(count), drawn.split(count), strict=True):
            rows, columns = rect.within(region)
            part = pictures[:, :, rows, columns]
            # By numbers 0 and 1 several times as quick as by truth values.
            part.copy_(torch.lerp(part, new, near.unsqueeze(1)))

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
        gap = (self.lower - self.upper) / self.edge
        return torch.minimum((1 - self.above - self.below).clamp_min(0), gap)

    @cached_property
    def _shares(self) -> tuple[torch.Tensor, torch.Tensor]:
        above = (0.5 + (self.upper - self.y) / (self.edge * self.lengths[0])).clamp(0, 1)
        below = (0.5 + (self.y - self.lower) / (self.edge * self.lengths[1])).clamp(0, 1)
        # Where both margins run through a pixel, the nearer one comes first.
        excess = (above + below - 1).clamp_min(0)
        return above - excess * (1 - self.upper_side), below - excess * self.upper_side

    @cached_property
    def upper_side(self) -> torch.Tensor:
        """1 for pixels that are nearer to the upper margin, 0 for others, float32 [N, h, w]."""
        return (self.y < (self.upper + self.lower) / 2).float()
