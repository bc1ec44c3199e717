"""Command `completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse
import importlib

from ..errors import SettingsError
from .common import Commands
from .stop import Stop

SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Commands) -> None:
    """Add the parser of `completion`."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Prints a script for SHELL, to be read at its start. It is made by shtab: pip install shtab. For "
        "bash: liveportrait-v2v completion bash > ~/.local/share/bash-completion/completions/liveportrait-v2v",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        # By name: the library does without it.
        shtab = importlib.import_module("shtab")
    except ImportError:
        raise SettingsError("completion needs shtab: pip install shtab") from None
    print(shtab.complete(options.parser, options.shell))
