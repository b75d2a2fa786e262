"""The Fun family: Wan networks trained on to read control videos, camera paths and references.

In-painting models of the 14B size have the official image-to-video network; so only the run rule
tells them apart (`wanctl.checkpoint.registry`).
"""

from dataclasses import replace

from wanctl.model.variants import (
    DIT_1_3B,
    DIT_5B,
    DIT_14B,
    RUN_480P,
    WAN22_VAE,
    DiTShape,
    RunDefaults,
    Variant,
)

CAMERA_CHANNELS, REFERENCE_CHANNELS, CLIP_WIDTH = 24, 16, 1280
_IMAGE_TASKS = ("i2v", "continuation", "interpolation")
_RUN_2_1 = replace(RUN_480P, shift=3.0, guide_scale=6.0)
_RUN_2_2 = replace(RUN_480P, guide_scale=6.0, boundary=0.9)
_RUN_5B = replace(RUN_480P, guide_scale=6.0, frames=121, fps=24.0, height=704, width=1280)


def _row(name: str, dit: DiTShape, defaults: RunDefaults, *tasks: str) -> Variant:
    return Variant(name=name, dit=dit, defaults=defaults, tasks=tasks)


def _two_sizes(version: str, kind: str, task: str, **sizes: int) -> tuple[Variant, ...]:
    """The 1.3B and the 14B model of one kind, which read images through CLIP as well."""
    return tuple(
        _row(
            f"wan2.1-fun-{version}{size}-{kind}",
            replace(dit, image_dim=CLIP_WIDTH, **sizes),
            _RUN_2_1,
            task,
        )
        for size, dit in (("1.3b", DIT_1_3B), ("14b", DIT_14B))
    )


def _5b(kind: str, *tasks: str, **sizes: int) -> Variant:
    """A model of 5B with the VAE of Wan 2.2; known first frames have a timestep of their own."""
    return Variant(
        name=f"wan2.2-fun-5b-{kind}",
        dit=replace(DIT_5B, **sizes),
        vae=WAN22_VAE,
        defaults=_RUN_5B,
        tasks=tasks,
        base_hub="Wan-AI/Wan2.2-TI2V-5B",
    )


FUN_VARIANTS = (
    _row(
        "wan2.1-fun-1.3b-inp",
        replace(DIT_1_3B, in_channels=36, image_dim=CLIP_WIDTH),
        _RUN_2_1,
        *_IMAGE_TASKS,
    ),
    *_two_sizes("", "control", "control", in_channels=48),
    *_two_sizes(
        "v1.1-", "control", "control", in_channels=48, reference_channels=REFERENCE_CHANNELS
    ),
    *_two_sizes(
        "v1.1-", "control-camera", "camera", in_channels=32, camera_channels=CAMERA_CHANNELS
    ),
    _row(
        "wan2.2-fun-a14b-control",
        replace(DIT_14B, in_channels=52, reference_channels=REFERENCE_CHANNELS),
        _RUN_2_2,
        "control",
    ),
    _row(
        "wan2.2-fun-a14b-control-camera",
        replace(DIT_14B, in_channels=36, camera_channels=CAMERA_CHANNELS),
        _RUN_2_2,
        "camera",
    ),
    _5b("inp", "i2v", "flf2v", "continuation", "interpolation", in_channels=100),
    _5b("control", "control", in_channels=148, reference_channels=48),
    _5b(
        "control-camera",
        "camera",
        in_channels=100,
        camera_channels=CAMERA_CHANNELS,
        camera_stride=16,
    ),
)
