"""Alpha: read straight, kept where the file can hold it, and over black elsewhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from make_clips import encode
from PIL import Image

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.media import Clip, Frames, VideoWriter, keeps_alpha


def rgba(count: int = 4, width: int = 96, height: int = 64) -> torch.Tensor:
    """An even colour that becomes opaque from left to right, uint8 [N, H, W, 4]."""
    frames = torch.zeros(count, height, width, 4, dtype=torch.uint8)
    frames[..., :3] = torch.tensor([200, 90, 30])
    frames[..., 3] = torch.linspace(0, 255, width).round().to(torch.uint8)
    return frames


def over_black(frames: torch.Tensor) -> torch.Tensor:
    return (frames[..., :3].float() * frames[..., 3:] / 255).round()


@pytest.mark.parametrize("suffix", [".webm", ".mov"])
def test_webm_and_mov_keep_it(tmp_path, suffix):
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25)) as writer:
        writer.write(rgba())
    assert keeps_alpha(tmp_path / f"a{suffix}")
    clip = Clip(tmp_path / f"a{suffix}")
    assert clip.info.has_alpha
    assert (next(clip.chunks(alpha=True)).frames.int() - rgba().int()).abs().max() <= 3
    assert (next(clip.straight().chunks()).frames.int() - rgba()[..., :3].int()).abs().max() <= 3
    assert (next(clip.chunks()).frames - over_black(rgba())).abs().max() <= 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m4v"])
def test_other_files_are_over_black(tmp_path, suffix):
    with VideoWriter(tmp_path / f"a{suffix}", Fraction(25)) as writer:
        writer.write(rgba())
    assert not keeps_alpha(tmp_path / f"a{suffix}")
    clip = Clip(tmp_path / f"a{suffix}")
    assert not clip.info.has_alpha
    assert (next(clip.chunks()).frames - over_black(rgba())).abs().mean() < 2


def clip_of(kind: str, folder) -> Clip:
    if kind == "frames":
        return Clip(Frames(rgba(), Fraction(25)))
    path = folder / f"a.{kind}"
    if kind == "png":
        Image.fromarray(rgba()[0].numpy()).save(path)
    elif kind == "webp":
        first, *others = [Image.fromarray(frame.numpy()) for frame in rgba()]
        first.save(path, save_all=True, append_images=others, lossless=True, exact=True)
    else:
        encode(path, list(rgba().numpy()), codec="qtrle", pix_fmt="argb")
    return Clip(path)


@pytest.mark.parametrize("kind", ["frames", "png", "webp", "mov"])
def test_any_kind_of_clip_gives_it(tmp_path, kind):
    clip = clip_of(kind, tmp_path)
    assert clip.info.has_alpha
    # What is fully transparent has no colour in a WebP.
    assert torch.equal(next(clip.chunks(alpha=True)).frames[0, :, 1:], rgba()[0, :, 1:])
    assert torch.equal(next(clip.straight().chunks()).frames[0, :, 1:], rgba()[0, :, 1:, :3])
    assert torch.equal(next(clip.chunks()).frames[0].float(), over_black(rgba())[0])


def test_a_clip_without_alpha_is_opaque(tmp_path):
    clip = Clip(encode(tmp_path / "a.mp4", [np.full((64, 64, 3), 90, np.uint8)]))
    assert not clip.info.has_alpha
    assert (next(clip.chunks(alpha=True)).frames[..., 3] == 255).all()


def test_frames_with_and_without_it_in_one_file_are_an_error(tmp_path):
    with (
        pytest.raises(MediaError, match="have alpha, or none"),
        VideoWriter(tmp_path / "a.webm", Fraction(25)) as writer,
    ):
        writer.write(rgba())
        writer.write(rgba()[..., :3])
