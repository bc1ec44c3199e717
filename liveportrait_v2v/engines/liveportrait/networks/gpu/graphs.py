"""CUDA graphs: a function's kernels launched as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Capture = Callable[[Callable[..., Any], list[Tensor]], tuple[Callable[[], None], Any]]


class Graphed:
    """A function of tensors, captured once for each set of shapes and dtypes, and replayed from then on.

    For use in one thread at a time. The function must give a tensor or a named tuple of tensors, and do the same
    whenever it is called with tensors of the same shapes.

    Args:
        function: what is captured.
        capture: gives what replays a function of these inputs, and the output that a replay writes to.
    """

    def __init__(self, function: Callable[..., Any], capture: Capture | None = None):
        self._function = function
        self._capture = capture
        self._captured: dict[Any, tuple[list[Tensor], Callable[[], None], Any]] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        """Return function(*inputs) in memory of its own.

        Raises:
            RuntimeError: the capture failed.
        """
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._captured:
            buffers = [x.clone(memory_format=torch.contiguous_format) for x in inputs]
            self._captured[key] = (buffers, *(self._capture or capture_cuda_graph)(self._function, buffers))
        buffers, replay, output = self._captured[key]
        for buffer, x in zip(buffers, inputs, strict=True):
            buffer.copy_(x)
        replay()
        return output.clone() if isinstance(output, Tensor) else type(output)(*(x.clone() for x in output))

    def clear(self) -> None:
        """Let go of what was captured; a graph is bound to the addresses of the weights."""
        self._captured.clear()


def capture_cuda_graph(function: Callable[..., Any], inputs: list[Tensor]) -> tuple[Callable[[], None], Any]:
    """Capture a function of these very tensors, on their device.

    Other threads may allocate and launch meanwhile.

    Returns:
        what replays the graph in the current stream, and the output that it writes to.
    """
    device = inputs[0].device
    with torch.cuda.device(device):
        # Libraries set themselves up and choose algorithms at the first calls, which can't be captured.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = function(*inputs)
    return graph.replay, output
