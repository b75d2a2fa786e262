"""Models of subjects, tracks, cameras and speech that were made from Wan, and side files."""

from dataclasses import replace

from wanctl.checkpoint.registry.layouts import (
    RECAMMASTER_1_3B,
    SKYREELS_DF_1_3B,
    SPEED_CONTROL,
    inferred,
)
from wanctl.checkpoint.registry.licences import (
    APACHE,
    APACHE_UNREAD,
    MIT,
    SKYWORK,
    UNKNOWN,
)
from wanctl.checkpoint.registry.structures import (
    CLIP,
    TALK,
)
from wanctl.checkpoint.registry.templates import like
from wanctl.checkpoint.registry.types import Checkpoint, Layout, Structure
from wanctl.model.variant_table import VARIANTS

_PHANTOM = tuple(
    replace(
        like(f"phantom-{size}"),
        name=f"phantom-{size}",
        title=f"Phantom-Wan-{size.upper()}",
        layout=inferred(base),
        marks=("phantom",),
        note="1 to 4 reference images; `sample.reference_guide_scale` guides by them, in a third "
        "pass",
    )
    for size, base in (("1.3b", "wan2.1-t2v-1.3b"), ("14b", "wan2.1-t2v-14b"))
)
_MOVE = replace(
    like("wan-move-14b-480p"),
    name="wan-move-14b-480p",
    title="Wan-Move-14B-480P",
    layout=inferred("wan2.1-i2v-14b-480p"),
    marks=("wan move",),
    licence=APACHE,
    hub=("Ruihang/Wan-Move-14B-480P",),
)


def _skyreels(
    kind: str, size: str, variant: str, layout: Layout, *, shift: float, guide: float
) -> Checkpoint:
    """A row of SkyReels-V2: 24 frames per second, 97 frames at 544 x 960."""
    base = like(variant)
    return replace(
        base,
        name=f"skyreels-v2-{kind}-{size}",
        title=f"SkyReels-V2-{kind.upper()}-{size.upper()}-540P",
        defaults=replace(
            VARIANTS[variant].defaults, steps=50, shift=shift, small_shift=None,
            guide_scale=guide, fps=24.0, frames=97, height=544, width=960,
        ),
        layout=layout,
        marks=(f"skyreels {kind}",),
        licence=SKYWORK,
        hub=(f"Skywork/SkyReels-V2-{kind.upper()}-{size.upper()}-540P",),
        note="one noise level for all frames of a clip; 121 frames at 720p"
        if kind == "df"
        else "121 frames at 720p",
    )  # fmt: skip


_SKYREELS = (
    _skyreels("df", "1.3b", "skyreels-v2-df-1.3b", SKYREELS_DF_1_3B, shift=8.0, guide=6.0),
    _skyreels("df", "14b", "wan2.1-t2v-14b", Layout(), shift=8.0, guide=6.0),
    _skyreels("t2v", "14b", "wan2.1-t2v-14b", Layout(), shift=8.0, guide=6.0),
    _skyreels("i2v", "14b", "wan2.1-i2v-14b-480p", Layout(), shift=5.0, guide=5.0),
)
_RECAMERA = replace(
    like("recammaster-1.3b"),
    name="recammaster-1.3b",
    title="ReCamMaster",
    layout=RECAMMASTER_1_3B,
    licence=f"{UNKNOWN} (its code: {MIT})",
    note="lengths of the path are in metres",
)
_NOT_RUN = (
    *(
        Checkpoint(
            name=name,
            title=title,
            structure=Structure(2, 4, 16, frozenset({CLIP, TALK})),
            marks=(mark,),
            licence=APACHE_UNREAD,
            unsupported="its audio attention is not there yet",
        )
        for name, title, mark in (
            ("infinitetalk-14b", "InfiniteTalk", "infinitetalk"),
            ("multitalk-14b", "MultiTalk", "multitalk"),
        )
    ),
)
_SIDE_FILES = (
    Checkpoint(
        name="stand-in",
        title="Stand-In",
        kind="side file",
        layout=Layout(tensors=240),
        marks=("stand in", "standin"),
        licence=APACHE_UNREAD,
        note="`model.identity: FILE` shows the person of `sample.face`; 20 steps; for Wan 2.1 "
        "T2V-14B, and a file for each expert of Wan 2.2 T2V-A14B (`model.low_identity`)",
    ),
    Checkpoint(
        name="speed-control-1.3b",
        title="Wan2.1-1.3b-speedcontrol-v1",
        kind="side file",
        layout=SPEED_CONTROL,
        licence=APACHE_UNREAD,
        unsupported="a control of speed beside the timestep is not there yet",
    ),
)
ROWS = (*_PHANTOM, _MOVE, _RECAMERA, *_SKYREELS, *_NOT_RUN, *_SIDE_FILES)
