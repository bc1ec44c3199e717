"""ComfyUI's internals, for the nodes: the one package that knows them.

ComfyUI's own modules are imported where they are used, so that the pack starts quickly and its schemas can be
looked at without a server.
"""

CATEGORY = "video/LivePortrait"
"""Place of the nodes in ComfyUI's menu."""
