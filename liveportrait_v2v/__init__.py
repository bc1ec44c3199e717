"""LivePortrait video-to-video: the face in a source clip takes over the motion of the face in a driving clip.

    >>> from liveportrait_v2v import AnimationSettings, animate, create_engine
    >>> animate("source.mp4", "driving.mp4", engine=create_engine("draft"), output="out.mp4")

The names below are imported at their first use, so that importing the library alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engines import create_engine
    from .expression import Expression
    from .media import Clip
    from .plan import Role, make_plan
    from .run import animate, run_plan
    from .settings import AnimationSettings, MotionOptions
    from .templates import read_template, record_template, write_template

__version__ = "0.1.0"
__all__ = [
    "AnimationSettings",
    "Clip",
    "Expression",
    "MotionOptions",
    "Role",
    "animate",
    "create_engine",
    "make_plan",
    "read_template",
    "record_template",
    "run_plan",
    "write_template",
]

_MODULES = {
    "AnimationSettings": "settings",
    "Clip": "media",
    "Expression": "expression",
    "MotionOptions": "settings",
    "Role": "plan",
    "animate": "run",
    "create_engine": "engines",
    "make_plan": "plan",
    "read_template": "templates",
    "record_template": "templates",
    "run_plan": "run",
    "write_template": "templates",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
