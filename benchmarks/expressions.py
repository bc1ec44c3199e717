"""Readings of edited faces: does each channel of an expression do what it says, and nothing else?

    python benchmarks/expressions.py [--sheet FILE.jpg] [--channel NAME ...] [FACE ...]

Each channel goes through its range on a still of each face. The draft's result is tracked again, from scratch, and
read in the way of blendshapes: lips, corners of the mouth, lids, brows, irises, and the head. Printed are, for each
face and channel, the reading that the channel is meant for at each value, and the largest change of all other ones.
"""

from __future__ import annotations

import argparse
import math
import sys
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "scripts")]

import fetch_clips  # noqa: E402
from liveportrait_v2v.engines import create_engine  # noqa: E402
from liveportrait_v2v.engines.base import Edits  # noqa: E402
from liveportrait_v2v.expression import CHANNELS, Expression  # noqa: E402
from liveportrait_v2v.faces import FaceTracker, topology  # noqa: E402
from liveportrait_v2v.faces.canonical import canonical_face  # noqa: E402
from liveportrait_v2v.geometry import euler_angles, fit_pose  # noqa: E402
from liveportrait_v2v.media import Clip  # noqa: E402
from liveportrait_v2v.settings import AnimationSettings, MotionOptions  # noqa: E402
from liveportrait_v2v.tracking import TrackedChunk, track  # noqa: E402

FACES = {
    "jwp_intro": 0,
    "wolfgang": Fraction(260 * 1001, 24000),
    "cap12": 0,
    "astronaut": 0,
    "wan2": 0,
}
"""Real clips, and the second of the frame that is edited; wan2 is a generated face."""
LEAST_OPENING, DARK_SHARE = 0.15, 0.35
"""Opening of an eye from which its gaze is read, and the share of its surroundings that counts as dark."""
INNER_BROW = (3, 4, 8, 9)
"""Places of the inner half of a brow in `topology.LEFT_BROW` and `RIGHT_BROW`."""
SHARES = (0, 0.25, 0.5, 0.75, 1)
"""Places in a channel's range that are tried."""
MEANT = {
    "rotate_pitch": {"pitch": 1},
    "rotate_yaw": {"yaw": 1},
    "rotate_roll": {"roll": 1},
    "blink": {"lids_left": 1, "lids_right": 1},
    "wink_left": {"lids_left": -1},
    "wink_right": {"lids_right": -1},
    "eyebrow": {"brows": 1},
    "pupil_x": {"gaze_x_left": 1, "gaze_x_right": 1},
    "pupil_y": {"gaze_y_left": 1, "gaze_y_right": 1},
    "pupil_x_left": {"gaze_x_left": 1},
    "pupil_x_right": {"gaze_x_right": 1},
    "pupil_y_left": {"gaze_y_left": 1},
    "pupil_y_right": {"gaze_y_right": 1},
    "aaa": {"mouth": 1},
    "eee": {"width": 1},
    "woo": {"width": -1},
    "smile": {"width": 1, "corners": 1},
    "pouting": {"sideways": 1},
    "move_x": {"x": -1},
    "move_y": {"y": 1},
    "zoom": {"size": 1},
    "eyes_open": {"lids_left": 1, "lids_right": 1},
    "lips_open": {"mouth": 1},
}
"""Readings that a channel is meant for, with the sign of their change."""


NOISE, GAZE_NOISE = 0.015, 0.01
"""Difference between two inferences on nearly the same face, in any reading but angles: smaller ones mean nothing."""


def _bounds() -> dict[str, dict[str, float]]:
    """Return the largest change of readings that a channel is not meant for."""
    head = {"pitch": 2.5, "yaw": 1.5, "roll": 1.0, "x": 0.03, "y": 0.03, "size": 0.03}
    eyes = {f"lids_{side}": 0.08 for side in ("left", "right")}
    mouth = {"mouth": 0.06, "width": 0.3, "corners": 0.35, "sideways": 0.15}
    brows = {"brows": 0.15}
    found = {}
    for name, meant in MEANT.items():
        if name.startswith("rotate_"):
            turns = {"pitch": 2.0, "yaw": 2.0, "roll": 2.0}
            bounds = {**turns, "x": 0.03, "y": 0.06, "size": 0.05, **eyes, "mouth": 0.06}
        elif name in ("move_x", "move_y", "zoom"):
            # Along the square's axes, so that a tilted head moves aslant.
            bounds = {**head, "yaw": 2.0, "x": 0.08, "y": 0.08, **eyes, "mouth": 0.08, "sideways": 0.15}
        elif name in ("aaa", "lips_open"):
            bounds = {**head, **eyes, **brows, "sideways": 0.15}
        else:
            bounds = {**head, **eyes, **mouth, **brows}
        found[name] = {reading: bound for reading, bound in bounds.items() if reading not in meant}
    for name in ("eee", "woo"):
        found[name]["mouth"] = 0.2
    for name in ("pupil_y", "pupil_y_left", "pupil_y_right"):  # lids follow the gaze
        found[name] |= {"lids_left": 0.1, "lids_right": 0.1}
    return found


BOUNDS = _bounds()
"""Largest change of readings that a channel is not meant for, by channel and reading."""


def readings(frame: torch.Tensor, landmarks: torch.Tensor, rest: torch.Tensor) -> dict[str, float]:
    """Read a face.

    Args:
        frame: uint8 [H, W, 3].
        landmarks: float32 [478, 3] in pixels.
        rest: the same of the unedited face, whose eyes' corners move with the head alone.

    Returns:
        angles in degrees, with the channels' signs; place and size of the head in pixels; openings as height / width;
        gaze in widths of the eye, NaN of one that is nearly shut; all other lengths in cm of the canonical face.
        Upwards and to the picture's right is positive. Brows are read at their inner halves.
    """
    rigid = list(topology.RIGID)
    pose = fit_pose(landmarks[None, rigid], canonical_face().vertices[rigid])
    shape = pose.undo(landmarks[None])[0]
    steady = pose.apply(fit_pose(rest[None, rigid], canonical_face().vertices[rigid]).undo(rest[None]))[0]
    pitch, yaw, roll = euler_angles(pose.rotation)[0].tolist()
    upper, lower = shape[topology.LIP_INNER_UPPER[5]], shape[topology.LIP_INNER_LOWER[5]]
    corners = shape[[topology.LIP_OUTER_UPPER[0], topology.LIP_OUTER_UPPER[-1]]]
    lips = shape[list(topology.LIP_OUTER_UPPER + topology.LIP_OUTER_LOWER)]
    width = (corners[1] - corners[0])[:2].norm()
    found = {
        **{"pitch": pitch, "yaw": -yaw, "roll": roll},
        "x": pose.translation[0, 0].item(),
        "y": pose.translation[0, 1].item(),
        "size": pose.scale.item(),
        "mouth": ((upper - lower)[:2].norm() / width).item(),
        "width": width.item(),
        "corners": (-corners[:, 1].mean()).item(),
        "sideways": lips[:, 0].mean().item(),
    }
    brows = []
    for side, above, below, brow in (
        ("left", topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, topology.LEFT_BROW),
        ("right", topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, topology.RIGHT_BROW),
    ):
        ends = shape[[above[0], above[-1]], :2]
        opening = (shape[above[4], :2] - shape[below[4], :2]).norm() / (ends[1] - ends[0]).norm()
        found[f"lids_{side}"] = opening.item()
        corners = steady[[above[0], above[-1]], :2]
        place = gaze(frame, corners if side == "left" else corners.flip(0))
        seen = opening.item() > LEAST_OPENING
        found[f"gaze_x_{side}"], found[f"gaze_y_{side}"] = place if seen else (math.nan, math.nan)
        brows.append(ends[:, 1].mean() - shape[[brow[k] for k in INNER_BROW], 1].mean())
    found["brows"] = torch.stack(brows).mean().item()
    return found


def gaze(frame: torch.Tensor, corners: torch.Tensor) -> tuple[float, float]:
    """Return where what is dark of an eye is: to the right of the middle between its corners [2, 2], and above it.

    In widths of the eye. The landmark network hardly sees an iris that goes up or down, so the picture is read.
    """
    across = corners[1] - corners[0]
    down = torch.stack((-across[1], across[0]))
    x, y = torch.linspace(-0.32, 0.32, 53), torch.linspace(-0.35, 0.35, 57)
    places = corners.mean(0) + x.view(1, -1, 1) * across + y.view(-1, 1, 1) * down
    size = torch.tensor([frame.shape[1], frame.shape[0]])
    light = frame.float().amax(-1)[None, None]
    light = F.grid_sample(light, (places / size * 2 - 1)[None], padding_mode="border", align_corners=False)[
        0, 0
    ]
    dark = (light.quantile(DARK_SHARE) - light).clamp_min(0)
    dark = dark / dark.sum().clamp_min(1e-6)
    return (dark * x).sum().item(), -(dark * y.unsqueeze(1)).sum().item()


def differences(found: dict[str, float], rest: dict[str, float]) -> dict[str, float]:
    """Return the changes of readings; of place and size in widths of the face."""
    unit = rest["size"] * 15.5
    changes = {name: value - rest[name] for name, value in found.items()}
    changes["x"], changes["y"] = changes["x"] / unit, changes["y"] / unit
    changes["size"] = found["size"] / rest["size"] - 1
    return changes


class Still:
    """A face that is edited: one frame of a clip."""

    def __init__(self, clip: Clip):
        part, tracks = next(iter(track(clip, cap=1)))
        landmarks, present, _ = tracks.face(0)
        self.chunk = TrackedChunk(part.frames[:1], landmarks[:1], present[:1])
        self.rest = self.read(self.chunk.frames)

    def render(self, expression: Expression) -> torch.Tensor:
        """Return the edited frame, uint8 [1, H, W, 3]."""
        edits = Edits(torch.tensor([expression.row(0)]))
        session = create_engine("draft").session(AnimationSettings(), MotionOptions(), None, None)
        return session.render(self.chunk, None, False, edits).frames

    def read(self, frames: torch.Tensor) -> dict[str, float]:
        """Track a frame from scratch and read its face."""
        return readings(frames[0], FaceTracker().track(frames).face(0)[0][0], self.chunk.landmarks[0])

    def edited(self, **channels: float) -> dict[str, float]:
        """Return the changes of the readings by an expression."""
        return differences(self.read(self.render(Expression.constant(**channels))), self.rest)


def still_of(name: str) -> Still:
    """Return the face of a clip of the benchmark."""
    return Still(Clip(fetch_clips.fetch([name])[name], start=FACES[name]))


def values_of(name: str) -> list[float]:
    """Return the values of a channel that are tried, from the least to the largest."""
    channel = CHANNELS[name]
    return [channel.low + share * (channel.high - channel.low) for share in SHARES]


def _cut(still: Still, frames: torch.Tensor) -> Image.Image:
    points = still.chunk.landmarks[0, :, :2]
    low, high = points.amin(0), points.amax(0)
    reach = (high - low).max() * 0.68
    box = [int(v) for v in (*((low + high) / 2 - reach), *((low + high) / 2 + reach))]
    return Image.fromarray(frames[0].numpy()).crop(box).resize((300, 300), Image.Resampling.LANCZOS)


def main() -> None:
    """Measure the faces, print the tables and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", type=Path, help="picture of all results, a row for each face and channel")
    parser.add_argument("--channel", action="append", help="all if left out")
    parser.add_argument("faces", nargs="*", metavar="FACE", default=list(FACES))
    options = parser.parse_args()
    rows = []
    for face in options.faces:
        still = still_of(face)
        for name in options.channel or MEANT:
            shown = [still.render(Expression.constant(**{name: value})) for value in values_of(name)]
            found = [differences(still.read(frames), still.rest) for frames in shown]
            rows.append([_cut(still, frames) for frames in shown])
            for reading in MEANT[name]:
                steps = " ".join(f"{changes[reading]:7.3f}" for changes in found)
                print(f"{face:10} {name:14} {reading:12} {steps}")
            others = {
                reading: max(
                    abs(changes[reading]) for changes in found if changes[reading] == changes[reading]
                )
                for reading in still.rest
                if reading not in MEANT[name]
                and any(changes[reading] == changes[reading] for changes in found)
            }
            print(
                f"{'':10} {'':14} others       " + " ".join(f"{k} {v:.2f}" for k, v in others.items()),
                flush=True,
            )
    if options.sheet:
        sheet = Image.new("RGB", (300 * len(SHARES), 300 * len(rows)))
        for row, pictures in enumerate(rows):
            for column, picture in enumerate(pictures):
                sheet.paste(picture, (300 * column, 300 * row))
        sheet.save(options.sheet)


if __name__ == "__main__":
    main()
