"""Segmind's official client against a server with a real engine."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import httpx
import pytest
import segmind
from serving import PATIENCE

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate
from liveportrait_v2v.server.config import MODEL
from liveportrait_v2v.settings import AnimationSettings

QUICK = {"dsize": 128, "video_frame_load_cap": 4}


@pytest.fixture
def sdk(real, monkeypatch) -> segmind.SegmindClient:
    # These two addresses are not part of the client's settings.
    # (segmind.files and segmind.generations are both modules and, under the same names, shortcuts.)
    history = f"{real.url}/inference-request/request-history"
    monkeypatch.setattr(sys.modules["segmind.files"].Files, "STORAGE_BASE_URL", real.url)
    monkeypatch.setattr(sys.modules["segmind.generations"], "REQUEST_HISTORY_URL", history)
    return segmind.SegmindClient(api_key=real.config.key, base_url=f"{real.url}/v1", timeout=PATIENCE)


@pytest.fixture
def urls(sdk, clips) -> dict[str, str]:
    found = sdk.files.upload([clips["obama"], clips["single_face"]])["file_urls"]
    return dict(zip(("input_video", "driving_video"), found, strict=True))


def test_a_job_is_submitted_waited_for_and_its_video_is_the_one_that_the_library_makes(
    sdk, urls, clips, tmp_path
):
    job = sdk.submit_async(MODEL, **urls, **QUICK)
    assert job.status()["status"] in ("QUEUED", "PROCESSING", "COMPLETED")
    result = job.wait(timeout=PATIENCE, interval=0.1)
    assert result["status"] == "COMPLETED"
    (tmp_path / "served.mp4").write_bytes(httpx.get(result["output"], trust_env=False).content)
    made = animate(
        clips["obama"],
        clips["single_face"],
        output=tmp_path / "made.mp4",
        settings=AnimationSettings(**QUICK),
        engine=create_engine("draft"),
    )
    served = Clip(tmp_path / "served.mp4")
    assert (served.info.frame_count, served.info.rate) == (made.frames, made.rate)
    assert pictures(tmp_path / "served.mp4") == pictures(tmp_path / "made.mp4")


def pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]


def test_run_gives_the_result(sdk, urls):
    assert sdk.run(MODEL, **urls, **QUICK)["status"] == "COMPLETED"


def test_run_sync_gives_the_video(sdk, urls, tmp_path):
    (tmp_path / "video.mp4").write_bytes(sdk.run_sync(MODEL, **urls, **QUICK).content)
    assert Clip(tmp_path / "video.mp4").info.frame_count > 0


def test_a_failed_job_raises_with_the_reason(sdk, urls):
    job = sdk.submit_async(MODEL, **urls, **QUICK, drive_face_index=5)
    with pytest.raises(segmind.InferenceFailed) as caught:
        job.wait(timeout=PATIENCE, interval=0.1)
    assert "face 5 was found nowhere" in caught.value.detail
    assert caught.value.status_body["request_id"] == job.request_id
    assert job.result()["status"] == "FAILED"


def test_an_unknown_model_or_job_is_a_404(sdk, urls):
    job = sdk.submit_async(MODEL, **urls, **QUICK)
    job.status_url = job.status_url.replace(job.request_id, "0" * 32)
    for call in (job.status, lambda: sdk.submit_async("other", **urls), lambda: sdk.generations.get("none")):
        with pytest.raises(segmind.SegmindError) as caught:
            call()
        assert caught.value.status == 404


def test_a_wrong_parameter_is_a_400_with_the_rule(sdk, urls):
    with pytest.raises(segmind.SegmindError) as caught:
        sdk.submit_async(MODEL, **urls, dsize=1)
    assert caught.value.status == 400
    assert "dsize must be a whole number from 64 to 2048" in caught.value.detail


def test_a_wrong_key_is_a_401(real):
    with pytest.raises(segmind.SegmindError) as caught:
        segmind.SegmindClient(api_key="SG_wrong", base_url=f"{real.url}/v1").submit_async(MODEL)
    assert caught.value.status == 401


def test_the_history_is_read(sdk, urls):
    result = sdk.run(MODEL, **urls, **QUICK)
    assert result["request_id"] in [row["request_id"] for row in sdk.generations.history()["data"]]
    row = sdk.generations.get(result["request_id"])
    assert row["generation_url"] == result["output"]
    assert row["request_body"] == {**urls, **QUICK}


def test_a_file_that_is_not_a_clip_fails_with_its_parameters_name_and_no_path(sdk, urls, real, tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"no clip at all" * 100)
    bad = sdk.files.upload(tmp_path / "text.mp4")["file_urls"][0]
    with pytest.raises(segmind.InferenceFailed) as caught:
        sdk.submit_async(MODEL, **{**urls, "input_video": bad}).wait(timeout=PATIENCE, interval=0.1)
    assert caught.value.detail.startswith("input_video: ")
    assert str(real.config.data) not in caught.value.detail
