"""HDR and wide gamuts: the standards' curves, held to a computation in double precision."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import encode

from liveportrait_v2v.media import Clip
from liveportrait_v2v.media.light import Light

PQ, HLG, BT2020, DISPLAY_P3 = 16, 18, 9, 12
# Report ITU-R BT.2407-0, equation 3 (six digits); Display P3 to sRGB as in CSS Color 4, section 17.
TO_BT709 = {
    "BT.2020": [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    "P3": [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]],
}


def hlg_nits(signal: np.ndarray) -> np.ndarray:
    """Display light of a pixel on a display of 1000 cd/m² (BT.2100-2, table 5)."""
    scene = [
        s * s / 3 if s <= 0.5 else (np.exp((s - 0.55991073) / 0.17883277) + 0.28466892) / 12 for s in signal
    ]
    luma = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2]
    return 1000 * luma**0.2 * np.array(scene)


def pq_nits(signal: np.ndarray) -> np.ndarray:
    """Display light (BT.2100-2, table 4)."""
    root = signal ** (32 / 2523)
    return 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)


def level_of(nits: np.ndarray, gamut: str) -> np.ndarray:
    """Levels of BT.709 before the roll-off, 255 for 203 cd/m²."""
    light = np.array(TO_BT709[gamut]) @ nits / 203
    return 255 * np.maximum(light, 0) ** (1 / 2.4)


def converted(light: Light, signal: np.ndarray) -> np.ndarray:
    return light.to_bt709(np.round(signal * 65535).astype(np.uint16).reshape(1, 1, 3)).reshape(3)


@pytest.mark.parametrize(("transfer", "nits"), [("HLG", hlg_nits), ("PQ", pq_nits)])
def test_what_is_no_highlight_follows_the_standards_curves(transfer, nits):
    generator = np.random.default_rng(1)
    seen = 0
    for signal in generator.uniform(0, 0.75, (2000, 3)):
        expected = level_of(nits(signal), "BT.2020")
        if expected.max() < 0.9 * 255:
            seen += 1
            assert converted(Light(transfer, "BT.2020"), signal) == pytest.approx(expected, abs=0.6)
    assert seen > 500


@pytest.mark.parametrize(
    ("transfer", "signal", "nits"),
    [("HLG", 0.75, 203), ("PQ", 0.5807, 203), ("PQ", 0.7518, 1000), ("HLG", 1.0, 1000)],
)
def test_grey_of_the_standards_is_reached(transfer, signal, nits):
    # BT.2408-7, table 1: reference white is 75 % of HLG and 58 % of PQ.
    curve = {"HLG": hlg_nits, "PQ": pq_nits}[transfer]
    assert curve(np.full(3, signal))[0] == pytest.approx(nits, rel=0.005)
    level = converted(Light(transfer, "BT.2020"), np.full(3, signal))
    assert (level == (242 if nits == 203 else 255)).all()


def test_highlights_roll_off_and_keep_their_order_and_hue():
    signals = np.linspace(0, 1, 400)
    grey = [converted(Light("PQ", "BT.2020"), np.full(3, signal))[0] for signal in signals]
    assert (np.diff(np.array(grey, int)) >= 0).all()
    assert np.diff(np.array(grey, int)).max() <= 3
    # Orange, four times as bright: its signals keep their ratios.
    dim = np.array([0.40, 0.36, 0.30])
    orange = converted(Light("PQ", "BT.2020"), dim).astype(float)
    bright = converted(Light("PQ", "BT.2020"), dim + 0.22).astype(float)
    assert bright.max() > 243
    assert bright.argsort().tolist() == orange.argsort().tolist()
    assert bright.max() - bright.min() > 40


def test_a_wide_gamut_is_converted_and_white_stays_white():
    light = Light("SDR", "P3")
    generator = np.random.default_rng(2)
    for signal in generator.uniform(0.1, 0.9, (200, 3)):
        expected = np.clip(level_of(203 * signal**2.4, "P3"), 0, 255)
        assert converted(light, signal) == pytest.approx(expected, abs=0.8)
    assert (converted(light, np.ones(3)) == 255).all()


@pytest.mark.parametrize(
    ("transfer", "primaries", "light"),
    [
        (HLG, BT2020, Light("HLG", "BT.2020")),
        (PQ, 2, Light("PQ", "BT.2020")),
        (1, DISPLAY_P3, Light("SDR", "P3")),
        (14, BT2020, Light("SDR", "BT.2020")),
        (1, 1, None),
        (2, 2, None),
        (6, 6, None),
    ],
)
def test_the_tags_decide(transfer, primaries, light):
    assert Light.of(transfer, primaries) == light


def grey_ramp(count: int = 2) -> list[av.VideoFrame]:
    """Frames of 10 bits, a ramp of luma from black to white."""
    frames = []
    for _ in range(count):
        frame = av.VideoFrame(256, 64, "yuv420p10le")
        luma = np.tile(np.linspace(64, 940, 256).round().astype(np.uint16), (64, 1))
        for plane, values in zip(frame.planes, (luma, 512, 512), strict=True):
            rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
            rows[:, : plane.width] = values
        frame.colorspace, frame.color_range = 9, 1
        frames.append(frame)
    return frames


@pytest.mark.parametrize(("transfer", "nits", "name"), [(HLG, hlg_nits, "HLG"), (PQ, pq_nits, "PQ")])
def test_a_clip_is_tone_mapped_by_its_tags_and_says_so(tmp_path, transfer, nits, name):
    path = encode(
        tmp_path / "a.mkv",
        grey_ramp(),
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={
            "crf": "1",
            "x265-params": f"log-level=none:colorprim=bt2020:colormatrix=bt2020nc:transfer={transfer}",
        },
    )
    clip = Clip(path)
    (note,) = clip.info.notes
    assert note.startswith(f"is HDR ({name})")
    row = next(clip.chunks()).frames[0, 32].numpy().astype(float)
    signals = np.linspace(0, 1, 256)
    expected = np.array([level_of(nits(np.full(3, signal)), "BT.2020") for signal in signals])
    below = expected.max(1) < 0.9 * 255
    assert np.abs(row - expected)[below].max() < 2.5
    assert np.abs(row - expected)[below].mean() < 0.6
    assert row[-1].tolist() == [255, 255, 255]
    assert clip.info.rate == Fraction(25)


def test_the_colours_of_a_clip_follow_the_curves(tmp_path):
    signal = np.array([0.60, 0.49, 0.41])
    luma = float(np.array([0.2627, 0.6780, 0.0593]) @ signal)
    chroma = (signal[2] - luma) / 1.8814, (signal[0] - luma) / 1.4746
    values = round(64 + 876 * luma), round(512 + 896 * chroma[0]), round(512 + 896 * chroma[1])
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, value in zip(frame.planes, values, strict=True):
        np.frombuffer(plane, np.uint16)[:] = value
    path = encode(
        tmp_path / "a.mkv",
        [frame],
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={
            "crf": "1",
            "x265-params": "log-level=none:colorprim=bt2020:colormatrix=bt2020nc:transfer=arib-std-b67",
        },
    )
    expected = level_of(hlg_nits(signal), "BT.2020")
    for options in ({}, {"max_side": 32}):
        frames = next(Clip(path).chunks(**options)).frames[0].double()
        assert frames.mean((0, 1)).tolist() == pytest.approx(expected, abs=1.5)


def test_a_clip_of_bt709_has_no_notes(tmp_path):
    frame = np.full((64, 64, 3), 90, np.uint8)
    assert Clip(encode(tmp_path / "a.mp4", [frame, frame], tags=(1, 1))).info.notes == ()
