"""Both local engines keep the contract of `engines/base.py`."""

from __future__ import annotations

import engine_conformance
import pytest
from engine_conformance import EngineConformance
from made_networks import MadeNetworks

from liveportrait_v2v.engines.draft import DraftEngine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine

pytestmark = pytest.mark.slow

test_every_motion_option_has_another_value = (
    engine_conformance.test_every_motion_option_has_another_value_here
)


class TestDraft(EngineConformance):
    def make_engine(self) -> DraftEngine:
        return DraftEngine()


class TestLivePortrait(EngineConformance):
    """With networks that are made up and quick."""

    def make_engine(self) -> LivePortraitEngine:
        return LivePortraitEngine(MadeNetworks())
