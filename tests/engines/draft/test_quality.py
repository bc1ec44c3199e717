"""Motion of results made of real clips, from file to file, against the driving clip's.

`benchmarks/draft_quality.py` measures every pair of the real clips in the same way.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from benchmarks.draft_looks import EDGES, looks, roughness
from benchmarks.draft_pairs import Pair, Shown, open_clip, tracked
from benchmarks.draft_quality import AIMS, compare, track
from benchmarks.draft_signals import head, irises
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("source", "driving", "frames", "signals"),
    [
        ("cap12", "jwp_intro", 100, {"mouth", "eyes", "pitch"}),
        ("single_face", "jwp_intro", 100, {"mouth", "eyes", "pitch"}),
        ("cap12", "obama", 50, {"mouth", "eyes", "pitch", "yaw", "roll"}),
        ("single_face", "obama", 50, {"mouth", "pitch", "yaw", "roll"}),
    ],
)
def test_openings_and_head_follow_the_driving_clip_and_the_person_stays(
    clips, tmp_path, source, driving, frames, signals
):
    assert clips[source].exists()
    assert clips[driving].exists()
    source, driving = open_clip(source), open_clip(driving)
    settings = AnimationSettings(video_frame_load_cap=frames)
    animate(source, driving, engine=create_engine("draft"), settings=settings, output=tmp_path / "out.mp4")
    found = compare(tmp_path / "out.mp4", source, driving, frames)
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


def moments(source: str, driving: str, chunks: tuple[int, ...]) -> tuple[Shown, Shown]:
    """A source's first frames, and the result of these led by some chunks of a driving clip."""
    led = tracked(driving, 8 * (chunks[-1] + 1))
    shown, rate = tracked(source, 8 * len(chunks)), open_clip(source).info.rate
    pair = Pair((source, driving), shown, [led[k] for k in chunks], rate)
    return pair.own, pair.rendered()


def test_heads_stay_as_large_as_they_turn(clips):
    assert clips["wolfgang"].exists()
    assert clips["obama"].exists()
    own, result = moments("wolfgang", "obama", (0, 12))  # turned by up to 38 degrees
    assert head(result.landmarks, own.landmarks[0]) == pytest.approx((1, 1), abs=0.05)


def test_irises_stay_as_round_and_as_large_below_lids_that_move(clips):
    assert clips["single_face"].exists()
    assert clips["jwp_intro"].exists()
    own, result = moments("single_face", "jwp_intro", (0, 2, 4))
    for now, before in zip(irises(result.landmarks), irises(own.landmarks), strict=True):
        assert (now / before).mean() == pytest.approx(1, abs=0.08)


def test_edges_of_lids_lips_and_face_are_as_smooth_as_the_sources(clips):
    assert clips["wolfgang"].exists()
    assert clips["jwp_intro"].exists()
    own, result = moments("wolfgang", "jwp_intro", (0, 3, 6))
    rough, before = (
        [roughness(*frame) for frame in zip(shown.frames, shown.landmarks, strict=True)]
        for shown in (result, own)
    )
    ratios = {edge: sum(r[edge] for r in rough) / sum(b[edge] for b in before) for edge in EDGES}
    assert ratios["lids"] < 0.8  # lids that come down show fewer lashes
    assert ratios["lips"] < 0.9
    assert ratios["outline"] < 0.9


@pytest.mark.parametrize(
    ("source", "driving", "chunks", "look", "least", "most"),
    [
        # 0.037 in the colour of lips six pixels away
        ("wolfgang", "carphone", (0, 6, 7), "rim", 0, 0.01),
        # A grin over lips that part a little; 0.60 with the source's own teeth alone
        ("jwp_intro", "wolfgang", (0, 5, 6), "hole", 0, 0.25),
        # A source whose lips are tracked wider than they part; 0.104 with an edge in the colour of lips
        ("jwp_intro", "carphone", (0, 1, 2), "line", 0, 0.06),
        # Teeth that lips cover; 1.04 with grey shade, 0.29 with the source's corners
        ("wolfgang", "jwp_intro", (0, 1), "seam", 1.1, 1.6),
        ("wolfgang", "jwp_intro", (0, 1), "corners", 0.4, 1),
        # Teeth behind lips that hardly part; 0.970 in the colour of lips
        ("wolfgang", "jwp_intro", (4, 5, 7, 14), "slit", 0.8, 0.93),
        # Long lashes as the lid comes down; 0.08 where they stay, 0.40 with the end of the line of lashes
        ("wolfgang", "jwp_intro", (2,), "lashes", 0.3, 1),
        # Turned by up to 38 degrees; 0.92 by nodes of the warp alone
        ("wolfgang", "obama", (0, 12), "far", 0, 0.8),
        # Eyes of 11 pixels; 1.05 with the lids' shade over them
        ("carphone", "cap12", (0, 8), "rings", 1.1, 1.35),
        # Irises below the lids of a laughing face; 1.2 with their lower halves in the place of the upper ones
        ("single_face", "cap12", (0, 2, 4), "dashes", 0, 0.7),
    ],
)
def test_wide_mouths_and_eyes_look_as_the_sources_do(clips, source, driving, chunks, look, least, most):
    assert clips[source].exists()
    assert clips[driving].exists()
    own, result = moments(source, driving, chunks)
    assert least <= looks(result, own)[look] < most
