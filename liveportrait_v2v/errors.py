"""The errors a user can meet. Each message gives the rule, the actual value and the remedy."""

from __future__ import annotations


class LivePortraitError(Exception):
    """Base of every error that this library raises on purpose."""


class MediaError(LivePortraitError):
    """A clip can't be read or written.

    Attributes:
        path: what was to be read or written, as the user named it.
        reason: why it can't be, and what to do about it.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class SettingsError(LivePortraitError, ValueError):
    """A parameter is outside its documented range or has the wrong type."""


class FaceNotFoundError(LivePortraitError):
    """The face that the settings choose is in no frame of a clip."""


class Cancelled(LivePortraitError):
    """The caller asked a run to stop; nothing of its output is left behind.

    Attributes:
        goes_on: what continues elsewhere, and how to return to it; "" where nothing does.
    """

    goes_on = ""
