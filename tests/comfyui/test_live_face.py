"""The face on Expression in a real browser: it follows the sliders, in both renderers, without a run."""

from __future__ import annotations

import json
import math
import statistics
import time
from itertools import pairwise

import pytest
from comfyui_pages import (
    launched,
    load_graph,
    open_template,
    run_graph,
    screenshot,
    set_widget,
    template,
)

NODE = "LPV2V_Expression"
SHOWN = (
    "() => { const pictures = [...document.querySelectorAll('.lpv2v-face img')];"
    " return pictures.length > 0 && pictures.every(picture => !picture.hidden && picture.naturalWidth) }"
)
FIND = "const node = window.app.graph.nodes.find(node => node.type === 'LPV2V_Expression');"


@pytest.fixture(scope="module")
def browser(comfy):
    yield from launched()


def open_editor(page) -> None:
    open_template(page, template("edit an expression"))
    page.wait_for_function(SHOWN, timeout=60_000)
    settle(page)


def pictures(page) -> list[str]:
    """A digest of each face on the page."""
    return page.evaluate(
        "async () => { const made = []; for (const picture of document.querySelectorAll('.lpv2v-face img')) {"
        " const data = await (await fetch(picture.src)).arrayBuffer();"
        " made.push([...new Uint8Array(await crypto.subtle.digest('SHA-256', data))].join()) } return made }"
    )


def settle(page) -> None:
    """Wait until no face changes any more."""
    before = None
    while (
        now := page.evaluate("() => [...document.querySelectorAll('.lpv2v-face img')].map(p => p.src)")
    ) != before:
        before = now
        page.wait_for_timeout(1000)


def slider(page, name: str) -> tuple[float, float, float]:
    """Where a slider is on the page: the middle, and half its length."""
    if page.renderer == "canvas":
        return tuple(
            page.evaluate(
                "name => {" + FIND + " const widget = node.widgets.find(widget => widget.name === name);"
                " const { ds, canvas } = window.app.canvas, box = canvas.getBoundingClientRect();"
                " return [box.x + (node.pos[0] + node.size[0] / 2 + ds.offset[0]) * ds.scale,"
                " box.y + (node.pos[1] + (widget.last_y ?? widget.y) + 10 + ds.offset[1]) * ds.scale,"
                " 0.4 * node.size[0] * ds.scale] }",
                name,
            )
        )
    node = page.evaluate("() => {" + FIND + " return String(node.id) }")
    names = page.evaluate(
        "() => {"
        + FIND
        + " return node.widgets.filter(w => w.type === 'slider' && !w.options.advanced).map(w => w.name) }"
    )
    thumb = page.locator(f'[data-node-id="{node}"] [role=slider]').nth(names.index(name)).bounding_box()
    return thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2, 50


def watch(page) -> None:
    """Note when the face changes, and the URLs of pictures that are alive."""
    page.evaluate(
        "() => { window.seen = []; window.alive = new Set();"
        " new MutationObserver(() => window.seen.push(performance.now())).observe("
        "document.querySelector('.lpv2v-face img'), { attributes: true, attributeFilter: ['src'] });"
        " const make = URL.createObjectURL, end = URL.revokeObjectURL;"
        " URL.createObjectURL = given => { const url = make.call(URL, given); window.alive.add(url); return url };"
        " URL.revokeObjectURL = url => { window.alive.delete(url); end.call(URL, url) } }"
    )


def test_a_slider_that_is_dragged_redraws_the_face_while_it_moves(page, comfy, record_property):
    open_editor(page)
    (before,), queued = pictures(page), comfy.get("/history")
    watch(page)
    x, y, reach = slider(page, "rotate_pitch")
    page.mouse.move(x, y)
    page.mouse.down()
    begin = time.monotonic()
    while (gone := time.monotonic() - begin) < 4:
        page.mouse.move(x + reach * math.sin(2 * gone), y)
    page.mouse.move(x + reach / 2, y)
    page.mouse.up()
    seen = page.evaluate("() => window.seen")
    settle(page)
    gaps = [after - first for first, after in pairwise(seen)]
    milliseconds = statistics.median(gaps)
    print(f"{page.renderer}: a new face every {milliseconds:.0f} ms")
    record_property(f"milliseconds_{page.renderer}", milliseconds)
    screenshot(page, "live_face")
    assert len(seen) >= 5
    assert pictures(page) != [before]
    value = page.evaluate("() => {" + FIND + " return node.widgets[0].value }")
    assert 3 < value < 20
    assert comfy.get("/history") == queued
    assert page.faults == []


def test_a_saved_graph_shows_the_same_face_again(page, comfy):
    open_editor(page)
    set_widget(page, NODE, "blink", -12)
    settle(page)
    kept, saved = pictures(page), page.evaluate("() => JSON.stringify(window.app.graph.serialize())")
    page.reload()
    page.wait_for_function(
        "() => window.app?.graph && window.LiteGraph?.registered_node_types?.LPV2V_Expression"
    )
    page.wait_for_timeout(1500)
    load_graph(page, json.loads(saved))
    page.wait_for_function(SHOWN, timeout=60_000)
    settle(page)
    assert pictures(page) == kept
    values = [
        next(node for node in json.loads(graph)["nodes"] if node["type"] == NODE)["widgets_values"]
        for graph in (saved, page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))
    ]
    assert values[0] == values[1]
    assert page.faults == []


def test_two_hundred_moves_leak_nothing(one_page):
    page = one_page
    open_editor(page)
    watch(page)
    faces = page.locator(".lpv2v-face").count()
    for step in range(200):
        set_widget(page, NODE, "rotate_yaw", step % 40 - 20)
        page.wait_for_timeout(10)
    settle(page)
    assert len(page.evaluate("() => window.seen")) >= 5
    assert page.evaluate("() => [...window.alive]") == [page.locator(".lpv2v-face img").get_attribute("src")]
    assert page.locator(".lpv2v-face").count() == faces
    page.evaluate("() => window.app.graph.clear()")
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.alive.size") == 0


def test_two_editors_and_a_copy_have_a_face_of_their_own(page):
    open_editor(page)
    (first,) = pictures(page)
    page.evaluate(
        "() => {" + FIND + " const copy = node.clone(); copy.pos = [node.pos[0], node.pos[1] + 1100];"
        " window.app.graph.add(copy); const [source] = window.app.graph.nodes;"
        " source.connect(0, copy, copy.inputs.findIndex(input => input.name === 'clip'));"
        " const smile = copy.widgets.find(widget => widget.name === 'smile'); smile.value = -0.3;"
        " smile.callback?.(-0.3); window.app.canvas.ds.scale = 0.4; window.app.canvas.ds.offset = [600, 60];"
        " window.app.canvas.setDirty(true, true) }"
    )
    page.wait_for_timeout(1000)
    page.wait_for_function(SHOWN, timeout=60_000)
    settle(page)
    screenshot(page, "two_live_faces")
    assert len(set(pictures(page))) == 2
    assert first in pictures(page)
    assert page.faults == []


def test_the_face_follows_inside_of_a_subgraph(page):
    open_editor(page)
    before = pictures(page)
    page.evaluate(
        "() => {" + FIND + " window.made = window.app.graph.convertToSubgraph(new Set([node]));"
        " window.inner = made.subgraph.nodes.find(node => node.type === 'LPV2V_Expression') }"
    )
    page.wait_for_timeout(1000)
    page.evaluate("() => window.app.canvas.openSubgraph(window.made.subgraph, window.made.node)")
    page.wait_for_function(SHOWN, timeout=60_000)
    settle(page)
    assert pictures(page) == before
    page.evaluate(
        "() => { const smile = window.inner.widgets.find(widget => widget.name === 'smile');"
        " smile.value = -0.3; smile.callback?.(-0.3) }"
    )
    page.wait_for_timeout(500)
    settle(page)
    screenshot(page, "live_face_in_subgraph")
    assert pictures(page) != before
    assert page.faults == []


def test_what_other_nodes_make_is_shown_after_a_run(one_page):
    page = one_page
    open_editor(page)
    page.evaluate(
        "() => {" + FIND + " const scale = window.LiteGraph.createNode('ImageScaleBy');"
        " window.app.graph.add(scale); window.app.graph.nodes[0].connect(0, scale, 0);"
        " scale.connect(0, node, node.inputs.findIndex(input => input.name === 'clip')) }"
    )
    page.locator(".lpv2v-face", has_text="Run once to see the face.").wait_for()
    before = page.locator(".lpv2v-face img").get_attribute("src")
    run_graph(page)
    page.wait_for_function(
        "before => document.querySelector('.lpv2v-face img').src !== before", arg=before, timeout=60_000
    )
    settle(page)
    shown = pictures(page)
    set_widget(page, NODE, "smile", 0)
    settle(page)
    assert pictures(page) != shown
    assert page.locator(".lpv2v-face").inner_text() == ""
    assert page.faults == []


def test_a_file_that_is_not_there_is_said_as_text(one_page):
    page = one_page
    open_editor(page)
    name = "<img src=x onerror=window.hacked=1>.jpg"
    set_widget(page, "LoadImage", "image", name)
    line = page.locator(".lpv2v-face[data-error=true]", has_text=f"{name}: there is no such file")
    line.wait_for()
    assert page.evaluate("() => window.hacked") is None


def test_a_graph_that_was_saved_before_keeps_its_links_and_values(page):
    graph = json.loads(template("quick start").read_text(encoding="utf-8"))
    (animate,) = [node for node in graph["nodes"] if node["type"] == "LPV2V_AnimateDraft"]
    assert animate["inputs"][-1]["name"] == "expression"
    load_graph(page, graph)
    new = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    del animate["inputs"][-1]
    load_graph(page, graph)
    assert page.evaluate("async () => (await window.app.graphToPrompt()).output") == new
    (inputs,) = [node["inputs"] for node in new.values() if node["class_type"] == "LPV2V_AnimateDraft"]
    assert {"source", "driving", "frames", "source_fps"} == set(inputs)


def test_another_page_and_a_get_are_refused_by_the_server(comfy):
    import urllib.error
    import urllib.request

    body = {"file": "example_picture.jpg", "expression": {"type": NODE, "values": {}}}
    for method, headers in (
        ("POST", {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}),
        ("POST", {}),
        ("GET", {"Sec-Fetch-Site": "same-origin"}),
    ):
        request = urllib.request.Request(
            f"{comfy.url}/liveportrait-v2v/face",
            data=json.dumps(body).encode() if method == "POST" else None,
            headers={"Content-Type": "application/json", **headers},
            method=method,
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code in (403, 404, 405)


def test_an_expression_is_saved_loaded_and_run_by_the_server(comfy):
    smile = {"class_type": NODE, "inputs": {**sliders(comfy), "smile": 1.0}}
    saving = {
        "1": smile,
        "2": {
            "class_type": "LPV2V_SaveExpression",
            "inputs": {"expression": ["1", 0], "filename_prefix": "expression/mine"},
        },
    }
    done = comfy.run(saving)
    assert done.status == "success", done.error
    (name,) = done.outputs["2"]["lpv2v_report"]
    assert (comfy.base / "output" / name).is_file()
    offered = comfy.get("/object_info/LPV2V_LoadExpression")["LPV2V_LoadExpression"]["input"]["required"][
        "file"
    ]
    assert f"{name} [output]" in json.dumps(offered)
    loading = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example_picture.jpg"}},
        "2": {"class_type": "LPV2V_LoadExpression", "inputs": {"file": f"{name} [output]", "ratio": 1.0}},
        "3": {
            "class_type": "LPV2V_AnimateDraft",
            "inputs": {"source": ["1", 0], "frames": True, "expression": ["2", 0], "source_fps": 0.0},
        },
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    done = comfy.run(loading)
    assert done.status == "success", done.error
    assert len(done.outputs["4"]["images"]) == 1


def sliders(comfy) -> dict[str, float]:
    """The default of every widget of Expression."""
    required = comfy.get(f"/object_info/{NODE}")[NODE]["input"]["required"]
    return {name: options["default"] for name, (_, options) in required.items()}
