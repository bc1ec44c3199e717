"""Errors for users. Each message gives the rule, the actual value and the remedy."""

from __future__ import annotations


class LivePortraitError(Exception):
    """Base class of all errors that this library raises deliberately."""


class MediaError(LivePortraitError):
    """A clip can't be read or written.

    Attributes:
        path: as the user gave it.
        reason: cause and remedy.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class SettingsError(LivePortraitError, ValueError):
    """A parameter is outside its documented range or has the wrong type."""


class FaceNotFoundError(LivePortraitError):
    """The face chosen by the settings is in no frame of a clip."""


class Cancelled(LivePortraitError):
    """The caller stopped a run; it leaves no output behind.

    Attributes:
        goes_on: message about a job that continues elsewhere and how to resume it; "" if there is none.
    """

    goes_on = ""
