"""What the small networks are asked for, and where their steps go."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_networks import MadeNetworks

from liveportrait_v2v.engines.liveportrait.keypoints import rotation_matrix
from liveportrait_v2v.engines.liveportrait.motion import Faces, Motion, Transfer, place
from liveportrait_v2v.engines.liveportrait.retarget import refine
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

N = 2
KP = torch.randn(N, 21, 3, generator=torch.Generator().manual_seed(9)) * 0.4
X = torch.randn(N, 21, 3, generator=torch.Generator().manual_seed(8)) * 0.4


def motion(eyes: float | list[float] = 0.3, lips: float | list[float] = 0.0) -> Motion:
    angles = torch.tensor([[5.0] * N, [10.0] * N, [0.0] * N])
    eyes, lips = (torch.as_tensor(value).expand(N).unsqueeze(1) for value in (eyes, lips))
    exp = torch.full((N, 21, 3), 0.01)
    return Motion(
        rotation_matrix(*angles),
        exp,
        torch.ones(N, 1),
        torch.zeros(N, 3),
        eyes.expand(N, 2).clone(),
        lips.clone(),
    )


def faces(source: Motion | None = None, driving: Motion | None = None, **parts: Motion) -> Faces:
    source, driving = source or motion(), driving or motion()
    usual = {"rest": source, "base": source, "target": driving, **parts}
    return Faces(KP, source, driving=driving, **usual)


def refined(
    networks: MadeNetworks, who: Faces, still=False, options: MotionOptions | None = None, **settings
):
    return refine(networks, transfer(still, options, **settings), who, X)


def transfer(still=False, options: MotionOptions | None = None, **settings) -> Transfer:
    values = {"lip_zero": False, "stitching": False, **settings}
    return Transfer(AnimationSettings(**values), options or MotionOptions(source_motion="add"), still, False)


def added(networks: MadeNetworks, who: Faces, **kinds) -> torch.Tensor:
    """How much was added to the keypoints of each frame, the same for all of a frame."""
    step = refined(networks, who, **kinds) - X
    torch.testing.assert_close(step, step[:, :1, :1].expand_as(step), atol=1e-6, rtol=0)
    return step[:, 0, 0]


def test_without_corrections_the_keypoints_stay():
    assert torch.equal(refined(MadeNetworks(1, 10, 100), faces()), X)


def test_stitching_sees_the_source_and_the_target_and_is_applied_once():
    networks = MadeNetworks(stitch=0.5)
    torch.testing.assert_close(refined(networks, faces(), stitching=True), X + 0.5)
    ((source, target),) = networks.calls_of("stitch")
    assert torch.equal(source, place(KP, faces().source))
    assert torch.equal(target, X)


def test_lips_are_shut_in_the_frames_in_which_they_are_open():
    who = faces(motion(lips=[0.2, 0.01]))
    assert added(MadeNetworks(lip=1), who, lip_zero=True).tolist() == pytest.approx([1, 0])
    who = faces(motion(lips=[0.01, 0.2]))
    assert added(MadeNetworks(lip=1), who, lip_zero=True).tolist() == pytest.approx([0, 1])


def test_a_frame_with_shut_lips_does_not_end_the_shutting_for_later_ones():
    networks = MadeNetworks(lip=1)
    steps = [
        added(networks, faces(motion(lips=[lips] * N)), lip_zero=True)[0].item() for lips in (0.2, 0.0, 0.2)
    ]
    assert steps == pytest.approx([1, 0, 1])


def test_shutting_is_asked_for_from_the_bases_opening_to_none():
    networks = MadeNetworks(lip=1)
    base = motion(lips=0.3)
    refined(networks, faces(base=base), lip_zero=True)
    ((keypoints, ratios),) = networks.calls_of("lip_delta")
    torch.testing.assert_close(ratios, torch.tensor([[0.3, 0.0]] * N))
    assert torch.equal(keypoints, place(KP, base))


def test_the_threshold_is_the_least_opening_that_is_shut():
    for threshold, wanted in ((0.19, 1), (0.21, 0)):
        who = faces(motion(lips=0.2))
        step = added(MadeNetworks(lip=1), who, lip_zero=True, lip_zero_threshold=threshold)
        assert step[0].item() == pytest.approx(wanted)


@pytest.mark.parametrize("kinds", [{"relative": False}, {"options": MotionOptions(region="pose")}])
def test_lips_are_left_alone_in_absolute_motion_and_in_regions_without_them(kinds):
    assert added(MadeNetworks(lip=1), faces(motion(lips=0.2)), lip_zero=True, **kinds).tolist() == [0, 0]


def test_shutting_comes_after_stitching_which_does_not_see_it():
    networks = MadeNetworks(stitch=0.5, lip=1)
    step = added(networks, faces(motion(lips=0.2)), lip_zero=True, stitching=True)
    assert step.tolist() == pytest.approx([1.5, 1.5])
    assert torch.equal(networks.calls_of("stitch")[0][1], X)


def test_retargeting_keeps_the_other_motion_and_comes_before_stitching():
    networks = MadeNetworks(stitch=0.5, lip=1, eye=10)
    step = added(networks, faces(), eye_retargeting=True, lip_retargeting=True, stitching=True)
    assert step.tolist() == pytest.approx([11.5, 11.5])
    torch.testing.assert_close(networks.calls_of("stitch")[0][1], X + 11)


def test_multipliers_scale_the_wanted_opening_alone():
    networks = MadeNetworks()
    target, driving = motion(eyes=0.25, lips=0.1), motion(eyes=0.3, lips=0.2)
    refined(
        networks,
        faces(target=target, driving=driving),
        eye_retargeting=True,
        lip_retargeting=True,
        eyes_retargeting_multiplier=2.0,
        lip_retargeting_multiplier=3.0,
    )
    (eyes,), (lips,) = networks.calls_of("eye_delta"), networks.calls_of("lip_delta")
    torch.testing.assert_close(eyes[1], torch.tensor([[0.25, 0.25, 0.6]] * N))
    torch.testing.assert_close(lips[1], torch.tensor([[0.1, 0.6]] * N))
    assert torch.equal(eyes[0], X)
    assert torch.equal(lips[0], X)


def test_lips_that_are_retargeted_are_not_shut_as_well():
    networks = MadeNetworks(lip=1)
    step = added(networks, faces(motion(lips=0.2)), lip_retargeting=True, lip_zero=True)
    assert step.tolist() == pytest.approx([1, 1])


def test_regions_without_eyes_or_lips_are_not_retargeted():
    networks = MadeNetworks(lip=1, eye=10)
    both = {"eye_retargeting": True, "lip_retargeting": True}
    assert added(networks, faces(), options=MotionOptions(region="lip"), **both)[0].item() == pytest.approx(1)
    assert added(networks, faces(), options=MotionOptions(region="eyes"), **both)[0].item() == pytest.approx(
        10
    )


def test_the_sources_own_blinks_are_opened_to_the_rest():
    networks = MadeNetworks(eye=1)
    options = MotionOptions(source_motion="add", source_eye_retargeting=True)
    who = faces(motion(eyes=[0.05, 0.3]), rest=motion(eyes=0.32))
    assert added(networks, who, options=options).tolist() == pytest.approx([1, 1])
    ((_, ratios),) = networks.calls_of("eye_delta")
    torch.testing.assert_close(ratios, torch.tensor([[0.05, 0.05, 0.32], [0.3, 0.3, 0.32]]))


@pytest.mark.parametrize("region", ["lip", "pose"])
@pytest.mark.parametrize("settings", [{"relative": False}, {"eye_retargeting": True}, {}])
def test_where_the_eyes_stay_the_sources_own_their_blinks_are_taken_out_whatever_else_is_set(
    region, settings
):
    options = MotionOptions(region=region, source_eye_retargeting=True)
    who = faces(motion(eyes=[0.05, 0.3]), rest=motion(eyes=0.32))
    assert added(MadeNetworks(eye=1), who, options=options, **settings).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("settings", [{"relative": False}, {"eye_retargeting": True}])
def test_eyes_that_the_driving_face_sets_have_no_blinks_of_the_source(settings):
    networks, options = MadeNetworks(), MotionOptions(source_eye_retargeting=True)
    refined(networks, faces(), options=options, **settings)
    assert len(networks.calls_of("eye_delta")) == ("eye_retargeting" in settings)


def test_eyes_that_are_shut_at_rest_are_opened_as_usual_where_motion_is_replaced():
    networks, shut = MadeNetworks(eye=1), motion(eyes=[0.1, 0.3])
    assert added(networks, faces(shut), options=MotionOptions()).tolist() == pytest.approx([1, 0])
    ((_, ratios),) = networks.calls_of("eye_delta")
    assert ratios[0].tolist() == pytest.approx([0.1, 0.1, 0.39])
    assert added(networks, faces(shut)).tolist() == [0, 0]


def test_a_still_keeps_its_eyes():
    options = MotionOptions(source_eye_retargeting=True)
    who = faces(motion(eyes=0.1))
    assert added(MadeNetworks(eye=1), who, still=True, options=options).tolist() == [0, 0]


def test_nothing_that_is_given_is_modified():
    who, x = faces(motion(lips=0.2)), X.clone()
    before = replace(who, kp=who.kp.clone(), source=Motion.unpack(who.source.pack()))
    refined(MadeNetworks(1, 1, 1), who, lip_zero=True, stitching=True, eye_retargeting=True)
    assert torch.equal(X, x)
    assert torch.equal(who.kp, before.kp)
    torch.testing.assert_close(who.source.pack(), before.source.pack())
