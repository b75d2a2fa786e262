"""The Fun family: in-painting, control and camera models, and VACE with two experts."""

from dataclasses import replace

from wanctl.checkpoint.registry import layouts
from wanctl.checkpoint.registry.templates import like
from wanctl.checkpoint.registry.types import Checkpoint, Layout
from wanctl.model.variant_table import VARIANTS

_RUN_2_1 = VARIANTS["wan2.1-fun-14b-control"].defaults
_RUN_A14B = VARIANTS["wan2.2-fun-a14b-control"].defaults


def _row(name: str, title: str, layout: Layout, *hub: str) -> Checkpoint:
    """A row with the network and the run rule of the variant of its name."""
    return replace(like(name), name=name, title=title, layout=layout, marks=("fun",), hub=hub)


_INP = (
    _row(
        "wan2.1-fun-1.3b-inp", "Wan2.1-Fun-1.3B-InP", layouts.FUN_1_3B_INP,
        "alibaba-pai/Wan2.1-Fun-V1.1-1.3B-InP",
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
        marks=("vace fun",),
    ),
)  # fmt: skip
_OTHER = (
    _row(
        "wan2.1-fun-1.3b-control", "Wan2.1-Fun-1.3B-Control", layouts.FUN_1_3B_CONTROL
    ),
    _row(
        "wan2.1-fun-v1.1-1.3b-control", "Wan2.1-Fun-V1.1-1.3B-Control",
        layouts.FUN_1_3B_CONTROL_V1_1,
    ),
    _row(
        "wan2.1-fun-v1.1-1.3b-control-camera", "Wan2.1-Fun-V1.1-1.3B-Control-Camera",
        layouts.FUN_1_3B_CAMERA,
    ),
    _row("wan2.1-fun-14b-control", "Wan2.1-Fun-14B-Control", layouts.FUN_14B_CONTROL),
    _row(
        "wan2.1-fun-v1.1-14b-control", "Wan2.1-Fun-V1.1-14B-Control", layouts.FUN_14B_CONTROL_V1_1,
        "alibaba-pai/Wan2.1-Fun-V1.1-14B-Control",
    ),
    _row(
        "wan2.1-fun-v1.1-14b-control-camera", "Wan2.1-Fun-V1.1-14B-Control-Camera",
        layouts.FUN_14B_CAMERA, "alibaba-pai/Wan2.1-Fun-V1.1-14B-Control-Camera",
    ),
    _row("wan2.2-fun-a14b-control", "Wan2.2-Fun-A14B-Control", layouts.FUN_A14B_CONTROL),
    _row(
        "wan2.2-fun-a14b-control-camera", "Wan2.2-Fun-A14B-Control-Camera",
        layouts.FUN_A14B_CAMERA,
    ),
    *(
        _row(
            f"wan2.2-fun-5b-{kind.lower()}", f"Wan2.2-Fun-5B-{kind}", layout,
            f"alibaba-pai/Wan2.2-Fun-5B-{kind}",
        )
        for kind, layout in (
            ("InP", layouts.FUN_5B_INP),
            ("Control", layouts.FUN_5B_CONTROL),
            ("Control-Camera", layouts.FUN_5B_CAMERA),
        )
    ),
)  # fmt: skip
ROWS = (*_INP, *_OTHER)
