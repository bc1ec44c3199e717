"""History of the server, as the Segmind engine uses it."""

from __future__ import annotations

import pytest

from liveportrait_v2v.engines.segmind import SegmindEngine
from liveportrait_v2v.run import animate
from liveportrait_v2v.server.api import Api
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow


def test_an_answer_that_is_lost_is_found_in_the_history_and_nothing_is_ordered_twice(
    real, clips, tmp_path, monkeypatch
):
    monkeypatch.setenv("SEGMIND_API_KEY", real.config.key)
    engine = SegmindEngine(folder=tmp_path / "journal", key_folder=tmp_path / "key", base_url=real.url)
    accept = Api._accept

    async def lost(self, request):
        await accept(self, request)
        request.transport.abort()
        raise ConnectionResetError

    monkeypatch.setattr(Api, "_accept", lost)
    settings = AnimationSettings(dsize=128, video_frame_load_cap=2)
    history = "/inference-request/request-history"
    before = real.client.get(history).json()["total"]
    made = animate(
        clips["obama"], clips["obama"], engine=engine, settings=settings, output=tmp_path / "made.mp4"
    )
    after = real.client.get(history).json()
    assert after["total"] == before + 1
    assert after["data"][0]["request_id"] == made.job["request_id"]
