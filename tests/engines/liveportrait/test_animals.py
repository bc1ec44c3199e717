"""Animals: other weights for the same networks, upstream's motion for them, and a picture that fades out early."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import pytest
import torch
from drawn_cat import picture
from made_networks import MadeNetworks
from torch import Tensor

from liveportrait_v2v import compose
from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.motion import Motion
from liveportrait_v2v.engines.liveportrait.networks import MAIN_NETWORKS
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.expression import Expression, Layer
from liveportrait_v2v.faces.given import FaceBoxes
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

COUNT = 6
BOX = FaceBoxes.parse([120, 80, 80, 80])


@lru_cache(maxsize=1)
def engine() -> LivePortraitEngine:
    """With random weights: noise, but all of the arithmetic."""
    return LivePortraitEngine.random(0, model="animals")


def crops(count: int, seed: int) -> Tensor:
    small = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (256, 256), mode="bicubic").clamp(0, 1)


def volume(points: Tensor) -> float:
    """Volume of the convex hull: the sum of tetrahedra under its facets, found one by one."""
    points = points.double()
    centre, total = points.mean(0), 0.0
    for a in range(21):
        for b in range(a + 1, 21):
            for c in range(b + 1, 21):
                normal = torch.linalg.cross(points[b] - points[a], points[c] - points[a])
                height = (points - points[a]) @ normal
                if (height <= 1e-12).all() or (height >= -1e-12).all():
                    total += abs(float((centre - points[a]) @ normal)) / 6
    return total


def upstreams_keypoints(source, driving, multiplier: float) -> tuple[Tensor, Tensor]:
    """Keypoints of the source [1, 21, 3] and of each frame [N, 21, 3], by the formula of upstream's animal pipeline.

    scale_s (kp_s R_d + exp_d) + t_d without t's z, less that of the first frame, times the root of the hulls' volumes,
    times the multiplier, added to the source's own.
    """

    def placed(rotation: Tensor, exp: Tensor, t: Tensor) -> Tensor:
        x = source.scale[:, :, None] * (source.kp @ rotation + exp) + t[:, None]
        x[..., 2] -= t[:, None, 2]
        return x

    own = placed(source.rotation, source.exp, source.t)
    moved = placed(driving.rotation, driving.exp, driving.t)
    ratio = (volume(own[0]) / volume(moved[0])) ** 0.5
    return own, own + multiplier * ratio * (moved - moved[:1])


class Read:
    """What the motion network gives of crops."""

    def __init__(self, found: LivePortraitEngine, given: Tensor) -> None:
        rows, self.kp = found.model.read(given, torch.full((len(given), 2), 0.4), torch.zeros(len(given), 1))
        motion = Motion.of_rows(rows)
        self.rotation, self.exp, self.t, self.scale = motion.rotation, motion.exp, motion.t, motion.scale


@pytest.mark.slow
@pytest.mark.parametrize("multiplier", [1.0, 1.75])
@pytest.mark.parametrize("chosen", ["pose-friendly", "expression-friendly"])
def test_keypoints_are_those_of_upstreams_formula(monkeypatch, multiplier, chosen):
    given: list[tuple[Tensor, Tensor]] = []
    networks = engine().model.networks
    monkeypatch.setattr(
        networks,
        "render",
        lambda volumes, kp_source, kp_driving: (
            given.append((kp_source, kp_driving)) or torch.zeros(len(kp_driving), 3, 512, 512)
        ),
    )
    source, driving = crops(1, 1), crops(COUNT, 2)
    options = MotionOptions(driving_multiplier=multiplier, driving_option=chosen)
    engine().model.animate_crops(source, driving, options=options)
    own, wanted = upstreams_keypoints(Read(engine(), source), Read(engine(), driving), multiplier)
    torch.testing.assert_close(given[0][0][:1], own, atol=1e-5, rtol=1e-5)
    found = torch.cat([target for _, target in given])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert (wanted - own).abs().max() > 0.01


@pytest.mark.slow
def test_there_are_no_small_networks():
    assert set(engine().model.networks.module) == set(MAIN_NETWORKS)


def frames(count: int = COUNT) -> Tensor:
    return torch.stack([picture(k) for k in range(count)])


def run(source: Clip, driving: Clip, settings=None, options=None):
    got: list[RenderedFrames] = []
    role = Role(driving, settings or AnimationSettings(), options or MotionOptions(), boxes=BOX)
    made = LivePortraitEngine(MadeNetworks(stitch=0.5, lip=0.5, eye=0.5), animals=True)
    result = animate(source, roles=[role], engine=made, sink=got.append, masks=True)
    return result, got, made.model.networks


@pytest.fixture(scope="module")
def driver(clips) -> Clip:
    return Clip(clips["jwp_intro"])


def test_nothing_is_stitched_or_retargeted(driver):
    settings = AnimationSettings(video_frame_load_cap=COUNT)
    *_, networks = run(Clip(Frames(frames(), Fraction(25))), driver, settings)
    assert {name for name, *_ in networks.calls} == {"appearance", "motion", "render"}


@pytest.mark.parametrize("still", [True, False])
def test_the_picture_fades_out_well_inside_its_square(driver, still):
    source = Clip(Frames(frames(1))) if still else Clip(Frames(frames(), Fraction(25)))
    settings = AnimationSettings(video_frame_load_cap=COUNT)
    _, got, _ = run(source, driver, settings)
    part = got[0]
    square = part.squares[0][:1]
    place = compose.rect_of(square, *part.frames.shape[1:3])
    inside = place.to_square(square)[0]
    opacity = place.of(part.mask[:1, ..., None])[0, ..., 0]
    edge = (0.5 - (inside - 0.5).abs()).amin(-1)
    assert (opacity[edge > 0.26] == 1).all()
    assert (opacity[edge < 0.06] < 0.25).all()
    unchanged = part.mask[0] == 0
    assert torch.equal(part.frames[0][unchanged], frames(1)[0][unchanged])


@pytest.mark.parametrize("name", ["eye_retargeting", "lip_retargeting", "source_eye_retargeting"])
def test_what_needs_the_small_networks_is_refused(driver, name):
    settings, options = AnimationSettings(), MotionOptions()
    if name in settings.to_dict():
        settings = replace(settings, **{name: True})
    else:
        options = replace(options, **{name: True})
    with pytest.raises(SettingsError, match=f"{name} must be False for these networks, got True"):
        run(Clip(Frames(frames(1))), driver, settings, options)


def test_another_model_is_refused():
    with pytest.raises(SettingsError, match="model must be one of humans, animals, got 'cats'"):
        create_engine("liveportrait", random_weights=0, model="cats")


@pytest.mark.slow
@pytest.mark.parametrize("still", [True, False])
def test_a_cat_in_a_box_is_animated_by_random_weights(driver, still):
    count = 1 if still else 2
    source = Clip(Frames(frames(1))) if still else Clip(Frames(frames(2), Fraction(25)))
    got: list[RenderedFrames] = []
    role = Role(driver, AnimationSettings(video_frame_load_cap=count), boxes=BOX)
    result = animate(source, roles=[role], engine=engine(), sink=got.append)
    assert result.frames == count
    changed = torch.cat([part.frames for part in got]).int() - frames(count).int()
    assert changed[:, 110:130, 150:170].abs().float().mean() > 5


def test_an_expression_moves_an_animal_without_the_small_networks():
    made = LivePortraitEngine(MadeNetworks(stitch=0.5, lip=0.5, eye=0.5), animals=True)
    role = Role(None, boxes=BOX, expression=Expression((Layer({"smile": 0.8, "rotate_yaw": 10}),)))
    result = animate(Clip(Frames(frames(1))), roles=[role], engine=made)
    assert result.frames == 1
    assert {name for name, *_ in made.model.networks.calls} == {"appearance", "motion", "render"}
    ((kp_source, kp_driving),) = [call[2:4] for call in made.model.networks.calls if call[0] == "render"]
    assert (kp_driving - kp_source).abs().max() > 0.01


def test_an_opening_to_aim_at_is_refused_for_an_animal():
    made = LivePortraitEngine(MadeNetworks(), animals=True)
    role = Role(None, boxes=BOX, expression=Expression((Layer({"eyes_open": 0.3}),)))
    with pytest.raises(SettingsError, match="does not edit eyes_open"):
        animate(Clip(Frames(frames(1))), roles=[role], engine=made)
