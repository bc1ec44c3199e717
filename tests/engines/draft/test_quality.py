"""Motion of results made of real clips, from file to file, against the driving clip's.

`benchmarks/draft_quality.py` measures every pair of the real clips in the same way.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from benchmarks.draft_looks import EDGES, joined, looks, rendered, roughness, tracked
from benchmarks.draft_quality import AIMS, compare, open_clip, track
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.media import Clip
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


def test_the_head_of_a_clip_that_drives_itself_goes_where_it_went(clips, tmp_path):
    clip = Clip(clips["jwp_intro"], start=Fraction(39, 10))  # the head moves by a tenth of its width
    settings = AnimationSettings(video_frame_load_cap=40)
    animate(clip, clip, engine=create_engine("draft"), settings=settings, output=tmp_path / "out.mp4")
    own, made = (
        face.first_pose(track(shown, 40)[0]).translation[:, :2]
        for shown in (clip, Clip(tmp_path / "out.mp4"))
    )
    own, made = own - own.mean(0), made - made.mean(0)
    gain = (own * made).sum(0) / own.square().sum(0)
    assert gain.tolist() == pytest.approx([1, 1], abs=0.1)


def test_edges_of_lids_lips_and_face_are_as_smooth_as_the_sources(clips):
    assert clips["wolfgang"].exists()
    assert clips["jwp_intro"].exists()
    source, driving = tracked("wolfgang", 64), tracked("jwp_intro", 64)
    own, result = joined(source), rendered(source, driving, open_clip("wolfgang").info.rate)
    rough, before = (
        [roughness(*frame) for frame in zip(shown.frames, shown.landmarks, strict=True)]
        for shown in (result, own)
    )
    ratios = {edge: sum(r[edge] for r in rough) / sum(b[edge] for b in before) for edge in EDGES}
    assert ratios["lids"] < 0.8  # lids that come down show fewer lashes
    assert ratios["lips"] < 0.9
    assert ratios["outline"] < 0.9


@pytest.mark.parametrize(
    ("source", "driving", "look", "least", "most"),
    [
        ("wolfgang", "carphone", "rim", 0, 0.01),  # 0.02 with lips in the colour of their middles
        ("cap12", "carphone", "hole", 0, 0.33),  # a mouth that was never open; 0.37 without lower teeth
        ("carphone", "cap12", "rings", 0.96, 1.1),  # eyes of 11 pixels; 0.94 with the lids' shade over them
    ],
)
def test_wide_mouths_and_eyes_look_as_the_sources_do(clips, source, driving, look, least, most):
    assert clips[source].exists()
    assert clips[driving].exists()
    shown = tracked(source, 96)
    result = rendered(shown, tracked(driving, 96), open_clip(source).info.rate)
    own = joined(shown)
    assert least <= looks(result, own)[look] < most
