"""LivePortrait video-to-video: a source clip's face takes over the motion of a driving clip's."""

__version__ = "0.1.0"
