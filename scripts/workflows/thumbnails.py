"""Pictures of the templates."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.expression import Expression
from liveportrait_v2v.media import Clip
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate

from .templates import DRIVING, TWO_FACES, Template

EXAMPLES = Path(__file__).parents[2] / "examples"
THUMBNAIL, INSET = (640, 400), 200
_BEHIND, _WHITE = "#16181d", "#ffffff"
_LABEL = 24
"""Height of the name below a clip's picture."""
_SHOWN_SECONDS = Fraction(11, 30)
"""A moment in which the example's mouth is wide open."""


def thumbnail(template: Template) -> Image.Image:
    """Return the picture of a template: the driving face, if any, and the source, and beside them the result."""
    examples = {"driving": DRIVING, "source": template.source}
    if template.edited is not None:
        del examples["driving"]
    width, height = THUMBNAIL
    picture = Image.new("RGB", THUMBNAIL, _BEHIND)
    high = height // len(examples)
    for k, (name, example) in enumerate(examples.items()):
        picture.paste(_named(name, example, (INSET, high)), (0, k * high))
    place = (width - INSET, height)
    picture.paste(_result(template, place) if template.made else _without_result(place), (INSET, 0))
    return picture


def _named(name: str, example: str, size: tuple[int, int]) -> Image.Image:
    """Return the picture of an example, with a name below."""
    clip = Clip(EXAMPLES / example)
    number = 0 if clip.info.is_still else round(_SHOWN_SECONDS * clip.info.rate)
    frame = Image.fromarray(next(clip.chunks(1, skip=number)).frames[0].numpy())
    width, height = size
    picture = ImageOps.pad(frame, size, color=_BEHIND)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height - _LABEL, width, height), _BEHIND)
    draw.text((width / 2, height - _LABEL / 2), name, _WHITE, ImageFont.load_default(18), anchor="mm")
    return picture


def _result(template: Template, size: tuple[int, int]) -> Image.Image:
    """Return what the draft engine makes of a template's clips."""
    frames: list[torch.Tensor] = []
    edited = None if template.edited is None else Expression.constant(**template.edited)
    driving = Clip(EXAMPLES / DRIVING) if edited is None else None
    result = animate(
        EXAMPLES / template.source,
        roles=[Role(driving, source_face=number, expression=edited) for number in template.faces],
        engine=create_engine("draft"),
        sink=lambda rendered: frames.extend(rendered.frames),
    )
    moment = 0 if edited else round(_SHOWN_SECONDS * result.rate)
    shown = Image.fromarray(frames[moment].numpy())
    return (
        ImageOps.pad(shown, size, color=_BEHIND)
        if template.source == TWO_FACES
        else ImageOps.fit(shown, size)
    )


def _without_result(size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, _BEHIND)
    ImageDraw.Draw(picture).text(
        (size[0] / 2, size[1] / 2),
        "LivePortrait networks\non your own GPU",
        _WHITE,
        ImageFont.load_default(34),
        "mm",
        align="center",
    )
    return picture
