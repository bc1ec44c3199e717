"""The Segmind engine: jobs of the hosted model, each paid for once and resumable."""

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
