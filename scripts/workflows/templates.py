"""What is in each template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from liveportrait_v2v.engines.liveportrait.download import PUBLISHED

from .graph import Graph

SOURCE, DRIVING, TWO_FACES, PICTURE, CAT = (
    f"example_{name}" for name in ("source.mp4", "driving.mp4", "two_faces.mp4", "picture.jpg", "cat.jpg")
)
LOADER, ANIMATE, SAVER, SETTINGS = (350, 640), (290, 330), (340, 340), (300, 350)
NARROW_LOADER, NARROW_ANIMATE, NARROW_SAVER = (310, 610), (270, 330), (280, 300)
"""For graphs of six columns: Nodes 2.0 of ComfyUI 0.17 draws all a fifth larger, and opens 1820 pixels readably."""
BELOW = 680
"""Where notes begin: a node that has run is that high, with its report and the last picture."""
STEP = 60
"""A column begins that much lower than the one before it, so that wires to nodes behind it pass above."""


@dataclass(frozen=True)
class Template:
    """A template: what draws its graph, and what its thumbnail shows.

    Attributes:
        source: the example that is animated.
        faces: numbers of the faces that are.
        made: the draft engine makes what the graph does; otherwise the picture shows no result.
        edited: sliders that edit the source, in place of a driving clip.
    """

    draw: Callable[[Graph], None]
    source: str
    faces: tuple[int, ...] = (0,)
    made: bool = True
    edited: Mapping[str, float] | None = None


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
        (790, BELOW),
        (680, 260),
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
    source = graph.add("LoadImage", (0, 0), (340, 440), "Source: whose face", image=PICTURE)
    driving = graph.add(
        "LPV2V_LoadVideo", (365, STEP), NARROW_LOADER, "Driving: motion and voice", file=DRIVING
    )
    animate = graph.add(
        "LPV2V_AnimateDraft", (700, 0), NARROW_ANIMATE, source=(source, 0), driving=(driving, 0)
    )
    larger = graph.add(
        "ImageScaleBy", (995, 180), (255, 90), image=(animate, 0), upscale_method="lanczos", scale_by=2
    )
    video = graph.add(
        "CreateVideo", (1270, 0), (220, 110), images=(larger, 0), audio=(animate, 1), fps=(animate, 3)
    )
    graph.add(
        "SaveVideo",
        (1520, 0),
        NARROW_SAVER,
        video=(video, 0),
        filename_prefix="video/LivePortrait_picture",
        format="auto",
        codec="auto",
    )
    graph.add(
        "MarkdownNote",
        (700, BELOW),
        (1100, 120),
        "A picture that moves, and an upscaler behind it",
        text="""\
A picture lasts as long as the driving clip and has its **sound**.

**images** go through any image node, here one that doubles their size, and **Create Video** puts frames, **fps** and \
**audio** together again. Put a restorer, a style or a detailer there.
""",
    )


def choose_face(graph: Graph) -> None:
    """Draw the choice of one of two faces."""
    driving = graph.add("LPV2V_LoadVideo", (0, 0), NARROW_LOADER, "Driving: whose motion", file=DRIVING)
    source = graph.add("LPV2V_LoadVideo", (340, STEP), NARROW_LOADER, "Source: two people", file=TWO_FACES)
    graph.add("LPV2V_PreviewFaces", (690, 2 * STEP), (460, 440), clip=(source, 0))
    settings = graph.add("LPV2V_Settings", (850, BELOW), SETTINGS, input_face_index=1)
    animate = graph.add(
        "LPV2V_AnimateDraft",
        (1210, 0),
        NARROW_ANIMATE,
        source=(source, 0),
        driving=(driving, 0),
        settings=(settings, 0),
    )
    _save(graph, (1520, 0), animate, "face", NARROW_SAVER)
    graph.add(
        "MarkdownNote",
        (1520, 440),
        (290, 250),
        "Which of several faces",
        text="""\
**Preview Faces** numbers the faces, from large to small, and shows the square that is cropped.

Put the number of the one to animate into **input_face_index** of LivePortrait Settings. The others stay as they are.
""",
    )


def two_faces(graph: Graph) -> None:
    """Draw two faces with a driving clip each."""
    source = graph.add("LPV2V_LoadVideo", (0, 0), NARROW_LOADER, "Source: two people", file=TWO_FACES)
    first = graph.add(
        "LPV2V_LoadVideo", (320, STEP), NARROW_LOADER, "Driving: motion of face 0", file=DRIVING
    )
    second = graph.add(
        "LPV2V_LoadVideo",
        (640, 2 * STEP),
        NARROW_LOADER,
        "Driving: motion of face 1",
        file=DRIVING,
        skip_first_frames=20,
    )
    roles = graph.add("LPV2V_AnotherFace", (965, 2 * STEP), (270, 190), driving=(second, 0), source_face=1)
    animate = graph.add(
        "LPV2V_AnimateDraft",
        (1250, 0),
        (260, 330),
        source=(source, 0),
        driving=(first, 0),
        roles=(roles, 0),
    )
    _save(graph, (1535, 0), animate, "two_faces", NARROW_SAVER)
    graph.add(
        "MarkdownNote",
        (1535, 460),
        (280, 390),
        "Two faces, two drivers, one pass",
        text="""\
Each face of the source takes over the motion of a driving clip of its own. **Preview Faces** shows their numbers.

Animate Draft itself leads face 0. **Another Face** leads face 1, and a chain of these nodes leads more. Length and \
sound follow the settings of the Animate node. *Animate Local* takes **roles** too.
""",
    )


def restore(graph: Graph) -> None:
    """Draw an animated face's way through another node and back into its frames."""
    source = graph.add("LPV2V_LoadVideo", (0, 0), NARROW_LOADER, "Source: whose face", file=SOURCE)
    driving = graph.add("LPV2V_LoadVideo", (330, STEP), NARROW_LOADER, "Driving: whose motion", file=DRIVING)
    animate = graph.add(
        "LPV2V_AnimateDraft", (670, 0), NARROW_ANIMATE, source=(source, 0), driving=(driving, 0)
    )
    crops = graph.add("LPV2V_CropFaces", (970, 2 * STEP), (250, 320), clip=(animate, 2))
    restored = graph.add(
        "ImageSharpen",
        (1250, 220),
        (250, 130),
        "Your restorer here",
        image=(crops, 0),
        sharpen_radius=1,
        sigma=1.0,
        alpha=0.3,
    )
    pasted = graph.add(
        "LPV2V_PasteBack",
        (1530, 0),
        (250, 190),
        clip=(animate, 2),
        crops=(restored, 0),
        placement=(crops, 2),
    )
    _save(graph, (1530, 600), pasted, "restored", NARROW_SAVER)
    graph.add(
        "MarkdownNote",
        (680, BELOW),
        (800, 140),
        "Work on the face before it is pasted back",
        text="""\
**Crop Faces** cuts the face out of each frame, and **Paste Back** puts it where it was, at whatever size it comes. \
Sharpening in between stands for your own restorer, upscaler or detailer.

With *Animate Local* leave Crop Faces out: its **crops** are the networks' own pictures of 512x512. Link them to the \
restorer, and its **placement** and **images** to Paste Back: nothing is compressed on the way.
""",
    )


SHOWN = {"smile": 0.9, "rotate_yaw": -8.0, "rotate_roll": 5.0, "eyebrow": 6.0, "aaa": 25.0}
"""Sliders of the expression in the template and its thumbnail."""


def expression(graph: Graph) -> None:
    """Draw a picture that is edited by sliders, over time."""
    source = graph.add("LoadImage", (0, 0), (340, 440), "Source: whose face", image=PICTURE)
    edited = graph.add("LPV2V_Expression", (370, STEP), (360, 840), clip=(source, 0), **SHOWN)
    keyed = graph.add("LPV2V_ExpressionKeyframes", (760, 2 * STEP), (360, 400), expression_1=(edited, 0))
    animate = graph.add(
        "LPV2V_AnimateDraft", (1150, 0), (290, 350), source=(source, 0), expression=(keyed, 0)
    )
    _save(graph, (1470, 0), animate, "expression")
    graph.add(
        "MarkdownNote",
        (760, 620),
        (690, 210),
        "Move a slider: the face follows at once",
        text="""\
**Expression** shows the face while you move its sliders, without a run. Choose your own picture in **Source**.

**Expression Keyframes** says when: 0 is the face's own expression, 1 the one linked to *expression_1*. Link more, or \
write channels: **1.2 blink=-20**. **Run** makes the clip.

For a picture in place of a clip, link *expression* of Expression straight to Animate Draft. A video keeps its motion, \
and *driving* adds another one's. *Animate Local* takes expressions too.
""",
    )


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
        (790, BELOW),
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
        (1130, BELOW),
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


GRAPHS = {
    "quick start": Template(quick_start, SOURCE),
    "animate a picture": Template(picture, PICTURE),
    "choose a face": Template(choose_face, TWO_FACES, (1,)),
    "two faces": Template(two_faces, TWO_FACES, (0, 1)),
    "restore a face": Template(restore, SOURCE),
    "edit an expression": Template(expression, PICTURE, edited=SHOWN),
    "own GPU": Template(networks, SOURCE, made=False),
    "animate an animal": Template(animal, CAT, made=False),
    "app": Template(app, SOURCE),
}
