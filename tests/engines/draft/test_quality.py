"""Motion of results made of real clips, from file to file, against the driving clip's.

`benchmarks/draft_quality.py` measures every pair of the real clips in the same way.
"""

from __future__ import annotations

import pytest

from benchmarks.draft_quality import AIMS, compare, open_clip
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow

FRAMES = 100


@pytest.mark.parametrize(
    ("source", "driving", "signals"),
    [
        ("cap12", "jwp_intro", {"mouth", "eyes", "pitch"}),
        ("single_face", "jwp_intro", {"mouth", "eyes", "pitch"}),
        ("cap12", "obama", {"mouth", "eyes", "pitch", "yaw", "roll"}),
        ("single_face", "obama", {"mouth", "pitch", "yaw", "roll"}),
    ],
)
def test_openings_and_head_follow_the_driving_clip_and_the_person_stays(
    clips, tmp_path, source, driving, signals
):
    assert clips[source].exists()
    assert clips[driving].exists()
    source, driving = open_clip(source), open_clip(driving)
    settings = AnimationSettings(video_frame_load_cap=FRAMES)
    animate(source, driving, engine=create_engine("draft"), settings=settings, output=tmp_path / "out.mp4")
    found = compare(tmp_path / "out.mp4", source, driving, FRAMES)
    assert {signal for signal in AIMS if found.moved(signal)} == signals
    assert {signal for signal in signals if found.correlation[signal] < AIMS[signal]} == set()
    assert found.proportions < 0.04
