"""What a run will show, worked out before anything computes: roles, timing, size and audio."""

from .pairing import Pairing, pair
from .plan import RunPlan, make_plan
from .role import MotionTemplate, Role
from .soundtrack import soundtrack

__all__ = ["MotionTemplate", "Pairing", "Role", "RunPlan", "make_plan", "pair", "soundtrack"]
