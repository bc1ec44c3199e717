"""ComfyUI's page in a real browser."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_comfyui import ROOT

from live_browser import CHROMIUM
from liveportrait_v2v.media import Clip

REST_SECONDS = 60
SAVED = """() => Object.values(window.app.nodeOutputs ?? {}).flatMap(output => output?.images ?? [])
    .find(file => file.type === 'output' && file.filename.endsWith('.mp4'))"""
"""The saved video that a page shows, if any."""
_PLACES = (
    "() => { const { graph, canvas } = window.app; return JSON.stringify([canvas.ds.scale, [...canvas.ds.offset],"
    " graph.nodes.map(node => [...node.getBounding()]), document.querySelectorAll('[data-node-id]').length,"
    " [...document.querySelectorAll('img, video')].map(one => one.naturalWidth ?? one.videoWidth)]) }"
)
_READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.LPV2V_AnimateDraft"


def launched(*arguments: str) -> Iterator:
    """The browser, with these arguments, too. Where there is none, the test is skipped, and says so."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("NO PLAYWRIGHT: the pack is not looked at in a browser; pip install playwright")
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: the pack is not looked at in a browser; install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--lang=en-US", *arguments]
        )
        yield browser
        browser.close()


class Pages:
    """ComfyUI's pages in one browser, in English, one for each renderer: to load one takes five seconds.

    Each is kept from test to test, without a graph, unless a test failed on it, left faults or opened an app: what
    comes after an app is not fitted into the view in ComfyUI 0.17.
    """

    def __init__(self, browser, comfy):
        self._browser, self._comfy = browser, comfy
        self._kept: dict[bool, Any] = {}

    def lent(self, vue: bool, request: pytest.FixtureRequest) -> Iterator:
        """A page with an empty graph; `faults` are what went wrong on it and is the pack's."""
        if vue not in self._kept:
            self._kept[vue] = _new_page(self._browser, self._comfy, vue, "en")
        page, failed = self._kept[vue], request.session.testsfailed
        page.bring_to_front()
        yield page
        is_app = page.evaluate("() => Boolean(window.app.graph.extra?.linearMode)")
        if page.faults or is_app or request.session.testsfailed > failed:
            del self._kept[vue]
            page.close()
        elif self._kept.get(vue) is page:
            _empty(page)


def opened(browser, comfy, vue: bool, language: str = "en") -> Iterator:
    """A page of one test's own, as in `Pages.lent`: for tests that change more than the graph on it."""
    page = _new_page(browser, comfy, vue, language)
    yield page
    page.close()


def _new_page(browser, comfy, vue: bool, language: str):
    comfy.post(
        "/settings",
        {"Comfy.VueNodes.Enabled": vue, "Comfy.TutorialCompleted": True, "Comfy.Locale": language},
    )
    page = browser.new_page(viewport={"width": 1900, "height": 1100})
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(f"page error: {error}"))
    page.on("console", lambda said: _hear(page.faults, said))
    page.on("response", lambda answer: _note(page.faults, answer))
    page.goto(comfy.url)
    page.wait_for_function(_READY, timeout=60_000)
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")
    page.renderer = "vue" if vue else "canvas"
    return page


def _empty(page) -> None:
    """Close what is open on a page, and take its graph and what its nodes showed away."""
    page.keyboard.press("Escape")
    page.evaluate(
        "async () => { const { app } = window, { toast, workflow } = app.extensionManager; toast?.removeAll?.();"
        " for (const other of [...(workflow?.openWorkflows ?? [])])"
        " if (other !== workflow.activeWorkflow) await workflow.closeWorkflow(other);"
        " app.clean(); app.graph.clear(); app.nodeOutputs = {}; app.nodePreviewImages = {} }"
    )


def _hear(faults: list[str], said) -> None:
    if said.type == "error" and "LivePortraitV2V" in said.text:
        faults.append(said.text)


def _note(faults: list[str], answer) -> None:
    if answer.status >= 400 and "liveportrait" in answer.url.lower():
        faults.append(f"{answer.status} {answer.url}")


def load_graph(page, graph: dict) -> None:
    """Load a graph in place of the page's, and wait until nothing moves any more."""
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    before, alike, end = None, 0, time.monotonic() + REST_SECONDS
    while alike < 3:
        page.wait_for_timeout(200)
        now = page.evaluate(_PLACES)
        assert time.monotonic() < end, f"the page does not come to rest: {before}, {now}"
        before, alike = now, alike + 1 if now == before else 0


def open_template(page, path: Path) -> None:
    load_graph(page, json.loads(path.read_text(encoding="utf-8")))


def screenshot(page, name: str) -> None:
    folder = Path(os.environ.get("LPV2V_SCREENSHOTS", ROOT / ".screenshots"))
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{name}_{page.renderer}.png")


def template(name: str) -> Path:
    return ROOT / "example_workflows" / f"LivePortrait - {name}.json"


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


def saved_clip(comfy, prompt: dict, run) -> Clip:
    assert run.status == "success", run.error
    (saving,) = [key for key, node in prompt.items() if node["class_type"] == "SaveVideo"]
    return Clip(comfy.file(run.outputs[saving]["images"][0]))
