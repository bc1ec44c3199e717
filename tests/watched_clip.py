"""A clip whose decoding is watched."""

from __future__ import annotations

from liveportrait_v2v.media import Clip


def clip_that_notes_its_end(ended: list[bool]) -> type[Clip]:
    """Return a kind of clip that appends to `ended` whenever a pass of decoding is over or given up."""

    class Watched(Clip):
        def chunks(self, *arguments, **options):
            try:
                yield from super().chunks(*arguments, **options)
            finally:
                ended.append(True)

    return Watched
