#!/usr/bin/env python3
"""List the templates of the messages in the source, and what a language lacks of them.

    python scripts/message_templates.py zh

A template is a sentence of the source in which {0}, {1} ... stand for what is filled in. Pieces that are chosen by a
condition, or are named before, are put in their place: a sentence with one of two endings has two templates.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODES = ROOT / "nodes"
LIBRARY = ROOT / "liveportrait_v2v"
OTHERS = ("cli", "server", "live")
"""Packages of the library that no node uses."""
CALLS = ("text", "shown", "blocked", "looking", "count", "ended", "SettingsError", "MediaError", "NodeError")
"""Functions whose text a user of the nodes reads."""
_MOST = 24
_FIELD = re.compile(r"\{[^{}]*\}")

Form = tuple[str | None, ...]
"""Pieces of a sentence; None is what is filled in."""


@dataclass(frozen=True)
class Message:
    """An expression of the source that gives a sentence.

    Attributes:
        templates: of which it gives one.
        wider: the same with a hole for each name, whatever that stands for.
        line: in its file, from 1.
        raised: it is an error's.
        said: it is an argument of one of CALLS.
    """

    templates: tuple[str, ...]
    wider: tuple[str, ...]
    line: int
    raised: bool
    said: bool


@cache
def messages(path: Path) -> tuple[Message, ...]:
    """Return the sentences of a file."""
    return tuple(_Source(ast.parse(path.read_text(encoding="utf-8"))).messages())


def library_files() -> list[Path]:
    """Return the files of the library that nodes use."""
    files = sorted(LIBRARY.rglob("*.py"))
    return [path for path in files if path.relative_to(LIBRARY).parts[0] not in OTHERS]


def all_templates() -> set[str]:
    """Return the templates of the nodes and of the library."""
    files = (*NODES.rglob("*.py"), *library_files())
    said = [message for path in files for message in messages(path)]
    return {template for message in said for template in (*message.templates, *message.wider)}


class _Source:
    """A file's syntax tree."""

    def __init__(self, tree: ast.Module):
        self._tree = tree
        self._parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._looked_up: list[str] = []  # names that are being looked up, as values may refer to themselves
        self._values: dict[tuple[ast.AST | None, str], list[ast.expr | None]] = {}
        for node in ast.walk(tree):
            for name, value in _assigned(node):
                self._values.setdefault((self._function(node), name), []).append(value)

    def messages(self) -> Iterator[Message]:
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.Constant | ast.JoinedStr | ast.IfExp | ast.BinOp | ast.Call):
                continue
            if self._is_piece(node):
                continue
            wide = self._forms(node, named=False) or []
            forms = self._forms(node) or wide
            if forms:
                exact, wider = (tuple(dict.fromkeys(map(_template, found))) for found in (forms, wide))
                yield Message(exact, wider, node.lineno, self._is_raised(node), self._is_said(node))

    def _forms(self, node: ast.expr, named: bool = True) -> list[Form] | None:
        """Return the forms that a text has, None where an expression gives no text, or too many.

        Args:
            named: look for what names stand for.
        """
        found = self._unbounded(node, named)
        return found if found is None or len(found) <= _MOST else None

    def _unbounded(self, node: ast.expr, named: bool) -> list[Form] | None:
        def piece(inner: ast.expr) -> list[Form]:
            return self._forms(inner, named) or [(None,)]

        if isinstance(node, ast.Constant):
            return [_of_fields(node.value)] if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr):
            pieces = [
                [(part.value,)] if isinstance(part, ast.Constant) else _held(part, piece)
                for part in node.values
            ]
            return [sum(chosen, ()) for chosen in product(*pieces)]
        if isinstance(node, ast.IfExp):
            both = (node.body, node.orelse)
            if all(self._forms(one, named) is None for one in both):
                return None
            return [*piece(node.body), *piece(node.orelse)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            once = self._forms(node.left, named)
            return once and [*once, ("",)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
            if all(self._forms(one, named) is None for one in sides):
                return None
            return [one + other for one, other in product(*map(piece, sides))]
        if isinstance(node, ast.Name) and named and node.id not in self._looked_up:
            self._looked_up.append(node.id)
            found = [value and self._forms(value) for value in self._meant(node)]
            self._looked_up.pop()
            return [form for forms in found for form in forms or ()] if found and all(found) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return self._forms(node.func.value, named)
        return None

    def _meant(self, name: ast.Name) -> list[ast.expr | None]:
        """Return the values that a name is given, in the function around it or in the module."""
        place = self._function(name)
        while (place, name.id) not in self._values:
            if place is None:
                return []
            place = self._function(place)
        return self._values[place, name.id]

    def _function(self, node: ast.AST) -> ast.AST | None:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return next((above for above in self._around(node) if isinstance(above, kinds)), None)

    def _is_piece(self, node: ast.expr) -> bool:
        """Return whether a text is a docstring, part of an f-string, or the format of a value in one."""
        above = self._parents.get(node)
        if isinstance(above, ast.JoinedStr | ast.Expr):
            return isinstance(node, ast.Constant)
        return isinstance(above, ast.FormattedValue) and node is above.format_spec

    def _is_raised(self, node: ast.AST) -> bool:
        return any(isinstance(above, ast.Raise) for above in self._around(node))

    def _is_said(self, node: ast.AST) -> bool:
        above = self._parents.get(node)
        return isinstance(above, ast.Call) and _name(above.func) in CALLS

    def _around(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self._parents:
            node = self._parents[node]
            yield node


def _held(part: ast.expr, piece: Callable[[ast.expr], list[Form]]) -> list[Form]:
    """Return the forms of an f-string's value, which is a number or a repr where it has a format."""
    plain = isinstance(part, ast.FormattedValue) and part.format_spec is None and part.conversion == -1
    return piece(part.value) if plain else [(None,)]


def _assigned(node: ast.AST) -> list[tuple[str, ast.expr | None]]:
    """Return the names to which a statement gives a value, and these where they are to be seen."""
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
        value = node.value if isinstance(node, ast.AnnAssign | ast.NamedExpr) else None
        return [(node.target.id, value)] if isinstance(node.target, ast.Name) else []
    if not isinstance(node, ast.Assign):
        return []
    pairs: list[tuple[str, ast.expr | None]] = []
    for target in node.targets:
        if isinstance(target, ast.Name):
            pairs.append((target.id, node.value))
        elif isinstance(target, ast.Tuple):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
            pairs += [
                (one.id, value)
                for one, value in zip(target.elts, values, strict=False)
                if isinstance(one, ast.Name)
            ]
    return pairs


def _of_fields(text: str) -> Form:
    """Return the form of a text for `str.format`."""
    around = _FIELD.split(text)
    return tuple(part for pair in zip([None] * len(around), around, strict=True) for part in pair)[1:]


def _template(form: Form) -> str:
    holes = iter(range(len(form)))
    return "".join(f"{{{next(holes)}}}" if part is None else part for part in form)


def _is_prose(message: Message) -> bool:
    return any(map(str.isalpha, message.templates[-1].replace("MB", "")))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def main(language: str) -> None:
    """Print the sentences that a language lacks, with their places."""
    known = json.loads((ROOT / "locales" / language / "messages.json").read_text(encoding="utf-8"))
    for path in (*sorted(NODES.rglob("*.py")), *library_files()):
        for message in messages(path):
            given = {*message.templates, *message.wider}
            if (message.raised or message.said) and _is_prose(message) and not given & set(known):
                print(f"{path.relative_to(ROOT)}:{message.line}: {' | '.join(message.templates)}")


if __name__ == "__main__":
    main(sys.argv[1])
