"""The draft engine and what it remembers of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

import torch

from ... import compose
from ...expression import ALL_CHANNELS
from ...faces import FaceSquare, landmarks_near
from ...faces.history import MESH
from ...faces.people import People
from ...faces.smoothing import Continuity, smooth_landmarks
from ...geometry import face_crop
from ...media import ClipInfo
from ...plan import MotionTemplate
from ...settings import AnimationSettings, MotionOptions
from ...tracking import TrackedChunk
from ..base import ALL_OPTIONS, Edits, RenderedFrames, reference_chunk
from . import face
from .bars import pins
from .blur import blur_of
from .edit import edited, unled
from .eyeballs import draw_eyes
from .feedback import Missing, with_halved_colors
from .memory import Memory, Remembered
from .motion import RestingFace, Target, led_from, transfer
from .mouth import draw_mouths
from .paint import paint_corners, paint_lids, paint_lips
from .sampling import drawn_out, moved, squeezed, steps_of, to_region
from .teeth import averaged, with_shown_teeth
from .template import DraftTemplate
from .warp import make_warp, without_folds

SKETCH_SIDE_PX, SKETCH_WARP_NODES = 160, 96
"""The sketch that is re-tracked: its pixels across the face's square, and the nodes a side of its warp."""
CACHED_PIXELS = 200_000
"""Pixels whose intermediate forms, all together, fit into a CPU core's cache."""
PIXELS_AT_ONCE = 4_000_000
"""Pixels of the squares that are drawn at once: memory, about 100 bytes each."""
FEEDBACK, LIVE_FEEDBACK = ((1, 2), (3, 1), (6, 1)), ((3, 1), (5, 1), (8, 1))
"""Frames from one inference to the next, and inferences in a row, on faces that are drawn once, twice and at least
three times smaller for it. Where frames come one by one, an inference takes as long as it takes to draw a frame."""


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
        live: bool = False,
    ) -> DraftSession:
        feedback = LIVE_FEEDBACK if live else FEEDBACK
        return DraftSession(settings, options, source_rate, driving_rate, self.device, feedback)


class DraftSession:
    """One run: the resting faces of both clips.

    Args:
        feedback: as `FEEDBACK`.
    """

    def __init__(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
        device: str,
        feedback: tuple[tuple[int, int], ...],
    ):
        self._feedback = feedback
        self._settings = settings
        self._options = options
        self._source_rate = source_rate
        self._driving_rate = driving_rate
        self._device = device
        self._driving_rest: RestingFace | None = None
        self._people: People[RestingFace] = People()  # of the driving clip
        self._continuity = Continuity()  # of the source
        self._known: tuple[torch.Tensor, FaceSquare] | None = None  # the last chunk's landmarks and squares
        self._usual: Missing | None = None  # what seems to be missing in the one frame that is edited again
        self._first_usual: Missing | None = None  # in the first frames
        self._begin_scene()

    def _begin_scene(self) -> None:
        """Keep nothing of the source's face: its next frame is the first."""
        self._source_rest: RestingFace | None = None
        self._memory = Memory(still=self._source_rate is None)
        self._frames = 0  # since the face's first
        self._held: Missing | None = None  # in the last two frames that were inferred

    def for_another_face(self) -> DraftSession:
        other = copy(self)
        other._continuity = Continuity()
        other._usual = other._first_usual = None
        other._begin_scene()
        return other

    def again(self) -> DraftSession:
        """Return a session that edits the one frame anew that this one has rendered.

        What the edits don't change is not inferred again.
        """
        other = self.for_another_face()
        other._usual = self._first_usual
        return other

    def survey(self, chunks: Iterable[TrackedChunk]) -> None:
        number = self._options.reference_frame
        if number:
            smooth = smooth_landmarks(chunks, self._options.smoothing, self._driving_rate)
            chunk = reference_chunk(smooth, number)
            assert chunk is not None  # a number above 0 has one, or raises
            landmarks = chunk.landmarks[0, :MESH]
            self._driving_rest = RestingFace.of(landmarks.to(chunk.frames.device))
            self._people.add(int(chunk.scenes[0]), landmarks, self._driving_rest)

    def source(self, chunks: Iterable[TrackedChunk]) -> Iterator[TrackedChunk]:
        return smooth_landmarks(chunks, self._options.smoothing, self._source_rate)

    def motions(self, chunks: Iterable[TrackedChunk]) -> Iterator[torch.Tensor | None]:
        """Yield the landmarks float32 [479, 3] of each driving frame, as `with_shown_teeth` has them.

        Behind a cut to another person, motion starts from that one's first frame.
        """
        scene, teeth = -1, None
        for chunk in smooth_landmarks(
            map(with_shown_teeth, chunks), self._options.smoothing, self._driving_rate
        ):
            for k, present in enumerate(chunk.present.tolist()):
                if not present:
                    yield None
                    continue
                if chunk.scenes[k] != scene:
                    scene, teeth = int(chunk.scenes[k]), None
                led = self._since_rest(chunk, k)[None]
                share, teeth = averaged(face.teeth_share(led), face.mouth_opening(led), teeth)
                yield face.with_teeth(led[:, :MESH], share)[0]

    def motions_of(self, template: MotionTemplate, count: int) -> Iterator[torch.Tensor | None]:
        """Yield the landmarks of a template's first frames, as those of its clip are yielded.

        Raises:
            SettingsError: the template lacks the reference frame.
        """
        assert isinstance(template, DraftTemplate)  # the run checked whose it is
        if self._driving_rest is None:  # otherwise the template begins again
            beyond = self._options.reference_frame >= count
            whole = self._settings.video_frame_load_cap or len(template)
            self.survey(template.chunks(whole if beyond else count, self._device))
        return self.motions(template.chunks(count, self._device))

    def record(self, chunks: Iterable[TrackedChunk], info: ClipInfo) -> DraftTemplate:
        """Return the template of a driving clip: its face's landmarks, not smoothed."""
        parts = [(chunk.landmarks, chunk.present, chunk.scenes) for chunk in map(with_shown_teeth, chunks)]
        landmarks, present, scenes = map(torch.cat, zip(*parts, strict=True))
        return DraftTemplate(landmarks, present, scenes, (info.width, info.height), info.rate)

    def _since_rest(self, chunk: TrackedChunk, k: int) -> torch.Tensor:
        """Return the landmarks of frame k, of any person, as motion since the one driving rest."""
        landmarks = chunk.landmarks[k, :MESH]
        own = self._people.at(
            int(chunk.scenes[k]), landmarks, lambda: RestingFace.of(landmarks.to(chunk.frames.device))
        )
        if self._driving_rest is None:
            self._driving_rest = own
        if own is self._driving_rest:
            return chunk.landmarks[k]
        led = led_from(landmarks, own, self._driving_rest, self._settings)
        return face.with_teeth(led[None], face.teeth_share(chunk.landmarks[k : k + 1]))[0]

    def render(
        self,
        chunk: TrackedChunk,
        driving: torch.Tensor | None,
        masks: bool = False,
        edits: Edits | None = None,
    ) -> RenderedFrames:
        frames = chunk.frames.clone()
        mask = torch.zeros(frames.shape[:3], device=frames.device) if masks else None
        landmarks, square = self._faces(chunk)
        parts, covered, shut = self._parts(chunk, square), [], []
        for part, begins in parts:
            if begins:
                self._begin_scene()
            own = (landmarks, square) if len(parts) == 1 else (landmarks[part], square[part])
            own_mask = None if mask is None else mask[part]
            led = None if driving is None else driving[part]
            own_edits = None if edits is None else edits[part]
            own_covered, own_shut = self._animate(frames[part], *own, led, own_edits, own_mask)
            covered += [part.start + k for k in own_covered]
            shut += [part.start + k for k in own_shut]
        return RenderedFrames(frames, mask, (square,), covered=tuple(covered), shut=tuple(shut))

    def _faces(self, chunk: TrackedChunk) -> tuple[torch.Tensor, FaceSquare]:
        """Return a chunk's landmarks and squares: those of a still are the very same ones each time.

        What is read off them is kept by their identity.
        """
        if self._known is None or not torch.equal(self._known[0], chunk.landmarks):
            self._known = chunk.landmarks, face_crop(chunk.landmarks, self._settings)
        return self._known

    def _parts(self, chunk: TrackedChunk, square: FaceSquare) -> list[tuple[slice, bool]]:
        """Cut a chunk where a scene of the source begins, and into as many frames as are drawn at once.

        Returns:
            the parts, and whether each begins a scene: the first one may continue the last chunk's.
        """
        starts = [k for k in range(len(chunk)) if self._continuity.begins(chunk, k)]
        height, width = chunk.frames.shape[1:3]
        pixels = min(square.side.max().item() ** 2, height * width)
        at_once = max(1, int(PIXELS_AT_ONCE / max(pixels, 1)))
        edges = sorted({0, *starts, *range(0, len(chunk), at_once), len(chunk)})
        return [(slice(a, b), a in starts) for a, b in pairwise(edges)]

    @torch.inference_mode()
    def _animate(
        self,
        frames: torch.Tensor,
        source: torch.Tensor,
        square: FaceSquare,
        driving: torch.Tensor | None,
        edits: Edits | None,
        mask: torch.Tensor | None,
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Move the faces by landmarks of both clips; frames, and mask if there is one, are modified.

        Args:
            source: float32 [N, 478, 3].
            square: their N squares.
            driving: float32 [N, 479, 3], as `motions` yields them.

        Returns:
            the numbers of the frames, 0 to N - 1, whose mouths are covered and stay as they are, and of those whose
            eyes stay shut.
        """
        source, square = source.to(frames.device), square.to(frames.device)
        if self._source_rest is None:
            self._source_rest = RestingFace.of(source[0])
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
            return (), ()
        seen = self._memory.learn(frames, wanted)
        wanted = wanted.with_own_mouth(seen.covered)
        shut = seen.shut_frames(wanted)
        target = self._corrected(frames, wanted, own, seen, square, region)
        opacity = self._draw(frames, target, seen, square, region, self._settings.dsize * 3 // 8)
        if mask is not None:
            region.of(mask).copy_(opacity)
        return seen.covered_frames(), shut

    def _corrected(
        self,
        frames: torch.Tensor,
        wanted: Target,
        own: Target | None,
        seen: Remembered,
        square: FaceSquare,
        region: compose.PixelRect,
    ) -> Target:
        """Return the target that makes the result match what is wanted, by re-tracking a small sketch of it.

        What was missing in a frame that is inferred is added to the frames up to the next one as well, turns and the
        corners of mouths little by little, openings as far as they are alike. Of mouths, also what was learned is.

        Args:
            own: the target that moves nothing, of faces that are edited without a driving clip: what seems to be
                missing there as well is the landmark network's, and correcting it would make small edits jump.
        """
        shrink = max(1, round(square.side.max().item() / SKETCH_SIDE_PX))
        every, times = self._feedback[min(shrink, len(self._feedback)) - 1]
        held, count, waits = self._held, len(frames), -self._frames % every
        if count > waits:
            inferred = slice(waits, None, every)
            shown, asked, kept, around = frames[inferred], wanted[inferred], seen[inferred], square[inferred]
            usual = self._usual
            if own is not None and usual is None:
                usual = self._missing(shown, own[inferred], own[inferred], kept, around, region, shrink)
                if self._first_usual is None:
                    self._first_usual = usual

            def missing(drawn: Target) -> Missing:
                found = self._missing(shown, drawn, asked, kept, around, region, shrink)
                return found if usual is None else found.less(usual)

            new = missing(asked)
            for _ in range(times - 1):
                new = new + missing(new.added_to(asked, shrink))
            if own is not None:
                new = new.of_edit()
            held = Missing.cat((new[:1] if held is None else held, new.after(held)))
        assert held is not None  # the first frame of a scene is inferred
        number = self._frames + torch.arange(count)
        latest = len(held) - 1 + number // every - number[-1] // every
        correction = held[latest - 1].towards(held[latest], (number % every + 1) / every)
        self._frames, self._held = self._frames + count, held[-2:]
        return correction.added_to(wanted, shrink)

    def _missing(
        self,
        frames: torch.Tensor,
        target: Target,
        wanted: Target,
        seen: Remembered,
        square: FaceSquare,
        region: compose.PixelRect,
        shrink: int,
    ) -> Missing:
        """Return what the landmark network misses of what is wanted in a sketch, drawn `shrink` times smaller."""
        drawn = region.of(frames)[:, ::shrink, ::shrink].clone()
        # The first pixel's centre stays where it is.
        offset = (1 - shrink) / 2
        corner = torch.tensor([region.left + offset, region.top + offset, 0.0], device=frames.device)
        small = target.within(corner, shrink)
        square = FaceSquare((square.center - corner[:2]) / shrink, square.axes, square.side / shrink)
        part = compose.rect_of(square, *drawn.shape[1:3])
        # Lips of small faces are thinner than a node, and as coarse as a video's colours.
        size = SKETCH_WARP_NODES if shrink > 1 else 2 * SKETCH_WARP_NODES
        self._draw(drawn, small, seen, square, part, size, sketch=True)
        if shrink == 1:
            drawn = with_halved_colors(drawn)
        found, presence = landmarks_near(drawn, small.moved)
        assert self._source_rest is not None
        return Missing.of(
            wanted.moved, found.to(frames.device), presence.to(frames.device), wanted.rest_corners
        )

    def _draw(
        self,
        frames: torch.Tensor,
        target: Target,
        seen: Remembered,
        square: FaceSquare,
        region: compose.PixelRect,
        size: int,
        sketch: bool = False,
    ) -> torch.Tensor:
        """Move the faces in frames, which are modified, by a warp on a grid of `size` nodes a side.

        Args:
            seen: what these frames and those before show of open eyes and mouths.
            square, region: the source faces' squares, and the rectangle around these.
            sketch: nobody looks at the result, which then is sampled at one place a pixel.

        Returns:
            the opacity of what was drawn, float32 [N, h, w], of the region.
        """
        target = seen.with_unseen_eyes_shut(target)
        target, vertices = without_folds(target, square, self._settings.stitching)
        warp = make_warp(target, vertices, size)
        shift = warp.at_nodes()
        maps, streaks = to_region(shift, square, region), None
        if not sketch:
            steps = steps_of(shift)
            # Squeezing rides along with the shift, so that both are brought to the region's pixels at once.
            maps, streaks = torch.cat((maps, squeezed(steps)), dim=1), drawn_out(steps)
        at_once = max(1, CACHED_PIXELS // region.area) if frames.device.type == "cpu" else len(frames)
        parts = [slice(start, start + at_once) for start in range(0, len(frames), at_once)]
        held = None if sketch else pins(frames, target, square, region)
        blur = blur_of(frames, target.source)
        pictures, opacity = moved(frames, maps, warp, square, region, parts, blur, streaks, held)
        with seen.keeping_covered(pictures):
            draw_mouths(pictures, frames, target, seen, shift, square, region, blur)
            paint_corners(pictures, target, region)
            paint_lips(pictures, frames, target, region, blur)
        draw_eyes(pictures, frames, target, shift, square, region, blur)
        paint_lids(pictures, frames, target, region, blur)
        seen.paint_eyes(pictures, target, region, blur)
        for part in parts:
            compose.blend(frames[part], pictures[part], opacity[part], region)
        return opacity
