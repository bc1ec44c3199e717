"""Passes through a clip: decoded ahead of the tracker, and tracked once where passes follow each other."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import closing
from fractions import Fraction

import pytest
import torch
from watched_clip import clip_that_notes_its_end

from liveportrait_v2v import tracking
from liveportrait_v2v.faces import FaceTracker, Tracks
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.tracking import TrackedChunk, TrackedClip, TrackMemory

WAIT_SECONDS = 60


class Mark:
    """A tracker of clips whose frames are numbered by their first pixel.

    Landmarks are that number and the number of frames so far; face 1 has a depth, face 0 has none. Ten frames are a
    scene.

    Attributes:
        seen: numbers of the frames, in order.
    """

    seen: list[int]

    def __init__(self, device="cpu", order="large-small"):
        self._so_far = 0

    def track(self, frames: torch.Tensor) -> Tracks:
        numbers = frames[:, 0, 0, 0]
        self.seen += numbers.tolist()
        landmarks = torch.zeros(len(frames), 2, 478, 3)
        for k, number in enumerate(numbers.tolist()):
            self._so_far += 1
            landmarks[k, :, :, 0], landmarks[k, :, :, 1] = number, self._so_far
        landmarks[:, 1, :, 2] = 1
        shape = len(frames), 2
        scenes = (numbers // 10).to(torch.int64)[:, None].expand(shape)
        return Tracks(landmarks, torch.ones(shape, dtype=torch.bool), torch.ones(shape), scenes)


@pytest.fixture
def marks(monkeypatch) -> list[int]:
    """The numbers of all frames that trackers see."""
    monkeypatch.setattr(Mark, "seen", [], raising=False)
    monkeypatch.setattr(tracking, "FaceTracker", Mark)
    return Mark.seen


def numbered(count: int, kind: type[Clip] = Clip) -> Clip:
    frames = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 4, 6, 3).contiguous()
    return kind(Frames(frames, Fraction(25)))


def whole(chunks) -> tuple[torch.Tensor, ...]:
    """Frames, landmarks, `present` and `scenes` of a pass, as one."""
    got = list(chunks)
    names = "frames", "landmarks", "present", "scenes"
    return tuple(torch.cat([getattr(chunk, name) for (chunk,) in got]) for name in names)


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_later_pass_gives_the_kept_tracks_and_does_not_track(marks):
    clip = TrackedClip(numbered(20), (0,))
    first, second = whole(clip.chunks(keep=True)), whole(clip.chunks())
    assert marks == list(range(20))
    assert same(first, second)


def test_a_pass_that_keeps_nothing_is_tracked_anew(marks):
    clip = TrackedClip(numbered(20), (0,))
    first, second = whole(clip.chunks()), whole(clip.chunks())
    assert marks == list(range(20)) * 2
    assert same(first, second)


def test_a_shorter_pass_gives_the_beginning_of_the_kept_tracks(marks):
    clip = TrackedClip(numbered(20), (0,))
    first, second = whole(clip.chunks(keep=True)), whole(clip.chunks(cap=13))
    assert marks == list(range(20))
    assert same([part[:13] for part in first], second)


def test_a_pass_after_one_that_was_left_early_goes_on_tracking_behind_the_kept_frames(marks):
    clip = TrackedClip(numbered(20), (0,))
    with closing(clip.chunks(keep=True)) as chunks:
        next(chunks)
    assert marks == list(range(8))
    second = whole(clip.chunks())
    assert marks == list(range(20))
    assert same(second, whole(TrackedClip(numbered(20), (0,)).chunks()))


def test_a_pass_behind_a_chunk_that_was_cut_short_is_tracked_anew(marks):
    clip = TrackedClip(numbered(20), (0,))
    whole(clip.chunks(cap=11, keep=True))
    second = whole(clip.chunks())
    assert marks == [*range(11), *range(20)]
    assert same(second, whole(TrackedClip(numbered(20), (0,)).chunks()))


def test_a_pass_behind_frames_that_were_tracked_but_not_kept_is_tracked_anew(marks):
    clip = TrackedClip(numbered(24), (0,))
    whole(clip.chunks(cap=8, keep=True))
    whole(clip.chunks(cap=16))
    last = whole(clip.chunks())
    assert marks == [*range(16), *range(24)]
    assert same(last, whole(TrackedClip(numbered(24), (0,)).chunks()))


def test_each_number_gets_the_track_of_its_face_over_the_same_frames(marks):
    for part in TrackedClip(numbered(9), (1, 0, 5)).chunks(keep=True):
        assert [bool(chunk.landmarks[:, :, 2].all()) for chunk in part] == [True, False, False]
        assert [bool(chunk.present.all()) for chunk in part] == [True, True, False]
        assert len({chunk.frames.data_ptr() for chunk in part}) == 1


def test_each_frame_has_the_scene_that_the_tracker_gives_it(marks):
    _, _, _, scenes = whole(TrackedClip(numbered(24), (0,)).chunks())
    assert scenes.tolist() == [0] * 10 + [1] * 10 + [2] * 4


def test_parts_of_a_chunk_and_a_held_frame_keep_their_scenes():
    frames, landmarks = torch.zeros(3, 4, 6, 3, dtype=torch.uint8), torch.zeros(3, 478, 3)
    chunk = TrackedChunk(frames, landmarks, torch.ones(3, dtype=torch.bool), scenes=torch.tensor([0, 0, 1]))
    assert chunk[1:].scenes.tolist() == [0, 1]
    assert chunk.hold(2).scenes.tolist() == [1, 1]


def test_an_engines_points_are_added_once_to_each_chunk(marks):
    added = []

    def add_points(chunk: TrackedChunk) -> TrackedChunk:
        added.append((chunk.index, len(chunk)))
        more = torch.full((len(chunk), 203, 3), float(chunk.index))
        return TrackedChunk(
            chunk.frames, torch.cat((chunk.landmarks, more), 1), chunk.present, chunk.index, chunk.held
        )

    clip = TrackedClip(numbered(20), (0,), add_points=add_points)
    first, second = whole(clip.chunks(keep=True)), whole(clip.chunks())
    assert added == [(0, 8), (8, 8), (16, 4)]
    assert first[1].shape == (20, 681, 3)
    assert same(first, second)


def test_kept_tracks_hold_no_other_faces(marks):
    clip = TrackedClip(numbered(8), (0,))
    ((chunk,),) = clip.chunks(keep=True)
    assert chunk.landmarks.untyped_storage().nbytes() == 8 * 478 * 3 * 4


def test_two_more_chunks_are_decoded_while_the_tracker_works(marks, monkeypatch):
    decoded, later = [], threading.Event()

    class Watched(Clip):
        def chunks(self, *arguments, **options):
            for chunk in super().chunks(*arguments, **options):
                decoded.append(chunk.index)
                if len(decoded) == 3:
                    later.set()
                yield chunk

    track = Mark.track

    def waiting(tracker, frames):
        assert later.wait(WAIT_SECONDS)
        time.sleep(0.1)
        # The one at hand, one in the queue, one that waits for room there.
        assert len(decoded) == 3
        return track(tracker, frames)

    monkeypatch.setattr(Mark, "track", waiting)
    with closing(TrackedClip(numbered(80, Watched), (0,)).chunks()) as chunks:
        assert len(next(chunks)[0]) == 8


@pytest.mark.parametrize("kept", [False, True])
def test_leaving_a_pass_ends_its_thread_and_the_decoder(marks, kept):
    ended = []

    clip = TrackedClip(numbered(80, clip_that_notes_its_end(ended)), (0,))
    if kept:
        whole(clip.chunks(keep=True))
    threads, before = threading.active_count(), len(ended)
    with closing(clip.chunks()) as chunks:
        next(chunks)
    assert len(ended) == before + 1
    assert threading.active_count() == threads


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single_face", "wolfgang"])
def test_real_tracks_of_wide_clips_are_the_same_to_the_last_bit(clips, name, monkeypatch):
    seen, track = [], FaceTracker.track

    def counted(tracker, frames):
        seen.append(len(frames))
        return track(tracker, frames)

    monkeypatch.setattr(FaceTracker, "track", counted)
    with TrackedClip(Clip(clips[name], duration=1), (0,)) as clip:
        alone = whole(TrackedClip(Clip(clips[name], duration=1), (0,)).chunks())
        seen.clear()
        with closing(clip.chunks(keep=True)) as chunks:
            next(chunks)
        passes = [whole(clip.chunks(keep=True)), whole(clip.chunks())]
    assert sum(seen) == len(alone[0])
    assert all(same(passed, alone) for passed in passes)
    assert alone[2].any()


@pytest.fixture
def tracked(monkeypatch) -> list[int]:
    """Numbers of frames that trackers were given."""
    seen, track = [], FaceTracker.track

    def counted(tracker, frames):
        seen.append(len(frames))
        return track(tracker, frames)

    monkeypatch.setattr(FaceTracker, "track", counted)
    return seen


def passed(clip: Clip, memory: TrackMemory, cap: int = 0, **options):
    with TrackedClip(clip, (0,), memory=memory, **options) as reader:
        return whole(reader.chunks(cap=cap))


def test_the_next_run_over_a_file_tracks_only_what_is_new(clips, tracked):
    memory, clip = TrackMemory(), Clip(clips["single_face"], duration=0.5)
    first = passed(clip, memory)
    count = sum(tracked)
    assert same(passed(Clip(clips["single_face"], duration=0.5), memory), first)
    assert same(passed(clip, memory, cap=8), tuple(part[:8] for part in first))
    assert sum(tracked) == count
    passed(clip, memory, order="left-right")
    passed(Clip(clips["single_face"], duration=0.25), memory)
    assert sum(tracked) > count


def test_a_changed_file_is_tracked_anew(clips, tracked, tmp_path):
    path, memory = tmp_path / "clip.mp4", TrackMemory()
    shutil.copy(clips["single_face"], path)
    passed(Clip(path, duration=0.25), memory)
    count = sum(tracked)
    os.utime(path, ns=(1, 1))
    passed(Clip(path, duration=0.25), memory)
    assert sum(tracked) == 2 * count


def test_the_least_recently_used_tracks_are_forgotten_and_too_long_a_clip_is_not_kept(clips, tracked):
    one, two = (Clip(clips[name], duration=0.25) for name in ("single_face", "wolfgang"))
    memory = TrackMemory(max_bytes=8 * (6 << 10))  # the eight frames of one clip
    for clip in (one, two, two):
        passed(clip, memory)
    both = sum(tracked)
    passed(one, memory)
    assert sum(tracked) > both
    long = Clip(clips["single_face"], duration=1)
    tracked.clear()
    passed(long, memory)
    passed(long, memory)
    assert sum(tracked) == 2 * long.info.frame_count


def test_what_an_earlier_run_left_unfinished_is_used_and_goes_on_as_if_tracked_from_the_start(clips, tracked):
    memory, clip = TrackMemory(), Clip(clips["single_face"], duration=1)
    alone = passed(clip, TrackMemory())
    with TrackedClip(clip, (0,), memory=memory) as reader, closing(reader.chunks(cap=20)) as chunks:
        next(chunks)
        next(chunks)
    tracked.clear()
    with TrackedClip(clip, (0,), memory=memory) as reader, closing(reader.chunks()) as chunks:
        next(chunks)
    assert tracked == []
    assert same(passed(clip, memory), alone)
