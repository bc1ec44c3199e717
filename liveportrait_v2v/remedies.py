"""Remedies that differ between interfaces, in the words of the one that shows the message.

Messages of the library name commands. An interface that has none, such as ComfyUI's nodes, puts its own words in
their place, once, before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS = {
    "faces": "see the numbers with the command `liveportrait-v2v faces`",
    "box": "give its place to the liveportrait engine with --box",
    "key": "set SEGMIND_API_KEY, or store a key with `liveportrait-v2v key set`",
    "weights": "run `liveportrait-v2v models download`, or name their folder",
    "animals": "run `liveportrait-v2v models download --animals`, or name their folder",
    "verify": "check the weights with `liveportrait-v2v models verify`",
    "order": "run the same command again to do so",
    "fetch": "run again, or `liveportrait-v2v jobs fetch {job}`",
    "set aside": "`liveportrait-v2v jobs fetch` with its request id still gets its result",
    "reorder": "`liveportrait-v2v jobs forget {job}` and run again to order a new one",
    "unsealed": "fetch its jobs: `liveportrait-v2v jobs list` and `jobs fetch` still work",
    "finished": "see `liveportrait-v2v jobs list`",
    "download": "Run the command again to go on",
}
"""Wording of each remedy at the command line; `{job}` is the id of a paid job."""

_words: Mapping[str, str] = COMMANDS


def use(words: Mapping[str, str]) -> None:
    """Put other words in place of the command line's, for each remedy in COMMANDS."""
    global _words
    _words = words


def remedy(name: str, **values: object) -> str:
    """Return the wording of a remedy."""
    return _words[name].format(**values)
