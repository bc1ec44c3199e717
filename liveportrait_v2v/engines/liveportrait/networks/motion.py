"""M, the motion extractor: canonical keypoints, head pose and expression of a face. A ConvNeXt V2 Tiny.

Woo et al., "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders", 2023.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINTS = 21
POSE_BINS = 66  # of 3 degrees each, around 0


class MotionOutput(NamedTuple):
    """Output of M for N faces, all float32.

    Attributes:
        pitch, yaw, roll: the head's pose in degrees, [N] each.
        t: translation [N, 3] in half crop sides.
        exp: expression deltas of the keypoints [N, 21, 3].
        scale: [N, 1].
        kp: canonical keypoints [N, 21, 3]: x right, y down, z inward.
    """

    pitch: Tensor
    yaw: Tensor
    roll: Tensor
    t: Tensor
    exp: Tensor
    scale: Tensor
    kp: Tensor


class ResponseNorm(nn.Module):
    """Global response normalization over [N, H, W, C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.empty(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        norm = x.square().sum((1, 2), keepdim=True).sqrt()  # on CPUs ten times as fast as torch's vector norm
        relative = norm / (norm.mean(-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.beta, x, self.gamma * relative + 1)


class ConvLast(nn.Conv2d):
    """Convolution over [N, H, W, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """ConvNeXt V2 block over [N, H, W, C]: depthwise 7x7, layer norm, widen, GELU, response norm, narrow, add."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = ConvLast(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.pwconv1(self.norm(self.dwconv(x))))
        return x + self.pwconv2(self.grn(y))


class ConvNeXtV2(nn.Module):
    """The backbone with its seven heads: crops [N, 3, 256, 256] -> output [N, ...] of each head, by name."""

    heads: ClassVar = {
        "fc_kp": 3 * KEYPOINTS,
        "fc_scale": 1,
        "fc_pitch": POSE_BINS,
        "fc_yaw": POSE_BINS,
        "fc_roll": POSE_BINS,
        "fc_t": 3,
        "fc_exp": 3 * KEYPOINTS,
    }

    def __init__(self, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768)):
        super().__init__()
        norms = [nn.LayerNorm(width, eps=1e-6) for width in (widths[0], *widths[:-1])]
        stem = nn.Sequential(ConvLast(3, widths[0], 4, 4), norms[0])
        down = [
            nn.Sequential(norm, ConvLast(narrow, wide, 2, 2))
            for norm, narrow, wide in zip(norms[1:], widths, widths[1:], strict=False)
        ]
        self.downsample_layers = nn.ModuleList([stem, *down])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        for name, size in self.heads.items():
            self.add_module(name, nn.Linear(widths[-1], size))

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        x = crops.permute(0, 2, 3, 1)
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        x = self.norm(x.mean((1, 2)))
        return {name: getattr(self, name)(x) for name in self.heads}


class MotionExtractor(nn.Module):
    """M of the paper, always in float32: forward(crops [N, 3, 256, 256], RGB 0..1) -> MotionOutput."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = ConvNeXtV2()

    def forward(self, crops: Tensor) -> MotionOutput:
        heads = self.detector(crops.float())
        return MotionOutput(
            pitch=degrees(heads["fc_pitch"]),
            yaw=degrees(heads["fc_yaw"]),
            roll=degrees(heads["fc_roll"]),
            t=heads["fc_t"],
            exp=heads["fc_exp"].view(-1, KEYPOINTS, 3),
            scale=heads["fc_scale"],
            kp=heads["fc_kp"].view(-1, KEYPOINTS, 3),
        )


def degrees(logits: Tensor) -> Tensor:
    """Return the mean angle in degrees [N] of logits [N, 66] over bins of 3 degrees from -97.5 to 97.5."""
    bins = torch.arange(POSE_BINS, dtype=logits.dtype, device=logits.device)
    return 3 * (logits.softmax(1) * bins).sum(1) - 97.5
