"""The Segmind engine against a server of one's own that really animates."""

from __future__ import annotations

import pytest

from liveportrait_v2v.animate import animate
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.segmind import SegmindEngine
from liveportrait_v2v.errors import LivePortraitError
from liveportrait_v2v.media import Clip
from liveportrait_v2v.server.api import Api
from liveportrait_v2v.settings import AnimationSettings


@pytest.fixture
def engine(real, tmp_path, monkeypatch) -> SegmindEngine:
    monkeypatch.setenv("SEGMIND_API_KEY", real.config.key)
    return SegmindEngine(folder=tmp_path / "journal", key_folder=tmp_path / "key", base_url=real.url)


def test_a_remote_result_has_the_frames_the_rate_and_the_sound_of_a_local_one(engine, clips, tmp_path):
    settings = AnimationSettings(dsize=128, video_frame_load_cap=5, driving_audio=True)
    files = {"remote": engine, "local": create_engine("draft")}
    results = [
        animate(
            clips["jwp_intro"],
            clips["test_movie"],
            engine=each,
            settings=settings,
            output=tmp_path / f"{name}.mp4",
        )
        for name, each in files.items()
    ]
    assert len({(made.frames, made.rate, made.size, made.audio) for made in results}) == 1
    remote, local = (Clip(tmp_path / f"{name}.mp4").info for name in files)
    assert remote == local


def test_what_the_server_says_about_a_failed_job_reaches_the_user(engine, clips, tmp_path):
    settings = AnimationSettings(dsize=128, video_frame_load_cap=3, input_face_index=5)
    with pytest.raises(
        LivePortraitError, match="face 5 was found nowhere in the frames read of the source clip"
    ):
        animate(
            clips["obama"], clips["obama"], engine=engine, settings=settings, output=tmp_path / "never.mp4"
        )
    assert not (tmp_path / "never.mp4").exists()


def test_an_answer_that_is_lost_is_found_in_the_history_and_nothing_is_ordered_twice(
    engine, real, clips, tmp_path, monkeypatch
):
    accept = Api._accept

    async def lost(self, request):
        await accept(self, request)
        request.transport.abort()
        raise ConnectionResetError

    monkeypatch.setattr(Api, "_accept", lost)
    settings = AnimationSettings(dsize=128, video_frame_load_cap=4)
    history = "/inference-request/request-history"
    before = real.client.get(history).json()["total"]
    made = animate(
        clips["obama"], clips["obama"], engine=engine, settings=settings, output=tmp_path / "made.mp4"
    )
    after = real.client.get(history).json()
    assert after["total"] == before + 1
    assert after["data"][0]["request_id"] == made.job["request_id"]


def test_the_same_inputs_are_not_ordered_twice(engine, real, clips, tmp_path):
    settings = AnimationSettings(dsize=128, video_frame_load_cap=2)
    history = "/inference-request/request-history"
    before = real.client.get(history).json()["total"]
    for name in ("first.mp4", "second.mp4"):
        animate(clips["obama"], clips["obama"], engine=engine, settings=settings, output=tmp_path / name)
    assert real.client.get(history).json()["total"] == before + 1
