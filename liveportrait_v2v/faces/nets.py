"""The three MediaPipe networks as plain torch modules: two BlazeFace detectors and FaceMesh V2.

Architectures: BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047) for the detectors; the 478-point net
succeeds the face mesh net of Kartynnik et al. 2019 (arXiv:1907.06724). The layer tables follow the published
model files; parameters are declared in the order in which those files run them, on which
scripts/convert_face_models.py relies.

Inside, everything is channels last, [N, H, W, C]: the nets are so narrow that on a CPU most of their time
goes into moving memory, and this layout turns the pointwise convolutions into plain matrix products that can
add to the shortcut in place.

On a CUDA device nothing goes through cuDNN. It chooses an algorithm for each layer and batch size, again in each
thread, and for layers like these that took half a minute of every run on an H100. The launches of a network are one
CUDA graph.

Weights are stored next to this module as float16 safetensors, made by scripts/convert_face_models.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..cuda_graphs import Graphed

WEIGHTS = Path(__file__).parent / "weights"
BATCHES = (1, 4, 8, 16)
"""Sizes of batches that are captured: a graph takes about as long for four pictures as for one."""


class Net(nn.Module):
    """A network that reads square pictures of `size` pixels a side."""

    size: int
    threshold: float
    anchors: Tensor


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, groups: int, products: bool
) -> Tensor:
    """Return the convolution of x [N, H, W, C], as [N, h, w, c].

    Args:
        products: without cuDNN: of groups by torch's own kernel, which takes channels first, of others as a product.
    """
    if products and groups == 1:
        kernel = weight.shape[-1]
        x = F.pad(x, (0, 0, padding, padding, padding, padding)) if padding else x
        patches = x.unfold(1, kernel, stride).unfold(2, kernel, stride)
        return F.linear(patches.flatten(3), weight.flatten(1), bias)
    x = x.permute(0, 3, 1, 2)
    if products:
        x, weight = x.contiguous(), weight.contiguous()
    return F.conv2d(x, weight, bias, stride, padding, 1, groups).permute(0, 2, 3, 1)


class Conv(nn.Conv2d):
    """Convolution over [N, H, W, C] with TensorFlow's SAME padding: odd padding is added right and below."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True):
        total = kernel - stride
        self.uneven, self.before = total % 2, total // 2
        super().__init__(cin, cout, kernel, stride, total // 2, groups=groups, bias=bias)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        before = self.before
        if self.uneven:
            x = F.pad(x, (0, 0, before, before + 1, before, before + 1))
            before = 0
        return convolve(x, self.weight, self.bias, self.stride[0], before, self.groups, x.is_cuda)


def halve(x: Tensor) -> Tensor:
    """Max-pool [N, H, W, C] by 2 x 2; on a CPU three times as fast as max_pool2d on large maps."""
    x = torch.maximum(x[:, ::2], x[:, 1::2])
    return torch.maximum(x[:, :, ::2], x[:, :, 1::2])


def add_to(shortcut: Tensor, bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """Return shortcut + x weight + bias, [..., C]; writes into shortcut, unless that needs more channels first.

    Args:
        weight: of a linear layer, transposed.
    """
    channels = weight.shape[1]
    if shortcut.shape[-1] < channels:
        shortcut = F.pad(shortcut, (0, channels - shortcut.shape[-1]))
    flat = shortcut.reshape(-1, channels).add_(bias)
    flat.addmm_(x.reshape(-1, x.shape[-1]), weight)
    return flat.view(shortcut.shape)


class Bottleneck(nn.Module):
    """Weights of a FaceMesh V2 block: narrow, depthwise 3x3, widen, add, PReLU. Going down, a 2x2 convolution narrows.

    Args:
        size: side of the block's maps in pixels.
    """

    def __init__(self, cin: int, cout: int, size: int, down: bool = False):
        super().__init__()
        mid = cout // 2
        self.size, self.down = size, down
        self.narrow = Conv(cin, mid, 2, 2) if down else nn.Linear(cin, mid)
        self.narrow_act = nn.PReLU(mid)
        self.depthwise = Conv(mid, mid, 3, groups=mid, bias=False)
        self.widen = nn.Linear(mid, cout)
        self.act = nn.PReLU(cout)


class PreparedBottleneck:
    """A FaceMesh V2 block on maps as rows of pixels, [N * H * W, C], which are modified.

    Its weights have the forms that run fast on small maps and on few channels. It is no module: the calls of modules
    and the look-up of their parameters took a quarter of the network's time for one picture. While another thread
    renders, each torch call costs a GIL hand-over, even if it computes nothing, so calls are few.
    """

    def __init__(self, block: Bottleneck):
        self._size, self._down, self._cuda = block.size, block.down, block.widen.weight.is_cuda
        self._middle, self._outer = block.depthwise.groups, block.widen.out_features
        narrow, bias = block.narrow.weight, block.narrow.bias
        assert bias is not None
        self._inner = narrow.shape[1]
        # Matrix products with eight columns are slow: take two neighbouring pixels as one.
        pixels = 2 if self._middle == 8 and not self._down else 1
        self._row = pixels * self._inner
        self._narrow: Tensor = narrow if self._down else torch.block_diag(*[narrow] * pixels).t()
        self._narrow_bias = bias.repeat(pixels)
        self._depthwise = block.depthwise.weight
        self._mixing = _mixing(block) if self._size <= 4 else None
        self._widen, self._widen_bias = block.widen.weight.t(), block.widen.bias
        # Few channels at a time are slow as well.
        self._narrow_act = _repeated(block.narrow_act.weight, self._size)
        self._act = _repeated(block.act.weight, self._size)

    def __call__(self, x: Tensor) -> Tensor:
        size, middle, outer = self._size, self._middle, self._outer
        if self._down:
            maps = x.view(-1, 2 * size, 2 * size, self._inner)
            y = convolve(maps, self._narrow, self._narrow_bias, 2, 0, 1, self._cuda).reshape(-1, middle)
            x = halve(maps)
        else:
            y = torch.addmm(self._narrow_bias, x.view(-1, self._row), self._narrow)
        y = torch.prelu(y.view(-1, len(self._narrow_act)), self._narrow_act)
        if self._mixing is not None:
            y = (y.view(-1, 1, size * size, middle) * self._mixing).sum(2)
        else:
            y = convolve(y.view(-1, size, size, middle), self._depthwise, None, 1, 1, middle, self._cuda)
        x = add_to(x, self._widen_bias, self._widen, y)
        return torch.prelu(x.view(-1, len(self._act)), self._act).view(-1, outer)


def _mixing(block: Bottleneck) -> Tensor:
    """Return the 3x3 kernel on maps of P = 2x2 or 4x4 pixels as P x P weights for each channel, [P, P, C]."""
    size, middle = block.size, block.depthwise.groups
    impulses = torch.eye(size**2, device=block.depthwise.weight.device).view(-1, size, size, 1)
    spread = block.depthwise(impulses.expand(-1, -1, -1, middle).contiguous())
    return spread.reshape(size**2, size**2, middle).transpose(0, 1).contiguous()  # to, from, channel


def _repeated(weights: Tensor, size: int) -> Tensor:
    """Return the weights of channels for as many pixels of a map as have about 512 values together."""
    return weights.repeat(min(max(1, 512 // len(weights)), size**2))


class FaceMesh(Net):
    """478 landmarks of one face in a square crop.

    forward(x float32 [N, 256, 256, 3], RGB 0..1) -> landmarks [N, 478, 3] in pixels of the crop (z in the
    same unit, negative towards the camera), presence [N] as a logit. It has to be prepared first.
    """

    size = 256

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 16, 3, 2)
        self.stem_act = nn.PReLU(16)
        self.fine = nn.Sequential(*(Bottleneck(16, 16, 128) for _ in range(4)))
        blocks: list[Bottleneck] = []
        width, size = 16, 128
        for wider in (32, 64, 128, 128, 128, 128):
            size //= 2
            blocks.append(Bottleneck(width, wider, size, down=True))
            blocks += [Bottleneck(wider, wider, size) for _ in range(4)]
            width = wider
        self.coarse = nn.Sequential(*blocks)
        self.tongue = nn.Linear(4 * 128, 1)  # in the file, unused here
        self.presence = nn.Linear(4 * 128, 1)
        self.landmarks = nn.Linear(4 * 128, 478 * 3)

    def prepare(self) -> None:
        """Take the weights as they are now, on their device."""
        self._fine, self._coarse = (
            [PreparedBottleneck(cast(Bottleneck, block)) for block in blocks]
            for blocks in (self.fine, self.coarse)
        )

    def _start(self, x: Tensor) -> Tensor:
        x = F.prelu(self.stem(x).reshape(-1, 16), self.stem_act.weight)
        for block in self._fine:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # On a CPU the largest maps are processed in pairs, as more evict each other from a core's cache; the rest in
        # one batch, as there the weights fill the cache.
        parts = x.split(2 if x.device.type == "cpu" else len(x))
        x = torch.cat([self._start(part) for part in parts]) if len(parts) > 1 else self._start(x)
        for block in self._coarse:
            x = block(x)
        x = x.view(-1, 4 * 128)
        return self.landmarks(x).view(-1, 478, 3), self.presence(x)[:, 0]


class BlazeBlock(nn.Module):
    """Single BlazeFace block: depthwise 3x3, pointwise, add, ReLU; going down, the shortcut is max-pooled."""

    def __init__(self, cin: int, cout: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.depthwise = Conv(cin, cin, 3, stride, groups=cin)
        self.pointwise = nn.Linear(cin, cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x)
        return F.relu_(
            add_to(halve(x) if self.stride == 2 else x, self.pointwise.bias, self.pointwise.weight.t(), y)
        )


class DoubleBlazeBlock(nn.Module):
    """Double BlazeFace block: depthwise and narrowing, ReLU, depthwise and widening, add, ReLU."""

    def __init__(self, cin: int, mid: int, cout: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.depthwise1 = Conv(cin, cin, 3, stride, groups=cin)
        self.narrow = nn.Linear(cin, mid)
        self.depthwise2 = Conv(mid, mid, 3, groups=mid)
        self.widen = nn.Linear(mid, cout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise2(F.relu_(self.narrow(self.depthwise1(x))))
        return F.relu_(add_to(halve(x) if self.stride == 2 else x, self.widen.bias, self.widen.weight.t(), y))


def _grid(cells: int, per_cell: int) -> Tensor:
    """Return the centres of a grid's cells in 0..1, x fastest, each `per_cell` times: [cells**2 * per_cell, 2]."""
    centre = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 1, 2).expand(-1, per_cell, 2).reshape(-1, 2)


class ShortRangeDetector(Net):
    """BlazeFace short range, for faces within about two metres of a phone.

    forward(x float32 [N, 128, 128, 3], RGB -1..1) -> boxes [N, 896, 16] (centre x, y, width, height, then x,
    y of right eye, left eye, nose, mouth, right ear, left ear; in pixels of the input, relative to
    `anchors`), score logits [N, 896].
    """

    size = 128
    threshold = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 24, 5, 2)
        widths = (24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88)
        strides = (1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1)
        blocks = zip(widths[:-1], widths[1:], strides, strict=True)
        self.fine = nn.Sequential(*(BlazeBlock(*block) for block in blocks))
        self.coarse = nn.Sequential(BlazeBlock(88, 96, 2), *(BlazeBlock(96, 96) for _ in range(4)))
        self.score_fine, self.score_coarse = nn.Linear(88, 2), nn.Linear(96, 6)
        self.box_fine, self.box_coarse = nn.Linear(88, 2 * 16), nn.Linear(96, 6 * 16)
        self.register_buffer("anchors", torch.cat((_grid(16, 2), _grid(8, 6))), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(F.relu_(self.stem(x)))
        boxes, scores = self.box_fine(fine), self.score_fine(fine)
        coarse = self.coarse(fine)
        count = len(x)
        boxes = boxes.view(count, -1, 16), self.box_coarse(coarse).view(count, -1, 16)
        scores = scores.view(count, -1), self.score_coarse(coarse).view(count, -1)
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class FullRangeDetector(Net):
    """BlazeFace full range (dense): a feature pyramid that also finds small and distant faces.

    forward(x float32 [N, 192, 192, 3], RGB -1..1) -> boxes [N, 2304, 16], score logits [N, 2304], laid out as
    in ShortRangeDetector.
    """

    size = 192
    threshold = 0.6

    def __init__(self) -> None:
        super().__init__()
        block = DoubleBlazeBlock
        self.stem = Conv(3, 32, 3, 2)
        self.stage48 = nn.Sequential(
            block(32, 8, 32), block(32, 8, 32), block(32, 12, 48, 2), block(48, 12, 48), block(48, 16, 64)
        )
        self.stage24 = nn.Sequential(block(64, 24, 96, 2), block(96, 32, 128), block(128, 32, 128))
        self.stage12 = nn.Sequential(block(128, 36, 144, 2), block(144, 48, 192), block(192, 64, 256))
        self.stage6 = nn.Sequential(block(256, 96, 384, 2), *(block(384, 96, 384) for _ in range(3)))
        self.up6, self.side12 = nn.Linear(384, 96), nn.Linear(256, 96)
        self.merge12 = nn.Sequential(block(96, 48, 96), block(96, 48, 96))
        self.up12, self.side24 = nn.Linear(96, 64), nn.Linear(128, 64)
        self.merge24 = nn.Sequential(block(64, 32, 64), block(64, 32, 64))
        self.up24, self.side48 = nn.Linear(64, 48), nn.Linear(64, 48)
        self.merge48 = block(48, 24, 48)
        self.score, self.box = nn.Linear(48, 1), nn.Linear(48, 16)
        self.register_buffer("anchors", _grid(48, 1), persistent=False)

    @staticmethod
    def _join(coarse: Tensor, fine: Tensor) -> Tensor:
        up = F.relu_(coarse).permute(0, 3, 1, 2)
        up = F.interpolate(up, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.relu_(fine).add_(up.permute(0, 2, 3, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # The blocks write into their input, so the side branches are computed first.
        x = self.stage48(F.relu_(self.stem(x)))
        side48 = self.side48(x)
        x = self.stage24(x)
        side24 = self.side24(x)
        x = self.stage12(x)
        side12 = self.side12(x)
        x = self.merge12(self._join(self.up6(self.stage6(x)), side12))
        x = self.merge24(self._join(self.up12(x), side24))
        x = self.merge48(self._join(self.up24(x), side48))
        return self.box(x).view(len(x), -1, 16), self.score(x).view(len(x), -1)


NETS: dict[str, type[Net]] = {
    "face_landmarks": FaceMesh,
    "face_detector_full_range": FullRangeDetector,
    "face_detector_short_range": ShortRangeDetector,
}


class Captured:
    """A network on a CUDA device, captured for a few sizes of batches; smaller ones are filled up, larger ones split.

    Attributes and calls are those of the network.
    """

    def __init__(self, net: Net, graphed: Callable[[Tensor], tuple[Tensor, ...]] | None = None):
        self._net = net
        self._graphed = graphed or Graphed(net)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        parts = [self._batch(part) for part in x.split(BATCHES[-1])]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def _batch(self, x: Tensor) -> tuple[Tensor, ...]:
        count = len(x)
        size = next(size for size in BATCHES if size >= count)
        if count < size:
            x = torch.cat((x, x.new_zeros(size - count, *x.shape[1:])))
        return tuple(output[:count] for output in self._graphed(x))


@lru_cache(maxsize=8)
def load_net(name: str, device: str = "cpu") -> Net | Captured:
    """Load one of NETS with its weights, ready for inference: float32, no gradients, cached per device.

    `device` is a torch device string. The module is shared by all callers: do not modify it. Call it under
    torch.no_grad().
    """
    net = NETS[name]()
    weights = load_file(WEIGHTS / f"{name}.safetensors")
    net.load_state_dict({key: value.float() for key, value in weights.items()})
    net.eval().requires_grad_(False).to(device)
    if isinstance(net, FaceMesh):
        net.prepare()
    return Captured(net) if torch.device(device).type == "cuda" else net
