"""Decoding of a video file's frames, matched to their times."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from .colour import fit_size, to_rgb
from .fields import deinterlaced
from .probe import VideoTrack, decoder_of
from .source import Source, packets

# If more than this and 5 % of the clip can't be decoded at the end, the file is truncated.
_LOST_SECONDS = 1


def rgb_pictures(
    source: Source,
    track: VideoTrack,
    wanted: np.ndarray,
    max_side: int,
    straight: bool = False,
    lost: set[int] | None = None,
    deep: bool = False,
) -> Generator[tuple[np.ndarray, int], None, None]:
    """Yield the wanted frames as upright RGB, each with the number of output frames that show it.

    Unwanted frames are decoded, as others may depend on them, but not converted.

    A frame that can't be decoded is replaced by the one before it (at the beginning of the clip: the one after it).
    If more than a second and 5 % of the clip are lost at its end, the file is truncated.

    Args:
        wanted: int64 [n], frame numbers that never decrease.
        max_side: of the pictures; 0 for full size.
        straight: give pictures with alpha as uint8 [H, W, 4], instead of over black.
        lost: takes the numbers of wanted frames that can't be decoded.
        deep: give uint16, as `to_rgb` does.

    Yields:
        uint8 [H, W, 3], valid until the next one, and the number of elements of `wanted` that it covers.

    Raises:
        MediaError: truncated, or nothing can be decoded.
    """
    width, height = track.orientation.size(*fit_size(track.width, track.height, max_side))
    scaler = VideoReformatter()

    def upright(frame: av.VideoFrame) -> np.ndarray:
        return track.orientation.apply(to_rgb(frame, width, height, scaler, track.light, straight, deep))

    done, held, number = 0, None, -1
    lost = set() if lost is None else lost
    for number, frame in _numbered(source, track, int(wanted[0])):
        if held is not None:
            missed = int(np.searchsorted(wanted, number, side="left"))
            if missed > done:
                lost.update(wanted[done:missed].tolist())
                yield upright(held), missed - done
                done = missed
        reached = int(np.searchsorted(wanted, number, side="right"))
        if reached > done:
            lost.update(n for n in wanted[done:reached].tolist() if n < number)
            yield upright(frame), reached - done
            done = reached
        if done == len(wanted):
            return
        held = frame
    if held is None:
        raise MediaError(source.name, "no frame can be decoded: damaged, or not a video at all")
    timeline = track.timeline
    missing = int(wanted[-1]) - number
    if missing > max(float(_LOST_SECONDS * timeline.rate), timeline.count / 20):
        raise MediaError(
            source.name,
            f"truncated: {missing} of {timeline.count} frames at its end can't be decoded; "
            "copy or download it again",
        )
    lost.update(wanted[done:].tolist())
    yield upright(held), len(wanted) - done


def _numbered(source: Source, track: VideoTrack, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield decoded frames with increasing numbers, from the first wanted one or somewhat earlier."""
    if track.pts is not None:
        key = int(np.searchsorted(track.key_pts, track.pts[first], side="right")) - 1
        # A seek pays only past the first key frame.
        if key > 0:
            frames = _by_pts(source, track, track.pts, int(track.key_pts[key]))
            earliest = next(frames, None)
            if earliest is not None and earliest[0] <= first:
                yield earliest
                yield from frames
                return
            frames.close()
        yield from _by_pts(source, track, track.pts, None)
    else:
        yield from ((n, f) for n, f in enumerate(_whole(source, track, None)) if f is not None)


def _by_pts(
    source: Source, track: VideoTrack, pts: np.ndarray, seek: int | None
) -> Generator[tuple[int, av.VideoFrame], None, None]:
    last = -1
    for frame in _whole(source, track, seek):
        if frame is None or frame.pts is None:
            continue
        number = int(np.searchsorted(pts, frame.pts, side="right")) - 1
        if number > last:
            last = number
            yield number, frame


def _whole(source: Source, track: VideoTrack, seek: int | None) -> Iterator[av.VideoFrame | None]:
    """Yield frames as `_decoded` does, without fields."""
    return deinterlaced(_decoded(source, track, seek), track.tick)


def _decoded(source: Source, track: VideoTrack, seek: int | None) -> Iterator[av.VideoFrame | None]:
    """Yield frames in display order, None for a damaged one; from the key frame at pts `seek` if given."""
    with source.container() as container:
        stream = container.streams[track.index]
        assert isinstance(stream, av.video.stream.VideoStream)
        decoder = decoder_of(stream, source.name)
        decoder.thread_type = "AUTO"
        if seek is not None:
            try:
                container.seek(seek, stream=stream)
            except av.error.FFmpegError:
                return
        for packet in packets(container, stream):
            yield from _frames(decoder, packet)
        # Frame threads report damaged frames late, so draining may need several calls.
        for _ in range(64):
            rest = _frames(decoder, None)
            yield from rest
            if None not in rest:
                break


def _frames(
    decoder: av.video.codeccontext.VideoCodecContext, packet: av.Packet[av.stream.Stream] | None
) -> list[av.VideoFrame | None]:
    try:
        return [None if frame.is_corrupt else frame for frame in decoder.decode(packet)]
    except av.error.EOFError:
        return []
    except av.error.FFmpegError:
        return [None]
