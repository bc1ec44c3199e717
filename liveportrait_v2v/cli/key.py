"""Command `key`: the API key of the Segmind engine, in a file that only its owner can read."""

from __future__ import annotations

import argparse
import getpass
import sys

from .common import Commands
from .stop import Stop


def add(commands: Commands) -> None:
    """Add the parser of `key`."""
    parser = commands.add_parser(
        "key",
        help="store, check or remove Segmind's API key",
        description="Manages the API key of the Segmind engine. SEGMIND_API_KEY, if set, overrides the stored key.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("set", help="prompt for the key, or read it from stdin, and store it")
    action.set_defaults(run=_set)
    action = actions.add_parser("status", help="show whether a key is configured, and where")
    action.add_argument(
        "--check", action="store_true", help="request the remaining credits from Segmind; free of charge"
    )
    action.set_defaults(run=_status)
    action = actions.add_parser("remove", help="delete the stored key")
    action.set_defaults(run=_remove)


def _set(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.segmind.keys import ApiKey, default_folder

    # Never an argument: other users can read command lines, and shells save them.
    text = getpass.getpass("Segmind API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    path = ApiKey(text.strip()).save(default_folder())
    print(f"stored in {path}, which only you can read")


def _status(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.segmind.keys import VARIABLE, default_folder, find_key

    found = find_key(default_folder())
    if found is None:
        print(f"no key: set {VARIABLE}, or run `liveportrait-v2v key set`")
        return
    print(f"a key is configured in {found[1]}")
    if options.check:
        from ..engines.segmind import SegmindEngine

        for kind, value in SegmindEngine().credits(cancelled=stop).items():
            print(f"{kind}: {value:g}")


def _remove(options: argparse.Namespace, stop: Stop) -> None:
    from ..engines.segmind.keys import FILE, default_folder, remove_key

    removed = remove_key(default_folder())
    print("removed the stored key" if removed else f"there is no {FILE} in {default_folder()}")
