"""How a GPU says that memory ran out."""

from __future__ import annotations

import torch

# Of cuDNN and cuBLAS short of workspace, of the driver, and of Apple's GPUs: torch passes these on as RuntimeErrors.
_MESSAGES = (
    "out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "unable to find an engine",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that fewer frames at a time may fit.

    cuDNN "is unable to find an engine" where no algorithm's workspace fits, which it also says of a convolution that
    it can't do at all: whoever makes batches smaller ends with that error for a single frame.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError):  # `torch.OutOfMemoryError` is younger than torch 2.4
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)
