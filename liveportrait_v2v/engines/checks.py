"""What an engine can't do of a plan, said before anything computes."""

from __future__ import annotations

from ..errors import SettingsError
from ..plan import ALL, MotionTemplate, Role, RunPlan
from ..settings import MotionOptions
from .base import Engine, HostedEngine

_OPTIONS_OF_LANDMARKS = (
    ("settings", "eye_retargeting"),
    ("settings", "lip_retargeting"),
    ("options", "source_eye_retargeting"),
)
_TARGETS_OF_LANDMARKS = frozenset({"eyes_open", "lips_open"})
"""Parameters and channels that need the openings of the source's eyes and lips."""


def check_plan(plan: RunPlan, engine: Engine | HostedEngine) -> None:
    """Check that an engine can do what a plan asks for.

    Raises:
        SettingsError: a motion option that the engine does not support differs from its default, a motion template
            belongs to another engine, a hosted engine is to animate several faces or edit an expression, an engine
            lacks one of its channels, or a box is given to an engine that needs landmarks or for options that do.
    """
    if isinstance(engine, HostedEngine):
        several = f"{len(plan.roles)} roles" if len(plan.roles) > 1 else None
        if ALL in (role.source_face for role in plan.roles):
            several = 'source_face "all"'
        if several:
            raise SettingsError(
                f"the {engine.name} engine animates one face a run, got {several}; take a local engine"
            )
    for place, role in enumerate(plan.roles):
        with plan.naming(place):
            _check_options(role, engine)
            _check_template(role, engine)
            _check_fixed(role, engine)
            _check_boxes(role, engine)
            _check_expression(role, engine)


def _check_fixed(role: Role, engine: Engine | HostedEngine) -> None:
    if isinstance(engine, HostedEngine):
        return
    given = role.settings.to_dict() | role.options.to_dict()
    for name, value in engine.fixed.items():
        if given[name] != value:
            raise SettingsError(
                f"{name} must be {value!r} for these networks, got {given[name]!r}; leave it out, or take another model"
            )


def _check_boxes(role: Role, engine: Engine | HostedEngine) -> None:
    if role.boxes is None:
        return
    if isinstance(engine, HostedEngine) or not engine.takes_boxes:
        raise SettingsError(
            f"the {engine.name} engine needs the landmarks of a face that a detector finds, got a box; take the "
            "liveportrait engine, or leave the box out"
        )
    for kind, name in _OPTIONS_OF_LANDMARKS:
        if getattr(getattr(role, kind), name):
            raise SettingsError(
                f"{name} needs the openings of the source's eyes and lips, which a box doesn't give; turn it off"
            )


def _check_expression(role: Role, engine: Engine | HostedEngine) -> None:
    if role.expression is None:
        return
    if isinstance(engine, HostedEngine):
        raise SettingsError(
            f"the {engine.name} engine edits no expressions, got one; take the draft or the liveportrait engine"
        )
    channels = role.expression.channels
    missing = sorted(channels - engine.channels)
    if missing:
        raise SettingsError(
            f"the {engine.name} engine does not edit {missing[0]}, got an expression with it; leave it out, or take "
            "another engine"
        )
    targets = sorted(channels & _TARGETS_OF_LANDMARKS)
    if role.boxes is not None and targets:
        raise SettingsError(
            f"{targets[0]} needs the openings of the source's eyes and lips, which a box doesn't give; leave it out"
        )


def _check_template(role: Role, engine: Engine | HostedEngine) -> None:
    template = role.driving
    if isinstance(template, MotionTemplate) and template.engine != engine.name:
        raise SettingsError(
            f"a motion template needs the engine that made it, {template.engine}, got the {engine.name} engine; take "
            f"the {template.engine} engine, or give the driving clip"
        )


def _check_options(role: Role, engine: Engine | HostedEngine) -> None:
    defaults = MotionOptions().to_dict()
    for name, value in role.options.to_dict().items():
        if name not in engine.supports and value != defaults[name]:
            raise SettingsError(
                f"{name} must be {defaults[name]!r} for the {engine.name} engine, got {value!r}: the engine does not "
                "support it; leave it out, or take the liveportrait engine"
            )
