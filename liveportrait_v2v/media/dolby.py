"""Dolby Vision: whether a stream is of it, and whether what players without it show has the right colours.

A stream has a base layer and metadata (RPU). The base layer is HDR10, HLG or SDR in most profiles. In profile 5 it has
colours of its own (IPT-PQ-c2), which are wrong by any other reading. The configuration record says which one it is
("Dolby Vision Streams within the ISO Base Media File Format", 2.1.2, "DOVIDecoderConfigurationRecord").
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import av
import av.error

_CODECS = ("hevc", "h264", "av1")
_BOXES = (b"dvcC", b"dvvC", b"dvwC")
_COMPATIBLE_BEFORE_IDS = (4, 7, 9)
"""Profiles whose base layers are SDR, HDR10 and SDR; records from before there was a compatibility id have 0 there."""
_SIDE_DATA = ("DOVI_RPU_BUFFER", "DOVI_METADATA")
_UNSPECIFIED = 2  # AVCOL_TRC_UNSPECIFIED


@dataclass(frozen=True)
class DolbyVision:
    """What a stream says of its Dolby Vision.

    Attributes:
        profile: its number; None where only the frames have metadata.
        compatible: its base layer is HDR10, HLG or SDR.
    """

    profile: int | None
    compatible: bool

    @classmethod
    def of(
        cls, stream: av.video.stream.VideoStream, picture: av.VideoFrame, transfer: int
    ) -> DolbyVision | None:
        """Return what a stream and its first picture say, None without Dolby Vision.

        Without a record, a base layer is compatible where it states its transfer curve: that of profile 5 can't.

        Args:
            transfer: FFmpeg's tag of the curve.
        """
        record = _record(stream)
        if record is not None:
            profile, compatibility = record[2] >> 1, record[4] >> 4
            return cls(profile, compatibility != 0 or profile in _COMPATIBLE_BEFORE_IDS)
        side_data: Any = picture.side_data  # PyAV's stubs lack it
        if any(name in side_data for name in _SIDE_DATA):
            return cls(None, transfer != _UNSPECIFIED)
        return None

    @property
    def note(self) -> str:
        """What is done: a clause whose subject is the clip."""
        return f"is {self._name}; its base layer is shown, without that metadata"

    @property
    def refusal(self) -> str:
        """Why it can't be read, and what to do."""
        return (
            f"is {self._name}, whose colours only a decoder of Dolby's can read; export it as HDR10, HLG or SDR "
            "(profile 8 has such a base layer)"
        )

    @property
    def _name(self) -> str:
        return "Dolby Vision" if self.profile is None else f"Dolby Vision of profile {self.profile}"


def _record(stream: av.video.stream.VideoStream) -> bytes | None:
    """Return the configuration record of a stream.

    FFmpeg reads it of MP4, Matroska and transport streams, but PyAV does not show it. The header of an MP4 file with
    that stream has it in a box.
    """
    if stream.codec_context.name not in _CODECS:
        return None
    header = io.BytesIO()
    options = {"movflags": "empty_moov", "strict": "unofficial"}
    try:
        with av.open(header, "w", format="mp4", options=options) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
            written = header.getvalue()
    except (av.error.FFmpegError, ValueError):
        return None  # a stream that MP4 can't hold, or one without parameters
    found = [written.index(box) + len(box) for box in _BOXES if box in written]
    return written[found[0] : found[0] + 24] if found else None
