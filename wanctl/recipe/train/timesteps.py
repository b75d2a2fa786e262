"""Keys of the noise levels that training draws."""

from pydantic import Field, PositiveFloat

from wanctl.recipe.section import Section


class TimestepsSection(Section):
    """Distribution of the noise levels that training draws."""

    law: str = Field(default="logit_normal", description="`logit_normal` or `uniform`")
    mean: float = Field(
        default=0.0,
        ge=-100,
        le=100,
        description="logit_normal: mean of the normal distribution before the sigmoid",
    )
    std: PositiveFloat = Field(
        default=1.0, le=100, description="logit_normal: standard deviation of that distribution"
    )
    shift: PositiveFloat = Field(
        default=3.0,
        ge=0.001,
        le=1000,
        description="sigma' = s*sigma / (1 + (s-1)*sigma); larger for larger videos (SD3, eq. 23)",
    )
