"""The command `serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from ..errors import SettingsError
from .stop import Stop

_MB = 1 << 20


def add(commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve an engine of this machine over Segmind's HTTP API",
        description="Serves the model live-portrait-video-to-video over Segmind's HTTP API, computed on this "
        "machine. Without a key it listens on loopback alone. Ctrl-C or SIGTERM ends it; jobs wait for the next "
        "start.",
    )
    # Not segmind: that would spend its owner's money on whoever asks.
    parser.add_argument(
        "--engine",
        choices=("draft", "liveportrait"),
        default="draft",
        help="what computes the frames (default: draft)",
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="DEVICE",
        help="cpu, cuda:0, …; each works on a job (default: cpu)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8189, help="port to listen at (default: 8189)")
    parser.add_argument("--api-key-file", metavar="F", help="file with the key that clients must send")
    parser.add_argument(
        "--public-url", metavar="URL", help="https://HOST under which clients reach a proxy before the server"
    )
    parser.add_argument(
        "--data", metavar="DIR", default=_data(), help="where jobs and files are kept (default: %(default)s)"
    )
    for name, default, text in (
        ("--queue", 100, "the most jobs that wait"),
        ("--clip-mb", 512, "the largest clip in or out"),
        ("--quota-mb", 20480, "the most of all files together"),
    ):
        parser.add_argument(name, type=int, metavar="N", default=default, help=f"{text} (default: {default})")
    for name, default, text in (
        ("--result-hours", 1, "how long a result is told after its job's end"),
        ("--file-days", 7, "how long files are kept"),
        ("--job-minutes", 60, "the longest job"),
    ):
        parser.add_argument(
            name, type=float, metavar="N", default=default, help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--allow-loopback", action="store_true", help="take input URLs on this machine too, for tests"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        from ..server.listen import serve
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise SettingsError("the server needs aiohttp; run: pip install aiohttp") from None
    from ..server.config import ServerConfig, read_key

    config = ServerConfig(
        data=Path(options.data),
        engine=options.engine,
        devices=tuple(dict.fromkeys(options.device or ["cpu"])),
        host=options.host,
        port=options.port,
        key=read_key(options.api_key_file) if options.api_key_file else None,
        public_url=options.public_url,
        queue=options.queue,
        clip_bytes=options.clip_mb * _MB,
        quota_bytes=options.quota_mb * _MB,
        result_seconds=options.result_hours * 3600,
        file_seconds=options.file_days * 86400,
        job_seconds=options.job_minutes * 60,
        allow_loopback=options.allow_loopback,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("liveportrait_v2v").setLevel(logging.INFO)
    # Nobody else reads the clips and the jobs.
    os.umask(0o077)
    asyncio.run(serve(config, stop, on_ready=_say_ready))


def _say_ready(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    print(f"serving at http://{name}:{port}", flush=True)


def _data() -> str:
    home = os.environ.get("XDG_DATA_HOME") or os.path.join("~", ".local", "share")
    return os.path.join(os.path.expanduser(home), "liveportrait-v2v", "server")
