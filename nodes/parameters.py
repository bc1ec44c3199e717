"""Widgets for the library's parameters, one for each rule."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..liveportrait_v2v.settings import AnimationSettings, MotionOptions, Rule


def widgets(kind: type[AnimationSettings] | type[MotionOptions], advanced: tuple[str, ...]) -> list[io.Input]:
    """Return the inputs for a class of parameters, in its order.

    Saved graphs store widget values by position: a new parameter must come last.

    Args:
        kind: AnimationSettings or MotionOptions.
        advanced: names of the parameters that are folded away.
    """
    defaults = kind().to_dict()
    return [_widget(name, rule, defaults[name], name in advanced) for name, rule in kind.rules().items()]


def _widget(name: str, rule: Rule, default: Any, advanced: bool) -> io.Input:
    common = {"default": default, "tooltip": rule.help, "advanced": advanced or None}
    if rule.type is bool:
        return io.Boolean.Input(name, **common)
    if rule.type is str:
        return io.Combo.Input(name, options=list(rule.choices), **common)
    if rule.type is int:
        return io.Int.Input(name, min=rule.low, max=2**31 - 1 if rule.high is None else rule.high, **common)
    return io.Float.Input(name, min=rule.low, max=rule.high, step=_step(default), **common)


def _step(default: float) -> float:
    """Return 0.01, or the place of the default's last digit if that is finer: widgets round to their step."""
    digits = Decimal(repr(default)).as_tuple().exponent
    return 10.0 ** min(-2, int(digits))
