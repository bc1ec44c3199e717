"""Clips in and out: probing, streaming decode by timestamps, audio, encoding."""

from .audio import read_audio
from .clip import Clip
from .info import Audio, AudioInfo, Chunk, ClipInfo
from .writer import VideoWriter

__all__ = ["Audio", "AudioInfo", "Chunk", "Clip", "ClipInfo", "VideoWriter", "read_audio"]
