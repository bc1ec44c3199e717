"""Open eyes and open mouths that the source has shown, kept for frames that show them shut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ...compose import PixelRect, to_float
from ...tensors import TensorStruct
from . import face
from .colours import skin_around_eyes, skin_color
from .covered import COVER, Covers
from .curves import CURVE_SAMPLES, Patch, surroundings
from .eyeballs import Eyes, with_glance
from .face import Frame, Ramp
from .motion import SHUT_EYE_OPENING, Target
from .parts import Parts
from .teeth import averaged, teeth_shown


@dataclass(frozen=True)
class EyeParameters:
    """A remembered eye over one that is shut in the source.

    Attributes:
        reach: half width and half height of what is kept, in widths of the eye.
        size: rows and columns of the kept picture.
        wide: opening over the resting one from which an eye counts as open.
        shut: opening over the resting one below which the source's eye counts as shut.
        opens: new opening over the remembered one from which an eye is painted.
        stretch: least and most vertical stretch of the remembered eye.
        edge: distance from the middle, in shares of the reach, at which the painted eye fades out.
        held: the source's own opening below which an eye that was never seen open stays shut.
        opened: how much wider than it is an eye is to open, from which its staying shut is told.
    """

    reach: tuple[float, float] = (0.65, 0.4)
    size: tuple[int, int] = (52, 84)
    wide: float = 0.85
    shut: Ramp = Ramp(0.8, 0.3)
    opens: Ramp = Ramp(0.3, 0.3)
    stretch: tuple[float, float] = (0.9, 1.6)
    edge: Ramp = Ramp(0.6, 0.35)
    held: Ramp = Ramp(0.2, 0.06)
    opened: float = 0.1


@dataclass(frozen=True)
class MouthParameters:
    """A remembered mouth.

    Attributes:
        x, y: first and last place of what is kept, in widths of the mouth from its middle.
        size: rows and columns of the kept picture.
        least: opening from which a mouth is kept.
        wider: opening over the kept one from which another mouth takes its place; changed at most once a few frames.
        most: opening above which mouths count as equally open.
    """

    x: tuple[float, float] = (-0.6, 0.6)
    y: tuple[float, float] = (-0.35, 0.75)
    size: tuple[int, int] = (88, 96)
    least: float = 0.1
    wider: float = 1.1
    most: float = 0.5


EYES, MOUTHS = EyeParameters(), MouthParameters()


@dataclass(frozen=True)
class Remembered(TensorStruct):
    """What N frames and those before them have shown of the source's open eyes and mouth.

    Attributes:
        eyes: float32 [N, 2, 3, h, w] in 0..255, over `EYES.reach` in the eyes' frames.
        eye_lids: float32 [N, 2, 2, CURVE_SAMPLES], their upper and lower margins there.
        eye_irises: float32 [N, 2, 5, 2], landmarks of their irises there.
        eye_skin: float32 [N, 2, 3] in 0..255, colour around them.
        eye_openings: float32 [N, 2], 0 where no open eye was seen.
        mouth: float32 [N, 3, h, w] in 0..255, over `MOUTHS.x` and `MOUTHS.y` in the mouth's frame.
        mouth_place: float32 [N, 3, 3], its centre and the ends of its axes in head coordinates.
        mouth_curves: float32 [N, 2, CURVE_SAMPLES], its margins.
        mouth_opening: float32 [N], 0 where no open mouth was seen.
        mouth_teeth: float32 [N], share of its height in which it shows teeth, as `teeth_shown` has it.
        own_teeth: float32 [N], the same of the mouth in the frame itself, averaged over those before: the light between
            lips says it unsurely.
        skin: float32 [N, 3] in 0..255, the face's colour in the mouth's frame.
        covered: float32 [N] in 0..1, how far the mouth counts as covered in the frame itself.
    """

    eyes: torch.Tensor
    eye_lids: torch.Tensor
    eye_irises: torch.Tensor
    eye_skin: torch.Tensor
    eye_openings: torch.Tensor
    mouth: torch.Tensor
    mouth_place: torch.Tensor
    mouth_curves: torch.Tensor
    mouth_opening: torch.Tensor
    mouth_teeth: torch.Tensor
    own_teeth: torch.Tensor
    skin: torch.Tensor
    covered: torch.Tensor

    @classmethod
    def nothing(cls, device: torch.device) -> Remembered:
        """Return one frame's memory before anything was seen."""
        shapes = (
            (2, 3, *EYES.size),
            (2, 2, CURVE_SAMPLES),
            (2, 5, 2),
            (2, 3),
            (2,),
            (3, *MOUTHS.size),
            (3, 3),
            (2, CURVE_SAMPLES),
            (),
            (),
            (),
            (3,),
            (),
        )
        empty = cls(*(torch.zeros(1, *shape, device=device) for shape in shapes))
        # A frame with axes, so that places in it exist.
        empty.mouth_place[:, 1:, :2] = torch.eye(2, device=device)
        return empty

    @contextmanager
    def keeping_covered(self, pictures: torch.Tensor) -> Iterator[None]:
        """Keep of pictures [N, 3, h, w], as far as their mouths are covered, what they were before this block."""
        which = self.covered.nonzero().flatten()
        kept = pictures[which]
        yield
        if len(which):
            pictures[which] = torch.lerp(pictures[which], kept, self.covered[which].view(-1, 1, 1, 1))

    def covered_frames(self) -> tuple[int, ...]:
        """Return the numbers of the frames, 0 to N - 1, in which something is before the mouth."""
        return tuple((self.covered >= COVER.counts).nonzero().flatten().tolist())

    def shut_frames(self, target: Target) -> tuple[int, ...]:
        """Return the numbers of those in which eyes stay shut that the target opens, as no open one was seen."""
        opens = target.after.eye_openings > target.eyes + EYES.opened
        return tuple(((self._unseen(target) > 0.5) & opens).any(1).nonzero().flatten().tolist())

    def with_unseen_eyes_shut(self, target: Target) -> Target:
        """Keep lids as they are in the source while an eye is shut that was never seen open."""
        return target.with_own_lids(self._unseen(target))

    def _unseen(self, target: Target) -> torch.Tensor:
        """Return how far eyes are shut that were never seen open, float32 [N, 2] in 0..1."""
        return (self.eye_openings == 0) * EYES.held.down(target.eyes)

    def paint_eyes(
        self, pictures: torch.Tensor, target: Target, region: PixelRect, blur: torch.Tensor
    ) -> None:
        """Paint remembered eyes, with their lids, where the source's are shut and the target's are not.

        Args:
            pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
            blur: float32 [N], of the source, as `blur_of` has it.
        """
        seen = self.eye_openings > 0
        ratio = target.after.eye_openings / torch.where(seen, self.eye_openings, 1.0)
        shut = EYES.shut.down(target.eyes / target.rest_eyes)
        share = seen * shut * EYES.opens(ratio) * target.after.eyes_in_view
        if not share.any():
            return
        reach = torch.tensor(EYES.reach, device=pictures.device)
        for eye in (0, 1):
            which = share[:, eye].nonzero().flatten()
            if not len(which):
                continue
            frame = target.after.eye(eye)[which]
            rows, columns, x, y = surroundings(frame, EYES.reach, region)
            place = torch.stack((x, y), dim=-1) / reach
            soft = 1 - EYES.edge(place.norm(dim=-1))
            stretch = torch.stack(
                (torch.ones(len(which), device=reach.device), 1 / ratio[which, eye].clamp(*EYES.stretch)), -1
            )
            place = place * stretch.view(-1, 1, 1, 2)
            eyes = self._glancing(
                which, eye, target.glance[which, eye], blur[which].view(-1, 1, 1) * frame.pixel
            )
            eyes = F.grid_sample(eyes, place, padding_mode="border", align_corners=True)
            part = pictures[which, :, rows, columns]
            weight = (soft * share[which, eye].view(-1, 1, 1)).unsqueeze(1)
            pictures[which, :, rows, columns] = torch.lerp(part, eyes, weight)

    def _glancing(
        self, which: torch.Tensor, eye: int, glance: torch.Tensor, blur: torch.Tensor
    ) -> torch.Tensor:
        """Return the kept pictures of an eye in K of the frames with their irises moved, float32 [K, 3, h, w].

        Args:
            which: int64 [K].
            glance: float32 [K, 2], ways of the irises in widths of the eye.
            blur: float32 [K, 1, 1], standard deviations of edges' blur in widths of the eye.
        """
        height, width = EYES.size
        reach_x, reach_y = EYES.reach
        center = glance.new_tensor([width / 2, height / 2]).expand(len(which), 2)
        axes = glance.new_tensor([(width - 1) / (2 * reach_x), (height - 1) / (2 * reach_y)]).diag()
        frame = Frame(center, axes.expand(len(which), 2, 2))
        patch = Patch(self.eyes[which, eye], [PixelRect(0, 0, height, width)])
        lids = self.eye_lids[which, eye].transpose(0, 1)
        eyes = Eyes(patch, frame, lids, self.eye_irises[which, eye], self.eye_skin[which, eye])
        return with_glance(eyes, glance, (blur / frame.pixel).flatten())


class Memory:
    """What the frames of a scene have shown so far; it does not depend on where chunks end.

    Args:
        still: all frames show the same, so that the first of them has shown all.
    """

    def __init__(self, still: bool = False) -> None:
        self._still = still
        self._last: Remembered | None = None
        self._widest_eyes = 0.0  # of the kept ones, over those at rest
        self._covers = Covers()
        self._teeth: torch.Tensor | None = None  # as `averaged` goes on with them

    def learn(self, frames: torch.Tensor, target: Target) -> Remembered:
        """Add the next N frames uint8 [N, H, W, 3], and return what is remembered in each of them.

        Eyes are those of the last frame in which both are about as open as at rest, or, until one comes, those of the
        frame in which they are widest. The mouth is the one that was clearly wider open than those before, with nothing
        before it.
        """
        if self._still and self._last is not None:
            return self._last.expand(len(frames))
        last = self._last or Remembered.nothing(frames.device)
        states, rows = [last], []
        covered = self._covers.learn(frames, target.source)
        skin = skin_color(frames, target.source)
        shown_teeth = teeth_shown(frames, target.source, skin)
        teeth, self._teeth = averaged(shown_teeth, target.before.mouth_opening, self._teeth)
        eyes, mouths = self._eyes_of(target), self._mouths_of(target, last, covered)
        shut = (target.eyes / target.rest_eyes < EYES.shut.start) | (target.eyes < EYES.held.start)
        needed = shut.any(1).tolist()
        needed[-1] = True
        shown_eyes = shown_mouth = None
        for k, (eye, mouth) in enumerate(zip(eyes, mouths, strict=True)):
            if eye is not None and needed[k] and eye != shown_eyes:
                states.append(_with_eyes(states[-1], frames, target, eye))
                shown_eyes = eye
            if mouth is not None and mouth != shown_mouth:
                seen = skin[mouth, None], shown_teeth[mouth, None]
                states.append(_with_mouth(states[-1], frames, target, mouth, *seen))
                shown_mouth = mouth
            rows.append(len(states) - 1)
        self._last = replace(states[-1], own_teeth=teeth[-1:], covered=covered[-1:])
        return replace(Remembered.cat(states)[rows], own_teeth=teeth, covered=covered)

    def _eyes_of(self, target: Target) -> list[int | None]:
        """Return the frame whose eyes are the ones to be kept, at each frame; None where it came before."""
        openings = (target.eyes / target.rest_eyes).amin(1).tolist()
        shut = (target.eyes < SHUT_EYE_OPENING).any(1).tolist()
        kept: list[int | None] = []
        for k, opening in enumerate(openings):
            better = opening >= EYES.wide or (opening > self._widest_eyes and not shut[k])
            if better:
                self._widest_eyes = opening
            kept.append(k if better else kept[-1] if kept else None)
        return kept

    def _mouths_of(self, target: Target, last: Remembered, covered: torch.Tensor) -> list[int | None]:
        """Return the frame whose mouth is the one to be kept, at each frame; None where it came before."""
        widest = max(last.mouth_opening.item() * MOUTHS.wider, MOUTHS.least)
        kept: list[int | None] = []
        openings = torch.where(covered > 0, 0.0, target.before.mouth_opening.clamp_max(MOUTHS.most))
        for k, opening in enumerate(openings.tolist()):
            better = opening > widest
            if better:
                widest = opening * MOUTHS.wider
            kept.append(k if better else kept[-1] if kept else None)
        return kept


def _with_eyes(before: Remembered, frames: torch.Tensor, target: Target, k: int) -> Remembered:
    """Return a memory [1] with the eyes of frame k, unless they are outside of it."""
    parts, eyes = Parts(target.source[k : k + 1]), []
    x, y = (
        torch.linspace(-reach, reach, count, device=frames.device)
        for reach, count in zip(EYES.reach, EYES.size[::-1], strict=True)
    )
    for eye in (0, 1):
        picture = _cut(frames[k : k + 1], parts.eye(eye), x, y)
        if picture is None:
            return before
        eyes.append(picture)
    return replace(
        before,
        eyes=torch.stack(eyes, dim=1),
        eye_lids=parts.lids.transpose(0, 1).unsqueeze(0),
        eye_irises=parts.irises.unsqueeze(0),
        eye_skin=skin_around_eyes(frames[k : k + 1], parts.points).transpose(0, 1),
        eye_openings=parts.eye_openings,
    )


def _with_mouth(
    before: Remembered,
    frames: torch.Tensor,
    target: Target,
    k: int,
    skin: torch.Tensor,
    teeth: torch.Tensor,
) -> Remembered:
    """Return a memory [1] with the mouth of frame k, unless it is outside of it.

    Args:
        skin, teeth: float32 [1, 3] and [1], the face's colour and the share of teeth in that frame.
    """
    source = target.source[k : k + 1]
    parts = Parts(source)
    x, y = (
        torch.linspace(*ends, count, device=frames.device)
        for ends, count in zip((MOUTHS.x, MOUTHS.y), MOUTHS.size[::-1], strict=True)
    )
    picture = _cut(frames[k : k + 1], parts.mouth, x, y)
    if picture is None:
        return before
    return replace(
        before,
        mouth=picture,
        mouth_place=target.pose[k : k + 1].undo(face.mouth_place(source)),
        mouth_curves=parts.lips.transpose(0, 1),
        mouth_opening=parts.mouth_opening,
        mouth_teeth=teeth,
        skin=skin,
    )


def _cut(frames: torch.Tensor, frame: Frame, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor | None:
    """Return the picture [1, 3, h, w] at places of an eye's or mouth's frame; None outside of the frame."""
    x, y = torch.meshgrid(x, y, indexing="xy")
    x, y = x.unsqueeze(0), y.unsqueeze(0)
    whole = PixelRect(0, 0, *frames.shape[1:3])
    (part,) = whole.boxes(frame.of(x, y).permute(0, 2, 3, 1))
    if part.empty:
        return None
    return Patch(to_float(part.of(frames)), [part]).at(frame, x, y)
