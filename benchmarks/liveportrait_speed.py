"""Speed and peak memory of the LivePortrait networks, against the reference's modules (mimic-head) on the same inputs.

    python benchmarks/liveportrait_speed.py [--runs N] [--threads N] [--precision fp32]

Both have the same random weights and take turns in one process: first each stage, then what one frame of video to
video takes (F + 2M + W + G, batch 1). "wall" is elapsed time and "cpu" what all cores spent, which on a machine that
has other work says more. Peak memory is that of a process of its own for each, while it computes a frame.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

from benchmarks.gpu.forms import weights  # noqa: E402
from benchmarks.gpu.subjects import reference_networks  # noqa: E402
from liveportrait_v2v.engines.liveportrait.networks import Networks  # noqa: E402

Stages = dict[str, Callable[[], torch.Tensor]]


def inputs() -> dict[str, torch.Tensor]:
    """Random crops, features and keypoints: what the networks take, at its real size."""
    make = torch.Generator().manual_seed(0)
    keypoints = 0.3 * torch.randn(1, 21, 3, generator=make)
    return {
        "crop": torch.rand(1, 3, 256, 256, generator=make),
        "volume": torch.randn(1, 32, 16, 64, 64, generator=make),
        "features": torch.randn(1, 256, 64, 64, generator=make),
        "source": keypoints,
        "driving": keypoints + 0.05 * torch.randn(1, 21, 3, generator=make),
    }


def reference_stages(given: dict[str, torch.Tensor]) -> Stages:
    """Return the reference's stages as calls."""
    f, m, w, g = reference_networks("cpu").values()
    weights.cache_clear()  # else they would count as the reference's memory

    def warp(volume):
        return w(volume, kp_source=given["source"], kp_driving=given["driving"])["out"]

    def frame():
        m(given["crop"]), m(given["crop"])
        return g(warp(f(given["crop"])))

    return {
        "F": lambda: f(given["crop"]),
        "M": lambda: m(given["crop"])["kp"],
        "W": lambda: warp(given["volume"]),
        "G": lambda: g(given["features"]),
        "F+2M+W+G": frame,
    }


def our_stages(given: dict[str, torch.Tensor], precision: str) -> Stages:
    """Return our stages as calls."""
    networks = Networks.random(0, precision=precision)
    warping, generator = networks.module["warping_module"], networks.module["spade_generator"]
    dtype = next(generator.parameters()).dtype

    def frame():
        networks.motion(given["crop"]), networks.motion(given["crop"])
        return networks.render(networks.appearance(given["crop"]), given["source"], given["driving"])

    return {
        "F": lambda: networks.appearance(given["crop"]),
        "M": lambda: networks.motion(given["crop"]).kp,
        "W": lambda: warping(given["volume"], given["source"], given["driving"], dtype),
        "G": lambda: generator(given["features"].to(dtype)).float().sigmoid(),
        "F+2M+W+G": frame,
    }


def measure(run: Callable[[], torch.Tensor]) -> tuple[float, float]:
    """Elapsed and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def resident(field: str) -> float:
    """Return a line of /proc/self/status in MB: VmRSS is the memory held now, VmHWM the peak."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def print_memory(frame: Callable[[], torch.Tensor]) -> None:
    """Print the peak memory of both."""
    loaded = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the most from here on
    frame()
    print(f"{loaded:.0f} MB loaded, {resident('VmHWM'):.0f} MB at most")


@torch.no_grad()
def main() -> None:
    """Measure the networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each stage; medians are printed (5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch (all cores)")
    parser.add_argument("--precision", default="fp32", help="of ours; the reference has fp32 (fp32)")
    parser.add_argument("--memory", choices=("reference", "ours"), help="only the peak memory of one of them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = inputs()
    if options.memory:
        stages = (
            reference_stages(given) if options.memory == "reference" else our_stages(given, options.precision)
        )
        print_memory(stages["F+2M+W+G"])
        return
    theirs, ours = reference_stages(given), our_stages(given, options.precision)
    print(f"{options.threads} threads, {options.precision}, medians of {options.runs} runs in turn, seconds")
    heads = ("stage", "reference wall", "ours wall", "ratio", "reference cpu", "ours cpu", "ratio")
    print("{:9} {:>15} {:>10} {:>6}   {:>14} {:>9} {:>6}".format(*heads))
    for stage in theirs:
        theirs[stage](), ours[stage]()  # libraries choose their kernels at the first call
        turns = [(measure(theirs[stage]), measure(ours[stage])) for _ in range(options.runs)]
        cells = []
        for kind in range(2):
            a, b = (statistics.median(turn[side][kind] for turn in turns) for side in range(2))
            ratio = statistics.median(turn[1][kind] / turn[0][kind] for turn in turns)
            cells += [a, b, ratio]
        print("{:9} {:15.2f} {:10.2f} {:6.0%}   {:14.2f} {:9.2f} {:6.0%}".format(stage, *cells), flush=True)
    for side in ("reference", "ours"):
        words = ["--memory", side, "--threads", str(options.threads), "--precision", options.precision]
        print(f"memory, {side}: ", end="", flush=True)
        subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
