"""Colours of picture files: ICC profiles and CICP tags, converted to sRGB."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, features

from ..text import one_line
from .light import Light
from .source import Source

_HEAD_BYTES = 1 << 16
"""The part of a file in which its tags are looked for: they come before the pixels."""
_SAME_LEVELS = 1
"""Levels of 255 by which a profile may differ from sRGB and count as it: those of many cameras and editors do."""
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's modes by the colour space that a profile is for."""
_EXIF_IFD, _INTEROPERABILITY_IFD, _INTEROPERABILITY_INDEX = 0x8769, 0xA005, 1
_ADOBE_RGB_INDEX = "R03"  # DCF 2.0, "optional colour space"


@dataclass(frozen=True)
class Colours:
    """What the colours of a picture file mean, and how they become those of sRGB.

    Attributes:
        notes: what is done: clauses as in `ClipInfo.notes`.
        light: what the signals mean by a CICP tag, None for sRGB.
    """

    notes: tuple[str, ...] = ()
    light: Light | None = None
    _transform: Any = None
    _mode: str = ""

    @classmethod
    def of(cls, source: Source, image: Image.Image) -> Colours:
        """Read the tags and the profile of a picture, which is open."""
        light = _tagged(source, image)
        if light is not None:
            return cls((light.note,), light)
        profile = image.info.get("icc_profile")
        if profile and image.mode != "LAB":  # which Pillow converts by itself
            return _profiled(profile, image.mode)
        if image.mode == "CMYK":
            return cls(
                ("has the colours of CMYK without a profile; they are converted by the plain formula",)
            )
        if _says_adobe_rgb(image):
            return cls(("is tagged as Adobe RGB, without a profile; its colours are taken as sRGB",))
        return cls()

    def converted(self, image: Image.Image) -> Image.Image:
        """Return a picture of 8 bits a colour with the colours that its profile gives it, as RGB or RGBA."""
        transparent = image.has_transparency_data
        if self._transform is None:
            return image.convert("RGBA" if transparent else "RGB")
        alpha = image.convert("RGBA").getchannel("A") if transparent else None
        opaque = image.convert("RGBA").convert("RGB") if transparent else image
        converted: Image.Image = self._transform.apply(opaque.convert(self._mode))
        if alpha is not None:
            converted.putalpha(alpha)
        return converted


def _profiled(profile: bytes, mode: str) -> Colours:
    """Return the colours of a picture in this mode of Pillow with an ICC profile."""
    if not features.check("littlecms2"):
        if b"sRGB" in profile:
            return Colours()
        return Colours(
            ("has a colour profile, and Pillow lacks LittleCMS here; its colours are taken as sRGB",)
        )
    found = _transform_of(profile)
    if (
        found is None
        or (found.mode == "CMYK") != (mode == "CMYK")
        or (found.mode == "L" and mode[0] not in "L1I")
    ):
        return Colours(("has a colour profile that does not fit or can't be read; it is ignored",))
    if found.same:
        return Colours()
    return Colours(
        (f"has the colours of {found.name}; they are converted to sRGB",), None, found.transform, found.mode
    )


@dataclass(frozen=True)
class _Transform:
    """LittleCMS's transform of a profile to sRGB.

    Attributes:
        mode: Pillow's mode of the pictures that the profile is for.
        same: the profile is that of sRGB.
    """

    name: str
    mode: str
    transform: Any
    same: bool


@lru_cache(maxsize=8)
def _transform_of(profile: bytes) -> _Transform | None:
    """Return the transform of an ICC profile, None if it can't be read or is for another kind of picture."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space)
        if mode is None:
            return None
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        name = ImageCms.getProfileDescription(opened)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return _Transform(one_line(name, 60) or "a colour profile", mode, transform, _is_srgb(transform, mode))


def _is_srgb(transform: Any, mode: str) -> bool:
    """Return whether a transform changes no colour visibly, of a lattice of them."""
    if mode == "CMYK":
        return False
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    axes = np.meshgrid(*[levels] * (3 if mode == "RGB" else 1), indexing="ij")
    lattice = np.stack([axis.reshape(1, -1) for axis in axes], -1)
    picture = Image.fromarray(lattice if mode == "RGB" else lattice[..., 0])
    changed = np.asarray(transform.apply(picture)).astype(int)
    return bool(np.abs(changed - lattice).max() <= _SAME_LEVELS)


def _tagged(source: Source, image: Image.Image) -> Light | None:
    """Return what the CICP tag of a PNG or AVIF file says of its signals (ITU-T H.273); None for sRGB and none."""
    head = source.head(_HEAD_BYTES)
    if image.format == "PNG":
        found = re.search(rb"\x00\x00\x00\x04cICP(.)(.)", head.partition(b"IDAT")[0], re.DOTALL)
        return None if found is None else Light.of(found[2][0], found[1][0])
    found = re.search(rb"colrnclx(..)(..)", head, re.DOTALL) if image.format == "AVIF" else None
    if found is None:
        return None
    light = Light.of(int.from_bytes(found[2], "big"), int.from_bytes(found[1], "big"))
    return None if light is not None and light.transfer == "SDR" and "icc_profile" in image.info else light


def _says_adobe_rgb(image: Image.Image) -> bool:
    exif = image.getexif()
    exif.get_ifd(_EXIF_IFD)  # which holds the other one
    try:
        known = exif.get_ifd(_INTEROPERABILITY_IFD)
    except KeyError:  # Pillow 12.3, where there is none
        return False
    return known.get(_INTEROPERABILITY_INDEX) == _ADOBE_RGB_INDEX
