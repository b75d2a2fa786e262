"""The Fun family: in-painting, control and camera models, and VACE with two experts."""

from dataclasses import replace

from wanctl.checkpoint.registry import layouts
from wanctl.checkpoint.registry.layouts import inferred
from wanctl.checkpoint.registry.licences import APACHE_UNREAD
from wanctl.checkpoint.registry.structures import CAMERA, CLIP, REFERENCE, structure_of_shape
from wanctl.checkpoint.registry.templates import like
from wanctl.checkpoint.registry.types import Checkpoint, Layout, Structure
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import RunDefaults

_480P = VARIANTS["wan2.1-t2v-1.3b"].defaults
_RUN_2_1 = replace(_480P, shift=3.0, guide_scale=6.0)
_RUN_A14B = replace(_480P, guide_scale=6.0, boundary=0.9)
_RUN_5B = replace(VARIANTS["wan2.2-ti2v-5b"].defaults, steps=40, guide_scale=6.0)
_CONTROL = "control videos are not there yet"
_CAMERA = "camera paths are not there yet"


def _other(
    name: str,
    title: str,
    layout: Layout,
    defaults: RunDefaults,
    structure: Structure,
    unsupported: str,
    hub: tuple[str, ...] = (),
) -> Checkpoint:
    """A row whose network no row of VARIANTS has."""
    return Checkpoint(
        name=name,
        title=title,
        defaults=defaults,
        layout=layout,
        structure=structure,
        marks=("fun",),
        licence=APACHE_UNREAD,
        hub=hub,
        unsupported=unsupported,
    )


def _control(*parts: str) -> Structure:
    return Structure(3, 0, 16, frozenset(parts))


def _camera(mask_channels: int, *parts: str) -> Structure:
    return Structure(2, mask_channels, 16, frozenset({CAMERA, *parts}))


_INP = (
    _other(
        "wan2.1-fun-1.3b-inp", "Wan2.1-Fun-1.3B-InP", layouts.FUN_1_3B_INP, _RUN_2_1,
        Structure(2, 4, 16, frozenset({CLIP})),
        "image to video at 1.3B is not in the table of networks yet",
        ("alibaba-pai/Wan2.1-Fun-V1.1-1.3B-InP",),
    ),
    replace(
        like("wan2.1-i2v-14b-480p"),
        name="wan2.1-fun-14b-inp",
        title="Wan2.1-Fun-14B-InP",
        defaults=_RUN_2_1,
        layout=layouts.FUN_14B_INP,
        marks=("fun inp",),
        hub=("alibaba-pai/Wan2.1-Fun-V1.1-14B-InP",),
    ),
    replace(
        like("wan2.2-i2v-a14b"),
        name="wan2.2-fun-a14b-inp",
        title="Wan2.2-Fun-A14B-InP",
        defaults=_RUN_A14B,
        marks=("fun inp",),
        hub=("alibaba-pai/Wan2.2-Fun-A14B-InP",),
    ),
    replace(
        like("wan2.1-vace-14b"),
        name="wan2.2-vace-fun-a14b",
        title="Wan2.2-VACE-Fun-A14B",
        defaults=_RUN_A14B,
        layout=inferred("wan2.1-vace-14b"),
        structure=structure_of_shape(VARIANTS["wan2.1-vace-14b"].dit),
        marks=("vace fun",),
    ),
)  # fmt: skip
_OTHER = (
    _other(
        "wan2.1-fun-1.3b-control", "Wan2.1-Fun-1.3B-Control", layouts.FUN_1_3B_CONTROL, _RUN_2_1,
        _control(CLIP), _CONTROL,
    ),
    _other(
        "wan2.1-fun-v1.1-1.3b-control", "Wan2.1-Fun-V1.1-1.3B-Control",
        layouts.FUN_1_3B_CONTROL_V1_1, _RUN_2_1, _control(CLIP, REFERENCE), _CONTROL,
    ),
    _other(
        "wan2.1-fun-v1.1-1.3b-control-camera", "Wan2.1-Fun-V1.1-1.3B-Control-Camera",
        layouts.FUN_1_3B_CAMERA, _RUN_2_1, _camera(0, CLIP), _CAMERA,
    ),
    _other(
        "wan2.1-fun-14b-control", "Wan2.1-Fun-14B-Control", layouts.FUN_14B_CONTROL, _RUN_2_1,
        _control(CLIP), _CONTROL,
    ),
    _other(
        "wan2.1-fun-v1.1-14b-control", "Wan2.1-Fun-V1.1-14B-Control", layouts.FUN_14B_CONTROL_V1_1,
        _RUN_2_1, _control(CLIP, REFERENCE), _CONTROL,
        ("alibaba-pai/Wan2.1-Fun-V1.1-14B-Control",),
    ),
    _other(
        "wan2.1-fun-v1.1-14b-control-camera", "Wan2.1-Fun-V1.1-14B-Control-Camera",
        layouts.FUN_14B_CAMERA, _RUN_2_1, _camera(0, CLIP), _CAMERA,
        ("alibaba-pai/Wan2.1-Fun-V1.1-14B-Control-Camera",),
    ),
    _other(
        "wan2.2-fun-a14b-control", "Wan2.2-Fun-A14B-Control", layouts.FUN_A14B_CONTROL, _RUN_A14B,
        Structure(3, 4, 16, frozenset({REFERENCE})), _CONTROL,
    ),
    _other(
        "wan2.2-fun-a14b-control-camera", "Wan2.2-Fun-A14B-Control-Camera",
        layouts.FUN_A14B_CAMERA, _RUN_A14B, _camera(4), _CAMERA,
    ),
    _other(
        "wan2.2-fun-5b-inp", "Wan2.2-Fun-5B-InP", Layout(), _RUN_5B,
        Structure(2, 4, 48), "its image channels beside those of VAE 2.2 are not there yet",
    ),
    _other(
        "wan2.2-fun-5b-control", "Wan2.2-Fun-5B-Control", Layout(), _RUN_5B,
        Structure(3, 4, 48, frozenset({REFERENCE})), _CONTROL,
    ),
    _other(
        "wan2.2-fun-5b-control-camera", "Wan2.2-Fun-5B-Control-Camera", Layout(), _RUN_5B,
        Structure(2, 4, 48, frozenset({CAMERA})), _CAMERA,
    ),
)  # fmt: skip
ROWS = (*_INP, *_OTHER)
