"""Errors for users. Each message gives the rule, the actual value and the remedy."""

from __future__ import annotations

from .text import one_line

MAX_MESSAGE = 2000
"""Characters of a message; file names and a server's text may be part of it."""


class LivePortraitError(Exception):
    """Base class of all errors that this library raises deliberately; the message is one bounded line."""

    def __init__(self, message: object = ""):
        super().__init__(one_line(str(message), MAX_MESSAGE))


class MediaError(LivePortraitError):
    """A clip can't be read or written.

    Attributes:
        path: as the user gave it.
        reason: cause and remedy.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(f"{one_line(str(path), MAX_MESSAGE // 4)}: {reason}")
        self.path = path
        self.reason = one_line(reason, MAX_MESSAGE)


class TemplateError(LivePortraitError):
    """A file that is not a motion template, or holds something unexpected; or a clip that makes none."""


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
