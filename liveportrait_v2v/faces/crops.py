"""Regions of interest around faces, and the square crops that the landmark net sees."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .detect import Detection

MARGIN = 1.5  # side of the region over the longer side of the face's box, as the net was trained


class Region(NamedTuple):
    """A rotated square: centre x, y and side in frame pixels, angle in radians (clockwise on the screen)."""

    x: float
    y: float
    side: float
    angle: float


def region_of_detection(found: Detection) -> Region:
    """Square around a detector's box, turned so that the eyes lie level."""
    x0, y0, x1, y1 = found.box
    (rx, ry), (lx, ly) = found.right_eye, found.left_eye
    angle = math.atan2(ly - ry, lx - rx)
    return Region((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0) * MARGIN, angle)


def regions_of_landmarks(landmarks: Tensor) -> list[Region]:
    """Squares around faces, level with the outer eye corners: landmarks [B, 478, 3] -> B regions."""
    points = landmarks[..., :2]
    eyes = points[:, 263] - points[:, 33]
    unit = eyes / eyes.norm(dim=1, keepdim=True).clamp(min=1e-6)
    cos, sin = unit[:, :1], unit[:, 1:]
    x, y = points[..., 0], points[..., 1]
    turned = torch.stack((x * cos + y * sin, y * cos - x * sin), -1)
    low, high = turned.aminmax(dim=1)
    middle = (low + high) / 2
    u, v = middle[:, :1], middle[:, 1:]
    centre = torch.cat((u * cos - v * sin, u * sin + v * cos), 1)
    side = (high - low).amax(1, keepdim=True) * MARGIN
    angle = torch.atan2(sin, cos)
    return [Region(*row) for row in torch.cat((centre, side, angle), 1).tolist()]


@lru_cache(maxsize=16)
def _plan(
    region: Region, height: int, width: int, size: int, device: str
) -> tuple[slice, slice, tuple[int, int], Tensor]:
    """Rows and columns of the frame that a region touches, how many to make one, and the sampling grid."""
    cos, sin = math.cos(region.angle) * region.side / 2, math.sin(region.angle) * region.side / 2
    shrink = max(int(region.side / size), 1)  # made smaller first, else a large face would alias
    reach = abs(cos) + abs(sin) + 2 * shrink

    def axis(centre: float, length: int) -> tuple[int, int, int]:
        low = min(max(math.floor(centre - reach), 0), length - 1)
        high = max(min(math.ceil(centre + reach), length), low + 1)
        step = min(shrink, high - low)
        return low, (high - low) // step * step, step

    x0, columns, step_x = axis(region.x, width)
    y0, rows, step_y = axis(region.y, height)
    # The grid runs over -1..1 of that window; an affine map of -1..1 of the crop.
    ticks = (torch.arange(size) * 2 + 1) / size - 1
    across, down = torch.tensor([[cos / columns, sin / rows], [-sin / columns, cos / rows]]) * 2
    middle = torch.tensor([2 * (region.x - x0) / columns - 1, 2 * (region.y - y0) / rows - 1])
    grid = torch.addcmul(down * ticks.view(-1, 1, 1) + middle, across, ticks.view(1, -1, 1))
    # Repeat the edges by hand: not every device can.
    edge = torch.tensor([1 - step_x / columns, 1 - step_y / rows])
    grid = torch.minimum(torch.maximum(grid, -edge), edge)[None].to(device)
    return slice(y0, y0 + rows), slice(x0, x0 + columns), (step_y, step_x), grid


def cut(frames: Tensor, region: Region, size: int) -> Tensor:
    """The region of every frame as float32 [N, size, size, 3] in 0..1, sampled bilinearly, or bicubically where it is
    enlarged more than twice; edges repeated.

    frames: uint8 [N, H, W, 3].
    """
    count, height, width, _ = frames.shape
    rows, columns, steps, grid = _plan(region, height, width, size, str(frames.device))
    window = frames[:, rows, columns].permute(0, 3, 1, 2)
    if max(steps) > 1 and window.device.type == "cpu":
        # On bytes, which only the CPU can resize, this is ten times as fast as an average of floats.
        smaller = window.shape[2] // steps[0], window.shape[3] // steps[1]
        window = F.interpolate(window, smaller, mode="bilinear", antialias=True).float()
    elif max(steps) > 1:
        window = F.avg_pool2d(window.float(), steps)
    else:
        window = window.float()
    grid = grid.expand(count, -1, -1, -1)
    if 2 * region.side < size and window.device.type != "mps":  # which has no bicubic sampling
        # Of faces shrunk to 43 pixels, the eyes' opening correlates by 0.97 with the truth, by 0.95 bilinearly.
        crops = F.grid_sample(window, grid, mode="bicubic", padding_mode="border", align_corners=False)
        crops = crops.clamp_(0, 255)
    else:
        crops = F.grid_sample(window, grid, mode="bilinear", align_corners=False)
    return crops.div_(255).permute(0, 2, 3, 1)


def to_frame(points: Tensor, regions: list[Region], size: int) -> Tensor:
    """Landmarks [B, 478, 3] in pixels of the crops of B regions -> in pixels of the frame, z scaled alike."""
    x, y, side, angle = torch.tensor(regions).T[:, :, None]
    points = (points - points.new_tensor([size / 2, size / 2, 0])) * (side / size)[..., None]
    cos, sin = angle.cos(), angle.sin()
    u, v, depth = points.unbind(-1)
    return torch.stack((x + u * cos - v * sin, y + u * sin + v * cos, depth), -1)
