"""A driving crop animates a source crop as it does with the reference's networks and its keypoint code."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import Networks, random_weights
from liveportrait_v2v.media import Clip
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow

DENSE_MOTION = {
    "block_expansion": 32,
    "max_features": 1024,
    "num_blocks": 5,
    "reshape_depth": 16,
    "compress": 4,
}


def reference(name: str, kind: str, *sizes, prefix: str = "", **more) -> torch.nn.Module:
    """A network of the reference with random weights: module of the package, class, arguments."""
    reference_module = pytest.importorskip(f"mimic_head.modules.{name}")
    network = getattr(reference_module, kind)(*sizes, **more).eval().requires_grad_(False)
    weights = random_weights(0, "stitching_retargeting_module" if prefix else NETWORK_OF[name])
    network.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    return network


NETWORK_OF = {
    "appearance_feature_extractor": "appearance_feature_extractor",
    "motion_extractor": "motion_extractor",
    "warping_network": "warping_module",
    "spade_generator": "spade_generator",
}


def face(clip, frame: int, left: int, top: int) -> Tensor:
    """A face of a clip, float32 [1, 3, 256, 256]."""
    frames = torch.cat([chunk.frames for chunk in Clip(clip).chunks(8, cap=frame + 1)])
    return frames[frame, top : top + 256, left : left + 256].permute(2, 0, 1)[None] / 255


@torch.no_grad()
def reference_picture(source: Tensor, first: Tensor, driving: Tensor) -> Tensor:
    """Relative motion of a still with stitching, by the reference's modules and its own order of things."""
    camera = pytest.importorskip("mimic_head.utils.camera")
    motion = reference("motion_extractor", "MotionExtractor", num_kp=21, backbone="convnextv2_tiny")

    def look(crop: Tensor):
        said = motion(crop)
        angles = (camera.headpose_pred_to_degree(said[name]) for name in ("pitch", "yaw", "roll"))
        exp, kp = said["exp"].view(1, 21, 3), said["kp"].view(1, 21, 3)
        return camera.get_rotation_matrix(*angles), exp, said["scale"], said["t"], kp

    (r_s, exp_s, s_s, t_s, kp), (r_0, exp_0, s_0, t_0, _), (r_d, exp_d, s_d, t_d, _) = map(
        look, (source, first, driving)
    )
    x_s = s_s[..., None] * (kp @ r_s + exp_s)
    x_s[..., :2] += t_s[:, None, :2]
    t = t_s + (t_d - t_0)
    t[..., 2] = 0
    x_d = (s_s * (s_d / s_0))[..., None] * (
        kp @ ((r_d @ r_0.permute(0, 2, 1)) @ r_s) + exp_s + (exp_d - exp_0)
    ) + t[:, None]
    stitch = reference(
        "stitching_retargeting_network",
        "StitchingRetargetingNetwork",
        *(126, [128, 128, 64], 65),
        prefix="retarget_shoulder_module.",
    )
    step = stitch(torch.cat((x_s.flatten(1), x_d.flatten(1)), dim=1))
    x_d = x_d + step[:, :63].view(1, 21, 3)
    x_d[..., :2] += step[:, None, 63:]
    appearance = reference(
        "appearance_feature_extractor", "AppearanceFeatureExtractor", 3, 64, 2, 512, 32, 16, 6
    )
    sizes = {"estimate_occlusion_map": True, "dense_motion_params": DENSE_MOTION}
    warp = reference("warping_network", "WarpingNetwork", 21, 64, 512, 2, 32, **sizes)
    warped = warp(appearance(source), kp_source=x_s, kp_driving=x_d)
    return reference("spade_generator", "SPADEDecoder", 2, 512, 64, 64, 2)(warped["out"])


def test_a_real_face_moves_as_with_the_reference(clips):
    source = face(clips["astronaut"], 0, 97, 10)
    first, driving = face(clips["jwp_intro"], 0, 132, 70), face(clips["jwp_intro"], 15, 132, 70)
    theirs = reference_picture(source, first, driving)
    engine, settings = LivePortraitEngine(Networks.random(0)), AnimationSettings(lip_zero=False)
    ours = engine.model.animate_crops(source, driving, reference=first, settings=settings)
    assert (ours - theirs).square().mean().sqrt() < 1e-4 * theirs.std()
