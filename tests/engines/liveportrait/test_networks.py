"""The networks give what the reference's give with the same weights, on real faces."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from liveportrait_v2v.engines.liveportrait.networks import (
    CompileWarning,
    Networks,
    PrecisionWarning,
    random_weights,
    resolve_precision,
)
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.media import Clip

pytestmark = pytest.mark.slow

# Squares of 256 pixels around faces of the clips: left, top.
SQUARES = {"astronaut": (97, 10), "jwp_intro": (132, 70)}
DENSE_MOTION = {
    "block_expansion": 32,
    "max_features": 1024,
    "num_blocks": 5,
    "reshape_depth": 16,
    "compress": 4,
}


def reference_networks() -> dict[str, nn.Module]:
    """The reference's modules with random weights, in the sizes of the published files."""
    room = "mimic_head.modules"
    appearance = pytest.importorskip(f"{room}.appearance_feature_extractor")
    motion = pytest.importorskip(f"{room}.motion_extractor")
    warping = pytest.importorskip(f"{room}.warping_network")
    generator = pytest.importorskip(f"{room}.spade_generator")
    networks = {
        "appearance_feature_extractor": appearance.AppearanceFeatureExtractor(3, 64, 2, 512, 32, 16, 6),
        "motion_extractor": motion.MotionExtractor(num_kp=21, backbone="convnextv2_tiny"),
        "warping_module": warping.WarpingNetwork(
            21, 64, 512, 2, 32, estimate_occlusion_map=True, dense_motion_params=DENSE_MOTION
        ),
        "spade_generator": generator.SPADEDecoder(2, 512, 64, 64, 2),
    }
    for name, network in networks.items():
        network.load_state_dict(random_weights(0, name), strict=True)
        network.eval().requires_grad_(False)
    return networks


@pytest.fixture(scope="module")
def crops(clips) -> Tensor:
    """Two real faces, float32 [2, 3, 256, 256]."""
    pictures = []
    for name, (left, top) in SQUARES.items():
        frame = next(Clip(clips[name]).chunks(1, cap=1)).frames[0]
        pictures.append(frame[top : top + 256, left : left + 256].permute(2, 0, 1) / 255)
    return torch.stack(pictures)


@pytest.fixture(scope="module")
def ours() -> Networks:
    return Networks.random(0)


@pytest.fixture(scope="module")
def reference(crops) -> SimpleNamespace:
    """What the reference makes of the crops: the first animated by the second."""
    nets = reference_networks()
    said = nets["motion_extractor"](crops)
    kp = said["kp"].view(2, 21, 3) * said["scale"][:, None]
    moved = kp[1:] + 0.1 * torch.randn(1, 21, 3, generator=torch.Generator().manual_seed(1))
    volume = nets["appearance_feature_extractor"](crops[:1])
    warped = nets["warping_module"](volume, kp_source=kp[:1], kp_driving=moved)
    picture = nets["spade_generator"](warped["out"])
    return SimpleNamespace(
        said=said, kp_source=kp[:1], kp_driving=moved, volume=volume, warped=warped, picture=picture
    )


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The root mean square of the difference, relative to that of the values."""
    assert ours.shape == theirs.shape
    assert ours.dtype == torch.float32
    return ((ours - theirs).norm() / theirs.norm()).item()


def rounding(convolutions: int) -> float:
    """The relative root mean square error of float32 convolutions in a row.

    Each adds at most 32 eps, as in test_network_parts for the least exact algorithm; errors of independent signs
    grow with the root of their number.
    """
    return 32 * torch.finfo(torch.float32).eps * convolutions**0.5


# Convolutions in a row: F's 4 and 6 residual blocks; M's 18 blocks of 3 layers and 4 others; the hourglass of W with
# its 2, and W's 2 after sampling.
APPEARANCE, MOTION, DENSE, WARPED = rounding(16), rounding(58), rounding(13), rounding(15)
# Where features are sampled, an error of the place becomes one of the value, by the slope of the features.
WARPED *= 4


def test_appearance_is_the_references(ours, reference, crops):
    assert difference(ours.appearance(crops[:1]), reference.volume) < APPEARANCE


def test_motion_is_the_references(ours, reference, crops):
    camera = pytest.importorskip("mimic_head.utils.camera")
    motion, said = ours.motion(crops), reference.said
    for name in ("pitch", "yaw", "roll"):
        expected = camera.headpose_pred_to_degree(said[name])
        assert torch.allclose(getattr(motion, name), expected, atol=1e-4)
    for name in ("t", "exp", "scale", "kp"):
        assert difference(getattr(motion, name), said[name].view(getattr(motion, name).shape)) < MOTION
    assert motion.kp.shape == motion.exp.shape == (2, 21, 3)
    assert motion.scale.shape == (2, 1)


@torch.no_grad()
def test_warped_features_and_the_deformation_are_the_references(ours, reference):
    warping = ours.module["warping_module"]
    arguments = reference.volume, reference.kp_source, reference.kp_driving, torch.float32
    deformation, visible = warping.dense_motion_network(*arguments)
    assert difference(deformation, reference.warped["deformation"]) < DENSE
    assert difference(visible, reference.warped["occlusion_map"]) < DENSE
    assert difference(warping(*arguments), reference.warped["out"]) < WARPED


@torch.no_grad()
def test_the_generated_picture_is_the_references(ours, reference):
    logits = ours.module["spade_generator"](reference.warped["out"])
    assert difference(logits.sigmoid(), reference.picture) < 1e-4


def test_all_together_are_the_reference(ours, reference, crops):
    picture = ours.render(ours.appearance(crops[:1]), reference.kp_source, reference.kp_driving)
    assert picture.shape == (1, 3, 512, 512)
    assert difference(picture, reference.picture) < 1e-4
    assert (picture - reference.picture).abs().max() < 1 / 255
    # The pictures are no flat grey on which all would agree.
    assert picture.std() > 0.1


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.01), ("bf16-convs", 0.05)])
def test_half_precision_stays_within_its_bound(reference, crops, precision, bound):
    networks = Networks.random(0, precision=precision)
    picture = networks.render(networks.appearance(crops[:1]), reference.kp_source, reference.kp_driving)
    assert difference(picture, reference.picture) < bound


def test_half_precision_halves_the_convolutions_and_leaves_the_rest_float32():
    networks = Networks.random(0, precision="fp16")
    kinds = {
        name: {parameter.dtype for parameter in network.parameters()}
        for name, network in networks.module.items()
    }
    assert kinds["motion_extractor"] == kinds["stitching_retargeting_module"] == {torch.float32}
    assert kinds["warping_module"] == kinds["spade_generator"] == {torch.float16}
    parameters = sum(parameter.numel() for parameter in networks.module.parameters())
    assert networks.memory_bytes < 0.65 * 4 * parameters


def test_what_is_not_finite_in_half_precision_can_be_computed_in_float32_which_is_said_once(crops):
    networks = Networks.random(0, precision="fp16")
    extractor = networks.module["appearance_feature_extractor"]
    expected = extractor(crops[:1], torch.float32)
    overflowing = lambda crops, dtype: extractor(crops, torch.float32) / (dtype == torch.float32)  # noqa: E731
    networks.module["appearance_feature_extractor"] = _Called(overflowing)
    assert not networks.finite(networks.appearance(crops[:1]))()
    with pytest.warns(PrecisionWarning, match="fp16 gives values that aren't finite on cpu") as warned:
        for _ in range(2):
            with networks.in_float32():
                assert torch.equal(networks.appearance(crops[:1]), expected)
    assert len(warned) == 1
    assert not networks.finite(networks.appearance(crops[:1]))()


@torch.no_grad()
def test_features_that_are_not_finite_make_a_picture_that_is_not(ours, reference):
    volume = reference.volume.clone()
    volume[0, 3, 5, 7, 9] = torch.inf
    assert not ours.render(volume, reference.kp_source, reference.kp_driving).isfinite().all()


class _Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def test_a_compiler_that_fails_is_done_without(monkeypatch):
    def broken(function, **_):
        def compiled(*arguments):
            raise RuntimeError("no compiler here\nand much more text")

        return compiled

    monkeypatch.setattr(torch, "compile", broken)
    networks = Networks(lambda name: random_weights(0, name), compile=True)
    monkeypatch.setattr(networks, "_decode", lambda *arguments: torch.zeros(1))
    with pytest.warns(CompileWarning, match="going on without it: no compiler here$") as warned:
        pictures = [networks.render(*torch.zeros(3, 1, 1)) for _ in range(2)]
    assert len(warned) == 1
    assert [picture.item() for picture in pictures] == [0.5, 0.5]


@torch.no_grad()
def test_one_source_serves_several_driving_keypoints(ours, reference):
    warping = ours.module["warping_module"]
    driving = torch.cat((reference.kp_driving, reference.kp_source))
    together = warping(reference.volume, reference.kp_source, driving, torch.float32)
    assert difference(together[:1], reference.warped["out"]) < WARPED
    alone = warping(reference.volume, reference.kp_source, reference.kp_source, torch.float32)
    assert difference(together[1:], alone) < WARPED


@pytest.mark.parametrize(
    ("group", "sizes", "ratios"),
    [
        ("retarget_shoulder", (126, [128, 128, 64], 65), None),
        ("retarget_mouth", (65, [128, 128, 64], 63), 2),
        ("retarget_eye", (66, [256, 256, 128, 128, 64], 63), 3),
    ],
)
def test_keypoints_are_corrected_as_by_the_reference(ours, group, sizes, ratios):
    room = pytest.importorskip("mimic_head.modules.stitching_retargeting_network")
    network = room.StitchingRetargetingNetwork(*sizes)
    weights, prefix = random_weights(0, "stitching_retargeting_module"), f"{group}_module."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    generator = torch.Generator().manual_seed(2)
    source, driving = torch.randn(2, 4, 21, 3, generator=generator)
    before = driving.clone()
    if ratios is None:
        delta = network(torch.cat((source.flatten(1), driving.flatten(1)), 1)).detach()
        expected = driving + delta[:, :63].view(4, 21, 3)
        expected[..., :2] += delta[:, None, 63:]
        corrected = ours.stitch(source, driving)
    else:
        opening = torch.rand(4, ratios, generator=generator)
        expected = network(torch.cat((source.flatten(1), opening), 1)).detach().view(4, 21, 3)
        corrected = (ours.lip_delta if ratios == 2 else ours.eye_delta)(source, opening)
    assert difference(corrected, expected) < 1e-6
    assert torch.equal(driving, before)


def test_random_networks_are_the_same_for_the_same_seed():
    one, same, other = (random_weights(seed, "appearance_feature_extractor") for seed in (5, 5, 6))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("asked", "device", "resolved"),
    [
        ("auto", "cpu", "fp32"),
        ("auto", "mps", "fp32"),
        ("fp16", "cpu", "fp16"),
        ("bf16-convs", "cuda", "bf16-convs"),
    ],
)
def test_precision_follows_the_device_unless_it_is_chosen(asked, device, resolved):
    assert resolve_precision(asked, device) == resolved


@pytest.mark.parametrize(
    ("card", "capability", "resolved"),
    [
        ("NVIDIA GeForce RTX 4090", (8, 9), "fp16"),
        ("Tesla V100-SXM2-16GB", (7, 0), "fp16"),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), "fp32"),
        ("NVIDIA GeForce GTX 1080", (6, 1), "fp32"),
    ],
)
def test_cards_that_cannot_do_half_precision_are_known(monkeypatch, card, capability, resolved):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", "cuda") == resolved


def test_an_unknown_precision_is_refused():
    with pytest.raises(
        SettingsError, match="precision must be one of auto, fp16, bf16-convs, fp32, got 'int8'"
    ):
        resolve_precision("int8", "cpu")
