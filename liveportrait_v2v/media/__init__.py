"""Clips in and out: probing, streaming decode by timestamps, audio, encoding."""

from .audio import read_audio
from .clip import Clip
from .info import Audio, AudioInfo, AudioStream, Chunk, ClipInfo, FrameSource
from .readers import Frames
from .writer import VideoWriter, keeps_alpha

__all__ = [
    "Audio",
    "AudioInfo",
    "AudioStream",
    "Chunk",
    "Clip",
    "ClipInfo",
    "FrameSource",
    "Frames",
    "VideoWriter",
    "keeps_alpha",
    "read_audio",
]
