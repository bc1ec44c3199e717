"""The command `demo`: the result, and the side-by-side clip."""

from __future__ import annotations

import os
from fractions import Fraction

import pytest

from liveportrait_v2v.cli import main
from liveportrait_v2v.media import Clip, VideoWriter


@pytest.fixture
def demo(clips, tmp_path):
    """A demo folder: eight frames of a source clip, ten frames with audio of a driving clip."""
    for name, clip, frames in (("source", "single_face", 8), ("driving", "jwp_intro", 10)):
        original = Clip(clips[clip])
        audio = original.audio(Fraction(frames) / original.info.rate) if name == "driving" else None
        with VideoWriter(tmp_path / f"{name}.mp4", original.info.rate, audio=audio) as writer:
            for chunk in original.chunks(8, cap=frames):
                writer.write(chunk.frames)
    return tmp_path


def test_the_demo_writes_the_result_and_a_side_by_side_clip_and_prints_their_paths(demo, capsys):
    assert main(["demo", "--dir", str(demo)]) == 0
    printed = capsys.readouterr().out
    result, together = Clip(demo / "result.mp4").info, Clip(demo / "side_by_side.mp4").info
    assert (result.width, result.height, result.frame_count) == (640, 360, 8)
    assert (together.width, together.height, together.frame_count) == (480 + 640 + 640, 360, 8)
    assert result.audio is not None
    assert together.audio is not None
    assert together.rate == result.rate == Fraction(30)
    assert f"{demo / 'result.mp4'}: 8 frames, 640x360, 30 fps, 0.27 s, audio of the driving clip" in printed
    assert f"{demo / 'side_by_side.mp4'}" in printed
    assert sorted(os.listdir(demo)) == ["driving.mp4", "result.mp4", "side_by_side.mp4", "source.mp4"]


def test_the_panels_show_driving_source_and_result_from_left_to_right(demo):
    assert main(["demo", "--dir", str(demo)]) == 0
    together = next(Clip(demo / "side_by_side.mp4").chunks(1)).frames[0].float()
    for name, left in (("source", 480), ("result", 480 + 640)):
        shown = together[40:, left : left + 640]
        clip = next(Clip(demo / f"{name}.mp4").chunks(1)).frames[0].float()[40:]
        assert (shown - clip).abs().mean() < 4
    assert (together[40:, 480:1120] - together[40:, :640]).abs().mean() > 20
