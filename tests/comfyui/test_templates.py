"""The templates in a real browser, as they ship, and what is offered beside them.

Screenshots are left in the folder that LPV2V_SCREENSHOTS names, .screenshots by default.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, product
from urllib.parse import quote

import pytest
from comfyui_pages import SAVED, launched, open_template, saved_clip, screenshot, template
from real_comfyui import PACK, ROOT
from wires import Wire, crossings

from liveportrait_v2v.media import Clip

TEMPLATES = sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.fixture(scope="module")
def browser(comfy) -> Iterator:
    yield from launched()


@pytest.fixture(
    scope="module",
    params=list(product([False, True], TEMPLATES)),
    ids=lambda param: f"{'vue' if param[0] else 'canvas'}-{param[1].stem}",
)
def opened_template(request, pages) -> Iterator:
    """Each template in each renderer, for all tests that only look at it: the page and the template's path."""
    vue, template = request.param
    for page in pages.lent(vue, request):
        open_template(page, template)
        yield page, template


def test_a_template_opens_whole_and_with_widgets_that_can_be_read(opened_template):
    page, template = opened_template
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
        ".filter(widget => !widget.options?.canvasOnly && !widget.name.startsWith('lpv2v_'))"
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


def test_a_template_opens_large_enough_to_read_and_with_its_nodes_apart(opened_template):
    page, _ = opened_template
    # Below 0.57 the canvas draws no text.
    assert page.evaluate("() => window.app.canvas.ds.scale") > 0.64
    boxes = boxes_of_nodes(page)
    assert overlaps(boxes) == []
    ends = page.evaluate(
        "() => { const graph = window.app.graph; return [...graph.links.values()].map(link => {"
        " const [from, to] = [graph.getNodeById(link.origin_id), graph.getNodeById(link.target_id)];"
        " return [String(link.origin_id), String(link.target_id), [...from.getOutputPos(link.origin_slot)],"
        " [...to.getInputPos(link.target_slot)]] }) }"
    )
    assert crossings([Wire(*parts) for parts in ends], boxes) == []
    below = page.evaluate(
        "() => [...document.querySelectorAll('.comfy-markdown, .comfy-markdown-content')].map(note =>"
        " note.getBoundingClientRect().bottom - [...note.querySelectorAll('h2')].pop().getBoundingClientRect().bottom)"
    )
    assert all(space > 0 for space in below), "a note has more lines than it shows"
    cut = page.evaluate(
        "() => [...document.querySelectorAll('[data-node-id] .truncate')].filter(text =>"
        " text.innerText && text.scrollWidth > text.clientWidth).map(text => text.innerText)"
    )
    assert cut == []


def boxes_of_nodes(page) -> dict[str, list[float]]:
    """Left, top, right and bottom of each node."""
    return page.evaluate(
        "() => Object.fromEntries(window.app.graph.nodes.map(node => { const place = node.getBounding();"
        " return [node.id, [place[0], place[1], place[0] + place[2], place[1] + place[3]]] }))"
    )


def overlaps(boxes: dict[str, list[float]]) -> list[tuple[str, str]]:
    return [
        (name, other)
        for (name, (left, top, right, bottom)), (other, (x0, y0, x1, y1)) in combinations(boxes.items(), 2)
        if left < x1 and x0 < right and top < y1 and y0 < bottom
    ]


MADE = {
    "quick start": ((350, 264), 56),
    "choose a face": ((640, 330), 25),
    "two faces": ((640, 330), 16),
    "animate a picture": ((700, 700), 46),
    "restore a face": ((350, 264), 56),
    "app": ((350, 264), 56),
    "edit an expression": ((350, 350), 51),
}
"""Size and number of frames of what each template makes, of those that need no weights."""


def test_a_template_runs_as_it_ships_and_its_nodes_stay_apart(opened_template, comfy):
    page, path = opened_template
    name = path.stem.removeprefix("LivePortrait - ")
    if name not in MADE:
        pytest.skip("needs weights: see the templates of the networks")
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    saved = page.wait_for_function(SAVED, timeout=120_000).json_value()
    page.wait_for_timeout(2000)  # pictures and reports grow the nodes
    screenshot(page, f"{path.stem}, run")
    clip = Clip(comfy.file(saved))
    assert ((clip.info.width, clip.info.height), clip.info.frame_count) == MADE[name]
    assert overlaps(boxes_of_nodes(page)) == []
    assert page.faults == []


@pytest.mark.parametrize("name", ["own GPU", "animate an animal"])
def test_a_template_of_the_networks_runs_to_the_end(one_page, comfy, weights, name):
    open_template(one_page, template(name))
    prompt = one_page.evaluate("async () => (await window.app.graphToPrompt()).output")
    for node in prompt.values():
        if "frame_load_cap" in node["inputs"]:
            node["inputs"]["frame_load_cap"] = 1
    assert saved_clip(comfy, prompt, comfy.run(prompt, seconds=400)).info.frame_count == 1


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
