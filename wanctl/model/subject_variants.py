"""Models of subjects, tracks, cameras and frame rates that were made from Wan.

Phantom and Wan-Move have the networks of official models and are rows of their own because their
tasks are others, for which those are not trained.
"""

from dataclasses import replace

from wanctl.model.variants import (
    DIT_1_3B,
    DIT_14B,
    RUN_480P,
    WAN_I2V_NEGATIVE_PROMPT,
    DiTShape,
    Variant,
)

_PHANTOM_RUN = replace(RUN_480P, guide_scale=7.5, reference_guide_scale=5.0)


def _phantom(size: str, dit: DiTShape) -> Variant:
    return Variant(
        name=f"phantom-{size.lower()}",
        dit=dit,
        defaults=_PHANTOM_RUN,
        tasks=("r2v",),
        base_hub=f"Wan-AI/Wan2.1-T2V-{size}",
    )


_MOVE = Variant(
    name="wan-move-14b-480p",
    dit=replace(DIT_14B, in_channels=36, image_dim=1280),
    defaults=replace(RUN_480P, steps=40, shift=3.0, negative_prompt=WAN_I2V_NEGATIVE_PROMPT),
    base_hub="Wan-AI/Wan2.1-I2V-14B-480P",
    tasks=("tracks", "i2v"),
)
_RECAMERA = Variant(
    name="recammaster-1.3b",
    dit=replace(DIT_1_3B, pose_numbers=12),
    defaults=replace(RUN_480P, solver="euler"),
    base_hub="Wan-AI/Wan2.1-T2V-1.3B",
    tasks=("recamera",),
)
_SKYREELS = Variant(
    name="skyreels-v2-df-1.3b",
    dit=replace(DIT_1_3B, frame_rates=2),
    defaults=replace(
        RUN_480P, shift=8.0, guide_scale=6.0, frames=97, fps=24.0, height=544, width=960
    ),
    base_hub="Wan-AI/Wan2.1-T2V-1.3B",
    tasks=("t2v",),
)
SUBJECT_VARIANTS = (
    _phantom("1.3B", DIT_1_3B),
    _phantom("14B", DIT_14B),
    _MOVE,
    _RECAMERA,
    _SKYREELS,
)
