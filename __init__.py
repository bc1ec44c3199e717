"""LivePortrait video-to-video for ComfyUI: nodes over the library in `liveportrait_v2v/`."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
