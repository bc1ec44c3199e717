"""Command `serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..text import RedactingFilter, quoted
from .common import Commands
from .stop import Stop

if TYPE_CHECKING:
    from ..server.config import ClusterConfig

_MEBIBYTE = 1 << 20


def add(commands: Commands) -> None:
    """Add the parser of `serve`."""
    parser = commands.add_parser(
        "serve",
        help="serve a local engine over Segmind's HTTP API",
        description="Serves the model live-portrait-video-to-video over Segmind's HTTP API, computed on this "
        "machine. Without a key it listens on loopback only. Stop it with Ctrl-C or SIGTERM; unfinished jobs run again "
        "at the next start. With --database any number of machines share the jobs.",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("status", "cancel"),
        help="with --database: status prints what all machines are doing, cancel ends --job",
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
    _add_cluster(parser)
    parser.set_defaults(run=_run)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    cluster = parser.add_argument_group("options of a server on more than one machine")
    cluster.add_argument(
        "--database",
        metavar="URL",
        help="postgresql://USER@HOST/NAME with the jobs, instead of a file in --data; a password belongs into "
        "PGPASSFILE or PGPASSWORD",
    )
    cluster.add_argument(
        "--files",
        metavar="PLACE",
        help="s3://BUCKET/PREFIX with the files of all machines; key, region and endpoint are in AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
    )
    cluster.add_argument(
        "--shared-files",
        action="store_true",
        help="--files is a directory, on a file system that all machines share under this path",
    )
    cluster.add_argument(
        "--role",
        default="api,worker",
        help="api answers requests, worker computes jobs (default: api,worker)",
    )
    cluster.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME",
        help="kind of GPU: jobs that come in here wait for a worker with the same label; a worker takes the jobs of "
        "its labels (may be given several times) and those without one",
    )
    cluster.add_argument(
        "--priority",
        type=int,
        default=0,
        metavar="N",
        help="of jobs that come in here; higher ones come first",
    )
    cluster.add_argument(
        "--drain-minutes",
        type=float,
        default=0,
        metavar="N",
        help="time that a running job has to end in when its worker is stopped, before it is handed over (default: 0)",
    )
    cluster.add_argument(
        "--link-minutes",
        type=float,
        default=0,
        metavar="N",
        help="let clients download from the object store, by links that expire after this time (default: 0: all "
        "files go through the server)",
    )
    cluster.add_argument(
        "--stalled-seconds",
        type=float,
        default=30,
        metavar="N",
        help="silence after which a worker's job is given to another one (default: 30)",
    )
    cluster.add_argument(
        "--migrate", action="store_true", help="make or upgrade the database's tables, and end"
    )
    cluster.add_argument("--job", metavar="ID", help="request id, for cancel")


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        from ..server.listen import serve
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise SettingsError("the server needs aiohttp; run: pip install aiohttp") from None
    from ..server.config import ServerConfig, read_key

    if options.database is None:
        _refuse_cluster_options(options)
    elif options.migrate or options.action is not None:
        _look_after(options)
        return
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
        cluster=None if options.database is None else _cluster(options),
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter())
    logging.getLogger("liveportrait_v2v").setLevel(logging.INFO)
    # Clips and jobs are readable by their owner alone.
    os.umask(0o077)
    asyncio.run(serve(config, stop, on_ready=_print_address))


def _cluster(options: argparse.Namespace) -> ClusterConfig:
    from ..server.config import ClusterConfig

    return ClusterConfig(
        database=options.database,
        files=options.files or "",
        shared_files=options.shared_files,
        roles=frozenset(options.role.split(",")),
        labels=tuple(dict.fromkeys(options.label)),
        priority=options.priority,
        heartbeat_seconds=options.stalled_seconds / 3,
        stalled_seconds=options.stalled_seconds,
        drain_seconds=options.drain_minutes * 60,
        link_seconds=options.link_minutes * 60,
    )


def _refuse_cluster_options(options: argparse.Namespace) -> None:
    parser = argparse.ArgumentParser()
    _add_cluster(parser)
    defaults = vars(parser.parse_args([]))
    wrong = [
        f"--{name.replace('_', '-')}"
        for name, default in defaults.items()
        if getattr(options, name) != default
    ]
    if options.action is not None:
        wrong.append("status and cancel")
    if wrong:
        raise SettingsError(f"{', '.join(wrong)}: only with --database")


def _look_after(options: argparse.Namespace) -> None:
    """Migrate the database, print what the cluster is doing, or cancel a job."""
    from ..server.opening import open_database

    database = open_database(options.database)
    try:
        if options.migrate:
            print(database.migrate())
            return
        database.check_version()
        if options.action == "status":
            from ..server.cluster.status import read_status, status_lines

            print("\n".join(status_lines(read_status(database))))
            return
        from ..server.cluster.jobs import cancel

        if options.job is None:
            raise SettingsError("cancel needs --job ID")
        job = cancel(database, options.job)
        if job is None:
            raise SettingsError(f"there is no job {quoted(options.job)}")
        print(f"job {job.id}: {job.status}{'' if job.error is None else f', {job.error}'}")
    finally:
        database.close()


def _print_address(host: str, port: int) -> None:
    if not host:
        print("working", flush=True)
        return
    name = f"[{host}]" if ":" in host else host
    print(f"serving at http://{name}:{port}", flush=True)


def _default_folder() -> str:
    home = os.environ.get("XDG_DATA_HOME") or os.path.join("~", ".local", "share")
    return os.path.join(os.path.expanduser(home), "liveportrait-v2v", "server")
