"""Settings of what is drawn from footage for VACE."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class ControlOptions:
    """Which controls, masks and references are drawn, and how often.

    Attributes:
        kinds: row of KINDS -> its relative probability, 0 or more.
        composite: probability that a second kind is drawn with the first where the two go together.
        references: share of the draws that have reference images.
        max_references: most reference images of one draw.
        mask_shapes: `subject` or row of SHAPES -> its relative probability, 0 or more.
        mask_area: bounds of a drawn shape's area as a share of the frame.
        control_videos: paths of control videos of a clip, `{clip}` being its id.
    """

    kinds: Mapping[str, float]
    composite: float
    references: float
    max_references: int
    mask_shapes: Mapping[str, float]
    mask_area: tuple[float, float]
    control_videos: tuple[str, ...]


def control_options(values: Mapping[str, Any]) -> ControlOptions:
    """The options among values of `train_dit.vace`, whose names are the same."""
    return ControlOptions(**{each.name: values[each.name] for each in fields(ControlOptions)})
