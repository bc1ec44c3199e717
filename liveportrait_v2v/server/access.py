"""Who may reach a server: names in the Host header, and keys."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re

HOST = re.compile(r"[A-Za-z0-9.\-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
"""A well-formed Host header."""


def is_local_name(host: str) -> bool:
    """Return whether a Host header names this machine in a way that DNS can't change."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def is_same_key(given: str, key: str) -> bool:
    """Compare in constant time, independent of the lengths."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, key))
    return hmac.compare_digest(*digests)
