"""Frames a second, delay, dropped frames and memory of the live page, with a headless Chromium on the same machine.

    python benchmarks/live.py [--minutes M] [--source FILE] [--engine ENGINE]

The browser's camera plays the clip jwp_intro, 640x480 at 30 frames a second. The delay is what the page shows: from
the camera's frame to the drawn result, medians over two seconds. CPU time is that of all threads, a drawn frame. The
machine's load is printed as well: on a busy machine all figures are those of what is left. Nothing debugs the page
meanwhile but for reading its figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from PIL import Image  # noqa: E402

import fetch_clips  # noqa: E402
import live_browser  # noqa: E402
from liveportrait_v2v.media import Clip  # noqa: E402

START_SECONDS, WARM_UP_SECONDS = 120, 10
_TICKS = os.sysconf("SC_CLK_TCK")


def source(folder: Path) -> Path:
    """Write the source: the generated face of a clip, enlarged to 512x512."""
    frame = next(iter(Clip(fetch_clips.fetch(["avatar"])["avatar"]).chunks(1))).frames[0]
    path = folder / "source.png"
    Image.fromarray(frame.numpy()).resize((512, 512), Image.Resampling.BICUBIC).save(path)
    return path


def tree(root: int) -> list[int]:
    """Return a process and all that come of it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_seconds(processes: list[int]) -> float:
    """Return the CPU time of processes so far."""
    total = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_mb(processes: list[int]) -> float:
    """Return the memory of processes; what several of them share is counted for each."""
    pages = sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def heap_mb(page: live_browser.MeasuredPage) -> float:
    """Return the memory of the page's JavaScript."""
    return page.evaluate("performance.memory.usedJSHeapSize") / 1e6


def text(page: live_browser.MeasuredPage, name: str) -> str:
    """Return what an element of the page says, nothing while the page is loaded."""
    return page.evaluate(f"document.getElementById('{name}')?.textContent") or ""


def number(page: live_browser.MeasuredPage, name: str) -> float | None:
    """Return a figure that the page shows; None while it shows none."""
    shown = text(page, name)
    return float(shown) if shown.isdigit() else None


def main() -> None:
    """Measure, and print a line a minute and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="time to measure (1)")
    parser.add_argument("--source", help="picture or clip instead of a generated face of 512x512")
    parser.add_argument("--engine", default="draft")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        clip = Clip(fetch_clips.fetch(["jwp_intro"])["jwp_intro"])
        camera = live_browser.write_camera(clip, place / "camera.mjpeg")
        command = live_browser.Command(options.source or source(place), "--engine", options.engine)
        try:
            page = live_browser.MeasuredPage(command.url, camera, place)
            try:
                begun = time.monotonic()
                while not number(page, "rate"):
                    if time.monotonic() - begun > START_SECONDS:
                        raise TimeoutError(f"no result was drawn in {START_SECONDS} s")
                    time.sleep(0.5)
                time.sleep(WARM_UP_SECONDS)
                measure(page, command.process.pid, options.minutes)
            finally:
                page.close()
        finally:
            command.stop()


def measure(page: live_browser.MeasuredPage, command: int, minutes: float) -> None:
    """Look at the page's figures every two seconds."""
    start, rates, delays, loads = time.monotonic(), [], [], []
    server = tree(command)  # with the process that tracks
    others = [process for process in tree(os.getpid()) if process not in (os.getpid(), *server)]
    used = cpu_seconds(server), cpu_seconds(others)
    first = resident_mb(server), heap_mb(page)
    dropped = number(page, "dropped")
    print("minute  frames/s     ms  dropped  server MB  page MB  load")
    while time.monotonic() - start < 60 * minutes:
        time.sleep(2)
        rates.append(number(page, "rate") or 0)
        if (delay := number(page, "delay")) is not None:
            delays.append(delay)
        loads.append(os.getloadavg()[0])
        if len(rates) % 30 == 0:
            print(
                f"{(time.monotonic() - start) / 60:6.1f} {statistics.mean(rates[-30:]):9.1f} "
                f"{statistics.median(delays[-30:]):6.0f} {number(page, 'dropped'):8.0f} {resident_mb(server):10.0f} "
                f"{heap_mb(page):8.1f} {statistics.mean(loads[-30:]):5.1f}",
                flush=True,
            )
    seconds = time.monotonic() - start
    shown = statistics.mean(rates) * seconds
    cpu = [
        1000 * (now - before) / shown
        for now, before in zip((cpu_seconds(server), cpu_seconds(others)), used, strict=True)
    ]
    print(
        f"{statistics.mean(rates):.1f} frames a second (at most {max(rates):.0f} in two seconds), "
        f"{statistics.median(delays):.0f} ms (at least {min(delays):.0f}, the slowest tenth "
        f"{statistics.quantiles(delays, n=10)[-1]:.0f}), "
        f"{(number(page, 'dropped') - dropped) / seconds:.1f} of 30 frames a second dropped"
    )
    print(
        f"CPU time a drawn frame: server {cpu[0]:.0f} ms, browser {cpu[1]:.0f} ms; load {statistics.mean(loads):.1f}"
    )
    print(
        f"memory: server {first[0]:.0f} -> {resident_mb(server):.0f} MB, "
        f"page {first[1]:.1f} -> {heap_mb(page):.1f} MB"
    )
    print(text(page, "smoothing-say"))


if __name__ == "__main__":
    main()
