"""Results of 10 bits a colour: the source's own where nothing is pasted, faces of 8."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from recording_engine import Recorder

from liveportrait_v2v.engines import RenderedFrames
from liveportrait_v2v.engines.base import ALL_OPTIONS
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.media import Clip, Frames, VideoWriter
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

ROWS = 40
"""Of a ramp of ten bits above the faces."""


class Painter(Recorder):
    """An engine that pastes plain grey over the lower half of the face's frame, blended over some rows."""

    def render(self, chunk, driving, masks=False) -> RenderedFrames:
        rendered = super().render(chunk, driving, masks)
        mask = torch.zeros(chunk.frames.shape[:3])
        mask[:, 120:130] = 0.5
        mask[:, 130:] = 1
        frames = chunk.frames.float() * (1 - mask[..., None]) + 100 * mask[..., None]
        return RenderedFrames(frames.round().to(torch.uint8), mask if masks else None, rendered.squares)


@pytest.fixture
def deep_source(faces, tmp_path):
    """A file of ten bits: a ramp of levels that 8 bits don't have, above a face."""
    width = faces.shape[2]
    frames = faces.numpy().astype(np.uint16) * 256
    frames[:, :ROWS] = (20000 + np.arange(width) * 75)[None, None, :, None]
    with VideoWriter(tmp_path / "deep.mp4", Fraction(12), crf=0, depth=10) as writer:
        writer.write(torch.from_numpy(frames))
    return tmp_path / "deep.mp4"


def luma_of(path) -> np.ndarray:
    """Luma of all frames of a file of ten bits, [N, H, W]."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert {frame.format.name for frame in frames} == {"yuv420p10le"}
    rows = [np.frombuffer(memoryview(f.planes[0]), np.uint16).reshape(f.height, -1) for f in frames]
    return np.stack([plane[:, : frame.width] for plane, frame in zip(rows, frames, strict=True)]).astype(int)


def test_what_nothing_was_pasted_over_keeps_its_ten_bits(deep_source, faces, tmp_path):
    driving = Clip(Frames(faces, Fraction(12)))
    result = animate(
        deep_source, driving, engine=Painter(), output=tmp_path / "out.mp4", depth=10, crf=0, chunk=5
    )
    source, shown = luma_of(deep_source), luma_of(tmp_path / "out.mp4")
    assert len(shown) == result.frames == 12
    ramp = shown[:, : ROWS - 8]
    assert np.abs(ramp - source[:, : ROWS - 8]).max() <= 2
    assert len(np.unique(ramp[0, 0])) > 150  # 8 bits have 59 of these levels
    pasted = shown[:, 140:]
    assert np.abs(pasted - (64 + 100 * 876 / 255)).max() <= 4
    assert result.notes == (
        "the source clip has 10 bits a colour; the file has 10 where nothing is pasted, and faces of 8",
    )


@pytest.mark.parametrize("method", ["none", "circle"])
def test_each_frame_has_the_colours_of_the_source_frame_that_is_shown(faces, tmp_path, method):
    frames = faces.numpy().astype(np.uint16) * 256
    frames[:, :ROWS] = (20000 + 100 * np.arange(12))[:, None, None, None]
    with VideoWriter(tmp_path / "deep.mp4", Fraction(12), crf=0, depth=10) as writer:
        writer.write(torch.from_numpy(frames))
    settings = AnimationSettings(video_frame_load_cap=0, mismatch_method=method)
    animate(
        tmp_path / "deep.mp4",
        Clip(Frames(faces[:1].expand(30, -1, -1, -1), Fraction(12))),
        engine=Painter(),
        settings=settings,
        output=tmp_path / "out.mp4",
        depth=10,
        crf=0,
    )
    levels = luma_of(tmp_path / "out.mp4")[:, : ROWS - 8].mean((1, 2))
    stored = 64 + (20000 + 100 * np.arange(12)) * 876 / 65280
    shown = [k % 12 if method == "circle" else min(k, 11) for k in range(30)]
    assert np.abs(levels - stored[shown]).max() < 0.6


def test_without_it_ten_bits_become_eight_and_that_is_noted(deep_source, faces, tmp_path):
    result = animate(
        deep_source, Clip(Frames(faces, Fraction(12))), engine=Painter(), output=tmp_path / "out.mp4"
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert result.notes == ("the source clip has 10 bits a colour; they are rounded to 8",)


def test_ten_bits_of_a_source_of_eight_are_noted(faces, tmp_path):
    clip = Clip(Frames(faces, Fraction(12)))
    result = animate(clip, clip, engine=Painter(), output=tmp_path / "out.mp4", depth=10)
    assert luma_of(tmp_path / "out.mp4").shape[0] == 12
    assert result.notes == (
        "the source clip has 8 bits a colour; the 10 of the file hold no more than these",
    )


def test_a_sink_gets_eight_bits_beside_it(deep_source, faces, tmp_path):
    taken = []
    animate(
        deep_source,
        Clip(Frames(faces, Fraction(12))),
        engine=Painter(),
        output=tmp_path / "out.mp4",
        depth=10,
        sink=lambda rendered: taken.append(rendered.frames),
    )
    assert {frames.dtype for frames in taken} == {torch.uint8}


def test_the_alpha_of_a_source_does_not_go_with_it(faces, tmp_path):
    alpha = torch.full((*faces.shape[:3], 1), 128, dtype=torch.uint8)
    source = Clip(Frames(torch.cat((faces, alpha), 3), Fraction(12)))
    driving = Clip(Frames(faces, Fraction(12)))
    run = {"engine": Painter(), "output": tmp_path / "out.mov", "depth": 10}
    with pytest.raises(SettingsError, match="depth must be 8 to keep the source's alpha, got 10"):
        animate(source, driving, alpha=True, sink=print, **run)
    result = animate(source, driving, **run)
    assert "the source clip has an alpha channel; the result is over black" in result.notes


def test_a_hosted_engine_gives_no_ten_bits(faces, tmp_path):
    class Hosted:
        name, supports = "hosted", ALL_OPTIONS

        def clip(self, source, cancelled=None):
            return Clip(source)

        def animate(self, plan, *, on_state=None, cancelled=None):
            raise AssertionError("nothing is ordered")

    clip = Clip(Frames(faces, Fraction(12)))
    with pytest.raises(
        SettingsError, match=r"depth must be 8 with the hosted engine, .* got 10; take a local"
    ):
        animate(clip, clip, engine=Hosted(), output=tmp_path / "out.mp4", depth=10)
    assert not (tmp_path / "out.mp4").exists()
