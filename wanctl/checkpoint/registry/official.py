"""The official models: those of VARIANTS with their own run defaults, and those not run yet."""

from dataclasses import replace

from wanctl.checkpoint.registry.layouts import (
    ANIMATE_2_14B,
    ANIMATE_14B,
    CLIP_VIT_H,
    DANCER_14B,
    LIGHT_VAE,
    OFFICIAL,
    S2V_14B,
    UMT5_XXL,
    VAE_2_1,
    VAE_2_2,
)
from wanctl.checkpoint.registry.licences import APACHE_UNREAD, MIT
from wanctl.checkpoint.registry.structures import (
    CLIP,
    MUSIC,
    REFERENCE,
    structure_of_shape,
)
from wanctl.checkpoint.registry.templates import UNGUIDED, like
from wanctl.checkpoint.registry.types import Checkpoint, Layout, Structure
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import Variant

# Words that tell models with the same tensors apart.
_MARKS = {
    "wan2.1-i2v-14b-480p": ("i2v 480p",),
    "wan2.1-i2v-14b-720p": ("i2v 720p",),
}
_DIFFUSERS = {
    "wan2.1-flf2v-14b": "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
    "wan2.1-vace-1.3b": "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
    "wan2.1-vace-14b": "Wan-AI/Wan2.1-VACE-14B-diffusers",
}


def _row(variant: Variant) -> Checkpoint:
    name, hub = variant.name, variant.hub
    title = hub.rpartition("/")[2] if hub else f"a model of the size of `--recipe {name}`"
    return Checkpoint(
        name=name,
        title=title,
        variant=name,
        defaults=variant.defaults,
        layout=OFFICIAL.get(name, Layout()),
        structure=structure_of_shape(variant.dit),
        marks=_MARKS.get(name, ()),
        licence=APACHE_UNREAD,
        hub=(hub, _DIFFUSERS.get(name, f"{hub}-Diffusers")) if hub else (),
    )


_RUN = tuple(_row(variant) for variant in VARIANTS.values() if variant.name in OFFICIAL)
_TINY = tuple(
    replace(_row(variant), licence="that of the footage it was trained on")
    for variant in VARIANTS.values()
    if variant.name.startswith("tiny")
)
_ANIMATE_2 = replace(like("wan2.2-animate-2-14b"), layout=ANIMATE_2_14B)
_ANIMATE_2_RUN = _ANIMATE_2.defaults
assert _ANIMATE_2_RUN

_ANIMATE = (
    replace(
        like("wan2.2-animate-14b"),
        name="wan2.2-animate-14b",
        title="Wan2.2-Animate-14B",
        layout=ANIMATE_14B,
        hub=("Wan-AI/Wan2.2-Animate-14B", "Wan-AI/Wan2.2-Animate-14B-Diffusers"),
    ),
    replace(
        _ANIMATE_2,
        name="wan2.2-animate-2-14b",
        title="Wan2.2-Animate-2-14B",
        marks=("animate 2",),
    ),
    replace(
        _ANIMATE_2,
        name="wan2.2-animate-2-14b-distilled",
        title="Wan2.2-Animate-2-14B, distilled",
        defaults=replace(_ANIMATE_2_RUN, steps=10, guide_scale=1.0, first_frame_log_scale=-1.3),
        layout=replace(ANIMATE_2_14B, verified=False),
        fixed=UNGUIDED,
        marks=("animate 2 distillation", "animate 2 distilled", "distillation"),
    ),
)
_SPEECH = replace(
    like("wan2.2-s2v-14b"),
    name="wan2.2-s2v-14b",
    title="Wan2.2-S2V-14B",
    layout=S2V_14B,
    hub=("Wan-AI/Wan2.2-S2V-14B",),
)
_NOT_RUN = tuple(
    replace(row, licence=APACHE_UNREAD)
    for row in (
        Checkpoint(
            name="wan-dancer-14b",
            title="Wan-Dancer-14B (global)",
            layout=DANCER_14B,
            structure=Structure(2, 4, parts=frozenset({CLIP, MUSIC, REFERENCE})),
            marks=("dancer",),
            unsupported="music to dance needs a music injector, which is not there yet",
        ),
    )
)
_PARTS = tuple(
    replace(row, licence=APACHE_UNREAD)
    for row in (
        Checkpoint("wan2.1-vae", "Wan2.1_VAE", kind="vae", layout=VAE_2_1),
        Checkpoint("wan2.2-vae", "Wan2.2_VAE", kind="vae", layout=VAE_2_2),
        Checkpoint("umt5-xxl", "models_t5_umt5-xxl-enc-bf16", kind="text encoder", layout=UMT5_XXL),
        Checkpoint(
            "clip-vit-h",
            "models_clip_open-clip-xlm-roberta-large-vit-huge-14",
            kind="image encoder",
            layout=CLIP_VIT_H,
        ),
    )
)
_SMALL_VAES = tuple(
    Checkpoint(
        name=name,
        title=title,
        kind="vae",
        layout=layout,
        licence=licence,
        note=f"small; `model.vae_weights: {name}` decodes with it",
    )
    for name, title, layout, licence in (
        ("taew2_1", "TAEHV for VAE 2.1", Layout(), MIT),
        ("taew2_2", "TAEHV for VAE 2.2", Layout(), MIT),
        ("lighttaew2_1", "LightTAE for VAE 2.1", Layout(), APACHE_UNREAD),
        ("lighttaew2_2", "LightTAE for VAE 2.2", Layout(), APACHE_UNREAD),
        ("lightvaew2_1", "LightVAE for VAE 2.1, a quarter of its width", LIGHT_VAE, APACHE_UNREAD),
    )
)
ROWS = (*_RUN, *_ANIMATE, _SPEECH, *_NOT_RUN, *_TINY, *_PARTS, *_SMALL_VAES)
