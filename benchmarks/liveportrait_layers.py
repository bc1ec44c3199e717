"""What each convolution of the LivePortrait networks costs, at least and in fact, and what its arithmetic rounds off.

    python benchmarks/liveportrait_layers.py [--threads N] [--runs N] > benchmarks/liveportrait_layers.md

First the rates of this machine: products of matrices and convolutions of the size that the networks have, and copies of
memory that no cache holds. Then, for each convolution of a frame (F, W, G), the multiplications of the plain form and
of the form that runs, and the floor: what these and reading and writing each tensor once take at those rates. Beside it
the measured times of the forms made of products of matrices, of those of NNPACK and of the plain one, the best of some
runs in turn; which of the two runs is a matter of a measurement. Last, the forms' errors against float64.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from liveportrait_v2v.engines.liveportrait.networks import Networks, convolution  # noqa: E402
from liveportrait_v2v.engines.liveportrait.networks.convolution import (  # noqa: E402
    convolve_to_one,
    quicker_form,
)
from liveportrait_v2v.engines.liveportrait.networks.cpu.calibration import processor  # noqa: E402
from liveportrait_v2v.engines.liveportrait.networks.cpu.fourier import (  # noqa: E402
    HALF,
    KERNEL,
    SEEN,
    TILE,
    convolve_by_fourier,
)
from liveportrait_v2v.engines.liveportrait.networks.cpu.nnpack import convolve_by_nnpack  # noqa: E402
from liveportrait_v2v.engines.liveportrait.networks.cpu.products import (  # noqa: E402
    convolve_by_products,
    convolve_unfolded,
)
from liveportrait_v2v.engines.liveportrait.networks.cpu.winograd import convolve_by_winograd  # noqa: E402

NAMES = {
    None: "plain",
    convolve_by_nnpack: "NNPACK",
    convolve_by_winograd: "Winograd",
    convolve_by_fourier: "Fourier",
    convolve_by_products: "products",
    convolve_unfolded: "unfolded",
    convolve_to_one: "to one",
}


@dataclass(frozen=True)
class Layer:
    """A convolution of x [N, cin, (D,) H, W] with a kernel [cout, cin, ...] and some samples of padding around."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def out(self) -> tuple[int, ...]:
        sizes = zip(self.x[2:], self.weight[2:], self.padding, strict=True)
        return self.x[0], self.weight[0], *(size + 2 * pad - kernel + 1 for size, kernel, pad in sizes)

    def form(self, by_nnpack: bool | None = None) -> Callable | None:
        """Return the form that runs, or that would if NNPACK were quicker, or slower, than products of matrices.

        There is only the plain one where the map comes padded.
        """
        if self.out[2:] != self.x[2:]:
            return None
        forced = patch.object(convolution, "quickest", lambda _, forms, __: list(forms.values())[by_nnpack])
        with nullcontext() if by_nnpack is None else forced:
            return quicker_form(torch.empty(self.x), torch.empty(self.weight))

    def multiplications(self, form: Callable | None) -> float:
        """Of real numbers, transforms included; of NNPACK those of the products alone."""
        cout, cin, *kernel = self.weight
        samples = size(self.out) / cout
        deep = kernel[0] if len(kernel) == 3 else 1
        if form is convolve_by_nnpack:
            # Products of tiles alone: 8x8 for 6x6 samples, or the Fourier transforms of 16x16 for 10x10.
            tile, products = (6, 64) if kernel[-1] == 3 else (10, 512)
            down, across = (-(-length // tile) for length in self.out[-2:])
            planes = size(self.out[2:-2])
            return products * cin * cout * deep * planes * down * across
        if form is convolve_by_winograd:
            transforms = (
                36 * 36 * cin * samples / 16 + 36 * 16 * cout * samples / 16 + 36 * 9 * cout * cin * deep
            )
            return 36 * cin * cout * deep * samples / 16 + transforms
        if form is convolve_by_fourier:
            tiles = samples / TILE**2
            there = 2 * HALF * SEEN**2 + HALF * (2 * SEEN) ** 2
            back = HALF * 2 * TILE * 2 * SEEN + TILE**2 * 2 * HALF
            of_kernel = 2 * HALF * KERNEL**2 + HALF * 2 * SEEN * 2 * KERNEL
            transforms = (there * cin + back * cout) * tiles + of_kernel * cout * cin * deep
            return 4 * HALF * SEEN * cin * cout * deep * tiles + transforms
        return size(self.out) * size(self.weight) / cout

    @property
    def bytes(self) -> int:
        return 4 * (size(self.x) + size(self.weight) + size(self.out))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        make = torch.Generator().manual_seed(0)
        scale = (size(self.weight) / self.weight[0]) ** -0.5
        x, weight, bias = (
            torch.randn(shape, generator=make) for shape in (self.x, self.weight, self.weight[:1])
        )
        return x, weight * scale, bias

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return (F.conv2d if len(self.padding) == 2 else F.conv3d)(x, weight, bias, padding=self.padding)


def size(shape: tuple[int, ...]) -> int:
    """Return a shape as text."""
    return torch.Size(shape).numel()


class Convolutions(TorchFunctionMode):
    """Counts the convolutions that are called."""

    def __init__(self) -> None:
        self.seen: Counter[Layer] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (F.conv2d, F.conv3d):
            padding = tuple((kwargs or {}).get("padding", ()))
            self.seen[Layer(tuple(args[0].shape), tuple(args[1].shape), padding)] += 1
        return function(*args, **(kwargs or {}))


def stages() -> dict[str, Counter[Layer]]:
    """Return the convolutions of F, W and G for one frame.

    They are traced on the meta device, where all are plain and nothing is computed.
    """
    networks = Networks.random(0).to("meta")
    empty = partial(torch.empty, device="meta")
    keypoints = empty(1, 21, 3)
    calls = {
        "F": lambda: networks.appearance(empty(1, 3, 256, 256)),
        "W": lambda: networks.module["warping_module"](
            empty(1, 32, 16, 64, 64), keypoints, keypoints, torch.float32
        ),
        "G": lambda: networks.module["spade_generator"](empty(1, 256, 64, 64)),
    }
    found = {}
    for stage, call in calls.items():
        with Convolutions() as convolutions:
            call()
        found[stage] = convolutions.seen
    return found


def seconds(runs: int, *calls: Callable[[], object]) -> list[float]:
    """Return the best time of each call; the calls take turns."""
    best = [float("inf")] * len(calls)
    for run in range(runs + 1):
        for k, call in enumerate(calls):
            began = time.perf_counter()
            call()
            if run:  # libraries choose their kernels at the first call
                best[k] = min(best[k], time.perf_counter() - began)
    return best


def rates() -> tuple[float, float, float]:
    """Multiplications a second of products of matrices and of torch's convolutions, and bytes a second."""
    a, b, c = torch.randn(36, 256, 512), torch.randn(36, 512, 256), torch.empty(36, 256, 256)
    x = torch.randn(1, 512, 64, 64)
    weight = torch.randn(512, 512, 3, 3)
    product, convolution = seconds(15, lambda: torch.bmm(a, b, out=c), lambda: F.conv2d(x, weight, padding=1))
    source, target = torch.zeros(2, 50_000_000)
    (copy,) = seconds(7, lambda: target.copy_(source))
    rate = 36 * 256 * 512 * 256 / product
    direct = 9 * 512 * 512 * 64 * 64 / convolution
    memory = 2 * source.nbytes / copy
    print(
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}. Batched products of matrices: "
        f"{rate / 1e9:.0f} G multiplications a second; torch's 3x3 convolution of 512 by 512 channels: "
        f"{direct / 1e9:.0f} G; memory, read and written: {memory / 1e9:.0f} GB a second.\n"
    )
    return rate, direct, memory


def shape(layer: Layer) -> str:
    """Return a layer's shape as text."""
    cout, cin, *kernel = layer.weight
    return f"{cin} to {cout}, {'x'.join(map(str, kernel))} on {'x'.join(map(str, layer.x[2:]))}"


def print_layers(
    stage: str, layers: Counter[Layer], runs: int, rate: float, direct: float, memory: float
) -> None:
    """Print a row for each layer."""
    print(f"## {stage}\n")
    print(
        "| convolution | times | plain, G | form | form, G | MB | floor, ms | products, ms | NNPACK, ms | plain, ms |"
    )
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|")
    sums = [0.0] * 7
    rows = []
    for layer, times in layers.items():
        form, tensors = layer.form(), layer.tensors()
        counts = layer.multiplications(None), layer.multiplications(form)
        floor = max(counts[1] / (direct if form is None else rate), layer.bytes / memory)
        forms = layer.form(False), layer.form(True), None
        calls = (partial(f or layer.plain, *tensors) for f in forms)
        row = [counts[0] / 1e9, counts[1] / 1e9, layer.bytes / 1e6, floor, *seconds(runs, *calls)]
        row = [times * n for n in row]
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        rows.append((row, f"| {shape(layer)} | {times} |", NAMES[form]))
    for row, head, name in [*sorted(rows, key=lambda r: -min(r[0][4:6])), (sums, "| **all** | |", "")]:
        plain, chosen, mb, *measured = row
        cells = " | ".join(f"{1e3 * t:.0f}" for t in measured)
        print(f"{head} {plain:.1f} | {name} | {chosen:.1f} | {mb:.0f} | {cells} |", flush=True)
    print()


def print_errors(layers: list[Layer]) -> None:
    """Print the rounding of each form against float64."""
    print("## Rounding\n")
    print(
        "Errors against float64, in parts of the result's standard deviation: root mean square, and the largest. Of "
        "maps of 32x32, four deep, as float64 takes long.\n"
    )
    print("| convolution | form | rms | largest | plain, rms | largest |")
    print("|---|---|--:|--:|--:|--:|")
    for layer in layers:
        x, weight, bias = layer.tensors()
        x = x[..., :32, :32] if x.dim() == 4 else x[..., :4, :32, :32]
        exact = layer.plain(x.double(), weight.double(), bias.double())

        def errors(form: Callable, x=x, weight=weight, bias=bias, exact=exact) -> str:
            error = (form(x, weight, bias) - exact) / exact.std()
            return f"{error.square().mean().sqrt():.1e} | {error.abs().max():.1e}"

        for form in dict.fromkeys(filter(None, (layer.form(False), layer.form(True)))):
            print(f"| {shape(layer)} | {NAMES[form]} | {errors(form)} | {errors(layer.plain)} |")


@torch.no_grad()
def main() -> None:
    """Measure the layers and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="runs of each layer; the best is printed (7)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch (all cores)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("# The convolutions of one frame\n")
    measured = rates()
    found = stages()
    for stage, layers in found.items():
        print_layers(stage, layers, options.runs, *measured)
    print_errors([layer for layers in found.values() for layer in layers])


if __name__ == "__main__":
    main()
