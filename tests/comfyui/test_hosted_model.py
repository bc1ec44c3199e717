"""The nodes of the hosted model inside a real ComfyUI, against our own server in the hosted model's place."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from real_comfyui import prompt_of

from liveportrait_v2v.media import Clip

ROUTE = "/liveportrait-v2v/segmind-key"


def own_page(comfy) -> dict[str, str]:
    """The header that a browser adds on a page of the server."""
    return {"Origin": comfy.url}


def key_file(comfy) -> Path:
    return comfy.base / "user" / "__liveportrait_v2v" / "segmind.key"


@pytest.fixture
def no_key(comfy):
    key_file(comfy).unlink(missing_ok=True)


@pytest.fixture
def key(comfy, hosted) -> str:
    """Segmind's key, stored as the page stores it."""
    code, answer = comfy.post(ROUTE, {"key": hosted.config.key}, **own_page(comfy))
    assert (code, answer) == (200, {"configured": True})
    return hosted.config.key


def jobs(hosted) -> list[dict]:
    return hosted.client.get("/inference-request/request-history").json()["data"]


def animated(key: str, comfy, prefix: str, file: str = "source.mp4", **inputs):
    """A video animated by the hosted model and saved, as three nodes."""
    widgets = comfy.get("/object_info/LPV2V_Settings")["LPV2V_Settings"]["input"]["required"]
    defaults = {name: options["default"] for name, (_, options) in widgets.items()}
    settings = {**defaults, "dsize": 128, "video_frame_load_cap": 6}
    return (
        (f"{key}1", "LoadVideo", {"file": file}),
        (f"{key}2", "LoadVideo", {"file": "driving.mp4"}),
        (f"{key}3", "LPV2V_Settings", settings),
        (
            f"{key}4",
            "LPV2V_AnimateSegmind",
            {
                "source": (f"{key}1", 0),
                "driving": (f"{key}2", 0),
                "settings": (f"{key}3", 0),
                "frames": False,
                "deadline": 120.0,
                **inputs,
            },
        ),
        (
            f"{key}5",
            "SaveVideo",
            {"video": (f"{key}4", 2), "filename_prefix": prefix, "format": "auto", "codec": "auto"},
        ),
    )


def test_only_a_page_of_the_server_may_store_a_key(comfy, no_key):
    body = {"key": "SG_0123456789abcdef"}
    assert comfy.post(ROUTE, body)[0] == 403
    assert comfy.post(ROUTE, body, Origin="https://elsewhere.example")[0] == 403
    assert comfy.post(ROUTE, body, **own_page(comfy), **{"Content-Type": "text/plain"})[0] == 415
    assert comfy.post(ROUTE, body, **own_page(comfy), **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert not key_file(comfy).exists()


def test_the_key_lies_in_a_file_that_only_its_owner_can_read_and_is_not_told(comfy, no_key, key):
    assert stat.S_IMODE(key_file(comfy).stat().st_mode) == 0o600
    assert comfy.post(ROUTE, {}, **own_page(comfy)) == (200, {"configured": True})
    assert key not in comfy.log.read_text(errors="replace")


def test_a_key_of_a_wrong_form_is_refused(comfy):
    code, text = comfy.post(ROUTE, {"key": "two words"}, **own_page(comfy))
    assert code == 400
    assert "without spaces" in text


def test_without_a_key_the_node_says_how_to_set_one(comfy, no_key):
    run = comfy.run(prompt_of(*animated("n", comfy, "no_key", seed=99)))
    assert run.status == "error"
    assert "Extensions > LivePortrait > Set Segmind API key" in run.error


def test_two_jobs_run_side_by_side_and_the_same_clips_are_paid_for_once(comfy, hosted, key):
    before = len(jobs(hosted))
    prompt = prompt_of(*animated("a", comfy, "one"), *animated("b", comfy, "two", file="driving.mp4"))
    run = comfy.run(prompt)
    for name, file in (("a5", "source.mp4"), ("b5", "driving.mp4")):
        assert run.status == "success", run.error
        clip, source = (
            Clip(comfy.file(run.outputs[name]["images"][0])).info,
            Clip(comfy.base / "input" / file).info,
        )
        assert (clip.width, clip.height, clip.rate) == (source.width, source.height, source.rate)
        assert clip.frame_count in (6, 7)
        assert clip.audio is not None
    assert len(jobs(hosted)) == before + 2
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(1)
    again = comfy.run(prompt)
    assert again.status == "success", again.error
    assert "a4" not in again.cached
    assert len(jobs(hosted)) == before + 2


def test_another_seed_orders_anew(comfy, hosted, key):
    comfy.run(prompt_of(*animated("s", comfy, "seed", seed=1)))
    before = len(jobs(hosted))
    run = comfy.run(prompt_of(*animated("s", comfy, "seed", seed=2)))
    assert run.status == "success", run.error
    assert len(jobs(hosted)) == before + 1


def test_a_job_is_fetched_by_its_id(comfy, hosted, key):
    run = comfy.run(prompt_of(*animated("f", comfy, "fetched", seed=3)))
    assert run.status == "success", run.error
    job = jobs(hosted)[0]["request_id"]
    before = len(jobs(hosted))
    run = comfy.run(
        prompt_of(
            ("1", "LPV2V_FetchSegmindJob", {"request_id": job, "frames": True, "deadline": 60.0}),
            ("2", "PreviewImage", {"images": ("1", 0)}),
            (
                "3",
                "SaveVideo",
                {"video": ("1", 2), "filename_prefix": "f", "format": "auto", "codec": "auto"},
            ),
        )
    )
    assert run.status == "success", run.error
    clip = Clip(comfy.file(run.outputs["3"]["images"][0])).info
    assert clip.frame_count == len(run.outputs["2"]["images"]) > 0
    assert len(jobs(hosted)) == before


def test_an_interrupt_ends_the_node_soon_and_the_next_run_picks_the_job_up(comfy, hosted, key):
    before = len(jobs(hosted))
    nodes = prompt_of(*animated("i", comfy, "interrupted", seed=4))
    prompt = comfy.queue(nodes)
    end = time.monotonic() + 60
    while len(jobs(hosted)) == before and time.monotonic() < end:
        time.sleep(0.05)
    comfy.interrupt()
    assert comfy.wait(prompt, 20).interrupted
    run = comfy.run(nodes)
    assert run.status == "success", run.error
    assert len(jobs(hosted)) == before + 1


def test_a_clip_that_is_given_twice_is_refused_before_anything_is_paid_for(comfy, hosted, key):
    before = len(jobs(hosted))
    run = comfy.run(prompt_of(*animated("w", comfy, "wrong", source_url="https://example.com/a.mp4")))
    assert run.status == "error"
    assert "source: link a video or image, or give source_url; got both" in run.error
    assert len(jobs(hosted)) == before


def test_an_address_that_is_none_is_refused_before_anything_runs(comfy):
    nodes = prompt_of(*animated("u", comfy, "url", source_url="ftp://example.com/a.mp4"))
    assert "must be a public address that begins with https://" in comfy.refusal(nodes)
