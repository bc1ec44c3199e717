"""Signals of the draft engine's results against the driving clip, and what nobody moved.

    python benchmarks/draft_signals.py [--frames N] [SOURCE,DRIVING ...]

For each pair the frames of the result are tracked again. Printed are three lines:

- *correlation* and *slope* of each signal, result on driving clip: how far it goes for what the driving face does.
  Signals are changes since the first frame, as `expressions.readings` has them, in what they are carried over by:
  height and width of the mouth's opening in widths of the face, the rise of its corners and of the brows in heights of
  the face, the opening of both eyes in shares of the first frame's, and how much further the left one is open than the
  right one (wink). *inside* is the mean light between lips that are open by PARTED, in shares of the skin's: teeth and
  the dark below them. Brackets: the driving face moves less than ENOUGH, standard deviation, so that a slope is noise.
- *head*: width and area of the outline over those of the source's first outline, turned rigidly to where the result's
  head is: 1 is a head that neither swells nor shrinks as it turns. *irises*: height over width, and width, of the rings
  that the landmark network sees, over the source's own at the same frames. *background*: mean way of lines that are
  further than AROUND from the face's middle, in outlines, and inside its square, and how far they bend from straight
  ones, both in widths of the face. The pictures that are moved for this have upright and level stripes.
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

from benchmarks.draft_looks import (  # noqa: E402
    Shown,
    both_seen,
    drawn,
    held,
    inside_light,
    jitter,
    joined,
    rendered,
)
from benchmarks.draft_quality import correlation, open_clip  # noqa: E402
from benchmarks.expressions import readings  # noqa: E402
from liveportrait_v2v.compose import PixelRect, rect_of  # noqa: E402
from liveportrait_v2v.engines.draft import face  # noqa: E402
from liveportrait_v2v.engines.draft.motion import RestingFace  # noqa: E402
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
    ("test_movie", "wolfgang"),
)
ENOUGH = {
    **{"pitch": 2.0, "yaw": 2.0, "roll": 2.0, "mouth": 0.02, "width": 0.01, "corners": 0.008, "brows": 0.008},
    **{"lids": 0.15, "wink": 0.15, "gaze_x": 0.03, "gaze_y": 0.06, "inside": 0.06},
}
"""Standard deviation of the driving signal from which it counts: degrees, shares and widths of the eye. What is read of
an upright glance varies by 0.05 with the lids alone."""
AROUND, STRIPE_PX, PARTED = 1.3, 32, 0.15
SHUT_EYE = 0.13
"""Opening up to which an eye is shut: the landmark network reads 0.04 to 0.13 of one, by its lashes."""


def signals(shown: Shown, first: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the signals [N] of a face in N frames since its landmarks [478, 3] in the first one."""
    rows = [readings(*frame, first) for frame in zip(shown.frames, shown.landmarks, strict=True)]
    found = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
    rest = RestingFace.of(first)
    width, height = rest.size.tolist()
    openings = torch.stack([found[f"lids_{side}"] for side in ("left", "right")], dim=1)
    lids = openings.clamp_min(SHUT_EYE) / rest.eyes
    # Each eye's gaze is missing while it is shut.
    gaze = {
        f"gaze_{way}": torch.stack([found[f"gaze_{way}_{side}"] for side in ("left", "right")]).nanmean(0)
        for way in ("x", "y")
    }
    light = torch.tensor(
        [inside_light(*frame).mean() for frame in zip(shown.frames, shown.landmarks, strict=True)]
    )
    return {
        **{name: found[name] for name in ("pitch", "yaw", "roll")},
        "mouth": found["mouth"] * found["width"] / width,
        "width": found["width"] / width,
        "corners": found["corners"] / height,
        "brows": found["brows"] / height,
        "lids": lids.mean(1),
        "wink": lids[:, 0] - lids[:, 1],
        **gaze,
        "inside": light.where(face.mouth_opening(shown.landmarks) > PARTED, math.nan),
    }


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


def background(
    source: list[TrackedChunk], driving: list[TrackedChunk], rate: Fraction
) -> tuple[float, float]:
    """Return the mean way of stripes around the face and their bend, root mean square, in widths of the face."""
    height, width = source[0].frames.shape[1:3]
    y, x = (torch.arange(side) // STRIPE_PX % 2 * 255 for side in (height, width))
    stripes = torch.stack((*torch.meshgrid(y, x, indexing="ij"), torch.zeros(height, width)), dim=-1)
    chunks = [replace(chunk, frames=stripes.byte().expand(len(chunk), -1, -1, -1)) for chunk in source]
    ways, bends = [], []
    for chunk, moved in zip(chunks, drawn(chunks, driving, rate), strict=True):
        region = rect_of(face_crop(chunk.landmarks, AnimationSettings()), height, width)
        for points, frame in zip(chunk.landmarks[:, list(topology.OVAL), :2], moved, strict=True):
            around = _around(points, region, height, width)
            face_width = (points[:, 0].max() - points[:, 0].min()).item()
            for lines, seen in ((frame[..., 0].T, around.T), (frame[..., 1], around)):
                way, bend = _lines(lines, seen)
                ways.append(way / face_width)
                bends.append(bend / face_width)
    return torch.cat(ways).mean().item(), torch.cat(bends).mean().item()


def _around(outline: torch.Tensor, region: PixelRect, height: int, width: int) -> torch.Tensor:
    """Return the pixels around an outline [K, 2] that are inside its square's rectangle, bool [height, width]."""
    middle = outline.mean(0)
    around = torch.zeros(height, width, dtype=torch.bool)
    away = region.pixels("cpu") - middle
    # The outline's distance from the middle in the direction of each pixel.
    angles = torch.atan2(*(outline - middle).flip(-1).unbind(-1))
    order = angles.argsort()
    nearest = torch.searchsorted(angles[order], torch.atan2(away[..., 1], away[..., 0]).flatten())
    reach = (outline - middle).norm(dim=-1)[order][nearest.clamp_max(len(order) - 1)]
    region.of(around[None])[0] = away.norm(dim=-1) > AROUND * reach.view(away.shape[:2])
    return around


def _lines(picture: torch.Tensor, around: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ways [P] of points of upright lines, and the bend of each line [L], in pixels.

    Args:
        picture: uint8 [H, W], upright stripes that were moved.
        around: bool [H, W], where it counts.
    """
    edges = torch.arange(STRIPE_PX, picture.shape[1] - STRIPE_PX // 2 + 1, STRIPE_PX)
    first, last = STRIPE_PX // 2, edges[-1].item() + STRIPE_PX // 2
    # Half a stripe before an edge and half a stripe behind it: their light says where the edge is.
    light = picture[:, first:last].float().unflatten(1, (-1, STRIPE_PX)).mean(-1) / 255
    way = STRIPE_PX * (light - 0.5) * torch.where(edges // STRIPE_PX % 2 == 1, -1, 1)
    seen = around[:, edges].float()
    count = seen.sum(0)
    lines = count >= STRIPE_PX
    seen, way, count = seen[:, lines], way[:, lines], count[lines]
    y = torch.arange(len(picture)).unsqueeze(1)
    y = y - (seen * y).sum(0) / count
    shift = way - (seen * way).sum(0) / count
    slope = (seen * y * shift).sum(0) / (seen * y * y).sum(0)
    bend = ((seen * (shift - slope * y).square()).sum(0) / count).sqrt()
    return way[seen > 0].abs(), bend


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
        way, bend = background(source, driving, rate)
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
            f"background: way {way:.3f}, bend {bend:.4f}"
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
