"""Attacks on the server: malformed requests, uploads that announce too much, silent clients, clocks that jump."""

from __future__ import annotations

import logging
import socket

import pytest
from serving import FakeWorker, serving

KEY = "SG_0a1b2c3d4e5f6071"

MALFORMED = {
    "request line": "GET /KEY\x00 HTTP/1.1\r\nx-api-key: KEY\r\n\r\n",
    "method": "KEY / / / HTTP/1.1\r\n\r\n",
    "version": "GET / KEY\r\n\r\n",
    "header": "GET / HTTP/1.1\r\nHost: x\r\nx-api-key KEY\r\n\r\n",
    "header name": "GET / HTTP/1.1\r\nHost: x\r\nx api key: KEY\r\n\r\n",
    "header value": "GET / HTTP/1.1\r\nHost: x\r\nx-api-key: KEY\x00\r\n\r\n",
    "length": "POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: KEY\r\n\r\n",
    "encoding": "POST /v2/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: KEY\r\n\r\n",
    "long": "GET / HTTP/1.1\r\nx-api-key: " + "KEY" * 5000 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_and_its_key_are_not_in_the_log(tmp_path, caplog, name):
    caplog.set_level(logging.DEBUG)
    with (
        serving(tmp_path / "data", [FakeWorker()]) as server,
        socket.create_connection((server.host, server.port), timeout=10) as connection,
    ):
        connection.sendall(MALFORMED[name].replace("KEY", KEY).encode())
        assert b"400" in connection.recv(65536)
    assert KEY not in caplog.text
