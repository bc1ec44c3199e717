"""W and G compiled, and what is captured as CUDA graphs: once, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from liveportrait_v2v import cuda_graphs
from liveportrait_v2v.cuda_graphs import Graphed
from liveportrait_v2v.engines.liveportrait.batches import Batches, MemoryWarning
from liveportrait_v2v.engines.liveportrait.model import LivePortraitModel
from liveportrait_v2v.engines.liveportrait.networks import (
    CompileWarning,
    Forms,
    MotionOutput,
    Networks,
    random_weights,
)


def test_a_batch_of_one_size_repeats_the_last_frame_and_leaves_it_out():
    given: list[Tensor] = []

    def double(x: Tensor) -> Tensor:
        given.append(x)
        return 2 * x

    assert torch.equal(Batches(4)(double, torch.arange(6), fill_above=0), 2 * torch.arange(6))
    assert [x.tolist() for x in given] == [[0, 1, 2, 3], [4, 5, 5, 5]]


class Compiler:
    """Counts what it compiles, and computes nothing.

    Attributes:
        graphs: compiled so far.
    """

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list) -> Callable:
        self.graphs += 1
        (output,) = next(node for node in graph.graph.nodes if node.op == "output").args[0]
        shape = output.meta["example_value"].shape
        return lambda *_: (torch.zeros(shape),)


@pytest.fixture(scope="module")
def half() -> Networks:
    return Networks(partial(random_weights, 0), precision="fp16")


def rendering(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Crops, volumes and keypoints."""
    return (
        torch.zeros(count, 3, 256, 256),
        torch.zeros(count, 32, 16, 64, 64),
        torch.zeros(count, 21, 3),
        torch.zeros(count, 21, 3),
    )


def with_forms(networks: Networks, forms: Forms) -> Networks:
    """Networks of the same modules in other forms that change no layer."""
    made = object.__new__(Networks)
    made.__dict__.update(networks.__dict__, forms=forms)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("forms", ["", "channels_last,fused_norm,planes,to_one,padded,plain,plain_volumes"])
def test_warping_and_generating_are_one_graph(forms):
    networks = Networks(partial(random_weights, 0), forms=Forms.parse(forms))
    compiler = Compiler()
    torch._dynamo.reset()
    run = torch.compile(networks._decode, backend=compiler, fullgraph=True, dynamic=False)
    with torch.no_grad():
        run(*rendering(2)[1:], torch.float32)
    assert compiler.graphs == 1


@pytest.mark.slow
def test_a_run_compiles_once(monkeypatch, half):
    """Of whole chunks, a last one, one frame, a still, and float32 where half precision failed."""
    compiler = Compiler()
    torch._dynamo.reset()
    networks = with_forms(half, Forms(compiled=True))
    monkeypatch.setattr(
        networks, "_compiled", torch.compile(networks._decode, backend=compiler, dynamic=False), raising=False
    )
    networks._functions = {**half._functions, "render": networks._decode_usual}
    model = LivePortraitModel(networks, batch=8)
    for count in (8, 8, 5, 1):
        pictures, _ = model.render(*rendering(count))
        assert pictures.shape == (count, 3, 512, 512)
    still = (x.expand(8, *x.shape[1:]) for x in rendering(1)[:3])
    model.render(*still, rendering(8)[3])
    monkeypatch.setattr(networks, "finite", lambda pictures: lambda: False)
    _, rescue = model.render(*rendering(2))
    monkeypatch.setattr(networks, "appearance", lambda crops: torch.zeros(len(crops), 32, 16, 64, 64))
    monkeypatch.setattr(networks, "_decode", lambda *given: torch.zeros(len(given[2]), 3, 512, 512))
    with pytest.warns(match="computing in fp32 instead"):
        assert rescue().shape == (2, 3, 512, 512)
    assert compiler.graphs == 1


class Captures:
    """Stands for CUDA's capture.

    Attributes:
        count: of captures.
        error: raised by a capture.
    """

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    def __call__(self, function: Callable, inputs: list[Tensor]) -> tuple[Callable[[], None], Tensor | tuple]:
        if self.error is not None:
            raise self.error
        self.count += 1
        output = function(*inputs)

        def replay() -> None:
            again = function(*inputs)
            for old, new in zip(
                *((x,) if isinstance(x, Tensor) else x for x in (output, again)), strict=True
            ):
                old.copy_(new)

        return replay, output


def test_a_graph_is_captured_for_each_shape_and_gives_memory_of_its_own():
    captures = Captures()
    double = Graphed(lambda x: 2 * x, captures)
    first, second = double(torch.ones(3)), double(torch.full((3,), 5.0))
    double(torch.ones(2))
    assert captures.count == 2
    assert first.tolist() == [2, 2, 2]
    assert second.tolist() == [10, 10, 10]


def test_a_graph_keeps_what_it_is_given_as_it_is():
    given = torch.ones(3)
    Graphed(lambda x: x.mul_(2), Captures())(given)
    assert given.tolist() == [1, 1, 1]


def test_a_graph_of_named_tensors_gives_these():
    motion = Graphed(lambda x: MotionOutput(*(k * x for k in range(7))), Captures())(torch.ones(1))
    assert isinstance(motion, MotionOutput)
    assert motion.kp.item() == 6


@pytest.fixture
def captures(monkeypatch) -> Captures:
    made = Captures()
    monkeypatch.setattr(cuda_graphs, "capture_cuda_graph", made)
    return made


@pytest.fixture
def networks(captures) -> Networks:
    """Networks that count as on a GPU, of which M alone is called."""
    parameter = torch.nn.Parameter(torch.ones(1))
    made = object.__new__(Networks)
    functions = {"motion": lambda crops: crops * parameter}
    made.__dict__.update(
        module=SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=torch.device("cuda"))])),
        forms=Forms(graphs=True),
        _functions=functions,
        _graphs={name: Graphed(function) for name, function in functions.items()},
        _parameters=[parameter],
        _addresses=[],
    )
    return made


def test_networks_are_captured_once_for_a_batch_size(networks, captures):
    for _ in range(3):
        assert networks.motion(torch.ones(2)).tolist() == [1, 1]
    assert captures.count == 1


def test_networks_that_were_moved_are_captured_anew(networks, captures):
    networks.motion(torch.ones(2))
    networks._parameters[0].data = torch.full((1,), 3.0)
    assert networks.motion(torch.ones(2)).tolist() == [3, 3]
    assert captures.count == 2


def test_networks_that_let_go_of_their_graphs_are_captured_anew(networks, captures):
    networks.motion(torch.ones(2))
    networks.release()
    assert networks.motion(torch.ones(2)).tolist() == [1, 1]
    assert captures.count == 2


def test_networks_that_cannot_be_captured_go_on_without(networks, captures):
    captures.error = RuntimeError("operation not permitted when stream is capturing\nmore")
    with pytest.warns(
        CompileWarning, match="capture of a CUDA graph failed, .*: operation not permitted"
    ) as said:
        results = [networks.motion(torch.ones(2)) for _ in range(2)]
    assert [x.tolist() for x in results] == [[1, 1], [1, 1]]
    assert len(said) == 1


def test_memory_that_runs_out_in_a_capture_is_found_by_giving_the_graphs_up(networks, captures):
    captures.error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    batches = Batches(4, networks.spare_memory)
    with pytest.warns(MemoryWarning, match="going on with CUDA graphs given up"):
        assert batches(networks.motion, torch.ones(4)).tolist() == [1, 1, 1, 1]
    assert batches.size == 4
    assert not networks.forms.graphs
    assert networks.spare_memory() is None


def test_without_a_gpu_nothing_is_captured(captures, monkeypatch):
    networks = object.__new__(Networks)
    parameter = torch.nn.Parameter(torch.ones(1))
    networks.__dict__.update(
        module=SimpleNamespace(parameters=lambda: iter([parameter])),
        forms=Forms(graphs=True),
        _functions={"motion": lambda crops: crops},
        _graphs={"motion": Graphed(lambda crops: crops)},
    )
    networks.motion(torch.ones(2))
    assert captures.count == 0
