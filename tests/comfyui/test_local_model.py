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


def _loading(file: str, cap: int) -> dict:
    return {
        "file": file,
        "frame_load_cap": cap,
        "skip_first_frames": 0,
        "select_every_nth": 1,
        "force_rate": 0.0,
        "max_side": 0,
    }
