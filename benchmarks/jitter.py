"""Motion that nobody made: what trembles in an engine's results where nothing moves.

    python benchmarks/jitter.py [--frames N] [--engine draft] [SOURCE,DRIVING ...]
    python benchmarks/jitter.py --engine liveportrait [--device cuda] [--weights FOLDER] [SOURCE,DRIVING ...]

For each pair the frames of the result are tracked again. Jitter is the mean second difference of the landmarks over
time, flicker that of the pixels of the face. Printed of each pair, and then over all of them, are:

- *jitter, flicker*, led by one driving frame repeated: over those of the source.
- *led*: jitter of the source's first frame repeated, led by the driving clip, over that of the driving face, both in
  widths of the face: how much more a result trembles than the face that leads it, at rest or not.
- *frozen*, the first frames of both repeated: the largest change of any pixel from one frame to the next, in levels of
  255, and how many pixels change by more than one level, on average over the frames.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.draft_pairs import Pair, Shown, chosen_pairs, over_pairs, spread
from liveportrait_v2v.engines import create_engine

engine_of = functools.cache(create_engine)


def jitter(landmarks: torch.Tensor) -> float:
    """Return the mean second difference over time of landmarks [N, 478, 3], in pixels."""
    return landmarks[..., :2].diff(n=2, dim=0).norm(dim=-1).mean().item()


def flicker(shown: Shown, places: torch.Tensor) -> float:
    """Return the mean second difference over time of the pixels inside the box of landmarks [N, 478, 3]."""
    low, high = places[..., :2].amin((0, 1)).int().tolist(), places[..., :2].amax((0, 1)).int().tolist()
    part = shown.frames[:, max(low[1], 0) : high[1], max(low[0], 0) : high[0]].float().mean(-1)
    return part.diff(n=2, dim=0).abs().mean().item()


def face_width(landmarks: torch.Tensor) -> float:
    """Return the mean width of faces [N, 478, 3] in pixels."""
    return (landmarks[..., 0].amax(1) - landmarks[..., 0].amin(1)).mean().item()


def measured(
    names: tuple[str, str], frames: int, engine: str, device: str, weights: str | None
) -> dict[str, float]:
    """Measure a pair."""
    made = engine_of(engine, device, weights=weights)
    pair = Pair.of(names, frames)
    own, led = pair.own, pair.led
    still, moved = pair.held.rendered(made), pair.of_still.rendered(made)
    changes = torch.cat(pair.of_still.held.drawn(made)).int().diff(dim=0).abs().amax(-1)
    return {
        "jitter": jitter(still.landmarks) / max(jitter(own.landmarks), 1e-6),
        "flicker": flicker(still, own.landmarks) / max(flicker(own, own.landmarks), 1e-6),
        "led": jitter(moved.landmarks)
        / face_width(moved.landmarks)
        / (jitter(led.landmarks) / face_width(led.landmarks)),
        "frozen": changes.max().item(),
        "pixels": (changes > 1).float().sum((1, 2)).mean().item(),
    }


def main() -> None:
    """Measure the pairs and print their lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=72, help="limit of frames (72)")
    parser.add_argument("--engine", choices=("draft", "liveportrait"), default="draft", help="(draft)")
    parser.add_argument("--device", default="cpu", help="a torch device (cpu)")
    parser.add_argument(
        "--weights", help="folder with the networks' weights, if they are not in the usual one"
    )
    parser.add_argument("pairs", nargs="*", metavar="SOURCE,DRIVING", help="all pairs when left out")
    options = parser.parse_args()
    measure = functools.partial(
        measured,
        frames=options.frames,
        engine=options.engine,
        device=options.device,
        weights=options.weights,
    )
    every = {}
    at_once = os.cpu_count() if options.engine == "draft" else 1
    for names, found in over_pairs(measure, chosen_pairs(options.pairs), at_once):
        every[names] = found
        line = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        print(f"{names[0]:12} by {names[1]:12} {line}", flush=True)
    for name in next(iter(every.values())):
        print(f"{name:8} {spread({names: found[name] for names, found in every.items()})}")


if __name__ == "__main__":
    main()
