"""Conversion of HDR and wide-gamut pictures to BT.709.

HLG and PQ are taken to display light (Recommendation ITU-R BT.2100-2): HLG for its nominal display of 1000 cd/m² with a
system gamma of 1.2. Light of 203 cd/m², the reference white of HDR (Report ITU-R BT.2408), is the white of SDR. Colours
outside of BT.709 are clipped. SDR has the electro-optical transfer function of Recommendation ITU-R BT.1886, a power of
2.4.

Highlights are rolled off, and nothing else is changed. Of the largest of a pixel's three signals, 1 being reference
white, what is above the knee of 0.9 (158 cd/m²) is compressed by the curve of E. Reinhard and others ("Photographic
tone reproduction for digital images", 2002, equation 4), so that 1000 cd/m² and more are full white, and reference
white is level 242 of 255. The other two are scaled by as much, so that the hue stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

DEEP_WHITE = 255 * 256
"""White of uint16 colours, as swscale makes them of YUV: a level of 8 bits is 256 of them."""
WHITE_NITS = 203.0
_HLG_NITS, _HLG_GAMMA = 1000.0, 1.2
_PEAK_NITS = 1000.0
_SDR_GAMMA = 2.4
_KNEE = 0.9
# FFmpeg's tags (AVCOL_TRC_*, AVCOL_PRI_*).
_PQ, _HLG = 16, 18
_BT2020, _DCI_P3, _DISPLAY_P3 = 9, 11, 12
_GAMUTS = {_BT2020: "BT.2020", _DCI_P3: "P3", _DISPLAY_P3: "P3"}
# x and y of red, green, blue (ITU-T H.273, table 2); white is D65.
_CHROMATICITIES = {
    "BT.709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_HLG_LUMA = (0.2627, 0.6780, 0.0593)


@dataclass(frozen=True)
class Light:
    """What the signals of a clip mean, where it is not BT.709.

    Attributes:
        transfer: "HLG", "PQ" or "SDR".
        gamut: "BT.2020", "P3" or "BT.709".
    """

    transfer: str
    gamut: str

    @classmethod
    def of(cls, transfer: int, primaries: int) -> Light | None:
        """Return the meaning of FFmpeg's tags; None for BT.709, and what differs from it as little as BT.601."""
        curve = {_PQ: "PQ", _HLG: "HLG"}.get(transfer, "SDR")
        gamut = _GAMUTS.get(primaries)
        if curve != "SDR":
            return cls(curve, gamut or "BT.2020")
        return None if gamut is None else cls(curve, gamut)

    @property
    def note(self) -> str:
        """What is done: a clause whose subject is the clip."""
        if self.transfer == "SDR":
            return f"has the colours of {self.gamut}; they are converted to BT.709"
        return f"is HDR ({self.transfer}); it is tone-mapped to BT.709, with {WHITE_NITS:.0f} cd/m² as white"

    def to_bt709(self, rgb: np.ndarray, white: int = 65535, deep: bool = False) -> np.ndarray:
        """Convert signals, uint16 [H, W, 3], to BT.709, uint8 [H, W, 3].

        Args:
            white: the number of the largest signal.
            deep: give uint16, whose white is `DEEP_WHITE`.
        """
        light = torch.from_numpy(_decoding_table(self.transfer, white)[rgb])
        if self.transfer == "HLG":
            # The opto-optical transfer function of BT.2100, table 5.
            scene = light @ torch.tensor(_HLG_LUMA)
            light *= scene.pow_(_HLG_GAMMA - 1).mul_(_HLG_NITS / WHITE_NITS)[..., None]
        if self.gamut != "BT.709":
            light = light @ torch.from_numpy(_to_bt709(self.gamut)).T
        signal = light.clamp_(min=0).pow_(1 / _SDR_GAMMA)
        if self.transfer != "SDR":
            largest = signal.amax(-1, keepdim=True).clamp_(min=1e-6)
            signal *= rolled_off(largest) / largest
        if deep:
            return signal.mul_(DEEP_WHITE).round_().clamp_(max=DEEP_WHITE).numpy().astype(np.uint16)
        return signal.mul_(255).round_().clamp_(max=255).to(torch.uint8).numpy()


def rolled_off(signal: torch.Tensor) -> torch.Tensor:
    """Compress signals above the knee; 1 is reference white."""
    room = 1 - _KNEE
    above = (signal - _KNEE).clamp(min=0) / room
    top = ((_PEAK_NITS / WHITE_NITS) ** (1 / _SDR_GAMMA) - _KNEE) / room
    above = above.clamp(max=top)
    compressed: torch.Tensor = above * (1 + above / top**2) / (1 + above)
    return signal.clamp(max=_KNEE) + room * compressed


@cache
def _decoding_table(transfer: str, white: int) -> np.ndarray:
    """Return the light of each signal of 16 bits, float32 [65536]; of HLG that of the scene, of others 1 is white."""
    signal = np.minimum(np.arange(65536) / white, 1)
    if transfer == "HLG":
        light = _from_hlg(signal)
    else:
        light = _from_pq(signal) / WHITE_NITS if transfer == "PQ" else signal**_SDR_GAMMA
    return light.astype(np.float32)


def _from_hlg(signal: np.ndarray) -> np.ndarray:
    """Return scene light, 0..1: the inverse of the HLG transfer function (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _from_pq(signal: np.ndarray) -> np.ndarray:
    """Return display light in cd/m²: the electro-optical transfer function of PQ (BT.2100, table 4)."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = signal ** (1 / m2)
    light: np.ndarray = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light


def _to_bt709(gamut: str) -> np.ndarray:
    """Return the matrix of light from a gamut to BT.709, float32 [3, 3]."""
    matrix: np.ndarray = np.linalg.inv(_to_xyz("BT.709")) @ _to_xyz(gamut)
    return matrix.astype(np.float32)


def _to_xyz(gamut: str) -> np.ndarray:
    """Return the matrix to CIE XYZ (SMPTE RP 177)."""
    primaries = np.array([_xyz(*xy) for xy in _CHROMATICITIES[gamut]]).T
    matrix: np.ndarray = primaries * np.linalg.solve(primaries, _xyz(*_D65))
    return matrix


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1, (1 - x - y) / y])
