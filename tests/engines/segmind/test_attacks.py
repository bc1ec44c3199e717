"""Answers of a hostile server: echoes of the key, terminal escapes, odd redirects and addresses."""

from __future__ import annotations

import pytest
from faulty_server import Answer

from liveportrait_v2v.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def raw(bench):
    """Return a function that answers one request of a new server with these bytes; it returns the server's origin."""
    import socket
    import threading

    listeners = []

    def serve(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=work, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener in listeners:
        listener.close()


BROKEN = {
    "status line": "HTTP/1.1 KEY nonsense\r\n\r\n",
    "version": "KEY 200 OK\r\n\r\n",
    "header line": "HTTP/1.1 200 OK\r\nKEY KEY\r\n\r\n",
    "header name": "HTTP/1.1 200 OK\r\nx KEY: 1\r\n\r\n",
    "length": "HTTP/1.1 200 OK\r\nContent-Length: KEY\r\n\r\n",
    "encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: KEY\r\n\r\n",
    "location": "HTTP/1.1 302 Found\r\nLocation: https://KEY/\r\nContent-Length: 0\r\n\r\n",
    "reason": "HTTP/1.1 400 KEY\r\nContent-Length: 0\r\n\r\n",
    "body": 'HTTP/1.1 400 Bad\r\nContent-Length: 30\r\n\r\n{"error":"KEY"}               ',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_key_echoed_in_a_broken_answer_is_in_no_message_and_no_file(bench, raw, name):
    answer = BROKEN[name].replace("KEY", bench.key).encode()
    outcome = bench.run(base_url=raw(answer))
    assert outcome.error is not None
    assert bench.key not in repr([(job.error, job.request_id, job.url) for job in bench.jobs()])


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


PLACES = {
    "error": ("submit", '{"error": "KEY"}', 400),
    "deep error": ("submit", '{"detail": [{"msg": {"error": ["KEY"]}}]}', 422),
    "request id": ("submit", '{"request_id": "KEY"}', 200),
    "state": ("status", '{"status": "KEY"}', 200),
    "failure": ("status", '{"status": "FAILED", "error": "KEY"}', 422),
    "output": ("result", '{"status": "COMPLETED", "output": "FILES/KEY.mp4"}', 200),
    "nested output": ("result", '{"status": "COMPLETED", "output": "{\\"url\\": \\"FILES/KEY.mp4\\"}"}', 200),
    "upload": ("upload", '{"file_urls": ["FILES/KEY.mp4"]}', 200),
    "cost": ("result", '{"status": "COMPLETED", "output": "FILES/result.mp4", "metrics": {"KEY": 1}}', 200),
}


@pytest.mark.parametrize("form", [str, escaped, str.lower])
@pytest.mark.parametrize("name", PLACES)
def test_a_key_echoed_in_json_is_in_no_message_and_no_file(bench, server, name, form):
    route, body, status = PLACES[name]
    text = body.replace("KEY", form(bench.key)).replace("FILES", server.files)
    server.script[route] = [Answer(status, text.encode(), {"Content-Type": "application/json"})]
    outcome = bench.run(deadline=30)
    told = f"{outcome.error} {[state.text for state in outcome.states]} {bench.jobs()}"
    assert bench.key.lower() not in told.lower()


LOUD = "\x1b[2J\x1b]0;owned\x07" + "\r\nliveportrait-v2v: saved to /x\r" + "\u202e" + "a" * 2_000_000


def test_a_jobs_state_of_any_length_is_one_bounded_line(bench, server):
    server.script["status"] = [Answer(200, {"status": LOUD})]
    outcome = bench.run()
    assert outcome.error is None
    for state in outcome.states:
        assert len(state.text) < 300
        assert state.text.isprintable()


@pytest.mark.parametrize("route", ["submit", "status", "upload", "credits"])
def test_an_error_of_any_length_and_depth_is_one_bounded_line(bench, server, route):
    deep: object = LOUD
    for _ in range(900):
        deep = [deep]
    for error in (LOUD, deep, {"message": deep}):
        server.script[route] = [Answer(400, {"error": error})]
        if route == "credits":
            with pytest.raises(Exception) as caught:  # noqa: PT011
                bench.engine().credits()
            message = str(caught.value)
        else:
            message = bench.run().message
        assert len(message) < 1000
        assert message.isprintable()


def test_a_file_name_reaches_the_terminal_as_one_line(bench, capsys):
    name = bench.folder / "\x1b[31mclip\nliveportrait-v2v: done.mp4"
    assert main(["animate", str(name), str(bench.driving), "-o", str(bench.output)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.strip().isprintable()


NOWHERE = [
    "data:text/plain,x",
    "mailto:a@b.example",
    "javascript:alert(1)",
    "//",
    "http://[",
    "https://x\udcff/",
    "a" * 5000,
    "https://" + "a" * 3000,
    "https://0x7f.1/",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("location", NOWHERE)
def test_an_order_that_is_redirected_anywhere_is_known_not_to_count(bench, server, location):
    header = location.encode("utf-8", "surrogateescape").decode("latin-1")
    server.script["submit"] = [Answer(307, b"", {"Location": header})]
    outcome = bench.run()
    assert "nothing was ordered" in outcome.message
    assert bench.job.state == "FAILED"
    assert bench.run().error is None
    assert server.billed == 1


@pytest.mark.parametrize("location", [place for place in NOWHERE if place != "//"])
def test_a_file_that_is_redirected_to_no_address_is_reported_and_still_fetched_later(bench, server, location):
    header = location.encode("utf-8", "surrogateescape").decode("latin-1")
    server.script["file"] = [Answer(302, b"", {"Location": header})] * 2
    outcome = bench.run()
    assert "paid and done" in outcome.message
    assert len(outcome.message) < 1000
    server.script["file"] = []
    assert bench.run().error is None
    assert server.billed == 1


OUTPUTS = ["//x", "javascript:alert(1)", "mailto:x@y.example", "ftp://x/y", "https://x\ud800/"]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_result_at_no_address_ends_at_once_and_is_fetched_once_it_has_one(bench, server, output):
    server.always["result"] = Answer(200, {"status": "COMPLETED", "output": output})
    server.always["history"] = Answer(404, {"error": "no"})
    outcome = bench.run()
    assert "address can't be used" in outcome.message
    assert server.count("result") <= 3
    del server.always["result"]
    assert bench.run().error is None
    assert server.billed == 1


@pytest.mark.parametrize("year", [3_000_000, -3_000_000])
def test_a_clock_in_any_year_is_no_traceback(bench, server, year):
    bench.clock.jump = (year - 1970) * 365.25 * 86400
    server.script["submit"] = [Answer(504, b"", billed=True)]
    outcome = bench.run()
    assert outcome.error is None or "billed" in outcome.message
    assert main(["jobs", "--folder", str(bench.folder / "data"), "list"]) == 0
    assert main(["jobs", "--folder", str(bench.folder / "data"), "list", "--json"]) == 0


def test_json_of_any_depth_in_any_answer_is_no_traceback(bench, server):
    for route in ("submit", "status", "result", "upload", "find", "history", "credits"):
        for depth in (900, 5000):
            server.script[route] = [Answer(200, b'{"output": ' + b"[" * depth + b"]" * depth + b"}")]
            outcome = bench.run(seed=depth, deadline=60)
            assert outcome.error is None or len(outcome.message) < 1000
