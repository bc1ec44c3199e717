"""Text from outside: as one bounded line, without control characters and without secrets."""

from __future__ import annotations

import logging
import re
import unicodedata
from typing import Any

MAX_LENGTH = 400
"""Characters of a line that quotes a server, a file or a user."""

# Factor of the characters that are read at most: escapes and blanks are removed from them.
_READ = 20
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_HIDDEN = "[key]"
_secrets: dict[str, re.Pattern[str]] = {}


def hide(secret: str) -> None:
    """Redact a secret in all text from now on."""
    _secrets[secret] = re.compile(re.escape(secret), re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text with each hidden secret replaced by "[key]", in upper and lower case."""
    for pattern in list(_secrets.values()):
        text = pattern.sub(_HIDDEN, text)
    return text


def redact_json(value: Any) -> Any:
    """Return decoded JSON of any depth with the secrets in its strings redacted; changes lists and dicts in place."""
    holder = [value]
    left: list[Any] = [holder]
    while left:
        node = left.pop()
        for place, item in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if isinstance(item, str):
                node[place] = redact(item)
            elif isinstance(item, list | dict):
                left.append(item)
    return holder[0]


class RedactingFilter(logging.Filter):
    """Filter of a logger or handler that redacts messages and tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True


def one_line(text: str, most: int = MAX_LENGTH) -> str:
    """Return a text as one line of at most `most` characters, without escapes, control characters and secrets.

    Tags are removed from a text that begins with one, such as a proxy's error page.
    """
    head = redact(text[: most * _READ])
    # A secret that the end of the head cuts in two is no match.
    torn = max(map(len, _secrets), default=0) if len(text) > most * _READ else 0
    text = head[: max(0, len(head) - torn)]
    if text.lstrip().startswith("<"):
        text = _TAGS.sub(" ", text)
    text = _ESCAPES.sub("", text)
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    # Once more: a secret may have been interspersed with escapes.
    text = redact(" ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(value: object, most: int = 60) -> str:
    """Return a value as an error message shows it: its `repr`, on one bounded line."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    if isinstance(value, str | bytes):
        value = value[: most * _READ]
    return one_line(repr(value), most)


def storable(text: str) -> str:
    r"""Return a text as it is stored: without secrets, and with lone surrogates written as \uXXXX."""
    return redact(text).encode("utf-8", "backslashreplace").decode()
