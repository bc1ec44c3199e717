"""What the page sets while the session runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..engines.base import Engine
from ..errors import SettingsError
from ..expression import CHANNELS, TARGETS, Expression
from ..settings import AnimationSettings, MotionOptions, Rule
from ..text import quoted

SETTINGS = ("input_face_index", "stitching")
OPTIONS = ("region", "driving_multiplier", "smoothing")


@dataclass(frozen=True)
class Controls:
    """The state of the page's controls.

    Attributes:
        settings, options: of the engine's session; all that the page doesn't offer have their defaults.
        expression: is added to the motion.
    """

    settings: AnimationSettings = field(default_factory=AnimationSettings)
    options: MotionOptions = field(default_factory=MotionOptions)
    expression: Expression = field(default_factory=Expression)

    @classmethod
    def of(cls, values: Any, engine: Engine) -> Controls:
        """Return the controls of decoded JSON: the parameters of `offered` by name, and `channels`.

        Raises:
            SettingsError: another name or type, a value out of range, or a channel that the engine lacks.
        """
        if not isinstance(values, dict):
            raise SettingsError(f"controls must be an object, got {quoted(values)}")
        values = dict(values)
        channels = values.pop("channels", {})
        known = offered(engine)
        for name in values:
            if name not in known:
                raise SettingsError(f"controls are {', '.join(known)} and channels, got {quoted(name)}")
        if not isinstance(channels, dict):
            raise SettingsError(f"channels must be an object, got {quoted(channels)}")
        for name in channels:
            if name not in offered_channels(engine):
                raise SettingsError(f"the {engine.name} engine has no channel {quoted(name)} to edit live")
        return cls(
            AnimationSettings.from_dict({name: values[name] for name in SETTINGS if name in values}),
            MotionOptions.from_dict({name: values[name] for name in OPTIONS if name in values}),
            Expression.constant(**channels),
        )

    @property
    def session_options(self) -> MotionOptions:
        """The options for an engine's session, which is to hold no frame back."""
        return replace(self.options, smoothing=0.0)


def offered(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the parameters that the page offers, by name: their rules, as JSON values."""
    found = {}
    for kind, names in ((AnimationSettings, SETTINGS), (MotionOptions, OPTIONS)):
        defaults, rules = kind().to_dict(), kind.rules()
        for name in names:
            if kind is AnimationSettings or name in engine.supports:
                found[name] = _described(rules[name], defaults[name])
    return found


def offered_channels(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the channels of expressions that the page offers, by name: their ranges, as JSON values."""
    return {
        name: {"low": channel.low, "high": channel.high, "neutral": channel.neutral, "help": channel.help}
        for name, channel in CHANNELS.items()
        if name in engine.channels and name not in TARGETS
    }


def _described(rule: Rule, default: Any) -> dict[str, Any]:
    return {
        "default": default,
        "help": rule.help,
        "low": rule.low,
        "high": rule.high,
        "choices": list(rule.choices),
    }
