"""The route that draws a face while its sliders move: quick, bounded, and only for pages of this server."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import shutil
import sys

import numpy as np
import pytest
import standin_comfyui as standin
import torch
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from standin_comfyui import VideoFromFile

EXAMPLES = standin.ROOT / "examples"
PAGE = {"Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}
PICTURE = "example_picture.jpg"


@pytest.fixture
def live(nodes, pack, host):
    shutil.copy(EXAMPLES / PICTURE, host.base / "input")
    return importlib.import_module(f"{pack.__name__}.nodes.live")


@pytest.fixture
def post(live):
    """Return a function that posts to the route and returns status and body; `headers` replaces what a page sends."""

    async def ask(bodies: list[bytes], headers: dict[str, str]) -> list[tuple[int, bytes]]:
        app = web.Application()
        app.router.add_post(live.ROUTE, live.draw)
        async with TestClient(TestServer(app)) as client:
            return [
                (answer.status, await answer.read())
                for answer in [await client.post(live.ROUTE, data=body, headers=headers) for body in bodies]
            ]

    def send(body, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(ask([data], {**JSON, **(PAGE if headers is None else headers)}))[0]

    return send


def sliders(**values) -> dict:
    return {"type": "LPV2V_Expression", "values": values}


def asked(expression, **more) -> dict:
    return {"file": PICTURE, "face": 0, "time": 0, "expression": expression, **more}


def picture(answer: tuple[int, bytes]) -> np.ndarray:
    status, body = answer
    assert status == 200, body
    return np.array(Image.open(io.BytesIO(body))).astype(int)


def refusal(answer: tuple[int, bytes], status: int = 400) -> str:
    assert answer[0] == status, answer[1]
    return json.loads(answer[1])["error"]


def test_a_file_s_face_is_drawn_with_the_sliders(post):
    plain, smiling = picture(post(asked(sliders()))), picture(post(asked(sliders(smile=1.0))))
    assert plain.shape == smiling.shape == (318, 350, 3)
    assert np.abs(plain - smiling).max() > 60
    assert np.array_equal(picture(post(asked(sliders()))), plain)


def test_the_picture_is_the_one_that_a_run_shows(post, nodes):
    source = VideoFromFile(str(EXAMPLES / PICTURE))
    _, shown = nodes.Expression.execute(clip=source, aaa=40.0, blink=-8.0).args
    drawn = picture(post(asked(sliders(aaa=40.0, blink=-8.0))))
    assert np.abs(drawn - (shown[0] * 255).numpy()).mean() < 3


def test_a_linked_chain_is_drawn_as_the_graph_computes_it(post):
    keyed = {
        "type": "LPV2V_ExpressionKeyframes",
        "values": {"table": "0 0\n1 1", "blend_in": 0.0, "blend_out": 0.0, "ratio": 1.0},
        "inputs": {"expression_1": sliders(smile=1.0)},
    }
    chained = {**sliders(ratio=0.5), "inputs": {"expression": keyed}}
    whole = picture(post(asked(sliders(smile=0.5))))
    assert np.array_equal(picture(post(asked(chained, time=1))), whole)
    assert np.array_equal(picture(post(asked(chained, time=0))), picture(post(asked(sliders()))))


def test_what_a_run_has_seen_is_drawn_by_its_handle(post, nodes, host):
    clip = VideoFromFile(str(EXAMPLES / "example_source.mp4"))
    (told,) = nodes.Expression.execute(clip=clip).ui["lpv2v_face"]
    request = {"handle": told["handle"], "face": 0, "expression": sliders(smile=1.0)}
    first, later = picture(post({**request, "time": 0})), picture(post({**request, "time": 0.5}))
    assert first.shape != later.shape or np.abs(first - later).max() > 30


def test_of_images_a_handle_has_the_one_face_that_was_shown(post, nodes):
    image = picture(post(asked(sliders())))  # any picture with a face
    batch = torch.from_numpy(image).float()[None] / 255
    (told,) = nodes.Expression.execute(clip=batch).ui["lpv2v_face"]
    request = {"handle": told["handle"], "face": 0, "time": 0, "expression": sliders()}
    assert post(request)[0] == 200
    assert refusal(post({**request, "time": 1}), 410) == "run the node to see this face"


def test_an_unknown_handle_is_gone(post):
    request = {"handle": "0" * 32, "face": 0, "time": 0, "expression": sliders()}
    assert refusal(post(request), 410) == "run the node to see this face"


def test_few_faces_are_kept(post, live, host):
    for number in range(live.KEPT_FACES + 2):
        shutil.copy(EXAMPLES / PICTURE, host.base / "input" / f"{number}.jpg")
        assert post(asked(sliders(), file=f"{number}.jpg"))[0] == 200
    assert len(live._faces) == live.KEPT_FACES
    runs = live._Latest(live.KEPT_RUNS)
    for number in range(1000):
        runs.add(number, None)
    assert list(runs) == list(range(1000 - live.KEPT_RUNS, 1000))


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.test"},
        {},
    ],
)
def test_another_page_gets_no_picture(post, headers):
    assert post(asked(sliders()), headers=headers)[0] == 403


def test_only_json_is_read(post):
    assert post(asked(sliders()), headers={**PAGE, "Content-Type": "text/plain"})[0] == 415


def test_there_is_nothing_to_get(live, host, monkeypatch):
    routes = []
    instance = type("Instance", (), {"routes": type("Routes", (), {})()})()
    for method in ("get", "post"):
        setattr(
            instance.routes, method, lambda path, method=method: lambda handle: routes.append((method, path))
        )
    monkeypatch.setattr(sys.modules["server"].PromptServer, "instance", instance)
    live.add_route()
    assert routes == [("post", live.ROUTE)]


@pytest.mark.parametrize(
    "file", ["../secret.jpg", "/etc/hostname", "none.jpg", "\0", "a" * 5000, "x [output]"]
)
def test_a_file_outside_of_the_folders_is_not_read(post, host, file):
    shutil.copy(EXAMPLES / PICTURE, host.base / "secret.jpg")
    assert "there is no such file in ComfyUI's folders" in refusal(post(asked(sliders(), file=file)))


def nested(depth: int) -> dict:
    form = sliders()
    for _ in range(depth):
        form = {**sliders(ratio=1.0), "inputs": {"expression": form}}
    return form


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "a request must be an object"),
        ({"face": 0}, "a request must have a handle or a file"),
        ({"file": PICTURE, "handle": "0"}, "a request must have a handle or a file"),
        (asked(sliders(), face=-1), "face must be a whole number from 0 to 5, got -1"),
        (asked(sliders(), face=True), "face must be a whole number"),
        (asked(sliders(), time=float("nan")), "time must be seconds from 0 to 86400, got nan"),
        (asked(sliders(), time="1"), "time must be seconds"),
        (asked(sliders(), time=10**400), "time must be seconds"),
        (asked(sliders(), face=5), "face 5 was found nowhere"),
        (asked(sliders(smile=float("nan"))), "smile must be a number"),
        (asked(sliders(smile=1e400)), "smile must be a number"),
        (asked(sliders(smile=2)), "smile must be a number from -0.3 to 1.3"),
        (asked(sliders(smile="1")), "smile must be a number, got '1'"),
        (asked(sliders(smile=None)), "smile must be a number, got None"),
        (asked(sliders(**{"<img src=x>": 1})), "unknown input '<img src=x>'"),
        (asked({**sliders(), "inputs": {"model": sliders()}}), "unknown input 'model'"),
        (asked({"type": "LPV2V_SaveExpression", "values": {}}), "an expression must be one of our nodes"),
        (asked({"type": ["LPV2V_Expression"]}), "an expression must be one of our nodes"),
        (asked({**sliders(), "values": []}), "an expression must be one of our nodes"),
        (asked(None), "an expression must be one of our nodes"),
        (asked(nested(100)), "an expression must have 64 nodes at most"),
        (
            asked({"type": "LPV2V_LoadExpression", "values": {"file": "../secret.json", "ratio": 1}}),
            "there is no such JSON file",
        ),
        (asked({"type": "LPV2V_ExpressionKeyframes", "values": {"table": 3}}), "table must be text, got 3"),
        (asked({"type": "LPV2V_ExpressionKeyframes", "values": {}}), "the table must have a line"),
    ],
)
def test_a_wrong_request_is_refused_by_its_rule(post, request_, message):
    assert message in refusal(post(request_))


@pytest.mark.parametrize("body", [b"", b"smile=1", b"[" * 100_000, b"\xff\xfe", b"{"])
def test_what_is_no_json_is_refused(post, body):
    assert post(body)[0] == 400


def test_a_huge_request_is_not_read_to_its_end(post, live):
    assert post(b" " * (live.MAX_BYTES + 1))[0] == 413
