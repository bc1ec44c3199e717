"""What motion a face of the result has, held to the formulas written out frame by frame."""

from __future__ import annotations

import itertools
from dataclasses import fields

import pytest
import torch

from liveportrait_v2v.engines.liveportrait.keypoints import hull_volume, rotation_matrix
from liveportrait_v2v.engines.liveportrait.motion import (
    EYES,
    LIPS,
    ROW,
    Motion,
    Transfer,
    driven_axes,
    neutral,
    place,
)
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

N = 3
REGIONS = ("all", "exp", "pose", "lip", "eyes")


def motion(seed: int, count: int = N) -> Motion:
    make = torch.Generator().manual_seed(seed)
    angles = torch.rand(3, count, generator=make) * 40 - 20
    return Motion(
        rotation_matrix(*angles),
        torch.randn(count, 21, 3, generator=make) * 0.05,
        torch.rand(count, 1, generator=make) + 0.7,
        torch.randn(count, 3, generator=make) * 0.1,
        torch.rand(count, 2, generator=make) * 0.4,
        torch.rand(count, 1, generator=make) * 0.3,
    )


KP = torch.randn(N, 21, 3, generator=torch.Generator().manual_seed(9)) * 0.4
SOURCE, REST, DRIVING, REFERENCE = motion(1), motion(2), motion(3), motion(4, count=1)


def transfer(source_is_still=False, driving_is_still=False, relative=True, **options) -> Transfer:
    return Transfer(
        AnimationSettings(relative=relative), MotionOptions(**options), source_is_still, driving_is_still
    )


def keypoints(how: Transfer, source=SOURCE, rest=REST, driving=DRIVING, reference=REFERENCE):
    """Keypoints of the base and of the target, [N, 21, 3] each."""
    if how.driving_is_still:
        reference = neutral(driving[:1])
    faces = how.faces(KP, source, rest, driving, reference)
    ratios = None
    if how.by_volume:
        ratios = torch.stack([how.volume_ratio(faces[k : k + 1], reference) for k in range(N)])
        ratios = ratios.view(-1, 1, 1)
    return place(KP, faces.base), how.keypoints(faces, reference, ratios)


def written_out(how: Transfer) -> torch.Tensor:
    """The same, keypoint by keypoint, as the published code and its tables have it."""
    region, relative = how.options.region, how.settings.relative
    replaces = not how.source_is_still and how.options.source_motion == "replace" and relative
    result = torch.zeros(N, 21, 3)
    for n in range(N):
        own, drive = {}, {}
        for name in ("rotation", "exp", "scale", "t"):
            own[name] = getattr(SOURCE, name)[n]
            drive[name] = getattr(DRIVING, name)[n]
        turn, exp, scale, t = own["rotation"], own["exp"].clone(), own["scale"], own["t"]
        in_pose = region in ("all", "pose")
        if relative and not how.driving_is_still:
            start = REST.rotation[n] if replaces else own["rotation"]
            if in_pose:
                turn = drive["rotation"] @ REFERENCE.rotation[0].T @ start
            if how.source_is_still and region == "all":
                scale = own["scale"] * drive["scale"] / REFERENCE.scale[0]
            if how.source_is_still and in_pose:
                t = own["t"] + drive["t"] - REFERENCE.t[0]
        elif not relative and in_pose:
            turn, t = drive["rotation"], drive["t"]
        for k, axis in itertools.product(range(21), range(3)):
            if not is_driven(region, how.source_is_still and relative, k, axis):
                continue
            if relative:
                start = REST.exp[n, k, axis] if replaces else own["exp"][k, axis]
                neutral_lips = {19: (0.0, -0.015, -0.002), 20: (0.0, 0.006, 0.003)}.get(k, (0.0, 0.0, 0.0))
                since = neutral_lips[axis] if how.driving_is_still else REFERENCE.exp[0, k, axis]
                exp[k, axis] = start + drive["exp"][k, axis] - since
            else:
                exp[k, axis] = drive["exp"][k, axis]
        for k in range(21):
            result[n, k] = scale * (KP[n, k] @ turn + exp[k])
            result[n, k, :2] += t[:2]
    return result


def is_driven(region: str, whole: bool, k: int, axis: int) -> bool:
    if region == "lip":
        return k in LIPS
    if region == "eyes":
        return k in EYES
    if region == "pose":
        return False
    if whole or k in (1, 2, 6) or k >= 11:
        return True
    return (k, axis) in {(3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2)}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("source_motion", ["replace", "add"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("source_is_still", [False, True])
@pytest.mark.parametrize("driving_is_still", [False, True])
def test_target_keypoints_are_those_of_the_formulas(
    region, source_motion, relative, source_is_still, driving_is_still
):
    how = transfer(source_is_still, driving_is_still, relative, region=region, source_motion=source_motion)
    _, x = keypoints(how)
    torch.testing.assert_close(x, written_out(how), atol=2e-6, rtol=0)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("driving_option", ["pose-friendly", "expression-friendly"])
@pytest.mark.parametrize("source_is_still", [False, True])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_reference_frame_all_along_leaves_the_source_as_it_is(
    region, driving_option, source_is_still, strength
):
    how = transfer(
        source_is_still,
        region=region,
        driving_option=driving_option,
        source_motion="add",
        driving_multiplier=strength,
    )
    _, x = keypoints(how, driving=REFERENCE.expand(N))
    torch.testing.assert_close(x, place(KP, SOURCE), atol=2e-6, rtol=0)


def test_where_motion_is_replaced_the_reference_frame_leaves_the_source_at_rest():
    base, x = keypoints(transfer(), driving=REFERENCE.expand(N))
    torch.testing.assert_close(x, base, atol=2e-6, rtol=0)
    driven = driven_axes("all", whole=False)
    wanted = torch.where(driven, REST.exp, SOURCE.exp)
    at_rest = Motion(REST.rotation, wanted, SOURCE.scale, SOURCE.t, REST.eyes, REST.lips)
    torch.testing.assert_close(x, place(KP, at_rest), atol=2e-6, rtol=0)


def test_replaced_motion_does_not_depend_on_what_the_source_face_does():
    """Place and size, which stay the source's own, aside."""
    other = motion(7)
    same_place = Motion(other.rotation, other.exp, SOURCE.scale, SOURCE.t, other.eyes, other.lips)
    shape = driven_axes("all", whole=False)
    results = []
    for source in (SOURCE, same_place):
        how = transfer()
        target = how.target(how.base(source, REST), DRIVING, REFERENCE)
        results.append((target.rotation, target.exp[:, shape]))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("driving_option", ["pose-friendly", "expression-friendly"])
def test_the_multiplier_goes_that_far_from_the_base_to_the_target(driving_option):
    base, full = keypoints(transfer(driving_option=driving_option))
    _, part = keypoints(transfer(driving_option=driving_option, driving_multiplier=0.25))
    torch.testing.assert_close(part, base + 0.25 * (full - base), atol=2e-6, rtol=0)


def test_expression_friendly_takes_the_change_of_the_driving_keypoints_times_the_volume_ratio():
    how = transfer(source_is_still=True, driving_option="expression-friendly")
    _, x = keypoints(how)
    driven = driven_axes("all", whole=True)
    assert driven.all()
    for n in range(N):

        def on_source(drive: Motion, k: int, n: int = n) -> torch.Tensor:
            moved = SOURCE.scale[n] * (KP[n] @ drive.rotation[k] + drive.exp[k])
            moved[:, :2] += drive.t[k, :2]
            return moved

        own = place(KP[n : n + 1], SOURCE[n : n + 1])[0]
        ratio = (hull_volume(own) / hull_volume(on_source(REFERENCE, 0))) ** 0.5
        assert abs(ratio - 1) > 1e-3
        wanted = own + ratio * (on_source(DRIVING, n) - on_source(REFERENCE, 0))
        torch.testing.assert_close(x[n], wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("relative", "driving_is_still"), [(False, False), (True, True)])
def test_expression_friendly_concerns_relative_motion_of_a_video_alone(relative, driving_is_still):
    results = [
        keypoints(transfer(False, driving_is_still, relative, driving_option=option))[1]
        for option in ("pose-friendly", "expression-friendly")
    ]
    assert torch.equal(*results)


def test_the_openings_follow_the_driving_ones():
    how = transfer(source_motion="add")
    target = how.target(SOURCE, DRIVING, REFERENCE)
    torch.testing.assert_close(target.lips, (SOURCE.lips + DRIVING.lips - REFERENCE.lips).clamp_min(0))
    absolute = transfer(relative=False).target(SOURCE, DRIVING, REFERENCE)
    assert torch.equal(absolute.eyes, DRIVING.eyes)
    assert torch.equal(
        transfer(region="eyes", source_motion="add").target(SOURCE, DRIVING, REFERENCE).lips, SOURCE.lips
    )


def test_nothing_that_is_given_is_modified():
    given = [m.pack() for m in (SOURCE, REST, DRIVING, REFERENCE)] + [KP.clone()]
    for relative, option in itertools.product([True, False], ["pose-friendly", "expression-friendly"]):
        keypoints(transfer(relative=relative, driving_option=option))
    now = [m.pack() for m in (SOURCE, REST, DRIVING, REFERENCE)] + [KP]
    assert all(torch.equal(a, b) for a, b in zip(given, now, strict=True))


def test_rows_hold_everything():
    rows = SOURCE.pack()
    assert rows.shape == (N, ROW)
    back = Motion.unpack(rows)
    for item in fields(Motion):
        torch.testing.assert_close(getattr(back, item.name), getattr(SOURCE, item.name), atol=1e-6, rtol=0)


def test_rotations_of_mixed_rows_are_rotations():
    mixed = Motion.unpack(torch.lerp(SOURCE.pack(), DRIVING.pack(), 0.3))
    torch.testing.assert_close(mixed.rotation @ mixed.rotation.mT, torch.eye(3).expand(N, 3, 3))
    torch.testing.assert_close(mixed.exp, torch.lerp(SOURCE.exp, DRIVING.exp, 0.3))
