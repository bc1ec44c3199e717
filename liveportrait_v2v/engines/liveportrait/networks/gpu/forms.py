"""How the networks compute on a GPU: layouts, arrangements of layers, and what torch is told.

All forms give the same numbers but for rounding. Which are quickest is a matter of the card and of cuDNN's version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from .....errors import SettingsError

LAYOUTS = ("contiguous", "channels_last")
TRITON = ("fused_spade", "fused_enlarged", "fused_activation")
"""Forms that need Triton; each is a module beside this one."""
MULTIPLE = 8
"""Channels of half precision that tensor cores take without a remainder."""


@dataclass(frozen=True)
class Forms:
    """How the networks compute, each form for itself. Without any they compute as on the CPU.

    Attributes:
        layout: of convolutions' weights and inputs, "contiguous" or "channels_last", in two and three dimensions.
        fused_norm: instance norm in three operations that keep the layout; torch's own makes its input contiguous.
        fused_spade: the generator's norms by kernels of Triton's, from statistics to LeakyReLU, where Triton is there.
        fused_enlarged: the generator's convolutions of enlarged maps as products, summed by a kernel of Triton's.
        fused_activation: what follows the convolutions of F and W by kernels of Triton's: bias, ReLU, means, sums.
        ones: biases of the generator's norms as weights of a channel of ones; cuDNN's are additions of their own.
        planes: the 7x7x7 convolution as one in two dimensions, with an output channel for each plane of the kernel.
        to_one: the occlusion's convolution to one channel as a product and a fold.
        padded: channels of dense motion padded with zeros to a multiple of 8.
        plain: the generator's convolutions of enlarged maps as torch's own, on maps that are really enlarged.
        plain_volumes: the same for the hourglass of dense motion.
        benchmark: cuDNN tries its algorithms for each shape. Pays with batches of one size.
        tf32: products and convolutions in float32 round their factors to TF32.
        compiled: W and G go through torch.compile.
        graphs: M, F, and W with G are captured as CUDA graphs, for each batch size.
    """

    layout: str = "contiguous"
    fused_norm: bool = False
    fused_spade: bool = False
    fused_enlarged: bool = False
    fused_activation: bool = False
    ones: bool = False
    planes: bool = False
    to_one: bool = False
    padded: bool = False
    plain: bool = False
    plain_volumes: bool = False
    benchmark: bool = False
    tf32: bool = False
    compiled: bool = False
    graphs: bool = False

    @classmethod
    def parse(cls, text: str) -> Forms:
        """Return the forms that a text names, separated by commas, as "channels_last,planes,graphs".

        Raises:
            SettingsError: there is no such form.
        """
        switches = [item.name for item in fields(cls) if item.name != "layout"]
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in (*LAYOUTS, *switches):
                known = ", ".join((*LAYOUTS, *switches))
                raise SettingsError(f"forms must be some of {known}, separated by commas, got {name!r}")
        layouts = [name for name in names if name in LAYOUTS] or ["contiguous"]
        return cls(layouts[-1], **{name: True for name in switches if name in names})

    @classmethod
    def usual(cls, device: str | torch.device, precision: str, compiled: bool = False) -> Forms:
        """Return what is taken where nothing else is asked for: what was quickest on an H100, see benchmarks/gpu.md.

        Args:
            device: the one that computes.
            precision: "fp16", "bf16-convs" or "fp32".
            compiled: for torch.compile, which does some of it better and needs no more than that.
        """
        if torch.device(device).type != "cuda":
            return cls(compiled=compiled)
        nvidia = torch.version.hip is None  # graphs and kernels are untried on AMD's
        if precision == "fp32":
            return cls(graphs=nvidia, compiled=compiled)
        if compiled:
            return cls(
                "channels_last" if _leaves_cudnn() else "contiguous",
                planes=True,
                to_one=True,
                plain=True,
                plain_volumes=True,
                compiled=True,
                graphs=nvidia,
            )
        return cls(
            "channels_last",
            fused_norm=True,
            fused_spade=nvidia,
            fused_enlarged=nvidia,
            fused_activation=nvidia,
            ones=True,
            planes=True,
            to_one=True,
            padded=True,
            plain_volumes=True,
            graphs=nvidia,
        )

    def __str__(self) -> str:
        """Text that `parse` reads."""
        on = [item.name for item in fields(self) if getattr(self, item.name) is True]
        return ",".join([self.layout, *on])

    @contextmanager
    def switches(self, device: torch.device) -> Iterator[None]:
        """Context manager that sets torch's switches for cuDNN and TF32 on a CUDA device, and sets them back.

        They are the process's: what other threads compute meanwhile goes by them, too.
        """
        if device.type != "cuda" or not (self.benchmark or self.tf32):
            yield
            return
        # The older of torch's two names for TF32 sets both; those who mix them get errors.
        cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
        try:
            cudnn.benchmark |= self.benchmark
            if self.tf32:
                cudnn.allow_tf32 = products.allow_tf32 = True
            yield
        finally:
            cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before


def _leaves_cudnn() -> bool:
    """Return whether torch leaves cuDNN for contiguous volumes in half precision: 2.9 and later do for 9.8 to 9.14."""
    version = torch.backends.cudnn.version() or 0
    return 90800 <= version < 91500


def in_channels_last(x: Tensor) -> bool:
    """Return whether the channels of [N, C, (D,) H, W] lie next to each other in memory, and are more than one."""
    return x.stride(1) == 1 and x.stride(-1) == x.shape[1] > 1


def to_channels_last(x: Tensor) -> Tensor:
    """Return a copy of x [N, C, (D,) H, W] in channels-last layout; maps of one sample get its strides, too."""
    return torch.empty_like(x, memory_format=channels_last(x)).copy_(x)


def laid_out_for(x: Tensor, weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return the input of a convolution, x [N, C, (D,) H, W], in its weight's layout and in a dtype, in one pass."""
    dtype = dtype or x.dtype
    return x.to(dtype, memory_format=channels_last(x)) if in_channels_last(weight) else x.to(dtype)


def channels_last(x: Tensor) -> torch.memory_format:
    """Return the channels-last layout of maps [N, C, H, W] or volumes [N, C, D, H, W]."""
    return torch.channels_last if x.dim() == 4 else torch.channels_last_3d


def of_planes(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of maps, which treats channels alike, to x [N, C, H, W] or to all planes of [N, C, D, H, W].

    In two dimensions, as not every device can do pooling in three. The layout stays.
    """
    if x.dim() == 4:
        return function(x)
    if not in_channels_last(x):
        return function(x.flatten(1, 2)).unflatten(1, x.shape[1:3])
    planes = x.transpose(1, 2)
    return function(planes.flatten(0, 1)).unflatten(0, planes.shape[:2]).transpose(1, 2)


def fused_instance_norm(x: Tensor) -> Tensor:
    """Return the instance norm of [N, C, H, W] in its layout and dtype, with statistics in float32."""
    variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
    scale = (variance + 1e-5).rsqrt()
    return torch.addcmul((-mean * scale).to(x.dtype), x, scale.to(x.dtype))


def plain_kernel(kernels: Mapping[str, Tensor] | nn.ParameterDict) -> Tensor:
    """Return the kernel [cout, cin, (kd,) 3, 3] of which `enlarged_kernels` were made."""
    sums, rows, columns, corners = (kernels[name].double() for name in ("00", "10", "01", "11"))
    above, below = (sign * part for sign, part in zip((-1, 1), rows.chunk(2), strict=True))
    left, right = (sign * part for sign, part in zip((-1, 1), columns.chunk(2), strict=True))
    top_left, bottom_left, top_right, bottom_right = (
        sign * part for sign, part in zip((1, -1, -1, 1), corners.chunk(4), strict=True)
    )
    top, bottom = above - top_left - top_right, below - bottom_left - bottom_right
    left, right = left - top_left - bottom_left, right - top_right - bottom_right
    middle = sums - above - below - left - right
    kernel = [
        torch.cat(row, -1)
        for row in ((top_left, top, top_right), (left, middle, right), (bottom_left, bottom, bottom_right))
    ]
    return torch.cat(kernel, -2).float()


def next_multiple(channels: int) -> int:
    """Return a number of channels rounded up."""
    return -(-channels // MULTIPLE) * MULTIPLE


def padded(x: Tensor, *sizes: int) -> Tensor:
    """Return x with zeros at the end of its first dimensions, which have these sizes then."""
    out = x.new_zeros(*sizes, *x.shape[len(sizes) :])
    out[tuple(slice(size) for size in x.shape[: len(sizes)])] = x
    return out


def with_ones(x: Tensor) -> Tensor:
    """Return x [N, C, H, W] with eight more channels, of ones and of zeros, in its layout.

    `bias_as_weight` gives kernels for it.
    """
    more = x.new_zeros(len(x), MULTIPLE, *x.shape[2:])
    more[:, 0] = 1
    return torch.cat((x, more), 1)


def bias_as_weight(weight: Tensor, bias: Tensor, one: bool) -> Tensor:
    """Return a kernel [cout, cin + 8, h, w] that adds a bias [cout], for maps by `with_ones`.

    Args:
        one: make such maps, too: the kernel is [cout + 8, cin + 8, h, w], and has ReLU after it.
    """
    cout, cin = weight.shape[:2]
    found = padded(weight, cout + MULTIPLE * one, cin + MULTIPLE)
    row, column = (size // 2 for size in weight.shape[2:])
    found[:cout, cin, row, column] = bias
    if one:
        found[cout, cin, row, column] = 1
    return found
