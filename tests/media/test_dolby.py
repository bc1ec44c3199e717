"""Dolby Vision: read as its base layer, or refused where that has colours of its own."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from make_clips import encode

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip

QUIET = "log-level=none"
PQ_TAGS = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
PQ_NOTE = "is HDR (PQ); it is tone-mapped to BT.709, with 203 cd/m² as white"


def hevc(path: Path, tags: str = "") -> Path:
    frames = [np.full((64, 96, 3), 90, np.uint8)] * 3
    options = {"x265-params": f"{QUIET}:{tags}" if tags else QUIET}
    return encode(path, frames, codec="libx265", pix_fmt="yuv420p10le", options=options)


def record(profile: int, compatibility: int) -> bytes:
    """The box of a configuration record: version 1.0, level 6, metadata and base layer."""
    facts = struct.pack(">H", profile << 9 | 6 << 3 | 0b101)
    body = b"\1\0" + facts + bytes([compatibility << 4]) + bytes(19)
    return struct.pack(">I", 8 + len(body)) + (b"dvvC" if profile > 7 else b"dvcC") + body


def with_box(path: Path, box: bytes) -> Path:
    """Append a box to the sample entry of an MP4 file whose only track is video, with its index at the end."""
    data, at, parents = bytearray(path.read_bytes()), 0, []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
        parents.append(at)
        at += 16 if name == b"stsd" else 8
    end = at + int.from_bytes(data[at : at + 4], "big")
    data[end:end] = box
    for parent in (*parents, at):
        size = int.from_bytes(data[parent : parent + 4], "big") + len(box)
        data[parent : parent + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def with_metadata(path: Path, target: Path) -> Path:
    """Write the stream of an MP4 file with a unit of metadata (NAL type 62) at the end of each frame."""
    unit = bytes([62 << 1, 1]) + bytes(range(25, 57))
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            extended = av.Packet(bytes(packet) + struct.pack(">I", len(unit)) + unit)
            extended.pts, extended.dts, extended.time_base = packet.pts, packet.dts, packet.time_base
            extended.is_keyframe = packet.is_keyframe
            extended.stream = stream
            container.mux(extended)
    return target


@pytest.mark.parametrize(("profile", "compatibility"), [(5, 0), (10, 0), (20, 0)])
def test_a_base_layer_with_colours_of_its_own_is_refused(tmp_path, profile, compatibility):
    path = with_box(hevc(tmp_path / "a.mp4"), record(profile, compatibility))
    with pytest.raises(
        MediaError, match=rf"is Dolby Vision of profile {profile}, .*; export it as HDR10, HLG"
    ):
        Clip(path).info  # noqa: B018


def test_it_is_refused_in_matroska_as_well(tmp_path):
    path = with_box(hevc(tmp_path / "a.mp4"), record(5, 0))
    with av.open(str(path)) as source:
        options = {"strict": "unofficial"}
        with av.open(str(tmp_path / "a.mkv"), "w", options=options) as container:
            stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
    with pytest.raises(MediaError, match="is Dolby Vision of profile 5"):
        Clip(tmp_path / "a.mkv").info  # noqa: B018


@pytest.mark.parametrize(("profile", "compatibility"), [(8, 1), (8, 4), (7, 6), (7, 0), (4, 2)])
def test_a_base_layer_that_players_show_is_read(tmp_path, profile, compatibility):
    plain = Clip(hevc(tmp_path / "plain.mp4", PQ_TAGS))
    clip = Clip(with_box(hevc(tmp_path / "a.mp4", PQ_TAGS), record(profile, compatibility)))
    assert clip.info.notes == (
        f"is Dolby Vision of profile {profile}; its base layer is shown, without that metadata",
        PQ_NOTE,
    )
    assert plain.info.notes == (PQ_NOTE,)
    assert (next(clip.chunks()).frames == next(plain.chunks()).frames).all()


def test_metadata_alone_is_recognised_and_the_stated_curve_decides(tmp_path):
    tagged = with_metadata(hevc(tmp_path / "tagged.mp4", PQ_TAGS), tmp_path / "tagged.mkv")
    assert Clip(tagged).info.notes[0] == "is Dolby Vision; its base layer is shown, without that metadata"
    untagged = with_metadata(hevc(tmp_path / "untagged.mp4"), tmp_path / "untagged.mkv")
    with pytest.raises(MediaError, match="is Dolby Vision, whose colours only"):
        Clip(untagged).info  # noqa: B018


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4"])
def test_other_clips_are_none_of_it(tmp_path, codec):
    options = {"x265-params": QUIET} if codec == "libx265" else {}
    frames = [np.full((64, 96, 3), 90, np.uint8)] * 3
    # SVT-AV1 gives root's thread that calls it the highest real-time priority, for good: not this one.
    with ThreadPoolExecutor(1) as pool:
        encoding = pool.submit(encode, tmp_path / "a.mp4", frames, codec=codec, options=options)
    assert Clip(encoding.result()).info.notes == ()
