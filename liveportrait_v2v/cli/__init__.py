"""Command `liveportrait-v2v`: one module per sub-command.

Exit codes: 0 success; 2 invalid input, with one line on stderr that says what to do; 130 interrupted by Ctrl-C; 143
terminated by SIGTERM. After 2, 130 and 143 no partial file is left: output is written next to its target and moved
over it once complete. A run that is killed leaves that hidden file, and a later run into the same folder removes it.
`models download` is the exception: it keeps what has arrived, to resume from there.

torch takes seconds to load: commands import it only after they have checked what they can without it.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from typing import NoReturn

from .. import __version__
from ..errors import Cancelled, LivePortraitError
from ..text import one_line
from . import (
    animate,
    completion,
    crops,
    demo,
    doctor,
    express,
    faces,
    jobs,
    key,
    live,
    models,
    serve,
    template,
)
from .stop import Stop

COMMANDS = (
    animate,
    express,
    faces,
    crops,
    template,
    models,
    live,
    serve,
    jobs,
    key,
    doctor,
    completion,
    demo,
)
ERROR = 2


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):
        """Parse, and take DRIVING where it comes behind options: before Python 3.13 argparse has left it out there."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and getattr(found, "driving", "") is None and not rest[0].startswith("-"):
            found.driving = rest.pop(0)
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"liveportrait-v2v: {one_line(message)}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Names that the console's encoding lacks, as on Windows, are escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    with Stop(ends=arguments is None) as stop:
        try:
            options.run(options, stop)
            sys.stdout.flush()
            return 0
        except (Cancelled, KeyboardInterrupt) as error:
            note = getattr(error, "goes_on", "") or "stopped; no unfinished file is left"
            print(f"liveportrait-v2v: {note}", file=sys.stderr)
            return 128 + (stop.signal or signal.SIGINT)
        except LivePortraitError as error:
            print(f"liveportrait-v2v: {error}", file=sys.stderr)
        except BrokenPipeError:
            # The reader is gone: keep Python from raising again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print("liveportrait-v2v: stdout was closed before everything was printed", file=sys.stderr)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"liveportrait-v2v: {one_line(f'{where}{error.strerror or error}')}", file=sys.stderr)
        return ERROR


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = _Parser(
        prog="liveportrait-v2v",
        description="Animates the face in a source clip with the motion of the face in a driving clip.",
        epilog="Exit codes: 0 success, 2 invalid input, 130 interrupted, 143 terminated; only 0 leaves a new file.",
    )
    parser.add_argument("--version", action="version", version=f"liveportrait-v2v {__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
