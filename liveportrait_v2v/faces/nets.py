"""The three MediaPipe networks as plain torch modules: two BlazeFace detectors and FaceMesh V2.

Architectures: BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047) for the detectors; the 478-point net is the
successor of the face mesh net of Kartynnik et al. 2019 (arXiv:1907.06724). The layer tables follow the published
model files; parameters are declared in the order in which those files run them, which is what
scripts/convert_face_models.py relies on.

Weights lie next to this module as float16 safetensors, made by scripts/convert_face_models.py.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent / "weights"


def _same_pad(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding: an odd total goes to the right and the bottom."""
    total = kernel - stride if stride > 1 else kernel - 1
    before = total // 2
    return F.pad(x, (before, total - before, before, total - before))


class Conv(nn.Conv2d):
    """Convolution with SAME padding as TensorFlow does it, also for stride 2 on even sizes."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = True):
        self.same = kernel if stride > 1 and (kernel - stride) % 2 else 0
        padding = 0 if self.same else (kernel - 1) // 2 if stride == 1 else (kernel - stride) // 2
        super().__init__(cin, cout, kernel, stride, padding, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_same_pad(x, self.same, self.stride[0]) if self.same else x)


def _widen(x: Tensor, channels: int) -> Tensor:
    """Zero channels at the end, so that the shortcut has as many as the block's output."""
    return x if x.shape[1] == channels else F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


class Bottleneck(nn.Module):
    """FaceMesh V2 block: narrow, depthwise 3x3, widen, add, PReLU. Going down, the narrowing conv is 2x2 / 2."""

    def __init__(self, cin: int, cout: int, down: bool = False):
        super().__init__()
        mid = cout // 2
        self.down = down
        self.narrow = Conv(cin, mid, 2 if down else 1, 2 if down else 1)
        self.narrow_act = nn.PReLU(mid)
        self.depthwise = Conv(mid, mid, 3, groups=mid, bias=False)
        self.widen = Conv(mid, cout)
        self.act = nn.PReLU(cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(self.depthwise(self.narrow_act(self.narrow(x))))
        shortcut = F.max_pool2d(x, 2) if self.down else x
        return self.act(_widen(shortcut, y.shape[1]) + y)


class FaceMesh(nn.Module):
    """478 landmarks of one face in a square crop.

    forward(x float32 [N, 3, 256, 256], RGB 0..1) -> landmarks [N, 478, 3] in pixels of the crop (z in the same unit,
    negative towards the camera), presence [N] as a logit.
    """

    size = 256

    def __init__(self):
        super().__init__()
        self.stem = Conv(3, 16, 3, 2)
        self.stem_act = nn.PReLU(16)
        blocks = [Bottleneck(16, 16) for _ in range(4)]
        width = 16
        for wider in (32, 64, 128, 128, 128, 128):
            blocks.append(Bottleneck(width, wider, down=True))
            blocks += [Bottleneck(wider, wider) for _ in range(4)]
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.tongue = nn.Conv2d(128, 1, 2)
        self.presence = nn.Conv2d(128, 1, 2)
        self.landmarks = nn.Conv2d(128, 478 * 3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(self.stem_act(self.stem(x)))
        return self.landmarks(x).view(-1, 478, 3), self.presence(x).view(-1)


class BlazeBlock(nn.Module):
    """Single BlazeFace block: depthwise 3x3, pointwise, add, ReLU; going down, the shortcut is max-pooled."""

    def __init__(self, cin: int, cout: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.depthwise = Conv(cin, cin, 3, stride, groups=cin)
        self.pointwise = Conv(cin, cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x))
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        return F.relu(_widen(shortcut, y.shape[1]) + y)


class DoubleBlazeBlock(nn.Module):
    """Double BlazeFace block: depthwise and narrowing, ReLU, depthwise and widening, add, ReLU."""

    def __init__(self, cin: int, mid: int, cout: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.depthwise1 = Conv(cin, cin, 3, stride, groups=cin)
        self.narrow = Conv(cin, mid)
        self.depthwise2 = Conv(mid, mid, 3, groups=mid)
        self.widen = Conv(mid, cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(self.depthwise2(F.relu(self.narrow(self.depthwise1(x)))))
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        return F.relu(_widen(shortcut, y.shape[1]) + y)


def _anchor_rows(x: Tensor, values: int) -> Tensor:
    """Head output [N, anchors * values, H, W] as rows [N, H * W * anchors, values], row by row of the grid."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def _grid(cells: int, per_cell: int) -> Tensor:
    """Centres of the cells of a square grid in 0..1, x fastest, each `per_cell` times: [cells**2 * per_cell, 2]."""
    centre = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 1, 2).expand(-1, per_cell, 2).reshape(-1, 2)


class ShortRangeDetector(nn.Module):
    """BlazeFace short range, for faces within about two metres of a phone.

    forward(x float32 [N, 3, 128, 128], RGB -1..1) -> boxes [N, 896, 16] (centre x, y, width, height, then x, y of
    right eye, left eye, nose, mouth, right ear, left ear; in pixels of the input, relative to `anchors`),
    score logits [N, 896].
    """

    size = 128
    threshold = 0.5

    def __init__(self):
        super().__init__()
        self.stem = Conv(3, 24, 5, 2)
        table = (24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2), (48, 56, 1)
        table += (56, 64, 1), (64, 72, 1), (72, 80, 1), (80, 88, 1)
        self.fine = nn.Sequential(*(BlazeBlock(*row) for row in table))
        self.coarse = nn.Sequential(BlazeBlock(88, 96, 2), *(BlazeBlock(96, 96) for _ in range(4)))
        self.score_fine, self.score_coarse = Conv(88, 2), Conv(96, 6)
        self.box_fine, self.box_coarse = Conv(88, 2 * 16), Conv(96, 6 * 16)
        self.register_buffer("anchors", torch.cat((_grid(16, 2), _grid(8, 6))), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(F.relu(self.stem(x)))
        coarse = self.coarse(fine)
        boxes = torch.cat((_anchor_rows(self.box_fine(fine), 16), _anchor_rows(self.box_coarse(coarse), 16)), 1)
        scores = torch.cat((_anchor_rows(self.score_fine(fine), 1), _anchor_rows(self.score_coarse(coarse), 1)), 1)
        return boxes, scores[..., 0]


class FullRangeDetector(nn.Module):
    """BlazeFace full range (dense): a feature pyramid that also finds small and distant faces.

    forward(x float32 [N, 3, 192, 192], RGB -1..1) -> boxes [N, 2304, 16], score logits [N, 2304], laid out as in
    ShortRangeDetector.
    """

    size = 192
    threshold = 0.6

    def __init__(self):
        super().__init__()
        block = DoubleBlazeBlock
        self.stem = Conv(3, 32, 3, 2)
        self.stage48 = nn.Sequential(
            block(32, 8, 32), block(32, 8, 32), block(32, 12, 48, 2), block(48, 12, 48), block(48, 16, 64)
        )
        self.stage24 = nn.Sequential(
            block(64, 24, 96, 2), block(96, 32, 128), block(128, 32, 128)
        )
        self.stage12 = nn.Sequential(block(128, 36, 144, 2), block(144, 48, 192), block(192, 64, 256))
        self.stage6 = nn.Sequential(block(256, 96, 384, 2), *(block(384, 96, 384) for _ in range(3)))
        self.up6, self.side12 = Conv(384, 96), Conv(256, 96)
        self.merge12 = nn.Sequential(block(96, 48, 96), block(96, 48, 96))
        self.up12, self.side24 = Conv(96, 64), Conv(128, 64)
        self.merge24 = nn.Sequential(block(64, 32, 64), block(64, 32, 64))
        self.up24, self.side48 = Conv(64, 48), Conv(64, 48)
        self.merge48 = block(48, 24, 48)
        self.score, self.box = Conv(48, 1), Conv(48, 16)
        self.register_buffer("anchors", _grid(48, 1), persistent=False)

    @staticmethod
    def _join(coarse: Tensor, fine: Tensor) -> Tensor:
        return F.relu(fine) + F.interpolate(F.relu(coarse), scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x48 = self.stage48(F.relu(self.stem(x)))
        x24 = self.stage24(x48)
        x12 = self.stage12(x24)
        x6 = self.stage6(x12)
        y = self.merge12(self._join(self.up6(x6), self.side12(x12)))
        y = self.merge24(self._join(self.up12(y), self.side24(x24)))
        y = self.merge48(self._join(self.up24(y), self.side48(x48)))
        return _anchor_rows(self.box(y), 16), _anchor_rows(self.score(y), 1)[..., 0]


NETS: dict[str, type[nn.Module]] = {
    "face_landmarks": FaceMesh,
    "face_detector_full_range": FullRangeDetector,
    "face_detector_short_range": ShortRangeDetector,
}


@lru_cache(maxsize=8)
def load_net(name: str, device: str = "cpu") -> nn.Module:
    """One of NETS with its weights, ready for inference: float32, no gradients, cached per device.

    `device` is a torch device string. The module is shared by all who ask for it, so do not change it.
    """
    net = NETS[name]()
    net.load_state_dict({key: value.float() for key, value in load_file(WEIGHTS / f"{name}.safetensors").items()})
    return net.eval().requires_grad_(False).to(device)
