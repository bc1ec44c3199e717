"""Face detection in whole frames: the two BlazeFace detectors, their decoding and non-maximum suppression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Box, centre, iou
from .nets import load_net

TILE = 640
"""Side of the smallest tiles in pixels: a face is found from 5.5 % of the longer side on, 35 pixels in a tile."""
STRIDE = 0.75
"""Distance between tiles in sides of a tile: faces up to a quarter of it are whole in one of them."""


@dataclass(frozen=True)
class Detection:
    """One face in frame pixels: its box, the person's right and left eye, and the detector's score 0..1."""

    box: Box
    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    score: float


def letterbox(frames: Tensor, size: int) -> tuple[Tensor, float, float, float]:
    """Scale frames into a black square, centred, with their aspect ratio kept.

    Args:
        frames: uint8 [N, H, W, 3].
        size: side of the square in pixels.

    Returns:
        float32 [N, size, size, 3] in -1..1, scale, left, top: point p of the square is point
        (p - (left, top)) / scale of the frame.
    """
    height, width = frames.shape[1:3]
    scale = size / max(height, width)
    inner = max(round(height * scale), 1), max(round(width * scale), 1)
    images = _resized(frames, *inner)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    pad = 0, 0, left, size - inner[1] - left, top, size - inner[0] - top
    return F.pad(images, pad, value=-1.0), scale, left, top


def _resized(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames uint8 [N, H, W, 3] to float32 [N, height, width, 3] in -1..1."""
    images = frames.permute(0, 3, 1, 2)
    # The antialiased resize is fastest on bytes, which only the CPU supports, and some devices lack it altogether.
    images = images.float() if frames.is_cuda else images.cpu()
    images = F.interpolate(images, (height, width), mode="bilinear", antialias=True).to(frames.device)
    return images.permute(0, 2, 3, 1).float() / 127.5 - 1


def _suppress(rows: list[list[float]], overlap: float = 0.3) -> list[list[float]]:
    """Apply BlazeFace's weighted non-maximum suppression: overlapping boxes are averaged by score.

    Each row is (x0, y0, x1, y1, right eye x, y, left eye x, y, score).
    """
    rows = sorted(rows, key=lambda row: -row[-1])
    kept = []
    while rows:
        same = [row for row in rows if iou(rows[0], row) > overlap]
        rows = [row for row in rows[1:] if row not in same]
        total = sum(row[-1] for row in same)
        kept.append([sum(row[i] * row[-1] for row in same) / total for i in range(8)] + [same[0][-1]])
    return kept


def detect(frames: Tensor, net_name: str, device: str) -> list[list[Detection]]:
    """Return the faces of each frame, best score first.

    Args:
        frames: uint8 [N, H, W, 3] on `device`.
        net_name: one of the two detectors in nets.NETS.
        device: torch device string.
    """
    size = load_net(net_name, device).size
    images, scale, left, top = letterbox(frames, size)
    return _found(images, net_name, device, scale, [(left, top)] * len(frames))


def detect_turned(frame: Tensor, net_name: str, device: str, quarters: int) -> list[Detection]:
    """Return the faces that a detector finds in a picture turned to the left by 90 degrees this many times.

    Args:
        frame: uint8 [1, H, W, 3] on `device`.
        quarters: 1, 2 or 3.

    Returns:
        places in the frame as it is: boxes upright, eyes as the face has them.
    """
    height, width = frame.shape[1:3]

    def back(x: float, y: float) -> tuple[float, float]:
        return ((width - y, x), (width - x, height - y), (y, height - x))[quarters - 1]

    def placed(face: Detection) -> Detection:
        (x0, y0), (x1, y1) = back(*face.box[:2]), back(*face.box[2:])
        box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
        return Detection(box, back(*face.right_eye), back(*face.left_eye), face.score)

    turned = torch.rot90(frame, quarters, (1, 2))
    return [placed(face) for face in detect(turned, net_name, device)[0]]


def upright_scores(crops: Tensor, net_name: str, device: str) -> list[float]:
    """Return the detector's score of a face in the middle of each picture, its eyes level to 40 degrees; 0 if none.

    Args:
        crops: float32 [N, size, size, 3] in 0..1, of the network's size.
    """
    size = crops.shape[1]
    found = _found(crops * 2 - 1, net_name, device, 1.0, [(0.0, 0.0)] * len(crops))
    return [max((face.score for face in faces if _is_upright(face, size)), default=0.0) for faces in found]


def _is_upright(face: Detection, size: int) -> bool:
    (rx, ry), (lx, ly) = face.right_eye, face.left_eye
    level = abs(math.atan2(ly - ry, lx - rx)) < math.radians(40)
    return level and all(abs(place - size / 2) < size / 4 for place in centre(face.box))


def needs_tiles(height: int, width: int) -> bool:
    """Return whether a picture of this size may show faces of 40 pixels that `detect` does not find."""
    return max(height, width) * 0.055 > 40


def tile_count(height: int, width: int) -> int:
    """Return how many tiles `detect_in_tiles` looks at."""
    return sum(len(places) for _, places in _levels(height, width, 192))


def detect_in_tiles(frame: Tensor, device: str) -> list[Detection]:
    """Return the faces of one large frame, also those that are too small to be found in the whole picture.

    The full-range detector looks at overlapping tiles of `TILE` pixels, of twice as many, and so on.

    Args:
        frame: uint8 [1, H, W, 3] on `device`.
        device: torch device string.
    """
    name = "face_detector_full_range"
    size = load_net(name, device).size
    height, width = frame.shape[1:3]
    kept: list[Detection] = []
    for scale, places in _levels(height, width, size):
        inner = max(round(height * scale), 1), max(round(width * scale), 1)
        picture = _resized(frame, *inner)
        picture = F.pad(picture, (0, 0, 0, max(size - inner[1], 0), 0, max(size - inner[0], 0)), value=-1.0)
        tiles = torch.cat([picture[:, y : y + size, x : x + size] for x, y in places])
        found = _found(tiles, name, device, scale, [(-x, -y) for x, y in places])
        for (x, y), faces in zip(places, found, strict=True):
            bounds = x / scale, y / scale, (x + size) / scale, (y + size) / scale
            kept += [face for face in faces if not _is_cut(face.box, bounds, width, height)]
    kept.sort(key=lambda face: -face.score)
    distinct: list[Detection] = []
    for face in kept:
        if all(iou(face.box, other.box) < 0.3 for other in distinct):
            distinct.append(face)
    return distinct


def detect_near(frame: Tensor, device: str, x: float, y: float) -> list[Detection]:
    """Return the faces in the smallest tile around a point of one frame, uint8 [1, H, W, 3] on `device`."""
    name = "face_detector_full_range"
    size = load_net(name, device).size
    height, width = frame.shape[1:3]
    left, top = (
        min(max(int(place) - TILE // 2, 0), max(length - TILE, 0))
        for place, length in ((x, width), (y, height))
    )
    images, scale, dx, dy = letterbox(frame[:, top : top + TILE, left : left + TILE], size)
    bounds = left, top, left + TILE, top + TILE
    (faces,) = _found(images, name, device, scale, [(dx - left * scale, dy - top * scale)])
    return [face for face in faces if not _is_cut(face.box, bounds, width, height)]


def _levels(height: int, width: int, size: int) -> list[tuple[float, list[tuple[int, int]]]]:
    """Return the scales of a picture, and the left upper corners of the tiles in it, in pixels of the scaled one."""
    levels = []
    tile = TILE
    while tile < max(height, width):
        scale = size / tile
        corners = (_corners(round(length * scale), size) for length in (width, height))
        columns, rows = corners
        levels.append((scale, [(x, y) for y in rows for x in columns]))
        tile *= 2
    return levels


def _corners(length: int, size: int) -> list[int]:
    """Return where tiles of this size begin along an axis, evenly spaced."""
    count = math.ceil(max(length - size, 0) / (size * STRIDE)) + 1
    return [round(k * max(length - size, 0) / max(count - 1, 1)) for k in range(count)]


def _is_cut(box: Box, tile: Box, width: int, height: int) -> bool:
    """Return whether a box touches an edge of its tile that is not the picture's."""
    near = 0.01 * (tile[2] - tile[0])
    return (
        (box[0] < tile[0] + near and tile[0] > near)
        or (box[1] < tile[1] + near and tile[1] > near)
        or (box[2] > tile[2] - near and tile[2] < width - near)
        or (box[3] > tile[3] - near and tile[3] < height - near)
    )


def _found(
    images: Tensor, net_name: str, device: str, scale: float, origins: list[tuple[float, float]]
) -> list[list[Detection]]:
    """Run a detector on pictures.

    Args:
        images: float32 [N, size, size, 3] in -1..1.
        scale: of the pictures; origins: where the frame's corner lies in each, in pixels of the picture.
    """
    net = load_net(net_name, device)
    boxes, logits = net(images)
    boxes = boxes.unflatten(-1, (8, 2))
    offsets = torch.tensor(origins, dtype=torch.float32, device=images.device)
    anchors = net.anchors * net.size - offsets[:, None]
    middle, half = boxes[:, :, 0] + anchors, boxes[:, :, 1].clamp(min=0) / 2
    eyes = boxes[:, :, 2:4] + anchors[:, :, None]
    points = torch.cat((middle - half, middle + half, eyes.flatten(2)), -1) / scale
    scores = logits.clamp(-100, 100).sigmoid()
    rows = torch.cat((points, scores[..., None]), -1)
    chosen = scores > net.threshold
    counts = chosen.sum(1).tolist()
    found = rows[chosen].tolist()
    result = []
    for count in counts:
        kept, found = _suppress(found[:count]), found[count:]
        result.append([Detection((r[0], r[1], r[2], r[3]), (r[4], r[5]), (r[6], r[7]), r[8]) for r in kept])
    return result
