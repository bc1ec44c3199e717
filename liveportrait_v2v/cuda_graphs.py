"""CUDA graphs: a function's kernels launched as one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Capture = Callable[[Callable[..., Any], list[Tensor]], tuple[Callable[[], None], Any]]


class Graphed:
    """A function of tensors, captured once for each set of shapes and dtypes, and replayed from then on.

    Threads may share it, each in a stream of its own: replays follow one another. The function must give a tensor or a
    tuple of tensors, and do the same whenever it is called with tensors of the same shapes.

    Args:
        function: what is captured.
        capture: gives what replays a function of these inputs, and the output that a replay writes to.
    """

    def __init__(self, function: Callable[..., Any], capture: Capture | None = None):
        self._function = function
        self._capture = capture
        self._captured: dict[Any, tuple[list[Tensor], Callable[[], None], Any]] = {}
        self._lock = threading.Lock()
        self._read: torch.cuda.Event | None = None  # when the last replay's output was copied

    def __call__(self, *inputs: Tensor) -> Any:
        """Return function(*inputs) in memory of its own.

        Raises:
            RuntimeError: the capture failed.
        """
        key = tuple((x.shape, x.dtype) for x in inputs)
        with self._lock:
            stream = torch.cuda.current_stream(inputs[0].device) if inputs[0].is_cuda else None
            if stream is not None and self._read is not None:
                stream.wait_event(self._read)
            if key not in self._captured:
                buffers = [x.clone(memory_format=torch.contiguous_format) for x in inputs]
                capture = self._capture or capture_cuda_graph
                self._captured[key] = (buffers, *capture(self._function, buffers))
            buffers, replay, output = self._captured[key]
            for buffer, x in zip(buffers, inputs, strict=True):
                buffer.copy_(x)
            replay()
            copied = _copy(output)
            if stream is not None:
                self._read = stream.record_event()
            return copied

    def clear(self) -> None:
        """Let go of what was captured; a graph is bound to the addresses of the weights."""
        with self._lock:
            self._captured.clear()


def _copy(output: Any) -> Any:
    """Return copies of a tensor, or of the tensors of a tuple or named tuple."""
    if isinstance(output, Tensor):
        return output.clone()
    copies = [x.clone() for x in output]
    return type(output)(*copies) if hasattr(output, "_fields") else tuple(copies)


def _tensors(output: Any) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else tuple(output)


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
                found = function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        # In memory that is not the graph's: CUDA's own allocator complains of what outlives the capture.
        output = _copy(found)
        del found
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            for buffer, x in zip(_tensors(output), _tensors(function(*inputs)), strict=True):
                buffer.copy_(x)
            del x
    return graph.replay, output
