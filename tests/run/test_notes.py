"""Notes of a result: what it lacks or changes of what came in."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from recording_engine import Recorder

from liveportrait_v2v.media import Audio, Clip, Frames, VideoWriter
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow


def test_what_the_audio_codec_changes_is_noted(faces, tmp_path):
    audio = Audio(torch.zeros(4, 192000), 192000, "3.1")
    clip = Clip(Frames(faces, Fraction(12), audio))
    result = animate(clip, clip, engine=Recorder(), output=tmp_path / "a.mp4")
    assert result.notes == (
        "audio in 3.1 becomes 5.1 in .mp4",
        "audio of 192000 Hz is resampled to 96000 Hz in .mp4",
    )
    assert result.to_dict()["notes"] == list(result.notes)
    assert animate(clip, clip, engine=Recorder()).notes == ()


def peak_memory() -> int:
    """Peak memory of this process in bytes since the last call."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    Path("/proc/self/clear_refs").write_text("5")
    return int(peak) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_time_that_a_file_states(faces, tmp_path):
    def run(seconds: int) -> int:
        path = tmp_path / f"{seconds}.mkv"
        rate = Fraction(1, seconds)
        audio = replace(Audio(torch.zeros(1, 8000), 44100).stream(), count=44100 * 2 * seconds)
        with VideoWriter(path, rate, audio=audio) as writer:
            writer.write(faces[:2])
        assert path.stat().st_size < 100_000
        peak_memory()
        settings = AnimationSettings(video_frame_load_cap=0)
        result = animate(
            path, path, engine=Recorder(), settings=settings, output=tmp_path / f"{seconds}_out.mp4"
        )
        assert (result.frames, result.duration) == (2, 2 * seconds)
        assert result.audio.count == 44100 * 2 * seconds
        return peak_memory()

    before = run(1)
    assert run(200_000) - before < 100e6


@pytest.fixture
def cut_out(faces) -> Clip:
    """A face whose right part is transparent."""
    alpha = torch.full((*faces.shape[:3], 1), 255, dtype=torch.uint8)
    alpha[:, :, 150:] = 0
    return Clip(Frames(torch.cat((faces, alpha), 3), Fraction(12)))


def transparent(frames: torch.Tensor) -> tuple[float, float]:
    """Mean alpha of the opaque and of the transparent part of RGBA frames."""
    return frames[:, :, :148, 3].float().mean().item(), frames[:, :, 152:, 3].float().mean().item()


@pytest.mark.parametrize("name", ["a.webm", "a.mov"])
def test_alpha_is_kept_in_a_file_that_can_hold_it(cut_out, tmp_path, name):
    result = animate(cut_out, cut_out, engine=Recorder(), output=tmp_path / name)
    assert not any("alpha" in note for note in result.notes)
    frames = next(Clip(tmp_path / name).chunks(result.frames, alpha=True)).frames
    opaque, clear = transparent(frames)
    assert opaque > 252
    assert clear < 3


def test_alpha_over_black_is_noted(cut_out, tmp_path):
    result = animate(cut_out, cut_out, engine=Recorder(), output=tmp_path / "a.mp4")
    assert result.notes == ("the source clip has an alpha channel; the result is over black",)
    assert next(Clip(tmp_path / "a.mp4").chunks()).frames[:, :, 152:].float().mean() < 3


@pytest.mark.parametrize("method", ["none", "circle"])
def test_a_sink_that_asks_for_alpha_gets_that_of_the_frame_that_is_shown(faces, tmp_path, method):
    alpha = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(*faces.shape[:3], 1)
    source = Clip(Frames(torch.cat((faces, alpha), 3), Fraction(12)))
    driving = Clip(Frames(faces[:1].expand(30, -1, -1, -1), Fraction(12)))
    got: list[torch.Tensor] = []
    settings = AnimationSettings(video_frame_load_cap=0, mismatch_method=method)
    result = animate(
        source,
        driving,
        engine=Recorder(),
        settings=settings,
        output=tmp_path / "a.mp4",
        alpha=True,
        sink=lambda rendered: got.append(rendered.frames),
    )
    shown = [k % 12 if method == "circle" else min(k, 11) for k in range(30)]
    assert torch.cat(got)[:, 0, 0, 3].tolist() == shown
    assert result.notes == ("the source clip has an alpha channel; the file is over black",)


def test_frames_that_can_not_be_decoded_are_noted(faces, tmp_path):
    class Damaged(Clip):
        damage = ("has 1 frame that can't be decoded; what is before is shown there",)

    source = Damaged(Frames(faces, Fraction(12)))
    result = animate(source, Clip(Frames(faces, Fraction(12))), engine=Recorder())
    assert result.notes == (
        "the source clip has 1 frame that can't be decoded; what is before is shown there",
    )


def test_sides_that_a_file_makes_even_are_noted(faces, tmp_path):
    clip = Clip(Frames(faces[:, 1:], Fraction(12)))
    result = animate(clip, clip, engine=Recorder(), output=tmp_path / "a.mp4")
    assert result.size == (200, 199)
    assert result.notes == ("frames of 200x199 become 200x200 in the file: its sides are even",)
