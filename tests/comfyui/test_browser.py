"""The pack in a real browser, with both of the frontend's renderers.

Screenshots are left in the folder that LPV2V_SCREENSHOTS names, .screenshots by default.
"""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from comfyui_pages import (
    SAVED,
    launched,
    load_graph,
    open_template,
    opened,
    run_graph,
    saved_clip,
    screenshot,
    set_widget,
    template,
)
from real_comfyui import ROOT

from live_browser import write_camera
from liveportrait_v2v.engines.liveportrait.networks import NETWORKS
from liveportrait_v2v.media import Clip


@pytest.fixture(scope="module")
def browser(comfy, tmp_path_factory):
    """Chromium with a camera and a microphone; the camera shows the driving example, again and again."""
    clip = Clip(ROOT / "examples" / "example_driving.mp4")
    seen = write_camera(clip, tmp_path_factory.mktemp("camera") / "camera.mjpeg")
    yield from launched(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={seen}",
    )


def test_the_quick_start_runs_from_the_button_to_the_finished_video(page, comfy):
    open_template(page, template("quick start"))
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    before = set((comfy.base / "output").rglob("*.mp4"))
    page.get_by_test_id("queue-button").or_(page.get_by_role("button", name="Run", exact=True)).first.click()
    page.wait_for_function(SAVED, timeout=120_000)
    page.wait_for_timeout(1500)
    screenshot(page, "quick_start_done")
    (made,) = set((comfy.base / "output").rglob("*.mp4")) - before
    clip = Clip(made)
    assert clip.info.frame_count == 56
    assert page.faults == []


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


@dataclass(frozen=True)
class Words:
    """What is shown in a language of the template "choose a face"."""

    source: str
    note: str
    begins: str
    choice: str
    error: str
    report: str
    faces: str


WORDS = {
    "zh": Words(
        source="源：两个人",
        note="多张脸中的哪一张",
        begins="预览人脸从大到小为人脸编号",
        choice="截短 (cut)",
        error="在源视频已读取的各帧中找不到人脸 4，只有 2 张人脸，从 0 开始编号："
        "请用「预览人脸」节点查看编号，再设置「源人脸编号」",
        report="源人脸 1：第 0 帧",
        faces="人脸 1：25 帧中的 25 帧",
    ),
    "ja": Words(
        source="ソース：2 人",
        note="いくつかの顔のうちどれか",
        begins="顔プレビューは顔に大きい順に番号を付け",
        choice="短く切る (cut)",
        error="ソースのクリップの読み込んだフレームに顔 4 は見つかりません。あるのは 2 つの顔（番号は 0 から）です。"
        "「顔プレビュー」ノードで番号を確かめ、「ソースの顔番号」を設定してください",
        report="ソースの顔 1：フレーム 0",
        faces="顔 1：25 フレーム中 25 フレーム",
    ),
}


@pytest.fixture(scope="module", params=list(WORDS))
def translated(request, browser, comfy) -> Iterator:
    """The page in another language, with a template, and the words of that language."""
    for page in opened(browser, comfy, True, request.param):
        page.language = request.param
        open_template(page, template("choose a face"))
        yield page, WORDS[request.param]


def test_a_template_and_its_choices_are_in_the_language_of_the_page(translated):
    page, words = translated
    titles = page.evaluate("() => window.app.graph.nodes.map(node => node.title)")
    assert words.source in titles
    assert words.note in titles
    node = page.evaluate(ID, "MarkdownNote")
    page.locator(f'[data-node-id="{node}"]', has_text=words.begins).wait_for()
    choice = "() => { const node = window.app.graph.nodes.find(node => node.type === 'LPV2V_Settings');"
    choice += " const widget = node.widgets.find(widget => widget.name === 'mismatch_method');"
    choice += " return [widget.value, widget.options.getOptionLabel(widget.value)] }"
    assert page.evaluate(choice) == ["cut", words.choice]
    screenshot(page, f"template_{page.language}")


def test_errors_and_reports_are_in_the_language_of_the_page(translated, comfy):
    page, words = translated
    # What is cached stays in the language of its run.
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    set_widget(page, "LPV2V_Settings", "input_face_index", 4)
    run_graph(page)
    shown = page.locator(".lpv2v-report[data-error=true]")
    shown.wait_for(timeout=60_000)
    assert shown.inner_text() == words.error
    assert shown.evaluate("box => box.scrollHeight <= box.clientHeight")
    page.get_by_text(words.error, exact=True).nth(1).wait_for()  # the toast, and the node
    screenshot(page, f"error_{page.language}")
    set_widget(page, "LPV2V_Settings", "input_face_index", 1)
    run_graph(page)
    page.locator(".lpv2v-report", has_text=words.report).wait_for(timeout=60_000)
    screenshot(page, f"report_{page.language}")
    assert page.locator(".lpv2v-report", has_text=words.faces).count()
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


ROWS = """kind => window.app.graph.nodes.find(node => node.type === kind).getLayoutWidgets().map(({ name }) => name)"""
ID = "kind => window.app.graph.nodes.find(node => node.type === kind).id"
HEIGHT = "kind => window.app.graph.nodes.find(node => node.type === kind).size[1]"
PRESS = """([kind, name]) => window.app.graph.nodes.find(node => node.type === kind).widgets
    .find(widget => widget.name === name).callback()"""
MORE = "lpv2v_advanced"
"""Name of the button that shows and hides rows."""


def press_row(page, kind: str, name: str) -> None:
    """Click on a row of a node on the canvas."""
    x, y = page.evaluate(
        """([kind, name]) => {
            const { canvas, graph } = window.app, node = graph.nodes.find(node => node.type === kind)
            const { y } = node.widgets.find(widget => widget.name === name)
            const [left, top] = canvas.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + y + 10])
            const box = canvas.canvas.getBoundingClientRect()
            return [box.left + left, box.top + top]
        }""",
        [kind, name],
    )
    page.mouse.click(x, y)
    page.wait_for_timeout(500)


def test_settings_show_first_what_people_use_first_and_fold_the_rest(page):
    kind = "LPV2V_Settings"
    open_template(page, template("choose a face"))
    node = page.locator(f'[data-node-id="{page.evaluate(ID, kind)}"]').first
    if page.renderer == "vue":
        assert "scale" in node.inner_text()
        assert "dsize" not in node.inner_text()
        node.get_by_text("Show advanced inputs").click()
        node.get_by_text("dsize").wait_for()
        return
    rows = page.evaluate(ROWS, kind)
    assert rows[:5] == [
        "preset",
        "video_frame_load_cap",
        "driving_audio",
        "input_face_index",
        "drive_face_index",
    ]
    assert rows[-1] == MORE
    assert len(rows) == 12
    screenshot(page, "settings_folded")
    press_row(page, kind, MORE)
    screenshot(page, "settings_unfolded")
    assert page.evaluate(ROWS, kind)[:12] == rows
    assert page.evaluate(ROWS, kind)[12:] == [
        *("dsize", "vx_ratio", "vy_ratio", "crop_drive_face", "lip_zero_threshold"),
        *("eyes_retargeting_multiplier", "lip_retargeting_multiplier", "stitching"),
    ]


def test_folding_rows_changes_neither_saved_values_nor_prompts_and_is_saved_itself(page):
    kind = "LPV2V_Settings"
    open_template(page, template("choose a face"))
    set_widget(page, kind, "dsize", 256)
    # "video-preview" is the front end's own, there once the player has the video.
    taken = """async kind => { const saved = window.app.graph.serialize(), prompt = await window.app.graphToPrompt()
        for (const { inputs } of Object.values(prompt.output)) delete inputs['video-preview']
        return { saved, prompt: prompt.output, node: saved.nodes.find(node => node.type === kind) } }"""
    folded = page.evaluate(taken, kind)
    in_order = [
        "none",
        256,
        2.3,
        0,
        -0.125,
        1,
        0,
        False,
        True,
        0.03,
        False,
        1,
        False,
        1,
        True,
        True,
        "cut",
        120,
    ]
    assert folded["node"]["widgets_values"] == [*in_order, False, False]
    assert MORE not in str(folded["prompt"])
    page.evaluate("kind => window.app.graph.nodes.find(node => node.type === kind).toggleAdvanced()", kind)
    shown = page.evaluate(taken, kind)
    assert shown["node"]["widgets_values"] == folded["node"]["widgets_values"]
    assert shown["prompt"] == folded["prompt"]
    page.evaluate("graph => window.app.loadGraphData(graph)", shown["saved"])
    page.wait_for_timeout(1000)
    again = page.evaluate(taken, kind)
    assert again["node"]["showAdvanced"] is True
    assert again["prompt"] == folded["prompt"]


def test_the_paid_node_s_canvas_shows_its_seed_alone_and_its_deadline_last(page):
    kind = "LPV2V_AnimateSegmind"
    page.evaluate(
        "kind => { const { graph } = window.app; graph.clear(); graph.add(window.LiteGraph.createNode(kind)) }",
        kind,
    )
    page.wait_for_timeout(500)
    assert page.evaluate(ROWS, kind) == ["seed", MORE]
    height = page.evaluate(HEIGHT, kind)
    page.evaluate(PRESS, [kind, MORE])
    unfolded = [
        "max_cost",
        "max_cost_per_day",
        "source_url",
        "driving_url",
        "source_fps",
        "frames",
        "deadline",
    ]
    assert page.evaluate(ROWS, kind) == ["seed", MORE, *unfolded]
    page.evaluate(PRESS, [kind, MORE])
    if page.renderer == "canvas":
        assert page.evaluate(HEIGHT, kind) == height


def test_a_linked_input_keeps_its_row_on_the_canvas(page):
    kind = "LPV2V_Settings"
    page.evaluate(
        """kind => {
            const { graph } = window.app
            graph.clear()
            const [number, settings] = ['PrimitiveInt', kind].map((type, place) => {
                const node = window.LiteGraph.createNode(type)
                node.pos = [60 + 420 * place, 100]
                graph.add(node)
                return node
            })
            number.connect(0, settings, settings.inputs.findIndex(input => input.name === 'dsize'))
        }""",
        kind,
    )
    assert page.evaluate(ROWS, kind)[-2:] == [MORE, "dsize"]
    saved = page.evaluate("() => window.app.graph.serialize()")
    page.evaluate("graph => window.app.loadGraphData(graph)", saved)
    page.wait_for_timeout(1000)
    screenshot(page, "settings_linked")
    assert page.evaluate(
        "kind => { const node = window.app.graph.nodes.find(node => node.type === kind);"
        " const widget = node.widgets.find(widget => widget.name === 'dsize');"
        " return (node.isWidgetRowVisible ?? node.isWidgetVisible).call(node, widget) }",
        kind,
    )
    assert page.evaluate(ROWS, kind)[-2:] == [MORE, "dsize"]
    page.evaluate(
        "kind => { const node = window.app.graph.nodes.find(node => node.type === kind);"
        " node.disconnectInput(node.inputs.findIndex(input => input.name === 'dsize')) }",
        kind,
    )
    assert page.evaluate(ROWS, kind)[-1] == MORE


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


def test_load_video_shows_a_picture_as_a_picture_and_a_video_after_it_in_the_player(page):
    open_template(page, template("quick start"))
    shown = {
        "vue": "() => { const node = document.querySelector('[data-node-id=\"1\"]'); return"
        " [...node.querySelectorAll('img')].some(image => image.naturalWidth === 350) ? 'picture' :"
        " [...node.querySelectorAll('video')].some(video => video.videoWidth === 350) ? 'video' : null }",
        "canvas": "() => { const node = window.app.graph.getNodeById(1); return node.videoContainer ? 'video' :"
        " node.imgs?.[0]?.naturalWidth === 350 ? 'picture' : null }",
    }[page.renderer]
    for file, kind in (("example_picture.jpg", "picture"), ("example_source.mp4", "video")):
        set_widget(page, "LPV2V_LoadVideo", "file", file)
        page.wait_for_function(f"kind => ({shown})() === kind", arg=kind, timeout=15_000)
        screenshot(page, f"load_video_{kind}")
        names = page.evaluate(
            "() => window.app.graph.getNodeById(1).widgets.map(widget => widget.name)"
            ".filter(name => ['video-preview', '$$canvas-image-preview'].includes(name))"
        )
        assert len(names) <= 1
    assert page.get_by_text("failed to load").count() == 0


def test_a_picture_that_is_dropped_on_load_video_is_uploaded_and_chosen(page, comfy):
    open_template(page, template("quick start"))
    name = f"dropped_{page.renderer}.jpg"
    taken = page.evaluate(
        "async name => { const url = '/api/view?filename=example_picture.jpg&type=input';"
        " const picture = await (await fetch(url)).blob();"
        " const files = [new File([picture], name, { type: 'image/jpeg' })], node = window.app.graph.getNodeById(1);"
        " return node.onDragDrop({ dataTransfer: { files, items: files, getData: () => '' } }) }",
        name,
    )
    assert taken is True
    page.wait_for_function("name => window.app.graph.getNodeById(1).widgets[0].value === name", arg=name)
    assert (comfy.base / "input" / name).exists()


def test_the_recorder_makes_a_clip_of_the_camera_that_the_graph_runs_on(page, comfy):
    open_template(page, template("quick start"))
    before = set((comfy.base / "input").iterdir())
    height = page.evaluate("() => window.app.graph.getNodeById(2).size[1]")
    recorder = page.locator(".lpv2v-recorder").nth(1)
    recorder.get_by_role("button", name="Record with the camera").click()
    recorder.get_by_text("Begin with a neutral face").wait_for()
    assert recorder.locator("select").is_hidden()  # there is one camera
    recorder.get_by_role("button", name="Record", exact=False).last.click()
    recorder.get_by_text("0:03").wait_for()
    screenshot(page, "recorder")
    recorder.get_by_role("button", name="Stop").click()
    recorder.get_by_role("button", name="Record with the camera").wait_for()
    (made,) = set((comfy.base / "input").iterdir()) - before
    assert page.evaluate("() => window.app.graph.getNodeById(2).widgets[0].value") == made.name
    assert page.evaluate("() => window.app.graph.getNodeById(2).size[1]") <= height + 40
    clip = Clip(made)
    assert clip.info.audio is not None
    assert clip.info.duration > 2
    prompt = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    (loader,) = [key for key, node in prompt.items() if node["inputs"].get("file") == made.name]
    prompt[loader]["inputs"] |= {"frame_load_cap": 8, "force_rate": 8}
    assert saved_clip(comfy, prompt, comfy.run(prompt)).info.frame_count == 30  # one second of the source's
    assert page.faults == []


def test_the_recorder_offers_the_cameras_where_there_are_several(own_page):
    open_template(own_page, template("quick start"))
    own_page.evaluate(
        "() => { const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);"
        " window.asked = []; devices.getUserMedia = async wanted => { window.asked.push(wanted.video.deviceId?.exact);"
        " return open({ video: true, audio: true }) };"
        " devices.enumerateDevices = async () => ['one', 'other'].map(name =>"
        " ({ kind: 'videoinput', deviceId: name, label: `Camera ${name}` })) }"
    )
    recorder = own_page.locator(".lpv2v-recorder").first
    recorder.get_by_role("button", name="Record with the camera").click()
    recorder.get_by_text("Begin with a neutral face").wait_for()
    assert recorder.locator("option").all_inner_texts() == ["Camera one", "Camera other"]
    recorder.locator("select").select_option("other")
    own_page.wait_for_function("() => window.asked.length === 2")
    assert own_page.evaluate("() => window.asked") == [None, "other"]


def test_the_recorder_says_why_there_is_no_camera_and_what_to_do(own_page):
    open_template(own_page, template("quick start"))
    recorder = own_page.locator(".lpv2v-recorder").first
    for name, words in (
        ("NotAllowedError", "The browser does not allow the camera"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "Another program uses the camera"),
    ):
        own_page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name) } }",
            name,
        )
        recorder.get_by_role("button", name="Record with the camera").click()
        recorder.get_by_text(words).wait_for()
        assert recorder.get_by_role("button", name="Record with the camera").is_visible()


def test_a_recording_that_the_server_refuses_can_be_kept(own_page):
    open_template(own_page, template("quick start"))
    own_page.route("**/upload/image", lambda route: route.fulfill(status=413))
    recorder = own_page.locator(".lpv2v-recorder").first
    recorder.get_by_role("button", name="Record with the camera").click()
    recorder.get_by_text("Begin with a neutral face").wait_for()
    recorder.get_by_role("button", name="Record", exact=False).last.click()
    recorder.get_by_text("0:01").wait_for()
    recorder.get_by_role("button", name="Stop").click()
    recorder.get_by_text("more than ComfyUI accepts").wait_for()
    with own_page.expect_download() as kept:
        recorder.get_by_role("link", name="Keep the file here").click()
    assert kept.value.suggested_filename.startswith("camera_")


@pytest.mark.parametrize(
    "words",
    ["lip sync", "facial expression", "motion transfer", "avatar", "face swap", "口型同步", "リップシンク"],
)
def test_the_search_finds_animate_draft_by_what_people_call_it(page, words):
    page.evaluate("() => window.app.graph.clear()")
    page.keyboard.press("Escape")  # closes the search before
    page.wait_for_timeout(1000)
    field = page.locator("input:focus")
    for _ in range(4):  # a canvas that was just cleared may miss a double click
        page.mouse.dblclick(900, 600)
        page.wait_for_timeout(1000)
        if field.count():
            break
    field.fill(words)
    page.get_by_text("Animate Draft (LivePortrait)").first.wait_for(timeout=5000)


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
    load_graph(page, graph)
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


def test_motion_is_uploaded_with_the_node_s_button_and_links_to_driving(page, comfy, tmp_path):
    item = {"scale": np.ones((1, 1)), "R": np.eye(3), "exp": np.zeros((21, 3)), "t": np.zeros(3)}
    name = f"speech_{page.renderer}.pkl"
    (tmp_path / name).write_bytes(pickle.dumps({"motion": [item] * 5}))
    linked = page.evaluate(
        """() => {
            window.app.graph.clear()
            const [load, record, animate, shown] = ['LPV2V_LoadMotion', 'LPV2V_RecordMotion', 'LPV2V_AnimateDraft',
                'PreviewAny'].map((type, place) => {
                    const node = window.LiteGraph.createNode(type)
                    node.pos = [60 + 420 * place, 100]
                    window.app.graph.add(node)
                    return node
                })
            load.connect(1, shown, 0)
            return [load, record].map((node) => Boolean(node.connect(0, animate, 'driving')))
        }"""
    )
    assert linked == [True, True]
    page.wait_for_timeout(1000)
    page.evaluate("() => window.app.canvas.ds.reset?.()")
    with page.expect_file_chooser() as chosen:
        page.evaluate(
            "() => window.app.graph.nodes.find(node => node.type === 'LPV2V_LoadMotion')"
            ".widgets.find(widget => widget.type === 'button').callback()"
        )
    chosen.value.set_files(tmp_path / name)
    page.wait_for_function(
        "name => window.app.graph.nodes.find(node => node.type === 'LPV2V_LoadMotion').widgets[0].value === name",
        arg=name,
    )
    assert (comfy.base / "input" / name).is_file()
    saved = page.evaluate("() => window.app.graph.serialize()")
    page.evaluate(
        """() => { const nodes = window.app.graph.nodes.filter(node => /Record|Animate/.test(node.type))
            for (const node of nodes) window.app.graph.remove(node) }"""
    )
    run_graph(page)
    report = page.locator(
        ".lpv2v-report", has_text="motion for the liveportrait engine: 5 frames, 25 fps, 0.20 s"
    )
    report.wait_for(timeout=60_000)
    screenshot(page, "load_motion")
    load_graph(page, saved)
    assert name in page.evaluate(
        "() => window.app.graph.nodes.find(node => node.type === 'LPV2V_LoadMotion').widgets.map(w => w.value)"
    )
    assert page.faults == []
