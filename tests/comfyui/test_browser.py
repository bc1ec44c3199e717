"""The pack in a real browser, with both of the frontend's renderers.

Screenshots are left in the folder that LPV2V_SCREENSHOTS names, .screenshots by default.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_comfyui import PACK, ROOT

from liveportrait_v2v.media import Clip

TEMPLATES = sorted((ROOT / "example_workflows").glob("*.json"))
CHROMIUM = next(
    filter(None, (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))), None
)
_READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.LPV2V_AnimateDraft"


# Of this module alone: as long as it is open, Playwright has an event loop running in the tests' thread.
@pytest.fixture(scope="module")
def browser(comfy):
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("NO PLAYWRIGHT: the pack is not looked at in a browser; pip install playwright")
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: the pack is not looked at in a browser; install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--lang=en-US"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[False, True], ids=["canvas", "vue"])
def page(request, browser, comfy) -> Iterator:
    """ComfyUI's page with each renderer; `faults` are what went wrong on it and is the pack's."""
    yield from _opened(browser, comfy, request.param)


@pytest.fixture
def one_page(browser, comfy) -> Iterator:
    """The same, for what does not depend on the renderer."""
    yield from _opened(browser, comfy, True)


def _opened(browser, comfy, vue: bool) -> Iterator:
    comfy.post(
        "/settings", {"Comfy.VueNodes.Enabled": vue, "Comfy.TutorialCompleted": True, "Comfy.Locale": "en"}
    )
    page = browser.new_page(viewport={"width": 1900, "height": 1100})
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(f"page error: {error}"))
    page.on("response", lambda answer: _note(page.faults, answer))
    page.goto(comfy.url)
    page.wait_for_function(_READY, timeout=60_000)
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")
    page.renderer = "vue" if vue else "canvas"
    yield page
    page.close()


def _note(faults: list[str], answer) -> None:
    if answer.status >= 400 and "liveportrait" in answer.url.lower():
        faults.append(f"{answer.status} {answer.url}")


def open_template(page, path: Path) -> None:
    page.evaluate("graph => window.app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
    page.wait_for_timeout(2000)
    page.evaluate(
        "() => { const view = window.app.canvas; view.ds.scale = 0.6; view.ds.offset = [220, 440];"
        " view.setDirty(true, true); }"
    )
    page.wait_for_timeout(1000)


def screenshot(page, name: str) -> None:
    folder = Path(os.environ.get("LPV2V_SCREENSHOTS", ROOT / ".screenshots"))
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{name}_{page.renderer}.png")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_opens_whole_and_with_widgets_that_can_be_read(page, template):
    open_template(page, template)
    screenshot(page, template.stem)
    saved = [
        node
        for node in json.loads(template.read_text(encoding="utf-8"))["nodes"]
        if node["type"].startswith("LPV2V_")
    ]
    missing = page.evaluate(
        "() => window.app.graph.nodes.filter(node => node.has_errors).map(node => node.type)"
    )
    assert missing == []
    shown = page.evaluate(
        "() => Object.fromEntries(window.app.graph.nodes.map(node => [node.id, (node.widgets ?? [])"
        ".filter(widget => !widget.options?.canvasOnly).map(widget => [widget.name, widget.value])]))"
    )
    for node in saved:
        widgets = dict(shown[str(node["id"])])
        for name, value in zip(widgets, node.get("widgets_values") or [], strict=False):
            assert widgets[name] == value, (node["type"], name)
    if page.renderer == "vue":
        for node in saved:
            box = page.locator(f'[data-node-id="{node["id"]}"]').first
            assert box.is_visible()
            for name in dict(shown[str(node["id"])]):
                if name in ("file", "frame_load_cap", "preset", "scale", "frames", "region"):
                    assert name in box.inner_text(), (node["type"], name)
    assert page.faults == []


def test_the_quick_start_runs_from_the_button_to_the_finished_video(page, comfy):
    open_template(page, ROOT / "example_workflows" / "quick_start.json")
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    before = set((comfy.base / "output").rglob("*.mp4"))
    page.get_by_test_id("queue-button").or_(page.get_by_role("button", name="Run", exact=True)).first.click()
    page.wait_for_function(
        "() => Object.values(window.app.nodeOutputs ?? {}).some(output => output?.images?.some("
        "file => file.type === 'output' && file.filename.endsWith('.mp4')))",
        timeout=120_000,
    )
    page.wait_for_timeout(1500)
    screenshot(page, "quick_start_done")
    (made,) = set((comfy.base / "output").rglob("*.mp4")) - before
    clip = Clip(made)
    assert clip.info.frame_count > 50
    assert clip.info.audio is not None
    assert page.faults == []


@pytest.mark.parametrize(
    ("template", "size"),
    [
        ("quick_start", (640, 360)),
        ("choose_face", (320, 240)),
        ("two_faces", (320, 240)),
        ("animate_still_and_upscale", (1024, 1024)),
    ],
)
def test_a_template_runs_to_the_end_and_saves_what_it_says(one_page, comfy, clips, template, size):
    source = comfy.base / "input" / "source.mp4"
    two = template in ("choose_face", "two_faces")
    shutil.copy(clips["obama" if two else "single_face"], source)
    open_template(one_page, ROOT / "example_workflows" / f"{template}.json")
    prompt = one_page.evaluate("async () => (await window.app.graphToPrompt()).output")
    quick = {name: {**node, "inputs": _quick(node["inputs"], 24)} for name, node in prompt.items()}
    run = comfy.run(quick)
    assert run.status == "success", run.error
    (saving,) = [name for name, node in prompt.items() if node["class_type"] == "SaveVideo"]
    clip = Clip(comfy.file(run.outputs[saving]["images"][0]))
    assert (clip.info.width, clip.info.height) == size
    rate = Clip(source if template != "animate_still_and_upscale" else clips["jwp_intro"]).info.rate
    assert float(clip.info.rate) == pytest.approx(float(rate), rel=1e-3)
    assert clip.info.frame_count == math.ceil(24 / Clip(clips["jwp_intro"]).info.rate * rate)
    assert clip.audio(clip.info.duration).samples.abs().max() > 0.001


def test_the_template_of_the_networks_runs_to_the_end(one_page, comfy, clips, weights):
    shutil.copy(clips["single_face"], comfy.base / "input" / "source.mp4")
    open_template(one_page, ROOT / "example_workflows" / "animate_local.json")
    prompt = one_page.evaluate("async () => (await window.app.graphToPrompt()).output")
    quick = {name: {**node, "inputs": _quick(node["inputs"], 1)} for name, node in prompt.items()}
    run = comfy.run(quick, seconds=400)
    assert run.status == "success", run.error
    (saving,) = [name for name, node in prompt.items() if node["class_type"] == "SaveVideo"]
    clip = Clip(comfy.file(run.outputs[saving]["images"][0]))
    assert clip.info.frame_count in (1, 2)
    assert clip.info.audio is not None


def _quick(inputs: dict, frames: int) -> dict:
    return {**inputs, "video_frame_load_cap": frames} if "video_frame_load_cap" in inputs else inputs


def test_the_templates_are_offered_with_their_thumbnails(comfy, one_page):
    offered = comfy.get("/workflow_templates")[PACK]
    assert set(offered) == {path.stem for path in TEMPLATES}
    for name in offered:
        answer = one_page.request.get(f"{comfy.url}/api/workflow_templates/{PACK}/{name}.jpg")
        assert answer.ok
        assert len(answer.body()) > 10_000


def test_the_key_is_asked_for_in_a_field_that_hides_it_and_goes_to_the_server_alone(one_page, comfy):
    stored = comfy.base / "user" / "__liveportrait_v2v" / "segmind.key"
    stored.unlink(missing_ok=True)
    page = one_page
    page.evaluate("() => { window.app.extensionManager.command.execute('LivePortraitV2V.SetSegmindKey'); }")
    field = page.locator("#lpv2v-segmind-key input")
    field.wait_for()
    assert field.get_attribute("type") == "password"
    field.fill("SG_canary0123456789")
    screenshot(page, "segmind_key")
    page.locator("#lpv2v-segmind-key").get_by_role("button", name="Save").click()
    page.get_by_text("The key is stored.").first.wait_for()
    assert stored.read_text().strip() == "SG_canary0123456789"
    graph = page.evaluate("() => JSON.stringify([window.app.graph.serialize(), {...localStorage}])")
    assert "SG_canary" not in graph
    assert "SG_canary" not in json.dumps(comfy.get("/settings"))
    stored.unlink()


def test_the_seed_that_orders_a_paid_job_stays_as_it_is_from_run_to_run(page):
    names = page.evaluate(
        "() => window.LiteGraph.createNode('LPV2V_AnimateSegmind').widgets.map(widget => widget.name)"
    )
    assert "seed" in names
    assert "control_after_generate" not in names
