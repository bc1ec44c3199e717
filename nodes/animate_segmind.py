"""Node Animate Segmind (LivePortrait)."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io

from ..liveportrait_v2v.errors import SettingsError
from . import animation, schemas, segmind
from .host import language, running


class AnimateSegmind(io.ComfyNode):
    """Animates with Segmind's hosted model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schemas.animation(
            clips_optional=True,
            node_id="LPV2V_AnimateSegmind",
            display_name="Animate Segmind (LivePortrait)",
            description="Animates with Segmind's hosted model. Each new job costs about 0.28 USD and uploads both "
            "clips to public, unlisted URLs. The same clips and settings are paid for only once.",
            search_aliases=[
                "live portrait",
                "lip sync",
                "hosted model",
                "remote",
                "segmind",
                "face animation",
                "talking head",
                "video to video",
                "口型同步",
                "リップシンク",
            ],
            inputs=[
                io.String.Input(
                    "source_url",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Public https URL of the source video, instead of the socket; it is sent unchanged.",
                ),
                io.String.Input(
                    "driving_url",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Public https URL of the driving video, instead of the socket; it is sent unchanged.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    optional=True,
                    # By default the frontend changes a seed after every run: each one would be paid for.
                    control_after_generate=False,
                    tooltip="Does not affect the result: another number orders the same job again, at full cost.",
                ),
                io.Float.Input(
                    "max_cost",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Maximum cost of a job in USD, estimated from recent jobs; above it nothing is ordered. "
                    "0 = no limit.",
                ),
                io.Float.Input(
                    "max_cost_per_day",
                    default=0.0,
                    min=0.0,
                    max=10000.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Maximum cost of all jobs of the last 24 hours in USD; above it nothing is ordered. "
                    "0 = no limit.",
                ),
                segmind.deadline(),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, source_url: str | None = None, driving_url: str | None = None, **_
    ) -> bool | str:
        for name, url in (("source_url", source_url), ("driving_url", driving_url)):
            if url and not url.strip().lower().startswith(("https://", "http://")):
                return language.shown(
                    f"{name} must be a public address that begins with https://, got {url[:60]!r}"
                )
        return True

    @classmethod
    def fingerprint_inputs(cls, **_) -> list[bool]:
        return animation.fingerprint(cls)

    @classmethod
    async def execute(
        cls,
        source=None,
        driving=None,
        source_url: str = "",
        driving_url: str = "",
        seed: int = 0,
        max_cost: float = 0.0,
        max_cost_per_day: float = 0.0,
        deadline: float = 900.0,
        **values,
    ) -> io.NodeOutput:
        engine = partial(
            segmind.make_engine,
            seed=seed,
            max_cost=max_cost,
            max_cost_per_day=max_cost_per_day,
            deadline=deadline,
        )
        with running.run(cls):
            values["source"] = _one_of("source", source, "source_url", source_url.strip())
            values["driving"] = _one_of("driving", driving, "driving_url", driving_url.strip())
        return await animation.beside(
            lambda cancelled: animation.run(cls, engine, cancelled=cancelled, **values)
        )


def _one_of(name: str, value: Any, address: str, url: str) -> Any:
    """Return the clip at a socket, or the URL that the widget `address` gives instead.

    Raises:
        SettingsError: both or neither.
    """
    if (value is None) == (not url):
        got = "both" if url else "neither"
        raise SettingsError(f"{name}: link a video or image, or give {address}; got {got}")
    return url or value
