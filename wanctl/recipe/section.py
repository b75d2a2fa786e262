"""The base of every section of a recipe."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen; a key that is not listed is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )
