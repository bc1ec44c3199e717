"""The LivePortrait networks, called in batches that memory allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ...compose import FEATHER, WIDE_FEATHER
from ...errors import LivePortraitError
from ...remedies import remedy
from ...settings import AnimationSettings, MotionOptions
from ..base import Edits
from .batches import Batches
from .edit import edited
from .landmarks203 import Landmarks203
from .motion import ROW, USUAL_EYES, Faces, Motion, Transfer, motion_of, place
from .networks import Networks
from .retarget import refine

Rescue = Callable[[], torch.Tensor | None]
"""Gives pictures in place of those that aren't finite, None where all are; raises NotFiniteError."""
CPU_BATCH, GPU_BATCH = 1, 8
"""Most frames at a time: on a CPU more gain nothing."""


class NotFiniteError(LivePortraitError):
    """The networks gave pictures that aren't finite, in float32 as well."""

    def __init__(self) -> None:
        super().__init__(
            f"the LivePortrait networks gave pictures that aren't finite, in float32 as well: {remedy('verify')}, and "
            "check the device by a run on the CPU"
        )


class LivePortraitModel:
    """Networks, the landmark network that goes with them, and the batch size that memory allows.

    Args:
        networks: with weights, on the device that computes.
        landmarks: the published landmark network for the openings of eyes and lips and for crops; None takes the
            tracker's landmarks for these.
        batch: most frames for the networks at a time; None: `CPU_BATCH` or `GPU_BATCH`.
        animals: the networks are those for animals, without the small ones that stitch and retarget.
    """

    def __init__(
        self,
        networks: Networks,
        landmarks: Landmarks203 | None = None,
        batch: int | None = None,
        animals: bool = False,
    ):
        self.networks = networks
        self.animals = animals
        self.landmarks = landmarks
        usual = CPU_BATCH if networks.device.type == "cpu" else GPU_BATCH
        self.batches = Batches(batch or usual, networks.spare_memory)

    @property
    def feather(self) -> float:
        """Width of the ramp at the edges of what is pasted: wide where no network holds the border in place."""
        return WIDE_FEATHER if self.animals else FEATHER

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.networks.device

    def options_for(self, options: MotionOptions) -> MotionOptions:
        """Return options as these networks take them: an animal moves by the volumes of the two faces alone."""
        return replace(options, driving_option="expression-friendly") if self.animals else options

    @torch.no_grad()
    def read(
        self, crops: torch.Tensor, eyes: torch.Tensor, lips: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the motion network on crops.

        Args:
            crops: float32 [N, 3, 256, 256] in 0..1.
            eyes, lips: openings as in `Motion`, [N, 2] and [N, 1].

        Returns:
            rows of `Motion.pack`, [N, 79], and canonical keypoints, [N, 21, 3].
        """

        def read(crops: torch.Tensor, eyes: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
            output = self.networks.motion(crops)
            return torch.cat((motion_of(output, eyes, lips).pack(), output.kp.flatten(1)), dim=1)

        rows = self.batches(read, crops, eyes, lips, fill_above=self._fill_above)
        return rows[:, :ROW], rows[:, ROW:].unflatten(1, (21, 3))

    @property
    def _fill_above(self) -> int | None:
        """As `Batches` takes it: a graph is captured in no time, so that a still or a camera's picture has its own."""
        return 1 if self.networks.forms.graphs else None

    @torch.no_grad()
    def appearance(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the feature volumes [N, 32, 16, 64, 64] of crops float32 [N, 3, 256, 256] in 0..1."""
        return self.batches(self.networks.appearance, crops, fill_above=self._fill_above)

    @torch.no_grad()
    def target_keypoints(
        self,
        transfer: Transfer,
        faces: Faces,
        reference: Motion,
        ratios: torch.Tensor | None,
        edits: Edits | None = None,
    ) -> torch.Tensor:
        """Return the keypoints [N, 21, 3] that the faces are warped to, retargeted and stitched; an animal's are not.

        Args:
            reference: of the driving frame that relative motion starts from, [1].
            ratios: as in `Transfer.keypoints`.
            edits: are added to the motion, whatever the strength of that.
        """
        x = transfer.keypoints(faces, reference, ratios)
        if edits is not None:
            change = edited(faces.target, edits.to(self.device))
            x = x + (place(faces.kp, change) - place(faces.kp, faces.target))
        return x if self.animals else refine(self.networks, transfer, faces, x, edits)

    @torch.no_grad()
    def render(
        self, crops: torch.Tensor, volume: torch.Tensor, kp_source: torch.Tensor, kp_target: torch.Tensor
    ) -> tuple[torch.Tensor, Rescue]:
        """Return pictures of faces warped to the target's keypoints, float32 [N, 3, 512, 512] in 0..1.

        Args:
            crops: float32 [N, 3, 256, 256] in 0..1, from which the volume was computed.
            volume: feature volumes, [N, 32, 16, 64, 64].
            kp_source, kp_target: [N, 21, 3].

        Returns:
            the pictures, and what waits until they are there and, where they aren't finite in half precision, computes
            them again in float32, features included. It may be called in another thread.
        """
        fill_above = 0 if self.networks.forms.compiled else self._fill_above
        pictures = self.batches(self.networks.render, volume, kp_source, kp_target, fill_above=fill_above)
        finite = self.networks.finite(pictures)

        @torch.no_grad()
        def rescue() -> torch.Tensor | None:
            if finite():
                return None
            if self.networks.precision == "fp32":
                raise NotFiniteError
            with self.networks.in_float32():
                volume = self.batches(self.networks.appearance, crops)
                again = self.batches(self.networks.render, volume, kp_source, kp_target)
            if not again.isfinite().all():
                raise NotFiniteError
            return again

        return pictures, rescue

    @torch.no_grad()
    def animate_crops(
        self,
        source: torch.Tensor,
        driving: torch.Tensor,
        *,
        reference: torch.Tensor | None = None,
        settings: AnimationSettings | None = None,
        options: MotionOptions | None = None,
        source_openings: tuple[torch.Tensor, torch.Tensor] | None = None,
        driving_openings: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Animate given crops: no tracking, smoothing or pasting.

        Settings about crops, clips and audio have no effect. All tensors are on the model's device.

        Args:
            source: float32 [N, 3, 256, 256] in 0..1, RGB; one crop is a still. The first one is the face at rest.
            driving: float32 [N, 3, 256, 256].
            reference: float32 [1, 3, 256, 256], the driving crop that relative motion starts from; the first one when
                left out.
            source_openings, driving_openings: openings of eyes [N, 2] and lips [N, 1], as `landmarks203` measures
                them; without them eyes count as open and lips as shut. The reference's are the first driving crop's.

        Returns:
            float32 [N, 3, 512, 512] in 0..1.
        """
        options = self.options_for(options or MotionOptions())
        transfer = Transfer(settings or AnimationSettings(), options, len(source) == 1, False)
        rows, kp = self.read(source, *(source_openings or _usual_openings(source)))
        openings = driving_openings or _usual_openings(driving)
        drive = Motion.of_rows(self.read(driving, *openings)[0])
        start = drive[:1]
        if reference is not None:
            start = Motion.of_rows(self.read(reference, *(part[:1] for part in openings))[0])
        own, volume = Motion.of_rows(rows), self.appearance(source)
        if transfer.source_is_still:
            count = len(driving)
            own, kp = own.expand(count), kp.expand(count, 21, 3)
            volume = volume.expand(count, *volume.shape[1:])
        faces = transfer.faces(kp, own, own[:1].expand(len(own)), drive, start)
        ratio = transfer.volume_ratio(faces[:1], start) if transfer.by_volume else None
        x = self.target_keypoints(transfer, faces, start, ratio)
        pictures, rescue = self.render(source.expand(len(x), -1, -1, -1), volume, faces.kp_source, x)
        again = rescue()
        return pictures if again is None else again


def _usual_openings(crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = len(crops)
    return crops.new_full((count, 2), USUAL_EYES), crops.new_zeros(count, 1)
