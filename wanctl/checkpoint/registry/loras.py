"""LoRAs that distil a model to few steps: with one of them the model is run by its rule."""

from dataclasses import replace

from wanctl.checkpoint.registry.distilled import EIGHT_STEPS, FOUR_STEPS, RCM_LEVELS
from wanctl.checkpoint.registry.licences import NON_COMMERCIAL
from wanctl.checkpoint.registry.templates import DISTILLED_LORA, UNGUIDED, few_steps, lora_for
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import RUN_480P

_SLOW = "motion is slow; the first high-noise steps without it and with guidance cure that"

_LIGHTX2V = tuple(
    replace(
        lora_for(variant),
        name=f"lightx2v-lora-{kind}-14b",
        title=f"LightX2V step-distill LoRA, {kind.upper()}-14B",
        defaults=few_steps(defaults, FOUR_STEPS, "euler"),
        fixed=DISTILLED_LORA,
        marks=("lightx2v", "stepdistill", "step distill"),
        hub=hub,
        note="strength 1; on a 2.2 model users run 3.0 on the high-noise and 1.5 on the low-noise "
        "expert",
    )
    for kind, variant, defaults, hub in (
        (
            "t2v", "wan2.1-t2v-14b", RUN_480P,
            (
                "lightx2v/Wan2.1-T2V-14B-StepDistill-CfgDistill",
                "lightx2v/Wan2.1-Distill-Loras",
            ),
        ),
        (
            "i2v", "wan2.1-i2v-14b-480p", VARIANTS["wan2.1-i2v-14b-480p"].defaults,
            (
                "lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",
                "lightx2v/Wan2.1-Distill-Loras",
            ),
        ),
    )
)  # fmt: skip
_LIGHTNING = tuple(
    replace(
        lora_for(f"wan2.2-{kind}-a14b"),
        name=f"wan2.2-lightning-{kind}-a14b{suffix}",
        title=f"Wan2.2-Lightning and Distill-Loras, {kind.upper()}-A14B, {len(levels)} steps",
        defaults=few_steps(VARIANTS[f"wan2.2-{kind}-a14b"].defaults, levels, "euler"),
        fixed=DISTILLED_LORA,
        marks=marks,
        hub=("lightx2v/Wan2.2-Lightning",) if levels == FOUR_STEPS else (),
        note=f"one file for each expert, rank 64 with alpha 8; {_SLOW}",
    )
    for kind in ("t2v", "i2v")
    for suffix, levels, marks in (
        ("", FOUR_STEPS, ("lightning 4steps", "lightning a14b", "4steps lora", "lightx2v")),
        ("-8-steps", EIGHT_STEPS, ("lightning 8steps", "lightx2v 8steps", "distill 8steps")),
    )
)
_OTHER = (
    replace(
        lora_for("wan2.1-t2v-14b"),
        name="causvid-lora-14b",
        title="CausVid LoRA, 14B",
        defaults=replace(RUN_480P, steps=12, shift=7.0, guide_scale=1.0),
        fixed=UNGUIDED,
        marks=("causvid",),
        licence=NON_COMMERCIAL,
        commercial=False,
        note="strength 0.3, as users run it",
    ),
    replace(
        lora_for("wan2.2-t2v-a14b"),
        name="rcm-lora-a14b",
        title="rCM LoRA on A14B",
        defaults=few_steps(VARIANTS["wan2.2-t2v-a14b"].defaults, RCM_LEVELS, "lcm"),
        fixed=DISTILLED_LORA,
        marks=("rcm",),
        note="users run strength 6.0 on the high-noise expert",
    ),
)
_ANIMATE = replace(
    lora_for("wan2.2-animate-14b"),
    name="lightx2v-lora-animate-14b",
    title="LightX2V step-distill LoRA of I2V-14B, on Animate-14B",
    defaults=few_steps(VARIANTS["wan2.2-animate-14b"].defaults, FOUR_STEPS, "euler"),
    fixed=DISTILLED_LORA,
    marks=("lightx2v", "stepdistill", "step distill"),
)
ROWS = (*_LIGHTX2V, *_LIGHTNING, *_OTHER, _ANIMATE)
