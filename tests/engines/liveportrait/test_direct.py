"""The networks on given crops."""

from __future__ import annotations

import pytest
import torch

from liveportrait_v2v.engines.liveportrait.direct import animate_crops
from liveportrait_v2v.engines.liveportrait.networks import Networks


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.random(0)


@pytest.fixture
def rendered(networks, monkeypatch) -> list[tuple[torch.Tensor, ...]]:
    """What reaches W and G, which are not run; nor is F: a crop stands for its features."""
    calls = []

    def render(*arguments):
        calls.append(arguments)
        return torch.zeros(1, 3, 512, 512)

    monkeypatch.setattr(networks, "render", render)
    monkeypatch.setattr(networks, "appearance", lambda crops: crops)
    return calls


def crops(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(seed))


def reference(networks, crop) -> dict[str, torch.Tensor]:
    """A crop's motion, with the rotation and the keypoints of the reference's code."""
    camera = pytest.importorskip("mimic_head.utils.camera")
    m = networks.motion(crop)
    rotation = camera.get_rotation_matrix(m.pitch, m.yaw, m.roll)
    return {**m._asdict(), "rotation": rotation}


def placed(kp, rotation, exp, scale, t) -> torch.Tensor:
    keypoints = scale[..., None] * (kp @ rotation + exp)
    keypoints[..., :2] += t[:, None, :2]
    return keypoints


@pytest.mark.parametrize("sources", [1, 3])
def test_relative_motion_is_that_since_the_first_driving_crop(networks, rendered, sources):
    source, driving = crops(sources, 0), crops(3, 1)
    pictures = animate_crops(networks, source, driving, stitching=False)
    assert pictures.shape == (3, 3, 512, 512)
    first = reference(networks, driving[:1])
    for i, (volume, kp_source, kp_driving) in enumerate(rendered):
        s = reference(networks, source[i % sources][None])
        d = reference(networks, driving[i : i + 1])
        assert torch.equal(volume, source[i % sources][None])
        expected = placed(s["kp"], s["rotation"], s["exp"], s["scale"], s["t"])
        assert torch.allclose(kp_source, expected, atol=1e-5)
        expected = placed(
            s["kp"],
            d["rotation"] @ first["rotation"].mT @ s["rotation"],
            s["exp"] + d["exp"] - first["exp"],
            s["scale"] * d["scale"] / first["scale"],
            s["t"] + d["t"] - first["t"],
        )
        assert torch.allclose(kp_driving, expected, atol=1e-5)


def test_absolute_motion_is_the_driving_faces_in_the_sources_scale(networks, rendered):
    source, driving = crops(1, 0), crops(1, 1)
    animate_crops(networks, source, driving, relative=False, stitching=False)
    s, d = reference(networks, source), reference(networks, driving)
    expected = placed(s["kp"], d["rotation"], d["exp"], s["scale"], d["t"])
    assert torch.allclose(rendered[0][2], expected, atol=1e-5)


def test_stitching_is_applied_once(networks, rendered):
    source, driving = crops(1, 0), crops(1, 1)
    animate_crops(networks, source, driving, relative=False, stitching=False)
    animate_crops(networks, source, driving, relative=False)
    (_, kp_source, plain), (_, _, stitched) = rendered
    assert torch.equal(stitched, networks.stitch(kp_source, plain))
    assert not torch.equal(stitched, plain)


@pytest.mark.parametrize("shape", [(2, 3, 256, 256), (1, 3, 128, 128), (1, 256, 256, 3)])
def test_crops_of_another_shape_are_refused(networks, shape):
    with pytest.raises(ValueError, match=r"source must be \[3, 3, 256, 256\], got"):
        animate_crops(networks, torch.zeros(shape), crops(3, 1))
