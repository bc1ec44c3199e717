"""ICC profiles of RGB and grey, and pictures of 16 bits a colour, byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np

D50, D65 = (0.9642, 1.0, 0.8249), (0.95047, 1.0, 1.08883)
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
# Bradford's cone responses, by which the profile's white is adapted to D50 (ICC.1, annex E).
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(primaries) -> np.ndarray:
    """Matrix from light of these primaries, white D65, to CIE XYZ."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, D65)


def from_srgb_curve(signal: np.ndarray) -> np.ndarray:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def to_srgb_curve(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def in_srgb(rgb, primaries, gamma: float | None = None) -> np.ndarray:
    """Levels of sRGB, 0..255, of levels with these primaries and a gamma, or sRGB's curve."""
    signal = np.asarray(rgb) / 255
    light = from_srgb_curve(signal) if gamma is None else signal**gamma
    return to_srgb_curve(light @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T) * 255


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _curve(gamma: float | None) -> bytes:
    if gamma is None:  # sRGB's curve, as parameters of type 3
        return b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0\0\0\0\0" + _fixed(gamma)


def _text(kind: bytes, text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return kind + struct.pack(">IIIIII", 0, 1, 12, 0x656E5553, len(encoded), 28) + encoded


def profile(name: str, primaries=None, gamma: float | None = None) -> bytes:
    """An ICC profile, version 4 (ICC.1:2010): of RGB with these primaries, or of grey without any."""
    tags = {
        b"desc": _text(b"mluc", name),
        b"cprt": _text(b"mluc", "none"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50),
    }
    if primaries is None:
        tags[b"kTRC"] = _curve(gamma)
    else:
        scale = np.diag((BRADFORD @ D50) / (BRADFORD @ D65))
        adapted = np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ to_xyz(primaries)
        for k, colour in enumerate((b"r", b"g", b"b")):
            tags[colour + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*adapted[:, k])
            tags[colour + b"TRC"] = _curve(gamma)
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += struct.pack(">4sII", tag, at + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    space = b"GRAY" if primaries is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x04200000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + _fixed(*D50)
    return head.ljust(128, b"\0") + body


def deep_png(levels: np.ndarray, cicp: bytes = b"") -> bytes:
    """A PNG of uint16 levels [H, W, 1 to 4], with the values of a chunk cICP."""
    height, width, channels = levels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + (chunk(b"cICP", cicp) if cicp else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep_tiff(levels: np.ndarray, premultiplied: bool = False) -> bytes:
    """A TIFF of uint16 levels [H, W, 3 or 4], without compression."""
    height, width, channels = levels.shape
    pixels, bits = levels.astype("<u2").tobytes(), struct.pack(f"<{channels}H", *[16] * channels)
    short, long = 3, 4
    fields = {256: width, 257: height, 259: 1, 262: 2, 277: channels, 278: height, 279: len(pixels)}
    if channels == 4:
        fields[338] = 1 if premultiplied else 2
    at = 8 + 2 + 12 * (len(fields) + 2) + 4
    entries = {tag: struct.pack("<HHII", tag, long, 1, value) for tag, value in fields.items()}
    entries[258] = struct.pack("<HHII", 258, short, channels, at)
    entries[273] = struct.pack("<HHII", 273, long, 1, at + len(bits))
    table = b"".join(entries[tag] for tag in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0) + bits + pixels
