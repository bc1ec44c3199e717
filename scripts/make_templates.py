#!/usr/bin/env python3
"""Write the example workflows and the blueprint: graphs of the pack's nodes as they are now.

    python scripts/make_templates.py

Widget values are stored by position; those that a template does not set are the schemas' defaults.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

from liveportrait_v2v.engines.liveportrait.download import PUBLISHED  # noqa: E402 - from ROOT
from liveportrait_v2v.media import Clip  # noqa: E402 - from ROOT

EXAMPLES = ROOT / "examples"
TEMPLATES = ROOT / "example_workflows"
BLUEPRINT = ROOT / "subgraphs" / "LivePortrait - animate a face.json"
WIDGETS = ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")
SOURCE, DRIVING, TWO_FACES, PICTURE, CAT = (
    f"example_{name}" for name in ("source.mp4", "driving.mp4", "two_faces.mp4", "picture.jpg", "cat.jpg")
)
CORE = {
    "LoadImage": ([("image", "COMBO")], ["IMAGE", "MASK"]),
    "ImageScaleBy": ([("image", "IMAGE"), ("upscale_method", "COMBO"), ("scale_by", "FLOAT")], ["IMAGE"]),
    "ImageSharpen": (
        [("image", "IMAGE"), ("sharpen_radius", "INT"), ("sigma", "FLOAT"), ("alpha", "FLOAT")],
        ["IMAGE"],
    ),
    "PrimitiveBoundingBox": (
        [("x", "INT"), ("y", "INT"), ("width", "INT"), ("height", "INT")],
        ["BOUNDING_BOX"],
    ),
    "CreateVideo": ([("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT")], ["VIDEO"]),
    "SaveVideo": (
        [("video", "VIDEO"), ("filename_prefix", "STRING"), ("format", "COMBO"), ("codec", "COMBO")],
        [],
    ),
    "MarkdownNote": ([("text", "STRING")], []),
}
"""Inputs and types of the outputs of ComfyUI's own nodes, of those that templates use."""
FILE_BUTTONS = ("LPV2V_LoadVideo", "LoadImage")


@dataclass
class Graph:
    """A workflow in the making."""

    schemas: dict[str, Any]
    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, str]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        at: tuple[int, int],
        size: tuple[int, int],
        title: str | None = None,
        *,
        properties: dict[str, Any] | None = None,
        labels: dict[str, str] | None = None,
        **values: Any,
    ) -> int:
        """Add a node and return its id.

        Args:
            values: widgets' values by name, and for sockets the (node, output's number) that is linked to them.
            labels: shown in place of the names of inputs.
        """
        number = len(self.nodes) + 1
        node: dict[str, Any] = {
            "id": number,
            "type": kind,
            "pos": list(at),
            "size": list(size),
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": self._outputs(kind),
            "properties": {"Node name for S&R": kind, **(properties or {})},
            "widgets_values": [],
        }
        if title is not None:
            node["title"] = title
        if kind == "MarkdownNote":
            node["color"], node["bgcolor"] = "#432", "#653"
        self.nodes.append(node)
        for slot, (name, io_type, default) in enumerate(self._inputs(kind)):
            value = values.pop(name, default)
            linked = isinstance(value, tuple)
            item = {
                "name": name,
                "type": io_type,
                "link": self._link(value, number, slot) if linked else None,
            }
            if name in (labels or {}):
                item["label"] = (labels or {})[name]
            if io_type in WIDGETS:
                item["widget"] = {"name": name}
                node["widgets_values"].append(default if linked else value)
            if kind != "MarkdownNote":
                node["inputs"].append(item)
        if kind in FILE_BUTTONS:
            node["widgets_values"].append("image")
        assert not values, f"{kind} has no {', '.join(values)}"
        return number

    def _inputs(self, kind: str) -> list[tuple[str, str, Any]]:
        if kind in CORE:
            return [(name, io_type, None) for name, io_type in CORE[kind][0]]
        return [(item.id, item.io_type, getattr(item, "default", None)) for item in self.schemas[kind].inputs]

    def _outputs(self, kind: str) -> list[dict[str, Any]]:
        if kind in CORE:
            named = [(io_type, io_type) for io_type in CORE[kind][1]]
        else:
            named = [(item.display_name, item.io_type) for item in self.schemas[kind].outputs]
        return [{"name": name, "type": io_type, "links": []} for name, io_type in named]

    def _link(self, origin: tuple[int, int], target: int, slot: int) -> int:
        number, (node, output) = len(self.links) + 1, origin
        given = self.nodes[node - 1]["outputs"][output]
        given["links"].append(number)
        self.links.append([number, node, output, target, slot, given["type"]])
        return number

    def workflow(self, name: str) -> dict[str, Any]:
        """Return the workflow as ComfyUI saves it."""
        return {
            "id": _id(name),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": self.extra,
            "version": 0.4,
            **({"models": self.models} if self.models else {}),
        }


LOADER, ANIMATE, SAVER, SETTINGS = (350, 600), (290, 330), (340, 340), (300, 540)
STEP = 60
"""A column begins that much lower than the one before it, so that wires to nodes behind it pass above."""


def _clips(graph: Graph, source: str, driving: str, file: str = SOURCE) -> tuple[int, int]:
    """Draw the loaders of most templates: as wide as 790 pixels with the gap behind them."""
    first = graph.add("LPV2V_LoadVideo", (0, 0), LOADER, source, file=file)
    return first, graph.add("LPV2V_LoadVideo", (390, STEP), LOADER, driving, file=DRIVING)


def quick_start(graph: Graph) -> None:
    """Draw two loaders, Animate Draft and Save Video."""
    source, driving = _clips(graph, "Source: whose face", "Driving: whose motion")
    animate = graph.add("LPV2V_AnimateDraft", (790, 0), ANIMATE, source=(source, 0), driving=(driving, 0))
    _save(graph, (1130, 0), animate, "quick_start")
    graph.add(
        "MarkdownNote",
        (790, 410),
        (680, 210),
        "Quick start: press Run",
        text="""\
The face in **Source** takes over the motion of the face in **Driving**. No weights and no GPU needed.

1. Press **Run**: the example clips come with the pack.
2. Choose your own clips: **choose file to upload** in each loader.
3. Pull **settings** off the Animate node for faces, crop, length and sound: *LivePortrait Settings*.

The draft shows timing, framing and motion. For the real look, put *Animate Local* (own GPU) or *Animate Segmind* \
(paid) in its place: inputs and outputs are the same.
""",
    )


def picture(graph: Graph) -> None:
    """Draw a picture's way through Animate Draft and an upscaler."""
    source = graph.add("LoadImage", (0, 0), (290, 400), "Source: whose face", image=PICTURE)
    driving = graph.add("LPV2V_LoadVideo", (330, STEP), LOADER, "Driving: motion and voice", file=DRIVING)
    animate = graph.add("LPV2V_AnimateDraft", (730, 0), ANIMATE, source=(source, 0), driving=(driving, 0))
    larger = graph.add(
        "ImageScaleBy", (1070, 0), (260, 90), image=(animate, 0), upscale_method="lanczos", scale_by=2
    )
    video = graph.add(
        "CreateVideo", (1100, 170), (260, 110), images=(larger, 0), audio=(animate, 1), fps=(animate, 3)
    )
    graph.add(
        "SaveVideo",
        (1410, 0),
        SAVER,
        video=(video, 0),
        filename_prefix="video/LivePortrait_picture",
        format="auto",
        codec="auto",
    )
    graph.add(
        "MarkdownNote",
        (730, 410),
        (1020, 120),
        "A picture that moves, and an upscaler behind it",
        text="""\
A picture lasts as long as the driving clip and has its **sound**.

**images** go through any image node, here one that doubles their size, and **Create Video** puts frames, **fps** and \
**audio** together again. Put a restorer, a style or a detailer there.
""",
    )


def choose_face(graph: Graph) -> None:
    """Draw the choice of one of two faces."""
    driving = graph.add("LPV2V_LoadVideo", (0, 0), LOADER, "Driving: whose motion", file=DRIVING)
    source = graph.add("LPV2V_LoadVideo", (390, STEP), LOADER, "Source: two people", file=TWO_FACES)
    graph.add("LPV2V_PreviewFaces", (790, 2 * STEP), (460, 440), clip=(source, 0))
    settings = graph.add("LPV2V_Settings", (1290, 2 * STEP), SETTINGS, input_face_index=1)
    animate = graph.add(
        "LPV2V_AnimateDraft",
        (1640, 0),
        ANIMATE,
        source=(source, 0),
        driving=(driving, 0),
        settings=(settings, 0),
    )
    _save(graph, (1670, 400), animate, "face", (290, 300))
    graph.add(
        "MarkdownNote",
        (790, 620),
        (460, 140),
        "Which of several faces",
        text="""\
**Preview Faces** numbers the faces, from large to small, and shows the square that is cropped.

Put the number of the one to animate into **input_face_index** of LivePortrait Settings. The others stay as they are.
""",
    )


def two_faces(graph: Graph) -> None:
    """Draw two faces with a driving clip each."""
    source, first = _clips(graph, "Source: two people", "Driving: motion of face 0", TWO_FACES)
    second = graph.add(
        "LPV2V_LoadVideo",
        (780, 2 * STEP),
        LOADER,
        "Driving: motion of face 1",
        file=DRIVING,
        skip_first_frames=20,
    )
    roles = graph.add("LPV2V_AnotherFace", (1180, 2 * STEP), (290, 200), driving=(second, 0), source_face=1)
    animate = graph.add(
        "LPV2V_AnimateDraft", (1520, 0), ANIMATE, source=(source, 0), driving=(first, 0), roles=(roles, 0)
    )
    _save(graph, (1550, 400), animate, "two_faces", (290, 320))
    graph.add(
        "MarkdownNote",
        (1180, 400),
        (310, 260),
        "Two faces, two drivers, one pass",
        text="""\
Each face of the source takes over the motion of a driving clip of its own. **Preview Faces** shows their numbers.

Animate Draft itself leads face 0. **Another Face** leads face 1, and a chain of these nodes leads more. Length and \
sound follow the settings of the Animate node. *Animate Local* takes **roles** too.
""",
    )


def restore(graph: Graph) -> None:
    """Draw an animated face's way through another node and back into its frames."""
    source, driving = _clips(graph, "Source: whose face", "Driving: whose motion")
    animate = graph.add("LPV2V_AnimateDraft", (790, 0), ANIMATE, source=(source, 0), driving=(driving, 0))
    crops = graph.add("LPV2V_CropFaces", (1130, 2 * STEP), (290, 320), clip=(animate, 2))
    restored = graph.add(
        "ImageSharpen",
        (1130, 510),
        (290, 130),
        "Your restorer or upscaler here",
        image=(crops, 0),
        sharpen_radius=1,
        sigma=1.0,
        alpha=0.3,
    )
    pasted = graph.add(
        "LPV2V_PasteBack",
        (1470, 0),
        (290, 190),
        clip=(animate, 2),
        crops=(restored, 0),
        placement=(crops, 2),
    )
    _save(graph, (1500, 260), pasted, "restored")
    graph.add(
        "MarkdownNote",
        (770, 400),
        (320, 270),
        "Work on the face before it is pasted back",
        text="""\
**Crop Faces** cuts the face out of each frame, and **Paste Back** puts it where it was, at whatever size it comes. \
Sharpening in between stands for your own restorer, upscaler or detailer.

With *Animate Local* leave Crop Faces out: its **crops** are the networks' own pictures of 512x512. Link them to the \
restorer, and its **placement** and **images** to Paste Back: nothing is compressed on the way.
""",
    )


def _load_model(graph: Graph, height: int, model_type: str) -> int:
    """Draw the node that loads a model, with what it needs."""
    files, folder = PUBLISHED[model_type]
    directory = f"liveportrait/{folder}".rstrip("/")
    models = [{"name": file.name, "url": file.url, "directory": directory} for file in files]
    # Front ends such as 1.41 offer them in a dialog, from the root and the properties of nodes. 1.58 only looks for
    # widgets with the name of a file: there Load Model itself says what is missing.
    graph.models = models
    place, properties = (790, 2 * STEP), {"models": models}
    return graph.add("LPV2V_LoadModel", place, (290, height), properties=properties, model_type=model_type)


def networks(graph: Graph) -> None:
    """Draw Animate Local with its model."""
    source, driving = _clips(graph, "Source: whose face", "Driving: whose motion")
    model = _load_model(graph, 320, "humans")
    animate = graph.add(
        "LPV2V_AnimateLocal",
        (1130, 0),
        (290, 420),
        source=(source, 0),
        driving=(driving, 0),
        model=(model, 0),
    )
    _save(graph, (1470, 0), animate, "local", (340, 420))
    graph.add(
        "MarkdownNote",
        (790, 510),
        (1020, 120),
        "The LivePortrait networks on your own machine",
        text="""\
**Weights:** Load Model finds them in *models/liveportrait*, also where other packs put them. If you have none, switch \
**download** on for the first run: 520 MB.

With a GPU a clip takes seconds; without one a single frame does. Choose clips, faces and settings with Animate Draft \
first.
""",
    )


def animal(graph: Graph) -> None:
    """Draw an animal's face in a box, and its model."""
    source = graph.add("LoadImage", (0, 0), (350, 420), "Source: an animal", image=CAT)
    driving = graph.add("LPV2V_LoadVideo", (390, STEP), LOADER, "Driving: a human face", file=DRIVING)
    box = graph.add(
        "PrimitiveBoundingBox",
        (790, 600),
        (290, 190),
        "Box: brow to chin of the animal",
        x=110,
        y=60,
        width=235,
        height=230,
    )
    model = _load_model(graph, 350, "animals")
    animate = graph.add(
        "LPV2V_AnimateLocal",
        (1130, 0),
        (290, 420),
        source=(source, 0),
        driving=(driving, 0),
        model=(model, 0),
        boxes=(box, 0),
    )
    _save(graph, (1470, 0), animate, "animal", (340, 420))
    graph.add(
        "MarkdownNote",
        (1130, 510),
        (680, 230),
        "Animals, cartoons, statues: a box says where the face is",
        text="""\
**Box:** left edge, top edge, width and height in pixels, from brow to chin. In a clip it is that of the first frame, \
and is followed from there.

Instead of numbers, link the boxes of a detector: *RT-DETR* finds cats and dogs as a whole, *SAM 3* what a text names, \
such as "cat face". The driving clip shows a human face.

**Weights:** 520 MB, fetched for the first run if you switch **download** on. For cartoons and statues take the model \
*humans*.
""",
    )


def app(graph: Graph) -> None:
    """Draw a graph that opens in app mode."""
    label = {"file": "Source: video or picture with the face"}
    source = graph.add("LPV2V_LoadVideo", (0, 0), LOADER, "Source", labels=label, file=SOURCE)
    label = {"file": "Driving: video with the motion"}
    driving = graph.add("LPV2V_LoadVideo", (390, STEP), LOADER, "Driving", labels=label, file=DRIVING)
    settings = graph.add(
        "LPV2V_Settings",
        (790, 2 * STEP),
        SETTINGS,
        labels={"driving_audio": "Sound of the driving clip"},
        preset="whole clip",
        video_frame_load_cap=0,
    )
    animate = graph.add(
        "LPV2V_AnimateDraft",
        (1140, 0),
        ANIMATE,
        source=(source, 0),
        driving=(driving, 0),
        settings=(settings, 0),
    )
    saver = _save(graph, (1480, 0), animate, "app")
    graph.extra |= {
        "linearMode": True,
        "linearData": {
            "inputs": [[source, "file"], [driving, "file"], [settings, "driving_audio"]],
            "outputs": [saver],
        },
    }


def _save(graph: Graph, at: tuple[int, int], animate: int, name: str, size: tuple[int, int] = SAVER) -> int:
    return graph.add(
        "SaveVideo",
        at,
        size,
        video=(animate, 2),
        filename_prefix=f"video/LivePortrait_{name}",
        format="auto",
        codec="auto",
    )


def blueprint(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a subgraph of Settings and Animate Draft, as ComfyUI saves a blueprint."""
    inner = Graph(schemas)
    settings = inner.add("LPV2V_Settings", (0, 0), SETTINGS)
    animate = inner.add("LPV2V_AnimateDraft", (430, 0), ANIMATE, settings=(settings, 0))
    ends = {
        "inputs": [
            (animate, "source"),
            (animate, "driving"),
            (settings, "preset"),
            (settings, "input_face_index"),
        ],
        "outputs": [(animate, "video"), (animate, "audio"), (animate, "report")],
    }
    links = [
        dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
        for link in inner.links
    ]
    ports: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}
    for side, items in ends.items():
        for port, (number, name) in enumerate(items):
            slots = inner.nodes[number - 1][side]
            slot = next(k for k, item in enumerate(slots) if item["name"] == name)
            link = len(links) + 1
            outside, inside = (-10, port), (number, slot)
            first, second = (outside, inside) if side == "inputs" else (inside, (-20, port))
            io_type = slots[slot]["type"]
            links.append(
                {
                    "id": link,
                    "origin_id": first[0],
                    "origin_slot": first[1],
                    "target_id": second[0],
                    "target_slot": second[1],
                    "type": io_type,
                }
            )
            if side == "inputs":
                slots[slot]["link"] = link
            else:
                slots[slot]["links"].append(link)
            ports[side].append(
                {
                    "id": _id(f"{side} {name}"),
                    "name": name,
                    "type": io_type,
                    "linkIds": [link],
                    "widget": name if "widget" in slots[slot] else None,
                }
            )
    widgets = [port.pop("widget") for port in (*ports["inputs"], *ports["outputs"])]
    number = _id("blueprint")
    values = {"preset": "none", "input_face_index": 0}
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [
            {
                "id": 1,
                "type": number,
                "pos": [0, 0],
                "size": [320, 200],
                "flags": {},
                "order": 0,
                "mode": 0,
                "title": BLUEPRINT.stem,
                "inputs": [
                    {"name": port["name"], "type": port["type"], "link": None}
                    | ({"widget": {"name": widget}} if widget else {})
                    for port, widget in zip(ports["inputs"], widgets, strict=False)
                ],
                "outputs": [
                    {"name": port["name"], "type": port["type"], "links": []} for port in ports["outputs"]
                ],
                "properties": {"proxyWidgets": [["-1", name] for name in values]},
                "widgets_values": list(values.values()),
            }
        ],
        "links": [],
        "version": 0.4,
        "definitions": {
            "subgraphs": [
                {
                    "id": number,
                    "version": 1,
                    "state": {
                        "lastGroupId": 0,
                        "lastNodeId": 2,
                        "lastLinkId": len(links),
                        "lastRerouteId": 0,
                    },
                    "revision": 0,
                    "config": {},
                    "name": BLUEPRINT.stem,
                    "inputNode": {"id": -10, "bounding": [-220, 0, 120, 120]},
                    "outputNode": {"id": -20, "bounding": [860, 0, 120, 100]},
                    **ports,
                    "widgets": [],
                    "nodes": inner.nodes,
                    "groups": [],
                    "links": links,
                    "extra": {},
                    "category": "Video Tools",
                    "description": "Animates the face in a video or picture with the motion of another video.",
                }
            ]
        },
        "extra": {
            "BlueprintDescription": "Animates the face in a video or picture with the motion of another video.",
            "BlueprintSearchAliases": ["lip sync", "talking head", "live portrait", "face animation"],
        },
    }


def _id(name: str) -> str:
    """Return an id that is the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"liveportrait-v2v/{name}"))


@dataclass(frozen=True)
class Template:
    """A template: what draws its graph, and what its thumbnail shows.

    Attributes:
        source: the example that is animated.
        faces: numbers of the faces that are.
        made: the draft engine makes what the graph does; otherwise the picture shows no result.
    """

    draw: Callable[[Graph], None]
    source: str
    faces: tuple[int, ...] = (0,)
    made: bool = True


GRAPHS = {
    "quick start": Template(quick_start, SOURCE),
    "animate a picture": Template(picture, PICTURE),
    "choose a face": Template(choose_face, TWO_FACES, (1,)),
    "two faces": Template(two_faces, TWO_FACES, (0, 1)),
    "restore a face": Template(restore, SOURCE),
    "own GPU": Template(networks, SOURCE, made=False),
    "animate an animal": Template(animal, CAT, made=False),
    "app": Template(app, SOURCE),
}
THUMBNAIL, INSET = (640, 400), 200
_SHOWN_SECONDS = Fraction(11, 30)
"""A moment in which the example's mouth is wide open."""


def thumbnail(template: Template) -> Image.Image:
    """Return the picture of a template: the driving face and the source, and beside them the result."""
    from liveportrait_v2v.engines import create_engine
    from liveportrait_v2v.plan import Role
    from liveportrait_v2v.run import animate

    driving = Clip(EXAMPLES / DRIVING)
    source = _frame(Clip(EXAMPLES / template.source), _SHOWN_SECONDS)
    ins = [("driving", _frame(driving, _SHOWN_SECONDS)), ("source", source)]
    picture = Image.new("RGB", THUMBNAIL, "#16181d")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    width, height = THUMBNAIL
    for k, (name, inset) in enumerate(ins):
        small = ImageOps.pad(inset, (INSET, height // 2), color="#16181d")
        picture.paste(small, (0, k * height // 2))
        draw.rectangle((0, (k + 1) * height // 2 - 24, INSET, (k + 1) * height // 2), "#16181d")
        draw.text((INSET / 2, (k + 1) * height // 2 - 12), name, "#ffffff", font, anchor="mm")
    place = (width - INSET, height)
    if template.made:
        frames: list[torch.Tensor] = []
        result = animate(
            EXAMPLES / template.source,
            roles=[Role(driving, source_face=number) for number in template.faces],
            engine=create_engine("draft"),
            sink=lambda rendered: frames.extend(rendered.frames),
        )
        shown = Image.fromarray(frames[round(_SHOWN_SECONDS * result.rate)].numpy())
        wide = template.source == TWO_FACES
        shown = ImageOps.pad(shown, place, color="#16181d") if wide else ImageOps.fit(shown, place)
        picture.paste(shown, (INSET, 0))
    else:
        text = "LivePortrait networks\non your own GPU"
        draw.text(
            (INSET + place[0] / 2, height / 2),
            text,
            "#ffffff",
            ImageFont.load_default(34),
            "mm",
            align="center",
        )
    return picture


def _frame(clip: Clip, seconds: Fraction) -> Image.Image:
    number = 0 if clip.info.is_still else round(seconds * clip.info.rate)
    return Image.fromarray(next(clip.chunks(1, skip=number)).frames[0].numpy())


def main() -> None:
    """Write all of them, and a thumbnail for each."""
    import standin_comfyui as standin

    with tempfile.TemporaryDirectory() as folder:
        host = standin.Host(Path(folder))
        (host.base / "input").mkdir()
        sys.modules.update(standin.install(host))
        schemas = {
            node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in standin.nodes_of(standin.load_pack())
        }
    TEMPLATES.mkdir(exist_ok=True)
    for name, template in GRAPHS.items():
        graph = Graph(schemas)
        template.draw(graph)
        path = TEMPLATES / f"LivePortrait - {name}.json"
        _write(path, graph.workflow(name))
        thumbnail(template).save(path.with_suffix(".jpg"), quality=85)
    BLUEPRINT.parent.mkdir(exist_ok=True)
    _write(BLUEPRINT, blueprint(schemas))


def _write(path: Path, workflow: dict[str, Any]) -> None:
    path.write_text(json.dumps(workflow, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
