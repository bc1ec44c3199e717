"""The LivePortrait networks inside a real ComfyUI, with random weights."""

from __future__ import annotations

import torch
from real_comfyui import prompt_of

from liveportrait_v2v.media import Clip


def load_model(key: str, **options):
    widgets = {"weights": "auto", "precision": "auto", "compile": False, "download": False}
    return key, "LPV2V_LoadModel", {**widgets, **options}


def test_without_weights_the_node_says_where_it_looked_and_what_to_do(comfy):
    run = comfy.run(
        prompt_of(
            load_model("1"),
            ("2", "LoadVideo", {"file": "source.mp4"}),
            (
                "3",
                "LPV2V_AnimateLocal",
                {"source": ("2", 0), "driving": ("2", 0), "model": ("1", 0), "frames": True},
            ),
            ("4", "PreviewImage", {"images": ("3", 0)}),
        )
    )
    assert run.status == "error"
    assert str(comfy.base) not in run.error
    assert "into models/liveportrait" in run.error
    assert "switch `download` on" in run.error


def test_the_networks_animate_the_face_and_leave_the_rest_alone(comfy, weights):
    run = comfy.run(
        prompt_of(
            load_model("1"),
            ("2", "LPV2V_LoadVideo", _loading("source.mp4", 2)),
            ("3", "LPV2V_LoadVideo", _loading("driving.mp4", 2)),
            (
                "4",
                "LPV2V_AnimateLocal",
                {"source": ("2", 0), "driving": ("3", 0), "model": ("1", 0), "frames": True},
            ),
            (
                "5",
                "SaveVideo",
                {"video": ("4", 2), "filename_prefix": "local", "format": "auto", "codec": "auto"},
            ),
        ),
        seconds=400,
    )
    assert run.status == "success", run.error
    result, source = (
        Clip(comfy.file(run.outputs["5"]["images"][0])),
        Clip(comfy.base / "input" / "source.mp4"),
    )
    made, given = (
        torch.cat([chunk.frames for chunk in clip.chunks(cap=2)]).float() for clip in (result, source)
    )
    change = (made - given).abs().mean((0, 3))
    assert result.info.frame_count == 2
    assert change[:, :40].mean() < 3
    assert change.max() > 40


def test_a_face_that_a_box_gives_is_animated_upscaled_and_pasted_back(comfy, weights):
    run = comfy.run(
        prompt_of(
            load_model("1"),
            ("2", "LPV2V_LoadVideo", _loading("source.mp4", 2)),
            ("3", "LPV2V_LoadVideo", _loading("driving.mp4", 2)),
            ("4", "PrimitiveBoundingBox", {"x": 100, "y": 200, "width": 60, "height": 60}),
            (
                "5",
                "LPV2V_AnimateLocal",
                {
                    "source": ("2", 0),
                    "driving": ("3", 0),
                    "model": ("1", 0),
                    "frames": True,
                    "boxes": ("4", 0),
                },
            ),
            ("6", "ImageScaleBy", {"image": ("5", 8), "upscale_method": "bilinear", "scale_by": 2.0}),
            ("7", "LPV2V_PasteBack", {"clip": ("5", 0), "crops": ("6", 0), "placement": ("5", 7)}),
            (
                "8",
                "SaveVideo",
                {"video": ("7", 2), "filename_prefix": "boxed", "format": "auto", "codec": "auto"},
            ),
            ("9", "PreviewAny", {"source": ("5", 5)}),
        ),
        seconds=400,
    )
    assert run.status == "success", run.error
    assert "source face in the box: 60x60 pixels at 100, 200 in frame 0" in run.outputs["9"]["text"][0]
    made, given = (
        torch.cat([chunk.frames for chunk in clip.chunks(cap=2)]).float()
        for clip in (
            Clip(comfy.file(run.outputs["8"]["images"][0])),
            Clip(comfy.base / "input" / "source.mp4"),
        )
    )
    change = (made - given).abs().mean((0, 3))
    assert change[200:250, 100:150].mean() > 10
    assert change[:100, 400:].mean() < 3


def test_the_networks_motion_is_recorded_with_the_model_and_leads_animate_local(comfy, weights):
    run = comfy.run(
        prompt_of(
            load_model("1"),
            ("2", "LPV2V_LoadVideo", _loading("driving.mp4", 2)),
            ("3", "LPV2V_LoadVideo", _loading("source.mp4", 2)),
            (
                "4",
                "LPV2V_RecordMotion",
                {
                    "driving": ("2", 0),
                    "engine": "liveportrait",
                    "filename_prefix": "motion/networks",
                    "model": ("1", 0),
                },
            ),
            (
                "5",
                "LPV2V_AnimateLocal",
                {"source": ("3", 0), "driving": ("4", 0), "model": ("1", 0), "frames": False},
            ),
            (
                "6",
                "SaveVideo",
                {"video": ("5", 2), "filename_prefix": "networks", "format": "auto", "codec": "auto"},
            ),
        ),
        seconds=400,
    )
    assert run.status == "success", run.error
    assert Clip(comfy.file(run.outputs["6"]["images"][0])).info.frame_count == 2
    assert "motion for the liveportrait engine: 2 frames" in run.outputs["4"]["lpv2v_report"][0]


def _loading(file: str, cap: int) -> dict:
    return {
        "file": file,
        "frame_load_cap": cap,
        "skip_first_frames": 0,
        "select_every_nth": 1,
        "force_rate": 0.0,
        "max_side": 0,
    }
