"""Roles on the command line: `--face` and `--roles`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import SettingsError
from ..expression import Expression
from ..settings import AnimationSettings, MotionOptions
from .common import read_json

if TYPE_CHECKING:
    from ..faces.given import FaceBoxes
    from ..media import Clip
    from ..plan import MotionTemplate, Role

_FORM = "FACE=CLIP or FACE=CLIP@NUMBER, where FACE is a number or all"
KEYS = ("driving", "source_face", "drive_face", "box", "expression", "settings", "options")
"""What a role in a file may have."""


@dataclass(frozen=True)
class RoleText:
    """A role as the command line or a file gives it, whose driving clip is not open yet; fields as in `Role`.

    Attributes:
        driving: path or URL; None for none.
    """

    driving: str | None
    settings: AnimationSettings
    options: MotionOptions
    source_face: int | Literal["all"] | None = None
    drive_face: int | None = None
    boxes: FaceBoxes | None = None
    expression: Expression | None = None

    def opened(self, driving: Clip | MotionTemplate | None) -> Role:
        """Return the role with its driving clip.

        Raises:
            SettingsError: a face's number is out of range.
        """
        from ..plan import Role

        faces = self.source_face, self.drive_face, self.boxes
        return Role(driving, self.settings, self.options, *faces, self.expression)


def add_role_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that take the place of DRIVING."""
    group = parser.add_argument_group("several faces, instead of DRIVING")
    group.add_argument(
        "--face",
        action="append",
        default=[],
        metavar="FACE=CLIP[@N]",
        help="animate the source's face FACE, a number or all, with the motion of face N (default: "
        "drive_face_index) of CLIP; may be given several times",
    )
    group.add_argument(
        "--roles",
        metavar="FILE.json",
        help="read the faces from a file, with settings and options of each: docs/roles.md",
    )


def parse_roles(
    options: argparse.Namespace, settings: AnimationSettings, motion: MotionOptions
) -> list[RoleText] | None:
    """Return the roles of `--face` or `--roles`; None if the command line has DRIVING instead.

    Args:
        settings, motion: of `--set`, for all roles; what a file has of its own counts more.

    Raises:
        SettingsError: more than one of the three, or none; a text or file of another form.
        MediaError: the file can't be read.
    """
    given = [
        name
        for name, value in (
            ("DRIVING", options.driving),
            ("--face", options.face),
            ("--roles", options.roles),
        )
        if value
    ]
    if len(given) != 1:
        raise SettingsError(
            f"animate takes one of DRIVING, --face and --roles, got {' and '.join(given) or 'none'}"
        )
    if options.roles:
        return read_roles(Path(options.roles), settings, motion)
    return [parse_face(text, settings, motion) for text in options.face] or None


def parse_face(text: str, settings: AnimationSettings, motion: MotionOptions) -> RoleText:
    """Parse a value of `--face`, such as "0=a.mp4", "1=b.mp4@2" or "all=c.mp4".

    Paths may contain "=" and "@": the first "=" ends the face, and the last "@" the path only where digits follow and
    there is no file of the whole name.

    Raises:
        SettingsError: a text of another form.
    """
    face, equals, clip = text.partition("=")
    path, _, number = clip.rpartition("@")
    drive_face = None
    if path and _is_number(number) and not os.path.exists(clip):
        clip, drive_face = path, int(number)
    if not equals or not clip or not (face == "all" or _is_number(face)):
        raise SettingsError(f"--face takes {_FORM}, got {text!r}")
    return RoleText(clip, settings, motion, "all" if face == "all" else int(face), drive_face)


def read_roles(path: Path, settings: AnimationSettings, motion: MotionOptions) -> list[RoleText]:
    """Read a file of roles; docs/roles.schema.json describes it. Its paths are relative to its folder.

    Raises:
        MediaError: the file can't be read, or is no JSON.
        SettingsError: it has another form; names the role.
    """
    data = read_json(path)
    roles = data.get("roles") if isinstance(data, dict) and set(data) <= {"roles", "$schema"} else None
    if not isinstance(roles, list) or not roles:
        raise SettingsError(f'{path}: the file must be {{"roles": [...]}} with one role or more')
    return [_role(item, place, path, settings, motion) for place, item in enumerate(roles)]


def open_roles(texts: Sequence[RoleText], open_driving: Callable[[str], Clip | MotionTemplate]) -> list[Role]:
    """Return the roles with their driving clips; each file is opened once, so that roles share its passes.

    Raises:
        SettingsError: a face's number is out of range; names the role.
        LivePortraitError: whatever `open_driving` raises.
    """
    opened: dict[str | None, Clip | MotionTemplate | None] = {None: None}
    roles = []
    for place, text in enumerate(texts):
        if text.driving is not None and text.driving not in opened:
            opened[text.driving] = open_driving(text.driving)
        try:
            roles.append(text.opened(opened[text.driving]))
        except SettingsError as error:
            raise SettingsError(f"{_name(place, text.driving)}: {error}") from None
    return roles


def _role(item: Any, place: int, path: Path, settings: AnimationSettings, motion: MotionOptions) -> RoleText:
    driving = item.get("driving") if isinstance(item, dict) else None
    alone = isinstance(item, dict) and "driving" not in item and "expression" in item
    name = _name(place, driving if isinstance(driving, str) else None if alone else path)
    if not alone and (not isinstance(driving, str) or not driving):
        raise SettingsError(
            f'{name}: "driving" must be the path of a clip, or be left out beside "expression", got {driving!r}'
        )
    unknown = [key for key in item if key not in KEYS]
    if unknown:
        raise SettingsError(f"{name}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    for key in ("settings", "options"):
        if not isinstance(item.get(key, {}), Mapping):
            raise SettingsError(f"{name}: {key} must be an object of parameters, got {item[key]!r}")
    from ..faces.given import FaceBoxes

    try:
        own = AnimationSettings.from_dict({**settings.to_dict(), **item.get("settings", {})})
        box = item.get("box")
        return RoleText(
            driving if driving is None or "://" in driving else str(path.parent / driving),
            own,
            MotionOptions.from_dict({**motion.to_dict(), **item.get("options", {})}),
            item.get("source_face"),
            item.get("drive_face"),
            None if box is None else FaceBoxes.parse(box, own.input_face_index),
            _expression(item["expression"], path.parent) if "expression" in item else None,
        )
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def _expression(value: Any, folder: Path) -> Expression:
    """Return the expression of a role: an object, or the path of a file in the folder."""
    return Expression.read(folder / value) if isinstance(value, str) else Expression.from_dict(value)


def _name(place: int, driving: str | Path | None) -> str:
    return f"role {place + 1} ({'expression' if driving is None else Path(driving).name})"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
