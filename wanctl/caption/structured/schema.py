"""The structure of a clip: ten dimensions of its content, and who, in which light, in which mood.

The ten are those of the captions of Wan (arXiv 2503.20314, section 3.2.1) and of CAPability's
benchmark of captioners (arXiv 2502.14914): action, event, camera angle, camera motion, object
category, object colour, object counting, text, scene, style.
"""

from collections.abc import Mapping
from typing import Any

CAMERA_ANGLES = (
    "eye level", "high angle", "low angle", "overhead", "aerial", "ground level", "dutch angle",
    "over the shoulder", "point of view", "unclear",
)  # fmt: skip

CAMERA_MOTIONS = (
    "still", "hand-held", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out",
    "push in", "pull out", "truck left", "truck right", "pedestal up", "pedestal down", "roll",
    "arc", "tracking", "unclear",
)  # fmt: skip

CLIP_ID = "clip_id"
"""Key of the clip's id in every answer; an answer with another id belongs to another clip."""

DIMENSIONS = (
    "action", "event", "camera_angle", "camera_motion", "object_category", "object_color",
    "object_counting", "ocr_text", "scene", "style",
)  # fmt: skip

_TEXT = {"type": "string", "minLength": 1}
# a bound, because a model that repeats itself would fill a list until its tokens run out
_MOST = 30
_TEXTS = {"type": "array", "items": _TEXT, "maxItems": _MOST}


def _pairs(key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"object": _TEXT, key: value}
    return {
        "type": "array",
        "maxItems": _MOST,
        "items": {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
    }


FIELDS: dict[str, Mapping[str, Any]] = {
    "subjects": _TEXTS,
    "action": _TEXTS,
    "event": _TEXTS,
    "camera_angle": {"type": "string", "enum": list(CAMERA_ANGLES)},
    "camera_motion": {
        "type": "array",
        "items": {"type": "string", "enum": list(CAMERA_MOTIONS)},
        "maxItems": _MOST,
    },
    "object_category": _TEXTS,
    "object_color": _pairs("color", _TEXT),
    "object_counting": _pairs("count", {"type": "integer", "minimum": 1}),
    "ocr_text": _TEXTS,
    "scene": _TEXT,
    "style": _TEXT,
    "lighting": _TEXT,
    "mood": _TEXT,
}
"""Field -> JSON schema of its value. Lists may be empty: nothing of that kind is seen."""


def structure_schema(clip_id: str, *, still: bool = False) -> dict[str, Any]:
    """JSON schema of the structure of one clip, which repeats the clip's id.

    Args:
        clip_id: of the clip.
        still: the clip is a still image, of which no camera motion is asked.
    """
    fields = {key: value for key, value in FIELDS.items() if not still or key != "camera_motion"}
    properties = {CLIP_ID: {"type": "string", "const": clip_id}, **fields}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def captions_schema(clip_id: str, variants: tuple[str, ...]) -> dict[str, Any]:
    """JSON schema of the captions of one clip: one text for each variant."""
    properties = {CLIP_ID: {"type": "string", "const": clip_id}, **dict.fromkeys(variants, _TEXT)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
