"""The command `liveportrait-v2v`: one module for each of its sub-commands.

Exit codes: 0 done; 2 bad input, with one line on stderr that says what to do; 130 interrupted by Ctrl-C, 143
ended by SIGTERM. After any of the latter three no half-written file is left: files are written beside their
place and moved into it when they are whole, over what was there. (`models download` alone keeps what has come.)
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

from .. import __version__
from ..errors import Cancelled, LivePortraitError
from . import animate, demo, faces, jobs, key, models, serve, template
from .stop import Stop

COMMANDS = (animate, faces, template, models, serve, jobs, key, demo)
ERROR = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"liveportrait-v2v: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command line and gives its exit code."""
    options = _parser().parse_args(arguments)
    with Stop() as stop:
        try:
            options.run(options, stop)
            sys.stdout.flush()
            return 0
        except (Cancelled, KeyboardInterrupt) as error:
            note = getattr(error, "goes_on", "") or "stopped; no unfinished file is left"
            print(f"liveportrait-v2v: {note}", file=sys.stderr)
            return 128 + (stop.signal or signal.SIGINT)
        except LivePortraitError as error:
            print(f"liveportrait-v2v: {_one_line(error)}", file=sys.stderr)
        except BrokenPipeError:
            # The reader has gone: keep Python from complaining again when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print("liveportrait-v2v: nobody reads the output any more", file=sys.stderr)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"liveportrait-v2v: {where}{error.strerror or error}", file=sys.stderr)
        return ERROR


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="liveportrait-v2v",
        description="A source clip's face takes over the motion of a driving clip's.",
        epilog="Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated; only 0 leaves a new file.",
    )
    parser.add_argument("--version", action="version", version=f"liveportrait-v2v {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
