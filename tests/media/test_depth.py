"""Files of 10 bits a colour: the levels of a ramp pass unchanged."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_clips import encode

from liveportrait_v2v.errors import MediaError, SettingsError
from liveportrait_v2v.media import Clip, Frames, VideoWriter

WIDTH, HEIGHT = 1024, 64
RAMP = np.arange(WIDTH, dtype=np.uint16).clip(64, 940)
"""Luma of every level of 10 bits in limited range."""


def ramp_frame(blue: int = 512, red: int = 512) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
    for plane, levels in zip(frame.planes, (RAMP, [blue], [red]), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)
        rows[:, : plane.width] = levels
    return frame


def ramp_clip(path: Path, count: int = 2) -> Path:
    frames = [ramp_frame() for _ in range(count)]
    options = {"x265-params": "lossless=1:log-level=none"}
    return encode(path, frames, codec="libx265", pix_fmt="yuv420p10le", tags=(1, 1), options=options)


def planes_of(path: Path) -> tuple[list[np.ndarray], av.VideoFrame]:
    """The planes of the first frame of a file of 10 bits, and the frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "yuv420p10le"
    planes = [
        np.frombuffer(memoryview(p), np.uint16).reshape(p.height, -1)[:, : p.width] for p in frame.planes
    ]
    return planes, frame


def test_deep_frames_have_every_level(tmp_path):
    clip = Clip(ramp_clip(tmp_path / "a.mkv"))
    frame = next(clip.chunks(deep=True)).frames[0]
    assert clip.info.depth == 10
    assert frame.dtype == torch.uint16
    levels = np.unique(frame.numpy()[0, :, 1])
    assert len(levels) == 940 - 64 + 1
    assert np.abs(frame.numpy()[0, :, 1] - (RAMP - 64.0) / (940 - 64) * 65280).max() < 10
    rounded = next(clip.chunks()).frames[0].numpy()
    assert np.abs(frame.numpy() / 256 - rounded).max() <= 0.75


def test_a_ramp_of_every_level_passes_a_file_of_ten_bits_unchanged(tmp_path):
    clip = Clip(ramp_clip(tmp_path / "a.mkv"))
    with VideoWriter(tmp_path / "b.mp4", Fraction(25), crf=0, depth=10) as writer:
        for chunk in clip.chunks(deep=True):
            writer.write(chunk.frames)
    (luma, blue, red), frame = planes_of(tmp_path / "b.mp4")
    assert (luma == RAMP).all()
    assert (blue == 512).all()
    assert (red == 512).all()
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)


def test_levels_of_eight_bits_are_the_same_in_both_depths(tmp_path):
    grey = torch.arange(256, dtype=torch.uint8)[None, None, :, None].expand(1, 64, 256, 3)
    for depth in (8, 10):
        with VideoWriter(tmp_path / f"{depth}.mp4", Fraction(25), crf=0, depth=depth) as writer:
            writer.write(grey)
    (luma, _, _), _ = planes_of(tmp_path / "10.mp4")
    assert np.abs(luma[0] - (64 + np.arange(256) * 876 / 255)).max() <= 2  # x264's error at crf 0
    shown = [next(Clip(tmp_path / f"{depth}.mp4").chunks()).frames[0].int() for depth in (8, 10)]
    assert (shown[1] - grey[0]).abs().max() <= 1
    assert (shown[0] - shown[1]).abs().max() <= 1


def test_what_has_eight_bits_is_deep_by_256(tmp_path):
    levels = torch.arange(256, dtype=torch.uint8)[None, None, :, None].expand(1, 4, 256, 3)
    clip = Clip(Frames(levels, Fraction(25)))
    assert clip.info.depth == 8
    assert (next(clip.chunks(deep=True)).frames.int() == levels.int() * 256).all()


def test_hdr_is_tone_mapped_as_deep_as_it_is(tmp_path):
    tags = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none:lossless=1"
    path = encode(
        tmp_path / "a.mkv",
        [ramp_frame()],
        codec="libx265",
        pix_fmt="yuv420p10le",
        tags=(9, 1),
        options={"x265-params": tags},
    )
    clip = Clip(path)
    deep = next(clip.chunks(deep=True)).frames[0].numpy()
    assert np.abs(deep / 256 - next(clip.chunks()).frames[0].numpy()).max() <= 0.51
    assert len(np.unique(deep[0, :, 1])) > 500


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.webm", {}), ("a.mp4", {"encoder": "hardware"})],
)
def test_files_that_hold_no_ten_bits_are_refused(tmp_path, name, options):
    with pytest.raises(SettingsError, match=r"depth=10 is for H.264 in .mp4, .* or depth=8"):
        VideoWriter(tmp_path / name, Fraction(25), depth=10, **options)


def test_a_depth_of_twelve_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="depth must be 8 or 10 bits a colour, got 12"):
        VideoWriter(tmp_path / "a.mp4", Fraction(25), depth=12)


def test_deep_frames_do_not_go_into_a_file_of_eight_bits(tmp_path):
    with (
        pytest.raises(MediaError, match="frames must be uint8"),
        VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer,
    ):
        writer.write(torch.zeros(1, 16, 16, 3, dtype=torch.uint16))
