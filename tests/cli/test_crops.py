"""Commands `crop` and `paste`, and the mask of `animate`."""

from __future__ import annotations

import json
import os

import pytest
import torch

from liveportrait_v2v.cli import main
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.placement import Placement

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def source(clips, folder):
    """Twelve frames of a face, with sound."""
    clip = Clip(clips["jwp_intro"])
    rate = clip.info.rate
    with VideoWriter(folder / "source.mp4", rate, audio=clip.stream_audio(12 / rate)) as writer:
        writer.write(next(clip.chunks(12)).frames)
    return "source.mp4"


CROP = ["-o", "crops.mp4", "--placement", "p.safetensors", "--set", "dsize=256"]


def frames_of(path: str) -> torch.Tensor:
    return torch.cat([chunk.frames for chunk in Clip(path).chunks()])


def test_crops_are_pasted_back_into_the_clip_with_its_sound(source, folder, capsys):
    assert main(["crop", source, *CROP, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"output": "crops.mp4", "placement": "p.safetensors", "crops": 12, "frames": 12}
    assert frames_of("crops.mp4").shape == (12, 256, 256, 3)
    assert main(["paste", source, "crops.mp4", "--placement", "p.safetensors", "-o", "out.mp4"]) == 0
    assert "out.mp4: 12 frames, 12 crops pasted" in capsys.readouterr().out
    info = Clip("out.mp4").info
    assert (info.frame_count, info.rate) == (12, Clip(source).info.rate)
    assert info.audio is not None
    assert (frames_of("out.mp4").int() - frames_of(source).int()).abs().float().mean() < 3
    assert sorted(os.listdir(folder)) == ["crops.mp4", "out.mp4", "p.safetensors", "source.mp4"]


def test_a_mask_says_what_is_pasted(source, folder):
    assert main(["crop", source, *CROP]) == 0
    with VideoWriter("black.mp4", Clip(source).info.rate) as writer:
        writer.write(torch.zeros(12, 64, 64, 3, dtype=torch.uint8))
    with VideoWriter("left.mp4", Clip(source).info.rate) as writer:
        left = torch.zeros(12, 64, 64, 3, dtype=torch.uint8)
        left[:, :, :32] = 255
        writer.write(left)
    paste = [
        "paste",
        source,
        "black.mp4",
        "--placement",
        "p.safetensors",
        "--mask",
        "left.mp4",
        "-o",
        "out.mp4",
    ]
    assert main(paste) == 0
    x, y = Placement.read("p.safetensors").squares.center[0].int().tolist()
    frame = frames_of("out.mp4")[0].float()
    assert frame[y, x - 40].max() < 24
    assert (frame[y, x + 40] - frames_of(source)[0, y, x + 40].float()).abs().max() < 24


def test_a_mask_file_of_an_animation_shows_what_was_pasted(source, clips, folder):
    arguments = ["animate", source, str(clips["single_face"]), "-o", "out.mp4", "--mask-output", "mask.mp4"]
    assert main([*arguments, "--set", "dsize=128"]) == 0
    mask = frames_of("mask.mp4").float()
    assert mask.shape[1:3] == frames_of("out.mp4").shape[1:3]
    assert mask[0].max() > 240
    assert mask[0, :8, :8].max() < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["crop", "source.mp4", "-o", "crops.mp4", "--placement", "p.txt"],
            "a placement must end in .safetensors",
        ),
        (["crop", "source.mp4", "-o", "source.mp4", "--placement", "p.safetensors"], "would be overwritten"),
        (
            ["paste", "source.mp4", "source.mp4", "--placement", "none.safetensors", "-o", "out.mp4"],
            "can't be read",
        ),
    ],
)
def test_wrong_arguments_are_said_in_a_line(source, folder, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(folder) == ["source.mp4"]


def test_no_file_is_left_where_there_is_no_face(folder, capsys):
    with VideoWriter("grey.mp4", 25) as writer:
        writer.write(torch.full((3, 96, 128, 3), 128, dtype=torch.uint8))
    assert main(["crop", "grey.mp4", *CROP]) == 2
    assert "found nowhere" in capsys.readouterr().err
    assert os.listdir(folder) == ["grey.mp4"]


def test_a_face_that_is_given_by_a_box_is_cropped(source, folder, capsys):
    assert main(["crop", source, *CROP, "--box", "0.3,0.2,0.3,0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["crops"] == 12
    (folder / "boxes.json").write_text(json.dumps([[{"x": 200, "y": 80, "width": 200, "height": 200}]] * 12))
    assert main(["crop", source, *CROP, "--boxes", "boxes.json"]) == 0
    squares = Placement.read("p.safetensors").squares
    assert squares.side[0].item() == pytest.approx(2.3 * 200)
    # Shifted up by vy_ratio, -0.125 sides.
    assert squares.center[0].tolist() == pytest.approx([300, 180 - 0.125 * 2.3 * 200], abs=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "--box takes X,Y,W,H, four numbers, got '1,2,3'"),
        (["--box", "1,2,0,4"], "a box must have a width and a height above 0"),
        (["--box", "a,b,c,d"], "--box takes X,Y,W,H, four numbers, got 'a,b,c,d'"),
        (["--box", "1,2,3,4", "--boxes", "b.json"], "give one of --box and --boxes"),
        (["--boxes", "none.json"], "none.json: can't be read"),
    ],
)
def test_boxes_of_another_form_are_refused(source, options, message, capsys):
    assert main(["crop", source, *CROP, *options]) == 2
    assert message in capsys.readouterr().err
