"""The command `jobs`: what was ordered from Segmind, and how to come back to it."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .progress import ProgressLine
from .segmind import describe
from .stop import Stop

if TYPE_CHECKING:
    from ..engines.segmind import Job, Journal, SegmindEngine


def add(commands) -> None:
    parser = commands.add_parser(
        "jobs",
        help="jobs ordered from Segmind: list, show, resume, fetch, forget",
        description="The journal of jobs that were ordered from Segmind. ID is a job's number or its request id.",
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        help="where the journal lies; that of ComfyUI's nodes is user/__liveportrait_v2v/segmind in ComfyUI's folder "
        "(default: your data folder)",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("list", help="all jobs, the newest first")
    action.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    action.set_defaults(run=_list)
    action = actions.add_parser("show", help="all that is known about a job, as JSON")
    action.add_argument("id", metavar="ID")
    action.set_defaults(run=_show)
    action = actions.add_parser("resume", help="wait for a job and keep its result; orders nothing")
    action.add_argument("id", metavar="ID")
    action.set_defaults(run=_resume)
    action = actions.add_parser("fetch", help="a job's video as the model made it; orders nothing")
    action.add_argument("id", metavar="ID", help="also a request id that this journal does not know")
    action.add_argument("-o", "--output", metavar="OUT.mp4", required=True)
    action.set_defaults(run=_fetch)
    action = actions.add_parser(
        "forget", help="set a job and its file aside: the same inputs are ordered anew"
    )
    action.add_argument("id", metavar="ID")
    action.set_defaults(run=_forget)


def _list(options: argparse.Namespace, stop: Stop) -> None:
    journal = _engine(options).journal()
    jobs = journal.jobs()
    if options.json:
        print(json.dumps([asdict(job) for job in jobs]))
        return
    for job in jobs:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
        cost = "" if job.cost is None else f"  {job.cost:.4g} USD"
        print(f"{job.id}  {when}  {job.state}  {job.request_id or '-'}{cost}  {job.label}")
    print(f"{len(jobs)} jobs, about {journal.spent(24 * 3600):.2f} USD in the last 24 hours; {journal.path}")


def _show(options: argparse.Namespace, stop: Stop) -> None:
    print(json.dumps(asdict(_known(_engine(options).journal(), options.id)), indent=2))


def _resume(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.segmind import report_of

    engine = _engine(options)
    job = _known(engine.journal(), options.id)
    with ProgressLine() as line:
        job = engine.resume(job, on_state=line.show_text, cancelled=stop)
    print(describe(report_of(job)))


def _fetch(options: argparse.Namespace, stop: Stop) -> None:
    output = Path(options.output)
    if not output.parent.is_dir() or output.is_dir():
        raise SettingsError(f"-o must be a file in a folder that exists, got {options.output}")
    from ..engines.segmind import report_of

    engine = _engine(options)
    journal = engine.journal()
    job = journal.find(options.id)
    journal.close()
    with ProgressLine() as line:
        if job is not None and job.request_id is None:
            job = engine.resume(job, output, on_state=line.show_text, cancelled=stop)
        else:
            request_id = job.request_id if job is not None and job.request_id else options.id
            job = engine.fetch(request_id, output, on_state=line.show_text, cancelled=stop)
    print(f"{output}\n{describe(report_of(job))}")


def _forget(options: argparse.Namespace, stop: Stop) -> None:
    journal = _engine(options).journal()
    job = journal.forget(_known(journal, options.id))
    print(f"job {job.id} is set aside: the same clips and settings are ordered anew")


def _known(journal: Journal, id: str) -> Job:
    job = journal.find(id)
    if job is None:
        raise SettingsError(
            f"ID must be a job's number or its request id, got {id!r}; see `liveportrait-v2v jobs list`"
        )
    return job


def _engine(options: argparse.Namespace) -> SegmindEngine:
    from ..engines.segmind import SegmindEngine

    return SegmindEngine(folder=None if options.folder is None else Path(options.folder))
