"""What a user can set: the documented parameters of LivePortrait video-to-video, and what only local engines can do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from .errors import SettingsError

FACE_ORDERS = ("large-small", "small-large", "left-right", "right-left", "top-bottom", "bottom-top")


@dataclass(frozen=True)
class Rule:
    """What one parameter may be, and what it means.

    Attributes:
        type: bool, int, float or str. A float parameter takes whole numbers too; bool is never a number.
        help: one or two sentences for tooltips, command line and documentation.
        low, high: inclusive bounds of a number, None where there is none.
        choices: the values of a str parameter.
    """

    type: type
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the rule in words, as in errors."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.type is int else "a number"
        if self.high is None:
            return f"{kind} of at least {self.low:g}"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def check(self, name: str, value: Any) -> Any:
        """Return the value as the parameter's type, or raise SettingsError with name, rule and value."""
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type or not self._allows(value):
            raise SettingsError(f"{name} must be {self.text()}, got {value!r}")
        return value

    def parse(self, name: str, text: str) -> Any:
        """Return the value of a word on the command line.

        Raises:
            SettingsError: the word is not of the parameter's type, or outside its range.
        """
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        try:
            value = words[text.lower()] if self.type is bool else self.type(text)
        except (KeyError, ValueError):
            value = text
        return self.check(name, value)

    def _allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.type in (int, float):
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            return math.isfinite(value) and low <= value <= high
        return True


def _param(
    kind: type,
    default: Any,
    meaning: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"rule": Rule(kind, meaning, low, high, choices)})


C = TypeVar("C", bound="_Checked")


@dataclass(frozen=True)
class _Checked:
    """A frozen set of parameters, each held to its rule when it is made."""

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            object.__setattr__(self, name, rule.check(name, getattr(self, name)))

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """Return the rule of every parameter, by name, in the documented order."""
        return {item.name: item.metadata["rule"] for item in fields(cls)}

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """Make settings from a mapping; what it leaves out has its default.

        Raises:
            SettingsError: an unknown name, a wrong type, or a value outside its range.
        """
        unknown = [name for name in values if name not in cls.rules()]
        if unknown:
            raise SettingsError(f"unknown parameter {unknown[0]!r}; known are {', '.join(cls.rules())}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a plain dict of bool, int, float and str, in the documented order."""
        return {name: getattr(self, name) for name in self.rules()}


@dataclass(frozen=True)
class AnimationSettings(_Checked):
    """The parameters of the hosted model `live-portrait-video-to-video`, with its names, ranges and defaults.

    Every engine receives one of these. What the words mean when an engine runs locally:

    dsize: side in pixels of the square into which the face is cropped. Neither the size nor the place of the
        face in the result depends on it. The draft engine computes its warp on a grid of dsize / 2 nodes a side.
    scale: side of the crop square divided by the longer side of the face's box (from the brows to the chin).
    vx_ratio, vy_ratio: shift of the crop along the face's own x and y axis, in sides of the crop square;
        a negative vy_ratio moves the square up.
    input_face_index, drive_face_index: number of the face in the source and in the driving clip; faces are
        numbered in the first frame that shows any, from large to small unless `MotionOptions.face_order` says
        otherwise, and keep their number through the clip.
    crop_drive_face: cut the driving frames to the driving face before the networks read them. The draft engine
        reads landmarks, which are the same either way.
    lip_zero: start from closed lips. Applied to source lips whose opening (inner height / width of the mouth)
        is at least lip_zero_threshold.
    eye_retargeting, lip_retargeting: the target's eyes or lips get the driving face's own openness instead of
        its change since the first frame; other motion is kept. eyes_retargeting_multiplier and
        lip_retargeting_multiplier scale that target alone.
    stitching: the border of the crop and the shoulders stay where they are. Without it the whole square moves
        with the head.
    relative: motion since the first driving frame is added to the source. False: the driving face's expression
        and head rotation are taken as they are.
    mismatch_method: what ends the result when the clips differ in length. `cut` ends with the shorter clip;
        `circle` repeats the shorter one from its start until the longer one ends; `none` holds the shorter
        one's last frame until the longer one ends.
    video_frame_load_cap: the most frames read from the driving clip, 0 = all.
    driving_audio: True takes the driving clip's audio, False the source clip's.
    base64: always False, since a result is a file; it is here because the hosted model documents it.

    The result has the source's frame rate. A still as source takes the driving clip's rate and length.

    Raises:
        SettingsError: names the parameter, its rule and the value.
    """

    dsize: int = _param(
        int,
        512,
        "Side in pixels of the square crop of the face. Lower is faster and coarser; leave it at 512 for results.",
        64,
        2048,
    )
    scale: float = _param(
        float,
        2.3,
        "Crop size relative to the face: larger shows more around the face. Raise it where hair or chin are cut, "
        "lower it where a neighbour comes into the square.",
        1,
        4,
    )
    vx_ratio: float = _param(
        float,
        0.0,
        "Shifts the crop along the face's x axis, in crop sizes. For faces in profile, whose crop sits off centre.",
        -1,
        1,
    )
    vy_ratio: float = _param(
        float,
        -0.125,
        "Shifts the crop along the face's y axis, in crop sizes; negative is up. The default leaves room for the "
        "forehead.",
        -1,
        1,
    )
    input_face_index: int = _param(
        int,
        0,
        "Which face of the source clip is animated. The node Preview Faces, or the command `faces`, shows the numbers.",
        0,
        5,
    )
    drive_face_index: int = _param(
        int,
        0,
        "Which face of the driving clip leads. The node Preview Faces, or the command `faces`, shows the numbers.",
        0,
        5,
    )
    crop_drive_face: bool = _param(
        bool,
        False,
        "Crop the driving clip to its face as well. For driving clips whose face is small or off centre.",
    )
    lip_zero: bool = _param(
        bool,
        True,
        "Close the source's lips before animating. Switch it off where the source's own open mouth shall stay.",
    )
    lip_zero_threshold: float = _param(
        float,
        0.03,
        "Close only lips that are open by at least this ratio of the mouth's width. Raise it where lips close that "
        "are hardly open.",
        0,
        5,
    )
    eye_retargeting: bool = _param(
        bool, False, "Transfer the driving eyes' own openness. For blinks that don't quite close."
    )
    eyes_retargeting_multiplier: float = _param(
        float,
        1.0,
        "Scales the openness that eye retargeting aims at; without that it does nothing.",
        0.01,
        10,
    )
    lip_retargeting: bool = _param(
        bool, False, "Transfer the driving lips' own openness. For speech that shall follow closely."
    )
    lip_retargeting_multiplier: float = _param(
        float,
        1.0,
        "Scales the openness that lip retargeting aims at; without that it does nothing.",
        0.01,
        10,
    )
    stitching: bool = _param(
        bool,
        True,
        "Keep the shoulders and the crop's border in place. Switch it off only to look at the crop's raw motion.",
    )
    relative: bool = _param(
        bool,
        True,
        "Motion relative to the first driving frame, which should look neutral. Off: the driving face's expression and "
        "head rotation as they are.",
    )
    mismatch_method: str = _param(
        str,
        "cut",
        "Clips of unequal length: cut ends with the shorter, circle repeats it, none holds its last frame.",
        choices=("cut", "circle", "none"),
    )
    video_frame_load_cap: int = _param(
        int, 120, "Most frames to read from the driving clip; 0 = all. Keep it low while you try settings.", 0
    )
    driving_audio: bool = _param(
        bool,
        False,
        "Use the driving clip's audio instead of the source's. For speech that comes from the driving clip.",
    )
    base64: bool = _param(
        bool,
        False,
        "Always false, since results are files; it is here because the hosted model documents it.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base64:
            raise SettingsError("base64 must be false, got True: the result is a file, never text in JSON")


@dataclass(frozen=True)
class Preset:
    """Parameters of AnimationSettings that belong together.

    Attributes:
        help: what it is for.
        values: what it sets, by parameter; all others are left alone.
    """

    help: str
    values: Mapping[str, Any]


PRESETS = {
    "none": Preset("sets nothing", {}),
    "quick look": Preset("a small crop and two seconds", {"dsize": 256, "video_frame_load_cap": 48}),
    "whole clip": Preset("all frames of the driving clip", {"video_frame_load_cap": 0}),
    "lip sync": Preset(
        "the driving clip's speech with its audio",
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
"""Presets by name. What a preset sets takes the place of what the single parameters say."""


@dataclass(frozen=True)
class MotionOptions(_Checked):
    """What local engines can do beyond the documented parameters. The defaults fit a graph made without them.

    pairing: `time` shows driving and source frames of the same moment together, whatever the two frame rates;
        `frame` pairs the n-th with the n-th, as the hosted model is believed to do.
    region: which part of the motion is transferred: all, expression without head motion (`exp`), head motion
        alone (`pose`), lips with jaw (`lip`), eyes with gaze (`eyes`).
    driving_multiplier: strength of the motion, 1 = as it is.
    driving_option: how relative motion is carried over. `pose-friendly` applies the head's rotation and the
        expression one by one to the source face. `expression-friendly` takes the whole change of the driving
        keypoints on the source's face, in proportion to the volumes of the two. The draft engine has only the first.
    reference_frame: the driving frame, counted from 0, that relative motion starts from: best one with a neutral
        face. Where it shows no face, the next one that does.
    smoothing: observation variance of the random-walk smoother over the motion (process variance 1e-5);
        0 = off, 3e-6 leaves a frame 67 % of its own weight, 1e-5 45 %, 1e-4 16 %. It is meant for 30 frames a
        second; fewer frames are smoothed less.
    source_motion: `replace` lets the driving face's motion take the place of the source face's own;
        `add` adds it to what the source's face does.
    source_eye_retargeting: the source's own blinks are kept out of the result: its eyes stay as open as in the
        first frame. The draft engine does without it, which is the same where the driving motion replaces theirs.
    face_order: how faces are numbered in the first frame that shows any.

    Raises:
        SettingsError: names the parameter, its rule and the value.
    """

    pairing: str = _param(
        str,
        "time",
        "Pair driving and source frames by time, whatever their frame rates, or frame by frame.",
        choices=("time", "frame"),
    )
    region: str = _param(
        str,
        "all",
        "Which part of the motion is transferred: all of it, the expression, the head's pose, the lips or the eyes.",
        choices=("all", "exp", "pose", "lip", "eyes"),
    )
    driving_multiplier: float = _param(
        float,
        1.0,
        "Strength of the motion; 1 = as it is. Lower it for a calmer result, raise it for a livelier one.",
        0,
        3,
    )
    driving_option: str = _param(
        str,
        "pose-friendly",
        "Carry head turn and expression over one by one, or the keypoints' change as a whole. expression-friendly can "
        "help where the two faces differ much in size or shape.",
        choices=("pose-friendly", "expression-friendly"),
    )
    reference_frame: int = _param(
        int,
        0,
        "The driving frame that relative motion starts from. Choose one with a neutral face if the first is not.",
        0,
    )
    smoothing: float = _param(
        float,
        3e-6,
        "Smoothing over time; 0 = off, each step of ten is much stronger. Raise it where the result trembles.",
        0,
        1,
    )
    source_motion: str = _param(
        str,
        "replace",
        "Driving motion replaces the source face's own motion, or adds to it. Add keeps the source's acting.",
        choices=("replace", "add"),
    )
    source_eye_retargeting: bool = _param(
        bool,
        False,
        "Keep the source's own blinks out of the result. For a source that blinks where the driving clip does not.",
    )
    face_order: str = _param(
        str,
        "large-small",
        "How faces are numbered in the first frame that shows any: by size or by place.",
        choices=FACE_ORDERS,
    )
