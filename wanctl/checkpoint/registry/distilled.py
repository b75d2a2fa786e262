"""Models that were distilled to few steps: their noise levels, solver, and no guidance.

Levels are shares of noise, 1 to 0 without the final 0; the sources state them as timesteps, 1000
times that.
"""

import math
from dataclasses import replace

from wanctl.checkpoint.registry.layouts import KREA_14B, SELF_FORCING_1_3B
from wanctl.checkpoint.registry.licences import APACHE, NON_COMMERCIAL
from wanctl.checkpoint.registry.structures import (
    GATES,
    INT8,
    LINEAR_ATTENTION,
    SECOND_TIMESTEP,
    structure_of_shape,
)
from wanctl.checkpoint.registry.templates import (
    DISTILLED,
    UNGUIDED,
    few_steps,
    like,
    trigflow,
    warped,
)
from wanctl.checkpoint.registry.types import Layout
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import RUN_480P

_CAUSAL = (
    "trained to denoise one block of latent frames after another; here all frames are denoised "
    "together and attend to each other"
)
_PREFIXED = "published in a dict with `generator` and `generator_ema`; the average is taken"

FOUR_STEPS = warped(5, 1, 0.75, 0.5, 0.25)  # 1000 937.5 833.3 625
EIGHT_STEPS = warped(5, *(number / 8 for number in range(8, 0, -1)))
CAUSVID_LEVELS = (1.0, 0.757, 0.522)  # as listed, not shifted again
CAUSVID_14B_LEVELS = (0.999, 0.934, 0.862, 0.756, 0.603, 0.410, 0.250, 0.140, 0.074)
RCM_LEVELS = trigflow(math.atan(80), 1.5, 1.4, 1.0)
RCM_I2V_LEVELS = trigflow(math.atan(200), 1.5, 1.4, 1.0)

_T2V_1_3B, _T2V_14B = like("wan2.1-t2v-1.3b"), like("wan2.1-t2v-14b")
_I2V_14B, _TI2V_5B = like("wan2.1-i2v-14b-480p"), like("wan2.2-ti2v-5b")
_T2V_A14B, _I2V_A14B = like("wan2.2-t2v-a14b"), like("wan2.2-i2v-a14b")
_RUN = {name: variant.defaults for name, variant in VARIANTS.items()}

_FORCING = tuple(
    replace(
        _T2V_1_3B,
        name=name,
        title=title,
        defaults=few_steps(RUN_480P, FOUR_STEPS, "lcm"),
        layout=SELF_FORCING_1_3B,
        fixed=DISTILLED,
        marks=marks,
        hub=hub,
        note=f"{_CAUSAL}; {_PREFIXED}",
    )
    for name, title, marks, hub in (
        (
            "self-forcing-1.3b",
            "Self-Forcing",
            ("self forcing", "selfforcing"),
            ("gdhe17/Self-Forcing",),
        ),
        ("causal-forcing-1.3b", "Causal-Forcing", ("causal forcing", "causalforcing"), ()),
        ("longlive-1.3b", "LongLive-1.3B", ("longlive",), ("Efficient-Large-Model/LongLive-1.3B",)),
    )
)  # fmt: skip
_CAUSVID = (
    replace(
        _T2V_1_3B,
        name="causvid-1.3b",
        title="CausVid",
        defaults=few_steps(RUN_480P, CAUSVID_LEVELS, "lcm", shift=8.0),
        layout=SELF_FORCING_1_3B,
        fixed=DISTILLED,
        marks=("causvid",),
        licence=NON_COMMERCIAL,
        commercial=False,
        note=_CAUSAL,
    ),
    replace(
        _T2V_14B,
        name="causvid-14b",
        title="CausVid 14B of LightX2V",
        defaults=few_steps(RUN_480P, CAUSVID_14B_LEVELS, "lcm"),
        fixed=DISTILLED,
        marks=("causvid",),
        licence=NON_COMMERCIAL,
        commercial=False,
        note=_CAUSAL,
    ),
    replace(
        _T2V_14B,
        name="krea-realtime-14b",
        title="krea-realtime-video-14b",
        # as it is run without its cache of blocks; with it, four steps
        defaults=replace(RUN_480P, steps=6, shift=20.0, guide_scale=1.0, solver="euler"),
        layout=KREA_14B,
        fixed=UNGUIDED,
        marks=("krea",),
        licence=NON_COMMERCIAL,
        commercial=False,
        hub=("krea/krea-realtime-video",),
        note=f"{_CAUSAL}, for which 6 steps at shift 20 replace its 4",
    ),
)
_STEP_DISTILL = ("stepdistill", "step distill", "lightx2v 4step", "lightx2v 4steps")
_LIGHTX2V = (
    replace(
        _T2V_14B,
        name="lightx2v-t2v-14b",
        title="Wan2.1-T2V-14B-StepDistill-CfgDistill",
        defaults=few_steps(RUN_480P, FOUR_STEPS, "euler"),
        fixed=DISTILLED,
        marks=_STEP_DISTILL,
        hub=("lightx2v/Wan2.1-T2V-14B-StepDistill-CfgDistill",),
    ),
    replace(
        _I2V_14B,
        name="lightx2v-i2v-14b",
        title="Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",
        defaults=few_steps(_RUN["wan2.1-i2v-14b-480p"], FOUR_STEPS, "euler"),
        fixed=DISTILLED,
        marks=_STEP_DISTILL,
        hub=("lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",),
    ),
    *(
        replace(
            base,
            name=f"wan2.2-distill-{kind}-a14b",
            title=f"Wan2.2-Distill-Models, {kind.upper()}-A14B",
            defaults=few_steps(_RUN[f"wan2.2-{kind}-a14b"], FOUR_STEPS, "euler"),
            fixed=DISTILLED,
            marks=("distill", "lightning", *_STEP_DISTILL),
            hub=("lightx2v/Wan2.2-Distill-Models",),
        )
        for kind, base in (("t2v", _T2V_A14B), ("i2v", _I2V_A14B))
    ),
)
_FAST = replace(RUN_480P, frames=61, height=448, width=832)
_FASTWAN = tuple(
    replace(
        base,
        name=name,
        title=title,
        defaults=few_steps(run, CAUSVID_LEVELS, "lcm", shift=shift),
        layout=Layout(),
        structure=structure_of_shape(VARIANTS[base.variant or ""].dit, optional={GATES}),
        fixed=DISTILLED,
        marks=("fastwan",),
        licence=APACHE,
        hub=hub,
        note="trained with sparse attention (VSA), which `sample.sparsity` sets; a file without "
        "its gates has full attention",
    )
    for name, title, base, run, shift, hub in (
        (
            "fastwan-t2v-1.3b", "FastWan2.1-T2V-1.3B", _T2V_1_3B, _FAST, 8.0,
            ("FastVideo/FastWan2.1-T2V-1.3B-Diffusers",),
        ),
        ("fastwan-t2v-14b", "FastWan2.1-T2V-14B", _T2V_14B, _FAST, 8.0, ()),
        (
            "fastwan-ti2v-5b", "FastWan2.2-TI2V-5B", _TI2V_5B, _RUN["wan2.2-ti2v-5b"], 5.0,
            (
                "FastVideo/FastWan2.2-TI2V-5B-Diffusers",
                "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
            ),
        ),
    )
)  # fmt: skip
_77_FRAMES = replace(RUN_480P, frames=77)
_LONG_PROMPTS = "long English prompts only: short ones give poor videos"
_RCM = tuple(
    replace(
        base,
        name=f"rcm-t2v-{size}",
        title=f"rCM Wan2.1-T2V-{size.upper()}",
        defaults=few_steps(_77_FRAMES, RCM_LEVELS, "lcm"),
        layout=replace(base.layout, prefix="net."),
        fixed=DISTILLED,
        marks=("rcm",),
        note=f"{_LONG_PROMPTS}; `sample.solver: euler` is sharper and less robust",
    )
    for size, base in (("1.3b", _T2V_1_3B), ("14b", _T2V_14B))
)
_TURBO = tuple(
    replace(
        base,
        name=name,
        title=title,
        defaults=few_steps(run, levels, "lcm"),
        layout=Layout(),
        structure=structure_of_shape(VARIANTS[base.variant or ""].dit, {LINEAR_ATTENTION, INT8}),
        fixed=DISTILLED,
        marks=("turbowan", "turbodiffusion"),
        hub=hub,
        note=f"{_LONG_PROMPTS}; plain or with int8 matrices; sparse attention (SLA), of which "
        "`sample.sparsity: 0.85` gives better videos than the default 0.9",
    )
    for name, title, base, run, levels, hub in (
        (
            "turbowan-t2v-1.3b", "TurboWan2.1-T2V-1.3B-480P", _T2V_1_3B, _77_FRAMES, RCM_LEVELS,
            ("TurboDiffusion/TurboWan2.1-T2V-1.3B-480P",),
        ),
        (
            "turbowan-t2v-14b", "TurboWan2.1-T2V-14B", _T2V_14B, _77_FRAMES, RCM_LEVELS, (),
        ),
        (
            "turbowan-i2v-a14b", "TurboWan2.2-I2V-A14B-720P", _I2V_A14B,
            replace(_RUN["wan2.2-i2v-a14b"], frames=77), RCM_I2V_LEVELS,
            ("TurboDiffusion/TurboWan2.2-I2V-A14B-720P",),
        ),
    )
)  # fmt: skip
_MEANFLOW = (
    replace(
        _T2V_14B,
        name="meanflow-t2v-14b",
        title="MeanFlow, 2 steps, of LightX2V",
        defaults=few_steps(RUN_480P, warped(5, 1, 0.5), "euler"),
        layout=Layout(),
        structure=structure_of_shape(VARIANTS["wan2.1-t2v-14b"].dit, {SECOND_TIMESTEP}),
        fixed=DISTILLED,
        marks=("meanflow",),
    ),
)
_NOT_RUN = (
    replace(
        _TI2V_5B,
        name="longlive-2.0-5b",
        title="LongLive-2.0-5B",
        defaults=None,
        marks=("longlive",),
        hub=("Efficient-Large-Model/LongLive-2.0-5B",),
        unsupported="the noise levels that it was distilled for are not known here",
    ),
    replace(
        _T2V_A14B,
        name="sfwan-t2v-a14b",
        title="SFWan2.2-T2V-A14B",
        defaults=few_steps(
            _RUN["wan2.2-t2v-a14b"], (1.0, 0.85, 0.7, 0.55, 0.35, 0.275, 0.2, 0.125), "lcm",
            shift=12.0,
        ),
        fixed=DISTILLED,
        marks=("sfwan",),
        licence=APACHE,
        note=_CAUSAL,
    ),
)  # fmt: skip
ROWS = (*_FORCING, *_CAUSVID, *_LIGHTX2V, *_FASTWAN, *_RCM, *_TURBO, *_MEANFLOW, *_NOT_RUN)
