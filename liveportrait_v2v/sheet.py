"""Numbers of a clip's faces, and a contact sheet that shows them with their crop squares.

Frames are read once and in order, and only the few that the sheet may show are kept: memory does not depend on the
clip's length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from PIL import Image, ImageDraw, ImageFont

from .errors import Cancelled, FaceNotFoundError
from .faces.history import FaceHistory
from .geometry import face_crop
from .media import Clip
from .settings import AnimationSettings, MotionOptions
from .tracking import track

CELLS = 12
CELL_SIDE = 480
COLOURS = ("#ffd23f", "#3fc1ff", "#ff6b6b", "#7ae582", "#c792ff", "#ff9f43")
_NUMBER_SIDE = 44
"""Pixels of the box around a number: legible where a sheet of four cells is shown 400 pixels wide."""
_CAPTION_SIDE = 24
_DOTTED_SIDE = 100
"""Width in pixels of a face from which its landmarks are drawn: they would cover a smaller one."""
_MARGIN = 0.04
"""Of the part of a frame that is shown, beyond its crop squares."""
_PAPER, _INK, _NOTHING = "#16181d", "#e8eaed", "#8b9098"


@dataclass(frozen=True)
class Face:
    """One numbered face of a clip.

    Attributes:
        number: its value of `input_face_index` and `drive_face_index`.
        frames: number of frames in which it was found.
        first_frame, first_seen: the first of them, counted from 0, and its time in seconds.
        box: left, top, right, bottom of its landmarks in that frame, in pixels.
        crop: the four corners of its crop square in that frame, in pixels, clockwise from the face's own top left.
    """

    number: int
    frames: int
    first_frame: int
    first_seen: Fraction
    box: tuple[float, float, float, float]
    crop: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            "frames": self.frames,
            "first_frame": self.first_frame,
            "first_seen": round(float(self.first_seen), 3),
            "box": [round(value, 1) for value in self.box],
            "crop": [[round(x, 1), round(y, 1)] for x, y in self.crop],
        }


@dataclass(frozen=True)
class Survey:
    """The result of `survey`.

    Attributes:
        faces: in the order of their numbers.
        frames: number of frames in the clip.
        frames_without_face: number of frames in which no face was found.
        notes: where a number may go over to another person and where its face is lost, a sentence each.
        size: width and height of the frames.
        sheet: the contact sheet.
    """

    faces: list[Face]
    frames: int
    frames_without_face: int
    size: tuple[int, int]
    sheet: Image.Image
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        return {
            "frames": self.frames,
            "frames_without_face": self.frames_without_face,
            "size": list(self.size),
            "faces": [face.to_dict() for face in self.faces],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Cell:
    frame: int
    time: Fraction
    picture: Image.Image
    corner: tuple[int, int]  # of the part of the frame that the picture shows, in frame pixels
    scale: float  # cell pixels per frame pixel
    landmarks: dict[int, torch.Tensor]  # by face number, [478, 3] in frame pixels
    scenes: list[int]  # of each number so far


def survey(
    clip: Clip,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    *,
    cells: int = CELLS,
    device: str = "cpu",
    on_frames: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Survey:
    """Find and number the faces of a whole clip, and draw its contact sheet.

    Args:
        settings: for the crop squares (scale, vx_ratio, vy_ratio).
        options: for the order in which faces are numbered.
        cells: frames on the sheet, at most.
        on_frames: called with the number of frames read so far.
        cancelled: polled after each chunk.

    Raises:
        MediaError: the clip can't be read.
        FaceNotFoundError: no face was found in any frame.
        Cancelled: `cancelled` returned True.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    kept: list[_Cell] = []
    seen: dict[int, Face] = {}
    counts: dict[int, int] = {}
    histories: list[FaceHistory] = []
    frames = empty = 0
    every = 1
    size = (0, 0)
    for chunk, tracks in track(clip, device=device, order=options.face_order):
        if cancelled is not None and cancelled():
            raise Cancelled("stopped while looking for faces")
        size = (chunk.frames.shape[2], chunk.frames.shape[1])
        histories += map(FaceHistory, range(len(histories), tracks.present.shape[1]))
        for number, history in enumerate(histories):
            history.add(frames, *tracks.face(number))
        for row, (frame, time) in enumerate(zip(chunk.frames, chunk.times, strict=True), start=frames):
            i = row - frames
            landmarks = {int(k): tracks.landmarks[i, k] for k in tracks.present[i].nonzero().flatten()}
            empty += not landmarks
            for number, points in landmarks.items():
                counts[number] = counts.get(number, 0) + 1
                if number not in seen:
                    seen[number] = _first_appearance(number, points, row, time, settings)
            if row % every == 0:
                kept.append(_cell(frame, row, time, landmarks, tracks.scenes[i].tolist(), settings))
                # Twice as many as fit: drop every other one, and keep half as many from now on.
                if len(kept) == 2 * cells:
                    kept, every = kept[::2], every * 2
        frames += len(chunk.frames)
        if on_frames is not None:
            on_frames(frames)
    if not seen:
        raise FaceNotFoundError(
            f"none of the clip's {frames} frames shows a face; use a clip with a face at least 40 pixels wide"
        )
    faces = [
        Face(number, counts[number], face.first_frame, face.first_seen, face.box, face.crop)
        for number, face in sorted(seen.items())
    ]
    notes = tuple(note for history in histories for note in history.notes())
    return Survey(faces, frames, empty, size, _draw(_spread(kept, cells), settings), notes)


def _first_appearance(
    number: int, points: torch.Tensor, row: int, time: Fraction, settings: AnimationSettings
) -> Face:
    low, high = points[:, :2].amin(0).tolist(), points[:, :2].amax(0).tolist()
    corners = face_crop(points[None], settings).corners()[0].tolist()
    return Face(number, 1, row, time, (*low, *high), tuple((x, y) for x, y in corners))


def _cell(
    frame: torch.Tensor,
    row: int,
    time: Fraction,
    landmarks: dict[int, torch.Tensor],
    scenes: list[int],
    settings: AnimationSettings,
) -> _Cell:
    kept = {number: points.cpu().clone() for number, points in landmarks.items()}
    picture = Image.fromarray(frame.cpu().numpy())
    part = _around(kept, settings, picture.size)
    picture = picture.crop(part)
    scale = CELL_SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2)
    return _Cell(row, time, picture, part[:2], scale, kept, scenes)


def _around(
    landmarks: dict[int, torch.Tensor], settings: AnimationSettings, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the part of a frame that its faces and their crop squares fill: left, top, right, bottom.

    Without a face it is the whole frame.
    """
    if not landmarks:
        return 0, 0, *size
    shown = [points[:, :2] for points in landmarks.values()]
    shown += [face_crop(points[None], settings).corners()[0] for points in landmarks.values()]
    everything = torch.cat(shown)
    low, high = everything.amin(0), everything.amax(0)
    margin = _MARGIN * (high - low).max()
    left, top = (low - margin).floor().int().clamp(min=0).tolist()
    right, bottom = (high + margin).ceil().int().minimum(torch.tensor(size)).tolist()
    return left, top, right, bottom


def _spread(cells: list[_Cell], count: int) -> list[_Cell]:
    """Return at most `count` evenly spaced cells, including the first and the last."""
    if len(cells) <= count:
        return cells
    return [cells[round(i * (len(cells) - 1) / (count - 1))] for i in range(count)]


def _draw(cells: list[_Cell], settings: AnimationSettings) -> Image.Image:
    width, height = (max(sides) for sides in zip(*(cell.picture.size for cell in cells), strict=True))
    columns = min(len(cells), 4 if width >= height else 6)
    if len(cells) <= 4:
        columns = math.ceil(math.sqrt(len(cells)))  # shown small: two by two
    rows = math.ceil(len(cells) / columns)
    gap, caption = 8, 34
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + caption + gap) + gap), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font, large = ImageFont.load_default(_CAPTION_SIDE), ImageFont.load_default(_NUMBER_SIDE * 0.8)
    before: list[int] = []
    for i, cell in enumerate(cells):
        x, y = gap + i % columns * (width + gap), gap + i // columns * (height + caption + gap)
        inner = (width - cell.picture.width) // 2, (height - cell.picture.height) // 2
        sheet.paste(_mark(cell, settings, large), (x + inner[0], y + inner[1]))
        _draw_caption(draw, (x + 2, y + height + 3), cell, before, font)
        before = cell.scenes
    return sheet


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    cell: _Cell,
    before: list[int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw a cell's frame and time, a crossed box if it has no face, and the numbers that a cut precedes.

    There are no words: Pillow's own font has no Chinese and Japanese letters.

    Args:
        before: `scenes` of the cell before.
    """
    left, top = place
    text = f"#{cell.frame}   {float(cell.time):.2f} s"
    draw.text((left, top), text, _INK, font)
    x, side = left + draw.textlength(text, font) + _CAPTION_SIDE, _CAPTION_SIDE
    if not cell.landmarks:
        draw.rectangle((x, top + 2, x + side, top + 2 + side), outline=_NOTHING, width=2)
        draw.line((x, top + 2, x + side, top + 2 + side), _NOTHING, 2)
        draw.line((x, top + 2 + side, x + side, top + 2), _NOTHING, 2)
    cut = [n for n, scene in enumerate(before) if n in cell.landmarks and scene != cell.scenes[n]]
    if cut:
        draw.text((x, top), "//", _INK, font)
        x += side
    for number in cut:
        draw.rectangle((x, top + 2, x + side, top + 2 + side), COLOURS[number % len(COLOURS)])
        draw.text((x + side / 2, top + 2 + side / 2), str(number), "#000000", font, anchor="mm")
        x += side + 4


def _mark(
    cell: _Cell, settings: AnimationSettings, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Image.Image:
    picture = cell.picture.copy()
    draw = ImageDraw.Draw(picture)
    corner = torch.tensor(cell.corner)
    for number, points in cell.landmarks.items():
        colour = COLOURS[number % len(COLOURS)]
        flat = (points[:, :2] - corner) * cell.scale
        (left, top), (right, bottom) = flat.amin(0).tolist(), flat.amax(0).tolist()
        if right - left >= _DOTTED_SIDE:
            for x, y in flat.tolist():
                draw.point((x, y), colour)
        corners = ((face_crop(points[None], settings).corners()[0] - corner) * cell.scale).tolist()
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            draw.line((*start, *end), colour, 3)
        draw.rectangle((left, top, right, bottom), outline=colour)
        y = max(0.0, top - _NUMBER_SIDE)  # inside the picture
        draw.rectangle((left, y, left + _NUMBER_SIDE, y + _NUMBER_SIDE), colour)
        middle = (left + _NUMBER_SIDE / 2, y + _NUMBER_SIDE / 2)
        draw.text(middle, str(number), "#000000", font, anchor="mm")
    return picture
