"""The least time that the networks can take on a card: their arithmetic and bytes at the rates measured there.

Products and convolutions run one after another, so that the floor is the sum, over these, of the longer of two times:
that of the multiplications at the rate of a large product of matrices, and that of reading both operands and writing
the result once at the rate of a large copy. Everything between them is taken to cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from liveportrait_v2v.engines.liveportrait.networks import Networks, blank_network

from .clock import Clock
from .forms import NONE, switched
from .options import Options
from .subjects import FRAME, Calls, Given, our_calls, reference_calls, reference_networks

FRAME_PARTS = ("F", "M", "M", "W", "G")


@dataclass(frozen=True)
class Work:
    """One product or convolution: floating-point operations, bytes read and written, dtype of its operands."""

    flops: int
    bytes: int
    dtype: torch.dtype


class Counter(TorchDispatchMode):
    """Context manager that notes the `Work` of each product and convolution inside.

    Attributes:
        work: in the order of the calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work: list[Work] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if count is not None:
            read = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, Tensor)]
            moved = sum(x.numel() * x.element_size() for x in (*read, out))
            self.work.append(Work(count(*args, **(kwargs or {}), out_val=out), moved, read[-1].dtype))
        return out


def counted(calls: Calls) -> dict[str, list[Work]]:
    """Return the work of F, M, W and G, counted on the meta device: no number is computed."""
    found = {}
    for name in dict.fromkeys(FRAME_PARTS):
        with torch.no_grad(), Counter() as counter:
            calls[name]()
        found[name] = counter.work
    return found


def our_work(precision: str = "fp16", batch: int = 1) -> dict[str, list[Work]]:
    """Return the work of our networks in the form that GPUs start from."""
    networks = Networks(_blank, "meta", precision)
    return counted(our_calls(networks, Given.random(batch, "meta")))


def _blank(name: str) -> dict[str, Tensor]:
    """Return a network's tensors without values."""
    tensors = blank_network(name).state_dict()
    return {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}


def plain_work(batch: int = 1) -> dict[str, list[Work]]:
    """Return the work of the plain form, the reference's."""
    return counted(reference_calls(reference_networks("meta"), Given.random(batch, "meta")))


def gmac(work: list[Work]) -> float:
    """Return thousand millions of multiplications with additions."""
    return sum(item.flops for item in work) / 2e9


@dataclass(frozen=True)
class Rates:
    """What a card reaches at best.

    Attributes:
        half, tf32, float32: TFLOP/s of a large product of matrices; None without a GPU, except float32's.
        copy: GB/s, bytes read and bytes written.
    """

    half: float | None
    tf32: float | None
    float32: float
    copy: float

    def ms(self, work: list[Work], tf32: bool = True) -> dict[str, float]:
        """Return the milliseconds of all the arithmetic, of all the bytes, and the floor.

        Args:
            tf32: take float32 products at TF32's rate, where there is one.
        """
        full = self.tf32 if tf32 and self.tf32 else self.float32
        arithmetic = [
            item.flops / (full if item.dtype is torch.float32 else self.half) / 1e9 for item in work
        ]
        moving = [item.bytes / self.copy / 1e6 for item in work]
        floor = sum(max(pair) for pair in zip(arithmetic, moving, strict=True))
        return {"arithmetic": sum(arithmetic), "bytes": sum(moving), "floor": floor}


def measured_rates(options: Options) -> Rates:
    """Measure the rates of a device, on random numbers."""
    clock = Clock(options.device)
    size, copied = (128, 2**16) if options.tiny else (8192, 2**28)
    kinds = {"half": torch.float16, "tf32": torch.float32, "float32": torch.float32}
    rates: dict[str, float | None] = dict.fromkeys(kinds)
    for name in kinds if options.on_gpu else ("float32",):
        a, b = torch.randn(2, size, size, device=options.device).to(kinds[name])
        with switched(NONE, options.device, tf32=name == "tf32"):
            rates[name] = 2 * size**3 / clock.ms(partial(torch.matmul, a, b)) / 1e9
    x = torch.randn(copied, device=options.device)
    y = torch.empty_like(x)
    copy = 2 * x.nbytes / clock.ms(partial(y.copy_, x)) / 1e6
    return Rates(rates["half"], rates["tf32"], rates["float32"] or 0.0, copy)


def floors(rates: Rates, precision: str, batch: int) -> list[dict[str, Any]]:
    """Return rows of GMAC a frame and milliseconds a frame at the rates, for F, M, W, G and a frame.

    The milliseconds are those of our form: "arithmetic" all multiplications, "bytes" all operands and results, "floor"
    the sum of the longer of both, layer by layer. "plain GMAC" are those of the reference's form.
    """
    ours, plain = our_work(precision, batch), plain_work(batch)
    rows = []
    for name in (*ours, FRAME):
        parts = FRAME_PARTS if name == FRAME else (name,)
        work = [item for part in parts for item in ours[part]]
        ms = {kind: value / batch for kind, value in rates.ms(work).items()}
        plain_gmac = sum(gmac(plain[part]) for part in parts) / batch
        rows.append({"network": name, "plain GMAC": plain_gmac, "GMAC": gmac(work) / batch, "ms": ms})
    return rows
