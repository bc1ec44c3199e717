"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def markdown(results: dict[str, Any]) -> str:
    """Return the tables of results as `Report` keeps them."""
    lines = ["# The LivePortrait engine on a GPU", ""]
    lines += _table(("machine", "value"), [(name, value) for name, value in results["machine"].items()])
    for name, part in results["parts"].items():
        lines += ["", f"## {name}", ""]
        seconds = part["seconds"]
        lines.append("Not finished." if seconds is None else f"{seconds:g} s.")
        if part["error"]:
            lines.append(f"**Failed: {_cell(part['error'])}**")
        for title, value in part.items():
            if title not in ("rows", "seconds", "error"):
                lines.append(f"{title}: {_cell(value)}.")
        for columns, rows in _alike(part["rows"]):
            lines += ["", *_table(columns, [[row[column] for column in columns] for row in rows])]
    return "\n".join(lines) + "\n"


def _alike(rows: list[dict[str, Any]]) -> Iterable[tuple[list[str], list[dict[str, Any]]]]:
    """Group flattened rows by their columns, in the order in which each kind first comes."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in map(_flat, rows):
        groups.setdefault(tuple(row), []).append(row)
    return [(list(columns), found) for columns, found in groups.items()]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose dicts have become columns."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat.update({f"{name} {inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    return flat


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    columns = list(columns)
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**NO**"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value))
    return str(value).replace("|", "\\|")


def summary(results: dict[str, Any]) -> str:
    """Return what matters most, in a screenful: what is wrong, the winner, and the runs."""
    lines = []
    for name, part in results["parts"].items():
        judged = [row for row in part["rows"] if row.get("ok") is not None]
        right = sum(row["ok"] for row in judged)
        lines.append(
            f"{name}: {right} of {len(judged)} in order"
            + (f", FAILED: {part['error']}" if part["error"] else "")
        )
        for row in part["rows"]:
            if row.get("ok") is False:
                lines.append(f"  WRONG {row['what']}: {_cell(row['value'])}, bound {_cell(row['bound'])}")
            if row.get("error"):
                lines.append(
                    f"  ERROR {row.get('what') or row.get('form') or row.get('case')}: {row['error']}"
                )
            if row.get("warning"):
                lines.append(
                    f"  WARNING {row.get('what') or row.get('form') or row.get('case')}: {row['warning']}"
                )
            if row.get("ms") and row.get("form"):
                lines.append(f"  {row['form']}, batch {row['batch']}: {_cell(row['ms'])}")
            if row.get("network"):
                lines.append(f"  floor of {row['network']}: {_cell(row['ms'])}")
            if "fps" in row and "case" in row:
                lines.append(
                    f"  {row['case']}, {row['frames']} frames: {_cell(row['fps'])} fps, {_cell(row['ms a frame'])}"
                )
        if "winner" in part:
            lines.append(f"  winner: {part['winner']}, {_cell(part['winner_ms'])} ms a frame")
    return "\n".join(lines)
