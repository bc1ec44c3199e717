"""The hosted model behind Segmind's API: a job that is paid once, and not lost."""

from .engine import SegmindEngine, report_of
from .job import JobState
from .journal import Job, Journal, SpendingLimits

__all__ = ["Job", "JobState", "Journal", "SegmindEngine", "SpendingLimits", "report_of"]
