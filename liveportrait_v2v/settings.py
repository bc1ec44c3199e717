"""Parameters of LivePortrait video-to-video: the documented ones, and options of local engines.

Each parameter is described once, here. `make docs` derives tables, help pages and English node texts from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from .errors import SettingsError
from .text import quoted

FACE_ORDERS = ("large-small", "small-large", "left-right", "right-left", "top-bottom", "bottom-top")

AUTO = -1
"""Value of `reference_frame` that stands for the most neutral frame."""

Value = bool | int | float | str


@dataclass(frozen=True)
class Rule:
    """Type, range and meaning of one parameter.

    Attributes:
        type: bool, int, float or str. A float parameter accepts integers too; bool is never a number.
        help: meaning and use in one or two sentences, for tooltips, command line and documentation.
        details: further facts, for the documentation only.
        low, high: inclusive bounds of a number, None where there is none.
        choices: the values of a str parameter.
        words: names of some values of an int parameter, which stand for them in text and in dicts.
    """

    type: type[Value]
    help: str
    details: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict, hash=False)

    def text(self) -> str:
        """Return the rule as a phrase for errors, such as "a number from 1 to 4"."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.type is int else "a number"
        span = f"of at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"
        return ", or ".join([f"{kind} {span}", *self.words])

    def check(self, name: str, value: object) -> Value:
        """Return the value as the parameter's type.

        Raises:
            SettingsError: wrong type or out of range; names the parameter, its rule and the value.
        """
        if isinstance(value, str):
            value = self.words.get(value, value)
        try:
            if self.type is float and type(value) is int:
                value = float(value)
            if isinstance(value, Value) and type(value) is self.type and self._allows(value):
                return value
        except OverflowError:  # an integer beyond the range of floats
            pass
        raise SettingsError(f"{name} must be {self.text()}, got {quoted(value)}")

    def parse(self, name: str, text: str) -> Value:
        """Convert text from the command line to a value.

        Raises:
            SettingsError: the text is not of the parameter's type, or out of range.
        """
        value: Value
        try:
            value = _SWITCH[text.lower()] if self.type is bool else self.type(text)
        except (KeyError, ValueError):
            value = text
        return self.check(name, value)

    def _allows(self, value: Value) -> bool:
        if isinstance(value, str):
            return value in self.choices
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return math.isfinite(value) and low <= value <= high


_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

_NO_WORDS: Mapping[str, int] = {}

T = TypeVar("T", bool, int, float, str)


def _param(
    kind: type[T],
    default: T,
    summary: str,
    low: float | None = None,
    high: float | None = None,
    *,
    details: str = "",
    choices: tuple[str, ...] = (),
    words: Mapping[str, int] = _NO_WORDS,
) -> T:
    """Return a dataclass field with the rule in its metadata; `summary` becomes `Rule.help`."""
    return field(default=default, metadata={"rule": Rule(kind, summary, details, low, high, choices, words)})


C = TypeVar("C", bound="_Checked")


@dataclass(frozen=True)
class _Checked:
    """Frozen set of parameters, checked against their rules on construction."""

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            object.__setattr__(self, name, rule.check(name, getattr(self, name)))

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """Return the rules by parameter name, in the documented order."""
        return {item.name: item.metadata["rule"] for item in fields(cls)}

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """Create settings from a mapping; missing parameters get their defaults.

        Raises:
            SettingsError: an unknown name, a wrong type, or a value out of range.
        """
        unknown = [name for name in values if name not in cls.rules()]
        if unknown:
            raise SettingsError(f"unknown parameter {quoted(unknown[0])}; known are {', '.join(cls.rules())}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict of bool, int, float and str, in the documented order."""
        return {name: getattr(self, name) for name in self.rules()}


def _list_parameters(kind: type[C]) -> type[C]:
    """Append the parameters and their meaning to the class's docstring."""
    lines = [
        f"    {name}: {' '.join(filter(None, (rule.help, rule.details)))}"
        for name, rule in kind.rules().items()
    ]
    kind.__doc__ = "\n".join([kind.__doc__ or "", "Parameters:", *lines])
    return kind


@_list_parameters
@dataclass(frozen=True)
class AnimationSettings(_Checked):
    """Parameters of the hosted model `live-portrait-video-to-video`, with its names, ranges and defaults.

    Every engine accepts them. The result has the source's frame rate; a still source takes the driving clip's
    frame rate and length.

    Raises:
        SettingsError: a wrong type or a value out of range; names the parameter, its rule and the value.
    """

    dsize: int = _param(
        int,
        512,
        "Side of the square face crop in pixels. Lower is faster but coarser; use 512 for final results.",
        64,
        2048,
        details="Neither the size nor the position of the face in the result depends on it. The draft engine computes "
        "its warp on a grid of dsize / 2 nodes per side.",
    )
    scale: float = _param(
        float,
        2.3,
        "Size of the crop relative to the face; larger includes more around the face. Raise it if hair or chin are "
        "cut off, lower it to leave more of the surroundings alone.",
        1,
        4,
        details="It is the side of the crop square divided by the longer side of the face's bounding box, from the "
        "brows to the chin.",
    )
    vx_ratio: float = _param(
        float,
        0.0,
        "Shift of the crop along the face's x axis, in sides of the crop. For faces in profile, whose crop is off "
        "centre.",
        -1,
        1,
    )
    vy_ratio: float = _param(
        float,
        -0.125,
        "Shift of the crop along the face's y axis, in sides of the crop; negative is up. The default leaves room for "
        "the forehead.",
        -1,
        1,
        details="Change it if the forehead or the chin is outside the crop.",
    )
    input_face_index: int = _param(
        int,
        0,
        "Number of the source face to animate; 0 is the largest of the first frame that shows any.",
        0,
        5,
        details="Faces are numbered in the first frame that shows any, from large to small unless the motion option "
        "`face_order` is set, and keep their number through the clip. The node Preview Faces and the command `faces` "
        "show the numbers.",
    )
    drive_face_index: int = _param(
        int,
        0,
        "Number of the driving face; 0 is the largest of the first frame that shows any.",
        0,
        5,
        details="Driving faces are numbered like source faces.",
    )
    crop_drive_face: bool = _param(
        bool,
        False,
        "Crop the driving clip to its face as well. For driving clips whose face is small or off centre.",
        details="The networks then read the cropped driving frames. It does not affect the draft engine, which reads "
        "landmarks.",
    )
    lip_zero: bool = _param(
        bool,
        True,
        "Close the source's lips before animating. Turn off to keep the source's open mouth.",
    )
    lip_zero_threshold: float = _param(
        float,
        0.03,
        "Close only lips whose opening is at least this fraction of the mouth's width. Raise it if lips are closed "
        "that are barely open.",
        0,
        5,
        details="The opening is the inner height of the mouth. Without `lip_zero` it has no effect.",
    )
    eye_retargeting: bool = _param(
        bool,
        False,
        "Transfer the driving eyes' opening itself instead of its change. For blinks that don't quite close.",
        details="Other motion is unaffected.",
    )
    eyes_retargeting_multiplier: float = _param(
        float,
        1.0,
        "Scales the target opening of eye retargeting; without that it has no effect.",
        0.01,
        10,
        details="Raise it if the eyes are too narrow, lower it if they are too wide.",
    )
    lip_retargeting: bool = _param(
        bool,
        False,
        "Transfer the driving lips' opening itself instead of its change. For tight lip sync.",
        details="Other motion is unaffected.",
    )
    lip_retargeting_multiplier: float = _param(
        float,
        1.0,
        "Scales the target opening of lip retargeting; without that it has no effect.",
        0.01,
        10,
        details="Raise it if the mouth opens too little, lower it if it opens too far.",
    )
    stitching: bool = _param(
        bool,
        True,
        "Keep the shoulders and the crop's border in place. Turn off only to inspect the crop's raw motion.",
        details="Without it the whole square moves with the head.",
    )
    relative: bool = _param(
        bool,
        True,
        "Transfer motion relative to the first driving frame, which should show a neutral face. Off: take the driving "
        "face's expression and head rotation as they are.",
        details="Turn it off if the driving clip does not start with a neutral face. On local engines the motion "
        "option `reference_frame` can choose another frame instead; -1 takes the most neutral one.",
    )
    mismatch_method: str = _param(
        str,
        "cut",
        "Clips of unequal length: cut ends with the shorter, circle repeats it, none holds its last frame.",
        details="With `circle` and `none` the result ends with the longer clip: use one of them if it is too short.",
        choices=("cut", "circle", "none"),
    )
    video_frame_load_cap: int = _param(
        int,
        120,
        "Maximum number of frames to read from the driving clip; 0 = all. Keep it low while trying settings.",
        0,
        details="The default is four seconds at 30 frames a second. Set it to 0 for the final run.",
    )
    driving_audio: bool = _param(
        bool,
        False,
        "Use the driving clip's audio instead of the source's. For speech that comes from the driving clip.",
        details="A still source has no audio, and its result takes the driving clip's in any case: see the motion "
        "option `still_audio`.",
    )
    base64: bool = _param(
        bool,
        False,
        "Send the result over HTTP as base64 text instead of a URL. The file is the same; leave it off unless a "
        "result must have no public URL.",
        details="A server answers with the text, the Segmind engine turns it into the file again, and the command's "
        "`--json` has it in addition to the file.",
    )


@dataclass(frozen=True)
class Preset:
    """Parameters of AnimationSettings that belong together.

    Attributes:
        help: its purpose.
        values: the parameters that it sets, by name; all others are unaffected.
    """

    help: str
    values: Mapping[str, Any]


PRESETS = {
    "none": Preset("sets nothing", {}),
    "quick look": Preset("a small crop and two seconds", {"dsize": 256, "video_frame_load_cap": 48}),
    "whole clip": Preset("all frames of the driving clip", {"video_frame_load_cap": 0}),
    "lip sync": Preset(
        "speech and audio of the driving clip",
        {"lip_zero": True, "lip_retargeting": True, "relative": True, "driving_audio": True},
    ),
    "performance": Preset(
        "speech, eyes and audio of the whole driving clip",
        {
            "lip_zero": True,
            "eye_retargeting": True,
            "lip_retargeting": True,
            "relative": True,
            "video_frame_load_cap": 0,
            "driving_audio": True,
        },
    ),
}
"""Presets by name. The values of a preset override those of the single parameters."""


@_list_parameters
@dataclass(frozen=True)
class MotionOptions(_Checked):
    """Options of local engines beyond the documented parameters.

    With the defaults a run behaves as if no options were given. An engine raises SettingsError for a value
    other than the default of an option that it does not support.

    Raises:
        SettingsError: a wrong type or a value out of range; names the parameter, its rule and the value.
    """

    pairing: str = _param(
        str,
        "time",
        "Pair driving and source frames by time, whatever their frame rates, or frame by frame.",
        details="`time` pairs frames of the same moment. `frame` pairs the n-th with the n-th, as the hosted model is "
        "believed to do: for two clips that match frame for frame.",
        choices=("time", "frame"),
    )
    region: str = _param(
        str,
        "all",
        "Part of the motion to transfer: all of it, the expression, the head's pose, the lips or the eyes.",
        details="`exp` is the expression without head motion, `pose` head motion alone, `lip` lips and jaw, `eyes` "
        "eyes and gaze. `lip` changes only the speech; `pose` and `eyes` leave the mouth alone.",
        choices=("all", "exp", "pose", "lip", "eyes"),
    )
    driving_multiplier: float = _param(
        float,
        1.0,
        "Strength of the motion; 1 = unchanged. Lower it for a calmer result, raise it for a livelier one.",
        0,
        3,
    )
    driving_option: str = _param(
        str,
        "pose-friendly",
        "Transfer head rotation and expression separately, or the change of the keypoints as a whole. "
        "expression-friendly can help if the two faces differ much in size or shape.",
        details="It applies to relative motion. `pose-friendly` applies the head's rotation and the expression to the "
        "source face separately; `expression-friendly` applies the whole change of the driving keypoints, in "
        "proportion to the volumes of the two faces. The draft engine supports only `pose-friendly`.",
        choices=("pose-friendly", "expression-friendly"),
    )
    reference_frame: int = _param(
        int,
        0,
        "Driving frame that relative motion starts from, counted from 0, ideally one with a neutral expression. "
        "-1 = auto: the most neutral and frontal one.",
        AUTO,
        details="If it shows no face, the next frame that does is used. `auto` can be written for -1; it compares the "
        "frames that are read by eyes, mouth, brows and turn of the head, and the result says which one it took. So "
        "the driving clip is decoded once more.",
        words={"auto": AUTO},
    )
    smoothing: float = _param(
        float,
        3e-6,
        "Smoothing over time; 0 = off, every factor of 10 is much stronger. Raise it if the result jitters.",
        0,
        1,
        details="Try 0.00003 or 0.0003; too much blurs blinks and speech. The value is the observation variance of the "
        "random-walk smoother over the motion (process variance 1e-5): at 3e-6 a frame keeps 67 % weight, at 1e-5 "
        "45 %, at 1e-4 16 %. It is meant for 30 frames a second; lower frame rates are smoothed less.",
    )
    source_motion: str = _param(
        str,
        "replace",
        "Replace the source face's own motion with the driving motion, or add the driving motion to it. add keeps the "
        "source's acting.",
        choices=("replace", "add"),
    )
    source_eye_retargeting: bool = _param(
        bool,
        False,
        "Keep the source's own blinks out of the result. For a source that blinks where the driving clip does not.",
        details="The source's eyes stay as open as in its first frame. The draft engine does not support it; where "
        "the driving motion replaces the source's, its result is the same without.",
    )
    face_order: str = _param(
        str,
        "large-small",
        "Order in which faces are numbered in the first frame that shows any: by size or by position.",
        details="It holds for the source and the driving clip alike. Number by position if the faces are similar in "
        "size.",
        choices=FACE_ORDERS,
    )
    still_audio: bool = _param(
        bool,
        True,
        "Let the result of a still source have the driving clip's audio, although driving_audio is off. Off: it is "
        "silent.",
        details="It has no effect on the result of a video.",
    )
