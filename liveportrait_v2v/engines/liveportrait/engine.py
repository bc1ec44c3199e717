"""The LivePortrait engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import torch

from ...settings import AnimationSettings, MotionOptions
from .batches import Batches
from .landmarks203 import Landmarks203
from .motion import ROW, USUAL_EYES, Motion, Transfer, motion_of, place
from .networks import Networks, random_weights
from .retarget import refine
from .session import LivePortraitSession
from .weights import default_folders, load_networks


class LivePortraitEngine:
    """Animates with the LivePortrait networks.

    What some settings come down to here: a driving clip that is not square is always cut to its face, as LivePortrait
    itself does, with one square for all its frames; without `crop_drive_face` a square one is read whole. The source's
    crop follows its face, so that the head's place, size and roll stay the source's own in a video; a still takes the
    driving head's change of them. `source_motion` and `driving_option` have a meaning only where motion is `relative`.
    Without `relative`, `region` all or exp leaves the keypoints that hold the shape of the head as they are.
    After a cut in the source, its first frame is the new resting face.

    Args:
        networks: with weights, on the device that computes.
        landmarks: the published landmark network for the openings of eyes and lips and for crops; None takes the
            tracker's landmarks for these.
        batch: the most frames for the networks at a time; None: one on a CPU, where more gain nothing, else eight.
    """

    name = "liveportrait"
    render_threads = None

    def __init__(self, networks: Networks, landmarks: Landmarks203 | None = None, batch: int | None = None):
        self.networks = networks
        self.landmarks = landmarks
        self.batches = Batches(batch or (1 if networks.device.type == "cpu" else 8))

    @property
    def device(self) -> str:
        """Where the networks are."""
        return str(self.networks.device)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        device: str = "cpu",
        precision: str = "auto",
        compile: bool = False,
    ) -> LivePortraitEngine:
        """The engine with the published weights, and with `landmark.onnx` where it lies among them.

        Args:
            folder: flat, or laid out as upstream's repository; of several, the first that has all weights. None: where
                they are usually kept.
            precision: "auto", "fp16", "bf16-convs" or "fp32", see `networks.resolve_precision`.
            compile: compile the networks that take most of the time, at their first use.

        Raises:
            WeightsError: weights are missing, damaged or not those of the networks.
        """
        if folder is None:
            folders = default_folders()
        else:
            folders = [folder] if isinstance(folder, (str, os.PathLike)) else folder
        return cls(load_networks(folders, device, precision, compile), Landmarks203.find(folders))

    @classmethod
    def random(
        cls, seed: int, device: str = "cpu", precision: str = "auto", compile: bool = False
    ) -> LivePortraitEngine:
        """The engine with random weights: faces become noise. For tests and timing."""
        return cls(Networks(partial(random_weights, seed), device, precision, compile))

    def session(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
    ) -> LivePortraitSession:
        return LivePortraitSession(self, settings, options, source_rate, driving_rate)

    @torch.no_grad()
    def read(self, crops: torch.Tensor, eyes: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
        """What the motion network says of crops: rows of `Motion.pack` and canonical keypoints, [N, 79 + 63].

        Args:
            crops: float32 [N, 3, 256, 256] in 0..1.
            eyes, lips: openings as `Motion` has them, [N, 2] and [N, 1].
        """

        def read(crops: torch.Tensor, eyes: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
            output = self.networks.motion(crops)
            return torch.cat((motion_of(output, eyes, lips).pack(), output.kp.flatten(1)), dim=1)

        return self.batches(read, crops, eyes, lips)

    @torch.no_grad()
    def render(
        self, crops: torch.Tensor, volume: torch.Tensor, kp_source: torch.Tensor, kp_target: torch.Tensor
    ) -> torch.Tensor:
        """Pictures of faces that are warped to the target's keypoints, float32 [N, 3, 512, 512] in 0..1.

        All are looked at once, when they are there: where half precision failed they are computed again, features
        included.

        Args:
            crops: float32 [N, 3, 256, 256] in 0..1, of which the volume was computed.
            volume: feature volumes, [N, 32, 16, 64, 64].
            kp_source, kp_target: [N, 21, 3].
        """
        pictures = self.batches(self.networks.render, volume, kp_source, kp_target)
        if not self.networks.finite(pictures):
            with self.networks.in_float32():
                volume = self.batches(self.networks.appearance, crops)
                pictures = self.batches(self.networks.render, volume, kp_source, kp_target)
        return pictures

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
        """Runs the networks on given crops: no face is looked for, nothing is smoothed, nothing pasted.

        What the settings say of cropping, clips and sound has no meaning here. All tensors lie on the engine's device.

        Args:
            source: float32 [N, 3, 256, 256] in 0..1, RGB; one crop is a still. The first one is the face at rest.
            driving: float32 [N, 3, 256, 256].
            reference: float32 [1, 3, 256, 256], the driving crop that relative motion starts from; the first one when
                left out.
            source_openings, driving_openings: those of eyes [N, 2] and lips [N, 1], as `landmarks203` measures them;
                without them eyes count as open and lips as shut. The reference's are the first driving crop's.

        Returns:
            float32 [N, 3, 512, 512] in 0..1.
        """
        transfer = Transfer(
            settings or AnimationSettings(), options or MotionOptions(), len(source) == 1, False
        )
        rows = self.read(source, *(source_openings or _usual_openings(source)))
        openings = driving_openings or _usual_openings(driving)
        drive = Motion.unpack(self.read(driving, *openings)[:, :ROW])
        start = drive[:1]
        if reference is not None:
            start = Motion.unpack(self.read(reference, *(part[:1] for part in openings))[:, :ROW])
        own, kp = Motion.unpack(rows[:, :ROW]), rows[:, ROW:].unflatten(1, (21, 3))
        volume = self.batches(self.networks.appearance, source)
        if transfer.source_is_still:
            count = len(driving)
            own, kp, volume = (
                own.expand(count),
                kp.expand(count, 21, 3),
                volume.expand(count, *volume.shape[1:]),
            )
        faces = transfer.faces(kp, own, own[:1].expand(len(own)), drive, start)
        ratio = transfer.volume_ratio(faces[:1], start) if transfer.by_volume else None
        x = refine(self.networks, transfer, faces, transfer.keypoints(faces, start, ratio))
        return self.render(source.expand(len(x), -1, -1, -1), volume, place(kp, own), x)


def _usual_openings(crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = len(crops)
    return crops.new_full((count, 2), USUAL_EYES), crops.new_zeros(count, 1)
