"""The hosted model behind Segmind's API: a job that is paid once, and not lost."""

from .engine import SegmindEngine, file_of, report_of
from .journal import Job, Journal, SpendingLimits
from .keys import ApiKey, find_key, remove_key
from .request import JobState

__all__ = [
    "ApiKey",
    "Job",
    "JobState",
    "Journal",
    "SegmindEngine",
    "SpendingLimits",
    "file_of",
    "find_key",
    "remove_key",
    "report_of",
]
