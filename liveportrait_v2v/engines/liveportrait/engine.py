"""The LivePortrait engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial

from ...expression import ALL_CHANNELS, TARGETS
from ...settings import AnimationSettings, MotionOptions
from ...tracking import TrackedChunk
from ..base import ALL_OPTIONS
from .landmarks203 import Landmarks203
from .model import LivePortraitModel
from .networks import Forms, Networks, random_weights
from .session import LivePortraitSession
from .weights import MODELS, check_model, default_folders, load_networks


class LivePortraitEngine:
    """Animates with the LivePortrait networks.

    How some settings are interpreted: a driving clip that is not square is always cut to its face, as in LivePortrait,
    with one square for all its frames; without `crop_drive_face` a square one is read whole. The source's crop follows
    its face, so that the head's place, size and roll stay the source's own in a video; a still takes the driving
    head's change of them. `source_motion` and `driving_option` have a meaning only where motion is `relative`.
    Without `relative`, `region` all or exp leaves the keypoints that hold the shape of the head as they are.
    After a cut in the source, its first frame is the new resting face.

    With the networks for animals, motion is that of the published pipeline for them, of videos as of pictures: that of
    `expression-friendly`, whatever `driving_option` is. Nothing is stitched, nor are lips shut, so that `stitching` and
    `lip_zero` have no effect, and the picture fades out well inside its square.

    Args:
        networks, landmarks, batch, animals: as in `LivePortraitModel`.
    """

    name = "liveportrait"
    supports = ALL_OPTIONS
    render_threads = None
    takes_boxes = True

    def __init__(
        self,
        networks: Networks,
        landmarks: Landmarks203 | None = None,
        batch: int | None = None,
        animals: bool = False,
    ):
        self.model = LivePortraitModel(networks, landmarks, batch, animals)

    @property
    def feather(self) -> float:
        """Width of the ramp at the edges of what is pasted."""
        return self.model.feather

    @property
    def channels(self) -> frozenset[str]:
        """Channels of expressions: all, but of animals without the openings that only retargeting reaches."""
        return ALL_CHANNELS - set(TARGETS) if self.model.animals else ALL_CHANNELS

    @property
    def fixed(self) -> Mapping[str, object]:
        """What animals can do in one way alone: they have no networks that retarget."""
        names = "eye_retargeting", "lip_retargeting", "source_eye_retargeting"
        return dict.fromkeys(names, False) if self.model.animals else {}

    @property
    def device(self) -> str:
        """Device of the networks."""
        return str(self.model.device)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        device: str = "cpu",
        precision: str = "auto",
        compile: bool = False,  # noqa: A002 - the field's word
        forms: Forms | None = None,
        model: str = "humans",
    ) -> LivePortraitEngine:
        """Return the engine with the published weights, and with `landmark.onnx` where it is among them.

        Args:
            folder: flat, or laid out like upstream's repository; of several, the first that has all weights. None: the
                usual places.
            precision: "auto", "fp16", "bf16-convs" or "fp32", see `networks.resolve_precision`.
            compile: compile the networks that take most of the time, at their first use.
            forms: how the networks compute, see `networks.Forms`; None for what is usual on the device.
            model: "humans" or "animals".

        Raises:
            SettingsError: no such model.
            WeightsError: weights are missing, damaged or not those of the networks.
        """
        folders: Sequence[str | os.PathLike[str]]
        if folder is None:
            folders = default_folders()
        else:
            folders = [folder] if isinstance(folder, (str, os.PathLike)) else folder
        networks = load_networks(folders, device, precision, compile, forms, model)
        return cls(networks, Landmarks203.find(folders), animals=model == "animals")

    @classmethod
    def random(
        cls,
        seed: int,
        device: str = "cpu",
        precision: str = "auto",
        compile: bool = False,  # noqa: A002
        forms: Forms | None = None,
        model: str = "humans",
    ) -> LivePortraitEngine:
        """Return the engine with random weights: faces become noise. For tests and timing."""
        check_model(model)
        weights = partial(random_weights, seed)
        networks = Networks(weights, device, precision, compile, forms, names=MODELS[model])
        return cls(networks, animals=model == "animals")

    def add_points(self, chunk: TrackedChunk) -> TrackedChunk:
        """Append the 203 points, where their network is there."""
        return chunk if self.model.landmarks is None else self.model.landmarks.extend(chunk)

    def session(
        self,
        settings: AnimationSettings,
        options: MotionOptions,
        source_rate: Fraction | None,
        driving_rate: Fraction | None,
        live: bool = False,
    ) -> LivePortraitSession:
        return LivePortraitSession(self.model, settings, options, source_rate, driving_rate)
