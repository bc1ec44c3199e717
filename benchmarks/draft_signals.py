"""Signals of the draft engine's results against the driving clip, and what goes along without being led.

    python benchmarks/draft_signals.py [--frames N] [SOURCE,DRIVING ...]

For each pair the frames of the result are tracked again. Printed of each pair, and then over all of them, are:

- *correlation* and *slope* of each signal, result on driving clip: how far it goes for what the driving face does.
  Signals are changes since the first frame, as `expressions.readings` has them, in what they are carried over by:
  height and width of the mouth's opening in widths of the face, the rise of its corners and of the brows in heights of
  the face, the opening of both eyes in shares of the first frame's, and how much further the left one is open than the
  right one (wink). *gaze_x* is that of the driving irises' landmarks, on which the network is exact down to eyes of 14
  pixels, and in the result how far the source's iris is from where the source has it, looked for by its picture: in the
  result the network sees less of a glance than there is. *gaze_y* is what is dark of an eye in both. *inside* is the
  mean light between lips that are open by PARTED, in shares of the skin's: teeth and the dark below them. Brackets: the
  driving face moves less than ENOUGH, standard deviation, so that a slope is noise.
- *head*: width and area of the outline over those of the source's first outline, turned rigidly to where the result's
  head is: 1 is a head that neither swells nor shrinks as it turns. *irises*: height over width, and width, of the rings
  that the landmark network sees, over the source's own at the same frames. *background*: mean way of lines that are
  further than AROUND from the face's middle, in outlines, and inside its square, and how far they bend from straight
  ones, both in widths of the face. The pictures that are moved for this have upright and level stripes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.draft_looks import inside_light
from benchmarks.draft_pairs import Pair, Shown, chosen_pairs, over_pairs, spread
from benchmarks.draft_quality import correlation
from benchmarks.expressions import readings
from liveportrait_v2v.compose import PixelRect, rect_of, to_float
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.affine import to_sampling
from liveportrait_v2v.engines.draft.curves import sampled
from liveportrait_v2v.engines.draft.eyeballs import EYEBALLS
from liveportrait_v2v.engines.draft.face import Frame
from liveportrait_v2v.engines.draft.motion import RestingFace
from liveportrait_v2v.engines.draft.parts import Parts
from liveportrait_v2v.faces import topology
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.settings import AnimationSettings

ENOUGH = {
    **{"pitch": 2.0, "yaw": 2.0, "roll": 2.0, "mouth": 0.02, "width": 0.01, "corners": 0.008, "brows": 0.008},
    **{"lids": 0.15, "wink": 0.15, "gaze_x": 0.03, "gaze_y": 0.06, "inside": 0.06},
}
"""Standard deviation of the driving signal from which it counts: degrees, shares and widths of the eye. What is read of
an upright glance varies by 0.05 with the lids alone."""
SLOPES = (0.8, 1.2)
AROUND, STRIPE_PX, PARTED = 1.3, 32, 0.15
OPEN_EYES = (0.2, 0.15)
"""Opening of an eye from which its iris is looked for, in the source and in the result."""
EYE_PX, EYE_AROUND, IRIS_AROUND, ALIKE = 64, (0.6, 0.35), (1.3, 1.0), 0.5
"""An iris is looked for in a picture of so many pixels a width of the eye, half as wide and high as this in these
widths, by its own surroundings, half as wide and high as this in its radii; and the least correlation of both."""
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
    upwards = torch.stack([found[f"gaze_y_{side}"] for side in ("left", "right")]).nanmean(0)
    across = face.gaze(face.first_pose(shown.landmarks).undo(shown.landmarks))[..., 0].mean(1)
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
        "gaze_x": across,
        "gaze_y": upwards,
        "inside": light.where(face.mouth_opening(shown.landmarks) > PARTED, math.nan),
    }


def glances(own: Shown, result: Shown) -> torch.Tensor:
    """Return how far to the right irises of results are from their places in the source, in widths of the eye, [N].

    NaN where both eyes are shut.
    """
    parts, ways = [Parts(shown.landmarks) for shown in (own, result)], []
    for eye in (0, 1):
        pictures = [
            _eye_pictures(shown.frames, part.eye(eye))
            for shown, part in zip((own, result), parts, strict=True)
        ]
        irises = parts[0].irises.unflatten(0, (2, -1))[eye]
        found = torch.tensor([_way(*frame) for frame in zip(*pictures, irises, strict=True)])
        openings = [part.eye_openings[:, eye] > least for part, least in zip(parts, OPEN_EYES, strict=True)]
        ways.append(found.where(openings[0] & openings[1], math.nan))
    return torch.stack(ways).nanmean(0)


def _eye_pictures(frames: torch.Tensor, eyes: Frame) -> torch.Tensor:
    """Return the light of what is around eyes, in their own frames, float32 [N, h, w] in 0..255."""
    x, y = (torch.arange(-round(reach * EYE_PX), round(reach * EYE_PX) + 1) / EYE_PX for reach in EYE_AROUND)
    x, y = (side.expand(len(frames), -1, -1) for side in torch.meshgrid(x, y, indexing="xy"))
    places = eyes.then(to_sampling([PixelRect(0, 0, *frames.shape[1:3])], len(frames), frames.device))
    return sampled(to_float(frames).mean(1, keepdim=True), places.of(x, y))[:, 0]


def _way(source: torch.Tensor, result: torch.Tensor, iris: torch.Tensor) -> float:
    """Return how far to the right the source's iris is in the result, in widths of the eye; NaN where it isn't found.

    Args:
        source, result: float32 [h, w], as `_eye_pictures` has them.
        iris: float32 [5, 2], its landmarks in the source eye's frame.
    """
    radius = (iris[1:] - iris[0]).norm(dim=-1).mean().clamp(*EYEBALLS.iris).item()
    (left, right), (top, bottom) = (
        [min(max(side // 2 + round((place + away * reach * radius) * EYE_PX), 0), side) for away in (-1, 1)]
        for side, place, reach in zip(source.shape[::-1], iris[0].tolist(), IRIS_AROUND, strict=True)
    )
    own = source[top:bottom, left:right]
    own = ((own - own.mean()) / own.std(correction=0).clamp_min(1))[None, None]
    mean = torch.full_like(own, 1 / own.numel())
    light, squares = (F.conv2d(picture[None, None], mean) for picture in (result, result.square()))
    spread = (squares - light.square()).clamp_min(1).sqrt()
    alike = (F.conv2d(result[None, None], own * mean) / spread)[0, 0]
    if alike.max() < ALIKE:
        return math.nan
    return (alike.argmax().item() % alike.shape[1] - left) / EYE_PX


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


def background(pair: Pair) -> tuple[float, float]:
    """Return the mean way of stripes around the face and their bend, root mean square, in widths of the face."""
    height, width = pair.source[0].frames.shape[1:3]
    y, x = (torch.arange(side) // STRIPE_PX % 2 * 255 for side in (height, width))
    stripes = torch.stack((*torch.meshgrid(y, x, indexing="ij"), torch.zeros(height, width)), dim=-1)
    chunks = [replace(chunk, frames=stripes.byte().expand(len(chunk), -1, -1, -1)) for chunk in pair.source]
    ways, bends = [], []
    for chunk, moved in zip(chunks, replace(pair, source=chunks).drawn(), strict=True):
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


@dataclass(frozen=True)
class Found:
    """What was measured of a pair.

    Attributes:
        frames: that were compared.
        signals: correlation, slope and the driving signal's standard deviation, by name.
        others: further figures, by name.
    """

    frames: int
    signals: dict[str, tuple[float, float, float]]
    others: dict[str, float]

    @property
    def counted(self) -> dict[str, tuple[float, float]]:
        """Correlation and slope of the signals that the driving face gives enough of."""
        return {name: found[:2] for name, found in self.signals.items() if found[2] >= ENOUGH[name]}


def measured(names: tuple[str, str], frames: int) -> Found:
    """Measure a pair."""
    pair = Pair.of(names, frames)
    own, led, result = pair.own, pair.led, pair.rendered()
    theirs = signals(led, led.landmarks[0])
    ours = signals(result, own.landmarks[0]) | {"gaze_x": glances(own, result)}
    width, area = head(result.landmarks, own.landmarks[0])
    (round_now, wide_now), (round_own, wide_own) = irises(result.landmarks), irises(own.landmarks)
    way, bend = background(pair)
    return Found(
        len(own.frames),
        {name: compared(ours[name], theirs[name]) for name in ENOUGH},
        {
            "head width": width,
            "head area": area,
            "iris height": (round_now / round_own).mean().item(),
            "iris width": (wide_now / wide_own).mean().item(),
            "way": way,
            "bend": bend,
        },
    )


def main() -> None:
    """Measure the pairs and print their lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=72, help="limit of frames (72)")
    parser.add_argument("pairs", nargs="*", metavar="SOURCE,DRIVING", help="all pairs when left out")
    options = parser.parse_args()
    every = {}
    for names, found in over_pairs(partial(measured, frames=options.frames), chosen_pairs(options.pairs)):
        every[names] = found
        shown = [
            f"{name} {r:.2f} {slope:.2f}" if name in found.counted else f"{name} ({r:.2f} {slope:.2f})"
            for name, (r, slope, _) in found.signals.items()
        ]
        print(f"{names[0]} by {names[1]}, {found.frames} frames")
        print("  correlation and slope: " + ", ".join(shown))
        print("  " + ", ".join(f"{name} {value:.3f}" for name, value in found.others.items()), flush=True)
    low, high = SLOPES
    for name in ENOUGH:
        counted = {names: found.counted[name] for names, found in every.items() if name in found.counted}
        if counted:
            slopes = {names: slope for names, (_, slope) in counted.items()}
            within = sum(low <= round(slope, 2) <= high for slope in slopes.values())
            correlations = statistics.median(r for r, _ in counted.values())
            print(
                f"{name:8} slopes of {low} to {high}: {within} of {len(slopes)}, {spread(slopes)}; "
                f"median correlation {correlations:.2f}"
            )
    for name in next(iter(every.values())).others:
        print(f"{name:12} {spread({names: found.others[name] for names, found in every.items()})}")


if __name__ == "__main__":
    main()
