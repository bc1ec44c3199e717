"""Named index sets of the 478-point face mesh.

"Left" and "right" are the picture's: the eye at the smaller x of an upright face is the left one.
"""

from __future__ import annotations

# Clockwise from the top of the forehead.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
JAW = OVAL[7:30]  # from eye height on one side over the chin to eye height on the other

# Both rows run from the left corner to the right corner, corners included; equal positions face each other.
LIP_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIP_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)

# From the outer to the inner corner, corners included; equal positions face each other.
LEFT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_EYE_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
RIGHT_EYE_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LEFT_IRIS = (468, 469, 470, 471, 472)  # centre first
RIGHT_IRIS = (473, 474, 475, 476, 477)

LEFT_BROW = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
RIGHT_BROW = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 48, 64, 278, 294)

# What moves with the skull and hardly with the expression: eye corners, nose bridge, temples, upper oval.
RIGID = (
    33, 133, 362, 263, 168, 6, 197, 195, 127, 356, 234, 454, 162, 389, 21, 251, 54, 284,
    103, 332, 67, 297, 109, 338, 10, 151, 9, 8, 139, 368, 143, 372, 116, 345,
)  # fmt: skip

# The part of the mesh whose extent matches the 203 points LivePortrait was trained with: the jaw line up to eye
# height, brows, eyes, nose and lips, and no forehead.
CROP_POINTS = tuple(
    dict.fromkeys(
        JAW
        + LEFT_BROW
        + RIGHT_BROW
        + LEFT_EYE_UPPER
        + LEFT_EYE_LOWER
        + RIGHT_EYE_UPPER
        + RIGHT_EYE_LOWER
        + NOSE
        + LIP_OUTER_UPPER
        + LIP_OUTER_LOWER
    )
)
