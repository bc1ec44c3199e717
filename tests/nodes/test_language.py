"""Whose language it is: of the page that queued the run, sent the prompt or asks a route."""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import sys
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

NEITHER = "link a clip to `driving`, or an expression to `expression`; got neither"
CHINESE = "请把视频连接到「驱动」，或把表情连接到「表情」；现在两者都没有"
JAPANESE = "クリップを「ドライビング」に、または表情を「表情」に接続してください。現在はどちらもありません"


@pytest.fixture
def server(host, pack):
    """ComfyUI's server as the pack sees it, with the pack's routes for languages and for the weights."""
    instance = sys.modules["server"].PromptServer.instance
    instance.routes, instance.client_id = web.RouteTableDef(), None
    handlers = []
    instance.add_on_prompt_handler = handlers.append
    for module in ("host.language_route", "weights"):
        importlib.import_module(f"{pack.__name__}.nodes.{module}").add_route()
    return SimpleNamespace(instance=instance, on_prompt=handlers[0])


@pytest.fixture
def ask(server):
    """Return a function that sends a request and returns status and text."""

    async def send(method: str, path: str, options: dict) -> tuple[int, str]:
        app = web.Application()
        app.add_routes(server.instance.routes)
        async with TestClient(TestServer(app)) as client:
            answer = await client.request(method, path, **options)
            return answer.status, await answer.text()

    def asked(method: str, path: str, **options) -> tuple[int, str]:
        return contextvars.copy_context().run(asyncio.run, send(method, path, options))

    return asked


@pytest.fixture
def tell(ask):
    """Return a function by which a page sends its language."""
    return lambda client, language: ask(
        "POST", "/liveportrait-v2v/language", json={"client": client, "language": language}
    )


def fails(nodes, host) -> tuple[str, str, str]:
    """What a node that lacks a link shows: its error, the line on the node, and what stays on it."""
    with pytest.raises(Exception, match=r"driving|驱动|ドライビング") as failure:
        nodes.AnotherFace.execute()
    return str(failure.value), host.texts[-1], host.events[-1][1]["text"]


@pytest.mark.parametrize(("language", "said"), [("zh", CHINESE), ("ja", JAPANESE), ("en", NEITHER)])
def test_a_run_speaks_the_language_of_the_page_that_queued_it(server, nodes, host, tell, language, said):
    assert tell("page", language)[0] == 200
    server.instance.client_id = "page"
    assert fails(nodes, host) == (said, said, said)


def test_a_run_that_no_page_has_queued_is_in_english(server, nodes, host, tell):
    tell("page", "zh")
    for client in (None, "script"):
        server.instance.client_id = client
        assert fails(nodes, host) == (NEITHER,) * 3


def test_a_page_may_change_its_language(server, nodes, host, tell):
    server.instance.client_id = "page"
    for language, said in (("zh", CHINESE), ("ja", JAPANESE), ("zh-TW", NEITHER)):
        tell("page", language)
        assert fails(nodes, host)[0] == said


def test_the_log_keeps_the_english_sentence(server, nodes, tell):
    tell("page", "zh")
    server.instance.client_id = "page"
    with pytest.raises(Exception, match="驱动") as failure:
        nodes.AnotherFace.execute()
    assert str(failure.value.__cause__) == NEITHER


def test_a_prompt_is_refused_in_the_language_of_the_page_that_sends_it(server, nodes, tell):
    tell("page", "zh")
    tell("other", "ja")
    server.instance.client_id = "other"  # whose run goes on meanwhile

    def refusal(prompt: dict) -> str:
        assert server.on_prompt(prompt) is prompt
        return nodes.LoadMotion.validate_inputs(file="")

    for prompt, said in (
        ({"client_id": "page"}, "请选择动作模板，或用节点上的按钮上传"),
        ({"client_id": "other"}, "モーションテンプレートを選ぶか、ノードのボタンでアップロードしてください"),
        ({}, "choose a motion template, or upload one with the node's button"),
        ({"client_id": [1]}, "choose a motion template, or upload one with the node's button"),
    ):
        assert contextvars.copy_context().run(refusal, prompt) == said


@pytest.mark.parametrize(
    ("accepted", "beginning"),
    [("zh", "以下位置都没有齐全的"), ("ja", "LivePortrait の重み"), ("en", "the LivePortrait weights")],
)
def test_a_route_answers_in_the_language_of_the_request(ask, accepted, beginning):
    status, text = ask("GET", "/liveportrait-v2v/weights", headers={"Accept-Language": accepted})
    assert status == 200
    assert beginning in json.loads(text)["text"]


@pytest.mark.parametrize("body", ["", "[]", '{"client": "page"}', '{"client": 1, "language": "zh"}', "null"])
def test_a_page_that_sends_something_else_is_refused(ask, body):
    status, text = ask(
        "POST", "/liveportrait-v2v/language", data=body, headers={"Content-Type": "application/json"}
    )
    assert status == 400
    assert "send JSON" in text


def test_the_languages_of_so_many_pages_are_kept(pack, server):
    language = importlib.import_module(f"{pack.__name__}.nodes.host.language")
    for number in range(language._KEPT + 5):
        language.keep(f"page {number}", "zh")
    assert len(language._pages) == language._KEPT
    assert "page 4" not in language._pages
