"""Motion of a face, and its transfer from the driving face to the source face.

The formulas are those of LivePortrait's published code, by kind of source and of driving clip; differences are
pointed out where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache

import torch

from ...settings import AnimationSettings, MotionOptions
from ...tensors import TensorStruct
from .keypoints import hull_volume, orthonormal, rotation_matrix, transform

# Which keypoints' expression belongs to the lips and to the eyes.
LIPS = (6, 12, 14, 17, 19, 20)
EYES = (11, 13, 15, 16, 18)
# The keypoints whose height is that of the brows.
BROWS = (1, 2)
# The opening of eyes that are neither shut nor wide: what the published code takes for eyes that are shut.
USUAL_EYES = 0.39
NEUTRAL_LIPS = {19: (0.0, -0.015, -0.002), 20: (0.0, 0.006, 0.003)}
"""Expression of a neutral face at the middle of the lower and the upper lip.

Means over the first frames of the published motion templates, which show neutral faces: the other keypoints' differ as
much from person to person as from 0. Against 0, a driving still with shut lips would press the source's mouth shut.
"""


@dataclass(frozen=True)
class Motion(TensorStruct):
    """Motion of faces in N frames. All float32.

    Attributes:
        rotation: [N, 3, 3], of the head, for row vectors.
        exp: [N, 21, 3], expression delta of the keypoints.
        scale: [N, 1].
        t: [N, 3].
        eyes: [N, 2], height / width of the left and the right eye (the picture's left).
        lips: [N, 1], inner height / width of the mouth.
    """

    rotation: torch.Tensor
    exp: torch.Tensor
    scale: torch.Tensor
    t: torch.Tensor
    eyes: torch.Tensor
    lips: torch.Tensor

    def pack(self) -> torch.Tensor:
        """Return one row of 79 numbers a frame, rotation and expression first: [N, 79]."""
        return torch.cat([getattr(self, item.name).flatten(1) for item in fields(self)], dim=1)

    @classmethod
    def of_rows(cls, rows: torch.Tensor) -> Motion:
        """Return the motion of rows [N, 79] made by `pack`, in views of them."""
        rotation, exp, scale, t, eyes, lips = rows.split((9, 63, 1, 3, 2, 1), dim=1)
        return cls(rotation.unflatten(1, (3, 3)), exp.unflatten(1, (21, 3)), scale, t, eyes, lips)

    @classmethod
    def unpack(cls, rows: torch.Tensor) -> Motion:
        """Return the motion of means of rows made by `pack`, [N, 79]: rotations become orthonormal."""
        motion = cls.of_rows(rows)
        return replace(motion, rotation=orthonormal(motion.rotation))


def led_from(motion: Motion, own: Motion, reference: Motion) -> Motion:
    """Return a motion since one's own reference as the same motion since another reference; all are of N or 1 frames.

    What `Transfer` makes of it relative to that reference is what it makes of the motion relative to its own.
    """
    return Motion(
        rotation=motion.rotation @ own.rotation.mT @ reference.rotation,
        exp=motion.exp - own.exp + reference.exp,
        scale=motion.scale / own.scale * reference.scale,
        t=motion.t - own.t + reference.t,
        eyes=motion.eyes - own.eyes + reference.eyes,
        lips=motion.lips - own.lips + reference.lips,
    )


# Numbers of a row, and those of them that smoothing is for: rotation and expression.
ROW, SMOOTHED = 79, 72


def motion_of(output, eyes: torch.Tensor, lips: torch.Tensor) -> Motion:
    """Combine the motion network's output (`networks.MotionOutput` of N frames) with the openings of eyes and lips."""
    rotation = rotation_matrix(output.pitch, output.yaw, output.roll)
    return Motion(rotation, output.exp, output.scale, output.t, eyes, lips)


@lru_cache(maxsize=4)
def _neutral_expression(device: torch.device) -> torch.Tensor:
    """Return the expression of a face with its lips shut, float32 [1, 21, 3]; not to be written to."""
    exp = torch.zeros(1, 21, 3)
    for keypoint, place in NEUTRAL_LIPS.items():
        exp[0, keypoint] = torch.tensor(place)
    return exp.to(device)


def neutral(driving: Motion) -> Motion:
    """Return the reference for a driving still: a neutral face, lips shut, eyes open as usual, the head as it is.

    The published code subtracts a mean neutral expression of its own, of at most 0.015.
    """
    return replace(
        driving,
        exp=_neutral_expression(driving.exp.device).expand_as(driving.exp),
        eyes=torch.full_like(driving.eyes, USUAL_EYES),
        lips=torch.zeros_like(driving.lips),
    )


@dataclass(frozen=True)
class Faces(TensorStruct):
    """Everything that N frames of the result are made of.

    Attributes:
        kp: canonical keypoints of the source frames, float32 [N, 21, 3].
        source: what the source's face does.
        rest: what it does at rest, in each frame's scene.
        base: the source face that motion is added to.
        target: what the result's face does.
        driving: what the driving face does.
    """

    kp: torch.Tensor
    source: Motion
    rest: Motion
    base: Motion
    target: Motion
    driving: Motion

    @cached_property
    def kp_source(self) -> torch.Tensor:
        """Keypoints of the source's faces, [N, 21, 3]."""
        return place(self.kp, self.source)

    @cached_property
    def kp_base(self) -> torch.Tensor:
        """Keypoints of the faces that motion is added to, [N, 21, 3]."""
        return self.kp_source if self.base is self.source else place(self.kp, self.base)


@dataclass(frozen=True)
class Transfer:
    """The way motion is carried over: the settings, and the kinds of the two clips.

    Attributes:
        source_is_still, driving_is_still: the clip is one picture.
    """

    settings: AnimationSettings
    options: MotionOptions
    source_is_still: bool
    driving_is_still: bool

    @property
    def moves_head(self) -> bool:
        still = self.driving_is_still and self.settings.relative
        return self.options.region in ("all", "pose") and not still

    @property
    def moves_lips(self) -> bool:
        return self.options.region in ("all", "exp", "lip")

    @property
    def moves_eyes(self) -> bool:
        return self.options.region in ("all", "exp", "eyes")

    @property
    def by_volume(self) -> bool:
        relative = self.settings.relative and not self.driving_is_still
        return relative and self.options.driving_option == "expression-friendly"

    def base(self, source: Motion, rest: Motion) -> Motion:
        """Return the source face that motion is added to.

        It does what the source frame's face does; where driving motion replaces the source's own, that is what the
        source's face does at rest. The head's place and size, and with the crop its roll, stay the source frame's.
        """
        if self.source_is_still or self.options.source_motion == "add" or not self.settings.relative:
            return source
        driven = self._driven(source.exp)
        return replace(
            source,
            rotation=rest.rotation if self.moves_head else source.rotation,
            exp=torch.where(driven, rest.exp, source.exp),
            eyes=rest.eyes if self.moves_eyes else source.eyes,
            lips=rest.lips if self.moves_lips else source.lips,
        )

    def target(self, base: Motion, driving: Motion, reference: Motion) -> Motion:
        """Return the motion that the base face of each frame gets.

        Args:
            base, driving: of N frames.
            reference: of the driving frame that relative motion starts from, [1].

        Returns:
            with the openings of eyes and lips that this motion gives, by the driving face's.
        """
        if self.settings.relative:
            return self._relative(base, driving, reference)
        return self._absolute(base, driving)

    def faces(
        self,
        kp: torch.Tensor,
        source: Motion,
        rest: Motion,
        driving: Motion,
        reference: Motion,
        kept: Callable[[Motion], Motion] = lambda base: base,
    ) -> Faces:
        """Put base and target together, of N frames; the reference is of one.

        Args:
            kept: takes back what an expression takes back of the base.
        """
        base = kept(self.base(source, rest))
        return Faces(kp, source, rest, base, self.target(base, driving, reference), driving)

    def keypoints(self, faces: Faces, reference: Motion, ratios: torch.Tensor | None = None) -> torch.Tensor:
        """Return keypoints [N, 21, 3], driving_multiplier of the way from the base to the target.

        Args:
            ratios: for `expression-friendly`, the volume ratio of each frame, [N, 1, 1], or of all, [].
        """
        start = faces.kp_base
        if self.by_volume and ratios is not None:
            moved = self._absolute(faces.base, faces.driving)
            resting = self._absolute(faces.base, reference.expand(len(faces.base)))
            change = (place(faces.kp, moved) - place(faces.kp, resting)) * ratios
        else:
            change = place(faces.kp, faces.target) - start
        return start + change * self.options.driving_multiplier

    def volume_ratio(self, faces: Faces, reference: Motion) -> torch.Tensor:
        """Return the root of the volumes' ratio, base over reference on the same face; of one frame, []."""
        resting = place(faces.kp, self._absolute(faces.base, reference))
        return (hull_volume(faces.kp_base[0]) / hull_volume(resting[0])).sqrt()

    def _relative(self, base: Motion, driving: Motion, reference: Motion) -> Motion:
        strength = self.options.driving_multiplier
        target = replace(
            base,
            exp=base.exp + self._driven(base.exp) * (driving.exp - reference.exp),
            eyes=_opened(base.eyes, (driving.eyes - reference.eyes) * strength, self.moves_eyes),
            lips=_opened(base.lips, (driving.lips - reference.lips) * strength, self.moves_lips),
        )
        if self.moves_head:
            target = replace(target, rotation=driving.rotation @ reference.rotation.mT @ base.rotation)
        # In a video the head's place and size are the source's own: its body goes with them.
        if self.source_is_still and self.moves_head:
            target = replace(target, t=base.t + driving.t - reference.t)
            if self.options.region == "all":
                target = replace(target, scale=base.scale * driving.scale / reference.scale)
        return target

    def _absolute(self, base: Motion, driving: Motion) -> Motion:
        target = replace(
            base,
            exp=torch.where(self._driven(base.exp), driving.exp, base.exp),
            eyes=driving.eyes if self.moves_eyes else base.eyes,
            lips=driving.lips if self.moves_lips else base.lips,
        )
        if self.options.region in ("all", "pose"):
            target = replace(target, rotation=driving.rotation, t=driving.t)
        return target

    def _driven(self, like: torch.Tensor) -> torch.Tensor:
        whole = self.source_is_still and self.settings.relative
        return driven_axes(self.options.region, whole, like.device)


def place(kp: torch.Tensor, motion: Motion) -> torch.Tensor:
    """Return keypoints [N, 21, 3] of canonical ones [N, 21, 3] in a motion."""
    return transform(kp, motion.rotation, motion.exp, motion.scale, motion.t)


@lru_cache(maxsize=32)
def driven_axes(region: str, whole: bool, device: str | torch.device = "cpu") -> torch.Tensor:
    """Return which axes of which keypoints take the driving expression, bool [21, 3]; not to be written to.

    Args:
        region: as `MotionOptions` has it.
        whole: all of them in `all` and `exp`; otherwise without those that hold the shape of the head.
    """
    driven = torch.zeros(21, 3, dtype=torch.bool)
    if region == "lip":
        driven[list(LIPS)] = True
    elif region == "eyes":
        driven[list(EYES)] = True
    elif region != "pose" and whole:
        driven[:] = True
    elif region != "pose":
        driven[[1, 2, 6, *range(11, 21)]] = True
        driven[[3, 4, 9], 1] = True
        driven[[5, 8, 9], 2] = True
    return driven.to(device)


def _opened(base: torch.Tensor, change: torch.Tensor, moves: bool) -> torch.Tensor:
    return (base + change).clamp_min(0) if moves else base
