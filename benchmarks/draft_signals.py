"""Signals of the draft engine's results against the driving clip, and what nobody moved.

    python benchmarks/draft_signals.py [--frames N] [SOURCE,DRIVING ...]

For each pair the frames of the result are tracked again. Printed are three lines:

- *correlation* and *slope* of each signal, result on driving clip: how far it goes for what the driving face does.
  Signals are changes since the first frame, as `expressions.readings` has them; openings of eyes and the width of the
  mouth in shares of the first frame's, since they are carried over by proportion. Brackets: the driving face moves less
  than ENOUGH, standard deviation, so that a slope is noise.
- *head*: width and area of the outline over those of the source's first outline, turned rigidly to where the result's
  head is: 1 is a head that neither swells nor shrinks as it turns. *irises*: height over width, and width, of the rings
  that the landmark network sees, over the source's own at the same frames. *background*: mean way of what is further
  than AROUND from the face's middle, in outlines, and inside its square, in widths of the face. The pictures that are
  moved for this are two ramps of colour, so that each pixel says where it came from.
- *still*, led by one driving frame repeated: mean second difference of the landmarks over time, and that of the pixels
  of the face (flicker), over the source's own. *frozen*, where the source's first frame is repeated as well: the
  largest change of any pixel from one frame to the next, in levels of 255.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "scripts")]

from benchmarks.draft_looks import Shown, both_seen, drawn, held, jitter, joined, rendered  # noqa: E402
from benchmarks.draft_quality import correlation, open_clip  # noqa: E402
from benchmarks.expressions import readings  # noqa: E402
from liveportrait_v2v.compose import rect_of  # noqa: E402
from liveportrait_v2v.engines.draft import face  # noqa: E402
from liveportrait_v2v.engines.draft.motion import SHUT_EYE_OPENING, USUAL_EYE_OPENING  # noqa: E402
from liveportrait_v2v.faces import topology  # noqa: E402
from liveportrait_v2v.geometry import face_crop  # noqa: E402
from liveportrait_v2v.settings import AnimationSettings  # noqa: E402
from liveportrait_v2v.tracking import TrackedChunk  # noqa: E402

PAIRS = (
    ("wolfgang", "jwp_intro"),
    ("jwp_intro", "cap12"),
    ("jwp_intro", "test_movie"),
    ("test_movie", "obama"),
    ("single_face", "jwp_intro"),
    ("cap12", "carphone"),
)
ENOUGH = {
    **{"pitch": 2.0, "yaw": 2.0, "roll": 2.0, "mouth": 0.05, "width": 0.03, "corners": 0.12, "brows": 0.12},
    **{"lids_left": 0.15, "lids_right": 0.15, "gaze_x": 0.03, "gaze_y": 0.03},
}
"""Standard deviation of the driving signal from which it counts: degrees, shares, cm and widths of the eye."""
BY_PROPORTION = ("width", "lids_left", "lids_right")
AROUND = 1.3


def signals(shown: Shown, first: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the signals [N] of a face in N frames since its landmarks [478, 3] in the first one."""
    rows = [readings(*frame, first) for frame in zip(shown.frames, shown.landmarks, strict=True)]
    found = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
    for way in ("x", "y"):
        # Each eye's is missing while it is shut.
        eyes = torch.stack([found[f"gaze_{way}_{side}"] for side in ("left", "right")])
        found[f"gaze_{way}"] = eyes.nanmean(0)
    for name in BY_PROPORTION:
        rest = found[name][0].item()
        # As the draft has it: eyes that are shut in the first frame are carried over by a usual opening.
        shut = name != "width" and rest < SHUT_EYE_OPENING
        found[name] = found[name] / (USUAL_EYE_OPENING if shut else rest)
    return {name: found[name] for name in ENOUGH}


def compared(result: torch.Tensor, driving: torch.Tensor) -> tuple[float, float, float]:
    """Return correlation, slope and the driving signal's standard deviation, over the frames that have both."""
    both = ~(result.isnan() | driving.isnan())
    a, b = driving[both], result[both]
    if len(a) < 3:
        return math.nan, math.nan, 0.0
    away = a - a.mean()
    slope = (away @ (b - b.mean()) / (away @ away).clamp_min(1e-9)).item()
    return correlation(a, b), slope, a.std().item()


def head(landmarks: torch.Tensor, first: torch.Tensor) -> tuple[float, float]:
    """Return width and area of outlines of faces [N, 478, 3], over the first one's, turned as they are."""
    poses = face.first_pose(landmarks)
    rigid = poses.apply(face.first_pose(first[None]).undo(first[None]).expand(len(landmarks), -1, -1))
    sizes = [_size(points[:, list(topology.OVAL), :2]) for points in (landmarks, rigid)]
    width, area = (own / turned for own, turned in zip(*sizes, strict=True))
    return width.mean().item(), area.mean().item()


def _size(outline: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return width and area [N] of outlines [N, K, 2] in pixels."""
    x, y = outline.unbind(-1)
    area = (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1).abs() / 2
    return x.amax(1) - x.amin(1), area


def irises(landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return height over width, and width in cm of the head, of the irises of faces [N, 478, 3]: [N, 2] each."""
    shape = face.first_pose(landmarks).undo(landmarks)
    rings = torch.stack([shape[:, list(ring)] for _, _, ring in face.EYES], dim=1)[:, :, 1:, :2]
    low, high = rings.amin(2), rings.amax(2)
    width, height = (high - low).unbind(-1)
    return height / width, width


def background(source: list[TrackedChunk], driving: list[TrackedChunk], rate: Fraction) -> float:
    """Return the mean way of what is around the face, in its widths."""
    height, width = source[0].frames.shape[1:3]
    y, x = torch.meshgrid(torch.linspace(0, 255, height), torch.linspace(0, 255, width), indexing="ij")
    ramps = torch.stack((x, y, torch.zeros_like(x)), dim=-1).round().to(torch.uint8)
    chunks = [replace(chunk, frames=ramps.expand(len(chunk), -1, -1, -1)) for chunk in source]
    size, ways = torch.tensor([width, height]), []
    for chunk, moved in zip(chunks, drawn(chunks, driving, rate), strict=True):
        region = rect_of(face_crop(chunk.landmarks, AnimationSettings()), height, width)
        shift = (region.of(moved)[..., :2].float() - region.of(chunk.frames)[..., :2].float()) * (size / 255)
        places = region.pixels("cpu")
        for points, way in zip(chunk.landmarks[:, list(topology.OVAL), :2], shift, strict=True):
            middle = points.mean(0)
            away = places - middle
            # The outline's distance from the middle in the direction of each pixel.
            angles = torch.atan2(*(points - middle).flip(-1).unbind(-1))
            order = angles.argsort()
            nearest = torch.searchsorted(angles[order], torch.atan2(away[..., 1], away[..., 0]).flatten())
            reach = (points - middle).norm(dim=-1)[order][nearest.clamp_max(len(order) - 1)]
            outside = away.norm(dim=-1) > AROUND * reach.view(away.shape[:2])
            face_width = (points[:, 0].max() - points[:, 0].min()).item()
            ways.append(way.norm(dim=-1)[outside].mean().item() / face_width)
    return sum(ways) / len(ways)


def flicker(shown: Shown, places: torch.Tensor) -> float:
    """Return the mean second difference over time of the pixels inside the box of landmarks [N, 478, 3]."""
    low, high = places[..., :2].amin((0, 1)).int().tolist(), places[..., :2].amax((0, 1)).int().tolist()
    part = shown.frames[:, max(low[1], 0) : high[1], max(low[0], 0) : high[0]].float().mean(-1)
    return part.diff(n=2, dim=0).abs().mean().item()


def main() -> None:
    """Measure the pairs and print their lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=96, help="limit of frames (96)")
    parser.add_argument("pairs", nargs="*", metavar="SOURCE,DRIVING", help="a choice of pairs when left out")
    options = parser.parse_args()
    for names in [tuple(pair.split(",")) for pair in options.pairs] or PAIRS:
        source, driving = both_seen(names, options.frames)
        own, led, rate = joined(source), joined(driving), open_clip(names[0]).info.rate
        result = rendered(source, driving, rate)
        ours, theirs = signals(result, own.landmarks[0]), signals(led, led.landmarks[0])
        figures = {name: compared(ours[name], theirs[name]) for name in ENOUGH}
        print(f"{names[0]} by {names[1]}, {len(own.frames)} frames")
        shown = [
            f"{name} {r:.2f} {slope:.2f}" if spread >= ENOUGH[name] else f"{name} ({r:.2f} {slope:.2f})"
            for name, (r, slope, spread) in figures.items()
        ]
        print("  correlation and slope: " + ", ".join(shown))
        width, area = head(result.landmarks, own.landmarks[0])
        (round_now, wide_now), (round_own, wide_own) = irises(result.landmarks), irises(own.landmarks)
        print(
            f"  head: width {width:.2f}, area {area:.2f}; irises: height over width "
            f"{(round_now / round_own).mean().item():.2f}, width {(wide_now / wide_own).mean().item():.2f}; "
            f"background {background(source, driving, rate):.3f}"
        )
        still, frozen = (rendered(chunks, held(driving), rate) for chunks in (source, held(source)))
        print(
            f"  still: jitter {jitter(still.landmarks) / max(jitter(own.landmarks), 1e-6):.2f}, flicker "
            f"{flicker(still, own.landmarks) / max(flicker(own, own.landmarks), 1e-6):.2f}; frozen: "
            f"{frozen.frames.int().diff(dim=0).abs().max().item()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
