"""VIDEO values of ComfyUI's own classes, read as ComfyUI shows them."""

from __future__ import annotations

import json
import subprocess

import pytest
from real_comfyui import PACK

SCRIPT = """
import importlib, json, sys
sys.path[:0] = [".", sys.argv[1]]
import torch
from comfy_api.latest import InputImpl, Types
values = importlib.import_module(sys.argv[2] + ".nodes.host.sockets")

def video(steps):
    made = InputImpl.VideoFromFile(sys.argv[3])
    for start, duration in steps:
        made = made.as_trimmed(start, duration, strict_duration=False)
    return made

def compared(made):
    (clip,) = values.clips(made)
    ours = torch.cat([chunk.frames for chunk in clip.chunks(8)]).float()
    parts = made.get_components()
    theirs = parts.images.mul(255)
    ends = [(ours[k] - theirs[k]).abs().mean().item() for k in (0, -1)]
    beside = [(ours[k] - theirs[other]).abs().mean().item() for k, other in ((0, 1), (-1, -2))]
    rates = [float(rate) for rate in (clip.info.rate, parts.frame_rate)]
    return {"counts": [len(ours), len(theirs)], "ends": ends, "beside": beside, "rates": rates}

found = {str(steps): compared(video(steps)) for steps in json.loads(sys.argv[4])}
parts = video([]).get_components()
made = InputImpl.VideoFromComponents(Types.VideoComponents(
    images=parts.images, audio=parts.audio, frame_rate=parts.frame_rate
))
found["components"] = compared(made)
found["trimmed components"] = compared(made.as_trimmed(0.4, 0.6))
print(json.dumps(found))
"""
TRIMS = [[], [[0.4, 0]], [[0.4, 0.6]], [[-1, 0]], [[-1, 0.5]], [[0.4, 1.2], [0.2, 0.5]]]


def test_a_video_has_the_frames_that_core_gives(comfy):
    arguments = [comfy.base / "custom_nodes", PACK, comfy.base / "input" / "driving.mp4", json.dumps(TRIMS)]
    done = subprocess.run(
        [comfy.python, "-c", SCRIPT, *map(str, arguments)], cwd=comfy.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for steps, found in json.loads(done.stdout.splitlines()[-1]).items():
        ours, theirs = found["counts"]
        assert ours == theirs > 5, steps
        assert found["rates"][0] == pytest.approx(found["rates"][1], rel=1e-3), steps
        # The same frames: their neighbours are not nearer.
        for here, beside in zip(found["ends"], found["beside"], strict=True):
            assert here < 3, steps
            assert here < beside + 0.1, steps
