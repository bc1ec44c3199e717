"""File server with faults, for tests of downloads."""

from __future__ import annotations

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FileServer(ThreadingHTTPServer):
    """Server of `files` (path -> bytes) on localhost until `close`.

    Attributes:
        break_after: number of body bytes after which the next answers break off, one for each.
        ignore_ranges: answer 200 with the whole file to every request.
        declare: wrong Content-Length of a whole file.
        chunked: omit the length.
        status: wrong status of every answer.
        linked: send the file's SHA-256 as Hugging Face does.
        ranges: received Range headers, None for requests without one.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.break_after: list[int] = []
        self.ignore_ranges = self.chunked = self.linked = False
        self.declare: int | None = None
        self.status: int | None = None
        self.ranges: list[str | None] = []
        self.thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.server.ranges.append(requested)
        data = self.server.files.get(self.path)
        if self.server.status or data is None:
            self.send_response(self.server.status or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        start, total = 0, len(data)
        if requested and not self.server.ignore_ranges and self.headers.get("If-Range") in (None, tag):
            start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1])
        if start >= total and start:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("ETag", tag)
        if self.server.linked:
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        body = data[start:]
        if self.server.chunked:
            self.send_header("Connection", "close")
        else:
            declared = self.server.declare if self.server.declare is not None and not start else len(body)
            self.send_header("Content-Length", str(declared))
        self.end_headers()
        if self.server.break_after:
            body = body[: self.server.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        if self.server.chunked or self.server.declare is not None:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass
