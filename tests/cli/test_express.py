"""Expressions from the command line: `express`, `--expression` and the key in a file of roles."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from liveportrait_v2v.cli import main
from liveportrait_v2v.cli.express import parse_channels
from liveportrait_v2v.cli.roles import read_roles
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.expression import Expression
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

EXAMPLES = Path(__file__).parents[2] / "examples"
NOD = Expression.keyed({0: {"rotate_pitch": 0}, 0.2: {"rotate_pitch": 10}})


@pytest.fixture
def picture() -> str:
    return str(EXAMPLES / "example_picture.jpg")


@pytest.fixture
def source(folder) -> str:
    """Six frames of an example clip, beside the working directory."""
    path = folder.parent / "source.mp4"
    with VideoWriter(path, Fraction(25), crf=10) as writer:
        writer.write(next(Clip(EXAMPLES / "example_source.mp4").chunks(6)).frames)
    return str(path)


def refusal(capsys, *arguments: str) -> str:
    """Run a command that must fail with exit code 2, and return its one line of message."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err


def test_a_picture_gives_a_picture(folder, picture, capsys):
    assert (
        main(["express", picture, "-o", "out.png", "--set-channel", "aaa=80", "--set-channel", "smile=0.5"])
        == 0
    )
    printed = capsys.readouterr()
    assert printed.out.startswith("out.png: 1 frames, 350x350")
    assert "source face 0" in printed.out
    assert printed.err == ""
    assert os.listdir(folder) == ["out.png"]
    before, after = Clip(picture), Image.open("out.png")
    assert (after.format, after.size) == ("PNG", before.output_size())
    changed = torch.frombuffer(bytearray(after.tobytes()), dtype=torch.uint8).view(350, 350, 3)
    assert ((changed.int() - next(before.chunks(1)).frames[0].int()).abs() > 50).any()


def test_without_any_change_a_picture_keeps_its_pixels(folder, picture):
    assert main(["express", picture, "-o", "out.png", "--set-channel", "aaa=0"]) == 0
    after = torch.frombuffer(bytearray(Image.open("out.png").tobytes()), dtype=torch.uint8).view(350, 350, 3)
    assert torch.equal(after, next(Clip(picture).chunks(1)).frames[0])


def test_keyframes_of_a_picture_give_a_clip(folder, picture, capsys):
    Path("nod.json").write_text(NOD.to_json())
    arguments = [
        "express",
        picture,
        "-o",
        "out.mp4",
        "--expression",
        "nod.json",
        "--set",
        "dsize=128",
        "--json",
    ]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["rate"], result["driving_rate"]) == (6, "25", None)
    assert Clip("out.mp4").info.frame_count == 6


def test_a_clip_is_edited_throughout(folder, source, capsys):
    assert main(["express", source, "-o", "out.mp4", "--set-channel", "woo=10", "--set", "dsize=128"]) == 0
    assert capsys.readouterr().out.startswith("out.mp4: 6 frames")


def test_channels_of_the_command_are_added_to_those_of_the_file(folder):
    both = Expression.constant(smile=0.5) + parse_channels(["smile=0.3", "aaa=7", "aaa=9"])
    assert both.at(0) == pytest.approx({"smile": 0.8, "aaa": 9})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "express takes --set-channel or --expression, got neither"),
        (["--set-channel", "smile"], "--set-channel takes name=value, got 'smile'"),
        (["--set-channel", "smile=wide"], "smile must be a number from -0.3 to 1.3, got 'wide'"),
        (["--set-channel", "smile=nan"], "smile must be a number from -0.3 to 1.3, got nan"),
        (["--set-channel", "grin=1"], "unknown channel 'grin'; known are rotate_pitch"),
        (
            ["--set-channel", "aaa=9", "--engine", "segmind"],
            "--engine must be draft or liveportrait, got 'segmind'",
        ),
        (
            ["--set-channel", "aaa=9", "--random-weights", "1"],
            "--random-weights needs --engine liveportrait, got draft",
        ),
        (["--expression", "none.json"], "none.json: can't be read"),
        (["--set-channel", "aaa=9", "--set", "driving_audio=true"], "driving_audio needs a driving clip"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_a_wrong_command_is_refused_with_the_rule(folder, picture, capsys, more, message):
    assert message in refusal(capsys, "express", picture, "-o", "out.png", *more)
    assert os.listdir(folder) == []


def test_a_picture_of_several_frames_is_refused(folder, picture, source, capsys):
    Path("nod.json").write_text(NOD.to_json())
    line = refusal(capsys, "express", picture, "-o", "out.png", "--expression", "nod.json")
    assert "out.png: a picture has one frame, and the result has 6; give the output a name in .mp4" in line
    assert "has 6" in refusal(capsys, "express", source, "-o", "out.jpg", "--set-channel", "aaa=9")


def test_an_expression_file_is_no_output(folder, picture, capsys):
    Path("e.json").write_text(NOD.to_json())
    assert "is an input too" in refusal(capsys, "express", picture, "-o", "e.json", "--expression", "e.json")


def test_animate_adds_an_expression_to_the_driving_motion(folder, source, capsys):
    Path("e.json").write_text(Expression.constant(aaa=90).to_json())
    frames = []
    for words in ([], ["--expression", "e.json"]):
        arguments = ["animate", source, source, "-o", "out.mp4", "--set", "dsize=128", *words]
        assert main(arguments) == 0
        frames.append(next(Clip("out.mp4").chunks(6)).frames.int())
    assert ((frames[0] - frames[1]).abs().amax((1, 2, 3)) > 50).all()


def test_animate_with_roles_takes_the_expression_of_each(folder, source, capsys):
    Path("e.json").write_text(Expression.constant(aaa=90).to_json())
    Path("roles.json").write_text(json.dumps({"roles": [{"expression": "e.json"}]}))
    line = refusal(
        capsys, "animate", source, "-o", "o.mp4", "--roles", "roles.json", "--expression", "e.json"
    )
    assert "--expression goes with DRIVING or --face; in a file of roles, give each role its own" in line
    assert main(["animate", source, "-o", "out.mp4", "--roles", "roles.json", "--set", "dsize=128"]) == 0
    assert Clip("out.mp4").info.frame_count == 6


def roles_of(*roles: dict) -> list:
    Path("roles.json").write_text(json.dumps({"roles": roles}))
    return read_roles(Path("roles.json"), AnimationSettings(), MotionOptions())


def test_a_role_in_a_file_has_an_expression_as_an_object_or_a_path(folder):
    Path("e.json").write_text(NOD.to_json())
    first, second = roles_of(
        {"expression": "e.json"}, {"driving": "a.mp4", "source_face": 1, "expression": {"smile": 0.5}}
    )
    assert (first.driving, first.expression) == (None, NOD)
    assert second.expression == Expression.constant(smile=0.5)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        (
            {"expression": {"version": 1, "layers": [{"channels": {"aaa": 500}}]}},
            r"role 1 \(expression\): layer 1: aaa",
        ),
        ({"expression": 3}, r"role 1 \(expression\): an expression must be an object, got 3"),
        (
            {"driving": None, "expression": {"smile": 1}},
            r'"driving" must be the path of a clip, or be left out beside',
        ),
        (
            {"source_face": 0},
            r'"driving" must be the path of a clip, or be left out beside "expression", got None',
        ),
    ],
)
def test_a_wrong_expression_of_a_role_is_refused_by_its_name(folder, role, message):
    with pytest.raises(SettingsError, match=message):
        roles_of(role)


class TestDocumentation:
    """The examples of docs/expression.md."""

    page = (EXAMPLES.parent / "docs" / "expression.md").read_text(encoding="utf-8")

    def blocks(self, kind: str) -> list[str]:
        return re.findall(rf"```{kind}\n(.*?)```", self.page, re.DOTALL)

    @pytest.fixture
    def files(self, folder, source, picture) -> Path:
        """The files that the examples name, in the working directory."""
        nod, roles, _ = self.blocks("json")
        Path("nod.json").write_text(nod)
        Path("roles.json").write_text(roles)
        shutil.copy(picture, "portrait.jpg")
        shutil.copy(source, "talk.mp4")
        shutil.copy(source, "driving.mp4")
        return folder

    def test_the_commands_run(self, files):
        lines = [line for block in self.blocks("sh") for line in block.splitlines()]
        assert len(lines) == 4
        for line in lines:
            name, *arguments = shlex.split(line)
            assert name == "liveportrait-v2v"
            assert main([*arguments, "--set", "dsize=128"]) == 0
        assert {path.name for path in files.iterdir()} > {
            "smiling.png",
            "nodding.mp4",
            "calm.mp4",
            "both.mp4",
        }

    def test_the_python_example_runs(self, files):
        (example,) = self.blocks("python")
        subprocess.run(
            [sys.executable, "-c", example],
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def test_the_files_are_read(self, files):
        *_, commands = self.blocks("json")
        assert Expression.read("nod.json").end == 0.5
        assert [
            role.driving for role in read_roles(Path("roles.json"), AnimationSettings(), MotionOptions())
        ] == [
            "driving.mp4",
            None,
        ]
        assert Expression.from_json(commands).end == pytest.approx(35 / 25)
        (sliders,) = re.findall(r"`(\{\"rotate_yaw.*?\})`", self.page)
        assert Expression.from_json(sliders).at(0) == {"rotate_yaw": 5, "smile": 0.4, "source": 0.9}
