"""The command `template`, and motion templates as driving clips."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from made_networks import MadeNetworks

from liveportrait_v2v.cli import main
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.template import read_template
from liveportrait_v2v.media import Clip

MADE = ["--random-weights", "1", "--set", "video_frame_load_cap=4"]


@pytest.fixture(autouse=True)
def made_networks(monkeypatch):
    monkeypatch.setattr(LivePortraitEngine, "random", lambda *_, model: LivePortraitEngine(MadeNetworks()))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_template_is_written_and_drives_instead_of_its_clip(clips, folder, capsys):
    assert main(["template", str(clips["jwp_intro"]), "-o", "t.safetensors", *MADE]) == 0
    assert capsys.readouterr().out == "t.safetensors: 4 frames, 29.97 fps, 0 without a face\n"
    assert len(read_template("t.safetensors")) == 4
    arguments = [str(clips["astronaut"]), "t.safetensors", "-o", "out.mp4", "--engine", "liveportrait", *MADE]
    assert main(["animate", *arguments]) == 0
    assert Clip("out.mp4").info.frame_count == 4


def test_only_json_is_printed(clips, folder, capsys):
    assert main(["template", str(clips["jwp_intro"]), "-o", "t.safetensors", "--json", *MADE]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"output": "t.safetensors", "frames": 4, "frames_without_face": 0, "rate": "2997/100"}


def test_a_published_template_is_converted(folder):
    item = {
        "scale": np.ones((1, 1)),
        "R": np.eye(3)[None],
        "exp": np.zeros((1, 21, 3)),
        "t": np.zeros((1, 3)),
    }
    Path("p.pkl").write_bytes(pickle.dumps({"n_frames": 2, "output_fps": 24, "motion": [item] * 2}))
    assert main(["template", "p.pkl", "-o", "t.safetensors"]) == 0
    template = read_template("t.safetensors")
    assert template.rate == 24
    assert torch.equal(template.motion.rotation, torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["template", "a.mp4", "-o", "t.pkl"], "a motion template must end in .safetensors"),
        (["template", "a.mp4", "-o", "t.safetensors", *MADE], "a.mp4"),
        (
            ["animate", "a.mp4", "a.pkl", "-o", "out.mp4", "--engine", "liveportrait", *MADE],
            "a.pkl: can't be read",
        ),
    ],
)
def test_an_invalid_template_command_is_refused_and_leaves_nothing(folder, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(folder) == []
