"""Process that tracks the camera's face: reads requests from stdin, and answers each picture on stdout.

`tracking` has the form of both. It ends when stdin does; on Linux also with its parent.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ..server.worker_process import die_with


def main(parent: int) -> None:
    """Answer requests until the end.

    Args:
        parent: id of the process that ends this one with itself.
    """
    die_with(parent)
    # Keeps the output of libraries out of the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    import torch

    from .camera import Picture, PictureError
    from .tracking import ABSENT, ANSWER, DAMAGED, PRESENT, REQUEST, LocalTracker, bytes_of

    torch.set_num_threads(1)
    tracker = LocalTracker("cpu")
    tracker.begin()
    while head := sys.stdin.buffer.read(REQUEST.size):
        is_picture, size = REQUEST.unpack(head)
        if not is_picture:
            tracker.begin()
            continue
        try:
            face = tracker.track(Picture(sys.stdin.buffer.read(size), 0, 0.0))
        except PictureError:
            answers.write(ANSWER.pack(DAMAGED, 0, 0, 0))
        else:
            height, width = face.frames.shape[1:3]
            kind = PRESENT if face.present[0] else ABSENT
            answers.write(ANSWER.pack(kind, int(face.scenes[0]), height, width))
            answers.write(bytes_of(face.landmarks))
            answers.write(bytes_of(face.frames))
        answers.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the parent has ended
        main(int(sys.argv[1]))
