"""Keys of the noise levels that training draws.

The names of laws, formulas and weightings are rows of tables; `wanctl.recipe.validate` looks them
up and refuses keys that the chosen rows do not use.
"""

from pydantic import Field, PositiveFloat

from wanctl.recipe.section import Count, Section


class TimestepsSection(Section):
    """Distribution of the noise levels that training draws, and the weight of each in the loss."""

    law: str = Field(
        default="logit_normal",
        description="`logit_normal`, `uniform`, `mode` (SD3's with heavy tails) or `cosmap`",
    )
    mean: float = Field(
        default=0.0,
        ge=-100,
        le=100,
        description="logit_normal: mean of the normal distribution before the sigmoid",
    )
    std: PositiveFloat = Field(
        default=1.0, le=100, description="logit_normal: standard deviation of that distribution"
    )
    mode_scale: float = Field(
        default=1.29,
        ge=-1,
        le=1.75,
        description="mode: above 0 the middle is drawn most, below 0 the ends (SD3, eq. 20)",
    )
    shift: PositiveFloat = Field(
        default=3.0,
        ge=0.001,
        le=1000,
        description="sigma' = s*sigma / (1 + (s-1)*sigma); larger for larger videos (SD3, eq. 23)",
    )
    shift_formula: str = Field(
        default="constant",
        description="shift of a bucket by its tokens: `constant`; `sqrt_tokens`: shift * "
        "sqrt(tokens / shift_tokens) (SD3, eq. 23); `exp_tokens`: exp of a line through "
        "(shift_tokens, log shift) and (max_shift_tokens, log max_shift), as for FLUX",
    )
    shift_tokens: Count | None = Field(
        default=None,
        description="sqrt_tokens, exp_tokens: tokens of a video that gets `shift`; 81x480x832: "
        "32760",
    )
    max_shift: PositiveFloat | None = Field(
        default=None, ge=0.001, le=1000, description="exp_tokens: shift of the second point"
    )
    max_shift_tokens: Count | None = Field(
        default=None, description="exp_tokens: tokens of the second point; 81x720x1280: 75600"
    )
    bucket_shifts: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="shifts that go before the formula's, by bucket: `{81x480x832: 3}`",
    )
    stratified: bool = Field(
        default=True,
        description="spread the levels of all samples of a step evenly over the law, over "
        "accumulation and processes too; false: draw each alone",
    )
    weighting: str = Field(
        default="none",
        description="factor of the loss by noise level: `none`, `cosmap` (SD3), `min_snr` (on the "
        "error of the clean latents), `bell` (DiffSynth-Studio's)",
    )
    min_snr_gamma: PositiveFloat = Field(
        default=5.0, le=1e6, description="min_snr: upper bound of the signal-to-noise ratio"
    )
