"""Sentences for users in their language, by the catalogues in `locales/*/messages.json`.

The library and the nodes word everything in English. A catalogue maps templates of sentences, in which {0}, {1} ...
stand for what is filled in, to their translations; [frames] or [Load Model] in a translation stands for that widget or
node, by the name that is shown in the language.
"""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

LOCALES = Path(__file__).parent.parent / "locales"
LANGUAGES = ("zh", "ja")
"""Languages that messages are translated into."""
JOINTS = {
    "zh": {"; ": "；", ". ": "。", ", ": "，", ": ": "："},
    "ja": {"; ": "。", ". ": "。", ", ": "、", ": ": "："},
}
"""What stands between the parts of a text that is made of several sentences, by its English form."""
NAME = "「{}」"
"""Form of a widget's or node's name."""
_SUFFIX = " (LivePortrait)"
_HOLE = re.compile(r"\{(\d)\}")
_REFERENCE = re.compile(r"\[([A-Za-z][\w ]*)\]")
# What any template may be filled with: words without blanks between them, text in quotes or brackets.
_PLAIN = re.compile(r"\S*(?:, \S+)*|'.*'|\".*\"|[\[({].*[\])}]")
# With fewer letters of its own, a template fits text by chance, unless what it is filled with is plain.
_CERTAIN_LETTERS = 16
# Bounds of the search, for text that was made to take long: parts of a text that are tried at all, parts in parts,
# joints in each, and ways to fill a template.
_MOST_PARTS, _DEEPEST, _MOST_JOINTS, _MOST_FILLINGS = 600, 20, 12, 8


def translate(text: str, language: str) -> str:
    """Return a text of one or more lines in a language; lines that are not known stay English."""
    if language not in LANGUAGES:
        return text
    return "\n".join(_Reader(_catalogue(language)).sentence(line) or line for line in text.split("\n"))


@dataclass(frozen=True)
class _Template:
    """A sentence with holes.

    Attributes:
        around: the text around the holes.
        translation: with the holes in its own order.
        longest: piece of `around`, which tells most sentences apart.
        letters: in all of `around`.
        certain: what has this form is this sentence.
    """

    around: tuple[str, ...]
    translation: str
    longest: str
    letters: int
    certain: bool

    @classmethod
    def of(cls, english: str, translation: str) -> _Template:
        around = tuple(_HOLE.split(english)[::2])
        letters = sum(map(str.isalpha, "".join(around)))
        reason_follows = len(around) > 1 and around[-1] == "" and around[-2].endswith(": ")
        certain = letters >= _CERTAIN_LETTERS or (reason_follows and letters > 0)
        return cls(around, translation, max(around, key=len), letters, certain)

    def fillings(self, text: str) -> Iterator[list[str]]:
        """Yield what the holes of a text may be filled with, none where it is another sentence."""
        first, last = self.around[0], self.around[-1]
        end = len(text) - len(last)
        if len(self.around) == 1:
            if text == first:
                yield []
        elif len(first) <= end and text.startswith(first) and text.endswith(last):
            yield from _between(text, len(first), end, self.around[1:-1])

    def takes(self, place: int, hole: str) -> bool:
        """Return whether a hole may be filled with this, if it is no sentence: with more where it is in brackets."""
        if _PLAIN.fullmatch(hole):
            return True
        around = self.around[place][-1:] + self.around[place + 1][:1]
        return (around == "()" and "; " not in hole) or (around == '""' and '"' not in hole)

    def filled(self, values: Sequence[str | None]) -> str:
        """Return the translation with its holes filled."""
        return _HOLE.sub(lambda match: values[int(match[1])] or "", self.translation)


def _between(text: str, start: int, end: int, around: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ways to part text[start:end] by the pieces in `around`, in their order."""
    # The end, and from the last piece to the first one, the last place that leaves room for those behind it.
    latest = [end]
    for piece in reversed(around):
        place = text.rfind(piece, start, latest[-1])
        if place < 0:
            return
        latest.append(place)

    def parted(number: int, begin: int) -> Iterator[list[str]]:
        if number == len(around):
            yield [text[begin:end]]
            return
        piece = around[number]
        last = latest[len(around) - number]
        place = text.find(piece, begin, last + len(piece))
        while place >= 0:
            for rest in parted(number + 1, place + len(piece)):
                yield [text[begin:place], *rest]
            place = text.find(piece, place + 1, last + len(piece))

    yield from parted(0, start)


@dataclass(frozen=True)
class _Catalogue:
    """A language's templates, the most literal first, its names of widgets and nodes, and its punctuation."""

    templates: tuple[_Template, ...]
    names: Mapping[str, str]
    joints: Mapping[str, str]


@cache
def _catalogue(language: str) -> _Catalogue:
    names = shown_names(language)

    def named(match: re.Match[str]) -> str:
        return NAME.format(names[match[1]]) if match[1] in names else match[0]

    templates = [
        _Template.of(english, _REFERENCE.sub(named, translation))
        for english, translation in _read(language, "messages").items()
    ]
    templates.sort(key=lambda template: (template.letters, sum(map(len, template.around))), reverse=True)
    return _Catalogue(tuple(templates), names, JOINTS[language])


def shown_names(language: str) -> dict[str, str]:
    """Return what a language calls each widget and socket, by its id, and each node, by its English name."""
    english, translated = _read("en", "nodeDefs"), _read(language, "nodeDefs")
    names: dict[str, str] = {}
    for node_id, texts in translated.items():
        names.setdefault(_short(english[node_id]["display_name"]), _short(texts["display_name"]))
        for name, shown in texts["inputs"].items():
            names.setdefault(name, shown["name"])
        for slot, shown in texts["outputs"].items():
            name = english[node_id]["outputs"][slot]["name"]
            names.setdefault(name, shown.get("name", name))
    return names


def _short(display_name: str) -> str:
    return display_name.removesuffix(_SUFFIX)


def _read(language: str, name: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


class _Reader:
    """Reader of one line, which keeps what it has found of its parts."""

    def __init__(self, catalogue: _Catalogue):
        self._catalogue = catalogue
        self._strict: dict[str, str | None] = {}
        self._unnamed: dict[str, str | None] = {}
        self._depth = 0

    def sentence(self, text: str) -> str | None:
        """Return the translation of a sentence, or of several that are joined; None where one is not known."""
        return self._own(text) or self._named(text)

    def _own(self, text: str) -> str | None:
        """Return the same without the name of a file before it."""
        return self._bounded(self._unnamed, text, self._read)

    def _one(self, text: str) -> str | None:
        """Return the translation of one sentence that is filled with what is plain or known; None of another."""
        return self._bounded(self._strict, text, self._exactly)

    def _bounded(
        self, found: dict[str, str | None], text: str, read: Callable[[str], str | None]
    ) -> str | None:
        if text not in found:
            found[text] = None  # a text is no part of itself
            if self._depth < _DEEPEST and len(self._strict) + len(self._unnamed) < _MOST_PARTS:
                self._depth += 1
                found[text] = read(text)
                self._depth -= 1
        return found[text]

    def _read(self, text: str) -> str | None:
        return self._one(text) or self._joined(text) or self._loosely(text)

    def _exactly(self, text: str) -> str | None:
        for template, fillings in self._fitting(text):
            for holes in fillings:
                values = [
                    self._one(hole) or self._name(hole) or (hole if template.takes(place, hole) else None)
                    for place, hole in enumerate(holes)
                ]
                if None not in values:
                    return template.filled(values)
        return None

    def _loosely(self, text: str) -> str | None:
        """Return the translation of a sentence that is filled with anything, such as another program's words."""
        for template, fillings in self._fitting(text):
            if template.certain:
                return template.filled(
                    [self.sentence(hole) or self._name(hole) or hole for hole in fillings[0]]
                )
        return None

    def _fitting(self, text: str) -> Iterator[tuple[_Template, list[list[str]]]]:
        for template in self._catalogue.templates:
            if template.longest in text:
                fillings = list(islice(template.fillings(text), _MOST_FILLINGS))
                if fillings:
                    yield template, fillings

    def _joined(self, text: str) -> str | None:
        for joint, shown in self._catalogue.joints.items():
            for head, tail in _halves(text, joint):
                beginning = self._own(head) if joint == ". " and _is_closed(head) else self._one(head)
                beginning, rest = beginning or _bare(head), self._own(tail) or _bare(tail)
                if beginning is not None and rest is not None and (beginning, rest) != (head, tail):
                    return f"{beginning}{shown}{rest}"
        return None

    def _named(self, text: str) -> str | None:
        """Return the translation of a sentence behind the name of a file."""
        for head, tail in _halves(text, ": "):
            if ". " not in head and (rest := self._own(tail)):
                return f"{head}{self._catalogue.joints[': ']}{rest}"
        return None

    def _name(self, hole: str) -> str | None:
        name = self._catalogue.names.get(hole.strip("`"))
        return None if name is None else NAME.format(name)


def _bare(text: str) -> str | None:
    """Return a text without letters, which is the same in all languages."""
    return None if any(map(str.isalpha, text)) else text


def _is_closed(text: str) -> bool:
    """Return whether no quotation is left open."""
    return text.count('"') % 2 == 0


def _halves(text: str, joint: str) -> Iterator[tuple[str, str]]:
    parts = text.split(joint)
    for place in range(1, min(len(parts), _MOST_JOINTS)):
        yield joint.join(parts[:place]), joint.join(parts[place:])
