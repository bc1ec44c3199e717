"""Correlation of the draft engine's output with the driving clip, on every pair of the real clips.

    python benchmarks/draft_quality.py [--frames N] [--vary NAME=VALUE] [SOURCE,DRIVING ...]

For each pair the result is written to a video file, the faces of that file are tracked again, and five signals of
the tracked landmarks are correlated (Pearson) with those of the driving clip at the same times: opening of mouth and
eyes, pitch, yaw and roll of the head. Identity: the mean change of distances between eyes, cheeks and brow, which
no expression moves, against the source's.

Frames count that show the face in both clips and in the result, and are animated in full: beside frames without a face
the animation fades. Eyes count from the source's first open ones on: lids that were never seen open stay shut.

`--vary` runs the draft with another value of a tuned constant or of a field of a parameter object, both of which
docs/draft.md lists: `motion.WIDEST_EYES=0.45`, `paint.LIDS.lash_light=0.4`.

A driving clip that hardly moves gives nothing to correlate with. Each driving clip is therefore also measured against
itself, shifted by a few pixels and re-encoded: its row "itself" is the best possible result. Values are in brackets
where the driving signal's spread over the compared frames is below ENOUGH.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.draft_pairs import chosen_pairs, open_clip
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.motion import SHUT_EYE_OPENING
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.geometry import euler_angles
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.run import animate
from liveportrait_v2v.run.gaps import bridge_and_fade
from liveportrait_v2v.settings import AnimationSettings

SIGNALS = ("mouth", "eyes", "pitch", "yaw", "roll")
AIMS = {"mouth": 0.9, "eyes": 0.7, "pitch": 0.8, "yaw": 0.8, "roll": 0.8}
ENOUGH = {"mouth": 0.05, "eyes": 0.05, "pitch": 2.0, "yaw": 2.0, "roll": 2.0}  # standard deviations
# Pairs of landmarks whose distance depends on the person, not on the expression.
IDENTITY = ((33, 263), (133, 362), (234, 454), (168, 4), (127, 356))


def vary(setting: str) -> None:
    """Set a constant of the draft, or a field of one of its parameter objects, by a text `MODULE.NAME[.FIELD]=VALUE`.

    Raises:
        AttributeError: there is no such constant; TypeError: there is no such field.
    """
    path, value = setting.split("=")
    module_name, name, *field = path.split(".")
    module = importlib.import_module(f"liveportrait_v2v.engines.draft.{module_name}")
    old, new = getattr(module, name), ast.literal_eval(value)
    setattr(module, name, replace(old, **{field[0]: new}) if field else new)


def track(clip: Clip, frames: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return landmarks [N, 478, 3] and presence [N] of a clip's first face."""
    tracker = FaceTracker()
    found = [tracker.track(chunk.frames).face(0) for chunk in clip.chunks(8, cap=frames)]
    return torch.cat([landmarks for landmarks, *_ in found]), torch.cat([present for _, present, _ in found])


def signals(landmarks: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the five signals of landmarks [N, 478, 3]: openings as height / width, angles in degrees."""
    pose = face.first_pose(landmarks)
    shape = pose.undo(landmarks)
    angles = euler_angles(pose.rotation)
    openings = face.mouth_opening(shape), face.eye_openings(shape).mean(1)
    return dict(zip(SIGNALS, (*openings, *angles.unbind(1)), strict=True))


def proportions(landmarks: torch.Tensor) -> torch.Tensor:
    """Return the distances of IDENTITY over their sum, as medians over the frames, [K]."""
    shape = face.first_pose(landmarks).undo(landmarks)
    distances = torch.stack([(shape[:, a] - shape[:, b]).norm(dim=-1) for a, b in IDENTITY], dim=1)
    return (distances / distances.sum(1, keepdim=True)).median(0).values


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the correlation of two signals."""
    a, b = a - a.mean(), b - b.mean()
    return (a @ b / (a.norm() * b.norm()).clamp_min(1e-9)).item()


@dataclass(frozen=True)
class Found:
    """Comparison of a result with its driving clip.

    Correlation and spread of the driving signal, by signal; the mean change of proportions against the source; frames
    compared.
    """

    correlation: dict[str, float]
    spread: dict[str, float]
    proportions: float
    frames: int

    def moved(self, signal: str) -> bool:
        return self.spread[signal] >= ENOUGH[signal]


def compare(result: Path, source: Clip, driving: Clip, frames: int) -> Found:
    """Track a result again and compare it with the clips it was made of."""
    landmarks, present = track(Clip(result))
    lead, lead_present = _tracks(driving, frames)
    step = driving.info.rate / Clip(result).info.rate
    places = torch.tensor([float(k * step) for k in range(len(landmarks))]).clamp_max(len(lead) - 1)
    before, after = places.floor().long(), places.ceil().long()
    lead = torch.lerp(lead[before], lead[after], (places - before).view(-1, 1, 1))
    own, own_present = _tracks(source, len(landmarks))
    full, lead_full = (
        animated_in_full(shown, clip.info.rate)
        for shown, clip in ((own_present, source), (lead_present, driving))
    )
    both = present & full & lead_full[before] & lead_full[after]
    open_eyes = (face.eye_openings(own) >= SHUT_EYE_OPENING).all(1)
    compared = dict.fromkeys(SIGNALS, both) | {"eyes": both & (open_eyes.cumsum(0) > 0)}
    ours, theirs = signals(landmarks), signals(lead)
    change = (proportions(landmarks[present]) / proportions(own[own_present]) - 1).abs().mean().item()
    return Found(
        {name: correlation(ours[name][which], theirs[name][which]) for name, which in compared.items()},
        {name: theirs[name][which].std().item() for name, which in compared.items()},
        change,
        int(both.sum()),
    )


def animated_in_full(present: torch.Tensor, rate: Fraction) -> torch.Tensor:
    """Return whether frames bool [N] show a face and are far from those that don't, beside which animations fade."""
    sightings = ((present[k], True) if present[k] else (None, False) for k in range(len(present)))
    return torch.tensor([shown.seen and shown.opacity == 1 for shown in bridge_and_fade(sightings, rate)])


@cache
def _tracks(clip: Clip, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    return track(clip, frames)


def itself(clip: Clip, frames: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return correlations of a clip with itself, shifted and re-encoded, and the spread of its signals."""
    path = folder / "itself.mp4"
    with VideoWriter(path, clip.info.rate) as writer:
        for chunk in clip.chunks(8, cap=frames):
            writer.write(chunk.frames.roll((3, 5), dims=(1, 2)))
    landmarks, present = track(Clip(path))
    own, own_present = _tracks(clip, frames)
    both = present & own_present
    again, own = signals(landmarks[both]), signals(own[both])
    spread = {name: own[name].std().item() for name in SIGNALS}
    return {name: correlation(again[name], own[name]) for name in SIGNALS}, spread


def main() -> None:
    """Measure the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=400, help="limit of driving frames (400)")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="NAME=VALUE", help="another value of a tuned constant"
    )
    parser.add_argument("pairs", nargs="*", metavar="SOURCE,DRIVING", help="all pairs when left out")
    options = parser.parse_args()
    for setting in options.vary:
        vary(setting)
    pairs = chosen_pairs(options.pairs)
    clips = {name: open_clip(name) for name in dict.fromkeys(name for pair in pairs for name in pair)}
    settings = AnimationSettings(video_frame_load_cap=options.frames)

    print(
        f"{'source':12} {'driving':12} {'frames':>6} "
        + " ".join(f"{s:>6}" for s in SIGNALS)
        + "  proportions"
    )
    with tempfile.TemporaryDirectory() as folder:
        last, every = None, []
        for source, driving in pairs:
            if driving != last:
                best, spread = itself(clips[driving], options.frames, Path(folder))
                print(
                    f"{'itself':12} {driving:12} {'':>6} " + " ".join(f"{best[s]:6.2f}" for s in SIGNALS),
                    end="",
                )
                print("  spread " + ", ".join(f"{s} {spread[s]:.2g}" for s in SIGNALS), flush=True)
                last = driving
            result = Path(folder) / "result.mp4"
            animate(
                clips[source], clips[driving], engine=create_engine("draft"), settings=settings, output=result
            )
            found = compare(result, clips[source], clips[driving], options.frames)
            every.append(found)
            row = " ".join(
                f"{found.correlation[s]:6.2f}" if found.moved(s) else f"({found.correlation[s]:.2f})".rjust(6)
                for s in SIGNALS
            )
            print(f"{source:12} {driving:12} {found.frames:>6} {row}  {found.proportions:.1%}", flush=True)
    print("signals that reach the aim, of those that move enough:")
    for signal, aim in AIMS.items():
        moved = [found.correlation[signal] for found in every if found.moved(signal)]
        if moved:
            median = sorted(moved)[len(moved) // 2]
            print(f"{signal:6} >= {aim}: {sum(r >= aim for r in moved)} of {len(moved)}, median {median:.2f}")


if __name__ == "__main__":
    main()
