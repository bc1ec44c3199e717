"""Segmind engine against our own server with a real engine: results equal those of local runs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from segmind_clocks import HastyClock
from serving import Server, serving

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.segmind import SegmindEngine
from liveportrait_v2v.engines.segmind.errors import JobFailedError, RefusedError
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings

pytestmark = pytest.mark.slow

QUICK = {"dsize": 128, "video_frame_load_cap": 6}


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[Server]:
    """Server with the draft engine."""
    folder = tmp_path_factory.mktemp("server")
    with serving(
        folder / "data", key=f"SG_{secrets.token_hex(8)}", allow_loopback=True, clip_bytes=8 << 20
    ) as server:
        yield server


@pytest.fixture
def engine(real, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMIND_API_KEY", real.config.key)

    def make(**options) -> SegmindEngine:
        options = {"clock": HastyClock(), "base_url": real.url, **options}
        return SegmindEngine(folder=tmp_path / "data", key_folder=tmp_path / "config", **options)

    return make


def samples_of(clip: Clip):
    return clip.audio(clip.info.duration).samples


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_remote_run_gives_the_frames_rate_size_and_audio_of_a_local_one(engine, clips, tmp_path, version):
    inputs = {"source": clips["single_face"], "driving": clips["obama"]}
    settings = AnimationSettings(**QUICK, driving_audio=True)
    remote = animate(
        **inputs, engine=engine(version=version), settings=settings, output=tmp_path / "remote.mp4"
    )
    local = animate(**inputs, engine=create_engine("draft"), settings=settings, output=tmp_path / "local.mp4")
    for name in ("frames", "rate", "size", "duration", "audio_source", "source_rate", "driving_rate"):
        assert getattr(remote, name) == getattr(local, name), name
    remote_clip, local_clip = Clip(tmp_path / "remote.mp4"), Clip(tmp_path / "local.mp4")
    assert remote_clip.info == local_clip.info
    assert remote.notes == ()
    assert (samples_of(remote_clip) == samples_of(local_clip)).all()
    # Driving frames are uploaded at the source's rate, so the motion is close to the local one, not equal.
    frames = [next(clip.chunks(64)).frames.float() for clip in (remote_clip, local_clip)]
    assert (frames[0] - frames[1]).abs().mean() < 3


def test_a_result_is_fetched_by_its_id_into_a_file(engine, clips, tmp_path):
    settings = AnimationSettings(**QUICK)
    outcome = animate(
        clips["single_face"], clips["obama"], engine=engine(), settings=settings, sink=lambda frames: None
    )
    other = SegmindEngine(
        folder=tmp_path / "elsewhere",
        key_folder=tmp_path,
        clock=HastyClock(),
        base_url=engine()._endpoints.base,
    )
    job = other.fetch(outcome.job["request_id"], tmp_path / "fetched.mp4")
    assert job.state == "SAVED"
    assert Clip(tmp_path / "fetched.mp4").info.frame_count == outcome.frames


def test_a_job_that_fails_on_the_server_reports_the_reason(engine, clips):
    settings = AnimationSettings(**QUICK, drive_face_index=5)
    with pytest.raises(JobFailedError, match=r"face 5 was found nowhere .*driving clip"):
        animate(
            clips["single_face"], clips["obama"], engine=engine(), settings=settings, sink=lambda frames: None
        )


def test_credits_are_reported_and_a_wrong_key_is_refused(engine, monkeypatch):
    assert engine().credits()
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_0000000000000000")
    with pytest.raises(RefusedError, match="HTTP 401"):
        engine().credits()
