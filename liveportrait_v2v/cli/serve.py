"""Command `serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from ..errors import SettingsError
from ..text import RedactingFilter
from .common import Commands
from .stop import Stop

_MEBIBYTE = 1 << 20


def add(commands: Commands) -> None:
    """Add the parser of `serve`."""
    parser = commands.add_parser(
        "serve",
        help="serve a local engine over Segmind's HTTP API",
        description="Serves the model live-portrait-video-to-video over Segmind's HTTP API, computed on this "
        "machine. Without a key it listens on loopback only. Stop it with Ctrl-C or SIGTERM; unfinished jobs run again "
        "at the next start.",
    )
    # Not segmind: any client could then spend the owner's money.
    parser.add_argument(
        "--engine",
        choices=("draft", "liveportrait"),
        default="draft",
        help="engine that computes the frames (default: draft)",
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="DEVICE",
        help="cpu, cuda:0, …; may be given several times, one worker per device (default: cpu)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8189, help="port to listen on (default: 8189)")
    parser.add_argument("--api-key-file", metavar="F", help="file with the API key that clients must send")
    parser.add_argument(
        "--public-url", metavar="URL", help="https://HOST of a reverse proxy in front of the server"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        default=_default_folder(),
        help="folder for jobs and files (default: %(default)s)",
    )
    for name, default, text in (
        ("--queue", 100, "maximum number of waiting jobs"),
        ("--clip-mb", 512, "maximum size of an input or output clip in MiB"),
        ("--quota-mb", 20480, "maximum total size of all files in MiB"),
    ):
        parser.add_argument(name, type=int, metavar="N", default=default, help=f"{text} (default: {default})")
    for name, default, text in (
        ("--result-hours", 1, "hours that a result stays available after its job"),
        ("--file-days", 7, "days that files are kept"),
        ("--job-minutes", 60, "maximum duration of a job in minutes"),
    ):
        parser.add_argument(
            name, type=float, metavar="N", default=default, help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--allow-loopback", action="store_true", help="also accept input URLs on this machine, for tests"
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
        clip_bytes=options.clip_mb * _MEBIBYTE,
        quota_bytes=options.quota_mb * _MEBIBYTE,
        result_seconds=options.result_hours * 3600,
        file_seconds=options.file_days * 86400,
        job_seconds=options.job_minutes * 60,
        allow_loopback=options.allow_loopback,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter())
    logging.getLogger("liveportrait_v2v").setLevel(logging.INFO)
    # Clips and jobs are readable by their owner alone.
    os.umask(0o077)
    asyncio.run(serve(config, stop, on_ready=_print_address))


def _print_address(host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    print(f"serving at http://{name}:{port}", flush=True)


def _default_folder() -> str:
    home = os.environ.get("XDG_DATA_HOME") or os.path.join("~", ".local", "share")
    return os.path.join(os.path.expanduser(home), "liveportrait-v2v", "server")
