"""What a run will show, worked out before anything computes: roles, timing, size and audio."""

from .pairing import Pairing, pair
from .plan import RunPlan, make_plan
from .role import ALL, MotionTemplate, Role, name_of
from .soundtrack import soundtrack

__all__ = [
    "ALL",
    "MotionTemplate",
    "Pairing",
    "Role",
    "RunPlan",
    "make_plan",
    "name_of",
    "pair",
    "soundtrack",
]
