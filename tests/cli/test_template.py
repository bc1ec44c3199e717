"""The command `template`, and motion templates as driving clips."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from made_networks import MadeNetworks

from liveportrait_v2v.cli import main
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.templates import read_template

EXAMPLES = Path(__file__).parents[2] / "examples"
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
    assert capsys.readouterr().out == (
        "t.safetensors: 4 frames, 29.97 fps, 0 without a face\n"
        "the template has the first 4 of the clip's 173 frames; raise video_frame_load_cap (0 = all) for more\n"
    )
    assert len(read_template("t.safetensors")) == 4
    arguments = [str(clips["astronaut"]), "t.safetensors", "-o", "out.mp4", "--engine", "liveportrait", *MADE]
    assert main(["animate", *arguments]) == 0
    assert Clip("out.mp4").info.frame_count == 4


def test_the_draft_s_template_gives_the_frames_that_its_clip_gives(clips, folder):
    cap, frames = ["--set", "video_frame_load_cap=4"], []
    clip = str(clips["jwp_intro"])
    assert main(["template", clip, "-o", "t.safetensors", "--engine", "draft", *cap]) == 0
    for driving in (clip, "t.safetensors"):
        assert main(["animate", str(clips["astronaut"]), driving, "-o", "out.mp4", *cap]) == 0
        frames.append(next(Clip("out.mp4").chunks(8)).frames)
    assert len(frames[0]) == 4
    assert torch.equal(*frames)


def test_only_json_is_printed(clips, folder, capsys):
    assert main(["template", str(clips["jwp_intro"]), "-o", "t.safetensors", "--json", *MADE]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "output": "t.safetensors",
        "engine": "liveportrait",
        "frames": 4,
        "frames_without_face": 0,
        "rate": "2997/100",
    }


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


def test_motion_of_one_engine_is_not_recorded_for_another(folder, capsys):
    item = {"scale": np.ones((1, 1)), "R": np.eye(3), "exp": np.zeros((21, 3)), "t": np.zeros(3)}
    Path("p.pkl").write_bytes(pickle.dumps({"motion": [item] * 2}))
    assert main(["template", "p.pkl", "-o", "t.safetensors", "--engine", "draft"]) == 2
    assert "has motion of the liveportrait engine, got --engine draft" in capsys.readouterr().err
    assert main(["animate", "a.mp4", "p.pkl", "-o", "out.mp4", "--engine", "segmind"]) == 2
    assert os.listdir(folder) == ["p.pkl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["template", "a.mp4", "-o", "t.pkl"], "a motion template must end in .safetensors"),
        (["template", "a.mp4", "-o", "t.safetensors", *MADE], "a.mp4"),
        (
            ["template", "a.mp4", "-o", "t.safetensors", "--engine", "segmind"],
            "liveportrait, draft, got 'segmind'",
        ),
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


class TestDocumentation:
    """The examples of docs/motion.md."""

    page = (EXAMPLES.parent / "docs" / "motion.md").read_text(encoding="utf-8")

    @pytest.fixture
    def files(self, folder) -> Path:
        """The files that the examples name, in the working directory."""
        shutil.copy(EXAMPLES / "example_picture.jpg", "portrait.jpg")
        for name, example in (("driving", "example_driving"), ("talk", "example_source")):
            with VideoWriter(f"{name}.mp4", Fraction(25)) as writer:
                writer.write(next(Clip(EXAMPLES / f"{example}.mp4").chunks(6)).frames)
        return folder

    def test_the_commands_run(self, files):
        (block,) = re.findall(r"```sh\n(.*?)```", self.page, re.DOTALL)
        for line in block.splitlines():
            name, *arguments = shlex.split(line)
            assert name == "liveportrait-v2v"
            assert main([*arguments, "--set", "dsize=128"]) == 0
        assert {path.name for path in files.iterdir()} > {"nod.safetensors", "nodding.mp4", "both.mp4"}

    def test_the_python_example_runs(self, files):
        (example,) = re.findall(r"```python\n(.*?)```", self.page, re.DOTALL)
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
        subprocess.run([sys.executable, "-c", example], check=True, env=environment)
