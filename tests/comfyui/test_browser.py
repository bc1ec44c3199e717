"""The pack in a real browser, with both of the frontend's renderers.

Screenshots are left in the folder that LPV2V_SCREENSHOTS names, .screenshots by default.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from urllib.parse import quote

import pytest
from real_comfyui import PACK, ROOT

from liveportrait_v2v.engines.liveportrait.networks import NETWORKS
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
    page.wait_for_timeout(3000)


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
        ".filter(widget => !widget.options?.canvasOnly && widget.name !== 'lpv2v_report')"
        ".map(widget => [widget.name, widget.value])]))"
    )
    for node in saved:
        widgets = dict(shown[str(node["id"])])
        for name, value in zip(widgets, node.get("widgets_values") or [], strict=False):
            assert widgets[name] == value, (node["type"], name)
    if page.renderer == "vue" and template.stem != "LivePortrait - app":  # shown without its nodes
        for node in saved:
            box = page.locator(f'[data-node-id="{node["id"]}"]').first
            assert box.is_visible()
            for name in dict(shown[str(node["id"])]):
                if name in ("file", "frame_load_cap", "preset", "scale", "region"):
                    assert name in box.inner_text(), (node["type"], name)
    assert page.faults == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_opens_large_enough_to_read_and_with_its_nodes_apart(page, template):
    open_template(page, template)
    # Below 0.57 the canvas draws no text.
    assert page.evaluate("() => window.app.canvas.ds.scale") > 0.64
    boxes = page.evaluate(
        "() => Object.fromEntries(window.app.graph.nodes.map(node => { const place = node.getBounding();"
        " return [node.title, [place[0], place[1], place[0] + place[2], place[1] + place[3]]] }))"
    )
    for one, other in combinations(boxes.items(), 2):
        (name, (left, top, right, bottom)), (beside, (x0, y0, x1, y1)) = one, other
        assert right <= x0 or x1 <= left or bottom <= y0 or y1 <= top, (name, beside)


def test_the_quick_start_runs_from_the_button_to_the_finished_video(page, comfy):
    open_template(page, template("quick start"))
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
    assert clip.info.frame_count == 56
    assert page.faults == []


@pytest.mark.parametrize(
    ("name", "size", "frames"),
    [
        ("quick start", (350, 264), 56),
        ("choose a face", (640, 330), 25),
        ("two faces", (640, 330), 16),
        ("animate a picture", (700, 700), 46),
        ("restore a face", (350, 264), 56),
        ("app", (350, 264), 56),
    ],
)
def test_a_template_runs_as_it_ships(one_page, comfy, name, size, frames):
    open_template(one_page, template(name))
    prompt = one_page.evaluate("async () => (await window.app.graphToPrompt()).output")
    clip = saved_clip(comfy, prompt, comfy.run(prompt))
    assert (clip.info.width, clip.info.height) == size
    assert clip.info.frame_count == frames


@pytest.mark.parametrize("name", ["own GPU", "animate an animal"])
def test_a_template_of_the_networks_runs_to_the_end(one_page, comfy, weights, name):
    open_template(one_page, template(name))
    prompt = one_page.evaluate("async () => (await window.app.graphToPrompt()).output")
    for node in prompt.values():
        if "frame_load_cap" in node["inputs"]:
            node["inputs"]["frame_load_cap"] = 1
    assert saved_clip(comfy, prompt, comfy.run(prompt, seconds=400)).info.frame_count == 1


def test_missing_weights_are_named_on_load_model_as_soon_as_its_template_opens(page, comfy):
    assert not (comfy.base / "models" / "liveportrait").exists()
    open_template(page, template("own GPU"))
    line = page.locator(".lpv2v-report[data-error=true]")
    line.wait_for()
    screenshot(page, "weights_missing")
    assert all(name in line.inner_text() for name in NETWORKS)
    assert "switch `download` on" in line.inner_text()
    set_widget(page, "LPV2V_LoadModel", "download", True)
    page.locator(".lpv2v-report", has_text="the next run downloads the weights: 520 MB").wait_for()
    assert page.faults == []


def template(name: str) -> Path:
    return ROOT / "example_workflows" / f"LivePortrait - {name}.json"


def saved_clip(comfy, prompt: dict, run) -> Clip:
    assert run.status == "success", run.error
    (saving,) = [key for key, node in prompt.items() if node["class_type"] == "SaveVideo"]
    return Clip(comfy.file(run.outputs[saving]["images"][0]))


def run_graph(page) -> None:
    """Press the button."""
    page.get_by_test_id("queue-button").or_(page.get_by_role("button", name="Run", exact=True)).first.click()


def set_widget(page, kind: str, name: str, value) -> None:
    page.evaluate(
        "([kind, name, value]) => { const node = window.app.graph.nodes.find(node => node.type === kind);"
        " const widget = node.widgets.find(widget => widget.name === name);"
        " widget.value = value; widget.callback?.(value); }",
        [kind, name, value],
    )


def test_the_report_stays_on_the_node(page, comfy):
    open_template(page, template("choose a face"))
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    run_graph(page)
    report = page.locator(".lpv2v-report", has_text="source face 1: ")
    report.wait_for(timeout=60_000)
    page.wait_for_timeout(4000)
    screenshot(page, "report")
    assert "25 frames, 640x330, 15 fps, 1.67 s" in report.inner_text()
    assert page.locator(".lpv2v-report", has_text="face 1 in 25 of 25 frames").count() == 1
    assert page.faults == []


def test_an_error_is_read_in_a_toast_and_on_the_node(page, comfy):
    open_template(page, template("choose a face"))
    set_widget(page, "LPV2V_Settings", "input_face_index", 4)
    run_graph(page)
    sentence = (
        "face 4 was found nowhere in the frames read of the source clip, but 2 faces, numbered from 0: "
        "see the numbers with the node Preview Faces, then set input_face_index"
    )
    report = page.locator(".lpv2v-report[data-error=true]")
    report.wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    screenshot(page, "error")
    assert page.get_by_text(sentence, exact=True).count() == 2  # the toast, and the node
    assert report.inner_text() == sentence
    assert page.faults == []


def test_a_preset_writes_its_values_into_the_widgets_and_ends_when_one_is_changed(page):
    open_template(page, template("choose a face"))

    def shown(name: str):
        return page.evaluate(
            "name => window.app.graph.nodes.find(node => node.type === 'LPV2V_Settings')"
            ".widgets.find(widget => widget.name === name).value",
            name,
        )

    set_widget(page, "LPV2V_Settings", "preset", "lip sync")
    assert (shown("lip_retargeting"), shown("driving_audio")) == (True, True)
    set_widget(page, "LPV2V_Settings", "driving_audio", False)
    assert shown("preset") == "none"


def test_load_video_says_what_it_will_take_before_a_run(page):
    open_template(page, template("quick start"))
    set_widget(page, "LPV2V_LoadVideo", "frame_load_cap", 30)
    page.locator(
        ".lpv2v-report", has_text="30 frames, 350x264, 30 fps, 1.00 s of 76 frames in 2.53 s"
    ).wait_for()
    set_widget(page, "LPV2V_LoadVideo", "skip_first_frames", 5000)
    page.locator(
        ".lpv2v-report[data-error=true]",
        has_text="example_source.mp4: the clip has 76 frames, and 5000 are to be skipped",
    ).wait_for()


@pytest.mark.parametrize(
    "words",
    ["lip sync", "facial expression", "motion transfer", "avatar", "face swap", "口型同步", "リップシンク"],
)
def test_the_search_finds_animate_draft_by_what_people_call_it(one_page, words):
    one_page.evaluate("() => window.app.graph.clear()")
    one_page.wait_for_timeout(1000)
    one_page.mouse.dblclick(900, 600)
    field = one_page.locator("input:focus")
    field.wait_for()
    field.fill(words)
    one_page.get_by_text("Animate Draft (LivePortrait)").first.wait_for(timeout=5000)


def test_the_blueprint_is_offered(comfy):
    offered = comfy.get("/global_subgraphs")
    assert "LivePortrait - animate a face" in [entry["name"] for entry in offered.values()]


def test_the_templates_are_offered_with_their_thumbnails(comfy, one_page):
    offered = comfy.get("/workflow_templates")[PACK]
    assert set(offered) == {path.stem for path in TEMPLATES}
    for name in offered:
        answer = one_page.request.get(f"{comfy.url}/api/workflow_templates/{PACK}/{quote(name)}.jpg")
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
    page.evaluate("() => { window.app.extensionManager.command.execute('LivePortraitV2V.SetSegmindKey'); }")
    page.locator("#lpv2v-segmind-key").get_by_role("button", name="Remove").click()
    page.get_by_text("The stored key is removed.").first.wait_for()
    assert not stored.exists()
    graph = page.evaluate("() => JSON.stringify([window.app.graph.serialize(), {...localStorage}])")
    assert "SG_canary" not in graph
    assert "SG_canary" not in json.dumps(comfy.get("/settings"))


def test_a_missing_key_opens_its_dialog_and_the_node_has_its_price(page, comfy):
    (comfy.base / "user" / "__liveportrait_v2v" / "segmind.key").unlink(missing_ok=True)
    graph = json.loads(template("quick start").read_text(encoding="utf-8"))
    (animate,) = [node for node in graph["nodes"] if node["type"] == "LPV2V_AnimateDraft"]
    animate |= {"type": "LPV2V_AnimateSegmind", "widgets_values": []}
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.wait_for_timeout(2000)
    page.keyboard.press(".")
    run_graph(page)
    dialog = page.locator("#lpv2v-segmind-key")
    dialog.wait_for(timeout=60_000)
    screenshot(page, "key_needed")
    dialog.get_by_role("button", name="Cancel").click()
    page.locator(".lpv2v-report[data-error=true]", has_text="the Segmind engine needs an API key").wait_for()
    prices = page.evaluate(
        "() => window.app.graph.nodes.find(node => node.type === 'LPV2V_AnimateSegmind')"
        ".badges.map(badge => (badge.call ? badge() : badge).text)"
    )
    assert any(text.startswith("~$0.") for text in prices)
    assert page.faults == []


def test_the_seed_that_orders_a_paid_job_stays_as_it_is_from_run_to_run(page):
    names = page.evaluate(
        "() => window.LiteGraph.createNode('LPV2V_AnimateSegmind').widgets.map(widget => widget.name)"
    )
    assert "seed" in names
    assert "control_after_generate" not in names
