"""What the engine asks of a GPU, without one: the meta device, which knows shapes, dtypes and devices but no values.

As on a GPU, tensors there can't be mixed with those of the CPU; and reading a value back, for which a GPU would have to
finish all it was given, is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial

import pytest
import torch
from kernels import Kernels
from made_faces import landmarks
from made_networks import MadeNetworks

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.motion import Motion
from liveportrait_v2v.engines.liveportrait.networks import Forms, Networks, random_weights
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

pytestmark = pytest.mark.slow

RATE = Fraction(25)


class NetworksThere(MadeNetworks):
    """On the device. Pictures count as finite.

    Attributes:
        looks: how often the device was waited for, to see that they are.
    """

    device = torch.device("meta")

    def __init__(self):
        super().__init__()
        self._mix, self._kp = self._mix.to(self.device), self._kp.to(self.device)
        self.looks = 0

    def finite(self, pictures: torch.Tensor) -> Callable[[], bool]:
        def wait() -> bool:
            self.looks += 1
            return True

        return wait


@pytest.fixture
def engine() -> LivePortraitEngine:
    return LivePortraitEngine(NetworksThere(), batch=3)


weights = lru_cache(random_weights)  # making them takes longer than the tests
FORMS = [
    "",
    "channels_last,fused_norm,planes",
    "channels_last,fused_norm,planes,to_one,padded,plain,plain_volumes",
]


@pytest.fixture(scope="module", params=FORMS)
def networks(request) -> Networks:
    """The real ones, in several forms."""
    forms = Forms.parse(request.param)
    return Networks(partial(weights, 0), "cpu", "fp16", forms=forms).to("meta")


def shot(count: int, width: int = 240) -> TrackedChunk:
    """Frames on the device; landmarks and who is there are on the CPU, as the tracker gives them."""
    faces = torch.stack([landmarks(at=(120, 120), size=5.0)] * count)
    frames = torch.empty(count, 240, width, 3, dtype=torch.uint8, device="meta")
    return TrackedChunk(frames, faces, torch.ones(count, dtype=torch.bool))


def animated(engine: LivePortraitEngine, settings: dict, options: dict, rates, width: int = 240):
    """The last of two chunks of four frames."""
    session = engine.session(AnimationSettings(**settings), MotionOptions(**options), *rates)
    session.survey([shot(8, width)])
    source = list(session.source([shot(4), shot(4)]))
    motions = list(session.motions([shot(4, width), shot(4, width)]))
    cues = [DrivingMotion(a, b, 0.5) for a, b in zip(motions, motions[1:] + motions[-1:], strict=True)]
    splice(session.render, source[0], cues[:4])
    return splice(session.render, source[1], cues[4:])


@pytest.mark.parametrize(
    "rates", [(RATE, RATE), (None, RATE), (RATE, None)], ids=["videos", "still", "to still"]
)
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, {}),
        ({"relative": False}, {}),
        ({"lip_zero": False}, {}),
        ({"stitching": False}, {}),
        ({"eye_retargeting": True, "lip_retargeting": True}, {}),
        ({"crop_drive_face": True}, {}),
        ({"lip_zero": False, "stitching": False}, {"driving_option": "expression-friendly"}),
        ({"eye_retargeting": True}, {"driving_option": "expression-friendly"}),
        ({"relative": False}, {"region": "lip"}),
        ({}, {"region": "eyes"}),
        ({}, {"region": "exp"}),
        ({}, {"region": "pose"}),
        ({}, {"source_motion": "add"}),
        ({}, {"reference_frame": 2}),
        ({}, {"source_eye_retargeting": True}),
        ({}, {"smoothing": 0.0}),
    ],
    ids=str,
)
def test_a_chunk_is_animated_on_the_device_alone(engine, settings, options, rates):
    rendered = animated(engine, settings, options, rates)
    frames = rendered.frames
    assert (frames.device.type, frames.dtype, frames.shape) == ("meta", torch.uint8, (4, 240, 240, 3))
    assert engine.model.networks.looks == 0, "the host doesn't wait for the device"
    assert rendered.settled().frames is frames
    assert engine.model.networks.looks == 1, "but where someone reads the frames"


def test_a_wide_driving_clip_is_cut_on_the_device(engine):
    assert animated(engine, {}, {}, (RATE, RATE), width=320).frames.device.type == "meta"


def test_a_held_frame_is_animated_on_the_device(engine):
    session = engine.session(AnimationSettings(), MotionOptions(), RATE, RATE)
    motions = list(session.motions([shot(4)]))
    source = next(iter(session.source([shot(4)])))
    splice(session.render, source, [DrivingMotion(motion, motion, 0.0) for motion in motions])
    held = splice(session.render, source.hold(2), [DrivingMotion(motions[0], motions[1], 0.5)] * 2).frames
    assert (held.device.type, held.shape) == ("meta", (2, 240, 240, 3))


def test_frames_without_a_face_are_left_out_on_the_device(engine):
    session = engine.session(AnimationSettings(), MotionOptions(), RATE, RATE)
    motions = list(session.motions([shot(4)]))
    source = shot(4)
    source.present[1] = False
    frames = splice(session.render, source, [DrivingMotion(motion, motion, 0.0) for motion in motions]).frames
    assert (frames.device.type, frames.shape) == ("meta", (4, 240, 240, 3))


def test_driving_frames_without_a_face_are_left_out_on_the_device(engine):
    session = engine.session(AnimationSettings(), MotionOptions(), RATE, RATE)
    driving = shot(4)
    driving.present[2] = False
    motions = list(session.motions([driving]))
    assert [motion is None for motion in motions] == [False, False, True, False]
    assert motions[0].device.type == "meta"


KERNELS = {"pose-friendly": 95, "expression-friendly": 105}
"""Most kernels for a chunk's keypoints besides those of the networks, whatever its number of frames."""


@pytest.mark.parametrize("driving_option", KERNELS)
@pytest.mark.parametrize("frames", [1, 8])
def test_keypoints_of_a_chunk_take_few_kernels(engine, driving_option, frames):
    session = engine.session(AnimationSettings(), MotionOptions(driving_option=driving_option), RATE, RATE)
    driving = torch.stack([row for row in session.motions([shot(frames)]) if row is not None])
    source = next(iter(session.source([shot(frames)])))
    session.render(source, driving)  # which makes what is made once a run
    faces = session._source_faces(source)
    with Kernels("meta") as seen:
        session._keypoints(faces, source, Motion.unpack(driving), None)
    assert len(seen.names) < KERNELS[driving_option]


def test_the_networks_animate_given_crops_on_the_device(networks, monkeypatch):
    monkeypatch.setattr(networks, "finite", lambda pictures: lambda: True)
    engine = LivePortraitEngine(networks, batch=3)
    crops = torch.empty(5, 3, 256, 256, device="meta")
    assert engine.model.animate_crops(crops[:1], crops).device.type == "meta"
    assert engine.model.animate_crops(crops, crops, reference=crops[2:3]).shape == (5, 3, 512, 512)


def test_only_convolutions_are_in_half_precision(networks):
    crop = torch.empty(1, 3, 256, 256, device="meta")
    volume, motion = networks.appearance(crop), networks.motion(crop)
    pictures = networks.render(volume, motion.kp, motion.kp)
    assert {volume.dtype, motion.kp.dtype, motion.exp.dtype, pictures.dtype} == {torch.float32}
    half = {p.dtype for p in networks.module["spade_generator"].parameters()}
    assert half == {torch.float16}


def test_the_meta_device_is_as_strict_as_a_gpu():
    """What the tests above rest on."""
    there, here = torch.ones(2, device="meta"), torch.ones(2)
    with pytest.raises(RuntimeError, match="device"):
        there + here
    with pytest.raises(RuntimeError):
        bool(there.any())
    with pytest.raises(NotImplementedError, match="no data"):  # torch's word for a value that isn't there
        there.cpu()
