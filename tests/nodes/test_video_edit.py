"""Trim and crop of Load Video, as the front ends of newer cores send them."""

from __future__ import annotations

import importlib
import json
from fractions import Fraction

import pytest
import standin_comfyui as standin
import torch
from PIL import Image

from liveportrait_v2v.media import Audio, Clip, VideoWriter

LOAD = {
    "frame_load_cap": 0,
    "skip_first_frames": 0,
    "select_every_nth": 1,
    "force_rate": 0.0,
    "max_side": 0,
}


@pytest.fixture
def module(pack):
    return importlib.import_module(f"{standin.NAME}.nodes.video_edit")


@pytest.fixture
def stripes(host):
    """stripes.mp4, 25 frames of 64x48: column x has the level 4 x of red and green, frame k the level 8 k of blue."""
    with VideoWriter(
        host.base / "input" / "stripes.mp4", Fraction(25), audio=Audio(torch.rand(2, 44100), 44100), crf=1
    ) as writer:
        for k in range(25):
            frame = torch.zeros(1, 48, 64, 3, dtype=torch.uint8)
            frame[..., :2] = (4 * torch.arange(64))[None, None, :, None]
            frame[..., 2] = 8 * k
            writer.write(frame)


def load(nodes, file="stripes.mp4", **options):
    video, audio, _, count, report = nodes.LoadVideo.execute(file, **{**LOAD, **options}).args
    return Clip(video.get_stream_source()), audio, count, report


def corner(clip) -> list[int]:
    """Level of green of the first column of the first frame, and the number of this frame."""
    pixel = next(clip.chunks(1)).frames[0, :, 0].float().mean(0)
    return [round(pixel[1].item()), round(pixel[2].item() / 8)]


def edit(trim=(0, 0), crop=(0, 0, 0, 0)) -> dict:
    return {
        "trim": dict(zip(("start_time", "duration"), trim, strict=True)),
        "crop": dict(zip(("x", "y", "width", "height"), crop, strict=True)),
    }


def test_cores_that_have_the_widget_get_it_as_the_last_input(module, pack, monkeypatch):
    assert module.edit_input() == []
    monkeypatch.setattr(module.io, "VideoEdit", standin._kind("VideoEdit", "VIDEO_EDIT"), raising=False)
    loading = importlib.import_module(f"{standin.NAME}.nodes.load_video").LoadVideo
    last = loading.define_schema().inputs[-1]
    assert (last.id, last.io_type, last.optional, last.advanced) == ("edit", "VIDEO_EDIT", True, None)


@pytest.mark.parametrize("value", [None, {}, "image", edit(), {"trim": {"start_time": 0.0, "duration": 0.0}}])
def test_zeros_pass_the_file_on(nodes, host, stripes, value):
    clip, _, count, _ = load(nodes, edit=value)
    assert (clip.path, count) == (host.base / "input" / "stripes.mp4", 25)


def test_a_trim_takes_a_part_with_its_sound(nodes, stripes):
    clip, audio, count, report = load(nodes, edit=edit(trim=(0.2, 0.4)))
    assert (count, clip.info.frame_count, corner(clip)[1]) == (10, 10, 5)
    assert audio["waveform"].shape[-1] == round(0.4 * audio["sample_rate"])
    assert report.startswith("10 frames, 64x48")


def test_a_trim_without_a_duration_goes_to_the_end(nodes, stripes):
    assert load(nodes, edit=edit(trim=(0.6, 0)))[2] == 10


def test_the_other_options_apply_to_what_the_trim_leaves(nodes, stripes):
    clip, _, count, _ = load(nodes, edit=edit(trim=(0.2, 0.4)), skip_first_frames=2, frame_load_cap=3)
    assert (count, corner(clip)[1]) == (3, 7)


def test_a_crop_takes_a_part_of_each_frame_at_even_places(nodes, stripes):
    clip, _, count, report = load(nodes, edit=edit(crop=(33, 5, 21, 31)))
    assert (clip.info.width, clip.info.height, count) == (20, 30, 25)
    assert corner(clip)[0] == pytest.approx(4 * 32, abs=6)
    assert report.startswith("25 frames, 20x30")


def test_a_crop_is_scaled_down_to_the_longest_side(nodes, stripes):
    clip, *_ = load(nodes, edit=edit(crop=(32, 8, 32, 40)), max_side=20)
    assert (clip.info.width, clip.info.height) == (16, 20)
    assert corner(clip)[0] == pytest.approx(4 * 32, abs=8)


def test_a_crop_reaches_no_further_than_the_frame(nodes, stripes):
    clip, *_ = load(nodes, edit=edit(crop=(32, 8, 500, 500)))
    assert (clip.info.width, clip.info.height) == (32, 40)


def test_a_crop_of_a_picture_is_a_picture(nodes, host):
    Image.linear_gradient("L").convert("RGB").save(host.base / "input" / "still.png")
    clip, _, count, report = load(nodes, "still.png", edit=edit(trim=(1, 1), crop=(10, 100, 60, 50)))
    assert (clip.info.is_still, clip.info.width, clip.info.height, count) == (True, 60, 50, 1)
    assert next(clip.chunks(1)).frames[0, 0, 0, 0] == 100
    assert report == "a picture, 60x50: loaded as one frame, without sound"


def test_a_crop_outside_of_the_frame_is_an_error_with_the_numbers(nodes, stripes):
    with pytest.raises(Exception, match="inside of the clip's 64x48, and it is 20x20 at 64, 0: draw it anew"):
        load(nodes, edit=edit(crop=(64, 0, 20, 20)))


@pytest.mark.parametrize(
    "value",
    [
        "text",
        [1],
        {"trim": 3},
        {"crop": [1, 2, 3, 4]},
        edit(trim=(-1, 0)),
        edit(trim=("1e999999999", 0)),
        edit(trim=(float("nan"), 0)),
        edit(crop=(0, 0, float("inf"), 5)),
        edit(crop=(True, 0, 5, 5)),
    ],
)
def test_what_no_widget_sends_is_an_error(nodes, stripes, value):
    with pytest.raises(Exception, match="edit: start_time and duration of its trim"):
        load(nodes, edit=value)


def test_the_look_before_a_run_knows_the_edit(pack, host, stripes):
    loading = importlib.import_module(f"{standin.NAME}.nodes.load_video")
    asked = {"file": "stripes.mp4", **{name: str(value) for name, value in LOAD.items()}}
    asked["edit"] = json.dumps(edit(trim=(0.2, 0.4), crop=(32, 8, 32, 40)))
    assert loading._preview(asked) == "10 frames, 32x40, 25 fps, 0.40 s of 25 frames in 1.00 s"
