"""Is it right: every network and the whole chain, tracking and pasting, against the CPU's float32.

Relative errors are root mean squares of the difference, relative to those of the wanted values around their mean.

Bounds come from the arithmetic. A convolution in a precision with rounding error u adds about u to the relative error,
errors of independent signs grow with the root of the number of convolutions in a row, and 2 u of each covers other
orders of summation; see `STEEP` for 4 u. On a CPU that rounds as tensor cores do, the errors of fp16 are 0.2
to 0.6 of these bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from liveportrait_v2v import compose
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import Networks
from liveportrait_v2v.faces import FaceSquare, FaceTracker
from liveportrait_v2v.media import Clip

from .clips import carried
from .forms import NONE, TOGETHER, WORDS, joined, networks, switched, usual
from .options import Options
from .report import Report
from .subjects import Given, dtype_of, reference_calls, reference_networks, tiled

PART = "check"
DEPTHS = {"F": 16, "M": 58, "W": 15, "G": 34, "W+G": 49, "chain": 65, "S": 4, "R lip": 4, "R eye": 6}
"""Convolutions and products in a row. In each of G's eight blocks four, two of them those of norms, and two more."""
STEEP = ("W", "G", "W+G", "chain")
"""Those with twice the bound. W reads features at places that it computes, so that an error of the place becomes one
of the value by the slope there; G normalizes, and multiplies by what it computes."""
UNITS = {"fp32": 16 * 2.0**-23, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16-convs": 2.0**-8}
"""Rounding error u. Of float32, that of the least exact algorithm for convolutions, 16 eps."""
FLOAT32_PARTS = ("M", "S", "R lip", "R eye")
"""Those that compute in float32 in every precision, in TF32 where torch takes it."""
KEYPOINTS_IN_TF32 = 4
"""Times the bound of the chain where all products of the process are in TF32, those that pose keypoints too: that moves
them by hundredths of a pixel, which in noise outweighs the rest. A CPU that rounds as TF32 gives 2.5."""
TRACKING = 1e-3
"""Landmarks may be off by a thousandth of the face's height: on a GPU pictures are resized as floats instead of bytes,
which on a CPU moves them by up to 0.8 thousandths."""
COMPILER_SECONDS = 200
"""Seconds that must be left before a compiler starts, so that it doesn't take the time of the runs."""


@dataclass(frozen=True)
class Wanted:
    """Inputs of some frames, and what the CPU makes of them in float32."""

    given: Given
    outputs: dict[str, Tensor]


def check(options: Options, report: Report) -> None:
    """Compare everything with the CPU, the networks first."""
    wanted = [_wanted(options, seed) for seed in (0, 1)]
    for kind in _configurations(options):
        needs = COMPILER_SECONDS if "compiled" in kind.form else 0
        report.attempt(PART, partial(_check_networks, options, report, kind, wanted), needs, what=str(kind))
    report.attempt(PART, partial(_check_reference, options, report, wanted[0]), what="reference")
    report.attempt(PART, partial(_check_pasting, options, report), what="crop and paste back")
    for tf32 in (False, True) if options.on_gpu else (None,):
        report.attempt(PART, partial(_check_tracking, options, report, tf32), what="tracking")


@dataclass(frozen=True)
class Kind:
    """A configuration of the networks: precision, form, and TF32 on, off or as torch has it."""

    precision: str
    form: str
    tf32: bool | None = None

    def __str__(self) -> str:
        return (
            ", ".join((self.precision, self.form)) + {True: ", TF32", False: ", no TF32", None: ""}[self.tf32]
        )


def _configurations(options: Options) -> Iterator[Kind]:
    """Yield what to check; what matters most first."""
    if options.tiny:
        yield Kind("fp32", NONE)
        return
    yield Kind("fp32", NONE, False)
    yield Kind("fp32", NONE, True)
    captured = joined(TOGETHER, "graphs")
    for form in (NONE, *WORDS, captured, usual(options.device, "fp16")):
        yield Kind("fp16", form)
    for form in (NONE, captured, usual(options.device, "bf16-convs")):
        yield Kind("bf16-convs", form)
    yield Kind("fp32", captured, False)
    yield Kind("fp16", joined(TOGETHER, "compiled"))


def outputs(
    networks: Networks, given: Given, parts: Collection[str], base: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return what networks make of given inputs, by the names of `DEPTHS`, on the networks' device.

    Args:
        parts: those wanted.
        base: outputs of another device, from which W and G take their input; None: from these.
    """
    device, dtype = networks.device, dtype_of(networks)
    keypoints = given.kp_source, given.kp_driving
    found: dict[str, Tensor] = {}

    def before(part: str) -> Tensor:
        return found[part] if base is None else base[part].to(device)

    def motion() -> Tensor:
        out = networks.motion(given.crop)
        # Angles in radians, so that no part outweighs the others.
        angles = torch.stack((out.pitch, out.yaw, out.roll), 1).deg2rad()
        return torch.cat((out.kp.flatten(1), out.exp.flatten(1), out.t, out.scale, angles), 1)

    def chain() -> Tensor:
        return LivePortraitEngine(networks, batch=len(given.crop)).model.animate_crops(
            given.crop, given.driving
        )

    makers: dict[str, Callable[[], Tensor]] = {
        "F": lambda: networks.appearance(given.crop),
        "M": motion,
        "W": lambda: networks.module["warping_module"](before("F"), *keypoints, dtype),
        "G": lambda: networks.module["spade_generator"](before("W").to(dtype)).float().sigmoid(),
        "W+G": lambda: networks.render(before("F"), *keypoints),
        "chain": chain,
        "S": lambda: networks.stitch(*keypoints) - given.kp_driving,
        "R lip": lambda: networks.lip_delta(given.kp_source, given.kp_driving[:, 0, :2].abs()),
        "R eye": lambda: networks.eye_delta(given.kp_source, given.kp_driving[:, 0].abs()),
    }
    for part, make in makers.items():
        if part in parts:
            found[part] = make()
    return found


def bound(part: str, precision: str, tf32: bool) -> float:
    """Return the relative error that a network's output may have."""
    precision = "tf32" if tf32 and (precision == "fp32" or part in FLOAT32_PARTS) else precision
    unit = UNITS["fp32"] if part in FLOAT32_PARTS and not tf32 else UNITS[precision]
    return (4 if part in STEEP else 2) * unit * DEPTHS[part] ** 0.5


def error(found: Tensor, wanted: Tensor) -> float:
    """Return the relative error, computed where `found` is; NaN where anything found isn't finite."""
    found, wanted = found.float(), wanted.to(found.device)
    return ((found - wanted).norm() / (wanted - wanted.mean()).norm()).item()


@torch.no_grad()
def _wanted(options: Options, seed: int) -> Wanted:
    given = Given.random(1 if options.tiny else 2, "cpu", seed)
    return Wanted(given, outputs(networks(NONE, "cpu", "fp32"), given, _parts(options)))


def _parts(options: Options) -> list[str]:
    """Return the names to check: the quick ones alone for `tiny`."""
    return list(FLOAT32_PARTS if options.tiny else DEPTHS)


@torch.no_grad()
def _check_networks(options: Options, report: Report, kind: Kind, wanted: list[Wanted]) -> None:
    """Compare one configuration, in batches of these frames over and over.

    Outputs are looked at only after those of all inputs are there: none may change when the next ones come.
    """
    count = 2 if options.tiny else options.batch
    found = []
    with switched(NONE, options.device, kind.tf32):
        nets = networks(kind.form, options.device, kind.precision)
        for item in wanted:
            base = {part: tiled(x, count) for part, x in item.outputs.items()}
            found.append(outputs(nets, item.given.tiled(count, options.device), _parts(options), base))
    # Convolutions use TF32 unless told otherwise, the networks' products where a form says so: one bound for both.
    in_tf32 = options.on_gpu and (kind.tf32 is not False or "tf32" in kind.form)
    for part in _parts(options):
        pairs = zip(wanted, found, strict=True)
        errors = [
            error(got[part], tiled(item.outputs[part].to(options.device), count)) for item, got in pairs
        ]
        worst = max(errors, key=lambda value: (math.isnan(value), value))
        most = bound(part, kind.precision, in_tf32)
        if part == "chain" and kind.tf32:
            most *= KEYPOINTS_IN_TF32
        report.judge(PART, f"{kind}: {part}", worst, most)


@torch.no_grad()
def _check_reference(options: Options, report: Report, wanted: Wanted) -> None:
    """Compare the reference's modules with ours: exactly, and for comparison under upstream's autocast."""
    nets = reference_networks(options.device)
    given = wanted.given.tiled(len(wanted.given.crop), options.device)
    names = ("M",) if options.tiny else ("F", "M", "W+G")  # W and G go on from their own volume
    right = {**wanted.outputs, "M": wanted.outputs["M"][:, :63]}
    for half in (False, True) if options.on_gpu else (False,):
        with switched(NONE, options.device, tf32=half):
            calls = reference_calls(nets, given, half, names=names)
            outs = {name: run() for name, run in calls.items()}
        found = {name: error(out["kp"] if name == "M" else out, right[name]) for name, out in outs.items()}
        for part, value in found.items():
            what = f"reference, {'autocast fp16' if half else 'fp32'}: {part}"
            report.judge(PART, what, value, None if half else 2 * bound(part, "fp32", False))


def _check_pasting(options: Options, report: Report) -> None:
    """Compare crops and pasted frames, in levels of 255.

    Float32 rounds the places of samples to 1e-4 pixels, and noise changes by up to 255 levels a pixel: hundredths of a
    level, which can turn the rounding to whole levels over.
    """
    make = torch.Generator().manual_seed(0)
    height, width = (90, 160) if options.tiny else (1080, 1920)
    frames = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=make)
    pictures = torch.rand(2, 3, 512, 512, generator=make)
    centers = torch.tensor([[0.5, 0.5], [0.15, 0.3]]) * torch.tensor([width, height])
    squares = FaceSquare.turned(centers, torch.tensor([0.6, 0.5]) * height, torch.tensor([0.2, -0.4]))
    squares = FaceSquare(squares.center.float(), squares.axes.float(), squares.side.float())
    there = frames.to(options.device)
    crops = [compose.crop(x, squares, 512).cpu() * 255 for x in (frames, there)]
    report.judge(PART, "crop, levels", (crops[0] - crops[1]).abs().max().item(), 0.1)
    pasted = [compose.paste_back(frames, pictures, squares)]
    pasted.append(compose.paste_back(there, pictures.to(options.device), squares).cpu())
    difference = (pasted[0].int() - pasted[1].int()).abs()
    report.judge(PART, "paste back, levels at most", float(difference.max()), 1.0)
    report.judge(
        PART, "paste back, share of samples that differ", (difference > 0).float().mean().item(), 1e-2
    )


def _check_tracking(options: Options, report: Report, tf32: bool | None) -> None:
    """Compare landmarks on a real clip, in pixels."""
    clip = carried(options, "source")
    chunks = [chunk.frames for chunk in Clip(clip).chunks(8, cap=4 if options.tiny else 24)]
    trackers = FaceTracker(device="cpu"), FaceTracker(device=options.device)
    with switched(NONE, options.device, tf32):
        here, there = ([tracker.track(frames).face(0) for frames in chunks] for tracker in trackers)
    marks, others = (torch.cat([face[0] for face in faces])[..., :2] for faces in (here, there))
    missing = sum(int((a[1] != b[1]).sum()) for a, b in zip(here, there, strict=True))
    low, high = marks.aminmax(dim=1)
    face = (high - low)[:, 1].median().item()
    name = "tracking" if tf32 is None else f"tracking, {'TF32' if tf32 else 'no TF32'}"
    off = (marks - others).norm(dim=-1)
    report.judge(PART, f"{name}: pixels at most", off.max().item(), TRACKING * face, face_pixels=face)
    report.judge(PART, f"{name}: frames with another presence", float(missing), 0.0)
