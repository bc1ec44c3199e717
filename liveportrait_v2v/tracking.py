"""Decoding a clip and tracking its faces: the one step behind every pass through a clip.

A clip is decoded in a thread of its own, up to two chunks ahead of the tracker.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch

from .concurrency import Ahead, OwnStream, Stopwatch
from .faces import FaceTracker, Tracks, circles
from .faces.given import BoxTracker, FaceBoxes
from .media import Chunk, Clip
from .tensors import TensorStruct

_Tracked = TypeVar("_Tracked")
_ONE_SCENE = torch.zeros(1, dtype=torch.int64)
_NOBODY = torch.zeros(1, 0, 3)


@dataclass(frozen=True)
class TrackedChunk:
    """Consecutive frames of a clip with the track of one face.

    Attributes:
        frames: uint8 [N, H, W, 3].
        landmarks: float32 [N, 478, 3] in pixels, on the CPU; zeros where the face is not present. An engine's `source`
            may append points of its own.
        present: bool [N], on the CPU.
        index: number of the first frame in its clip.
        held: every frame is frame `index` of the clip.
        scenes: int64 [N], on the CPU: the scene of each frame, as `Tracks` numbers them; of one if left out.
        others: float32 [N, K, 3], on the CPU: the other faces, as `circles` has them; none if left out.
    """

    frames: torch.Tensor
    landmarks: torch.Tensor
    present: torch.Tensor
    index: int = 0
    held: bool = False
    scenes: torch.Tensor = _ONE_SCENE
    others: torch.Tensor = _NOBODY

    def __post_init__(self) -> None:
        object.__setattr__(self, "scenes", self.scenes.expand(len(self.frames)))
        object.__setattr__(self, "others", self.others.expand(len(self.frames), -1, -1))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, part: slice) -> TrackedChunk:
        """Return some consecutive frames, as views."""
        index = self.number_of(range(len(self))[part].start)
        return TrackedChunk(
            self.frames[part],
            self.landmarks[part],
            self.present[part],
            index,
            self.held,
            self.scenes[part],
            self.others[part],
        )

    def number_of(self, k: int) -> int:
        """Return the number of the frame at place k in its clip."""
        return self.index if self.held else self.index + k

    def frames_with_face(self) -> torch.Tensor:
        """Return the frames in which the face is present, uint8 [M, H, W, 3]."""
        if self.present.all():
            return self.frames
        # By number: to select by a mask, the host would wait for a GPU to count it.
        shown, device = self.present.nonzero().squeeze(1), self.frames.device
        return self.frames[shown.to(device, non_blocking=device.type == "cuda")]

    def hold(self, count: int) -> TrackedChunk:
        """Return a chunk that shows the last frame `count` times, without copies of it."""
        frame, landmarks, present = self.frames[-1:], self.landmarks[-1:], self.present[-1:]
        return TrackedChunk(
            frame.expand(count, -1, -1, -1),
            landmarks.expand(count, -1, -1),
            present.expand(count),
            self.number_of(len(self) - 1),
            held=True,
            scenes=self.scenes[-1:],
            others=self.others[-1:],
        )


@dataclass(frozen=True)
class _Track(TensorStruct):
    """What a `TrackedChunk` has of a face; fields as there, and the number of faces found so far, int64 [N]."""

    landmarks: torch.Tensor
    present: torch.Tensor
    scenes: torch.Tensor
    others: torch.Tensor
    found: torch.Tensor

    def of(self, frames: torch.Tensor, index: int) -> TrackedChunk:
        """Return the chunk of these frames."""
        return TrackedChunk(
            frames, self.landmarks, self.present, index, scenes=self.scenes, others=self.others
        )


def track(
    clip: Clip,
    *,
    device: str = "cpu",
    order: str = "large-small",
    chunk: int = 8,
    cap: int = 0,
    clock: Stopwatch | None = None,
) -> Iterator[tuple[Chunk, Tracks]]:
    """Decode a clip and track its faces, chunk by chunk, in one pass from its start.

    Args:
        device: where the frames go and torch computes.
        order: as `FaceTracker` has it.
        chunk: frames at a time.
        cap: most frames to read; 0 = all.
        clock: counts the seconds of the stages "decode" and "track".

    Yields:
        the frames, on the device, and the tracks of all faces numbered so far.

    Raises:
        MediaError: the clip can't be decoded.
        SettingsError: an option out of range.
    """
    tracker = FaceTracker(device=device, order=order)
    decoding = _Decoding(clip, device, chunk, clock or Stopwatch())
    return decoding.each(lambda part: tracker.track(part.frames), cap)


class _Decoding:
    """Passes through a clip whose chunks go to a device, in a stream of their own, and are tracked there."""

    def __init__(self, clip: Clip, device: str, chunk: int, clock: Stopwatch):
        self._clip, self._device, self._chunk, self._clock = clip, device, chunk, clock
        self._stream = OwnStream(device)

    def each(
        self, track: Callable[[Chunk], _Tracked], cap: int
    ) -> Generator[tuple[Chunk, _Tracked], None, None]:
        """Yield the clip's chunks on the device, up to `cap` frames, and what a function makes of each."""
        with self.decoded(cap) as parts:
            for part in parts:
                with self._clock("track"), self._stream:
                    part = self.uploaded(part)
                    tracked = track(part)
                    self._stream.hand_over(part.frames)
                yield part, tracked

    def decoded(self, cap: int) -> Ahead[Chunk]:
        """Return the clip's chunks, decoded ahead where a GPU of this device reads them directly."""
        pinned = torch.device(self._device).type == "cuda"
        chunks = self._clip.chunks(self._chunk, cap=cap, pinned=pinned)
        return Ahead(self._clock.each("decode", chunks), depth=1)

    def uploaded(self, part: Chunk) -> Chunk:
        """Return a chunk on the device."""
        return replace(part, frames=part.frames.to(self._device, non_blocking=True))


_TRACK_BYTES = 6 << 10  # of a frame and face, about


class TrackMemory:
    """Tracks of clips from one run to the next: the least recently used ones are forgotten above a size.

    Only clips that are files have a key, which another file under the same name changes.
    """

    def __init__(self, max_bytes: int = 64 << 20):
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[tuple[_Track, ...], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def holds(self, clip: Clip, faces: int) -> bool:
        """Return whether the tracks of so many faces of a clip are kept: those of a file, if there is room for them."""
        return clip.path is not None and clip.output_count() * faces * _TRACK_BYTES <= self._max_bytes

    def get(self, key: Hashable) -> tuple[tuple[_Track, ...], ...]:
        """Return what is kept under a key: of each chunk from the first on, the track of each number."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key, ())

    def put(self, key: Hashable, tracks: Sequence[tuple[_Track, ...]]) -> None:
        """Keep the tracks of a clip's first chunks in place of fewer."""
        with self._lock:
            if len(tracks) <= len(self._kept.get(key, ())):
                return
            self._kept[key] = tuple(tracks)
            self._kept.move_to_end(key)
            while self._kept and sum(map(_bytes_of, self._kept.values())) > self._max_bytes:
                self._kept.popitem(last=False)


def _bytes_of(tracks: Sequence[tuple[_Track, ...]]) -> int:
    return sum(getattr(track, f.name).nbytes for chunk in tracks for track in chunk for f in fields(track))


def file_key(clip: Clip) -> tuple[Hashable, ...] | None:
    """Return what tells a clip's content from another's without reading it; None if it isn't a file."""
    if clip.path is None:
        return None
    status = clip.path.stat()
    return str(clip.path.absolute()), status.st_mtime_ns, status.st_size, clip.window


class TrackedClip:
    """A clip with the tracks of some of its faces, read in passes, one at a time; leaving the block forgets them.

    A pass may keep its tracks, 6 KB a frame and face. Later passes give the same ones again, and only decode. Past the
    last kept frame they go on tracking where that gives what tracking from the start gives, and otherwise start anew.

    Attributes:
        faces: number of faces found so far, whatever their numbers.
    """

    def __init__(
        self,
        clip: Clip,
        numbers: Sequence[int | FaceBoxes],
        *,
        device: str = "cpu",
        order: str = "large-small",
        chunk: int = 8,
        add_points: Callable[[TrackedChunk], TrackedChunk] | None = None,
        clock: Stopwatch | None = None,
        memory: TrackMemory | None = None,
        points: str = "",
    ):
        """Prepare the passes; nothing is read yet.

        Args:
            numbers: of the faces, or what gives one, each as often as it is to be given.
            add_points: an engine's, called with each chunk and face that has a number, in the thread that tracks.
            device, order, chunk, clock: as in `track`.
            memory: gives the tracks that an earlier run kept, and keeps those of this one.
            points: name of the points that `add_points` adds, for the memory.
        """
        self._clip = clip
        self._numbers = tuple(numbers)
        self._device = device
        self._order = order
        self._chunk = chunk
        self._add_points = add_points or (lambda tracked: tracked)
        self._decoding = _Decoding(clip, device, chunk, clock or Stopwatch())
        self.faces = 0
        self._tracker: _Trackers | None = None
        self._tracked = 0  # frames that the tracker has seen
        self._kept: list[tuple[_Track, ...]] = []
        """Of each chunk from the first on, the track of each number."""
        self._memory, self._key = None, (file_key(clip), self._numbers, str(device), order, chunk, points)
        if memory is not None and memory.holds(clip, len(self._numbers)):
            self._memory = memory
            self._kept += memory.get(self._key)
            if self._frames_kept() % chunk and self._frames_kept() < clip.output_count():
                self._kept.pop()  # an earlier run ended inside it

    def __enter__(self) -> TrackedClip:
        return self

    def __exit__(self, *_: object) -> None:
        if self._memory is not None:
            self._memory.put(self._key, self._kept)
        self._tracker = None
        self._kept.clear()

    def chunks(self, cap: int = 0, keep: bool = False) -> Iterator[tuple[TrackedChunk, ...]]:
        """Read the clip once from its start.

        Args:
            cap: most frames to read; 0 = all.
            keep: keep the tracks for later passes.

        Yields:
            the same frames, on the device, with the track of each number's face.

        Raises:
            MediaError: the clip can't be decoded.
            SettingsError: an option out of range.
        """
        tracker = self._ready(cap)
        keep = keep or self._memory is not None

        def tracked(part: Chunk) -> tuple[_Track, ...]:
            place = part.index // self._chunk
            if place < len(self._kept):
                return self._kept[place]
            if self._tracked < part.index:
                self._catch_up(tracker, part.index)
            tracks = self._track(tracker, part)
            if keep:
                self._kept.append(tracks)
            return tracks

        with closing(self._decoding.each(tracked, cap)) as parts:
            for part, tracks in parts:
                self.faces = max(self.faces, int(tracks[0].found[-1]))
                # In the last chunk, fewer frames than a longer pass kept.
                yield tuple(track[: len(part.frames)].of(part.frames, part.index) for track in tracks)

    def _ready(self, cap: int) -> _Trackers:
        """Return the tracker, in the state behind the last kept frame if the pass reads further than that."""
        kept = self._frames_kept()
        # What the tracker finds depends in its last digits on where chunks end.
        goes_on = self._tracked == kept and kept % self._chunk == 0
        further = self._clip.output_count(cap=cap) > kept
        recalled = (
            self._tracked == 0 and kept % self._chunk == 0
        )  # by the memory: the pass may end within them
        if further and not goes_on and not recalled:
            self._kept.clear()
        if self._tracker is None or (further and not goes_on):
            self._tracker = _Trackers(self._numbers, self._device, self._order)
            self._tracked = 0
        return self._tracker

    def _frames_kept(self) -> int:
        return sum(len(tracks[0]) for tracks in self._kept)

    def _catch_up(self, tracker: _Trackers, index: int) -> None:
        """Give the tracker the frames up to `index`, whose tracks an earlier run left."""
        with self._decoding.decoded(index) as parts:
            for part in parts:
                tracker.track(self._decoding.uploaded(part).frames)
        self._tracked = index

    def _track(self, tracker: _Trackers, part: Chunk) -> tuple[_Track, ...]:
        """Return the track of each face in the frames that follow."""
        self._tracked += len(part.frames)
        tracks = tracker.track(part.frames)
        own: dict[int | FaceBoxes, _Track] = {}
        for face, track in tracks.items():
            if not isinstance(face, FaceBoxes):
                marked = self._add_points(track.of(part.frames, part.index))
                track = replace(track, landmarks=marked.landmarks)
            # Memory of its own, without the other faces'.
            parts = {name: getattr(track, name).contiguous() for name in ("landmarks", "present", "scenes")}
            own[face] = replace(track, **parts)
        return tuple(own[number] for number in self._numbers)


class _Trackers:
    """What tracks the faces of one clip: those that have a number together, and each that is given by itself."""

    def __init__(self, faces: Sequence[int | FaceBoxes], device: str, order: str):
        self._numbers = sorted({face for face in faces if isinstance(face, int)})
        self._given = {face: BoxTracker(face) for face in faces if isinstance(face, FaceBoxes)}
        self._tracker = FaceTracker(device=device, order=order) if self._numbers else None

    def track(self, frames: torch.Tensor) -> dict[int | FaceBoxes, _Track]:
        """Track the frames that follow, uint8 [N, H, W, 3]."""
        count, found, everyone = len(frames), torch.zeros(len(frames), dtype=torch.int64), _NOBODY
        made: dict[int | FaceBoxes, _Track] = {}
        if self._tracker is not None:
            tracks = self._tracker.track(frames)
            found += tracks.present.shape[1]
            everyone = circles(tracks.landmarks, tracks.present)
            for number in self._numbers:
                others = torch.cat((everyone[:, :number], everyone[:, number + 1 :]), 1)
                made[number] = _Track(*tracks.face(number), others, found)
        for face, tracker in self._given.items():
            landmarks, present = tracker.track(frames)
            scenes = torch.zeros(count, dtype=torch.int64)
            beside = _beside(circles(landmarks, present), everyone.expand(count, -1, -1))
            made[face] = _Track(landmarks, present, scenes, beside, found)
        return made


def _beside(own: torch.Tensor, everyone: torch.Tensor) -> torch.Tensor:
    """Return circles [N, K, 3] without those that are within a face's own circle [N, 3]: it has a number as well."""
    inside = (everyone[..., :2] - own[:, None, :2]).norm(dim=-1) < own[:, None, 2]
    return everyone.masked_fill(inside.unsqueeze(-1), 0)
