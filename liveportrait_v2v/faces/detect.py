"""Face detection in whole frames: the two BlazeFace detectors, their decoding and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Box, iou
from .nets import load_net


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
    images = frames.permute(0, 3, 1, 2)
    # The antialiased resize is fastest on bytes, which only the CPU supports, and some devices lack it altogether.
    images = images.float() if frames.is_cuda else images.cpu()
    images = F.interpolate(images, inner, mode="bilinear", antialias=True).to(frames.device)
    images = images.permute(0, 2, 3, 1).float() / 127.5 - 1
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    pad = 0, 0, left, size - inner[1] - left, top, size - inner[0] - top
    return F.pad(images, pad, value=-1.0), scale, left, top


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
    net = load_net(net_name, device)
    images, scale, left, top = letterbox(frames, net.size)
    boxes, logits = net(images)
    boxes = boxes.unflatten(-1, (8, 2))
    offset = torch.tensor([left, top], dtype=torch.float32, device=frames.device)
    anchors = net.anchors * net.size - offset
    middle, half = boxes[:, :, 0] + anchors, boxes[:, :, 1].clamp(min=0) / 2
    eyes = boxes[:, :, 2:4] + anchors[:, None]
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
