"""The networks on a CUDA GPU, held to those on the CPU. Random weights make the most of every difference."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import lru_cache, partial

import pytest
import torch
from made_faces import landmarks
from torch import Tensor

from liveportrait_v2v.engines.base import RenderedFrames
from liveportrait_v2v.engines.liveportrait.batches import MemoryWarning
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import (
    CompileWarning,
    Forms,
    Networks,
    PrecisionWarning,
    random_weights,
)
from liveportrait_v2v.faces.nets import NETS, load_net
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

BOUNDS = {"fp32": 1.6e-2, "fp16": 2e-2, "bf16-convs": 0.1}
"""Root mean square errors, relative to the spread of float32 pictures of the CPU. In float32 convolutions round to
TF32, which gives 8e-3; fp16 gives 8e-3 to 9e-3 in all forms, bf16 6e-2."""
HALF_FORMS = [
    "",
    "channels_last",
    "channels_last,fused_norm",
    "channels_last,fused_norm,planes",
    "channels_last,fused_norm,planes,to_one",
    "channels_last,fused_norm,planes,to_one,padded",
    "channels_last,fused_norm,plain,plain_volumes",
    "ones,planes,to_one",
    "channels_last,fused_norm,ones,planes,to_one,plain",
    "fused_spade,fused_enlarged,fused_activation",
    "channels_last,fused_spade,fused_enlarged,fused_activation,ones,plain_volumes",
    "planes,to_one",
    "benchmark",
    "tf32",
]
weights = lru_cache(random_weights)  # making them takes longer than the tests


def networks(device: str, precision: str = "fp32", forms: str | None = "") -> Networks:
    return Networks(
        partial(weights, 0), device, precision, forms=None if forms is None else Forms.parse(forms)
    )


def crops(count: int, seed: int = 0) -> Tensor:
    """Smooth pictures, as faces are."""
    small = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (256, 256), mode="bicubic").clamp(0, 1)


def animated(device: str, precision: str, forms: str | None = "") -> Tensor:
    """Two pictures: given crops, so that no tracker decides anything."""
    model = LivePortraitEngine(networks(device, precision, forms), batch=2).model
    return model.animate_crops(crops(1).to(device), crops(2, seed=1).to(device)).cpu()


@pytest.fixture(scope="module")
def wanted() -> Tensor:
    return animated("cpu", "fp32")


def error(found: Tensor, wanted: Tensor) -> float:
    assert found.isfinite().all()
    return ((found - wanted).square().mean().sqrt() / wanted.std()).item()


@pytest.mark.parametrize("precision", BOUNDS)
def test_given_crops_are_animated_as_on_the_cpu(wanted, precision):
    assert error(animated("cuda", precision, None), wanted) < BOUNDS[precision]


@pytest.mark.parametrize("forms", HALF_FORMS)
def test_every_form_stays_within_the_bound_of_its_precision(wanted, forms):
    assert error(animated("cuda", "fp16", forms), wanted) < BOUNDS["fp16"]


def test_graphs_give_what_the_networks_give_without(recwarn):
    made, captured = networks("cuda", "fp16"), networks("cuda", "fp16", "graphs")
    kp = 0.3 * torch.randn(4, 21, 3, generator=torch.Generator().manual_seed(0)).cuda()
    for seed in range(3):
        given = crops(4, seed).cuda()
        volume, again = made.appearance(given), captured.appearance(given)
        torch.testing.assert_close(again, volume)
        torch.testing.assert_close(captured.motion(given).exp, made.motion(given).exp)
        torch.testing.assert_close(captured.render(volume, kp, 0.9 * kp), made.render(volume, kp, 0.9 * kp))
    assert not [w for w in recwarn if issubclass(w.category, CompileWarning)]


def test_graphs_are_captured_anew_after_the_networks_were_moved():
    captured = networks("cuda", "fp16", "graphs")
    given = crops(2).cuda()
    before = captured.motion(given).exp
    captured.to("cpu")
    kept = torch.empty(2**28, dtype=torch.uint8, device="cuda")  # where the weights were
    captured.to("cuda")
    torch.testing.assert_close(captured.motion(given).exp, before)
    del kept


def test_memory_that_runs_out_halves_the_batch():
    engine = LivePortraitEngine(networks("cuda", "fp16", None), batch=32)
    given = crops(32).cuda()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (3 << 30)) / total)
    try:
        with pytest.warns(MemoryWarning):
            pictures = engine.model.animate_crops(given, given)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert pictures.shape == (32, 3, 512, 512)
    assert engine.model.batches.size < 32


def renderer(made: Networks) -> Callable[[], RenderedFrames]:
    """Return what renders the four frames of a chunk in a session."""
    session = LivePortraitEngine(made).session(
        AnimationSettings(), MotionOptions(), Fraction(25), Fraction(25)
    )
    frames = (crops(4) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cuda()
    faces = torch.stack([landmarks(at=(128, 128), size=5.0)] * 4)
    chunk = TrackedChunk(frames, faces, torch.ones(4, dtype=torch.bool))
    session.survey([chunk])
    driving = torch.stack(list(session.motions([chunk])))
    (source,) = session.source([chunk])
    return partial(session.render, source, driving)


def test_a_session_renders_without_waiting_for_the_gpu():
    render = renderer(networks("cuda", "fp16", None))
    render()  # libraries set themselves up, and what is made once is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        rendered = render()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rendered.check is not None


def test_finite_pictures_are_shown_as_they_were_rendered():
    rendered = renderer(networks("cuda", "fp16", None))()
    assert rendered.settled().frames is rendered.frames


def test_pictures_that_are_not_finite_are_computed_again_in_float32():
    precise, made = networks("cuda", "fp16", None), networks("cuda", "fp16", None)
    generator = made.module["spade_generator"]
    plain = generator.forward
    generator.forward = lambda x: plain(x) / (x.dtype == torch.float32)
    render = renderer(made)
    with pytest.warns(PrecisionWarning), ThreadPoolExecutor(1) as sink:
        settled = sink.submit(render().settled).result().frames
    with pytest.warns(PrecisionWarning), precise.in_float32():
        wanted = renderer(precise)().frames
    assert (settled.int() - wanted.int()).abs().float().mean() < 1


def test_one_bad_value_is_seen():
    made = networks("cuda", "fp16")
    pictures = torch.rand(2, 3, 512, 512, device="cuda")
    assert made.finite(pictures)()
    pictures[1, 2, 3, 4] = torch.nan
    assert not made.finite(pictures)()


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_face_networks_give_what_they_give_on_the_cpu_in_any_thread_and_batch(name):
    here, there = load_net(name), load_net(name, "cuda")
    pictures = torch.rand(19, here.size, here.size, 3, generator=torch.Generator().manual_seed(0))
    wanted = here(pictures)

    def found(count: int) -> tuple[Tensor, ...]:
        with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
            return tuple(output.cpu() for output in there(pictures[:count].cuda()))

    counts = [1, 3, 8, 19, 2, 16, 5, 1]
    with ThreadPoolExecutor(2) as threads:
        for count, outputs in zip(counts, threads.map(found, counts), strict=True):
            for output, expected in zip(outputs, wanted, strict=True):
                torch.testing.assert_close(output, expected[:count], atol=2e-3, rtol=1e-3)
