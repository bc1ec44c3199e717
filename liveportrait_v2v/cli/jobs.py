"""Command `jobs`: the journal of jobs ordered from Segmind."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..deadlines import moment
from ..errors import MAX_MESSAGE, SettingsError
from ..text import one_line, quoted
from .common import Commands
from .progress import ProgressLine
from .segmind import describe
from .stop import Stop

if TYPE_CHECKING:
    from ..engines.segmind import Job, Journal, SegmindEngine


def add(commands: Commands) -> None:
    """Add the parser of `jobs`."""
    parser = commands.add_parser(
        "jobs",
        help="jobs ordered from Segmind: list, show, resume, fetch, forget",
        description="Manages the journal of jobs ordered from Segmind. ID is a job's number or its request id.",
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        help="folder of the journal; that of ComfyUI's nodes is user/__liveportrait_v2v/segmind in ComfyUI's folder "
        "(default: your data folder)",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("list", help="list all jobs, newest first")
    action.add_argument("--json", action="store_true", help="print JSON and nothing else")
    action.set_defaults(run=_list)
    action = actions.add_parser("show", help="print a job's record as JSON")
    action.add_argument("id", metavar="ID")
    action.set_defaults(run=_show)
    action = actions.add_parser("resume", help="wait for a job and store its result; orders nothing")
    action.add_argument("id", metavar="ID")
    action.set_defaults(run=_resume)
    action = actions.add_parser("fetch", help="download a job's video as the model made it; orders nothing")
    action.add_argument("id", metavar="ID", help="may also be a request id that is not in this journal")
    action.add_argument("-o", "--output", metavar="OUT.mp4", required=True)
    action.set_defaults(run=_fetch)
    action = actions.add_parser(
        "forget", help="set a job aside and delete its file, so that the same inputs are ordered again"
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
        when = moment(job.created).astimezone().strftime("%Y-%m-%d %H:%M")
        cost = "" if job.cost is None else f"  {job.cost:.4g} USD"
        state, name, label = map(one_line, (job.state, job.request_id or "-", job.label))
        print(f"{job.id}  {when}  {state}  {name}{cost}  {label}")
    print(f"{len(jobs)} jobs, about {journal.spent(24 * 3600):.2f} USD in the last 24 hours; {journal.path}")


def _show(options: argparse.Namespace, stop: Stop) -> None:
    print(json.dumps(asdict(_find(_engine(options).journal(), options.id)), indent=2))


def _resume(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.segmind import report_of

    engine = _engine(options)
    job = _find(engine.journal(), options.id)
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
        if job is None:
            job = engine.fetch(options.id, output, on_state=line.show_text, cancelled=stop)
        elif job.request_id is None:
            job = engine.resume(job, output, on_state=line.show_text, cancelled=stop)
        else:
            job = engine.fetch(job.request_id, output, on_state=line.show_text, cancelled=stop)
    print(f"{one_line(str(output), MAX_MESSAGE)}\n{describe(report_of(job))}")


def _forget(options: argparse.Namespace, stop: Stop) -> None:
    journal = _engine(options).journal()
    job = journal.forget(_find(journal, options.id))
    print(f"job {job.id} is set aside; the next run with the same clips and settings orders it again")


def _find(journal: Journal, text: str) -> Job:
    job = journal.find(text)
    if job is None:
        raise SettingsError(
            f"ID must be a job's number or its request id, got {quoted(text)}; see `liveportrait-v2v jobs list`"
        )
    return job


def _engine(options: argparse.Namespace) -> SegmindEngine:
    from ..engines.segmind import SegmindEngine

    return SegmindEngine(folder=None if options.folder is None else Path(options.folder))
