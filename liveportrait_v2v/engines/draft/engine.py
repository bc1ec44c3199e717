"""The draft engine and what it remembers of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F

from ... import compose
from ...expression import ALL_CHANNELS
from ...faces import FaceSquare, landmarks_near
from ...faces.people import People
from ...faces.smoothing import Continuity, smooth_landmarks
from ...geometry import face_crop
from ...settings import AnimationSettings, MotionOptions
from ...tracking import TrackedChunk
from ..base import ALL_OPTIONS, Edits, RenderedFrames, reference_chunk
from . import face
from .edit import edited, unled
from .eyeballs import draw_eyes
from .feedback import Missing, with_halved_colors
from .memory import Memory, Remembered
from .motion import RestingFace, Target, led_from, transfer
from .mouth import draw_mouths
from .paint import paint_lids, paint_lips
from .warp import make_warp, without_folds

SKETCH_SIDE_PX, SKETCH_WARP_NODES = 160, 96
"""The sketch that is re-tracked: its pixels across the face's square, and the nodes a side of its warp."""
CACHED_PIXELS = 200_000
"""Pixels whose intermediate forms, all together, fit into a CPU core's cache."""
SQUEEZED, SQUEEZED_TAPS = face.Ramp(2.2, 0.8), 6
"""Pixels of the source in one of the result from which they are averaged, and places at which they are taken."""
TORN = face.Ramp(4, 2)
"""The same, from which the warp is torn between two parts of the face."""
MAX_FEEDBACK_INTERVAL_FRAMES = 3
"""Frames between inferences on the largest faces."""


class DraftEngine:
    """Moves the source face's pixels to where the driving face's landmarks say, and paints what was hidden.

    A preview: timing, framing, choice of faces and motion are those of the result to come; light, wrinkles, hidden
    cheeks and teeth are not.

    How some settings are interpreted: without `relative`, the openings of eyes and mouth and the head's rotation
    are the driving face's own; the rest of its expression stays relative, since landmarks alone don't separate an
    expression from the shape of a face. A driving still gives its eyes and mouth; the head moves as before.
    How far the head turns and eyes and mouth open is corrected by what the landmark net sees of the result.
    The head's place and size stay the source's own in a video, as in LivePortrait; a still's follow the driving head's,
    in widths of the face, softly limited. After a cut in the source, its first frame is the new resting face.
    """

    name = "draft"
    # Motion is always carried over as `pose-friendly` has it, and driven eyes take the place of the source's own.
    supports = ALL_OPTIONS - {"driving_option", "source_eye_retargeting"}
    channels = ALL_CHANNELS
    takes_boxes = False
    feather = compose.FEATHER
    fixed: ClassVar[Mapping[str, object]] = {}

    def __init__(self, device: str = "cpu"):
        self.device = device
        # Two trackings and the encoder take a core each.
        self.render_threads = max(1, torch.get_num_threads() - 3) if device == "cpu" else None

    def add_points(self, chunk: TrackedChunk) -> TrackedChunk:
        return chunk

    def session(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ) -> DraftSession:
        return DraftSession(settings, options, source_rate, driving_rate)


class DraftSession:
    """One run: the resting faces of both clips."""

    def __init__(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ):
        self._settings = settings
        self._options = options
        self._source_rate = source_rate
        self._driving_rate = driving_rate
        self._driving_rest: RestingFace | None = None
        self._people: People[RestingFace] = People()  # of the driving clip
        self._continuity = Continuity()  # of the source
        self._begin_scene()

    def _begin_scene(self) -> None:
        """Keep nothing of the source's face: its next frame is the first."""
        self._source_rest: RestingFace | None = None
        self._memory = Memory()
        self._frames = 0  # since the face's first
        self._held: Missing | None = None  # in the last frame that was inferred

    def for_another_face(self) -> DraftSession:
        other = copy(self)
        other._continuity = Continuity()
        other._begin_scene()
        return other

    def survey(self, chunks: Iterable[TrackedChunk]) -> None:
        number = self._options.reference_frame
        if number:
            smooth = smooth_landmarks(chunks, self._options.smoothing, self._driving_rate)
            chunk = reference_chunk(smooth, number)
            assert chunk is not None  # a number above 0 has one, or raises
            self._driving_rest = RestingFace.of(chunk.landmarks[0].to(chunk.frames.device))
            self._people.add(int(chunk.scenes[0]), chunk.landmarks[0], self._driving_rest)

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        return smooth_landmarks(chunks, self._options.smoothing, self._source_rate)

    def motions(self, chunks: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """Yield the landmarks float32 [478, 3] of each driving frame.

        Behind a cut to another person, motion starts from that one's first frame.
        """
        for chunk in smooth_landmarks(chunks, self._options.smoothing, self._driving_rate):
            for k, present in enumerate(chunk.present.tolist()):
                yield self._since_rest(chunk, k) if present else None

    def _since_rest(self, chunk: TrackedChunk, k: int) -> torch.Tensor:
        """Return the landmarks of frame k, of any person, as motion since the one driving rest."""
        landmarks = chunk.landmarks[k]
        own = self._people.at(
            int(chunk.scenes[k]), landmarks, lambda: RestingFace.of(landmarks.to(chunk.frames.device))
        )
        if self._driving_rest is None:
            self._driving_rest = own
        return (
            landmarks
            if own is self._driving_rest
            else led_from(landmarks, own, self._driving_rest, self._settings)
        )

    def render(
        self,
        chunk: TrackedChunk,
        driving: torch.Tensor | None,
        masks: bool = False,
        edits: Edits | None = None,
    ) -> RenderedFrames:
        frames = chunk.frames.clone()
        mask = torch.zeros(frames.shape[:3], device=frames.device) if masks else None
        for scene, begins in self._scenes(chunk):
            if begins:
                self._begin_scene()
            own_mask = None if mask is None else mask[scene]
            led = None if driving is None else driving[scene]
            own_edits = None if edits is None else edits[scene]
            self._animate(frames[scene], chunk.landmarks[scene], led, own_edits, own_mask)
        return RenderedFrames(frames, mask, (face_crop(chunk.landmarks, self._settings),))

    def _scenes(self, chunk: TrackedChunk) -> list[tuple[slice, bool]]:
        """Cut a chunk where a scene of the source begins.

        Returns:
            the parts, and whether each begins a scene: the first one may continue the last chunk's.
        """
        starts = [k for k in range(len(chunk)) if self._continuity.begins(chunk, k)]
        edges = sorted({0, *starts, len(chunk)})
        return [(slice(a, b), a in starts) for a, b in pairwise(edges)]

    @torch.inference_mode()
    def _animate(
        self,
        frames: torch.Tensor,
        source: torch.Tensor,
        driving: torch.Tensor | None,
        edits: Edits | None,
        mask: torch.Tensor | None,
    ) -> None:
        """Move the faces by landmarks [N, 478, 3] of both clips; frames, and mask if there is one, are modified."""
        source = source.to(frames.device)
        if self._source_rest is None:
            self._source_rest = RestingFace.of(source[0])
        square = face_crop(source, self._settings)
        own = None
        if driving is None:
            wanted = own = unled(source, self._source_rest)
        else:
            assert self._driving_rest is not None  # set by the first motion
            rests = self._source_rest, self._driving_rest
            stills = self._source_rate is None, self._driving_rate is None
            led = driving.to(frames.device)
            wanted = transfer(source, led, *rests, self._settings, self._options, *stills)
        if edits is not None:
            wanted = edited(wanted, edits, self._source_rest, square.side, square.axes, driving is not None)
        region = compose.rect_of(square, *frames.shape[1:3])
        if region.empty:
            return
        seen = self._memory.learn(frames, wanted)
        target = self._corrected(frames, wanted, own, seen, square.side.max().item(), region)
        opacity = self._draw(frames, target, seen, self._settings.dsize * 3 // 8)
        if mask is not None:
            region.of(mask).copy_(opacity)

    def _corrected(
        self,
        frames: torch.Tensor,
        wanted: Target,
        own: Target | None,
        seen: Remembered,
        side: float,
        region: compose.PixelRect,
    ) -> Target:
        """Return the target that makes the result match what is wanted, by re-tracking a small sketch of it.

        Small faces, the quickest to draw, are inferred twice in each frame, others once in every second or third one;
        what was missing there is added to the frames up to the next inference as well.

        Args:
            own: the target that moves nothing, of faces that are edited without a driving clip: what seems to be
                missing there as well is the landmark network's, and correcting it would make small edits jump.
        """
        shrink = max(1, round(side / SKETCH_SIDE_PX))
        every = min(shrink, MAX_FEEDBACK_INTERVAL_FRAMES)
        held, count, waits = self._held, len(frames), -self._frames % every
        if count > waits:
            inferred = slice(waits, None, every)
            shown, asked, kept = frames[inferred], wanted[inferred], seen[inferred]
            usual = None
            if own is not None:
                usual = self._missing(shown, own[inferred], own[inferred], kept, region, shrink)

            def missing(drawn: Target) -> Missing:
                found = self._missing(shown, drawn, asked, kept, region, shrink)
                return found if usual is None else found.less(usual)

            new = missing(asked)
            if shrink == 1:
                new = new + missing(new.added_to(asked))
            new = new.smoothed(held)
            held = Missing.cat((held, new)) if waits and held is not None else new
        assert held is not None  # the first frame of a scene is inferred
        latest = (torch.arange(count) + self._frames % every) // every
        self._frames, self._held = self._frames + count, held[-1:]
        return held[latest].added_to(wanted)

    def _missing(
        self,
        frames: torch.Tensor,
        target: Target,
        wanted: Target,
        seen: Remembered,
        region: compose.PixelRect,
        shrink: int,
    ) -> Missing:
        """Return what the landmark network misses of what is wanted in a sketch, drawn `shrink` times smaller."""
        drawn = region.of(frames)[:, ::shrink, ::shrink].clone()
        # The first pixel's centre stays where it is.
        offset = (1 - shrink) / 2
        corner = torch.tensor([region.left + offset, region.top + offset, 0.0], device=frames.device)
        small = target.within(corner, shrink)
        if shrink > 1:
            self._draw(drawn, small, seen, SKETCH_WARP_NODES, sketch=True)
        else:
            # Lips of small faces are thinner than a node, and as coarse as a video's colours.
            self._draw(drawn, small, seen, 2 * SKETCH_WARP_NODES, sketch=True)
            drawn = with_halved_colors(drawn)
        found, presence = landmarks_near(drawn, small.moved)
        return Missing.of(wanted.moved, found.to(frames.device), presence.to(frames.device))

    def _draw(
        self, frames: torch.Tensor, target: Target, seen: Remembered, size: int, sketch: bool = False
    ) -> torch.Tensor:
        """Move the faces in frames, which are modified, by a warp on a grid of `size` nodes a side.

        Args:
            seen: what these frames and those before show of open eyes and mouths.
            sketch: nobody looks at the result, which then is sampled at one place a pixel.

        Returns:
            the opacity of what was drawn, float32 [N, h, w], of the rectangle around the target's squares.
        """
        square = face_crop(target.source, self._settings)
        region = compose.rect_of(square, *frames.shape[1:3])
        target = seen.with_unseen_eyes_shut(target)
        target, vertices = without_folds(target, square, self._settings.stitching)
        shift = make_warp(target, vertices, size)
        # Opacity and squeezing ride along with the shift, so that all are brought to the region's pixels at once.
        opacity = _opacity(size, len(frames), frames.device)
        maps = torch.cat((_to_region(shift, square, region), opacity), dim=1)
        if not sketch:
            maps = torch.cat((maps, _squeezed(shift)), dim=1)
        at_once = max(1, CACHED_PIXELS // region.area) if frames.device.type == "cpu" else len(frames)
        parts = [slice(start, start + at_once) for start in range(0, len(frames), at_once)]
        pictures, opacity = _moved(frames, maps, square, region, parts)
        draw_mouths(pictures, frames, target, seen, shift, square, region)
        draw_eyes(pictures, frames, target, shift, square, region)
        paint_lips(pictures, frames, target, region)
        paint_lids(pictures, frames, target, region)
        seen.paint_eyes(pictures, target, region)
        for part in parts:
            compose.blend(frames[part], pictures[part], opacity[part], region)
        return opacity


def _moved(
    frames: torch.Tensor,
    maps: torch.Tensor,
    square: FaceSquare,
    region: compose.PixelRect,
    parts: list[slice],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the region's pixels moved, float32 [N, 3, h, w] in 0..255, and their opacity [N, h, w].

    Args:
        maps: float32 [N, 3 or 4, S, S] over the squares: shift, as the region's sampling grid has it, opacity, and
            pixels of the source in one of the result, which is averaged where there are more.
        parts: frames to be moved at once.
    """
    still = region.identity(frames.device)
    # Channel by channel, as the maps are: several times faster to add.
    grid = torch.empty(len(frames), 2, *still.shape[:2], device=frames.device).permute(0, 2, 3, 1)
    stays = still.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    pictures = torch.empty(len(frames), 3, *still.shape[:2], device=frames.device)
    opacity = torch.empty(len(frames), *still.shape[:2], device=frames.device)
    squeezed = torch.zeros(opacity.shape, dtype=torch.bool, device=frames.device)
    for part in parts:
        place = region.to_square(square[part]).mul_(2).sub_(1)
        upright = F.grid_sample(maps[part], place, mode="bilinear", padding_mode="zeros", align_corners=False)
        torch.add(upright[:, :2].permute(0, 2, 3, 1), stays, out=grid[part])
        pixels = region.of(frames[part]).float().permute(0, 3, 1, 2)
        pictures[part] = F.grid_sample(
            pixels, grid[part], mode="bilinear", padding_mode="border", align_corners=False
        )
        opacity[part] = upright[:, 2]
        if maps.shape[1] > 3:
            torch.gt(upright[:, 3], SQUEEZED.start, out=squeezed[part])
    which = squeezed.nonzero(as_tuple=True)
    if len(which[0]):
        shifts = _Shifts(maps[:, :2], square, region)
        _average_squeezed(pictures, region.of(frames), grid, still, which, shifts)
    return pictures, opacity


def _squeezed(shift: torch.Tensor) -> torch.Tensor:
    """Return the pixels of the source in a step of one, along the axis with more, at nodes and those beside them.

    Args:
        shift: float32 [N, 2, S, S], in sides of the square.

    Returns:
        float32 [N, 1, S, S].
    """
    size = shift.shape[-1]
    steps = []
    for axis in (0, 1):
        way = size * shift.diff(dim=3 - axis)
        way[:, axis] += 1
        steps.append(F.pad(way.square().sum(1), (0, 1 - axis, 0, axis)))
    most = torch.maximum(*steps).sqrt_()
    # A difference belongs to the nodes at both of its ends.
    both = most.clone()
    torch.maximum(both[:, :, 1:], most[:, :, :-1], out=both[:, :, 1:])
    torch.maximum(both[:, 1:], most[:, :-1], out=both[:, 1:])
    return both.unsqueeze(1)


@dataclass(frozen=True)
class _Shifts:
    """The warp's shifts around pixels.

    Attributes:
        maps: float32 [N, 2, S, S], as the region's sampling grid has them.
        square: the N crop squares.
        region: of the pixels.
    """

    maps: torch.Tensor
    square: FaceSquare
    region: compose.PixelRect

    def around(
        self, frame: torch.Tensor, y: torch.Tensor, x: torch.Tensor, offsets: torch.Tensor
    ) -> torch.Tensor:
        """Return the shifts [P, T, 2] of the nodes at offsets [T, 2] in nodes from P pixels."""
        size = self.maps.shape[-1]
        pixels = torch.stack((x + self.region.left, y + self.region.top), dim=-1) + 0.5
        places = self.square[frame].to_crop(pixels.unsqueeze(1), size) + offsets
        columns, rows = places.long().clamp(0, size - 1).unbind(-1)
        return self.maps[frame.unsqueeze(1), :, rows, columns]


def _average_squeezed(
    pictures: torch.Tensor,
    frames: torch.Tensor,
    grid: torch.Tensor,
    still: torch.Tensor,
    which: tuple[torch.Tensor, ...],
    shifts: _Shifts,
) -> None:
    """Average what falls into a pixel where the warp squeezes the source or is torn: sampled once, it would be dotted.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        frames: uint8 [N, h, w, 3], the source's region.
        grid, still: float32 [N, h, w, 2] and [h, w, 2], its sampling grid, and the one that moves nothing.
        which: frame, row and column of P pixels of the region.
    """
    frame, y, x = which
    height, width = grid.shape[1:3]
    half = grid.new_tensor([width / 2, height / 2])
    pixels = frames.reshape(-1, 3)

    def mean_at(places: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        """Return the mean colours at places [P, T, 2] of frames [P], in pixels: float32 [P, 3]."""
        columns, rows = places[..., 0].long().clamp(0, width - 1), places[..., 1].long().clamp(0, height - 1)
        index = (frame.unsqueeze(1) * height + rows) * width + columns
        return pixels.index_select(0, index.view(-1)).view(*index.shape, 3).float().mean(1)

    center = (grid[frame, y, x] + 1) * half
    beside = [
        (grid[frame, (y + down).clamp(0, height - 1), (x + right).clamp(0, width - 1)] + 1) * half
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
    ]
    ways = torch.stack(beside, dim=1) - center.unsqueeze(1)
    most, longest = ways.norm(dim=-1).max(1, keepdim=True)
    way = ways.gather(1, longest.unsqueeze(-1).expand(-1, -1, 2))
    most = most.squeeze(1)
    taps = (torch.arange(SQUEEZED_TAPS, device=grid.device) + 0.5) / SQUEEZED_TAPS - 0.5
    mean = mean_at(center.unsqueeze(1) + taps.view(1, -1, 1) * way, frame)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, SQUEEZED(most).unsqueeze(1))

    # Where one part of the face covers another, a pixel shows what the nodes around it show, and nothing between.
    torn = most > TORN.start
    frame, y, x, most = frame[torn], y[torn], x[torn], most[torn]
    offsets = torch.tensor([-0.75, 0.0, 0.75], device=grid.device)
    offsets = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), dim=-1).view(-1, 2)
    places = still[y, x].unsqueeze(1) + shifts.around(frame, y, x, offsets)
    mean = mean_at((places + 1) * half, frame)
    pictures[frame, :, y, x] = torch.lerp(pictures[frame, :, y, x], mean, TORN(most).unsqueeze(1))


def _opacity(size: int, count: int, device) -> torch.Tensor:
    """Return the paste-back mask on the warp's grid, [count, 1, size, size].

    It is drawn in a little, so that interpolation adds nothing outside.
    """
    axis = ((torch.arange(size, device=device) + 0.5) / size - 0.5) * (1 + 3 / size) + 0.5
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    return compose.border_mask(places).expand(count, 1, size, size)


def _to_region(shift: torch.Tensor, square: FaceSquare, region: compose.PixelRect) -> torch.Tensor:
    """Shifts [N, 2, S, S] in sides of the square as shifts of a region's sampling grid."""
    axes = (square.axes * square.side.view(-1, 1, 1)).view(-1, 2, 2, 1, 1)
    x, y = shift[:, :1], shift[:, 1:]
    return (x * axes[:, 0] + y * axes[:, 1]) * region.grid_scale(shift.device).view(1, 2, 1, 1)
