"""Streaming encoder of a video file with audio; the file appears once it is complete."""

from __future__ import annotations

import math
import os
import warnings
from fractions import Fraction
from pathlib import Path

import av
import av.error
import torch

from ..errors import MediaError, SettingsError
from ..files import PartFile
from .audio_track import AudioTrack, audio_changes
from .colour import over_black
from .encode import OpenFile, close_quietly
from .info import Audio, AudioStream
from .source import check_size
from .timeline import as_rate

# Extension: FFmpeg's name of the container, video codec, audio codec.
_KINDS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
# The same for frames with alpha, with the format of the pixels and the encoder's options; other kinds hold none.
_ALPHA_KINDS = {
    ".mov": ("prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}),
    ".webm": ("libvpx-vp9", "yuva420p", {}),
}
_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
_HARDWARE = "h264_nvenc"  # the encoder of NVIDIA's GPUs; those made for data centres lack it
_ENCODERS = ("software", "hardware", "auto")


def usual_crf(width: int, height: int) -> int:
    """Return the default CRF: 17, down to 8 for frames with a shorter side of less than 360 pixels.

    Small frames are viewed enlarged. Half the side is a quarter of the pixels, and a CRF lower by 12 is four times the
    bits per pixel (x264's bits double about every 6), so small videos get about as many bits as larger ones.
    """
    return max(8, min(17, round(17 + 12 * math.log2(min(width, height) / 360))))


def keeps_alpha(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of this name holds the alpha of its frames: .webm as VP9, .mov as ProRes 4444."""
    return Path(path).suffix.lower() in _ALPHA_KINDS


class VideoWriter:
    """Writer of a video file; a context manager.

    The extension chooses the kind: .mp4, .m4v, .mov and .mkv hold H.264 and AAC, .webm holds VP9 and Opus. Frames with
    alpha are kept as they are where `keeps_alpha` says so, and put over black elsewhere.
    Colours are 4:2:0 of 8 bits, or of 10 in H.264, BT.709, limited range, and tagged so. An odd side, which 4:2:0 does
    not allow, is made even by repeating the last row or column, so that players show every pixel that was written.

    The frame rate is kept exactly (a float becomes the nearest fraction of moderate size). The audio starts
    with the first frame, is written along with the frames, and on leaving the block is cut, or padded with
    silence, to the length of the video; where one frame lasts for more than a minute of silence, a gap in the
    timestamps stands for that. A sample rate that the codec does not support is converted, and the channels of an
    unsupported layout get places in a larger one. `changes` describes both.

    The file grows under a hidden name next to the target. Leaving the block normally renames it into place,
    replacing any file of that name; leaving it by an exception deletes it, and the target is unchanged: see
    `files.PartFile`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate: Fraction,
        *,
        audio: Audio | AudioStream | None = None,
        crf: int | None = None,
        preset: str = "veryfast",
        encoder: str = "software",
        depth: int = 8,
    ):
        """Prepare a file; it is created on entering the block.

        Args:
            rate: frames per second.
            audio: audio of the video, from the first frame on.
            crf: constant quality, 0 to 51; lower is better and larger. None: `usual_crf` of the frames' size.
            preset: x264's speed, "ultrafast" to "veryslow"; VP9 has none.
            encoder: "software"; "hardware", an NVIDIA GPU's H.264 encoder, quicker, but larger at the same quality; or
                "auto", software with a warning where there is no such GPU, or where it can't encode this file.
            depth: bits a colour, 8 or 10; of 10, the file is H.264, encoded by software, without alpha.

        Raises:
            SettingsError: a parameter out of range, or a .webm file by hardware or of 10 bits.
            MediaError: unknown extension, or no such directory. On entering: nothing can be written there, the path is
                that of a pipe, device or socket, or the hardware that was asked for does not encode.
        """
        self._path = Path(path)
        self._rate = as_rate(rate)
        in_range = crf is None or 0 <= crf <= 51
        if self._rate <= 0 or not in_range or preset not in _PRESETS:
            raise SettingsError(
                f"a video needs a rate above 0, crf from 0 to 51 and a preset of {', '.join(_PRESETS)}; got "
                f"rate={rate}, crf={crf}, preset={preset}"
            )
        if encoder not in _ENCODERS:
            raise SettingsError(f"encoder must be one of {', '.join(_ENCODERS)}, got {encoder!r}")
        if self._path.suffix.lower() not in _KINDS:
            raise MediaError(path, f"the extension must be one of {', '.join(_KINDS)}")
        by_hardware = _KINDS[self._path.suffix.lower()][1] == "libx264"
        if encoder == "hardware" and not by_hardware:
            raise SettingsError(
                f"encoder must be software or auto for a {self._path.suffix} file, got 'hardware'; choose .mp4 for it"
            )
        if depth not in (8, 10):
            raise SettingsError(f"depth must be 8 or 10 bits a colour, got {depth}")
        if depth == 10 and not (by_hardware and encoder != "hardware"):
            raise SettingsError(
                f"depth=10 is for H.264 in .mp4, .m4v, .mov and .mkv by software, got {self._path.suffix} and "
                f"encoder={encoder!r}; choose these, or depth=8"
            )
        if not self._path.parent.is_dir():
            raise MediaError(path, f"there is no directory {self._path.parent}; create it first")
        if self._path.is_dir():
            raise MediaError(path, "is a directory; give a file name")
        self._crf, self._preset = crf, preset
        self._audio = audio.stream() if isinstance(audio, Audio) else audio
        self._encoder = encoder if by_hardware and depth == 8 else "software"
        self._depth = depth
        self._part: PartFile | None = None
        self._file: OpenFile | None = None

    def __enter__(self) -> VideoWriter:
        if self._encoder == "hardware" and (why := unusable(_HARDWARE)) is not None:
            raise MediaError(self._path, f"{_HARDWARE} does not work here: {why}; take the software encoder")
        try:
            self._part = PartFile(self._path, keep=True)
        except OSError as error:
            raise self._failure(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except (OSError, av.error.FFmpegError) as error:
            self._abandon()
            raise self._failure(error) from error
        except BaseException:
            self._abandon()
            raise

    def changes(self, size: tuple[int, int]) -> tuple[str, ...]:
        """Return what the file changes of frames of this width and height and of the audio.

        Clauses, such as "audio in 7.0 becomes 7.1 in .mp4".
        """
        (width, height), kind = size, self._path.suffix.lower()
        changes: tuple[str, ...] = ()
        if width % 2 or height % 2:
            even = f"{width + width % 2}x{height + height % 2}"
            changes = (f"frames of {width}x{height} become {even} in the file: its sides are even",)
        if self._audio is not None:
            changes += audio_changes(self._audio, _KINDS[kind][2], kind)
        return changes

    @property
    def frame_count(self) -> int:
        """Frames written so far."""
        return 0 if self._file is None else self._file.count

    def write(self, frames: torch.Tensor) -> None:
        """Append frames.

        Args:
            frames: uint8 [N, H, W, 3] RGB, or [N, H, W, 4] RGBA with straight colours, the same H, W and number of
                channels in each call; on any device. For a depth of 10, also uint16 [N, H, W, 3] as of
                `Clip.chunks(deep=True)`.

        Raises:
            MediaError: frames of another shape or type, or the file can't be written.
        """
        deep = self._depth == 10 and frames.dtype == torch.uint16 and frames.shape[-1] == 3
        if frames.ndim != 4 or frames.shape[3] not in (3, 4) or not (deep or frames.dtype == torch.uint8):
            raise MediaError(
                self._path,
                f"frames must be uint8 [N, H, W, 3] or [N, H, W, 4], got {frames.dtype} {list(frames.shape)}",
            )
        height, width, channels = frames.shape[1:]
        alpha = channels == 4 and keeps_alpha(self._path) and self._depth == 8
        try:
            if self._file is None:
                self._file = self._opened(width, height, alpha)
            if self._file.size != (width, height):
                expected = "x".join(map(str, self._file.size))
                raise MediaError(self._path, f"all frames must be {expected}, got {width}x{height}")
            if self._file.alpha != alpha:
                raise MediaError(self._path, "all frames must have alpha, or none of them")
            pixels = frames.cpu().numpy()
            self._file.encode(map(over_black, pixels) if channels == 4 and not alpha else pixels)
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure(error) from error

    def _opened(self, width: int, height: int, alpha: bool) -> OpenFile:
        """Open the file for frames of this size."""
        check_size(str(self._path), width, height)
        video_codec = _KINDS[self._path.suffix.lower()][1]
        crf = usual_crf(width, height) if self._crf is None else self._crf
        if alpha:
            video_codec, pixel_format, options = _ALPHA_KINDS[self._path.suffix.lower()]
            options = options or _vp9_options(crf)
            return self._opened_by(video_codec, options, width, height, pixel_format)
        if self._encoder != "software":
            # Quality 0 would be NVENC's own choice.
            options = {"rc": "vbr", "cq": str(max(crf, 1)), "b": "0", "preset": "p5"}
            try:
                return self._opened_by(_HARDWARE, options, width, height)
            except (MediaError, av.error.FFmpegError) as error:
                why = f"{_HARDWARE} does not encode this file: {getattr(error, 'reason', None) or error}"
                if self._encoder == "hardware":
                    raise MediaError(self._path, f"{why}; take the software encoder") from error
                warnings.warn(f"{why}; encoding by software", stacklevel=2)
        if video_codec != "libx264":
            return self._opened_by(video_codec, _vp9_options(crf), width, height)
        options = {"crf": str(crf), "preset": self._preset}
        pixel_format = "yuv420p10le" if self._depth == 10 else "yuv420p"
        return self._opened_by(video_codec, options, width, height, pixel_format)

    def _opened_by(
        self,
        video_codec: str,
        options: dict[str, str],
        width: int,
        height: int,
        pixel_format: str = "yuv420p",
    ) -> OpenFile:
        """Open the file with this encoder."""
        if video_codec not in av.codecs_available:
            raise MediaError(self._path, f"this build of FFmpeg has no {video_codec}; install PyAV from PyPI")
        kind, _, audio_codec = _KINDS[self._path.suffix.lower()]
        muxing = {}
        if kind in ("mp4", "mov"):
            muxing["movflags"] = "+faststart"
            if self._rate < Fraction(1, 100):
                # A frame's duration has 31 bits there, and FFmpeg's own choice is 10,000 ticks a second or more.
                muxing["video_track_timescale"] = str(self._rate.numerator * 1000)
        assert self._part is not None
        container = av.open(str(self._part.path), "w", format=kind, options=muxing)
        try:
            stream = container.add_stream(video_codec, rate=self._rate, options=options)
            assert isinstance(stream, av.video.stream.VideoStream)
            file = OpenFile(container, stream, self._rate, (width, height), pixel_format)
            stream.codec_context.open()
            if self._audio is not None:
                file.audio = AudioTrack(container, audio_codec, self._audio, str(self._path))
        except BaseException:
            close_quietly(container)
            raise
        return file

    def _finish(self) -> None:
        if self._file is None:
            raise MediaError(self._path, "no frames were written, and a video needs at least one")
        self._file.finish()
        assert self._part is not None
        self._part.commit()

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.abandon()
        if self._part is not None:
            self._part.abandon()

    def _failure(self, error: Exception) -> MediaError:
        return MediaError(self._path, f"can't be written: {getattr(error, 'strerror', None) or error}")


def _vp9_options(crf: int) -> dict[str, str]:
    return {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}


def unusable(video_codec: str) -> str | None:
    """Return why an encoder can't be opened on this machine, None if it can."""
    if video_codec not in av.codecs_available:
        return "this build of FFmpeg lacks it"
    try:
        context = av.CodecContext.create(video_codec, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width = context.height = 256
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        context.open()
    except av.error.FFmpegError as error:
        return str(error)
    return None
