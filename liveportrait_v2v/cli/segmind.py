"""Options of the Segmind engine, and the description of its jobs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import MAX_MESSAGE, SettingsError
from ..text import one_line

if TYPE_CHECKING:
    from ..engines.segmind import SegmindEngine


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only the Segmind engine takes."""
    group = parser.add_argument_group("only with --engine segmind")
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="another number orders the same job again, at full cost",
    )
    group.add_argument("--max-cost", type=float, metavar="USD", help="refuse a job that would cost more")
    group.add_argument(
        "--max-cost-per-day",
        type=float,
        metavar="USD",
        help="refuse a job that would take the last 24 hours above it",
    )
    group.add_argument(
        "--deadline", type=float, default=900.0, metavar="S", help="seconds to wait (default: 900)"
    )
    group.add_argument(
        "--api",
        choices=("v1", "v2"),
        default="v2",
        help="v1 blocks until the job is done, and can resume less (default: v2)",
    )


def make_engine(options: argparse.Namespace) -> SegmindEngine:
    """Create the engine from the command line.

    Raises:
        SettingsError: a limit is negative.
        UrlError: SEGMIND_BASE_URL is not an allowed URL.
    """
    for name in ("max_cost", "max_cost_per_day", "deadline"):
        value = getattr(options, name)
        if value is not None and not value >= 0:
            raise SettingsError(f"--{name.replace('_', '-')} must be 0 or more, got {value}")
    from ..engines.segmind import SegmindEngine, SpendingLimits

    return SegmindEngine(
        seed=options.seed,
        limits=SpendingLimits(options.max_cost, options.max_cost_per_day),
        deadline=options.deadline,
        version=options.api,
    )


def describe(job: dict[str, Any]) -> str:
    """Describe the job of a result in one line: ids, cost, remaining credits, and the model's own file."""
    cost = "cost unknown" if job["cost"] is None else f"{job['cost']:.4g} USD"
    left = "" if job["remaining_credits"] is None else f", {job['remaining_credits']:.4g} credits left"
    name = f"job {job['job']} ({job['request_id'] or 'no request id'})"
    return one_line(f"{name}: {cost}{left}; as the model made it: {job['file']}", MAX_MESSAGE)
