"""Command `live`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys

from ..errors import SettingsError
from ..text import RedactingFilter
from .common import Commands, add_network_options, make_local_engine, plain_warnings
from .stop import Stop


def add(commands: Commands) -> None:
    """Add the parser of `live`."""
    parser = commands.add_parser(
        "live",
        help="let your own face drive SOURCE, in a page of the browser",
        description="Serves a page on this machine in which the face before the browser's camera drives SOURCE, a "
        "picture or a clip, which is repeated. Open the address that it prints. Stop it with Ctrl-C or SIGTERM. "
        "Nothing that the camera sees is kept, unless you record it in the page.",
    )
    parser.add_argument("source", metavar="SOURCE", help="clip or picture with the face to animate")
    parser.add_argument(
        "--engine",
        choices=("draft", "liveportrait"),
        default="draft",
        help="engine that draws; the networks need a GPU to be live (default: draft)",
    )
    parser.add_argument(
        "--device", default="auto", help="torch device: cpu, cuda, mps or auto (default: auto)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8190, help="port to listen on (default: 8190)")
    parser.add_argument("--api-key-file", metavar="F", help="file with the key that the page must send")
    parser.add_argument(
        "--public-url", metavar="URL", help="https://HOST of a TLS proxy in front of the page"
    )
    add_network_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        from ..live.config import LiveConfig
        from ..live.listen import serve_live
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise SettingsError("the page needs aiohttp; run: pip install aiohttp") from None
    from ..live.looped import LoopedSource
    from ..live.tracking import tracker_for
    from ..media import Clip
    from ..server.config import read_key

    config = LiveConfig(
        host=options.host,
        port=options.port,
        key=read_key(options.api_key_file) if options.api_key_file else None,
        public_url=options.public_url,
    )
    clip = Clip(options.source)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter())
    with plain_warnings(), contextlib.ExitStack() as stack:
        engine = make_local_engine(options)
        tracker = tracker_for(engine)  # its process starts while the source is read
        stack.callback(tracker.close)
        source = LoopedSource.read(clip, engine, os.path.basename(options.source))
        for note in source.notes:
            print(f"liveportrait-v2v: {note}", file=sys.stderr)
        asyncio.run(serve_live(config, engine, source, stop, tracker=tracker, on_ready=_print_address))


def _print_address(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    print(f"open http://{name}:{port} in a browser", flush=True)
