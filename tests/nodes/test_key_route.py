"""The route that stores the API key: only pages of this server, under a name that DNS can't lead elsewhere."""

from __future__ import annotations

import asyncio
import importlib
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

KEY = "SG_0123456789abcdef"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def post(pack, host, monkeypatch, tmp_path):
    """Return a function that posts to the route and returns status and text."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    module = importlib.import_module(f"{pack.__name__}.nodes.segmind")

    async def ask(body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        app = web.Application()
        app.router.add_post(module.ROUTE, module.store_key)
        async with TestClient(TestServer(app)) as client:
            answer = await client.post(module.ROUTE, data=body, headers={**JSON, **headers})
            return answer.status, await answer.text()

    return lambda body, **headers: asyncio.run(
        ask(body, {k.replace("_", "-"): v for k, v in headers.items()})
    )


def stored(host) -> bool:
    return (host.base / "user" / "__liveportrait_v2v" / "segmind.key").exists()


PAGE = {"Sec_Fetch_Site": "same-origin"}


@pytest.mark.parametrize(
    "name", ["localhost:8188", "127.0.0.1:8188", "[::1]:8188", "192.168.1.7", "LOCALHOST"]
)
def test_a_page_of_this_server_stores_the_key(post, host, name):
    status, text = post(json.dumps({"key": KEY}).encode(), Host=name, **PAGE)
    assert (status, json.loads(text)) == (200, {"configured": True})
    assert stored(host)


@pytest.mark.parametrize(
    "name", ["evil.test", "evil.test:8188", "localhost.evil.test", "127.0.0.1.evil.test", ""]
)
@pytest.mark.parametrize("headers", [PAGE, {}])
def test_a_page_whose_own_name_leads_here_stores_no_key(post, host, name, headers):
    headers = headers or {"Origin": f"http://{name}"}
    status, text = post(json.dumps({"key": KEY}).encode(), Host=name, **headers)
    assert status == 403
    assert "LPV2V_ALLOWED_HOSTS" in text
    assert not stored(host)


def test_a_name_that_the_user_allows_stores_the_key(post, host, monkeypatch):
    monkeypatch.setenv("LPV2V_ALLOWED_HOSTS", "other.example, Comfy.example")
    assert post(json.dumps({"key": KEY}).encode(), Host="comfy.example:443", **PAGE)[0] == 200
    assert post(json.dumps({"key": KEY}).encode(), Host="evil.test", **PAGE)[0] == 403


BODIES = {
    "deep": b'{"key": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "number": b'{"key": 12345678901234567890}',
    "list": b'{"key": ["SG_0123456789abcdef"]}',
    "object": b'{"key": {"a": "SG_0123456789abcdef"}}',
    "boolean": b'{"key": true}',
    "no object": b'"SG_0123456789abcdef"',
    "no JSON": b"key=SG_0123456789abcdef",
    "no text": b'{"key": "\xff\xfe"}',
    "digits": b'{"key": ' + b"9" * 5000 + b"}",
    "surrogate": b'{"key": "SG_0123456789\\ud800"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_holds_no_key_is_a_400(post, host, name):
    status, text = post(BODIES[name], Host="localhost", **PAGE)
    assert status == 400
    assert "0123456789abcdef" not in text
    assert not stored(host)


@pytest.mark.parametrize("charset", ["nonsense", "utf-7", "base64", "\xa0"])
def test_another_charset_is_a_400(post, host, charset):
    body = json.dumps({"key": KEY}).encode("utf-16")
    assert post(body, Host="localhost", Content_Type=f"application/json; charset={charset}", **PAGE)[0] == 400
    assert not stored(host)
