"""Looks of the draft engine's results: edges, stillness, and contact sheets of the worst frames.

    python benchmarks/draft_looks.py [--frames N] [--sheets FOLDER] [SOURCE,DRIVING ...]

For each pair, faces of the result's frames are tracked again, and compared with the source's own at the same frames:

- *lids, lips, outline*: roughness along these edges. Lightness is sampled a pixel apart along lines beside the tracked
  edge; its mean second difference, over that of the source's own edges. Steps, dots and dashes raise it.
- *jitter*: mean second difference of the landmarks over time, over the source's own.
- *rim*: light lines at the corners of wide mouths. Lightness at the margin of the lower lip above that on both sides
  of it, in shares of the skin's; mean over the lip's outer parts and over frames with mouths wider than WIDE_MOUTH.
- *hole*: share of the inside of these mouths that is as dark as a mouth without teeth and tongue.
- *line*: a dark line along the lower lip, in mouths open by PARTED that are no wider than the source's: how much darker
  the darkest place near that margin is than both sides of it, in shares of the skin's lightness.
- *seam*: red over green and blue in the darkest places across lips that are as good as shut (SHUT_MOUTH), over that of
  the lightest ones above and below. Real lips light each other: 1.1 to 1.8 where the sources' are shut. Grey is 1.
- *slit*: red over green and blue at the lightest place between lips that part by SLIT, over that of the lower lip.
  Teeth are greyer than lips: 1 is a mouth without, or with teeth in the colour of lips.
- *corners*: lightness of the darkest places around the corners of such mouths, in shares of the skin's. Where the
  sources' are shut, 0.4 to 0.6; what stays of a wide mouth's corners as it shuts is darker.
- *far*: steps of the far side's edge, on faces that are turned by FAR_TURN_DEGREES: mean second difference, from row to
  row of pixels, of the place where colours change most, in pixels.
- *lashes*: lightness of the darkest places above the outer corners of eyes that are less than half as open as the
  source's, in shares of the skin's. Lashes that stay there as the lid comes down make a black clump.
- *rings*: lightness of the upper part of eyeballs in frames whose eyes are by WIDER_EYES wider than the source's, over
  that in the source's own frames with open eyes. Dark edges around eyes that are torn open lower it.
- *dashes*: mean second difference, from pixel to pixel around the upper half of irises in these frames, over that of
  the source's own. What lids cover of an iris has to be made when they rise: joined badly, it has lines and dots.
- *blur*: blur of eyes and mouths, over the source's own. What is painted sharper than the source lowers it.

After the table, each column's median and both ends of it are named. The sheets have the rows driving, source and
result of five frames, enlarged: the roughest, the widest mouth, the head that is turned most, and eyes that are widest
and those that are most shut.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.draft_pairs import Pair, Shown, chosen_pairs, over_pairs, spread
from benchmarks.jitter import jitter
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.blur import blur_of
from liveportrait_v2v.engines.draft.colours import skin_color
from liveportrait_v2v.faces import topology
from liveportrait_v2v.geometry import euler_angles

EDGES = {
    "lids": (
        topology.LEFT_EYE_UPPER,
        topology.LEFT_EYE_LOWER,
        topology.RIGHT_EYE_UPPER,
        topology.RIGHT_EYE_LOWER,
    ),
    "lips": (topology.LIP_INNER_UPPER, topology.LIP_INNER_LOWER),
    "outline": (topology.OVAL + topology.OVAL[:1],),
}
BESIDE_PX = (-2, -1, 0, 1, 2)
LOOKS = ("rim", "hole", "line", "seam", "slit", "corners", "far", "lashes", "rings", "dashes", "blur")
COLUMNS = (*EDGES, *LOOKS, "jitter")
WIDE_MOUTH, DARK_SKIN_SHARE, WIDER_EYES = 0.3, 0.3, 1.15
PARTED, SHUT_MOUTH, SLIT = (0.1, 0.3), 0.1, (0.06, 0.16)
RIM_PX, CORNERS = 3, 5
"""Pixels beside a margin at which it ends; landmarks of the lower lip that belong to each corner."""
BELOW_LID_SHARES, INSIDE_SHARES = (0.05, 0.15, 0.25, 0.35), tuple(k / 20 for k in range(2, 19))
"""Places between the upper margin of an eye or mouth, 0, and the lower one, 1."""
LINE_WIDTHS, SEAM_WIDTHS, MIN_BESIDE_PX = 0.08, 0.12, 3
"""Reach across the lower lip's margin and the lips, in widths of the mouth, and at least in pixels."""
CORNER_X, CORNER_Y, CORNER_PLACES = (0.38, 0.62), (-0.1, 0.1), (13, 11)
LASHES_X, LASHES_Y, LASHES_PLACES = (0.4, 0.7), (-0.3, -0.06), (13, 11)
"""What is looked at around a corner, in the mouth's frame, and places of it."""
UPPER_HALF, IRIS_RADII = (0.9, 0.1), (0.7, 1.3)
"""Ends of the upper half of an iris, in half turns, and distances from its middle, in its radii."""
FAR_TURN_DEGREES = 12
FAR_HEIGHTS, FAR_BANDS, FAR_SMOOTH_ROWS = (-0.2, 0.42), 24, 15
"""What is looked at of the far edge, in heights of the face from its middle, and how its line is drawn."""
FAR_REACH_PX, FAR_STEP_PX, FAR_CONTRAST, FAR_LEAP_PX = 6, 0.5, 0.25, 4
"""Where the edge is looked for beside that line, the least change of colour over a pixel, in shares of the skin's
lightness, that is one, and the second difference from which it is another one."""
CROP_FACES, CROP_PX = 1.25, 360


def roughness(frame: torch.Tensor, landmarks: torch.Tensor) -> dict[str, float]:
    """Return the roughness of a frame uint8 [H, W, 3] along each kind of edge of a face [478, 3] in pixels."""
    light = frame.float().mean(-1)
    found = {}
    for name, rows in EDGES.items():
        steps = []
        for row in rows:
            points, normals = _walk(landmarks[list(row), :2])
            places = torch.stack([points + beside * normals for beside in BESIDE_PX])
            steps.append(_at(light, places).diff(n=2, dim=1).abs().mean())
        found[name] = torch.stack(steps).mean().item()
    return found


def _walk(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points about a pixel apart along a line through corners [K, 2], and the normals there."""
    lengths = corners.diff(dim=0).norm(dim=-1)
    ends = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
    along = torch.linspace(0, ends[-1].item(), max(8, int(ends[-1])))
    right = torch.searchsorted(ends, along, right=True).clamp(1, len(ends) - 1)
    part = (along - ends[right - 1]) / (ends[right] - ends[right - 1]).clamp_min(1e-6)
    points = torch.lerp(corners[right - 1], corners[right], part.unsqueeze(1))
    x, y = F.normalize(torch.gradient(points, dim=0)[0], dim=-1).unbind(-1)
    return points, torch.stack((-y, x), dim=-1)


def mouth_looks(frame: torch.Tensor, landmarks: torch.Tensor) -> dict[str, float] | None:
    """Return *rim* and *hole* of a face [478, 3] in a frame uint8 [H, W, 3]; None where its mouth is not wide open."""
    if face.mouth_opening(landmarks[None]) < WIDE_MOUTH:
        return None
    light = frame.float().mean(-1)
    skin = _skin_light(frame, landmarks)
    offsets, rims = torch.arange(-RIM_PX, RIM_PX + 1).view(-1, 1, 1), []
    for corner in (face.LOWER[:CORNERS], face.LOWER[-CORNERS:]):
        points, normals = _walk(landmarks[corner, :2])
        lines = _at(light, points + offsets * normals)
        rims.append((lines[1:-1].amax(0) - torch.maximum(lines[0], lines[-1])).clamp_min(0))
    hole = (inside_light(frame, landmarks) < DARK_SKIN_SHARE).float().mean().item()
    return {"rim": torch.cat(rims).mean().item() / skin, "hole": hole}


def inside_light(frame: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Return the lightness between the lips of a face [478, 3] in a frame uint8 [H, W, 3], in shares of the skin's."""
    light = _between(frame.float().mean(-1), landmarks, (face.UPPER, face.LOWER), INSIDE_SHARES)
    return light / _skin_light(frame, landmarks)


def line(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return *line* of a face [478, 3] in a frame uint8 [H, W, 3]."""
    points, normals = _walk(landmarks[face.LOWER[2:-2], :2])
    lines = _at(frame.float().mean(-1), points + _beside(landmarks, LINE_WIDTHS) * normals)
    depths = [
        torch.minimum(lines[:k].amax(0), lines[k + 1 :].amax(0)) - lines[k] for k in range(1, len(lines) - 1)
    ]
    return torch.stack(depths).amax(0).clamp_min(0).mean().item() / _skin_light(frame, landmarks)


def seam(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return *seam* of a face [478, 3] with shut lips in a frame uint8 [H, W, 3]."""
    middles = (landmarks[face.UPPER, :2] + landmarks[face.LOWER, :2])[3:8] / 2
    down = F.normalize(face.mouth_frame(landmarks[None, :, :2]).axes[0, 1], dim=0)
    places = middles + _beside(landmarks, SEAM_WIDTHS) * down
    colors = torch.stack([_at(color, places) for color in frame.float().unbind(-1)], dim=-1)
    light, rows = colors.mean(-1), torch.arange(len(colors)).unsqueeze(1)
    edge = len(colors) // 4
    darkest = light[edge:-edge].argmin(0) + edge
    above, below = (light.where(side, -1).argmax(0) for side in (rows <= darkest, rows >= darkest))

    def red(row: torch.Tensor) -> torch.Tensor:
        return _redness(colors[row, torch.arange(len(row))])

    return (2 * red(darkest) / (red(above) + red(below))).mean().item()


def slit(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return *slit* of a face [478, 3] in a frame uint8 [H, W, 3]."""
    colors = frame.float().unbind(-1)
    inside = torch.stack(
        [_between(color, landmarks, (face.UPPER, face.LOWER), INSIDE_SHARES) for color in colors], dim=-1
    ).unflatten(0, (len(INSIDE_SHARES), -1))[:, 2:-2]
    lip = (landmarks[face.LOWER, :2] + landmarks[list(topology.LIP_OUTER_LOWER), :2])[3:8] / 2
    lips = torch.stack([_at(color, lip) for color in colors], dim=-1)
    lightest = inside[inside.mean(-1).argmax(0), torch.arange(len(lips))]
    return (_redness(lightest) / _redness(lips)).mean().item()


def _redness(colors: torch.Tensor) -> torch.Tensor:
    """Return red over the mean of green and blue of colours [..., 3]."""
    return colors[..., 0] / colors[..., 1:].mean(-1).clamp_min(1)


def corners(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return *corners* of a face [478, 3] in a frame uint8 [H, W, 3]."""
    mouth = face.mouth_frame(landmarks[None, :, :2])
    places = [_grid_in(mouth, 0, way, CORNER_X, CORNER_Y, CORNER_PLACES) for way in (-1, 1)]
    return _darkest(frame, places) / _skin_light(frame, landmarks)


def lashes(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return *lashes* of a face [478, 3] in a frame uint8 [H, W, 3]."""
    eyes = face.eye_frames(landmarks[None, :, :2])
    places = [_grid_in(eyes, k, way, LASHES_X, LASHES_Y, LASHES_PLACES) for k, way in ((0, -1), (1, 1))]
    return _darkest(frame, places) / _skin_light(frame, landmarks)


def _grid_in(
    frame: face.Frame,
    k: int,
    way: int,
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
    counts: tuple[int, int],
) -> torch.Tensor:
    """Return places [h, w, 2] in pixels, evenly apart in the frame k of an eye or mouth; `way` is the sign of x."""
    x, y = (torch.linspace(*ends, count) for ends, count in zip((x_ends, y_ends), counts, strict=True))
    x, y = torch.meshgrid(x, y, indexing="xy")
    return frame.center[k] + torch.stack((way * x, y), dim=-1) @ frame.axes[k]


def _darkest(frame: torch.Tensor, places: list[torch.Tensor]) -> float:
    """Return the mean lightness of the darkest nine places, three by three, in each grid [h, w, 2]."""
    light = frame.float().mean(-1)
    found = torch.stack([_at(light, grid) for grid in places]).unsqueeze(1)
    return F.avg_pool2d(found, 3, 1).amin((1, 2, 3)).mean().item()


def far_edge(frame: torch.Tensor, landmarks: torch.Tensor) -> float | None:
    """Return *far* of a face [478, 3] in a frame uint8 [H, W, 3]; None where it is not turned, or has no clear edge."""
    if euler_angles(face.first_pose(landmarks[None]).rotation)[0, 1].abs() < FAR_TURN_DEGREES:
        return None
    points = landmarks[:468, :2]
    top, chin, nose = points[[10, 152, 4]]
    middle, height = (top + chin) / 2, (chin - top).norm()
    down = (chin - top) / height
    right = torch.stack((down[1], -down[0]))
    x, y = (points - middle) @ right, (points - middle) @ down
    outwards = ((nose - middle) @ right - (x.min() + x.max()) / 2).sign()
    bands = torch.linspace(*FAR_HEIGHTS, FAR_BANDS + 1) * height
    inside = (y >= bands[:-1, None]) & (y < bands[1:, None])
    farthest = (x * outwards).where(inside, -torch.inf).argmax(1)[inside.any(1)]
    rows, order = torch.arange(y[farthest].min().ceil(), y[farthest].max()), y[farthest].argsort()
    x, y = x[farthest][order], y[farthest][order]
    after = torch.searchsorted(y, rows).clamp(1, len(y) - 1)
    part = ((rows - y[after - 1]) / (y[after] - y[after - 1]).clamp_min(1e-3)).clamp(0, 1)
    edge = torch.lerp(x[after - 1], x[after], part)
    around = FAR_SMOOTH_ROWS // 2
    edge = F.avg_pool1d(
        F.pad(edge[None, None], (around, around), mode="replicate"), FAR_SMOOTH_ROWS, 1
    ).flatten()
    beside = torch.arange(-FAR_REACH_PX, FAR_REACH_PX + FAR_STEP_PX, FAR_STEP_PX)
    places = middle + rows.view(-1, 1, 1) * down + (edge.view(-1, 1, 1) + beside.view(-1, 1)) * right
    colors = torch.stack([_at(color, places) for color in frame.float().unbind(-1)], dim=-1)
    change, place = (colors[:, 2:] - colors[:, :-2]).norm(dim=-1).max(1)
    clear = change > FAR_CONTRAST * _skin_light(frame, landmarks)
    bends = beside[1:-1][place].diff(n=2).abs()
    bends = bends[clear[2:] & clear[1:-1] & clear[:-2] & (bends < FAR_LEAP_PX)]
    return bends.mean().item() if len(bends) > around else None


def _beside(landmarks: torch.Tensor, widths: float) -> torch.Tensor:
    """Return distances in pixels across a face's lips, [K, 1, 1]."""
    reach = max(MIN_BESIDE_PX, round(widths * face.mouth_width(landmarks[None]).item()))
    return torch.arange(-reach, reach + 1).view(-1, 1, 1)


def rings(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return the lightness of a face's eyeballs below the upper lids, in shares of the skin's."""
    light = frame.float().mean(-1)
    eyes = [_between(light, landmarks, (upper, lower), BELOW_LID_SHARES) for upper, lower, _ in face.EYES]
    return torch.cat(eyes).mean().item() / _skin_light(frame, landmarks)


def dashes(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    """Return the mean second difference of light around the upper halves of a face's irises, inside and beside them."""
    light, found = frame.float().mean(-1), []
    for _, _, (middle, *ring) in face.EYES:
        center = landmarks[middle, :2]
        radius = (landmarks[ring, :2] - center).norm(dim=-1).mean()
        count = max(8, round(math.pi * radius.item()))
        angles = torch.linspace(*UPPER_HALF, count) * -math.pi
        ways = torch.stack((angles.cos(), angles.sin()), dim=-1) * radius
        places = center + torch.linspace(*IRIS_RADII, 7).view(-1, 1, 1) * ways
        found.append(_at(light, places).diff(n=2, dim=1).abs().mean())
    return torch.stack(found).mean().item()


def _between(
    light: torch.Tensor,
    landmarks: torch.Tensor,
    margins: tuple[Sequence[int], Sequence[int]],
    shares: tuple[float, ...],
) -> torch.Tensor:
    """Return the lightness [K] of a picture [H, W] at shares of the way between two margins of a face [478, 3]."""
    upper, lower = (landmarks[list(row), :2][1:-1] for row in margins)
    places = torch.lerp(upper[None], lower[None], torch.tensor(shares).view(-1, 1, 1))
    return _at(light, places.flatten(0, 1))


def _at(light: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the lightness [...] of a picture [H, W] at places [..., 2] in pixels."""
    size = torch.tensor([light.shape[1], light.shape[0]])
    grid = (places / size * 2 - 1).reshape(1, 1, -1, 2)
    found = F.grid_sample(light[None, None], grid, padding_mode="border", align_corners=False)
    return found.view(places.shape[:-1])


def _skin_light(frame: torch.Tensor, landmarks: torch.Tensor) -> float:
    return skin_color(frame[None], landmarks[None]).mean().item()


def looks(result: Shown, own: Shown) -> dict[str, float]:
    """Return LOOKS of a result; NaN where no frame has such a mouth or such eyes."""
    mouths = [mouth_looks(*frame) for frame in zip(result.frames, result.landmarks, strict=True)]
    wide = [mouth for mouth in mouths if mouth is not None]
    found = {name: statistics.fmean(m[name] for m in wide) if wide else math.nan for name in ("rim", "hole")}
    lips, own_lips = (face.mouth_opening(shown.landmarks) for shown in (result, own))
    parted = (lips >= PARTED[0]) & (lips < PARTED[1]) & (lips <= own_lips)
    slits = (lips >= SLIT[0]) & (lips < SLIT[1])
    shut = lips < SHUT_MOUTH
    openings, before = (face.eye_openings(shown.landmarks).mean(1) for shown in (result, own))
    for look, which in (
        (line, parted),
        (seam, shut),
        (slit, slits),
        (corners, shut),
        (lashes, openings < before / 2),
    ):
        each = [look(result.frames[k], result.landmarks[k]) for k in which.nonzero().flatten().tolist()]
        found[look.__name__] = statistics.fmean(each) if each else math.nan
    edges = [far_edge(*frame) for frame in zip(result.frames, result.landmarks, strict=True)]
    clear = [bend for bend in edges if bend is not None]
    found["far"] = statistics.fmean(clear) if clear else math.nan
    wide = (openings > WIDER_EYES * before).nonzero().flatten().tolist()
    usual = (before >= before.median()).nonzero().flatten().tolist()
    for look in (rings, dashes):
        ours, theirs = (
            statistics.fmean(look(shown.frames[k], shown.landmarks[k]) for k in frames)
            if frames
            else math.nan
            for shown, frames in ((result, wide), (own, usual))
        )
        found[look.__name__] = ours / theirs
    ours, theirs = (blur_of(shown.frames, shown.landmarks) for shown in (result, own))
    found["blur"] = (ours / theirs).mean().item()
    return found


def crop(shown: Shown, k: int) -> Image.Image:
    """Cut the face out of frame k, enlarged."""
    points = shown.landmarks[k, :, :2]
    low, high = points.amin(0), points.amax(0)
    reach = (high - low).max() * CROP_FACES / 2
    box = [int(v) for v in (*((low + high) / 2 - reach), *((low + high) / 2 + reach))]
    picture = Image.fromarray(shown.frames[k].numpy()).crop(box)
    return picture.resize((CROP_PX, CROP_PX), Image.Resampling.LANCZOS)


def moments(result: Shown, rough: torch.Tensor) -> list[int]:
    """Return the frames of a result that are looked at, by how rough each is [N]."""
    turns = euler_angles(face.first_pose(result.landmarks).rotation)[:, 1].abs()
    mouths, eyes = face.mouth_opening(result.landmarks), face.eye_openings(result.landmarks).mean(1)
    return [int(signal.argmax()) for signal in (rough, mouths, turns, eyes, -eyes)]


def write_sheet(path: Path, rows: list[Shown], frames: list[int]) -> None:
    """Write the faces of some frames, a column a frame."""
    sheet = Image.new("RGB", (CROP_PX * len(frames), CROP_PX * len(rows)))
    for column, k in enumerate(frames):
        for row, shown in enumerate(rows):
            sheet.paste(crop(shown, k), (column * CROP_PX, row * CROP_PX))
    sheet.save(path)


def measured(names: tuple[str, str], frames: int, sheets: Path | None) -> tuple[int, dict[str, float]]:
    """Return the frames that were compared and their figures by COLUMNS; write a sheet if there is a folder."""
    pair = Pair.of(names, frames)
    own, result = pair.own, pair.rendered()
    rough, before = (
        [roughness(*frame) for frame in zip(shown.frames, shown.landmarks, strict=True)]
        for shown in (result, own)
    )
    figures = {name: sum(r[name] for r in rough) / max(sum(b[name] for b in before), 1e-6) for name in EDGES}
    figures |= looks(result, own)
    figures["jitter"] = jitter(result.landmarks) / max(jitter(own.landmarks), 1e-6)
    if sheets:
        ratios = [max(r[n] / max(b[n], 1e-6) for n in EDGES) for r, b in zip(rough, before, strict=True)]
        shown = moments(result, torch.tensor(ratios))
        write_sheet(sheets / f"{names[0]}_by_{names[1]}.png", [pair.led, own, result], shown)
    return len(own.frames), figures


def main() -> None:
    """Measure the pairs, print the table and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=72, help="limit of frames (72)")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("pairs", nargs="*", metavar="SOURCE,DRIVING", help="all pairs when left out")
    options = parser.parse_args()
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    print(f"{'source':12} {'driving':12} {'frames':>6} " + " ".join(f"{name:>8}" for name in COLUMNS))
    measure = partial(measured, frames=options.frames, sheets=options.sheets)
    found = {}
    for names, (count, figures) in over_pairs(measure, chosen_pairs(options.pairs)):
        found[names] = figures
        row = " ".join(f"{figures[name]:8.3f}" for name in COLUMNS)
        print(f"{names[0]:12} {names[1]:12} {count:>6} {row}", flush=True)
    for name in COLUMNS:
        values = {names: figures[name] for names, figures in found.items() if not math.isnan(figures[name])}
        if values:
            print(f"{name:8} of {len(values):2} pairs: {spread(values)}")


if __name__ == "__main__":
    main()
