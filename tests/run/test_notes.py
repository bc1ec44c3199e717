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
