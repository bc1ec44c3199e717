"""Interlaced clips: whole frames of the first field's time, without combs."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from make_clips import encode

from liveportrait_v2v.media import Clip

STEP = 6  # pixels a field
FIELDS = {"tff": 0, "bff": 1}  # the first row of the field that is first in time


def picture(time: int, width: int = 192, height: int = 96) -> np.ndarray:
    """A bright bar on grey that moves to the right, at the time of a field."""
    frame = np.full((height, width, 3), 60, np.uint8)
    frame[:, 10 + STEP * time : 40 + STEP * time] = 200
    return frame


def woven(count: int, order: str) -> list[np.ndarray]:
    frames = []
    for number in range(count):
        frame, first = picture(2 * number), FIELDS[order]
        frame[1 - first :: 2] = picture(2 * number + 1)[1 - first :: 2]
        frames.append(frame)
    return frames


def interlaced(path, frames, order, **options):
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=192, height=96, format="yuv444p", time_base=Fraction(1, 25)),
        graph.add("setfield", order),
        graph.add("buffersink"),
    ).configure()

    def flagged(pixels: np.ndarray) -> av.VideoFrame:
        # 4:2:0 would mix the chroma of the fields.
        graph.push(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv444p"))
        return graph.pull()

    coding = {"flags": "+ildct+ilme", "crf": "8"}
    return encode(path, map(flagged, frames), pix_fmt="yuv444p", options=coding, **options)


def left_edge(frame: np.ndarray) -> float:
    """Where the bar begins, as the mean of all rows, in pixels."""
    return float((frame[..., 1] < 130).argmin(1).mean())


def combs(frame: np.ndarray) -> float:
    """Mean difference of a row to the mean of its neighbours, away from the border."""
    rows = frame[8:-8, :, 1].astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def frames_of(clip: Clip, **options) -> list[np.ndarray]:
    return [frame for chunk in clip.chunks(**options) for frame in chunk.frames.numpy()]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
@pytest.mark.parametrize("order", FIELDS)
def test_combs_are_gone_and_each_frame_shows_the_time_of_its_first_field(tmp_path, name, order):
    clip = Clip(interlaced(tmp_path / name, woven(12, order), order))
    assert (clip.info.rate, clip.info.frame_count) == (25, 12)
    assert clip.info.notes == ("is interlaced; its frames are deinterlaced, at the same rate",)
    frames = frames_of(clip)
    assert len(frames) == 12
    assert max(map(combs, frames)) < combs(woven(1, order)[0]) / 5
    edges = [left_edge(frame) for frame in frames]
    assert edges[1:] == pytest.approx([10 + 2 * STEP * number for number in range(1, 12)], abs=1.5)


def test_progressive_frames_are_unchanged_and_not_noted(tmp_path):
    path = encode(tmp_path / "a.mkv", [picture(2 * n) for n in range(8)], pix_fmt="yuv444p")
    clip = Clip(path)
    assert clip.info.notes == ()
    assert [round(left_edge(frame)) for frame in frames_of(clip)] == [10 + 2 * STEP * n for n in range(8)]


def test_a_seek_and_a_choice_of_frames_give_the_same_frames(tmp_path):
    path = interlaced(tmp_path / "a.mkv", woven(12, "tff"), "tff", rate=Fraction(25))
    whole = frames_of(Clip(path))
    chosen = frames_of(Clip(path), skip=3, every_nth=4)
    for frame, number in zip(chosen, (3, 7, 11), strict=True):
        assert np.abs(frame.astype(int) - whole[number]).mean() < 1


def test_whole_frames_among_interlaced_ones_keep_every_line(tmp_path):
    """Film at 24 frames, told at 30 by 3:2 pulldown: three whole frames, then two of mixed fields."""
    film = [picture(3 * n) for n in range(4)]
    mixed = [film[1].copy(), film[2].copy()]
    mixed[0][1::2], mixed[1][1::2] = film[2][1::2], film[3][1::2]
    pulled = [film[0], film[1], *mixed, film[3]]
    path = interlaced(tmp_path / "a.mkv", pulled, "tff", rate=Fraction(30))
    frames = frames_of(Clip(path))
    assert len(frames) == 5
    assert Clip(path).info.rate == 30
    assert max(map(combs, frames)) < combs(mixed[0]) / 4
