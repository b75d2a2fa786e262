"""Models that move a character as a video shows."""

from dataclasses import replace

from wanctl.model.variants import DIT_14B, RUN_480P, RUN_720P, FaceShape, Variant

_I2V_CLIP = replace(DIT_14B, in_channels=36, image_dim=1280)

ANIMATE_VARIANTS = (
    Variant(
        name="wan2.2-animate-14b",
        dit=replace(_I2V_CLIP, face=FaceShape()),
        defaults=replace(RUN_720P, steps=20, guide_scale=1.0, frames=77, fps=30.0),
        hub="Wan-AI/Wan2.2-Animate-14B",
        tasks=("animate",),
    ),
    Variant(
        name="wan2.2-animate-2-14b",
        dit=replace(_I2V_CLIP, driven=True),
        defaults=replace(
            RUN_480P,
            steps=40,
            guide_scale=3.0,
            fps=24.0,
            height=800,
            width=640,
            solver="euler",
            negative_prompt="",
            driving_prompt="人物动作的参考视频",
        ),
        tasks=("animate2",),
    ),
)
