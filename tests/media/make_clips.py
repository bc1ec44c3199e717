"""Generators of small clips with the oddities of real files, and of frames that can be identified."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 9
# Red and blue weights of the YUV matrices, by FFmpeg's tag (AVCOL_SPC_*).
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def numbered(number: int, width: int = 144, height: int = 96) -> np.ndarray:
    """uint8 [H, W, 3] that shows its number as a row of dark and bright blocks."""
    frame = np.full((height, width, 3), 40, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[height // 4 : -height // 4, bit * width // BITS : (bit + 1) * width // BITS] = 200
    return frame


def number_of(frame) -> int:
    """The number that `numbered` encoded in a frame, at any size."""
    frame = np.asarray(frame)
    height, width = frame.shape[:2]
    row = frame[height // 2].mean(-1)
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * width / BITS)] > 120)


def numbers_of(chunks) -> list[int]:
    return [number_of(frame) for chunk in chunks for frame in chunk.frames.numpy()]


def count_up(count: int, **size) -> Iterator[np.ndarray]:
    return (numbered(number, **size) for number in range(count))


def quadrants(width: int = 96, height: int = 64) -> np.ndarray:
    """Red, green / blue, white: identifies the orientation of a picture."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2] = (220, 20, 20)
    frame[: height // 2, width // 2 :] = (20, 220, 20)
    frame[height // 2 :, : width // 2] = (20, 20, 220)
    frame[height // 2 :, width // 2 :] = (220, 220, 220)
    return frame


def corners_of(frame) -> str:
    """The colours of the four quadrants, row by row, as letters of rgbw."""
    frame = np.asarray(frame).astype(int)
    height, width = frame.shape[:2]
    names = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    points = [frame[y, x] for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    return "".join(names.get(tuple(int(v > 128) for v in point), "?") for point in points)


def encode(
    path: Path,
    frames: Iterable[np.ndarray | av.VideoFrame],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction = Fraction(25),
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    container_format: str | None = None,
    aspect: Fraction | None = None,
    tags: tuple[int, int] | None = None,
    audio: np.ndarray | None = None,
    audio_rate: int = 48000,
    audio_codec: str = "aac",
    audio_layout: str = "stereo",
    audio_start: Fraction = Fraction(0),
    audio_gap: tuple[float, float] = (0, 0),
) -> Path:
    """Write a video file of any kind that PyAV supports.

    Args:
        frames: RGB or RGBA arrays, or ready frames.
        pts: display times in time_base units; 0, 1, 2, ... if left out.
        time_base: of the pts; one frame by default.
        tags: matrix and range (AVCOL_SPC_*, AVCOL_RANGE_*).
        audio: float32 [C, T].
        audio_start: start of the audio, in seconds.
        audio_gap: the blocks that begin between these seconds are left out.
    """
    time_base = time_base or 1 / rate
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.time_base = time_base
        audio_stream = None
        if audio is not None:
            audio_stream = container.add_stream(audio_codec, rate=audio_rate)
            audio_stream.codec_context.layout = audio_layout
        opened = False
        for index, pixels in enumerate(frames):
            frame = pixels if isinstance(pixels, av.VideoFrame) else _frame(pixels)
            if not opened:
                stream.width, stream.height = frame.width, frame.height
                if aspect:
                    context.sample_aspect_ratio = aspect
                if tags:
                    context.colorspace, context.color_range = tags
                opened = True
            if frame.format.name != pix_fmt:
                frame = frame.reformat(format=pix_fmt)
            if tags:
                frame.colorspace, frame.color_range = tags
            frame.pts = index if pts is None else pts[index]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio_stream is not None:
            _encode_audio(container, audio_stream, audio, audio_rate, audio_layout, audio_start, audio_gap)
    return path


def _frame(pixels: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")


def _encode_audio(container, stream, samples, rate, layout, start, gap=(0, 0)) -> None:
    for at in range(0, samples.shape[1], 1024):
        if gap[0] <= at / rate < gap[1]:
            continue
        block = samples[:, at : at + 1024].T.astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate = rate
        frame.pts, frame.time_base = at + round(start * rate), Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def encode_audio(
    path: Path,
    samples: np.ndarray,
    *,
    codec: str = "aac",
    rate: int = 48000,
    layout: str = "stereo",
    start: Fraction = Fraction(0),
) -> Path:
    """Write a file with audio only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        _encode_audio(container, stream, samples, rate, layout, start)
    return path


def tones(layout: str, seconds: float = 1.0, rate: int = 48000) -> np.ndarray:
    """A tone of its own on each channel of a layout, 400, 500, ... Hz, 40 Hz on LFE; float32 [C, T]."""
    times = np.arange(round(seconds * rate)) / rate
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    pitches = [40 if name == "LFE" else 400 + 100 * k for k, name in enumerate(names)]
    return np.stack([0.2 * np.sin(2 * np.pi * pitch * times) for pitch in pitches]).astype(np.float32)


def pitches(samples, rate: int = 48000) -> list[int]:
    """The strongest frequency of each channel, to 10 Hz; 0 for silence."""
    spectrum = np.abs(np.fft.rfft(np.asarray(samples)[:, rate // 4 : rate * 3 // 4], axis=1))
    strongest = np.round(spectrum.argmax(1) * 2, -1)
    return np.where(spectrum.max(1) > 100, strongest, 0).astype(int).tolist()


def encode_tracks(
    path: Path, frames: Iterable[np.ndarray], tracks: dict[str, np.ndarray], default: int
) -> Path:
    """Write a video with several audio tracks, stereo at 48 kHz, by title; one of them is the default one."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        streams = []
        for number, title in enumerate(tracks):
            stream = container.add_stream("aac", rate=48000)
            stream.codec_context.layout = "stereo"
            stream.metadata["title"] = title
            stream.disposition = (
                av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            )
            streams.append(stream)
        video.width, video.height = 144, 96  # of `numbered`
        for pixels in frames:
            container.mux(video.encode(_frame(pixels)))
        container.mux(video.encode(None))
        for stream, samples in zip(streams, tracks.values(), strict=True):
            _encode_audio(container, stream, samples, 48000, "stereo", Fraction(0))
    return path


def beep(at: float, seconds: float = 3.0, rate: int = 48000, channels: int = 2) -> np.ndarray:
    """Silence with a tone of 20 ms beginning at `at` seconds, float32 [C, T]."""
    samples = np.zeros((channels, round(seconds * rate)), np.float32)
    begin, length = round(at * rate), rate // 50
    samples[:, begin : begin + length] = 0.8 * np.sin(np.arange(length) * (2 * np.pi * 1000 / rate))
    return samples


def beep_time(samples, rate: int) -> float:
    """Start of the tone of `beep` in seconds: where the energy of 20 ms is highest."""
    power = np.asarray(samples)[0].astype(np.float64) ** 2
    energy = np.convolve(power, np.ones(rate // 50), "valid")
    return int(energy.argmax()) / rate


def yuv_of(rgb: tuple[int, int, int], matrix: int, full: bool) -> tuple[int, int, int]:
    """8-bit Y, Cb, Cr of a colour, by the definition (ITU-T H.273, 8.3)."""
    kr, kb = MATRICES[matrix]
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if full:
        return tuple(min(255, max(0, round(v))) for v in (255 * y, 255 * cb + 128, 255 * cr + 128))
    return round(16 + 219 * y), round(128 + 224 * cb), round(128 + 224 * cr)


def yuv_frame(
    values: tuple[int, int, int], width: int = 64, height: int = 48, pix_fmt: str = "yuv420p"
) -> av.VideoFrame:
    """A 4:2:0 frame of one colour, given as its 8-bit Y, Cb, Cr."""
    frame = av.VideoFrame(width, height, pix_fmt)
    ten = pix_fmt == "yuv420p10le"
    for plane, value in zip(frame.planes, values, strict=True):
        np.frombuffer(plane, np.uint16 if ten else np.uint8)[:] = value << (2 if ten else 0)
    return frame


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into the first track header of an MP4 (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def set_edit_list(path: Path, media_time: int, duration: int) -> Path:
    """Change the first edit of an MP4: its start in media time and its duration in movie time."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    assert data[at] == 0
    assert struct.unpack_from(">I", data, at + 4)[0] == 1
    struct.pack_into(">Ii", data, at + 8, duration, media_time)
    path.write_bytes(data)
    return path


def damage_packets(path: Path, numbers: Iterable[int], kind: str = "video") -> Path:
    """Overwrite the data of some video or audio packets, counted in the order of the file."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(**{kind: 0}) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        data[position : position + size] = (b"\xff" if kind == "audio" else b"\0") * size
    path.write_bytes(data)
    return path
