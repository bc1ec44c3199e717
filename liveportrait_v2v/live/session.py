"""A live session: the camera's face drives the source, a frame at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..engines.base import Engine, Session
from ..faces.smoothing import variance_at
from ..run.neighbours import without_others
from ..run.splice import DrivingMotion, splice
from ..smoothing import ForwardFilter
from ..tracking import TrackedChunk
from .camera import RATE
from .controls import Controls
from .jitter import Jitter
from .looped import LoopedSource
from .neutral import NeutralFinder

HOLD_SECONDS = 0.2
"""Time for which a lost face's last motion is shown, as runs bridge gaps."""
RETURN_SECONDS = 0.3
"""Time in which motion goes back to neutral after that, and to the face when it is found again."""
INTERVAL_EMA_WEIGHT = 0.1
"""Weight of a frame's own interval in the exponential average of the intervals."""


@dataclass(frozen=True)
class Drawn:
    """One frame of the result.

    Attributes:
        frame: uint8 [H, W, 3], on the CPU.
        found: the camera's frame shows the face.
        neutral: motion starts from a neutral face; without one the source is shown as it is.
    """

    frame: torch.Tensor
    found: bool
    neutral: bool


class LiveSession:
    """An engine's session that is fed by a camera; whatever the page changes takes effect with the next frame.

    Nothing is held back: motion is smoothed over earlier frames alone. A change that an engine's session can't take
    starts another one from the same neutral face.

    Attributes:
        jitter: of the camera's face, before and after smoothing.
    """

    def __init__(self, engine: Engine, source: LoopedSource, controls: Controls):
        self._engine = engine
        self._source = source
        self._controls = controls
        self._neutral: TrackedChunk | None = None
        self._finder = NeutralFinder()
        self._asked = False
        self._seen = self._drawn = 0.0  # the times of the last frame with the face, and of the last one
        self._interval = 1 / float(RATE)  # between frames, in their exponential average
        self._make_filters()

    @property
    def lag(self) -> float:
        """Seconds by which smoothing delays a steady motion, at the rate of the frames so far."""
        return self._filter.lag * self._interval

    def set_source(self, source: LoopedSource) -> None:
        """Animate another source."""
        self._source = source
        self._restart()

    def set_controls(self, controls: Controls) -> None:
        """Take what the page sets."""
        before, self._controls = self._controls, controls
        if before.options.smoothing != controls.options.smoothing:
            self._make_filters()
        if (before.settings, before.session_options) != (controls.settings, controls.session_options):
            self._restart()

    def set_neutral(self) -> None:
        """Let motion start from the next frame that shows the face."""
        self._asked = True

    def draw(self, face: TrackedChunk, seconds: float) -> Drawn:
        """Draw the source as the camera's face moves.

        Args:
            face: one frame of the camera, with the track of its face and the engine's own points.
            seconds: the time on the camera's clock.
        """
        found = bool(face.present[0])
        if found:
            self._look_for_neutral(face, seconds)
        else:
            self._finder.interrupt()
        passed, self._drawn = seconds - self._drawn, seconds
        if passed < seconds:  # not the first
            self._interval += INTERVAL_EMA_WEIGHT * (passed - self._interval)
        shown = self._source.at(self._face, seconds)
        frame = shown.tracked.frames[0]
        if self._neutral is not None:
            motion = self._motion(face, seconds, passed)
            edit = torch.tensor(self._controls.expression.row(0.0))
            moment = DrivingMotion(motion, None, 0.0, edit=edit)
            rendered = splice(self._session.render, shown.tracked, [moment], False, shown.opacity)
            rendered = without_others(shown.tracked.frames, rendered, shown.tracked)
            frame = rendered.settled().frames[0]
        return Drawn(frame.cpu(), found, self._neutral is not None)

    @property
    def _face(self) -> int:
        return self._controls.settings.input_face_index

    def _make_filters(self) -> None:
        variance = variance_at(self._controls.options.smoothing, RATE)
        self._filter, self.jitter = ForwardFilter(variance), Jitter(variance)

    def _look_for_neutral(self, face: TrackedChunk, seconds: float) -> None:
        neutral = face if self._asked else None
        if self._neutral is None and neutral is None:
            neutral = self._finder.take(face, seconds)
        if neutral is not None:
            self._neutral, self._asked = neutral, False
            self._finder.interrupt()
            self._restart()

    def _restart(self) -> None:
        """Start another session of the engine, from the neutral face if there is one yet."""
        self._filter.reset()
        if self._neutral is None:
            return
        self._session: Session = self._engine.session(
            self._controls.settings, self._controls.session_options, self._source.rate, RATE, live=True
        )
        self._session.survey(iter((self._neutral,)))
        self._coming: deque[TrackedChunk] = deque()
        self._motions = self._session.motions(_taken(self._coming))
        rest = self._next_motion(self._neutral)
        assert rest is not None  # the neutral frame shows the face
        self._rest, self._follower = rest, _Follower(rest)
        if self._source.rate is not None:
            # A clip's resting face is the one it begins with, wherever it is now.
            first = self._source.first(self._face)
            self._session.render(first.tracked, rest.unsqueeze(0))

    def _next_motion(self, face: TrackedChunk) -> torch.Tensor | None:
        self._coming.append(face)
        return next(self._motions)

    def _motion(self, face: TrackedChunk, seconds: float, passed: float) -> torch.Tensor:
        """Return the motion to be shown: the face's, or on the way between the face's and the neutral one."""
        motion = self._next_motion(face)
        if motion is not None:
            self._seen = seconds
            self.jitter.push(face.landmarks[0], seconds)
            return self._follower.follow(self._filter.push(motion), passed, of_face=True)
        self._filter.reset()
        self.jitter.interrupt()
        if seconds - self._seen <= HOLD_SECONDS:
            return self._follower.shown
        return self._follower.follow(self._rest, passed, of_face=False)


class _Follower:
    """Motion of a face while it is found, and the neutral one while it isn't; goes over from one to the other."""

    def __init__(self, rest: torch.Tensor):
        self.shown = rest
        self._of_face = True
        self._left = 0.0  # seconds until the one is reached

    def follow(self, motion: torch.Tensor, passed: float, of_face: bool) -> torch.Tensor:
        """Take the next frame's motion, `passed` seconds after the last one, and return what is shown."""
        if of_face != self._of_face:
            self._of_face, self._left = of_face, RETURN_SECONDS
        share = min(passed / self._left, 1.0) if self._left > 0 else 1.0
        self._left -= passed
        self.shown = torch.lerp(self.shown, motion, share)
        return self.shown


def _taken(coming: deque[TrackedChunk]) -> Iterator[TrackedChunk]:
    """Yield what was put there before it is asked for."""
    while True:
        yield coming.popleft()
