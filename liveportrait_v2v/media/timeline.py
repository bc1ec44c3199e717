"""Display times of a clip's frames, and the choice of frames for an output sequence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import MediaError, SettingsError

_STANDARD_RATES = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (12, 15, 24, 30, 48, 60, 120, 240)
]
_MAX_DENOMINATOR = 100_000
_MAX_FRAMES = 10_000_000  # 92 hours at 30 frames a second
_JITTER = 0.4  # of a frame
_FILLED = 0.95  # least fraction of an even grid that has frames


def as_rate(rate: Fraction | float) -> Fraction:
    """Return a rate as a fraction with a denominator of up to 100,000, so that 29.97 is 2997/100; exact near zero."""
    rate = Fraction(rate)
    return rate.limit_denominator(_MAX_DENOMINATOR) or rate


@dataclass(frozen=True)
class Timeline:
    """The display times of a clip's frames.

    Attributes:
        ticks: int64 [n], strictly increasing, in `tick` seconds from the first frame.
        tick: seconds.
        end: end of the last frame, in ticks.
        rate: frames per second; the average where the rate is variable.
        constant: whether frame i is shown at i / rate for all i.
    """

    ticks: np.ndarray
    tick: Fraction
    end: int
    rate: Fraction
    constant: bool

    @property
    def count(self) -> int:
        return len(self.ticks)

    @property
    def duration(self) -> Fraction:
        return self.count / self.rate if self.constant else self.end * self.tick

    def on_screen(self, start: Fraction, step: Fraction, count: int) -> np.ndarray:
        """Return the frame shown at start + k * step seconds, for k in 0..count-1, as int64 [count].

        Stored timestamps are rounded, to a millisecond in many files, so a frame that begins up to that much later
        counts as begun.
        """
        slack = min(max(self.tick, Fraction(1, 1000)), step / 4)
        # (a + k * b) // c is floor((start + slack + k * step) / tick), in integers and so exact.
        first, step = (start + slack) / self.tick, step / self.tick
        c = math.lcm(first.denominator, step.denominator)
        a, b = int(first * c), int(step * c)
        at = np.array([(a + k * b) // c for k in range(count)], dtype=np.int64)
        return np.maximum(np.searchsorted(self.ticks, at, side="right") - 1, 0)


def make_timeline(
    ticks: np.ndarray,
    tick: Fraction,
    last_duration: int,
    claimed_rates: Iterable[Fraction | None] = (),
    *,
    exact: bool = False,
) -> Timeline:
    """Distinguish a constant frame rate from a variable one.

    The candidates are, in this order, the rates that the file claims, the standard ones near the average, and the
    average itself. The rate is constant if every frame keeps its number on the grid of a candidate: the deviations
    of the timestamps span less than 0.4 of a frame. Timestamps rounded to milliseconds, or a camera's jitter,
    therefore neither double nor drop a frame. Of several matching candidates, the first that explains the
    timestamps down to their rounding is taken. If up to 5 % of the frames are missing from such a grid, the clip
    keeps its rate, and the frame before a gap is held. All other rates are variable.

    Args:
        ticks: int64 [n], display times, strictly increasing.
        tick: seconds.
        last_duration: display time of the last frame, in ticks; 0 if unknown.
        claimed_rates: rates from the file's headers, the most trusted first.
        exact: the times are exact up to rounding, including the last frame's end.
    """
    ticks = ticks - ticks[0]
    count = len(ticks)
    claimed = [Fraction(rate) for rate in claimed_rates if rate and 0 < rate <= 1000]
    if count == 1:
        rate = claimed[0] if claimed else 1 / (last_duration * tick) if last_duration > 0 else Fraction(25)
        return Timeline(ticks, tick, max(1, round(1 / (rate * tick))), rate, True)

    points = np.append(ticks, ticks[-1] + last_duration) if exact else ticks
    numbers = np.arange(len(points))
    mean = Fraction(len(points) - 1) / (int(points[-1]) * tick)
    near = [rate for rate in _STANDARD_RATES if abs(rate / mean - 1) < max(1 / count, 1.1 - _FILLED)]
    best, best_spread = None, 0.0 if exact else _JITTER
    for rate in [*claimed, *near, mean.limit_denominator(1001), mean]:
        phase = points * float(tick * rate) - numbers
        spread = float(phase.max() - phase.min())
        if spread <= 1.01 * float(tick * rate) and spread < _JITTER:
            best = rate
            break
        if spread < best_spread:
            best, best_spread = rate, spread
    if best is not None and last_duration * tick * best <= 1.9:
        return Timeline(ticks, tick, int(ticks[-1]) + round(1 / (best * tick)), best, True)
    for rate in [] if exact else [best] if best else [*claimed, *near]:
        at = ticks * float(tick * rate)
        numbers = np.rint(at).astype(np.int64)
        even = np.ptp(at - numbers) < _JITTER and (np.diff(numbers) > 0).all()
        end = int(numbers[-1]) + max(1, round(last_duration * tick * rate))
        if even and end <= count / _FILLED:
            return Timeline(numbers, 1 / rate, end, rate, False)

    end = int(ticks[-1]) + (last_duration if last_duration > 0 else round(1 / (mean * tick)))
    average = count / (end * tick)
    # Below one frame in 2000 s the nearest such fraction is zero.
    return Timeline(ticks, tick, end, average.limit_denominator(1001) or average, False)


@dataclass(frozen=True)
class Window:
    """Part of a timeline inside a trim window, as frames at the timeline's rate.

    Attributes:
        timeline: of the whole clip.
        origin: the window's zero, in seconds from the clip's first frame.
        length: seconds.
        first: the first frame, for a constant rate.
        count: number of frames, length * rate rounded to whole frames.
    """

    timeline: Timeline
    origin: Fraction
    length: Fraction
    first: int
    count: int

    @property
    def rate(self) -> Fraction:
        return self.timeline.rate

    @property
    def duration(self) -> Fraction:
        return self.count / self.rate

    def frames(self, numbers: np.ndarray) -> np.ndarray:
        """Return the clip's frames at these places of the window, both int64 [n]."""
        if self.timeline.constant:
            return numbers + self.first
        shown: np.ndarray = self.timeline.on_screen(self.origin, 1 / self.rate, self.count)[numbers]
        return shown


def make_window(name: str, timeline: Timeline, start: Fraction, duration: Fraction | None) -> Window:
    """Return a clip's trim window.

    Constant rate: the frames with start <= time < start + duration; the first of them is the window's zero. Variable
    rate: zero is `start` itself, and the frame that is on screen then comes first.

    Raises:
        MediaError: nothing of the clip is in the window.
    """
    total = timeline.duration
    end = total if duration is None else min(total, start + duration)
    if start < 0 or (duration is not None and duration <= 0):
        raise MediaError(
            name,
            f"a trim window needs start >= 0 and duration > 0, got {_seconds(start)}, {_seconds(duration)}",
        )
    if timeline.constant:
        # Tolerates times given in rounded seconds.
        first = math.ceil(start * timeline.rate - Fraction(1, 100))
        stop = min(timeline.count, math.ceil(end * timeline.rate - Fraction(1, 100)))
        count = stop - first
        window = Window(timeline, first / timeline.rate, count / timeline.rate, first, count)
    else:
        length = end - start
        window = Window(timeline, start, length, 0, max(round(length * timeline.rate), int(length > 0)))
    if window.count < 1:
        raise MediaError(
            name,
            f"no frame is in the trim window (start {_seconds(start)}, duration {_seconds(duration)}): "
            f"the clip is {_seconds(total)} long",
        )
    return window


def _seconds(value: Fraction | None) -> str:
    return "unlimited" if value is None else f"{float(value):.6g} s"


@dataclass(frozen=True)
class Selection:
    """Frame of the clip that each output frame shows.

    Attributes:
        frames: int64 [n], in non-decreasing order.
        rate: frame rate of the output.
        offset: time of the first output frame, in seconds from the window's zero.
    """

    frames: np.ndarray
    rate: Fraction
    offset: Fraction


def select_frames(
    name: str,
    window: Window,
    *,
    skip: int = 0,
    cap: int = 0,
    every_nth: int = 1,
    rate: Fraction | None = None,
) -> Selection:
    """Leave out `skip` frames, take every nth, resample what is left to `rate`, stop after `cap` frames.

    Raises:
        SettingsError: an option out of range.
        MediaError: nothing is left.
    """
    if skip < 0 or cap < 0 or every_nth < 1 or (rate is not None and rate <= 0):
        raise SettingsError(
            "skip and cap must be 0 or more, every_nth 1 or more, rate above 0; got "
            f"skip={skip}, cap={cap}, every_nth={every_nth}, rate={rate}"
        )
    if skip >= window.count:
        raise MediaError(
            name, f"the clip has {window.count} frames, and {skip} are to be skipped: skip fewer"
        )
    offset = skip / window.rate
    thinned = window.rate / every_nth
    if rate is None:
        frames = window.frames(np.arange(skip, window.count, every_nth))
        return Selection(frames[: cap or None], thinned, offset)

    # The length of a variable-rate clip may be a fraction of a frame: at least one, none past the end.
    count = max(1, math.ceil((window.length - offset) * rate))
    count = min(count, cap) if cap else count
    if count > _MAX_FRAMES:
        raise MediaError(
            name,
            f"{float(window.length):.0f} s at {float(rate):.6g} frames a second are too many frames: at most "
            f"{_MAX_FRAMES} are read, and such timestamps are probably damaged; set a cap or a trim window",
        )
    if every_nth == 1 and not window.timeline.constant:
        return Selection(window.timeline.on_screen(window.origin + offset, 1 / rate, count), rate, offset)
    ratio = thinned / rate
    numbers = [skip + every_nth * (k * ratio.numerator // ratio.denominator) for k in range(count)]
    return Selection(window.frames(np.minimum(numbers, window.count - 1)), rate, offset)
